"""Text of tokens that are still coming: what is told is never taken back, and little is held back."""

import string

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, normalizers
from tokenizers.models import BPE

from tests.test_text_forms import ANY_TEXT, FAMILIES, TEXTS, bert
from vedcore import Tokenizer
from vedcore.text import settled


def cleaning(folder):
    bert(folder, clean_up_tokenization_spaces=True)


def falling_back(folder):
    """What the vocabulary lacks is written as its bytes, a token each, and a run of them is decoded as a whole."""
    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "�", *string.ascii_letters]
    vocab = {word: number for number, word in enumerate(words)}
    core = tokenizers.Tokenizer(BPE(vocab=vocab, merges=[], unk_token="<unk>", byte_fallback=True))
    core.normalizer = normalizers.Replace(" ", "▁")
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.add_special_tokens(["<s>"])
    core.save(str(folder / "tokenizer.json"))


FORMS = {**FAMILIES, "cleaning": cleaning, "falling back": falling_back}


@pytest.fixture(scope="module", params=FORMS)
def tokenizer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    FORMS[request.param](folder)
    return Tokenizer.from_pretrained(folder)


def assert_told_for_good(tokenizer, ids):
    text = tokenizer.decode(ids, skip_special_tokens=True)
    for count in range(len(ids) + 1):
        assert text.startswith(settled(tokenizer, ids[:count]))


def test_what_is_settled_begins_every_longer_text(tokenizer):
    for text in TEXTS:
        assert_told_for_good(tokenizer, tokenizer.encode(text))


@given(ANY_TEXT)
def test_what_is_settled_of_any_text_begins_every_longer_one(tokenizer, text):
    assert_told_for_good(tokenizer, tokenizer.encode(text))


@given(st.data())
def test_what_is_settled_of_any_tokens_begins_every_longer_text(tokenizer, data):
    """A model writes what no text has: bytes of no character, pieces of words in any order."""
    every = st.sampled_from(sorted(tokenizer.get_vocab().values()))
    assert_told_for_good(tokenizer, data.draw(st.lists(every, max_size=12)))


def test_only_a_character_that_is_not_whole_is_held_back(tokenizer):
    ids = tokenizer.encode("The quick brown fox", add_special_tokens=False)
    told = [settled(tokenizer, ids[: count + 1]) for count in range(len(ids))]
    whole = [tokenizer.decode(ids[: count + 1], skip_special_tokens=True) for count in range(len(ids))]
    assert told == ([text.rpartition(" ")[0] for text in whole] if tokenizer.cleans_spaces else whole)


def test_a_character_of_several_tokens_comes_at_once(tmp_path):
    FAMILIES["gpt2"](tmp_path)
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    ids = tokenizer.encode("a🙂b")
    told = [settled(tokenizer, ids[: count + 1]) for count in range(len(ids))]
    assert told == ["a", "a", "a", "a", "a🙂", "a🙂b"]


def test_a_run_of_bytes_is_told_when_it_has_ended(tmp_path):
    """As one, for where one of them is of no character, none of them is."""
    falling_back(tmp_path)
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    ids = tokenizer.convert_tokens_to_ids(["a", "<0xE5>", "<0x8F>", "<0xAB>", "<s>", "b", "<0xE5>"])
    assert [settled(tokenizer, ids[:count]) for count in range(1, 8)] == ["a"] * 5 + ["a叫b"] * 2
    broken = [*ids[:5], *tokenizer.convert_tokens_to_ids(["<0xFF>", "b"])]
    assert settled(tokenizer, broken) == tokenizer.decode(broken, skip_special_tokens=True) == "a����b"
