"""Tokenizer formats older than tokenizer.json: each gives the tokens and texts of transformers."""

from __future__ import annotations

import json
import random
import shutil
import struct
import unicodedata
from importlib.util import find_spec

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers, trainers

from vedcore import Tokenizer, TokenizerError

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the naïve façade — déjà vu — of Ångström.",
    "Linda Davis, 12 Main St.; total: $34.50! don't can't won't it's we've they're 1,000,000",
    "日本語の文字と漢字。カタカナ、ひらがな！ 中文字符 한국어",
    "Straße Ärger Öl Übung ñandú coração œuvre Ελληνικά Русский текст עברית العربية",
]
PARTS = [
    *(
        "the",
        "quick",
        "Brown",
        "naïve",
        "ÅNGSTRÖM",
        "don't",
        "we've",
        "12.50",
        "$",
        "—",
        "…",
        "!?",
        "a.b,c",
        "ß",
        "ﬁ",
        "Ａ",
    ),
    *(
        "日本",
        "漢字。",
        "カタ",
        "한국",
        "中文",
        "Русский",
        "العربية",
        "🙂",
        "👩‍👩‍👧",
        "🇩🇪",
        "e\u0301",
        "\u200b",
        "\ufeff",
        "\xa0",
        "\u3000",
    ),
    *(
        "<s>",
        "</s>",
        "<pad>",
        "<mask>",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "[UNK]",
        "<unk>",
        "<|endoftext|>",
        "<one>",
        "<s_menu>",
    ),
    *("▁", "##a", "\x00", "\x07", "\x85", "½", "²", "İ", "ǅ"),
]
JOINTS = ["", " ", " ", " ", "  ", "\n", "\t", " \n ", "   "]


def mixed(count):
    chance = random.Random(7)
    return [
        "".join(chance.choice(PARTS) + chance.choice(JOINTS) for _ in range(chance.randint(1, 7))) for _ in range(count)
    ]


TEXTS = [*CORPUS, "", " ", "\n\n \t", "  two  spaces  ", "word " * 30, " . , ? n't 's", *PARTS, *mixed(120)]
ANY_TEXT = st.one_of(st.text(max_size=25), st.lists(st.sampled_from([*PARTS, *JOINTS]), max_size=8).map("".join))
MASK = {"content": "<mask>", "lstrip": True, "rstrip": False, "single_word": False, "normalized": False}


def write_json(path, data):
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")


def byte_pairs(folder, special=("<s>", "<pad>", "</s>", "<unk>", "<mask>")):
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(CORPUS, trainer)
    core.model.save(str(folder))


def lines(folder, *, lowercase):
    core = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    core.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=260, special_tokens=names, show_progress=False)
    )
    core.model.save(str(folder))


# Write a sentencepiece model, field by field.


def varint(number):
    rest, low = divmod(number, 128)
    return bytes([low]) if not rest else bytes([low | 128]) + varint(rest)


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def charsmap(table):
    """A compiled character map: a trie in which every node has 256 places of its own, and the results."""
    units, results = [0] * 256, b""

    def grow(place, tree, label, found):
        children = {key[0] for key in tree if key}
        base = len(units)
        units.extend([0] * 256)
        leaf = b"" in tree
        units[place] = label | leaf << 8 | (place ^ base) << 10
        if leaf:
            units[base] = 1 << 31 | found[tree[b""]]
        for byte in sorted(children):
            grow(base ^ byte, {key[1:]: value for key, value in tree.items() if key[:1] == bytes([byte])}, byte, found)

    found = {}
    for result in table.values():
        found[result] = len(results)
        results += result.encode() + b"\0"
    grow(0, {key.encode(): value for key, value in table.items()}, 0, found)
    trie = struct.pack(f"<{len(units)}I", *units)
    return struct.pack("<I", len(trie)) + trie + results


MAP = charsmap({"ﬁ": "fi", "Ａ": "A", "½": "1/2", "\xa0": " ", "\u3000": " ", "\t": " ", "…": "...", "\u200b": ""})
FIRST = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]


