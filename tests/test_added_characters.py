"""Characters that are added to a vocabulary: old texts keep their ids, new ones round-trip, transformers agrees."""

from pathlib import Path

import pytest
import tokenizers
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from tests.training.tiny import recipe
from vedcore import Tokenizer
from vedcore.errors import ConfigError, TokenizerError
from vedcore.model.new_characters import similar_ids
from vedcore.reader import Reader, locate
from vedcore.text import base_of
from vedcore.training.build import build_reader
from vedcore.training.checkpoints import write_reader

LETTERS = "abcdefghijklmnopqrstuvwxyz"
CORPUS = ["the quick brown fox jumps over the lazy dog", *(f"{a}{b}{a}" for a in LETTERS for b in LETTERS)]
NEW = "äöüß€É"


def _built(model, trainer, *, normalizer=None, pre_tokenizer, decoder, added=(), **settings):
    core = tokenizers.Tokenizer(model)
    if normalizer is not None:
        core.normalizer = normalizer
    core.pre_tokenizer, core.decoder = pre_tokenizer, decoder
    core.train_from_iterator(CORPUS, trainer)
    core.add_special_tokens(list(added))  # their ids are beyond the vocabulary of the model
    return Tokenizer(core.to_str().encode(), {"tokenizer_class": "PreTrainedTokenizerFast", **settings})


def word_pieces(*, lowercase=False):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return _built(
        models.WordPiece(unk_token="[UNK]"),
        trainers.WordPieceTrainer(vocab_size=120, special_tokens=special, show_progress=False),
        normalizer=normalizers.BertNormalizer(lowercase=lowercase),
        pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
        decoder=decoders.WordPiece(),
        unk_token="[UNK]",
    )


def unigram():
    return _built(
        models.Unigram(),
        trainers.UnigramTrainer(
            vocab_size=60, special_tokens=["<unk>", "<pad>"], unk_token="<unk>", show_progress=False
        ),
        normalizer=normalizers.NFKC(),
        pre_tokenizer=pre_tokenizers.Metaspace(),
        decoder=decoders.Metaspace(),
        added=["<mask>"],
        unk_token="<unk>",
        mask_token="<mask>",
    )


def byte_pairs():
    return _built(
        models.BPE(unk_token="<unk>"),
        trainers.BpeTrainer(vocab_size=80, special_tokens=["<unk>", "<pad>"], show_progress=False),
        pre_tokenizer=pre_tokenizers.Metaspace(),
        decoder=decoders.Metaspace(),
        added=["<mask>"],
        unk_token="<unk>",
        mask_token="<mask>",
    )


def byte_pairs_of_bytes():
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _built(
        models.BPE(),
        trainers.BpeTrainer(
            vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
        ),
        pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoder=decoders.ByteLevel(),
        eos_token="<|endoftext|>",
    )


def characters():
    return Tokenizer.from_pretrained(locate("line-reader"))


TOKENIZERS = {
    make.__name__: (old := make(), old.with_characters(NEW))
    for make in (characters, word_pieces, unigram, byte_pairs, byte_pairs_of_bytes)
}
WORDS = st.lists(st.text(st.sampled_from(LETTERS), min_size=1, max_size=6), min_size=1, max_size=4).map(" ".join)
MIXED = st.lists(st.text(st.sampled_from(LETTERS + NEW), min_size=1, max_size=6), min_size=1, max_size=4).map(" ".join)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=WORDS)
def test_a_text_without_new_characters_keeps_its_ids(name, text):
    old, new = TOKENIZERS[name]
    assert new.encode(text) == old.encode(text)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=MIXED)
def test_a_text_of_old_and_new_characters_round_trips(name, text):
    _, new = TOKENIZERS[name]
    assert new.decode(new.encode(text), skip_special_tokens=True) == text


@pytest.mark.parametrize("name", TOKENIZERS)
def test_new_ids_follow_the_old_ones_and_special_tokens_stay(name):
    old, new = TOKENIZERS[name]
    before, after = old.get_vocab(), new.get_vocab()
    assert before.items() <= after.items()
    assert sorted(set(after.values()) - set(before.values())) == list(range(len(old), len(new)))
    assert new.all_special_tokens == old.all_special_tokens
    assert new.with_characters(NEW + LETTERS) is new
    assert (new is old) == (name == "byte_pairs_of_bytes")


@pytest.mark.parametrize("name", TOKENIZERS)
def test_transformers_reads_the_saved_tokenizer_to_the_same_ids_and_texts(name, tmp_path):
    _, new = TOKENIZERS[name]
    new.save_pretrained(tmp_path)
    theirs, again = transformers.AutoTokenizer.from_pretrained(tmp_path), Tokenizer.from_pretrained(tmp_path)
    for text in ("hällo wörld É", "ß€a a€ fox", "the lazy dog", "中 ä"):
        ids = new.encode(text)
        assert theirs.encode(text) == again.encode(text) == ids
        assert theirs.decode(ids) == new.decode(ids)


