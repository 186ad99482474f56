"""Checks of the generation settings: they are valid, and let a text end in time."""

from __future__ import annotations

from vedcore.diagnosis.checkpoint import OpenedCheckpoint
from vedcore.diagnosis.checks.repairs import repair
from vedcore.diagnosis.findings import Finding, Findings
from vedcore.diagnosis.token_ids import effective_ids, shown
from vedcore.errors import VedcoreError
from vedcore.generation.config import DEFAULT_NEW_TOKENS
from vedcore.generation.config import FILE as GENERATION_FILE
from vedcore.storage.own import OWN_FILE

CHARACTERS_PER_HEIGHT = 3.0
"""The number of characters of narrow type in a piece as wide as its ink is high. Usual type has about two."""


def settings_are_valid(checkpoint: OpenedCheckpoint) -> Findings:
    """vedcore implements the settings, they do not contradict each other, and they do not suppress the end token."""
    generation_config = checkpoint.generation_config
    if generation_config is None:
        return
    end_ids = effective_ids(checkpoint, "eos_token_id") or None
    try:
        generation_config.replace(eos_token_id=end_ids).resolved()
    except VedcoreError as error:
        yield Finding("error", "generation", f"{GENERATION_FILE}: {error}", repair(checkpoint, "generation"))
    suppressed = set(generation_config.suppress_tokens or ())
    if end_ids is not None and set(end_ids) <= suppressed:
        problem = f"suppress_tokens has {shown(end_ids)}, the end token: no text ends before its maximum length"
        fix = f'remove {shown(end_ids)} from "suppress_tokens" in {GENERATION_FILE}'
        yield Finding("error", "generation", problem, fix)


def length_is_limited(checkpoint: OpenedCheckpoint) -> Findings:
    """A maximum length is set; the decoder has positions for it, and it is not less than the minimum length."""
    generation_config, decoder = checkpoint.generation_config, checkpoint.part("decoder")
    if generation_config is None or not checkpoint.is_whole:
        return
    positions = None if decoder is None else decoder.sizes.max_positions
    longest = positions or getattr(checkpoint.tokenizer, "model_max_length", None)
    fix = f'set "max_length"{f": {longest}" if longest else ""} in {GENERATION_FILE}'
    maximum, minimum = generation_config.limit(1), generation_config.minimum_length(1)
    if generation_config.max_length is None and generation_config.max_new_tokens is None:
        problem = (
            f"neither max_length nor max_new_tokens is set, so every text is cut after {DEFAULT_NEW_TOKENS} tokens"
        )
        yield Finding("warning", "generation", problem, f"{fix}, or to the length of your longest text")
    elif positions is not None and maximum > positions + 1:  # the last token is never fed to the decoder
        problem = (
            f"texts may grow to {maximum} tokens, but the decoder has positions for {positions}, where texts are cut"
        )
        yield Finding("warning", "generation", problem, fix)
    if minimum > maximum:
        problem = f"a text must have {minimum} tokens before it ends, but is cut after {maximum}"
        yield Finding("error", "generation", problem, f'set "min_length" below "max_length" in {GENERATION_FILE}')


def length_uses_the_positions(checkpoint: OpenedCheckpoint) -> Findings:
    """A maximum length near the number of positions is not below it, which would cut texts that the decoder can write.

    A length of less than half of the positions is taken for intended: captions are short.
    """
    generation_config, decoder = checkpoint.generation_config, checkpoint.part("decoder")
    positions = None if decoder is None else decoder.sizes.max_positions
    if generation_config is None or positions is None or generation_config.max_new_tokens is not None:
        return
    maximum = generation_config.max_length
    if maximum is not None and positions / 2 <= maximum < positions:
        yield Finding(
            "warning",
            "generation",
            f"max_length is {maximum}, so no text has more than {maximum - 1} tokens with its end token, but the decoder has "
            f"positions for {positions}",
            f'set "max_length": {positions} in {GENERATION_FILE}',
        )


def pieces_fit_the_positions(checkpoint: OpenedCheckpoint) -> Findings:
    """The longest piece of a line that is cut has no more characters than a text may have tokens."""
    rule, decoder = checkpoint.cut_rule, checkpoint.part("decoder")
    positions = None if decoder is None else decoder.sizes.max_positions
    if rule is None or positions is None:
        return
    characters = rule.longest * CHARACTERS_PER_HEIGHT
    if characters > positions - 1:
        yield Finding(
            "warning",
            "generation",
            f"a line is cut into pieces of up to {rule.longest:g} heights of the ink, about {characters:.0f} characters in "
            f"narrow type, but the decoder has positions for {positions - 1} and the end token",
            f'set "longest" in "cut" to at most {(positions - 1) / CHARACTERS_PER_HEIGHT:.1f} in {OWN_FILE}, if a token is a '
            "character",
        )