def unigram_tokens():
    core = tokenizers.Tokenizer(models.Unigram())
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    core.train_from_iterator([text for text in CORPUS for _ in range(3)], trainer)
    vocab = json.loads(core.to_str())["model"]["vocab"]
    return [(token, score, 1) for token, score in vocab if token != "<unk>"]


def model(rows, table=MAP, kind=1):
    body = b""
    for text, score, type_ in rows:
        body += field(1, field(1, text) + field(2, score) + (field(3, type_) if type_ != 1 else b""))
    trainer = field(1, "corpus.txt") + field(3, kind) + field(4, len(rows)) + field(10, 0.9995) + field(40, 0)
    return (
        body + field(2, trainer) + field(3, field(1, "nmt_nfkc") + field(2, table) + field(3, 1)) + b"\x31" + bytes(8)
    )


ROWS = [*FIRST, *unigram_tokens(), ("<user>", 0.0, 4)]


# The families.


def gpt2(folder):
    byte_pairs(folder, ["<|endoftext|>"])
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 64})


def gpt2_with_ends(folder):
    byte_pairs(folder, ["<|endoftext|>"])
    fields = {"add_bos_token": True, "add_prefix_space": True, "pad_token": "<|endoftext|>"}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "GPT2TokenizerFast", **fields})


def roberta(folder):
    byte_pairs(folder)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "RobertaTokenizer", "model_max_length": 64})
    write_json(folder / "special_tokens_map.json", {"bos_token": "<s>", "mask_token": MASK})


def roberta_with_old_added(folder):
    byte_pairs(folder)
    size = len(json.loads((folder / "vocab.json").read_text()))
    fields = {"tokenizer_class": "RobertaTokenizerFast", "mask_token": {"__type": "AddedToken", **MASK}}
    write_json(folder / "tokenizer_config.json", fields)
    write_json(folder / "special_tokens_map.json", {"extra_special_tokens": ["<one>"], "mask_token": MASK})
    write_json(folder / "added_tokens.json", {"<s_menu>": size + 1, "<one>": size})


def bart_with_new_added(folder):
    byte_pairs(folder)
    vocab = json.loads((folder / "vocab.json").read_text())
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    table = {str(vocab[t]): {"content": t, **flags, "special": True} for t in ("<s>", "<pad>", "</s>", "<unk>")}
    table[str(vocab["<mask>"])] = {**MASK, "special": True}
    table[str(len(vocab) + 1)] = {"content": "quick", **flags, "normalized": True, "special": False}
    table[str(len(vocab))] = {"content": "<one>", **flags, "special": True}
    fields = {"tokenizer_class": "BartTokenizer", "added_tokens_decoder": table, "add_prefix_space": True}
    write_json(folder / "tokenizer_config.json", {**fields, "additional_special_tokens": ["<one>"]})


def bert(folder, lowercase=True, kind="BertTokenizer", **fields):
    lines(folder, lowercase=lowercase)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": kind, "do_lower_case": lowercase, **fields})


def bert_cased(folder):
    bert(folder, lowercase=False)


def bert_accents(folder):
    bert(folder, strip_accents=False, tokenize_chinese_chars=False, kind="BertTokenizerFast")


def bert_cased_stripped(folder):
    bert(folder, lowercase=False, strip_accents=True, mask_token="[FILL]", additional_special_tokens=["<one>"])


def distilbert(folder):
    bert(folder, kind="DistilBertTokenizer")


def xlm_roberta(folder, rows=ROWS, table=MAP):
    (folder / "sentencepiece.bpe.model").write_bytes(model(rows, table))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512})
    write_json(folder / "special_tokens_map.json", {"mask_token": MASK})


def xlm_roberta_with_added(folder):
    xlm_roberta(folder, table=b"")
    added = {"<s_menu>": len(ROWS) + 2, "<one>": len(ROWS) + 3}
    write_json(folder / "added_tokens.json", added)
    write_json(folder / "special_tokens_map.json", {"mask_token": MASK, "extra_special_tokens": ["<s_menu>"]})


FAMILIES = {
    build.__name__: build
    for build in (
        *(gpt2, gpt2_with_ends, roberta, roberta_with_old_added, bart_with_new_added, bert, bert_cased),
        *(bert_accents, bert_cased_stripped, distilbert, xlm_roberta, xlm_roberta_with_added),
    )
}


