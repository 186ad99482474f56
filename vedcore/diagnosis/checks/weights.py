"""Checks of the weights: they match config.json, are finite, and are trained."""

from __future__ import annotations

from dataclasses import dataclass

from vedcore.diagnosis.checkpoint import OpenedCheckpoint
from vedcore.diagnosis.checks.repairs import REPLACEMENTS
from vedcore.diagnosis.findings import Finding, Findings
from vedcore.errors import VedcoreError
from vedcore.storage.tensors import StoredTensor, listed, stored_tensors


def weights_match_the_config(checkpoint: OpenedCheckpoint) -> Findings:
    """The file holds exactly the tensors that config.json describes, with their shapes."""
    if checkpoint.load_report is None:
        return
    fix = "use config.json and weights from one save; if a field of config.json was edited, set it back"
    if not checkpoint.is_whole:
        fix += ". The head and the cross-attention of a decoder may be missing: compose starts them at random"
    for line in checkpoint.load_report.lines():
        yield Finding(
            "error" if checkpoint.is_whole else "warning",
            "weights",
            f"the weights do not match config.json: {line}",
            fix,
        )


def weights_hold_values(checkpoint: OpenedCheckpoint) -> Findings:
    """Every value is finite, and no weight is zero everywhere."""
    if checkpoint.tensors is None:
        return
    not_finite: list[str] = []
    all_zero: list[str] = []
    try:
        with stored_tensors(checkpoint.folder, allow_pickle=checkpoint.allow_pickle) as stored:
            for tensor in stored.values():
                counts = count_values(tensor)
                if counts.nan or counts.infinite:
                    not_finite.append(f"{tensor.name} ({counts.nan} NaN, {counts.infinite} infinite)")
                elif not counts.nonzero and _blocks_the_signal(tensor):
                    all_zero.append(tensor.name)
    except VedcoreError as error:
        yield Finding("error", "weights", str(error), REPLACEMENTS["weights"])
    if not_finite:
        yield Finding(
            "error",
            "weights",
            f"values are not finite: {listed(not_finite)}",
            "use an earlier checkpoint of the training run, and train with a lower learning rate, gradient clipping or "
            "bfloat16 instead of float16",
        )
    if all_zero:
        yield Finding(
            "error",
            "weights",
            f"all values are zero, so these layers pass nothing on: {listed(all_zero)}",
            "these weights were never filled: copy them from the checkpoint in which they were trained",
        )


@dataclass(frozen=True, slots=True)
class ValueCounts:
    """How many values of a tensor are NaN, infinite, and not zero."""

    nan: int
    infinite: int
    nonzero: int


def count_values(tensor: StoredTensor) -> ValueCounts:
    """Read a tensor and count its values by kind."""
    values = tensor.read()
    if values.element_size() == 1:  # torch cannot compare 8-bit values
        values = values.float()
    finite = bool(values.isfinite().all())
    nan, infinite = (0, 0) if finite else (int(values.isnan().sum()), int(values.isinf().sum()))
    return ValueCounts(nan, infinite, int(values.count_nonzero()))


def _blocks_the_signal(tensor: StoredTensor) -> bool:
    """Whether a layer whose tensor is zero has a constant output: true of a matrix and of a norm's scale.

    A table with one row is excluded: RoBERTa's token types are zero in the published files.
    """
    shape = tensor.shape
    return tensor.name.endswith(("weight", "gamma")) and (len(shape) == 1 or (len(shape) > 1 and min(shape[:2]) > 1))


def weights_are_trained(checkpoint: OpenedCheckpoint) -> Findings:
    """No parameter still holds its random initial values."""
    if names := checkpoint.untrained():
        yield Finding(
            "error",
            "weights",
            f"{len(names)} parameters still hold their random initial values ({listed(list(names))})",
            "train the model; until then its text means nothing",
        )