def test_one_more_character_does_not_move_those_that_were_added_before():
    for old, new in TOKENIZERS.values():
        more = new.with_characters("ñ")
        assert more.encode("häng ß") == new.encode("häng ß")
        assert more.decode(more.encode("ñä ñ"), skip_special_tokens=True) == "ñä ñ"
        assert old.with_characters(NEW + "ñ").get_vocab().keys() == more.get_vocab().keys()


@pytest.mark.parametrize(
    ("given_characters", "error", "message"),
    [
        ("x\u0302", ConfigError, r"U\+0302\) is a combining mark that has no composed form.*NFC"),
        ("a\xa0", ConfigError, r"U\+00A0\) is a space or a control character"),
        ("\n", ConfigError, r"U\+000A\) is a space or a control character"),
    ],
)
def test_what_cannot_be_a_letter_of_its_own_is_refused(given_characters, error, message):
    with pytest.raises(error, match=message):
        characters().with_characters(given_characters)


def test_a_combining_sequence_is_composed_and_spaces_are_left_out():
    new = characters().with_characters("a\u0308 ö")
    assert new.decode(new.encode("ä ö"), skip_special_tokens=True) == "ä ö"
    assert len(new) == len(characters()) + 2


def test_a_tokenizer_that_replaces_the_character_is_refused():
    with pytest.raises(TokenizerError, match="cannot get the character 'ä': it removes or replaces it"):
        word_pieces(lowercase=True).with_characters("ä")
    with pytest.raises(TokenizerError, match="cannot get the character '…'"):
        unigram().with_characters("…")


@pytest.mark.parametrize(
    ("character", "base"), [("ä", "a"), ("Ő", "O"), ("ø", "o"), ("ł", "l"), ("€", "E"), ("½", "1"), ("x", None)]
)
def test_a_character_starts_from_one_that_looks_like_it(character, base):
    assert base_of(character) == base


# The model.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    write_reader(build_reader(recipe().model, 0), folder)
    return folder


def rows_of(reader):
    return reader.model.decoder.token_embedding.weight.detach()


def test_old_rows_stay_and_new_rows_start_near_a_similar_character(folder):
    reader = Reader.load(folder, prepare=False)
    old, before = reader.processor.tokenizer, rows_of(reader).clone()
    new = reader.model.add_characters(old, "äü☃", seed=0)
    after, vocabulary = rows_of(reader), new.get_vocab()
    assert torch.equal(after[: len(before)], before)
    assert reader.model.config.decoder.vocab_size == len(after) == len(new)

    def nearest(row):
        return int((before - after[row]).norm(dim=1).argmin())

    assert [nearest(vocabulary[c]) for c in "äü"] == [vocabulary[c] for c in "au"]
    assert torch.allclose(after[vocabulary["☃"]], before.mean(0), atol=0.02)
    assert similar_ids(old, new)[vocabulary["☃"]] == []


def test_ties_stay_and_equal_seeds_give_equal_rows(folder):
    first, second, third = (Reader.load(folder, prepare=False) for _ in range(3))
    for reader, seed in ((first, 1), (second, 1), (third, 2)):
        reader.model.add_characters(reader.processor.tokenizer, "éè", seed=seed)
    assert torch.equal(rows_of(first), rows_of(second))
    assert not torch.equal(rows_of(first), rows_of(third))
    names = {id(p): name for name, p in first.model.named_parameters()}
    assert len([p for p in first.model.decoder.parameters() if len(p) == len(rows_of(first))]) == 1, names


def test_the_bias_of_a_head_is_extended_too():
    bert = transformers.BertConfig(
        vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, is_decoder=True, add_cross_attention=True, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    ).to_dict()  # fmt: skip
    tables = recipe().to_dict()["model"]
    reader = build_reader(type(recipe().model)(**{**tables, "decoder": {**bert, "model_type": "bert"}}), 0)
    tokenizer, decoder = reader.processor.tokenizer, reader.model.decoder
    (bias,) = [p for p in decoder.parameters() if p.shape == (99,)]
    bias.data.copy_(torch.arange(99.0))
    new = reader.model.add_characters(tokenizer, "ä", seed=0)
    (bias,) = [p for p in decoder.parameters() if p.shape == (100,)]
    expected = 49 + 0.9 * (tokenizer.get_vocab()["a"] - 49)
    assert bias[new.get_vocab()["ä"]].item() == pytest.approx(expected)


def test_the_reader_reads_old_text_as_before():
    images = sorted((Path(__file__).parents[1] / "examples/images").glob("*.png"))[:4]
    reader = Reader.load("line-reader", prepare=False)
    before = [reading.text for reading in reader.read(images, layout="line")]
    reader.processor.tokenizer = reader.model.add_characters(reader.processor.tokenizer, "äöüßéèàâêçñ€", seed=0)
    assert [reading.text for reading in reader.read(images, layout="line")] == before


def test_a_tokenizer_of_another_model_is_refused(folder):
    reader = Reader.load(folder, prepare=False)
    with pytest.raises(ConfigError, match="it is not the decoder's tokenizer"):
        reader.model.add_characters(word_pieces(), "ä")
    assert len(rows_of(reader)) == 99
