"""The forms of a tokenizer before tokenizer.json: a vocabulary file, and a class whose name says how it is used.

``build`` makes a tokenizer of the tokenizers library of them, with the steps that the class has in transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from vedcore.errors import TokenizerError, foreign
from vedcore.storage.files import MAX_JSON_BYTES, read_json
from vedcore.text import pieces

# In the order in which transformers adds those that a vocabulary lacks, since the order gives the ids.
NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
LISTS = ("additional_special_tokens", "extra_special_tokens")
LARGEST_ID = 2**24  # a few bytes of a file must not ask for a table of 2**32 rows

_FLAGS = ("lstrip", "rstrip", "single_word", "normalized")
_BERT = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_ROBERTA = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
_GPT2 = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
_NOUGAT = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
SPECIAL: dict[str, dict[str, str]] = {
    "bert": _BERT,
    "bertjapanese": _BERT,
    "distilbert": _BERT,
    "gpt2": _GPT2,
    "roberta": _ROBERTA,
    "xlmroberta": _ROBERTA,
    "bart": _ROBERTA,
    "nougat": _NOUGAT,
}
"""Special tokens of published tokenizers whose files leave them to the class; used where the vocabulary has them."""


def plain_name(kind: Any) -> str:
    """The key of a class or a model type in the tables here: "XLMRobertaTokenizerFast" -> "xlmroberta"."""
    name = kind.removesuffix("Fast").removesuffix("Tokenizer") if isinstance(kind, str) else ""
    return name.lower().replace("-", "").replace("_", "")


def content(value: Any) -> str | None:
    """The text of a token, which stands in the files as a string or as an object with its flags."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None


def special_token(value: Any) -> AddedToken:
    """A special token with the flags that its file gives it."""
    flags = value if isinstance(value, dict) else {}
    chosen: dict[str, Any] = {name: flags[name] for name in _FLAGS if name in flags}
    return AddedToken(content(value) or "", **{"normalized": False, "special": True, **chosen})


@dataclass(frozen=True)
class _Source:
    """A folder and its settings, with the class's own special tokens where the settings name none."""

    folder: Path
    settings: Mapping[str, Any]
    kind: str

    def text(self, name: str) -> str:
        path = self.folder / name
        if path.stat().st_size > MAX_JSON_BYTES:
            raise TokenizerError(f"{path}: {path.stat().st_size} bytes, more than the {MAX_JSON_BYTES} allowed")
        return path.read_bytes().decode("utf-8").replace("\r\n", "\n")

    def flag(self, name: str, default: bool | None) -> Any:
        value = self.settings.get(name, default)
        if value is not None and type(value) is not bool:
            raise TokenizerError(f"{self.folder}: {name} must be true or false, got {value!r}")
        return value

    def token(self, name: str) -> str:
        token = content(self.settings.get(name))
        if not token:
            raise TokenizerError(f"{self.folder}: a tokenizer of the class {self.kind} needs a {name}")
        return token

    def pair(self, core: Tokenizer, name: str) -> tuple[str, int]:
        token = self.token(name)
        number = core.token_to_id(token)
        if number is None:
            raise TokenizerError(f"{self.folder}: {name} {token!r} is not in the vocabulary")
        return token, int(number)


@dataclass(frozen=True)
class _Form:
    """The files of a class, its special tokens, how it is made of them, and what it puts around a text."""

    kind: str
    files: tuple[str, ...]
    special: Mapping[str, Any]
    make: Callable[[_Source], Tokenizer]
    wrap: Callable[[_Source, Tokenizer], Any]


# Pairs of bytes: vocab.json and merges.txt.


def _byte_pairs(source: _Source) -> Tokenizer:
    vocab, merges = read_json(source.folder / "vocab.json"), []
    for token, number in vocab.items():
        if type(number) is not int or not 0 <= number < LARGEST_ID:
            raise TokenizerError(f"{source.folder / 'vocab.json'}: the id of {token!r} is {number!r}")
    for place, line in enumerate(source.text("merges.txt").removesuffix("\n").split("\n"), 1):
        if not line or line.startswith("#version"):
            continue
        pair = tuple(line.split(" "))
        if len(pair) != 2 or not all(pair):
            raise TokenizerError(f"{source.folder / 'merges.txt'}: line {place} must be two tokens, found {line!r}")
        merges.append((pair[0], pair[1]))
    core = Tokenizer(models.BPE(vocab, merges, continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(source.flag("add_prefix_space", False)))
    core.decoder = decoders.ByteLevel()
    return core


def _gpt2_ends(source: _Source, core: Tokenizer) -> Any:
    template, used = ["$A"], []
    if source.flag("add_bos_token", False):
        used.append(source.pair(core, "bos_token"))
        template.insert(0, used[-1][0])
    if source.flag("add_eos_token", False):
        used.append(source.pair(core, "eos_token"))
        template.append(used[-1][0])
    if not used:
        return processors.ByteLevel(trim_offsets=False)
    return processors.TemplateProcessing(single=template, special_tokens=list(dict.fromkeys(used)))


def _roberta_ends(source: _Source, core: Tokenizer) -> Any:
    return processors.RobertaProcessing(
        source.pair(core, "sep_token"),
        source.pair(core, "cls_token"),
        trim_offsets=bool(source.flag("trim_offsets", True)),
        add_prefix_space=bool(source.flag("add_prefix_space", False)),
    )


# Words in pieces, and characters: vocab.txt.


def _lines(source: _Source) -> dict[str, int]:
    return {token: number for number, token in enumerate(source.text("vocab.txt").removesuffix("\n").split("\n"))}


def _word_pieces(source: _Source) -> Tokenizer:
    core = Tokenizer(models.WordPiece(_lines(source), unk_token=source.token("unk_token")))
    core.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(source.flag("tokenize_chinese_chars", True)),
        strip_accents=source.flag("strip_accents", None),
        lowercase=bool(source.flag("do_lower_case", True)),
    )
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece(prefix="##")
    return core