def theirs(folder):
    import transformers

    file = folder / "sentencepiece.bpe.model"
    if not file.is_file() or (folder / "tokenizer.json").is_file() or find_spec("sentencepiece"):
        return transformers.AutoTokenizer.from_pretrained(folder)
    # Without sentencepiece transformers cannot read the file; its class is built from the tokens that the test wrote.
    vocab = [(name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")]
    vocab += [(text, struct.unpack("<f", struct.pack("<f", score))[0]) for text, score, _ in ROWS[3:]]
    mask = {"mask_token": transformers.AddedToken("<mask>", lstrip=True, normalized=False, special=True)}
    table = MAP if not (folder / "added_tokens.json").is_file() else None
    made = transformers.XLMRobertaTokenizer(vocab=[*vocab, ("<mask>", 0.0)], _spm_precompiled_charsmap=table, **mask)
    if table is None:
        made.add_tokens([transformers.AddedToken("<s_menu>", special=True, normalized=False), "<one>"])
    made.add_tokens([transformers.AddedToken("<user>", special=False, normalized=False)])
    return made


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    FAMILIES[request.param](folder)
    return folder


@pytest.fixture(scope="module")
def both(folder):
    return Tokenizer.from_pretrained(folder), theirs(folder)


def assert_same(ours, reference, text):
    for special in (True, False):
        ids = reference(text, add_special_tokens=special).input_ids
        assert ours.encode(text, add_special_tokens=special) == ids
        for skip in (True, False):
            assert ours.decode(ids, skip_special_tokens=skip) == reference.decode(ids, skip_special_tokens=skip)


def test_ids_and_texts_equal_those_of_transformers(both):
    ours, reference = both
    for text in TEXTS:
        assert_same(ours, reference, text)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=ANY_TEXT)
def test_any_text_gives_the_tokens_of_transformers(both, text):
    assert_same(*both, text)


def test_vocabulary_and_special_tokens_equal_those_of_transformers(both):
    ours, reference = both
    assert ours.get_vocab() == reference.get_vocab()
    for name in ("bos", "eos", "pad", "unk", "cls", "sep", "mask"):
        assert getattr(ours, f"{name}_token") == getattr(reference, f"{name}_token")
        assert getattr(ours, f"{name}_token_id") == getattr(reference, f"{name}_token_id")


def test_transformers_reads_what_is_saved(both, tmp_path):
    ours, reference = both
    ours.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"tokenizer.json", "tokenizer_config.json"}
    again, own = theirs(tmp_path), Tokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        ids = reference(text).input_ids
        assert again(text).input_ids == own.encode(text) == ids
        assert again.decode(ids) == own.decode(ids) == reference.decode(ids)
    assert again.mask_token_id == own.mask_token_id == ours.mask_token_id


# The class that reads the files.


@pytest.mark.parametrize(
    ("build", "config", "kind"),
    [
        (gpt2, {}, "GPT2Tokenizer"),
        (roberta, {}, "RobertaTokenizer"),
        (roberta, {"model_type": "bart"}, "BartTokenizer"),
        (roberta, {"model_type": "vision-encoder-decoder", "decoder": {"model_type": "gpt2"}}, "GPT2Tokenizer"),
        (roberta, {"decoder": {"model_type": "trocr"}}, "RobertaTokenizer"),
        (bert, {}, "BertTokenizer"),
        (bert, {"model_type": "distilbert"}, "DistilBertTokenizer"),
        (xlm_roberta, {"decoder": {"model_type": "trocr"}}, "XLMRobertaTokenizer"),
    ],
)
def test_without_a_tokenizer_class_the_model_type_or_the_files_decide(build, config, kind, tmp_path):
    build(tmp_path)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / name).unlink(missing_ok=True)
    write_json(tmp_path / "config.json", config)
    ours = Tokenizer.from_pretrained(tmp_path)
    ours.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved/tokenizer_config.json").read_text())["tokenizer_class"] == kind


