"""Checks of the tokenizer: it has the decoder's vocabulary, and its special tokens stay out of the text."""

from __future__ import annotations

from vedcore.diagnosis.checkpoint import OpenedCheckpoint
from vedcore.diagnosis.findings import Finding, Findings
from vedcore.diagnosis.token_ids import effective_ids, tokenizer_id, tokens_of


def vocabulary_matches_the_decoder(checkpoint: OpenedCheckpoint) -> Findings:
    """The tokenizer has as many tokens as the decoder; a vocabulary that is padded to a round number may be larger."""
    decoder, tokenizer = checkpoint.part("decoder"), checkpoint.tokenizer
    if decoder is None or tokenizer is None:
        return
    count, size = max(tokenizer.get_vocab().values()) + 1, decoder.sizes.vocab_size
    fix = (
        "copy tokenizer.json and tokenizer_config.json from the checkpoint in which the decoder was trained; if tokens were "
        "added, the decoder needs an embedding row for each, and training"
    )
    if count > size:
        problem = f"the tokenizer has the ids 0 to {count - 1}, but the decoder's vocabulary ends at {size - 1}"
        yield Finding("error", "tokenizer", problem, fix)
    elif count < size and not any(size % step == 0 and size - count < step for step in (8, 16, 32, 64, 128)):
        problem = f"the decoder's vocabulary has {size} tokens, but the tokenizer has only the first {count}"
        yield Finding("warning", "tokenizer", problem, fix)


def special_tokens_are_hidden(checkpoint: OpenedCheckpoint) -> Findings:
    """The start, end and padding tokens are special tokens of the tokenizer, so that the text does not contain them."""
    tokenizer = checkpoint.tokenizer
    if tokenizer is None:
        return
    reported: set[int] = set()
    for name in ("eos_token_id", "pad_token_id", "decoder_start_token_id"):
        for token in effective_ids(checkpoint, name):
            is_wrong = tokenizer_id(checkpoint, name) not in (None, token)  # reported by ids_match_the_tokenizer
            if is_wrong or token in reported or tokens_of(checkpoint, token) is None:
                continue
            reported.add(token)
            text = tokenizer.decode([token], skip_special_tokens=True)
            if text:
                yield Finding(
                    "warning",
                    "tokenizer",
                    f"{name} is {token}, which is not a special token of the tokenizer: texts will show it as {text!r}",
                    f'if {token} is right, add {text!r} to tokenizer_config.json, as "{name.removesuffix("_id")}" or in '
                    f'"additional_special_tokens"; otherwise correct {name} in config.json',
                )
