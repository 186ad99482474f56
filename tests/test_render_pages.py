"""Rendered pages: laws of examples/render_pages, drawn with the one face that every machine has, and of their scores."""

import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from render_pages import Family, Look, Page, find_families, load_pages, render
from render_pages.elements import wrap
from render_pages.page import HERE
from render_pages.sheet import Style

from tests.bench_pages.scores import Score, in_order, score, total
from vedcore.errors import ConfigError

FAMILY = Family("Pillow's own")
PAGES = load_pages()
ONE_OF_EACH = """# Title

Words of a paragraph that is long enough for two lines on a page that is so narrow.

- First
- Second

Milk >> 2.49
Bread >>! 3.85

---

| Name | Price |
| Apple | 1.20 |
| | 3.00 |

Name: [Ada] ;; Town: _Ely_

[x] Yes ;; [ ] No

(Save) (Cancel)

{1.5 bold} = Centred

! Panel
"""
ITS_TEXT = """Title

Words of a paragraph that is long
enough for two lines on a page that is so
narrow.

- First
- Second

Milk 2.49
Bread 3.85

Name Price
Apple 1.20
3.00

Name: Ada Town: Ely

Yes No

Save Cancel

Centred

Panel
"""


def page(**fields):
    return Page(
        **{"kind": "one-column", "text": "test", "family": FAMILY.name, "size": 16, "width": 400, "margin": 30} | fields
    )


def drawn(source, **fields):
    return render(page(**fields), FAMILY, source=source)


def ink(image):
    """Where there is ink: (height, width)."""
    return np.asarray(image.convert("L")) < 128


def test_the_text_of_a_page_has_what_is_drawn_in_reading_order():
    _, text = drawn(ONE_OF_EACH)
    assert " ".join(text.split()) == " ".join(ITS_TEXT.split())
    assert [len(block.split()) for block in text.split("\n\n")] == [
        len(block.split()) for block in ITS_TEXT.split("\n\n")
    ]