def test_the_tokenizer_class_decides_which_of_several_vocabularies_is_read(tmp_path):
    xlm_roberta(tmp_path)
    byte_pairs(tmp_path)
    assert Tokenizer.from_pretrained(tmp_path).vocab_size == len(ROWS) + 2
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": "RobertaTokenizer"})
    assert Tokenizer.from_pretrained(tmp_path).vocab_size == 420
    Tokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text("broken")
    assert Tokenizer.from_pretrained(tmp_path).vocab_size == 420  # a tokenizer.json comes first


@pytest.mark.parametrize("build", [roberta, xlm_roberta])
def test_the_mask_includes_the_space_before_it_by_default(build, tmp_path):
    build(tmp_path)
    explicit = Tokenizer.from_pretrained(tmp_path)
    (tmp_path / "special_tokens_map.json").unlink()
    implicit = Tokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert implicit.encode(text) == explicit.encode(text)


def test_additional_special_tokens_are_special_in_added_tokens_json(tmp_path):
    roberta_with_old_added(tmp_path)
    write_json(tmp_path / "special_tokens_map.json", {"additional_special_tokens": ["<one>"], "mask_token": MASK})
    ours = Tokenizer.from_pretrained(tmp_path)
    assert ours.convert_tokens_to_ids("<one>") == 420
    assert ours.decode(ours.encode("a<one>b"), skip_special_tokens=True) == "ab"


# Characters.


def character_files(folder):
    signs = sorted(set(unicodedata.normalize("NFKC", "".join(CORPUS))) - {" "})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *signs, "##語", "##a"]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    fields = {
        "tokenizer_class": "BertJapaneseTokenizer",
        "do_word_tokenize": True,
        "word_tokenizer_type": "mecab",
        "subword_tokenizer_type": "character",
        "mecab_kwargs": {"mecab_dic": "unidic_lite"},
    }
    write_json(folder / "tokenizer_config.json", fields)


def assert_same_characters(folder, texts):
    import transformers

    ours = Tokenizer.from_pretrained(folder)
    # Finding words needs a dictionary; splitting at spaces gives the same characters.
    options = {"do_word_tokenize": False, "subword_tokenizer_type": "character"}
    reference = transformers.BertJapaneseTokenizer(str(folder / "vocab.txt"), **options)
    for text in texts:
        ids = reference("".join(unicodedata.normalize("NFKC", text).split())).input_ids
        assert ours.encode(text) == ids
        for skip in (True, False):
            spaced = reference.decode(ids, skip_special_tokens=skip)
            assert ours.decode(ids, skip_special_tokens=skip) == "".join(spaced.split())


@pytest.fixture(scope="module")
def characters(tmp_path_factory):
    folder = tmp_path_factory.mktemp("characters")
    character_files(folder)
    return folder


