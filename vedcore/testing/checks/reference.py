"""The same architecture in transformers, for the laws that compare with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
import torch
from torch import Tensor

from vedcore.testing.subject import Subject


def reference(run: Callable[[], Tensor]) -> Tensor:
    """The output of ``run``. A config on which transformers itself fails is skipped, because it proves nothing."""
    try:
        return run()
    except Exception:
        hypothesis.reject()


def their_config(subject: Subject, *, given: bool = True) -> Any:
    """The subject's config as transformers' class; with ``given=False`` transformers' defaults."""
    import transformers

    fields = {name: value for name, value in subject.config.to_dict().items() if name != "model_type" and given}
    if subject.is_decoder:
        fields |= {"is_decoder": True, "add_cross_attention": True}
    return transformers.AutoConfig.for_model(subject.record.name, **fields)


def their_model(subject: Subject) -> Any:
    """The reference model of the subject, with random weights."""
    import transformers

    torch.manual_seed(1)
    config = their_config(subject)
    if subject.is_decoder:
        config.add_cross_attention = subject.has_own_cross_attention
    model = getattr(transformers, subject.spec.reference or "")(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model
