"""Checks of the token ids: they are set, exist, and agree between the files."""

from __future__ import annotations

from vedcore.diagnosis.checkpoint import OpenedCheckpoint
from vedcore.diagnosis.findings import Finding, Findings, Severity
from vedcore.diagnosis.token_ids import effective_ids, ids_by_file, shown, tokenizer_id, tokens_of
from vedcore.generation.config import FILE as GENERATION_FILE
from vedcore.model.token_ids import ID_NAMES


def ids_are_set(checkpoint: OpenedCheckpoint) -> Findings:
    """Some file sets the ids that begin, end and pad a text."""
    if checkpoint.generation_config is None or checkpoint.model is None or not checkpoint.is_whole:
        return
    if not effective_ids(checkpoint, "decoder_start_token_id") and not effective_ids(checkpoint, "bos_token_id"):
        problem = "neither decoder_start_token_id nor bos_token_id is set: no text can begin"
        fix = _set_id(checkpoint, "decoder_start_token_id", like="bos_token_id")
        yield Finding("error", "ids", problem, fix)
    if not effective_ids(checkpoint, "eos_token_id"):
        problem = "eos_token_id is not set: no text ends before its maximum length"
        yield Finding("error", "ids", problem, _set_id(checkpoint, "eos_token_id"))
    if not effective_ids(checkpoint, "pad_token_id"):
        problem = (
            "pad_token_id is not set: labels cannot be padded, and the texts of a batch are padded with the end token"
        )
        yield Finding("warning", "ids", problem, _set_id(checkpoint, "pad_token_id"))


def ids_are_in_the_vocabulary(checkpoint: OpenedCheckpoint) -> Findings:
    """Every id is less than the size of the decoder's vocabulary."""
    decoder = checkpoint.part("decoder")
    if decoder is None:
        return
    for name in ID_NAMES:
        for place, ids in ids_by_file(checkpoint, name).items():
            if any(token >= (size := decoder.sizes.vocab_size) for token in ids):
                problem = f"{name} is {shown(ids)} in {place}, but the decoder's vocabulary has {size} tokens"
                yield Finding("error", "ids", problem, _set_id(checkpoint, name, place=place))


def ids_match_the_tokenizer(checkpoint: OpenedCheckpoint) -> Findings:
    """The begin, end and padding ids are the tokenizer's."""
    decoder = checkpoint.part("decoder")
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        expected = tokenizer_id(checkpoint, name)
        for place, ids in ids_by_file(checkpoint, name).items():
            # ids_are_in_the_vocabulary reports the others.
            in_vocabulary = decoder is None or all(token < decoder.sizes.vocab_size for token in ids)
            if expected is not None and in_vocabulary and expected not in ids:
                problem = (
                    f"{name} is {shown(ids)} ({tokens_of(checkpoint, ids)!r}) in {place}, but {expected} "
                    f"({tokens_of(checkpoint, expected)!r}) in the tokenizer"
                )
                severity: Severity = "warning" if name == "bos_token_id" else "error"
                yield Finding(severity, "ids", problem, _set_id(checkpoint, name, place=place))


def files_agree_on_ids(checkpoint: OpenedCheckpoint) -> Findings:
    """config.json and generation_config.json set the same id, where the tokenizer does not decide between them."""
    for name in ID_NAMES:
        by_file = ids_by_file(checkpoint, name)
        in_config, in_generation = by_file.get("config.json"), by_file.get(GENERATION_FILE)
        if not in_config or not in_generation or tokenizer_id(checkpoint, name) is not None:
            continue
        if not set(in_config) <= set(in_generation):
            yield Finding(
                "warning",
                "ids",
                f"{name} is {shown(in_config)} in config.json, but {shown(in_generation)} in {GENERATION_FILE}: training "
                "uses the first, generation the second",
                f'set "{name}" in both files to the id that the model was trained with',
            )


def _set_id(checkpoint: OpenedCheckpoint, name: str, *, like: str | None = None, place: str = "config.json") -> str:
    """The fix for an id: the tokenizer's value for ``like`` (by default ``name``), if it has one."""
    token = tokenizer_id(checkpoint, like or name)
    if token is None:
        return f'set "{name}" in {place} to the id of the token that the decoder was trained with'
    text = tokens_of(checkpoint, token)
    return f'set "{name}": {token} ({text!r}) in {place}, if this is the decoder\'s tokenizer'
