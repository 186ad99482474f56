"""Unigram, as XLM-RoBERTa uses it: sentencepiece.bpe.model."""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from vedcore.errors import TokenizerError
from vedcore.text.legacy.folder import VocabularyFolder
from vedcore.text.legacy.sentencepiece import CONTROL, UNIGRAM, USER_DEFINED, read_model

UNIGRAM_FILES = ("sentencepiece.bpe.model",)


def unigram(folder: VocabularyFolder) -> Tokenizer:
    """The unigram tokenizer without special tokens around a text. Raises TokenizerError for another kind of model."""
    path = folder.path / UNIGRAM_FILES[0]
    model = read_model(folder.read(UNIGRAM_FILES[0]), str(path))
    if model.model_type != UNIGRAM or model.byte_fallback:
        found = "byte fallback" if model.byte_fallback else f"model type {model.model_type}"
        expected = "a unigram model (type 1) without byte fallback"
        raise TokenizerError(f"{path}: expected {expected}, found {found}", file=path, expected=expected, found=found)
    first = [folder.token(name) for name in ("bos_token", "pad_token", "eos_token", "unk_token")]
    # The file starts with <unk>, <s> and </s>. The class puts four tokens there instead, so ids are shifted by one.
    scored = [(token.text, token.score) for token in model.tokens[3:]]
    vocab = [*((token, 0.0) for token in first), *scored, (folder.token("mask_token"), 0.0)]
    core = Tokenizer(models.Unigram(vocab, unk_id=3, byte_fallback=False))
    if model.charsmap:
        core.normalizer = normalizers.Precompiled(model.charsmap)
    scheme = "always" if folder.flag("add_prefix_space", True) else "never"
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme)]
    )
    core.decoder = decoders.Metaspace(replacement="▁", prepend_scheme=scheme)
    for token in model.tokens:
        if token.type in (CONTROL, USER_DEFINED):
            is_special = token.type == CONTROL
            core.add_tokens([AddedToken(token.text, normalized=False, special=is_special)])
    return core


def xlm_roberta_template(folder: VocabularyFolder, core: Tokenizer) -> Any:
    """Adds bos_token before a text and eos_token after it."""
    first, last = folder.token_with_id(core, "bos_token"), folder.token_with_id(core, "eos_token")
    return processors.TemplateProcessing(
        single=[first[0], "$A", last[0]],
        pair=[first[0], "$A", last[0], last[0], "$B", last[0]],
        special_tokens=list(dict.fromkeys([first, last])),
    )
