"""The report of a run."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.training.tiny import recipe
from vedcore.errors import SaveError
from vedcore.training.attention import Letter, SeenRow
from vedcore.training.evaluation import ReadLine, Score
from vedcore.training.report import render, write_report

NASTY = '<script>alert("&")</script>'
OLD_LOG = [
    *({"event": "step", "step": n, "loss": 5.0 / n, "lr": 1e-3} for n in range(1, 1001)),
    *({"event": "evaluation", "step": n, "cer": 0.5, "wer": 1.0} for n in (500, 1000)),
]


def score(*lines: ReadLine) -> Score:
    return Score(1, 0, 0.5, 1.0, 0.1, 9.0, worst=lines)


def row(text: str, columns: int | None = 96, *, noise: bool = False) -> SeenRow:
    """A row whose letters lie side by side."""
    letters = []
    for at, letter in enumerate(text):
        shares = (
            None if columns is None else np.exp(-0.5 * (np.arange(columns) - columns * (at + 0.5) / len(text)) ** 2)
        )
        letters.append(Letter(letter, None if shares is None else (shares / shares.sum()).astype(np.float32)))
    high = 256 if noise else 1
    grey = np.random.default_rng(0).integers(0, high, (32, 384, 1), np.uint8)
    return SeenRow(np.repeat(grey, 3, axis=2), 9.0, tuple(letters))


def line(text: str, read: str, source: str = "a.png") -> ReadLine:
    return ReadLine(source, text, read, 0.5, "eos", 2)


def test_a_report_shows_curves_and_worst_lines_and_escapes_text():
    skipped = {"event": "skipped", "step": 3, "counts": {"two labels": 2}, "problems": [NASTY]}
    worst = score(line(NASTY, "<b>", NASTY))
    page = render([*OLD_LOG, skipped], recipe(seed=77), (500, 0.25), worst, {NASTY: [row("<b>")]}, "time")
    assert NASTY not in page
    assert page.count('class="chart"') == 4
    assert page.count("data:image/jpeg;base64,") == 1
    for text in (
        "left out: two labels",
        "&quot;seed&quot;: 77",
        "the model of step 500, character error rate 25.00%",
        "step 1000, all figures below",
        "its time was over (max_minutes)",
        "best: 50%",
    ):
        assert text in page
    assert len(page) < 60_000
    assert all(mark not in page for mark in ("http:", "https:", "nan", 'src="/', "validation", "before training"))


def test_a_report_shows_the_error_before_training_the_validation_loss_and_the_kept_lines():
    first = {"event": "evaluation", "step": 0, "cer": 0.499, "wer": 1.0, "validation_loss": 3.0, "kept_cer": 0.01}
    page = render([first, *OLD_LOG], recipe(), (500, 0.5), None, {})
    assert "before training: 49.9%" in page
    assert "character error rate 49.90%" in page
    assert "validation" in page
    assert "ordinary print" in page


def test_twenty_lines_of_three_noisy_pieces_are_less_than_a_megabyte():
    worst = [line("x" * 60, "y" * 60, str(number)) for number in range(20)]
    rows = [row("y" * 20, noise=True)] * 3
    assert len(render([], recipe(), None, score(*worst), {one.source: rows for one in worst})) < 2**20


def test_each_letter_has_a_place_and_the_heat_of_its_attention():
    page = render([], recipe(), None, score(line("kitten", "sitting")), {"a.png": [row("sitting")]})
    places = [float(place) for place in re.findall(r"--x:([0-9.]+)", page)]
    assert places == pytest.approx([100 * (at + 0.5) / 7 for at in range(7)], abs=1)
    assert page.count("linear-gradient") == 7
    assert re.findall(r"<span class=wrong[^>]*>(.)", page) == ["s", "i", "g"]


def test_letters_at_one_place_stand_below_each_other():
    same = SeenRow(np.zeros((16, 64, 3), np.uint8), 4.0, row("a").letters * 9)
    page = render([], recipe(), None, score(line("b", "aaaaaaaaa")), {"a.png": [same]})
    assert re.findall(r"--y:(\d)", page) == list("012345555")


def test_differences_can_be_told_apart_without_colour():
    page = render([], recipe(), None, score(line("abc d", "axbd")), {})
    assert '<b>text </b>a b<span class="lost">c␣</span>d' in page
    assert '<b>read </b>a<span class="added">x</span>b  d' in page
    for kind, sign in (("other", "box-shadow"), ("lost", "line-through"), ("added", "underline")):
        assert re.search(rf"\.{kind} {{[^}}]*{sign}", page)


def test_without_a_grid_the_report_says_that_the_places_are_unknown():
    page = render([], recipe(), None, score(line("ab", "ac")), {"a.png": [row("ac", columns=None)]})
    assert "Where the decoder looked is not known" in page
    assert "linear-gradient" not in page
    assert "data:image/jpeg" in page


def test_a_report_counts_the_lines_that_the_reader_is_sure_of():
    found = replace(score(replace(line("ab", "ac"), probability=0.25)), sure=7, sure_wrong=2)
    page = render([], recipe(), None, found, {})
    assert "<td>lines above probability 0.9</td><td>7, of which 2 are wrong</td>" in page
    assert "probability 0.250" in page
    assert "probability" not in render([], recipe(), None, score(line("ab", "ac")), {})


def test_a_report_without_a_score_refers_to_no_figures():
    log = [{"event": "evaluation", "step": 500, "cer": 0.5, "wer": 1.0}]
    page = render(log, recipe(), (500, 0.5), None, {})
    assert "step 500, character error rate 50.00%" in page
    assert "below" not in page.replace("--", "")


def test_a_report_of_an_empty_log_is_a_page():
    page = render([], recipe(), None, None, {})
    assert "<svg" not in page
    assert page.endswith("</html>\n")


def test_a_report_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(SaveError, match=r"report\.html: not written"):
        write_report(tmp_path / "absent", recipe(), None, None, {})