def test_characters_equal_those_of_transformers_without_spaces(characters, tmp_path):
    import transformers

    ours = Tokenizer.from_pretrained(characters)
    assert_same_characters(characters, TEXTS)
    ours.save_pretrained(tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert again(text).input_ids == ours.encode(text)
        assert again.decode(again(text).input_ids) == ours.decode(ours.encode(text))


def test_characters_are_normalized_and_joined_without_spaces(characters):
    ours = Tokenizer.from_pretrained(characters)
    ids = ours.encode("日本\u3000 語の\nＴ 漢字 ☃")
    assert ours.convert_ids_to_tokens(ids) == ["[CLS]", *"日本語のT漢字", "[UNK]", "[SEP]"]
    assert ours.decode(ids, skip_special_tokens=True) == "日本語のT漢字"
    joined = ours.convert_tokens_to_ids(["日", "##語"])
    assert ours.decode(joined) == "日語"


# Bad input.


@pytest.mark.parametrize(
    ("build", "config", "message"),
    [
        (
            gpt2,
            {"tokenizer_class": "T5Tokenizer"},
            r"no tokenizer\.json for the tokenizer_class 'T5Tokenizer' .*it holds",
        ),
        (gpt2, {"tokenizer_class": "BertTokenizer"}, r"no vocab\.txt for BertTokenizer .*it holds merges\.txt"),
        (gpt2, {"tokenizer_class": 3}, "tokenizer_class 3"),
        (bert, {"tokenizer_class": "BertTokenizer", "do_lower_case": "no"}, "do_lower_case must be true or false"),
        (bert, {"tokenizer_class": "BertTokenizer", "sep_token": None}, "BertTokenizer needs a sep_token"),
        (bert, {"tokenizer_class": "BertJapaneseTokenizer"}, "subword_tokenizer_type 'character', got 'wordpiece'"),
        (bert, {"added_tokens_decoder": {"x": "y"}}, "'x' must be an id with a token"),
        (bert, {"added_tokens_decoder": {"9000": {"content": "<one>"}}}, "must have the id 9000, but it gets 260"),
        (bert, {"extra_special_tokens": "<one>"}, "extra_special_tokens must be a list"),
    ],
)
def test_bad_settings_are_named(build, config, message, tmp_path):
    build(tmp_path)
    write_json(tmp_path / "tokenizer_config.json", config)
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("build", "name", "data", "message"),
    [
        (roberta, "vocab.json", b"{", "vocab.json: not valid JSON"),
        (roberta, "vocab.json", b'{"a": 4294967295}', "vocab.json: the id of 'a' is 4294967295"),
        (roberta, "vocab.json", b'{"a": "0"}', "vocab.json: the id of 'a' is '0'"),
        (roberta, "merges.txt", b"a b c\n", "merges.txt: line 1 must be two tokens, found 'a b c'"),
        (roberta, "merges.txt", b"#version\nno such\n", r"vocab\.json: "),
        (roberta, "merges.txt", b"\xff", r"merges\.txt: UnicodeDecodeError"),
        (bert, "vocab.txt", b"\xff\xfe", r"vocab\.txt: UnicodeDecodeError"),
        (bert, "added_tokens.json", b'{"<one>": "3"}', "added_tokens.json: the id of '<one>' is '3'"),
        (xlm_roberta, "sentencepiece.bpe.model", b"", "no tokens"),
        (xlm_roberta, "sentencepiece.bpe.model", b"\xff" * 30, "more than ten bytes"),
        (xlm_roberta, "sentencepiece.bpe.model", model(ROWS)[:5000], "not a sentencepiece model"),
        (xlm_roberta, "sentencepiece.bpe.model", model(ROWS, kind=2), "expected a unigram model .* found model type 2"),
        (xlm_roberta, "sentencepiece.bpe.model", model([("a", float("nan"), 1)]), "has the score nan"),
        (xlm_roberta, "sentencepiece.bpe.model", model(ROWS, b"\1\2\3"), r"sentencepiece\.bpe\.model: "),
        (xlm_roberta, "sentencepiece.bpe.model", field(1, 3), "a number in place of a message"),
        (xlm_roberta, "sentencepiece.bpe.model", b"\x0b", "the unknown wire type 3"),
    ],
)
def test_a_broken_vocabulary_is_named(build, name, data, message, tmp_path):
    build(tmp_path)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TokenizerError, match=message) as caught:
        Tokenizer.from_pretrained(tmp_path)
    assert caught.value.file in (None, *(str(tmp_path / file) for file in (name, "vocab.json")))


@pytest.mark.parametrize("build", [roberta, bert, xlm_roberta])
def test_damaged_files_work_or_raise_a_tokenizer_error(build, tmp_path):
    source = tmp_path / "whole"
    source.mkdir()
    build(source)
    names = ("vocab.json", "merges.txt", "vocab.txt", "sentencepiece.bpe.model")
    name = next(name for name in names if (source / name).is_file())
    data, chance, refused = (source / name).read_bytes(), random.Random(3), 0
    copy = shutil.copytree(source, tmp_path / "copy")
    for _ in range(60):
        damaged = bytearray(data[: chance.choice([len(data), chance.randrange(len(data))])])
        for _ in range(chance.randint(0, 4)):
            damaged[chance.randrange(len(damaged) or 1) :][:1] = bytes([chance.randrange(256)])
            damaged[chance.randrange(len(damaged) + 1) : 0] = bytes([chance.randrange(256)])
        (copy / name).write_bytes(damaged)
        try:
            ours = Tokenizer.from_pretrained(copy)
            ours.batch_decode(ours(["The fox.", "日本 🙂"]).input_ids)
        except TokenizerError:
            refused += 1
    assert refused > 0 or build is bert
