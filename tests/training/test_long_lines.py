"""Training on lines that are longer than the reader's input."""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from typer.testing import CliRunner

from tests.training.tiny import recipe, same, steps_of, stop_after, weights_of, write_recipe
from vedcore.cli import app
from vedcore.errors import CheckpointError, TrainingError
from vedcore.reader import Reader
from vedcore.training import Fault, Folder, Sample, check_data, train
from vedcore.training import cutting as cutting_module
from vedcore.training.build import build_reader
from vedcore.training.cutting import LineCutter, cut_rule_of
from vedcore.training.data.batches import ExampleDataset
from vedcore.training.data.label_encoder import LabelEncoder
from vedcore.training.data.pieces import Cut, Pieces
from vedcore.training.data.problem import Problem
from vedcore.training.datasets import MOST_CUT
from vedcore.training.log import read_log
from vedcore.training.piece_file import PIECES_FILE, read_cuts, write_cuts
from vedcore.vision import Augmentation, CutPiece

TEXTS = (
    "the first of many letters",
    "was sent away in March",
    "and nobody in the house",
    "had heard of it since",
    "until a boy who sold",
    "apples at the corner said",
    "that he knew the hand",
    "of the man who wrote it",
    "short",
    "two",
    "nine",
    "answer",
)


def draw(text, size=24, squeeze=1.0):
    font, text = ImageFont.load_default(size), text.replace(" ", "   ")  # the spaces of this font are narrow
    image = Image.new("RGB", (int(font.getlength(text)) + 12, 2 * size), "white")
    ImageDraw.Draw(image).text((6, size // 3), text, fill="black", font=font)
    return image.resize((int(squeeze * image.width), image.height))


def cutting_recipe(steps=6, layout="line", cut=None, **tables):
    """The tiny recipe with a rule for its pieces of at most 15 characters."""
    model = {name: value for name, value in recipe().to_dict()["model"].items() if value is not None}
    model |= {"cut": cut or {"above": 7.0, "longest": 6.0, "shortest": 2.0}, "layout": layout}
    given = {"model": model, "evaluation": {"lines": 1, "every": 3}}
    return recipe(steps, **{**given, **tables})


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "lines"
    path.mkdir()
    for number, text in enumerate(TEXTS):
        draw(text).save(path / f"{number:02d}.png")
        (path / f"{number:02d}.txt").write_text(text)
    return path


class Lines:
    """Lines in memory."""

    def __init__(self, *lines):
        self.lines = lines

    def __len__(self):
        return len(self.lines)

    def __getitem__(self, index):
        text, image = self.lines[index]
        return Sample(image, text, f"line {index}")


def reads(monkeypatch, *texts, confidence=0.9):
    """Make every cutter read these texts in the pieces of its lines, one after the other."""
    given = iter(texts)

    def read(self, lines):
        return [[(next(given), confidence) for _ in line.pieces] for line in lines]

    monkeypatch.setattr(LineCutter, "_read_pieces", read)


def cutter(**options):
    reader = build_reader(cutting_recipe(**options).model, 0)
    return LineCutter(reader, cut_rule_of(reader))


def test_long_lines_become_pieces_whose_texts_are_the_label_and_short_ones_stay_whole(folder):
    data, cutting = Folder(folder), cutter()
    found = cutting.cut(data)
    assert (found.problems, found.lines) == ([], 8)
    assert sorted(found.cuts) == list(range(8))
    for line, cut in found.cuts.items():
        assert " ".join(cut.texts) == TEXTS[line]
    pieces = Pieces(data, cutting.rule, found.cuts)
    assert len(pieces) == found.pieces + 4
    assert [pieces[index].text for index in range(found.pieces, len(pieces))] == list(TEXTS[8:])
    assert pieces[0].source == f"{folder / '00.png'} (piece 1 of {len(found.cuts[0].texts)})"
    with pytest.raises(IndexError):
        pieces[len(pieces)]


def test_training_sees_the_pixels_that_reading_sees(folder, monkeypatch):
    cutting = cutter()
    reader, data = cutting.reader, Folder(folder)
    pieces = Pieces(data, cutting.rule, cutting.cut(data).cuts)
    unchanged = Augmentation(share=0.0)
    examples = ExampleDataset(
        pieces, reader.processor.image_processor, LabelEncoder.for_reader(reader), unchanged, (0,)
    )
    trained = [torch.from_numpy(examples[index, index].pixels) for index in range(len(pieces))]
    read = []
    generate = type(reader.model).generate

    def record(model, pixels, **options):
        read.extend(pixels)
        return generate(model, pixels, **options)

    monkeypatch.setattr(type(reader.model), "generate", record)
    with pytest.warns(UserWarning, match="random"):
        reader.read([data[index].image for index in range(len(data))], max_length=3)
    assert len(trained) == len(read)
    assert all(torch.equal(one, other) for one, other in zip(trained, read, strict=True))


def test_the_shipped_reader_splits_the_label_of_a_line():
    reader = Reader.load("line-reader", prepare=False)
    text = "the label of this line is split between its pieces"
    found = LineCutter(reader, reader.cut_rule).cut(Lines((text, draw(text, 30))))
    assert " ".join(found.cuts[0].texts) == text
    assert len(found.cuts[0].texts) > 2
    assert not reader.model.training


def test_a_label_of_another_line_is_left_out(monkeypatch):
    text = TEXTS[0]
    reads(monkeypatch, "nobody read", "quickly jumped", "zz", "ww", "qq", confidence=0.99)
    found = cutter().cut(Lines((text, draw(text)), ("short", draw("short"))))
    assert found.cuts == {0: Cut(line=0)}
    (problem,) = found.problems
    assert (problem.fault, problem.source) == (Fault.not_aligned, "line 0")
    assert "which the reader reads as 'nobody read | quickly jumped" in problem.detail


def test_narrow_type_is_cut_into_more_pieces_than_the_rule_gives(monkeypatch):
    text = "it ill fits a little tin till"
    loose = cutter(cut={"above": 40.0, "longest": 30.0})
    found = loose.cut(Lines((text, draw(text))))
    assert found.problems == []
    assert found.cuts[0].rule > 0
    assert " ".join(found.cuts[0].texts) == text
    assert all(len(part) < 16 for part in found.cuts[0].texts)
    assert Pieces(Lines((text, draw(text))), loose.rule, found.cuts)[0].text == found.cuts[0].texts[0]


def test_a_word_that_no_gap_divides_remains_too_long():
    found = cutter().cut(Lines(("x" * 30, Image.new("RGB", (300, 20), "black"))))
    assert found.cuts == {0: Cut(line=0)}
    assert [problem.fault for problem in found.problems] == [Fault.too_long]
    assert "cut the image and its text into shorter ones" in found.problems[0].detail


def test_an_image_that_has_changed_is_a_problem_of_its_sample(folder):
    pieces = Pieces(Folder(folder), cutter().rule, {0: Cut(line=0, texts=("a", "b", "c", "d", "e", "f", "g"))})
    examples = ExampleDataset(pieces, None, None, None, (0,))
    found = examples[0, 0]
    assert isinstance(found, Problem)
    assert "pieces, but had 7 before the first step" in found.detail


def test_a_resumed_run_learns_from_the_same_pieces_bit_for_bit(folder, tmp_path):
    plan = cutting_recipe(8)
    train(plan, tmp_path / "whole", folder)
    stored = (tmp_path / "whole" / PIECES_FILE).read_text()
    train(plan, tmp_path / "parts", folder, watch=stop_after(3))
    assert train(plan, tmp_path / "parts", folder, resume=True).step == 8
    assert (tmp_path / "parts" / PIECES_FILE).read_text() == stored
    assert steps_of(tmp_path / "parts") == steps_of(tmp_path / "whole")
    assert same(weights_of(tmp_path / "parts"), weights_of(tmp_path / "whole"))


def test_no_line_is_cut_again_when_a_run_resumes(folder, tmp_path, monkeypatch):
    train(cutting_recipe(8), tmp_path / "out", folder, watch=stop_after(3))
    monkeypatch.setattr(LineCutter, "cut", lambda *a: pytest.fail("a line was cut again"))
    assert train(cutting_recipe(8), tmp_path / "out", folder, resume=True).step == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: None, "is missing"),
        (lambda text: text[: len(text) // 2], "pieces.jsonl"),
        (lambda text: "\n".join(text.splitlines()[:-1]), "cut lines, expected"),
        (lambda text: text.replace('"line": 1,', '"line": 99,'), "no line 99 in 'learn: train'"),
        (lambda text: text.replace('"rule": 0', '"rule": "x"'), "rule"),
        (lambda text: text.replace('"learn: train"', '["train"]'), "or a second one"),
    ],
)
def test_damage_to_the_pieces_of_a_run_is_an_error_that_names_the_file(change, message, tmp_path):
    cuts = {line: Cut(line=line, texts=("a", "b")) for line in range(3)}
    write_cuts(tmp_path, {"learn: train": cuts, "hold out: train": {}})
    lengths = {"learn: train": 12, "hold out: train": 1}
    assert read_cuts(tmp_path, lengths) == {"learn: train": cuts, "hold out: train": {}}
    path = tmp_path / PIECES_FILE
    text = change(path.read_text())
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_cuts(tmp_path, lengths)
    assert caught.value.file == str(path)


def test_no_piece_of_a_held_out_line_is_learned(folder, tmp_path, monkeypatch):
    seen = {}
    learned = cutting_module.LineCutter.cut

    def record(self, data):
        seen[len(data)] = {data[index].source for index in range(len(data))}
        return learned(self, data)

    monkeypatch.setattr(LineCutter, "cut", record)
    train(cutting_recipe(2), tmp_path / "out", folder)
    assert sorted(seen) == [1, 11]
    assert not seen[1] & seen[11]


def test_a_run_reports_what_it_cuts_and_leaves_out_lines_without_being_told(folder, tmp_path, monkeypatch):
    events = []
    original = LineCutter._split

    def split(self, line, readings, times):
        if line.sample.source.endswith("03.png"):
            return Problem(Fault.not_aligned, line.sample.source, "another text")
        return original(self, line, readings, times)

    monkeypatch.setattr(LineCutter, "_split", split)
    result = train(
        cutting_recipe(2), tmp_path / "out", folder, watch=lambda event, fields: events.append((event, fields))
    )
    assert (result.ended, result.skipped) == ("done", 1)
    assert (events[0][0], {"lines": events[0][1]["lines"]}) == ("cut", {"lines": 7})
    (skipped,) = [record for record in read_log(tmp_path / "out") if record["event"] == "skipped"]
    assert skipped["counts"] == {"label not aligned": 1}


def test_evaluation_during_training_reads_lines_as_users_do(folder, tmp_path, monkeypatch):
    layouts = []
    each = Reader.each
    monkeypatch.setattr(Reader, "each", lambda self, *a, **k: layouts.append(k["layout"]) or each(self, *a, **k))
    train(cutting_recipe(2), tmp_path / "line", folder)
    assert set(layouts) == {"line"}
    layouts.clear()
    whole = Lines(*((text, draw(text)) for text in TEXTS[8:] * 3))
    train(cutting_recipe(2, layout="whole"), tmp_path / "whole", whole)
    assert set(layouts) == {"whole"}


def test_a_large_generated_data_set_is_not_cut():
    class Endless(Lines):
        def __len__(self):
            return MOST_CUT + 1

        def __getitem__(self, index):
            return super().__getitem__(index % len(self.lines))

    found = check_data(cutting_recipe(), {"train": Endless((TEXTS[0], draw(TEXTS[0])))})["train"]
    assert (found.cut, {problem.fault for problem in found.problems}) == (0, {Fault.too_long})


def test_check_says_how_many_lines_are_cut(folder, tmp_path):
    arguments = ["train", folder, "--recipe", write_recipe(tmp_path / "r.toml", cutting_recipe()), "--check"]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    first, second = done.stderr.splitlines()
    assert first == "train: 12 samples to learn from, 0 problems"
    assert second.startswith("train: 8 long lines cut into ")
    assert second.endswith("; 0 lines left out, because their labels cannot be split")


def test_lines_that_a_run_keeps_are_cut_too(folder, tmp_path):
    plan = cutting_recipe(3, keep={"data": "print", "share": 0.5}, data={"print": {"folder": str(folder)}})
    assert train(plan, tmp_path / "out", folder).ended == "done"
    _, *rows = map(json.loads, (tmp_path / "out" / PIECES_FILE).read_text().splitlines())
    assert {row["data"] for row in rows} >= {"learn: train", "keep: print"}


def test_a_run_whose_lines_are_all_left_out_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(
        LineCutter, "_split", lambda self, line, *a: Problem(Fault.not_aligned, line.sample.source, "no")
    )
    data = Lines(*((text, draw(text)) for text in TEXTS[:8]))
    message = (
        r"'train': none of its lines can be cut into pieces with their texts; the first problem is line \d: label not"
    )
    with pytest.raises(TrainingError, match=message):
        train(cutting_recipe(3, evaluation={"lines": 0}), tmp_path / "out", data)


def test_lines_that_are_not_cut_have_the_pixels_that_reading_takes(monkeypatch):
    cropped = np.zeros((4, 5, 3), np.uint8)
    monkeypatch.setattr("vedcore.training.data.pieces.cut_line", lambda pixels, rule: [CutPiece((1, 2, 6, 6), cropped)])

    class Endless(Lines):
        def __len__(self):
            return 2**50

    sample = Pieces(Endless(("short", draw("short"))), cutter().rule, {})[0]
    assert sample.image is cropped
    assert (sample.text, sample.source) == ("short", "line 0")
