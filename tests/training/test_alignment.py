"""Splitting the label of a line among its pieces."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedcore.training.data.alignment import PieceReading, Places, edit_distances, split_label

LETTERS = "abcdefghijklmnopqrstuvwxyz,.'0123456789"
LINE = "she generally gave herself very good advice, though she very seldom followed it"
CUTS = [LINE.index(word) for word in ("herself", "though", "seldom")]


def places(label, shift=0.0):
    """The places of words whose characters are equally wide."""
    words, at = [], 0
    for word in label.split():
        at = label.index(word, at)
        words.append((word, at / len(label) + shift, (at + len(word)) / len(label) + shift))
        at += len(word)
    return Places.of_words(label, words)


def pieces(label, spans, read, confidence=0.9, overlaps=False):
    return [
        PieceReading(start / len(label), end / len(label), text, confidence, overlaps and number > 0)
        for number, ((start, end), text) in enumerate(zip(spans, read, strict=True))
    ]


def spans_at(label, cuts):
    """The spans of ``label`` between the words that start at ``cuts``."""
    edges = [0, *cuts, len(label) + 1]
    return [(start, end - 1) for start, end in pairwise(edges)]


def misread(text, rate, rng):
    """``text`` with this share of its characters replaced, dropped or doubled."""
    change = {0: lambda c: rng.choice(LETTERS), 1: lambda c: rng.choice(LETTERS), 2: lambda c: "", 3: lambda c: c + c}
    return "".join(change[rng.randrange(4)](c) if rng.random() < rate else c for c in text)


@st.composite
def split_lines(draw):
    words = draw(st.lists(st.text(LETTERS, min_size=1, max_size=9), min_size=2, max_size=12))
    label = " ".join(words)
    starts = [index + 1 for index, character in enumerate(label) if character == " "]
    cuts = draw(st.lists(st.sampled_from(starts), unique=True, min_size=1, max_size=4))
    return label, spans_at(label, sorted(cuts))


@given(split_lines(), st.lists(st.text(LETTERS + " ", max_size=12), min_size=5, max_size=5), st.floats(0, 0.6))
@settings(max_examples=60, deadline=None)
def test_the_parts_are_the_label_in_order_whatever_the_reader_reads(line, read, confidence):
    label, spans = line
    split = split_label(label, places(label), pieces(label, spans, read[: len(spans)], confidence))
    if split is None:
        return
    assert len(split.spans) == len(spans)
    assert "".join("".join(split.parts(label)).split()) == "".join(label.split())
    assert all(part == part.strip() != "" for part in split.parts(label))
    assert split.spans == tuple(sorted(split.spans))


@given(split_lines(), st.floats(-0.5, 0.5))
@settings(max_examples=60, deadline=None)
def test_a_perfect_reading_gives_the_exact_split_even_if_the_words_are_misplaced(line, shift):
    label, spans = line
    read = [label[start:end] for start, end in spans]
    split = split_label(label, places(label, shift), pieces(label, spans, read))
    assert split.parts(label) == read
    assert split.error_rate == 0


@pytest.mark.parametrize("rate", [0.3, 0.45, 0.6])
def test_a_reader_that_reads_badly_still_splits_well(rate):
    rng = random.Random(0)
    spans = spans_at(LINE, CUTS)
    for _ in range(20):
        read = [misread(LINE[start:end], rate, rng) for start, end in spans]
        crooked = places(LINE, rng.uniform(-0.02, 0.02))
        assert split_label(LINE, crooked, pieces(LINE, spans, read, 0.5)).spans == tuple(spans)


def test_without_a_reader_the_places_of_the_words_split_the_label():
    spans = spans_at(LINE, CUTS)
    assert split_label(LINE, places(LINE), pieces(LINE, spans, [""] * 4, 0.0)).spans == tuple(spans)


def test_the_label_of_another_line_is_refused_if_the_reader_is_sure():
    spans = spans_at(LINE, CUTS)
    other = "the first thing was a large piece of paper, and many others lay below the desk"
    read = [other[start:end] for start, end in spans]
    assert split_label(LINE, places(LINE), pieces(LINE, spans, read, 0.95)) is None
    assert split_label(LINE, places(LINE), pieces(LINE, spans, read, 0.4)) is not None


def test_words_that_lie_elsewhere_on_the_line_are_refused():
    spans = spans_at(LINE, CUTS)
    assert split_label(LINE, places(LINE, 0.3), pieces(LINE, spans, [""] * 4, 0.0)) is None


def test_fewer_characters_than_pieces_cannot_be_split():
    read = pieces("ab", [(0, 1), (1, 1), (1, 2)], ["a", "", "b"])
    assert split_label("ab", places("ab"), read) is None


def test_pieces_that_overlap_share_characters():
    label, spans = "incomprehensibilities", [(0, 12), (9, 21)]
    read = [label[start:end] for start, end in spans]
    assert split_label(label, places(label), pieces(label, spans, read, overlaps=True)).spans == tuple(spans)


def test_a_gap_inside_a_word_splits_the_word_if_the_reader_shows_it():
    label, spans = "many encouragements were given", [(0, 7), (7, 19), (20, 30)]
    read = [label[start:end] for start, end in spans]
    assert split_label(label, places(label), pieces(label, spans, read)).spans == tuple(spans)


def test_a_text_without_spaces_is_split_at_gaps_between_letters():
    label, spans = "abcdefghijklmnop", [(0, 5), (5, 11), (11, 16)]
    split = split_label(label, places(label), pieces(label, spans, [""] * 3, 0.0), spaced=False)
    assert split.spans == tuple(spans)


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
@settings(max_examples=50, deadline=None)
def test_edit_distances_equal_those_of_the_definition(label, text):
    def distance(a, b):
        if not a or not b:
            return len(a) + len(b)
        return min(distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0]))

    found = edit_distances(label, text)
    for start in range(len(label) + 1):
        for end in range(start, len(label) + 1):
            assert found[start, end] == distance(label[start:end], text)
