"""The texts of pieces that overlap are merged into the text of the word, also while they arrive."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vedcore.reader.merging import Overlap, merge, seam

ALPHABET = "abcdeghknopqsuvxyz023456789"  # letters that are all as wide as each other


def pieces(text: str, cuts: list[tuple[int, int]]) -> tuple[list[str], list[Overlap]]:
    """The texts of pieces of a word, which end and begin at each (end, start), and their overlaps."""
    starts, ends = [0, *(start for _, start in cuts)], [*(end for end, _ in cuts), len(text)]
    texts = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    shared = [end - start for end, start in cuts]
    overlaps = [
        Overlap(count / len(left), count / len(right))
        for count, (left, right) in zip(shared, pairwise(texts), strict=True)
    ]
    return texts, overlaps


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("firstname.last", "lastname@example", "firstname.lastname@example"),
        ("firstname.lasi", "lastname@example", "firstname.lastname@example"),
        ("firstname.last", "iastname@example", "firstname.lastname@example"),
        ("firstname.lasti", "]astname@example", "firstname.lastname@example"),
        ("firstname.las", "astname@example", "firstname.lastname@example"),
        ("firstname.last", "name@example.org", "firstname.lastname@example.org"),
        ("", "lastname", "lastname"),
        ("firstname", "", "firstname"),
        ("", "", ""),
    ],
)
def test_damaged_letters_at_the_cut_are_dropped(left: str, right: str, expected: str) -> None:
    overlap = Overlap(4 / 14, 4 / 16) if not right.startswith("name") else Overlap(0.02, 0.02)
    assert merge([left, right], [overlap]) == expected


def test_without_a_letter_that_agrees_the_widths_decide() -> None:
    assert merge(["abcdefgh2345", "qsuvnopxyz90"], [Overlap(4 / 12, 4 / 12)]) == "abcdefgh23uvnopxyz90"


@pytest.mark.parametrize("mark", ["0", "-", ".", "a", "="])
@pytest.mark.parametrize(("left", "right", "shared"), [(20, 20, 3), (24, 18, 4), (10, 11, 2), (30, 30, 6)])
def test_equal_letters_keep_their_number(mark: str, left: int, right: int, shared: int) -> None:
    merged = merge([mark * left, mark * right], [Overlap(shared / left, shared / right)])
    assert merged == mark * (left + right - shared)


def test_a_run_of_equal_letters_beside_others_keeps_its_number() -> None:
    text = "account-000000000000-2024"
    texts, overlaps = pieces(text, [(15, 11)])
    assert merge(texts, overlaps) == text


@given(st.data())
def test_pieces_of_any_word_merge_to_the_word(data: st.DataObject) -> None:
    text = data.draw(st.text(ALPHABET, min_size=24, max_size=70))
    cuts = []
    at = data.draw(st.integers(12, 20))
    while at < len(text) - 6:
        cuts.append((at, at - data.draw(st.integers(2, 4))))
        at += data.draw(st.integers(12, 20))
    texts, overlaps = pieces(text, cuts)
    merged = merge(texts, overlaps)
    # An overlap is ambiguous if its letters also occur beside it; the length is right even then.
    ambiguous = any(len(set(text[start - 4 : end + 4])) < end - start + 8 for end, start in cuts)
    assume(cuts and (not ambiguous or len(set(text)) == 1))
    assert merged == text


@given(st.lists(st.text("ab.0 ", max_size=14), min_size=1, max_size=4), st.data())
def test_a_merged_text_grows_as_its_pieces_arrive(texts: list[str], data: st.DataObject) -> None:
    share = st.floats(0.01, 1.0)
    overlaps = [Overlap(data.draw(share), data.draw(share)) for _ in texts[1:]]
    sent = ""
    for number, text in enumerate(texts):
        for length in range(len(text) + 1):
            complete = data.draw(st.booleans()) if length == len(text) else False
            now = merge([*texts[:number], text[:length]], overlaps, complete=complete)
            assert now.startswith(sent)
            sent = now
    whole = merge(texts, overlaps)
    assert whole.startswith(sent)
    assert len(whole) <= sum(map(len, texts))


@given(st.text("ab.0", max_size=40), st.text("ab.0", max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_a_seam_is_inside_both_texts(left: str, right: str, of_left: float, of_right: float) -> None:
    end, start = seam(left, right, Overlap(of_left, of_right))
    assert len(left) // 2 <= end <= len(left)
    assert 0 <= start <= (len(right) + 1) // 2
