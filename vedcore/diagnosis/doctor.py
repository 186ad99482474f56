"""``diagnose``: run every check on a checkpoint.

A check is a function OpenedCheckpoint -> findings in ``vedcore.diagnosis.checks``; it examines one law. A check whose file
could not be read finds nothing, because ``files.files_are_readable`` already reports the cause.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from vedcore.diagnosis.checkpoint import OpenedCheckpoint, open_checkpoint
from vedcore.diagnosis.checks import files, generation, images, labels, token_ids, tokenizer, weights
from vedcore.diagnosis.checks.dry_run import dry_run
from vedcore.diagnosis.findings import Finding, Findings
from vedcore.diagnosis.labelled_lines import LabelledLines, read_lines

CHECKS: tuple[Callable[[OpenedCheckpoint], Findings], ...] = (
    files.files_are_readable,
    weights.weights_match_the_config,
    weights.weights_hold_values,
    weights.weights_are_trained,
    images.channels_match_the_encoder,
    images.size_matches_the_encoder,
    images.pixels_are_normalised,
    tokenizer.vocabulary_matches_the_decoder,
    tokenizer.special_tokens_are_hidden,
    token_ids.ids_are_set,
    token_ids.ids_are_in_the_vocabulary,
    token_ids.ids_match_the_tokenizer,
    token_ids.files_agree_on_ids,
    generation.settings_are_valid,
    generation.length_is_limited,
    generation.length_uses_the_positions,
    generation.pieces_fit_the_positions,
)
"""Every check except the dry run, in the order of their findings."""

DATA_CHECKS: tuple[Callable[[OpenedCheckpoint, LabelledLines], Findings], ...] = (
    labels.samples_can_be_used,
    labels.labels_can_be_written,
    labels.labels_fit_the_positions,
    labels.images_fit_the_input,
)
"""The checks of labelled lines, in the order of their findings."""


def diagnose(name: str | os.PathLike[str], *, allow_pickle: bool = False, data: Any = None) -> list[Finding]:
    """The problems of a folder, a shipped checkpoint or a hub id, errors first; an empty list if there are none.

    A whole model also reads a blank and a noise image, unless an error shows that it cannot. Weights are read one tensor at
    a time, except for that.

    allow_pickle: read ``*.bin`` weights too. data: labelled lines that the model shall learn, a ``vedcore.training.Folder``
    for example; they are checked too.

    Raises CheckpointNotFound if there is no such folder.
    """
    checkpoint = open_checkpoint(name, allow_pickle=allow_pickle)
    findings = [finding for check in CHECKS for finding in check(checkpoint)]
    cannot_read = any(finding.severity == "error" and finding.concern != "tokenizer" for finding in findings)
    if checkpoint.is_whole and not cannot_read:
        findings += dry_run(checkpoint)
    if data is not None:
        lines = read_lines(data)
        findings += [finding for data_check in DATA_CHECKS for finding in data_check(checkpoint, lines)]
    return sorted(findings, key=lambda finding: finding.severity)
