"""From the text of a label to token ids."""

import torch

from vedcore.text import Tokenizer
from vedcore.training import Fault
from vedcore.training.data.label_encoder import LabelEncoder


def test_a_text_that_the_tokenizer_refuses_is_a_problem(encode):
    problem = encode("a\ud800", "x")
    assert (problem.fault, str(problem).encode()[:1]) == (Fault.unwritable, b"x")


def test_a_character_that_the_tokenizer_drops_is_a_problem():
    class Dropping:
        unk_token_id = None

        def encode(self, text, add_special_tokens):
            return [ord(character) for character in text if character.isascii() and not character.isspace()]

        def decode(self, ids, skip_special_tokens=False):
            return "".join(map(chr, ids))

    encode = LabelEncoder(Dropping(), end=2, max_length=None)
    assert encode("a b", "x") == [97, 98, 2]
    assert encode("a\u00e9", "x").fault == Fault.unwritable


def test_a_word_that_is_unknown_only_as_a_whole_is_a_problem():
    class Words:
        unk_token_id = 0

        def encode(self, text, add_special_tokens):
            return [0] if len(text) > 3 else [5]

        def decode(self, ids, skip_special_tokens=False):
            return "abc"

    encode = LabelEncoder(Words(), end=2, max_length=None)
    assert encode("abc", "x") == [5, 2]
    assert "a word of 'abcd' is unknown" in str(encode("abcd", "x"))


def test_a_label_contains_no_token_that_decoding_skips(reader):
    tokenizer = reader.processor.tokenizer
    encode = LabelEncoder(tokenizer, end=2, max_length=None)
    for token in tokenizer.all_special_tokens:
        assert encode(f"a{token}b", "x").fault in (Fault.special_token, Fault.unwritable)
    for text in ("a<b", "< pad >", "<PAD>", "</ s>"):
        assert tokenizer.decode(encode(text, "x"), skip_special_tokens=True) == text


def test_a_special_token_that_only_tokenizer_json_declares_is_recognised(reader, tmp_path):
    reader.processor.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    encode = LabelEncoder(Tokenizer.from_pretrained(tmp_path), end=2, max_length=None)
    assert encode.tokenizer.all_special_ids == []
    assert encode("a<pad>b", "x").fault == Fault.special_token


def test_encoded_labels_fit_the_model(reader, encode):
    ids = torch.tensor([encode("two", "x")])
    assert reader.model(torch.zeros(1, 3, 16, 64), labels=ids).loss.isfinite()
