"""Tokens equal those of transformers; bad input raises a TokenizerError."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from vedcore import CheckpointNotFound, SaveError, Tokenizer, TokenizerError

SHIPPED = Path(__file__).parents[1] / "plugins/vedcore-plugin-linereader/vedcore_plugin_linereader/line-reader"
CORPUS = [
    "The quick brown fox jumps over the lazy dog.",
    "Linda Davis, 12 Main St.; total: $34.50!",
    "naïve façade — déjà vu, Ångström",
    "日本語の文字と漢字",
    "don't   stop\tnow\n",
]
TEXTS = [
    *CORPUS,
    "",
    " ",
    "a",
    "\n\n \t",
    "  two  spaces  ",
    "emoji 🙂👩‍👩‍👧 end",
    "ÄÖÜ ñ ﬁ ½ Ａ",
    "<s> literal </s> [CLS] [MASK] <|endoftext|>",
    "\u200b\ufeff\u0301",
    "word " * 40,
]


def byte_level():
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(CORPUS, trainer)
    core.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    return core, {**special, "cls_token": "<s>", "sep_token": "</s>", "model_max_length": 64}


def plain_bpe():
    core, _ = byte_level()
    core.post_processor = processors.ByteLevel(trim_offsets=False)
    return core, {"eos_token": {"__type": "AddedToken", "content": "</s>", "special": True}, "pad_token": "</s>"}


def word_piece():
    core = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    core.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=names, show_progress=False)
    )
    core.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    named = {f"{name.strip('[]').lower()}_token": name for name in names}
    return core, {**named, "model_max_length": 32, "clean_up_tokenization_spaces": True}


def line_reader():
    """Characters, as in the shipped line reader."""
    core = tokenizers.Tokenizer(models.WordLevel({}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="never", split=False),
            pre_tokenizers.Split(tokenizers.Regex("."), "isolated"),
        ]
    )
    core.decoder = decoders.Sequence([decoders.Fuse(), decoders.Metaspace(prepend_scheme="never")])
    trainer = trainers.WordLevelTrainer(special_tokens=["<pad>", "<s>", "</s>", "<unk>"], show_progress=False)
    core.train_from_iterator([chr(code) for code in range(33, 127)] + ["▁"], trainer)
    core.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return core, {**special, "model_max_length": 26}


KINDS = {"byte_level": byte_level, "plain_bpe": plain_bpe, "word_piece": word_piece, "line_reader": line_reader}


def write(folder, core, fields, **more):
    folder.mkdir(exist_ok=True)
    core.save(str(folder / "tokenizer.json"))
    data = {"tokenizer_class": "PreTrainedTokenizerFast", **fields, **more}
    (folder / "tokenizer_config.json").write_text(json.dumps(data))
    return folder


def theirs(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    return write(tmp_path_factory.mktemp(request.param) / "t", *KINDS[request.param]())


@pytest.fixture(scope="module")
def both(folder):
    return Tokenizer.from_pretrained(folder), theirs(folder)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return Tokenizer.from_pretrained(write(tmp_path_factory.mktemp("ours") / "t", *byte_level()))


def assert_equal(ours, expected):
    assert dict(ours).keys() == {"input_ids", "attention_mask"}
    for name in ours:
        assert type(ours[name]) is type(expected[name])
        if isinstance(ours[name], list):
            assert ours[name] == expected[name]
        else:
            assert ours[name].dtype == expected[name].dtype
            assert ours[name].tolist() == expected[name].tolist()


def test_ids_and_texts_equal_those_of_transformers(both):
    ours, reference = both
    for text in TEXTS:
        for special in (True, False):
            ids = reference(text, add_special_tokens=special).input_ids
            assert ours(text, add_special_tokens=special).input_ids == ids
            assert ours.encode(text, add_special_tokens=special) == ids
            for skip in (True, False):
                assert ours.decode(ids, skip_special_tokens=skip) == reference.decode(ids, skip_special_tokens=skip)
    rows = reference(TEXTS).input_ids
    assert ours(TEXTS).input_ids == rows
    assert ours.batch_decode(rows, skip_special_tokens=True) == reference.batch_decode(rows, skip_special_tokens=True)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(text=st.text(max_size=30))
def test_any_text_gives_the_tokens_of_transformers(both, text):
    ours, reference = both
    ids = reference(text).input_ids
    assert ours(text).input_ids == ids
    assert ours.decode(ids) == reference.decode(ids)


@pytest.mark.parametrize("return_tensors", [None, "pt", "np"])
@pytest.mark.parametrize(
    "options",
    [
        {"padding": True},
        {"padding": "longest", "truncation": True, "max_length": 7},
        {"padding": "max_length", "max_length": 20, "truncation": True},
        {"padding": "max_length", "max_length": 9, "truncation": True, "add_special_tokens": False},
        {"padding": True, "truncation": True, "max_length": 2},
    ],
)
def test_padding_and_truncation_equal_those_of_transformers(both, options, return_tensors):
    ours, reference = both
    expected = reference(TEXTS, return_tensors=return_tensors, return_token_type_ids=False, **options)
    assert_equal(ours(TEXTS, return_tensors=return_tensors, **options), expected)


def test_one_text_with_tensors_is_a_batch_of_one(both):
    ours, reference = both
    for kind in ("pt", "np"):
        assert_equal(
            ours("Linda Davis", return_tensors=kind),
            reference("Linda Davis", return_tensors=kind, return_token_type_ids=False),
        )


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_and_truncation_sides_come_from_the_settings(side, tmp_path):
    folder = write(tmp_path / "t", *byte_level(), padding_side=side, truncation_side=side)
    options = {"padding": True, "truncation": True, "max_length": 9}
    expected = theirs(folder)(TEXTS, **options)
    assert_equal(Tokenizer.from_pretrained(folder)(TEXTS, **options), expected)


def test_special_tokens_equal_those_of_transformers(both):
    ours, reference = both
    for name in ("bos", "eos", "pad", "unk", "cls", "sep", "mask"):
        assert getattr(ours, f"{name}_token") == getattr(reference, f"{name}_token")
        assert getattr(ours, f"{name}_token_id") == getattr(reference, f"{name}_token_id")
    assert ours.vocab_size == reference.vocab_size
    assert len(ours) == len(reference)
    assert ours.get_vocab() == reference.get_vocab()
    assert sorted(ours.all_special_ids) == sorted(reference.all_special_ids)
    assert (ours.model_max_length or int(1e30)) == reference.model_max_length
    tokens = [*reference.convert_ids_to_tokens(range(10)), "no such token"]
    if reference.unk_token is not None:
        assert ours.convert_tokens_to_ids(tokens) == reference.convert_tokens_to_ids(tokens)
    assert ours.convert_ids_to_tokens(list(range(10))) == tokens[:-1]
    for three in (3, np.int64(3), np.array(3), torch.tensor(3)):
        assert ours.convert_ids_to_tokens(three) == tokens[3]
    assert ours.convert_ids_to_tokens(torch.tensor([3])) == [tokens[3]]
    assert ours.convert_tokens_to_ids(tokens[3]) == 3


def test_transformers_reads_what_is_saved_and_the_other_way_round(both, tmp_path):
    ours, reference = both
    ours.save_pretrained(tmp_path / "a")
    again = theirs(tmp_path / "a")
    reference.save_pretrained(tmp_path / "b")
    back = Tokenizer.from_pretrained(tmp_path / "b")
    own = Tokenizer.from_pretrained(tmp_path / "a")
    for text in TEXTS:
        ids = ours(text).input_ids
        assert again(text).input_ids == back(text).input_ids == own(text).input_ids == ids
        assert again.decode(ids) == back.decode(ids) == own.decode(ids) == ours.decode(ids)
    for name in ("bos", "eos", "pad", "unk", "cls", "sep", "mask"):
        assert getattr(again, f"{name}_token_id") == getattr(ours, f"{name}_token_id")
        assert getattr(back, f"{name}_token_id") == getattr(ours, f"{name}_token_id")


def test_shipped_line_reader_reads_and_writes_its_texts():
    ours, reference = Tokenizer.from_pretrained(SHIPPED), theirs(SHIPPED)
    lines = json.loads((Path(__file__).parent / "golden/lines/expected.json").read_text())
    for line in lines:
        assert ours.decode(line["greedy"], skip_special_tokens=True) == line["transformers_greedy_text"]
        assert ours(line["text"]).input_ids == reference(line["text"]).input_ids
    assert (ours.bos_token_id, ours.eos_token_id, ours.pad_token_id, ours.model_max_length) == (1, 2, 0, 26)


def test_a_special_token_outside_the_vocabulary_is_added_as_in_transformers(tmp_path):
    core, fields = byte_level()
    more = {"pad_token": "[PAD]", "mask_token": {"__type": "AddedToken", "content": "<mask>", "lstrip": True}}
    folder = write(tmp_path / "t", core, {**fields, **more}, extra_special_tokens=["<one>", "<two>"])
    ours, reference = Tokenizer.from_pretrained(folder), theirs(folder)
    assert ours.get_vocab() == reference.get_vocab()
    assert ours.pad_token_id == reference.pad_token_id
    assert sorted(ours.all_special_ids) == sorted(reference.all_special_ids)
    text = "a [PAD] b <mask> c <two>"
    assert ours(text).input_ids == reference(text).input_ids
    ours.save_pretrained(tmp_path / "again")
    assert theirs(tmp_path / "again")(text).input_ids == ours(text).input_ids


def test_special_tokens_map_is_read_and_merged_into_the_settings(tmp_path):
    core, _ = byte_level()
    folder = write(tmp_path / "t", core, {})
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": {"content": "</s>"}}))
    ours = Tokenizer.from_pretrained(folder)
    assert ours.eos_token_id == 2
    ours.save_pretrained(folder)
    assert not (folder / "special_tokens_map.json").exists()
    assert Tokenizer.from_pretrained(folder).eos_token_id == 2


@pytest.mark.parametrize(
    ("settings_", "model"),
    [
        ({"tokenizer_class": "BertTokenizerFast"}, {}),
        ({"tokenizer_class": "BertTokenizer"}, {}),
        ({}, {"model_type": "bert"}),
        ({}, {"model_type": "vision-encoder-decoder", "decoder": {"model_type": "bert"}}),
    ],
)
def test_special_tokens_missing_in_old_files_come_from_the_class(settings_, model, tmp_path):
    core, _ = word_piece()
    core.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings_))
    (tmp_path / "config.json").write_text(json.dumps(model))
    ours = Tokenizer.from_pretrained(tmp_path)
    assert (ours.pad_token_id, ours.cls_token, ours.mask_token_id, ours.bos_token) == (0, "[CLS]", 4, None)


def test_a_null_special_token_stays_unset(tmp_path):
    core, _ = word_piece()
    ours = Tokenizer.from_pretrained(write(tmp_path / "t", core, {"mask_token": None}, tokenizer_class="BertTokenizer"))
    assert ours.mask_token is None
    assert ours.sep_token == "[SEP]"


def test_pad_token_can_be_set_and_is_saved(tmp_path):
    core, fields = plain_bpe()
    del fields["pad_token"]
    ours = Tokenizer.from_pretrained(write(tmp_path / "t", core, fields))
    with pytest.raises(TokenizerError, match=r"padding needs a pad token; set tokenizer\.pad_token"):
        ours(["a", "b c d"], padding=True)
    ours.pad_token = ours.eos_token
    assert ours(["a", "b c d e"], padding=True, return_tensors="pt").input_ids[0, -1] == ours.eos_token_id
    ours.save_pretrained(tmp_path / "t")
    assert theirs(tmp_path / "t").pad_token_id == ours.eos_token_id
    ours.pad_token = None
    assert ours.pad_token_id is None
    with pytest.raises(TokenizerError, match="pad_token 'zzz' is not among the 320 tokens"):
        ours.pad_token = "zzz"


def test_unknown_settings_and_stored_truncation_survive_a_save(tmp_path):
    core, fields = byte_level()
    core.enable_truncation(4)
    core.enable_padding(length=12)
    folder = write(tmp_path / "t", core, fields, something={"of": ["ours"]})
    ours = Tokenizer.from_pretrained(folder)
    assert len(ours("The quick brown fox jumps").input_ids) > 12
    ours.save_pretrained(tmp_path / "u")
    assert json.loads((tmp_path / "u/tokenizer_config.json").read_text())["something"] == {"of": ["ours"]}
    old, new = (json.loads((f / "tokenizer.json").read_text()) for f in (folder, tmp_path / "u"))
    assert old == new


def test_save_over_a_file_is_refused(ours, tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(SaveError):
        ours.save_pretrained(tmp_path / "x")


# Bad input.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t(["a", "b c d e f"], return_tensors="pt"), "pass padding=True"),
        (lambda t: t([], return_tensors="pt"), "an empty list"),
        (lambda t: t(3), "a text or a list of texts, found int"),
        (lambda t: t(["a", None]), "found NoneType"),
        (lambda t: t("\ud800"), "encoding a text of 1 characters"),
        (lambda t: t("a", max_length=3), "max_length has an effect only with truncation=True"),
        (lambda t: t("a", max_length=0, truncation=True), "at least 1, got 0"),
        (
            lambda t: t("a", max_length=1, truncation=True),
            r"max_length 1 is less than the number of special tokens \(2\)",
        ),
        (lambda t: t("a", truncation="yes"), "truncation must be"),
        (lambda t: t("a", padding="no"), "padding must be"),
        (lambda t: t("a", return_tensors="tf"), "return_tensors must be"),
        (lambda t: t.decode([0, 320]), r"token id 320 is outside the vocabulary of 320 tokens \(0 to 319\)"),
        (lambda t: t.decode([-100]), "token id -100 is outside"),
        (lambda t: t.decode([2**70]), "is outside"),
        (lambda t: t.decode(["1"]), "found str"),
        (lambda t: t.decode([1.0]), "found float"),
        (lambda t: t.decode([True]), "found bool"),
        (lambda t: t.decode(None), "found NoneType"),
        (lambda t: t.decode([[1]]), "found list"),
        (lambda t: t.batch_decode(3), "expected a list of lists"),
        (lambda t: t.batch_decode(torch.tensor([[1, 999]])), "token id 999"),
        (lambda t: t.convert_ids_to_tokens(400), "token id 400"),
    ],
)
def test_bad_input_raises_a_one_line_error(ours, call, message):
    with pytest.raises(TokenizerError, match=message) as caught:
        call(ours)
    assert "\n" not in str(caught.value)


def test_an_error_carries_what_was_expected_and_found(ours):
    with pytest.raises(TokenizerError) as caught:
        ours("a", padding="no")
    error = caught.value
    assert (error.field, error.expected, error.found) == ("padding", "False, True, 'longest' or 'max_length'", "no")
    with pytest.raises(TokenizerError) as caught:
        ours.decode([320])
    assert (caught.value.expected, caught.value.found) == ("0 to 319", 320)


def test_truncation_needs_a_maximum_length(tmp_path):
    core, fields = plain_bpe()
    ours = Tokenizer.from_pretrained(write(tmp_path / "t", core, fields))
    assert ours.model_max_length is None
    with pytest.raises(TokenizerError, match="max_length is not given, and the tokenizer has no model_max_length"):
        ours("a", truncation=True)


def test_ids_of_every_type_are_decoded(ours):
    rows = [ours("dog").input_ids, ours("fox").input_ids]
    width = min(map(len, rows))
    rows = [row[:width] for row in rows]
    expected = [ours.decode(row) for row in rows]
    tensor = torch.tensor(rows)
    for ids in (rows, tensor, tensor.int(), tensor.numpy(), list(tensor), [list(t) for t in tensor], tuple(rows)):
        assert ours.batch_decode(ids) == expected
    assert ours.decode(tensor[0]) == expected[0]
    assert ours.decode(5) == ours.decode([5]) == ours.decode(tensor[0, 0] * 0 + 5)
    assert ours.decode([]) == ""
    assert ours.batch_decode([]) == []


def test_an_error_for_a_missing_tokenizer_json_lists_the_files_in_the_folder(tmp_path):
    with pytest.raises(TokenizerError, match=r"no tokenizer\.json .*it holds nothing"):
        Tokenizer.from_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text("{}")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TokenizerError, match=r"vocab\.json and merges\.txt, .*it holds config\.json, vocab\.json"):
        Tokenizer.from_pretrained(tmp_path)
    with pytest.raises(CheckpointNotFound, match="no such folder"):
        Tokenizer.from_pretrained(tmp_path / "gone")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("eos_token", 3),
        ("eos_token", {"__type": "AddedToken"}),
        ("eos_token", ""),
        ("model_max_length", "512"),
        ("model_max_length", 0),
        ("model_max_length", True),
        ("padding_side", "top"),
        ("truncation_side", ["left"]),
        ("extra_special_tokens", "a"),
        ("additional_special_tokens", [3]),
    ],
)
def test_a_bad_setting_is_named_with_its_file(field, value, tmp_path):
    core, fields = byte_level()
    folder = write(tmp_path / "t", core, {**fields, field: value})
    with pytest.raises(TokenizerError, match=rf"tokenizer_config\.json.*{field}") as caught:
        Tokenizer.from_pretrained(folder)
    assert (caught.value.file, caught.value.field) == (str(folder / "tokenizer_config.json"), field)
    assert caught.value.expected


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"a": NaN}', '{"model": 3}', "\ud800"])
def test_a_broken_tokenizer_json_is_named(text, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: ") as caught:
        Tokenizer.from_pretrained(tmp_path)
    assert caught.value.file in (None, str(tmp_path / "tokenizer.json"))


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json"])
def test_a_broken_settings_file_is_named(name, tmp_path):
    folder = write(tmp_path / "t", *byte_level())
    (folder / name).write_text("{")
    with pytest.raises(TokenizerError, match=f"{name}: not valid JSON"):
        Tokenizer.from_pretrained(folder)


@pytest.mark.parametrize("number", [2**24, 2**32 - 1])
def test_enormous_ids_are_refused(number, tmp_path):
    core, _ = line_reader()
    data = json.loads(core.to_str())
    data["model"]["vocab"]["huge"] = number
    with pytest.raises(TokenizerError, match=f"token id {number} is not below"):
        Tokenizer(json.dumps(data).encode())


def test_empty_vocabulary_is_refused():
    with pytest.raises(TokenizerError, match="found no token"):
        Tokenizer(tokenizers.Tokenizer(models.BPE()).to_str().encode())


def mutated(value, chance):
    """A deep copy of JSON with one change."""
    copy = json.loads(json.dumps(value))
    places = []
    pending = [copy]
    while pending:
        item = pending.pop()
        keys = list(item) if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else ()
        places += [(item, key) for key in keys]
        pending += [item[key] for key in keys]
    parent, key = chance.choice(places)
    parent[key] = chance.choice([None, -1, 0, 2**32 - 1, 1.5, "", "x", "<s>", [], {}, True, ["a", "b"]])
    return copy


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_tokenizer_json_works_or_raises_a_tokenizer_error(kind):
    core, fields = KINDS[kind]()
    data = json.loads(core.to_str())
    vocab = data["model"]["vocab"]
    kept = sorted(vocab, key=vocab.get)[:20]  # so that a change of structure is likelier than one of the vocabulary
    data["model"]["vocab"] = {token: vocab[token] for token in kept}
    if "merges" in data["model"]:
        data["model"]["merges"] = []
    chance = random.Random(kind)
    refused = 0
    for _ in range(250):
        try:
            ours = Tokenizer(json.dumps(mutated(data, chance)).encode(), fields)
            ours.batch_decode(ours(["The fox.", "日本 🙂"]).input_ids, skip_special_tokens=True)
        except TokenizerError:
            refused += 1
    assert 10 < refused < 250


def test_many_threads_get_the_results_of_one_thread(ours):
    def work(index):
        texts = [TEXTS[index % len(TEXTS)], TEXTS[(index * 7) % len(TEXTS)]]
        batch = ours(texts, padding=True, truncation=True, max_length=2 + index % 30, return_tensors="np")
        return batch.input_ids.tolist(), ours.batch_decode(batch.input_ids)

    serial = [work(index) for index in range(400)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(400))) == serial
