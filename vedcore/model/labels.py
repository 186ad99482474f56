"""Labels: what they must be, what decoder ids follow from them, and what is probably wrong with them.

Shapes: R rows, T tokens. ``start``, ``end``, ``pad`` are token ids of the model's config.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from vedcore.config import TokenIds, id_tuple
from vedcore.errors import ConfigError, InputError
from vedcore.model.loss import IGNORED


class LabelWarning(UserWarning):
    """Labels from which a model would learn something unintended."""


def check_labels(labels: Tensor, vocab_size: int) -> None:
    """Raises InputError unless (R, T) ``labels`` are ids of the vocabulary or -100."""
    if labels.dim() != 2 or not labels.numel():
        found = tuple(labels.shape)
        raise InputError(f"labels must have shape (rows, tokens), got {found}", field="labels", found=found)
    if labels.dtype != torch.long:
        raise InputError(
            f"labels must be {torch.long}, got {labels.dtype}: pass labels.long()",
            field="labels",
            expected=str(torch.long),
            found=str(labels.dtype),
        )
    if torch.compiler.is_compiling():  # reading values would break the graph
        return
    if bool((((labels < 0) & (labels != IGNORED)) | (labels >= vocab_size)).any()):
        low, high = int(labels.min()), int(labels.max())
        raise InputError(
            f"labels run from {low} to {high}; allowed are 0 to {vocab_size - 1} (the decoder's vocabulary) and -100 for what "
            "is not to be learned. Is the tokenizer the decoder's?",
            field="labels",
            expected=f"0 to {vocab_size - 1}, or -100",
            found=f"{low} to {high}",
        )


def shift_right(labels: Tensor, *, start: int | None, pad: int | None) -> Tensor:
    """(R, T) labels -> (R, T) decoder ids: the start token, then all labels but the last, with padding in place of -100.

    Raises ConfigError if ``start`` or ``pad`` is None.
    """
    if start is None or pad is None:
        missing = "decoder_start_token_id" if start is None else "pad_token_id"
        raise ConfigError(
            f"labels need model.config.{missing}, which is not set: set it to the tokenizer's "
            f"{'bos or cls' if start is None else 'pad'} token id",
            field=missing,
        )
    shifted = labels.roll(1, dims=1)
    shifted[:, 0] = start
    return shifted.masked_fill(shifted == IGNORED, pad)


def label_problems(labels: Tensor, *, start: int | None, end: TokenIds, pad: int | None) -> dict[str, str]:
    """What is probably wrong with (R, T) ``labels`` that become decoder ids, and the fix, by the problem's name.

    "double start": every row begins with the start token, which ``shift_right`` adds again. "missing end": no row has an
    end token. "learned padding": padding is not -100. "all ignored": every label of a row is -100.
    """
    if not labels.numel():
        return {}
    rows = len(labels)
    ends = torch.tensor(id_tuple(end), device=labels.device)
    # One transfer from the device for all four numbers.
    starts, ended, padded, ignored = torch.stack(
        [
            (labels[:, 0] == (IGNORED - 1 if start is None else start)).sum(),
            torch.isin(labels, ends).any(1).sum(),
            (labels[:, -1] == (IGNORED - 1 if pad is None else pad)).sum(),
            (labels == IGNORED).all(1).sum(),
        ]
    ).tolist()
    problems = {}
    if starts == rows:
        problems["double start"] = (
            f"all {rows} rows of labels begin with the start token {start}, which the model adds itself, so that it learns to "
            "write it twice. Pass the labels without it (labels[:, 1:])"
        )
    if len(ends) and not ended and ignored < rows:
        problems["missing end"] = (
            f"none of the {rows} rows of labels holds the end token ({', '.join(map(str, ends.tolist()))}): the model does "
            "not learn to stop. Put it after each text, and set to -100 what pads a row, not the end token itself"
        )
    if padded and pad not in ends.tolist():
        problems["learned padding"] = (
            f"{padded} of {rows} rows of labels end with the padding token {pad}, which is learned like any other: set it "
            "to -100 (labels.masked_fill(labels == model.config.pad_token_id, -100))"
        )
    if ignored:
        problems["all ignored"] = (
            f"{ignored} of {rows} rows of labels are -100 from end to end: nothing is learned from them. Is the mask of the "
            "padding the right way round, or a text empty?"
        )
    return problems


def warn_of_labels(labels: Tensor, config: Any, known: set[str], stacklevel: int) -> None:
    """Warn the caller of each problem of (R, T) ``labels`` that is not ``known`` yet, and add it to ``known``.

    config: the model's, with its token ids. A compiled pass does not warn.
    """
    if torch.compiler.is_compiling():  # reading values would break the graph
        return
    found = label_problems(
        labels, start=config.decoder_start_token_id, end=config.eos_token_id, pad=config.pad_token_id
    )
    for problem in found.keys() - known:
        warnings.warn(found[problem], LabelWarning, stacklevel=stacklevel + 1)
    known.update(found)
