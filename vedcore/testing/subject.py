"""A backbone under test: a small random model of it and the inputs for it.

Shapes: B images, R rows, T tokens, S states, D hidden size, V vocabulary size.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from vedcore.config import pair
from vedcore.contract.types import EncoderOutput, Memory, Step, causal_mask
from vedcore.generation import SelfCache, TorchLoop
from vedcore.model.adapters import LinearAdapter, give_own_cross, join
from vedcore.testing.spec import BackboneSpec

STATES = 5
"""How many encoder states a decoder under test attends to."""


class LawBroken(AssertionError):
    """A law does not hold. The message says what differs, by how much, and where it differs first."""


class Subject:
    """A model of ``spec.record`` with the config ``fields``. Its weights are moved away from their initial values."""

    def __init__(self, spec: BackboneSpec, fields: Mapping[str, Any]) -> None:
        self.spec, self.record = spec, spec.record
        self._given = dict(fields)

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The config's fields. A decoder that can have cross-attention of its own has it."""
        cross = self.is_decoder and hasattr(self.record.config(), "add_cross_attention")
        return self._given | ({"add_cross_attention": True} if cross else {})  # as composing does

    @cached_property
    def config(self) -> Any:
        """The config with these fields."""
        return self.record.config.from_dict(self.fields)

    @cached_property
    def model(self) -> Any:
        """The model, built at its first use."""
        torch.manual_seed(0)
        model = self.record.model(self.config)
        prepare(model)
        return model

    @cached_property
    def has_own_cross_attention(self) -> bool:
        """Whether the decoder has cross-attention before an adapter adds any."""
        return self.record.model(self.config).cross is not None

    def with_model(self, model: Any) -> Subject:
        """The same subject with another model."""
        changed = copy.copy(self)
        changed.model = model
        return changed

    @property
    def is_decoder(self) -> bool:
        """Whether the backbone is a decoder."""
        return self.record.role == "decoder"

    def pixels(self, count: int = 2, seed: int = 1) -> Tensor:
        """(B, C, height, width): random images of the size in the config."""
        return _normal((count, *self.pixel_shape()), seed)

    def pixel_shape(self) -> tuple[int, int, int]:
        """(C, height, width): ``spec.pixel_shape(config)``, or the config's ``num_channels`` and ``image_size``."""
        if self.spec.pixel_shape is not None:
            return self.spec.pixel_shape(self.config)
        return (self.config.num_channels, *pair(self.config.image_size))

    def ids(self, rows: int = 2, seed: int = 1) -> Tensor:
        """(R, T) random ids, none of them the padding id. T is 6, or fewer if the model has fewer positions."""
        limit = self.model.sizes.max_positions
        length = 6 if limit is None else min(6, limit)
        pad = getattr(self.config, "pad_token_id", None)
        allowed = [token for token in range(self.model.sizes.vocab_size) if token != pad]
        draw = random.Random(seed)
        return torch.tensor([[draw.choice(allowed) for _ in range(length)] for _ in range(rows)])

    def memory(self, images: int = 2, seed: int = 1, mask: Tensor | None = None) -> Memory | None:
        """The memory of ``images`` random images; None for a decoder that has no cross-attention yet."""
        if self.model.cross is None:
            return None
        states = _normal((images, STATES, self.model.sizes.memory_size), seed).to(next(self.model.parameters()).dtype)
        return remember(self.model, EncoderOutput(states, mask))

    def encode(self, pixels: Tensor, **options: Any) -> EncoderOutput:
        """The encoder's output for ``pixels``. Raises LawBroken if it is no EncoderOutput."""
        output = self.model(pixels, **options)
        if not isinstance(output, EncoderOutput):
            raise LawBroken(f"the encoder returned a {type(output).__name__}, not an EncoderOutput")
        return output

    def decode(
        self, ids: Tensor, memory: Memory | None, *, start: int = 0, cache: SelfCache | None = None, **options: Any
    ) -> Tensor:
        """(R, T) ids in the slots from ``start`` on -> (R, T, V) logits. options: ``inputs_embeds`` and fields of the step."""
        extent = start + ids.shape[1]
        slots = torch.arange(start, extent, device=ids.device)[None]
        embeds = options.pop("inputs_embeds", None)
        step = Step(slots=slots, mask=causal_mask(slots, extent), extent=extent, memory=memory, cache=cache, **options)
        hidden = self.model(None if embeds is not None else ids, step, inputs_embeds=embeds)
        logits: Tensor = self.model.lm_head(hidden)
        return logits

    def cache(self, rows: int, capacity: int = 16) -> SelfCache:
        """An empty cache for ``rows`` rows of the decoder."""
        return TorchLoop(self.model).new_cache(rows, capacity)

    def output(self) -> Tensor:
        """The states or logits for the same input each time, to compare two models that should be equal."""
        with torch.no_grad():
            return self.decode(self.ids(), self.memory()) if self.is_decoder else self.encode(self.pixels()).states


def prepare(model: Any, seed: int = 0) -> None:
    """Add noise to every weight, add cross-attention to a decoder that has none, and switch to eval mode."""
    if getattr(model, "cross", model) is None:  # as composing does
        give_own_cross(model)
        if model.cross is None:
            join(LinearAdapter(), model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.is_meta:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    model.eval()


def remember(model: Any, output: EncoderOutput) -> Memory:
    """The memory of the encoder's ``output``: keys and values for each cross-attention layer of a decoder."""
    return Memory(tuple(layer.remember(output.states) for layer in model.cross), output.mask)


def is_size(value: Any) -> bool:
    """Whether a config's value is a size. The first config of each law leaves all other fields to their defaults."""
    return isinstance(value, int | list | tuple) and not isinstance(value, bool)


def require_close(found: Tensor, wanted: Tensor, what: str, tolerance: float = 1e-5) -> None:
    """Raises LawBroken unless max |found - wanted| <= tolerance * max(1, max |wanted|)."""
    if found.shape != wanted.shape:
        raise LawBroken(f"{what}: the shape is {tuple(found.shape)}, expected {tuple(wanted.shape)}")
    if not wanted.numel():
        return
    difference = (found.float() - wanted.float()).abs()
    allowed = tolerance * max(1.0, float(wanted.float().abs().max()))
    apart = ~(difference <= allowed)
    if bool(apart.any()):
        raise LawBroken(
            f"{what}: differs by up to {float(difference.max()):.3g} (allowed {allowed:.3g}), first at "
            f"{apart.nonzero()[0].tolist()} of {list(found.shape)}"
        )


class Wrapped(nn.Module):
    """A linear layer without a ``weight`` attribute, as a packed or an int8 layer is."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.hidden = [linear]
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out): twice the linear's output, so that code which bypasses this layer gives other numbers."""
        return 2 * self.hidden[0](x)  # type: ignore[no-any-return]


def _normal(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
