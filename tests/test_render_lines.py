"""Rendered lines: laws of the data sets in examples/render_lines, drawn with the one face that every machine has."""

import hashlib
import subprocess
import sys
from pathlib import Path
from random import Random

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from render_lines import (
    Face,
    LatinMixture,
    Look,
    Mixture,
    Print,
    PrintedLines,
    PrintSettings,
    RenderedLines,
    Settings,
    drawing,
    find_faces,
    load,
    pillows_own,
)
from render_lines.__main__ import sheet
from render_lines.alphabet import ALPHABET, CHARACTERS
from render_lines.alphabet import LONGEST as LONGEST_OF_LATIN
from render_lines.corpus import LANGUAGES, clean
from render_lines.dataset import HERE, render
from render_lines.faces import PRINTABLE
from render_lines.folder import write_folder
from render_lines.latin import (
    AROUND,
    BETWEEN,
    BULLETS,
    CELLS,
    CODES,
    DATES,
    IBANS,
    MONEY,
    PHONES,
    QUANTITIES,
    THOUSANDS,
    LatinTexts,
    Line,
)
from render_lines.latin import KINDS as KINDS_OF_LATIN
from render_lines.printing import INPUT, LEAST_HEIGHT, print_line
from render_lines.texts import KINDS, LONGEST

from vedcore.errors import ConfigError
from vedcore.text import Tokenizer
from vedcore.training.data import Folder, ValidatedDataset
from vedcore.training.recipe import Recipe
from vedcore.vision import load_image

FACES = (pillows_own(),)
EXAMPLES = HERE.parent
# Nothing hides the edge of the ink: no grain, no shade, no scan.
BARE = Look(scanned=0, shaded=0, grainy=0, jpeg=0, tinted=0, light_on_dark=0)
indices = st.integers(0, 10**6)
seeds = st.integers(0, 2**32)


def all_kinds(look=None, **fields):
    mixture = Mixture(words=1, amounts=1, dates=1, characters=1, prose=1)
    return RenderedLines(Settings(texts=mixture, look=look or Look(scanned=0.5, trimmed=0.5), **fields), faces=FACES)


LINES = all_kinds()
BARE_LINES = all_kinds(BARE)


def digest(line):
    return hashlib.sha256(
        line.image.tobytes() + f"{line.image.mode} {line.image.size} {line.text}".encode()
    ).hexdigest()


def test_a_line_is_a_function_of_the_toml_and_its_index_in_any_process(tmp_path):
    toml = tmp_path / "mine.toml"
    toml.write_text(
        f'seed = 7\nwords = "{HERE}/text/words.txt"\nprose = "{HERE}/text/prose.txt"\n[texts]\nwords = 1\nprose = 1\n'
    )
    here = [digest(line) for line in map(load(toml, FACES).__getitem__, (5, 90000, 2, 5))]
    program = (
        "import hashlib, sys; from render_lines import load, pillows_own\n"
        "for i in (2, 5, 90000):\n"
        "    line = load(sys.argv[1], (pillows_own(),))[i]; shown = f'{line.image.mode} {line.image.size} {line.text}'\n"
        "    print(hashlib.sha256(line.image.tobytes() + shown.encode()).hexdigest())"
    )
    there = subprocess.run(
        [sys.executable, "-c", program, toml], cwd=EXAMPLES, capture_output=True, text=True, check=True
    )
    assert here[0] == here[3] != here[1]
    assert there.stdout.split() == [here[2], here[0], here[1]]


@given(indices, seeds)
def test_another_seed_is_another_line(index, seed):
    first, second = (all_kinds(seed=of)[index] for of in (seed, seed + 1))
    assert digest(first) != digest(second)


@given(st.sampled_from(sorted(KINDS)), seeds)
def test_a_text_is_one_that_a_picture_can_tell(kind, seed):
    text = LINES.texts.draw(kind, Random(seed))
    assert 1 <= len(text) <= LONGEST
    assert set(text) <= set(PRINTABLE) | {" "}
    assert text == " ".join(text.split())


def test_every_kind_is_drawn_and_one_without_a_weight_is_not():
    kinds = {LINES[index].source.split(": ")[1].split(",")[0] for index in range(60)}
    assert kinds == set(KINDS)
    only = RenderedLines(Settings(texts=Mixture(dates=1)), faces=FACES)
    assert all(": dates," in only[index].source for index in range(10))