def _characters(source: _Source) -> Tokenizer:
    subwords = source.settings.get("subword_tokenizer_type", "wordpiece")
    if subwords != "character":
        raise TokenizerError(
            f"{source.folder}: BertJapaneseTokenizer is read with subword_tokenizer_type 'character', got {subwords!r} "
            "(its words need a dictionary); save it as tokenizer.json elsewhere"
        )
    core = Tokenizer(models.WordLevel(_lines(source), unk_token=source.token("unk_token")))
    # The words that a dictionary finds are all cut into characters again: of them only the lost spaces remain.
    steps: list[Any] = [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), "")]
    if source.flag("do_lower_case", False):
        steps.append(normalizers.Lowercase())
    core.normalizer = normalizers.Sequence(steps)
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?m)."), "isolated")
    core.decoder = decoders.Sequence([decoders.Replace(Regex("^##"), ""), decoders.Fuse()])
    return core


def _bert_ends(source: _Source, core: Tokenizer) -> Any:
    first, last = source.pair(core, "cls_token"), source.pair(core, "sep_token")
    return processors.TemplateProcessing(
        single=[f"{first[0]}:0", "$A:0", f"{last[0]}:0"],
        pair=[f"{first[0]}:0", "$A:0", f"{last[0]}:0", "$B:1", f"{last[0]}:1"],
        special_tokens=list(dict.fromkeys([first, last])),
    )


# Pieces with probabilities: sentencepiece.bpe.model.


def _unigram(source: _Source) -> Tokenizer:
    path = source.folder / "sentencepiece.bpe.model"
    if path.stat().st_size > MAX_JSON_BYTES:
        raise TokenizerError(f"{path}: {path.stat().st_size} bytes, more than the {MAX_JSON_BYTES} allowed")
    model = pieces.read_model(path.read_bytes(), str(path))
    if model.model_type != pieces.UNIGRAM or model.byte_fallback:
        found = "byte fallback" if model.byte_fallback else f"model type {model.model_type}"
        raise TokenizerError(f"{path}: expected a unigram model (type 1) without byte fallback, found {found}")
    first = [source.token(name) for name in ("bos_token", "pad_token", "eos_token", "unk_token")]
    # The first three pieces are <unk>, <s> and </s>; the class puts four of its own there, so ids are shifted by one.
    scored = [(piece.text, piece.score) for piece in model.pieces[3:]]
    vocab = [*((token, 0.0) for token in first), *scored, (source.token("mask_token"), 0.0)]
    core = Tokenizer(models.Unigram(vocab, unk_id=3, byte_fallback=False))
    if model.charsmap:
        core.normalizer = normalizers.Precompiled(model.charsmap)
    scheme = "always" if source.flag("add_prefix_space", True) else "never"
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme)]
    )
    core.decoder = decoders.Metaspace(replacement="▁", prepend_scheme=scheme)
    for piece in model.pieces:
        if piece.type in (pieces.CONTROL, pieces.USER):
            token = AddedToken(piece.text, normalized=False, special=piece.type == pieces.CONTROL)
            core.add_tokens([token])
    return core


def _xlm_roberta_ends(source: _Source, core: Tokenizer) -> Any:
    first, last = source.pair(core, "bos_token"), source.pair(core, "eos_token")
    return processors.TemplateProcessing(
        single=[first[0], "$A", last[0]],
        pair=[first[0], "$A", last[0], last[0], "$B", last[0]],
        special_tokens=list(dict.fromkeys([first, last])),
    )


# A mask stands for a word with the space before it, as these two were trained.
_MASKED = {**_ROBERTA, "mask_token": {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "normalized": False}}
_PAIRS, _LINES, _PIECES = ("vocab.json", "merges.txt"), ("vocab.txt",), ("sentencepiece.bpe.model",)
_FORMS: dict[str, _Form] = {
    "gpt2": _Form("GPT2Tokenizer", _PAIRS, _GPT2, _byte_pairs, _gpt2_ends),
    "roberta": _Form("RobertaTokenizer", _PAIRS, _MASKED, _byte_pairs, _roberta_ends),
    "bart": _Form("BartTokenizer", _PAIRS, _MASKED, _byte_pairs, _roberta_ends),
    "bert": _Form("BertTokenizer", _LINES, _BERT, _word_pieces, _bert_ends),
    "distilbert": _Form("DistilBertTokenizer", _LINES, _BERT, _word_pieces, _bert_ends),
    "bertjapanese": _Form("BertJapaneseTokenizer", _LINES, _BERT, _characters, _bert_ends),
    "xlmroberta": _Form("XLMRobertaTokenizer", _PIECES, _MASKED, _unigram, _xlm_roberta_ends),
}
READ = (
    "tokenizer.json is read; without it vocab.json and merges.txt, vocab.txt or sentencepiece.bpe.model, "
    f"as one of {', '.join(form.kind for form in _FORMS.values())}"
)


