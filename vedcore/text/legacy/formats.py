"""The tokenizer classes that are read from vocabulary files, with the steps that each has in transformers 5.23."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from vedcore.errors import TokenizerError, foreign
from vedcore.storage.files import read_json
from vedcore.text.legacy.added_tokens import add_tokens
from vedcore.text.legacy.byte_pairs import BYTE_PAIR_FILES, byte_level_bpe, gpt2_template, roberta_template
from vedcore.text.legacy.folder import VocabularyFolder
from vedcore.text.legacy.unigram import UNIGRAM_FILES, unigram, xlm_roberta_template
from vedcore.text.legacy.word_pieces import WORD_PIECE_FILES, bert_template, characters, word_pieces
from vedcore.text.special_tokens import BERT, GPT2, ROBERTA, class_key


@dataclass(frozen=True)
class _Format:
    """A tokenizer class: its files, its special tokens, how it is built, and what it adds around a text."""

    tokenizer_class: str
    files: tuple[str, ...]
    special_tokens: Mapping[str, Any]
    build: Callable[[VocabularyFolder], Tokenizer]
    template: Callable[[VocabularyFolder, Tokenizer], Any]


# RoBERTa and BART are trained with a mask that stands for a word and the space before it.
_MASK = {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "normalized": False}
_WITH_MASK = {**ROBERTA, "mask_token": _MASK}
_FORMATS: dict[str, _Format] = {
    class_key(entry.tokenizer_class): entry
    for entry in (
        _Format("GPT2Tokenizer", BYTE_PAIR_FILES, GPT2, byte_level_bpe, gpt2_template),
        _Format("RobertaTokenizer", BYTE_PAIR_FILES, _WITH_MASK, byte_level_bpe, roberta_template),
        _Format("BartTokenizer", BYTE_PAIR_FILES, _WITH_MASK, byte_level_bpe, roberta_template),
        _Format("BertTokenizer", WORD_PIECE_FILES, BERT, word_pieces, bert_template),
        _Format("DistilBertTokenizer", WORD_PIECE_FILES, BERT, word_pieces, bert_template),
        _Format("BertJapaneseTokenizer", WORD_PIECE_FILES, BERT, characters, bert_template),
        _Format("XLMRobertaTokenizer", UNIGRAM_FILES, _WITH_MASK, unigram, xlm_roberta_template),
    )
}
_SUPPORTED = (
    "supported: tokenizer.json, or vocab.json and merges.txt, vocab.txt or sentencepiece.bpe.model "
    f"of {', '.join(entry.tokenizer_class for entry in _FORMATS.values())}"
)


def build_from_vocabulary(
    folder: Path, settings: Mapping[str, Any], family: str | None
) -> tuple[Tokenizer, dict[str, Any], str]:
    """The tokenizer of the vocabulary files in ``folder`` -> (tokenizer, complete settings, its main file).

    The class is the tokenizer_class of the settings, else the class of ``family`` (a model type), else the class that
    usually has the files in the folder. Raises TokenizerError with the files that exist and those that are supported.
    """
    chosen = _choose(folder, settings, family)
    implied = {name: value for name, value in chosen.special_tokens.items() if name not in settings}
    complete = {"tokenizer_class": chosen.tokenizer_class, **settings, **implied}
    if chosen.tokenizer_class == "BertJapaneseTokenizer":
        complete["tokenizer_class"] = "PreTrainedTokenizerFast"  # the class itself cannot read a tokenizer.json
    file = folder / chosen.files[0]
    with foreign(TokenizerError, str(file), file=file):
        source = VocabularyFolder(folder, complete, chosen.tokenizer_class)
        core = chosen.build(source)
        add_tokens(core, source)
        core.post_processor = chosen.template(source, core)
    return core, complete, str(file)


def _choose(folder: Path, settings: Mapping[str, Any], family: str | None) -> _Format:
    names = {item.name for item in folder.iterdir()}
    held = f"it holds {', '.join(sorted(names)) or 'nothing'}"
    tokenizer_class = settings.get("tokenizer_class")
    if tokenizer_class is not None:
        chosen = _FORMATS.get(class_key(tokenizer_class))
        if chosen is None:
            raise TokenizerError(
                f"{folder}: no tokenizer.json for the tokenizer_class {tokenizer_class!r} ({_SUPPORTED}); {held}",
                file=folder,
                field="tokenizer_class",
                found=tokenizer_class,
            )
        if not set(chosen.files) <= names:
            wanted = " and ".join(chosen.files)
            raise TokenizerError(
                f"{folder}: no tokenizer.json and no {wanted} for {tokenizer_class} ({_SUPPORTED}); {held}",
                file=folder,
                expected=chosen.files,
                found=sorted(names),
            )
        return chosen
    complete = [key for key, entry in _FORMATS.items() if set(entry.files) <= names]
    if not complete:
        raise TokenizerError(
            f"{folder}: no tokenizer.json ({_SUPPORTED}); {held}",
            file=folder,
            expected="tokenizer.json",
            found=sorted(names),
        )
    if class_key(family) in complete:
        return _FORMATS[class_key(family)]
    if "xlmroberta" in complete:
        return _FORMATS["xlmroberta"]
    if "bert" in complete:
        return _FORMATS["bertjapanese" if settings.get("subword_tokenizer_type") == "character" else "bert"]
    return _FORMATS["roberta" if {"<s>", "</s>"} <= set(read_json(folder / "vocab.json")) else "gpt2"]