@given(indices)
def test_the_ink_of_a_line_lies_within_its_picture_and_its_margins(index):
    grey = np.asarray(BARE_LINES[index].image, np.int16)
    paper, deepest = grey.max(), grey.min()
    assert paper - deepest > 30
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    assert (paper - edge <= drawing.FAINT + 1).all()
    ink = np.argwhere(paper - grey > drawing.FAINT + 1)
    top, left = ink.min(axis=0)
    assert 1 <= top <= 10 + 1
    assert 1 <= left <= 10 + 1


@given(indices)
def test_a_narrow_line_is_made_as_wide_as_the_look_asks(index):
    image = all_kinds(attrs.evolve(BARE, widened=1.0, width=(4.0, 4.0)))[index].image
    assert image.width >= 4 * image.height - 1


@given(st.text(PRINTABLE, min_size=1, max_size=12), st.integers(16, 40), seeds)
def test_a_scan_keeps_the_share_of_ink_and_is_never_higher(text, size, seed):
    cover = drawing.ink(text, FACES[0].font(size))
    scan = drawing.scanned(cover, Random(seed), np.random.default_rng(seed))
    before, after = np.asarray(cover).mean(), np.asarray(scan).mean()
    assert drawing.LEAST_INK <= after / before <= drawing.MOST_INK
    assert min(drawing.LOWEST, cover.height) <= scan.height <= cover.height


@given(st.text(PRINTABLE, min_size=1, max_size=LONGEST), st.floats(-2, 2), st.integers(16, 40))
def test_drawing_cuts_nothing_off(text, tilt, size):
    """In a margin that is larger than any room, the same ink is found."""
    font = FACES[0].font(size)
    close, far = (drawing.ink(text, font, tilt=tilt, margin=margin) for margin in (3, 60))
    inner = np.asarray(far)[57:-57, 57:-57]
    assert inner.shape == np.asarray(close).shape
    assert np.abs(inner.astype(int) - np.asarray(close)).max() <= 1


@pytest.mark.parametrize(
    "field", ["scanned", "shaded", "grainy", "jpeg", "tinted", "light_on_dark", "tilted", "blurred"]
)
def test_each_share_changes_what_it_names(field):
    never = attrs.evolve(BARE, tilted=0, blurred=0)
    chance = lambda: (Random(3), np.random.default_rng(3))  # noqa: E731
    plain, changed = (
        render("Ruling", FACES[0], look, *chance()) for look in (never, attrs.evolve(never, **{field: 1}))
    )
    assert changed.mode == ("RGB" if field == "tinted" else "L")
    assert changed.tobytes() != plain.tobytes()


def test_held_out_faces_are_never_trained_on():
    faces = tuple(Face(f"Family{number}", "Regular", f"{number}.ttf") for number in range(64))
    mixture = Mixture(words=1)
    shares = [
        set(RenderedLines(Settings(texts=mixture, faces=share), faces=faces).faces)
        for share in ("training", "held-out")
    ]
    assert shares[0] | shares[1] == set(faces)
    assert not shares[0] & shares[1]
    assert len(shares[1]) < len(shares[0])


def test_held_out_texts_are_never_trained_on():
    words, held_out = (set((HERE / f"text/{name}words.txt").read_text().split()) for name in ("", "held_out_"))
    assert len(words) > 5000 < 10 * len(held_out)
    assert not words & held_out


def test_the_faces_of_this_machine_write():
    faces = find_faces()
    assert pillows_own() in faces
    assert len({(face.family, face.style) for face in faces}) == len(faces)


TEXTS = "[texts]\nwords = 1\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("facs = 1\n" + TEXTS, "'facs'; did you mean 'faces'"),
        ('faces = "few"\n' + TEXTS, "one of all, held-out, training"),
        ("[texts]\nword = 1\n", "'word'; did you mean 'words'"),
        ("[look]\ntilted = 1.5\n" + TEXTS, "tilted must be a number from 0 to 1, got 1.5"),
        ("[look]\nsize = [40, 16]\n" + TEXTS, "size must be [from, to] between 8 and 200, got [40, 16]"),
        ("seed = 1.5\n" + TEXTS, "expected int, got 1.5"),
        ("seed = \n", "cannot be read as a data set"),
        ("", "[texts] has no weight above 0; set at least one of words"),
        ('faces = "held-out"\n' + TEXTS, 'selects none of the 1 faces of this machine'),
        ('words = "none.txt"\n' + TEXTS, "none.txt: cannot be read"),
        ('words = "german.txt"\n' + TEXTS, "german.txt, line 2: 'ß' is not printable ASCII"),
        ('words = "empty.txt"\n' + TEXTS, "empty.txt: contains no word"),
    ],
)  # fmt: skip
def test_an_error_about_a_toml_file_says_what_is_wrong_and_where(tmp_path, content, expected):
    (tmp_path / "text").mkdir()
    for name in ("words", "prose"):
        (tmp_path / f"text/{name}.txt").write_text("one two\n")
    (tmp_path / "german.txt").write_text("Haus\nStraße\n")
    (tmp_path / "empty.txt").write_text("\n")
    path = tmp_path / "set.toml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load(path, FACES)
    assert expected in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.file is None or Path(caught.value.file).is_relative_to(tmp_path)