def build(folder: Path, settings: Mapping[str, Any], family: str | None) -> tuple[Tokenizer, dict[str, Any], str]:
    """The tokenizer of the vocabulary files in ``folder`` -> (it, its settings with nothing left unsaid, its file).

    The class is the tokenizer_class of the settings, else the one of ``family`` (a model type), else that of the
    files there. Raises TokenizerError: what there is, and what would be read.
    """
    form = _form(folder, settings, family)
    usual = {name: value for name, value in form.special.items() if name not in settings}
    complete = {"tokenizer_class": form.kind, **settings, **usual}
    if form.kind == "BertJapaneseTokenizer":
        complete["tokenizer_class"] = "PreTrainedTokenizerFast"  # the class itself cannot read a tokenizer.json
    file = folder / form.files[0]
    with foreign(TokenizerError, str(file)):
        source = _Source(folder, complete, form.kind)
        core = form.make(source)
        _add(core, source)
        core.post_processor = form.wrap(source, core)
    return core, complete, str(file)


def _form(folder: Path, settings: Mapping[str, Any], family: str | None) -> _Form:
    names = {item.name for item in folder.iterdir()}
    there = f"it holds {', '.join(sorted(names)) or 'nothing'}"
    kind = settings.get("tokenizer_class")
    if kind is not None:
        form = _FORMS.get(plain_name(kind))
        if form is None:
            raise TokenizerError(f"{folder}: no tokenizer.json for the tokenizer_class {kind!r} ({READ}); {there}")
        if not set(form.files) <= names:
            wanted = " and ".join(form.files)
            raise TokenizerError(f"{folder}: no tokenizer.json and no {wanted} for {kind} ({READ}); {there}")
        return form
    held = [key for key, form in _FORMS.items() if set(form.files) <= names]
    if not held:
        raise TokenizerError(f"{folder}: no tokenizer.json ({READ}); {there}")
    if plain_name(family) in held:
        return _FORMS[plain_name(family)]
    if "xlmroberta" in held:
        return _FORMS["xlmroberta"]
    if "bert" in held:
        return _FORMS["bertjapanese" if settings.get("subword_tokenizer_type") == "character" else "bert"]
    return _FORMS["roberta" if {"<s>", "</s>"} <= set(read_json(folder / "vocab.json")) else "gpt2"]


# Added tokens.


def _add(core: Tokenizer, source: _Source) -> None:
    """The added tokens in the order that gives transformers' ids: those of the files by their ids, then the special."""
    settings = source.settings
    named = [settings[name] for name in NAMES if settings.get(name) is not None]
    listed = [value for name in LISTS for value in _each(settings.get(name))]
    special = {content(value) for value in (*named, *listed)}
    flagged = {content(value): value for value in (*listed, *named) if isinstance(value, dict)}
    for number, token in _numbered(source, special, flagged):
        core.add_tokens([token])
        found = core.token_to_id(token.content)
        if found != number:
            raise TokenizerError(
                f"{source.folder}: the added token {token.content!r} must have the id {number}, but it comes to {found}"
            )
    known = {token.content for token in core.get_added_tokens_decoder().values() if token.special}
    for value in (*named, *listed):
        if (text := content(value)) and text not in known:
            core.add_special_tokens([special_token(value)])
            known.add(text)


def _each(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _numbered(source: _Source, special: set[str | None], flagged: Mapping[Any, Any]) -> list[tuple[int, AddedToken]]:
    """The tokens of added_tokens_decoder, or else those of added_tokens.json, by their ids."""
    rows: list[tuple[int, AddedToken]] = []
    table = source.settings.get("added_tokens_decoder")
    if isinstance(table, dict):
        for key, value in table.items():
            if not key.isdecimal() or not isinstance(value, dict) or not content(value):
                raise TokenizerError(f"{source.folder}: added_tokens_decoder: {key!r} must be an id with a token")
            flags = {name: value[name] for name in (*_FLAGS, "special") if name in value}
            rows.append((int(key), AddedToken(content(value) or "", **flags)))
    elif (source.folder / "added_tokens.json").is_file():
        for text, number in read_json(source.folder / "added_tokens.json").items():
            if type(number) is not int or not text:
                raise TokenizerError(f"{source.folder / 'added_tokens.json'}: the id of {text!r} is {number!r}")
            plain = AddedToken(text, normalized=text not in special, special=text in special)
            rows.append((number, special_token(flagged[text]) if text in flagged else plain))
    return sorted(rows, key=lambda row: row[0])