def test_a_page_is_a_function_of_its_record_and_number():
    look = Look(turn=3, curl=2, desk=10, around="#404040", blur=0.5, shade=0.2, noise=5, jpeg=80)
    first, second = (drawn("Words", look=look)[0] for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert render(page(look=look), FAMILY, source="Words", number=1)[0].tobytes() != first.tobytes()


def test_no_ink_touches_the_margins():
    image, _ = drawn(ONE_OF_EACH)
    found = ink(image)
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    assert rows[0] >= 28
    assert rows[-1] < image.height - 28
    assert columns[0] >= 28
    assert columns[-1] <= image.width - 28


def test_columns_are_written_one_after_the_other_and_end_at_the_same_height():
    words = " ".join(f"word{number}" for number in range(60))
    image, text = drawn(f"%% columns\n\n{words}", height=600)
    assert text.split() == words.split()
    left, right = (np.flatnonzero(half.any(1)) for half in np.array_split(ink(image), 2, axis=1))
    assert abs(left[-1] - right[-1]) <= 2 * 16 * 1.3


def test_a_heading_stays_with_its_paragraph():
    paragraph = "one two three four five six seven eight nine ten"
    for height in range(150, 260, 10):
        _, text = drawn(f"%% columns\n\n{paragraph}\n\n## Head\n\n{paragraph}", height=height, continues=True)
        assert not text.endswith("Head\n")


def test_justified_lines_end_at_the_right_margin():
    words = "a few short words that fill some lines of a page " * 4
    image, _ = drawn(words, style={"justified": True})
    rows = ink(image)
    ends = [np.flatnonzero(line)[-1] for line in np.array_split(rows[30:-60], 3) for line in [line.any(0)]]
    assert max(ends) - min(ends) <= 4


def test_a_text_that_does_not_fit_is_told():
    with pytest.raises(ConfigError, match=r"text/test\.txt: the page ends before \d+ lines"):
        drawn("words " * 100, height=100)
    with pytest.raises(ConfigError, match="'Rindfleischetikettierung' is"):
        drawn("Rindfleischetikettierung", width=120)
    with pytest.raises(ConfigError, match="too wide"):
        drawn("| one long cell | another long cell | a third long cell |")
    with pytest.raises(ConfigError, match="printable ASCII"):
        drawn("Größe")


def test_wrapped_lines_have_the_words_of_the_text_and_fit():
    style = Style(FAMILY, 16)
    text = "The quick brown fox jumps over the lazy dog, again and again and again."
    lines = wrap(text, 150, style, first=30, rest=10)
    assert " ".join(lines) == text
    assert style.width(lines[0]) <= 120
    assert all(style.width(line) <= 140 for line in lines[1:])


def test_a_screen_has_its_panes_in_reading_order():
    source = (
        "%% title\n\nTitle\n\n%% menu\n\nFile ;; Edit\n\n%% side\n\n* One\nTwo\n\n%% main\n\nWords\n\n%% status\n\nDone"
    )
    theme = {"title": ("#ffffff", "#000080")}
    image, text = drawn(source, theme=theme, height=300, sharp=True)
    assert text == "Title\n\nFile Edit\n\nOne\nTwo\n\nWords\n\nDone\n"
    assert image.size == (400, 300)
    assert image.getpixel((2, 2)) == (0, 0, 128)


def test_the_set_has_four_pages_of_each_of_ten_kinds_with_texts_that_are_ascii():
    assert list(Counter(page.kind for page in PAGES).values()) == [4] * 10
    texts = {path.stem for path in (HERE / "text").glob("*.txt")}
    assert {page.text for page in [*PAGES, *load_pages(HERE / "letter.toml")]} == texts
    assert all((HERE / "text" / f"{name}.txt").read_bytes().isascii() for name in texts)
    assert min(page.size for page in PAGES) == 8
    assert {abs(page.look.turn) <= 10 for page in PAGES} == {True}


def test_an_unknown_family_or_a_missing_font_says_what_to_do(monkeypatch):
    with pytest.raises(ConfigError, match="family 'Papyrus' is not in"):
        find_families(["Papyrus"])
    monkeypatch.setattr("render_pages.faces.FOLDERS", ())
    with pytest.raises(ConfigError, match="apt-get install fonts-dejavu-core fonts-ebgaramond") as caught:
        find_families(["EB Garamond", "DejaVu Sans", "DejaVu Serif"])
    assert caught.value.found == ["fonts-dejavu-core", "fonts-ebgaramond"]


def test_the_command_writes_the_page_of_the_examples(tmp_path):
    letter = HERE / "letter.toml"
    try:
        find_families(page.family for page in load_pages(letter))
    except ConfigError as error:
        pytest.skip(str(error))
    program = [sys.executable, "-m", "render_pages", tmp_path, "--set", letter]
    done = subprocess.run(program, cwd=HERE.parent, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("1 pages\n")
    text = HERE.parent / "pages" / "letter.txt"
    assert (tmp_path / text.name).read_text() == text.read_text()
    with Image.open(tmp_path / "letter.png") as image, Image.open(text.with_suffix(".png")) as example:
        assert image.size == example.size
        assert ink(image).any()


def test_a_score_counts_edits_and_folds_white_space():
    assert score("a b\n\nc", "a  b c\f") == Score(0, 5)
    assert score("abc", "adc") == Score(1, 3)
    assert score("one two", "two one").edits > 0
    assert total([Score(1, 10), Score(2, 20)]).rate == pytest.approx(10)


def test_lines_are_in_order_if_they_follow_each_other_in_the_text():
    lines = [re.sub("0", word, "this is line 0, which is long") for word in ("alpha", "beta", "gamma", "delta")]
    reference = "\n".join(lines)
    assert in_order(reference, reference.replace("long", "lomg"))
    assert not in_order(reference, "\n".join([lines[0], lines[2], lines[1], lines[3]]))
    assert not in_order(reference, lines[0])
