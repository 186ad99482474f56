"""WordPiece and characters, as BERT uses them: vocab.txt, one token per line."""

from __future__ import annotations

from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from vedcore.errors import TokenizerError
from vedcore.text.legacy.folder import VocabularyFolder

WORD_PIECE_FILES = ("vocab.txt",)


def word_pieces(folder: VocabularyFolder) -> Tokenizer:
    """The WordPiece tokenizer without special tokens around a text."""
    core = Tokenizer(models.WordPiece(_vocabulary(folder), unk_token=folder.token("unk_token")))
    core.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(folder.flag("tokenize_chinese_chars", True)),
        strip_accents=folder.flag("strip_accents", None),
        lowercase=bool(folder.flag("do_lower_case", True)),
    )
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece(prefix="##")
    return core


def characters(folder: VocabularyFolder) -> Tokenizer:
    """The character tokenizer of BertJapaneseTokenizer. Raises TokenizerError if the settings ask for words."""
    name, wanted = "subword_tokenizer_type", "character"
    found = folder.settings.get(name, "wordpiece")
    if found != wanted:
        raise TokenizerError(
            f"{folder.path}: BertJapaneseTokenizer is supported with {name} {wanted!r}, got {found!r} "
            "(words need a dictionary); convert the tokenizer to a tokenizer.json first",
            file=folder.path,
            field=name,
            expected=wanted,
            found=found,
        )
    core = Tokenizer(models.WordLevel(_vocabulary(folder), unk_token=folder.token("unk_token")))
    # A dictionary would find words, which are then split into characters. Only the spaces between words are lost.
    steps: list[Any] = [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), "")]
    if folder.flag("do_lower_case", False):
        steps.append(normalizers.Lowercase())
    core.normalizer = normalizers.Sequence(steps)
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?m)."), "isolated")
    core.decoder = decoders.Sequence([decoders.Replace(Regex("^##"), ""), decoders.Fuse()])
    return core


def bert_template(folder: VocabularyFolder, core: Tokenizer) -> Any:
    """Adds cls_token before a text and sep_token after it."""
    first, last = folder.token_with_id(core, "cls_token"), folder.token_with_id(core, "sep_token")
    return processors.TemplateProcessing(
        single=[f"{first[0]}:0", "$A:0", f"{last[0]}:0"],
        pair=[f"{first[0]}:0", "$A:0", f"{last[0]}:0", "$B:1", f"{last[0]}:1"],
        special_tokens=list(dict.fromkeys([first, last])),
    )


def _vocabulary(folder: VocabularyFolder) -> dict[str, int]:
    return {token: number for number, token in enumerate(folder.lines("vocab.txt"))}