def test_a_folder_of_fonts_without_one_says_so(tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    with pytest.raises(ConfigError, match="no face under") as caught:
        find_faces(tmp_path)
    assert (caught.value.file, caught.value.field) == (str(tmp_path), "fonts")


def test_a_line_beyond_the_last_is_an_index_error():
    lines = all_kinds(lines=3)
    assert len(list(lines)) == 3
    with pytest.raises(IndexError, match="line 3 of 3"):
        lines[3]


def test_a_written_folder_is_read_back_as_data(tmp_path):
    lines = [LINES[index] for index in range(6)]
    assert write_folder(lines, tmp_path / "data") == 6
    data = Folder(tmp_path / "data")
    assert data.problems == []
    for line, sample in zip(lines, data, strict=True):
        assert sample.text == line.text
        assert np.array_equal(load_image(sample.image), load_image(line.image))
    with pytest.raises(ConfigError, match="not an empty folder") as caught:
        write_folder(lines, tmp_path / "data")
    assert caught.value.file == str(tmp_path / "data")


def test_the_command_writes_a_sheet_and_lists_faces(tmp_path):
    program = [sys.executable, "-m", "render_lines", "words", "--count", "3", "--faces", "--sheet", tmp_path / "s.png"]
    done = subprocess.run(program, cwd=EXAMPLES, capture_output=True, text=True, check=True)
    assert "training  " in done.stdout
    assert " families" in done.stdout.splitlines()[-1]
    assert np.asarray(load_image(tmp_path / "s.png")).std() > 10
    assert sheet([LINES[0]] * 5).height == 2 * sheet([LINES[0]]).height


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("line_reader*.toml")), ids=lambda path: path.stem)
def test_the_recipes_of_the_line_reader_are_recipes_and_their_data_are_there(path: Path):
    recipe = Recipe.from_toml(path)
    names = {stage.data for stage in recipe.stages} | {recipe.evaluation.data}
    assert names <= set(recipe.data)
    for name in names:
        dataset = recipe.data[name].options["dataset"]
        assert (HERE / f"{dataset}.toml").is_file()


