"""Decoding while tokens arrive: text that was given out never changes, and little is held back."""

import string

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, normalizers
from tokenizers.models import BPE

from tests.test_text_legacy import ANY_TEXT, FAMILIES, TEXTS, bert
from vedcore import Tokenizer
from vedcore.text import StreamingDecoder, stable_text


def cleaning(folder):
    bert(folder, clean_up_tokenization_spaces=True)


def byte_fallback(folder):
    """A tokenizer with a token for each byte of an unknown character, which decodes a run of them as a whole."""
    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "�", *string.ascii_letters]
    vocab = {word: number for number, word in enumerate(words)}
    core = tokenizers.Tokenizer(BPE(vocab=vocab, merges=[], unk_token="<unk>", byte_fallback=True))
    core.normalizer = normalizers.Replace(" ", "▁")
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.add_special_tokens(["<s>"])
    core.save(str(folder / "tokenizer.json"))


KINDS = {**FAMILIES, "cleaning": cleaning, "byte fallback": byte_fallback}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    KINDS[request.param](folder)
    return Tokenizer.from_pretrained(folder)


def assert_stable(tokenizer, ids):
    text = tokenizer.decode(ids, skip_special_tokens=True)
    for count in range(len(ids) + 1):
        assert text.startswith(stable_text(tokenizer, ids[:count]))


def test_the_stable_text_of_every_prefix_begins_the_whole_text(tokenizer):
    for text in TEXTS:
        assert_stable(tokenizer, tokenizer.encode(text))


@given(ANY_TEXT)
def test_the_stable_text_of_any_text_begins_the_whole_text(tokenizer, text):
    assert_stable(tokenizer, tokenizer.encode(text))


@given(st.data())
def test_the_stable_text_of_any_tokens_begins_the_whole_text(tokenizer, data):
    """A model generates tokens that no text has: bytes of no character, parts of words in any order."""
    every = st.sampled_from(sorted(tokenizer.get_vocab().values()))
    assert_stable(tokenizer, data.draw(st.lists(every, max_size=12)))


def test_only_an_incomplete_character_is_held_back(tokenizer):
    ids = tokenizer.encode("The quick brown fox", add_special_tokens=False)
    stable = [stable_text(tokenizer, ids[: count + 1]) for count in range(len(ids))]
    whole = [tokenizer.decode(ids[: count + 1], skip_special_tokens=True) for count in range(len(ids))]
    assert stable == ([text.rpartition(" ")[0] for text in whole] if tokenizer.cleans_spaces else whole)


def test_a_character_of_several_tokens_appears_when_it_is_complete(tmp_path):
    FAMILIES["gpt2"](tmp_path)
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    ids = tokenizer.encode("a🙂b")
    stable = [stable_text(tokenizer, ids[: count + 1]) for count in range(len(ids))]
    assert stable == ["a", "a", "a", "a", "a🙂", "a🙂b"]


def test_a_run_of_byte_tokens_appears_after_its_end(tmp_path):
    """The run is decoded as a whole: one wrong byte turns all of them into replacement characters."""
    byte_fallback(tmp_path)
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    ids = tokenizer.convert_tokens_to_ids(["a", "<0xE5>", "<0x8F>", "<0xAB>", "<s>", "b", "<0xE5>"])
    assert [stable_text(tokenizer, ids[:count]) for count in range(1, 8)] == ["a"] * 5 + ["a叫b"] * 2
    broken = [*ids[:5], *tokenizer.convert_tokens_to_ids(["<0xFF>", "b"])]
    assert stable_text(tokenizer, broken) == tokenizer.decode(broken, skip_special_tokens=True) == "a����b"


def test_a_streaming_decoder_gives_the_stable_text_and_then_the_whole_text(tokenizer):
    for text in TEXTS[:20]:
        ids = tokenizer.encode(text)
        decoder = StreamingDecoder(tokenizer)
        for count, number in enumerate(ids, 1):
            decoder.add([number], last=False)
            assert (decoder.text, decoder.finished) == (stable_text(tokenizer, ids[:count]), False)
        decoder.add([], last=True)
        assert (decoder.text, decoder.finished) == (tokenizer.decode(ids, skip_special_tokens=True), True)
