"""Five hundred strings per family: tokens and texts equal those of transformers, from each format of the files."""

import random
import string

import pytest

from tests.test_text_legacy import FAMILIES, assert_same, assert_same_characters, character_files, theirs
from vedcore import Tokenizer

WORDS = ["the", "quick", "Brown", "don't", "12.50", "naïve", "日本", "🙂"]
KINDS = {
    "ascii": [*string.ascii_letters, *string.digits, *string.punctuation, *"     "],
    "accents": [*"àéîõüçñßœÆøÅłżğşİıǅ", "e\u0301", "o\u0308", "n\u0303", "\u0316", *"aeiou  "],
    "cjk": [*"日本語文字漢中国人あいうえおカタナ한국어ｱﾊﾟＡ１、。！？「」", "\u3000", "か\u3099", "\U00020000"],
    "emoji": [*"🙂😀❤🚀", "❤\ufe0f", "👍🏽", "👩\u200d👩\u200d👧", "🇩🇪", "🏳\ufe0f\u200d🌈", "1\ufe0f\u20e3", " ", "a"],
    "whitespace": [
        *WORDS,
        *" \t\n\r\f\v",
        "  ",
        "\n\n",
        "\xa0",
        "\u2003",
        "\u3000",
        "\u200b",
        "\ufeff",
        "\x85",
        "\x1c",
    ],
    "special": [
        *WORDS,
        *("<s>", "</s>", "<pad>", "<unk>", "<mask>", "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]", "<|endoftext|>"),
        *("<one>", "<s_menu>", "<user>", "<S>", "[cls]", "<", "[", "|>", " ", "  "),
    ],
}


def strings():
    chance = random.Random(11)
    return ["".join(chance.choices(pool, k=chance.randint(1, 24))) for pool in KINDS.values() for _ in range(84)]


STRINGS = strings()


def test_there_are_five_hundred_different_strings():
    assert len(set(STRINGS)) >= 500


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    FAMILIES[request.param](folder)
    return folder


@pytest.fixture(scope="module")
def reference(folder):
    return theirs(folder)


def assert_all_same(ours, reference):
    for text in STRINGS:
        assert_same(ours, reference, text)
    chance, size = random.Random(13), len(reference)
    known = set(reference.get_vocab().values())
    for _ in range(100):
        ids = [number for number in chance.choices(range(size), k=chance.randint(1, 12)) if number in known]
        for skip in (True, False):
            assert ours.decode(ids, skip_special_tokens=skip) == reference.decode(ids, skip_special_tokens=skip)


def test_vocabulary_files_give_the_tokens_of_transformers(folder, reference):
    assert_all_same(Tokenizer.from_pretrained(folder), reference)


def test_a_tokenizer_json_from_transformers_gives_the_same_tokens(reference, tmp_path):
    reference.save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").is_file()
    assert_all_same(Tokenizer.from_pretrained(tmp_path), reference)


def test_character_files_give_the_tokens_of_transformers(tmp_path):
    character_files(tmp_path)
    assert_same_characters(
        tmp_path, [text for text in STRINGS if "\x1c" not in text]
    )  # only Python treats it as a space