@pytest.mark.parametrize("dataset", ["words", "prose"])
def test_training_takes_the_lines_of_each_data_set(dataset):
    data = ValidatedDataset(load(dataset, FACES), dataset)
    assert data.problems == []
    assert data[3].text == load(dataset, FACES)[3].text


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder of a few words and sentences in each language, as the corpus command writes them."""
    folder = tmp_path_factory.mktemp("corpus")
    for language in LANGUAGES:
        for prefix in ("", "held_out_"):
            (folder / f"{prefix}words.{language.code}.txt").write_text("Größe\nreader\nl'été\nno\n", encoding="utf-8")
            text = f'Hier steht "ein Satz" - in {language.code}.\n'
            (folder / f"{prefix}prose.{language.code}.txt").write_text(text, encoding="utf-8")
    return folder


def printed_lines(corpus, faces=FACES, look=None, **fields):
    mixture = LatinMixture(**dict.fromkeys(KINDS_OF_LATIN, 1.0))
    settings = PrintSettings(texts=mixture, corpus=str(corpus), print=look or Print(), **fields)
    return PrintedLines(settings, faces=faces)


@pytest.mark.parametrize("kind", sorted(KINDS_OF_LATIN))
def test_a_latin_text_stays_within_the_alphabet_and_its_length(kind, corpus):
    texts = LatinTexts(corpus)
    for seed in range(60):
        for longest in (12, LONGEST_OF_LATIN):
            line = texts.draw(kind, Random(seed), longest)
            assert 1 <= len(line.text) <= longest
            assert set(line.before + line.text + line.after) <= ALPHABET
            assert line.text == " ".join(line.text.split())
            assert len(line.before) <= 1 >= len(line.after)


def test_what_the_templates_print_is_in_the_alphabet():
    tables = (BETWEEN, BULLETS, CELLS, CODES, DATES, IBANS, MONEY, PHONES, QUANTITIES, THOUSANDS, *AROUND)
    assert set("".join(text for table in tables for text in table)) <= ALPHABET


def test_the_tokenizer_has_one_token_for_each_character_of_the_alphabet():
    tokenizer = Tokenizer.from_pretrained(EXAMPLES / "line_reader_tokenizer")
    ids = [tokenizer.encode(mark) for mark in (" ", *CHARACTERS)]
    assert [len(of) for of in ids] == [3] * len(ids)
    assert [of[1] for of in ids] == list(range(4, 4 + len(ids)))
    assert {(of[0], of[2]) for of in ids} == {(1, 2)}
    recipe = Recipe.from_toml(EXAMPLES / "line_reader_latin.toml")
    assert recipe.model.decoder["vocab_size"] == 4 + len(ids)
    assert recipe.model.decoder["n_positions"] == recipe.model.generation["max_length"] == LONGEST_OF_LATIN + 2


def test_a_face_draws_only_texts_of_which_it_has_each_character(corpus):
    (face,) = FACES
    assert set("abc 09") <= face.glyphs <= ALPHABET
    lacking = ALPHABET - face.glyphs
    assert lacking, "the face that Pillow carries has no accented letters"
    lines = printed_lines(corpus)
    assert all(set(lines[index].text) <= face.glyphs for index in range(60))


def test_faces_that_readers_are_judged_on_are_never_drawn(corpus):
    names = (
        "Open Sans",
        "OpenSans Condensed",
        "Cantarell",
        "Linux Libertine O",
        "Libertinus Serif",
        "Linux Biolinum",
        "Lato",
    )
    reserved = tuple(Face(name, "Regular", f"{name}.ttf") for name in names)
    assert all(face.reserved for face in reserved)
    assert printed_lines(corpus, faces=(*reserved, *FACES)).faces == FACES
    for share in ("all", "training"):
        settings = Settings(texts=Mixture(words=1), faces=share)
        assert RenderedLines(settings, faces=(*reserved, *FACES)).faces == FACES


def test_a_printed_line_is_a_function_of_the_settings_and_its_index(corpus):
    first, second = printed_lines(corpus), printed_lines(corpus)
    assert [digest(first[index]) for index in (3, 70)] == [digest(second[index]) for index in (3, 70)]
    assert digest(printed_lines(corpus, seed=1)[3]) != digest(first[3])


def test_the_letters_beside_a_cut_are_cut_off():
    never = Print(**dict.fromkeys((field.name for field in attrs.fields(Print)), 0.0))
    width = {}
    for line in (Line("mill"), Line("mill", "m", "m"), Line("mmillm")):
        cover = print_line(line, FACES[0], never, Random(5), np.random.default_rng(5))
        ink = np.flatnonzero((np.asarray(cover) < 128).any(0))
        width[line] = ink[-1] - ink[0]
    whole, cut, long = width.values()
    assert whole <= cut < long - 2 * (long - whole) / 4


def test_wide_margins_leave_letters_that_can_be_read(corpus):
    lines = printed_lines(
        corpus, look=Print(tight=0, wide_margins=1, tilted=0, boxed=0, ruled=0, bleeding=0, specked=0)
    )
    for index in range(40):
        grey = np.asarray(lines[index].image.convert("L"), np.int16)
        rows = np.flatnonzero((abs(grey - np.median(grey)) > 60).any(1))
        if len(rows):  # faint print is below the threshold of this test
            assert (rows[-1] + 1 - rows[0]) / len(grey) * INPUT[1] >= LEAST_HEIGHT / 3


def test_the_corpus_keeps_sentences_that_the_alphabet_can_write():
    found = clean(
        ["zu kurz", "Das ist ein  ganzer\nSatz.", "Das ist ein ganzer Satz.", "это предложение не нужно здесь"]
    )
    assert found == ["Das ist ein ganzer Satz."]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("longest = 41\n", "longest must be"),
        ("[print]\nsmal = 0.1\n", "'smal'; did you mean 'small'"),
        ("[texts]\nphones = 1\n", "'phones'"),
        ('corpus = "none"\n[texts]\nwords = 1\n', "python -m render_lines.corpus"),
        ("", "[texts] has no weight above 0"),
    ],
)
def test_a_latin_toml_that_cannot_be_drawn_is_told_what_to_do(tmp_path, content, told):
    path = tmp_path / "set.toml"
    path.write_text(f'alphabet = "latin"\n{content}')
    with pytest.raises(ConfigError) as caught:
        load(path, FACES)
    assert told in str(caught.value)
