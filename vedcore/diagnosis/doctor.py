"""``diagnose``: run every check on a checkpoint.

A check is a function OpenedCheckpoint -> findings in ``vedcore.diagnosis.checks``; it examines one law. A check whose file
could not be read finds nothing, because ``files.files_are_readable`` already reports the cause.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from vedcore.diagnosis.checkpoint import OpenedCheckpoint, open_checkpoint
from vedcore.diagnosis.checks import files, generation, images, token_ids, tokenizer, weights
from vedcore.diagnosis.checks.dry_run import dry_run
from vedcore.diagnosis.findings import Finding, Findings

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
)
"""Every check except the dry run, in the order of their findings."""


def diagnose(name: str | os.PathLike[str], *, allow_pickle: bool = False) -> list[Finding]:
    """The problems of a folder, a shipped checkpoint or a hub id, errors first; an empty list if there are none.

    A whole model also reads a blank and a noise image, unless an error shows that it cannot. Weights are read one tensor at
    a time, except for that.

    allow_pickle: read ``*.bin`` weights too.

    Raises CheckpointNotFound if there is no such folder.
    """
    checkpoint = open_checkpoint(name, allow_pickle=allow_pickle)
    findings = [finding for check in CHECKS for finding in check(checkpoint)]
    cannot_read = any(finding.severity == "error" and finding.concern != "tokenizer" for finding in findings)
    if checkpoint.is_whole and not cannot_read:
        findings += dry_run(checkpoint)
    return sorted(findings, key=lambda finding: finding.severity)
