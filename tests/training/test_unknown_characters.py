"""From labels with unknown characters to a reader that can write them: what the commands say, and what a run does."""

import json

import pytest
from typer.testing import CliRunner

from tests.training.tiny import recipe, same, stop_after, weights_of, write_folder, write_recipe
from vedcore.cli import app
from vedcore.diagnosis import diagnose
from vedcore.errors import TrainingError
from vedcore.reader import Reader
from vedcore.training import Folder, train

TEXTS = ("Käse", "äöß", "two", "x\u0302", "Öl", "öl", "ÄÄ", "eight")


@pytest.fixture
def lines(tmp_path):
    return write_folder(tmp_path / "lines", texts=TEXTS)


def vedcore(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_all_unknown_characters_are_listed_with_their_counts_and_the_option(lines, tmp_path):
    with pytest.raises(TrainingError) as raised:
        train(recipe(), tmp_path / "out", lines)
    message = str(raised.value)
    assert "\n6 characters that the tokenizer cannot write: 'Ä' (U+00C4) 2, 'ä' (U+00E4) 2, 'ö' (U+00F6) 2, " in message
    assert '; train with --add-characters "ÄÖßäö" (add_characters in [model] of a recipe); U+0302 is a comb' in message
    plan = write_recipe(tmp_path / "recipe.toml", recipe())
    checked = vedcore("train", lines, "--recipe", plan, "--check")
    assert (checked.exit_code, checked.stdout.count("unwritable character")) == (1, 6)
    assert "train: 6 characters that the tokenizer cannot write: " in checked.stderr
    checked = vedcore("train", lines, "--recipe", plan, "--check", "--add-characters", "ÄÖßäö")
    assert checked.stdout.count("\n") == 1
    assert "3.png: unwritable character" in checked.stdout
    refused = vedcore("train", lines, "--recipe", plan, "--check", "--add-characters", "x\u0302")
    assert (refused.exit_code, "is a combining mark" in refused.stderr) == (2, True)


def test_a_run_with_added_characters_resumes_exactly_and_saves_a_reader_that_writes_them(lines, tmp_path):
    (lines / "labels.jsonl").write_text((lines / "labels.jsonl").read_text().replace("x\\u0302", "three"))
    plan = recipe(6)
    plan.model.add_characters = "ÄÖßäö"
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(plan, whole, lines)
    assert train(plan, parts, lines, watch=stop_after(3)).ended == "interrupted"
    assert json.loads((parts / "recipe.json").read_text())["recipe"]["model"]["add_characters"] == "ÄÖßäö"
    options = (
        "train",
        lines,
        "--out",
        parts,
        "--recipe",
        write_recipe(tmp_path / "recipe.toml", recipe(6)),
        "--resume",
    )
    other = vedcore(*options)
    assert (other.exit_code, "other settings" in other.stderr) == (2, True), other.stderr
    resumed = vedcore(*options, "--add-characters", "ÄÖßäö")
    assert resumed.exit_code == 0, resumed.stderr
    assert same(weights_of(parts), weights_of(whole))
    tokenizer = Reader.load(whole).processor.tokenizer
    assert tokenizer.decode(tokenizer.encode("Käse Öl"), skip_special_tokens=True) == "Käse Öl"


def test_labels_in_latin_1_are_read_on_request_by_train_eval_and_doctor(tmp_path):
    folder = write_folder(tmp_path / "lines", "csv", texts=("K\xe4se", "two"))
    (folder / "labels.csv").write_text("Datei;Text\n0.png;K\xe4se\n1.png;two\n", encoding="latin-1")
    named = vedcore("train", folder, "--check", "--encoding", "latin-1")
    assert "expected the columns 'file' and 'text'" in named.stderr
    (folder / "labels.csv").write_text("Image;Label\n0.png;K\xe4se\n1.png;two\n", encoding="latin-1")
    plan = write_recipe(tmp_path / "recipe.toml", recipe(data={"other": {"folder": "lines", "encoding": "latin-1"}}))
    for command in (
        ("train", folder, "--check", "--recipe", plan),
        ("eval", "line-reader", folder),
        ("doctor", "line-reader", "--data", folder),
    ):
        assert "labels.csv:2: labels must be text in UTF-8, found byte 0xE4" in vedcore(*command).stderr
        assert vedcore(*command, "--encoding", "latin-1").exit_code in (0, 1)
    assert "--encoding is for DATA" in vedcore("train", "--check", "--recipe", plan, "--encoding", "latin-1").stderr
    assert (
        recipe(data={"other": {"folder": str(folder), "encoding": "latin-1"}}).data["other"].open(tmp_path)[0].text
        == "Käse"
    )


# The doctor.


def data_findings(folder, checkpoint="line-reader"):
    found = diagnose(checkpoint, data=Folder(folder))
    assert all(finding.concern == "data" and finding.severity == "warning" for finding in found)
    return [f"{finding.problem}\n{finding.fix}" for finding in found]


def test_the_doctor_finds_nothing_in_labels_that_fit(tmp_path):
    assert data_findings(write_folder(tmp_path / "lines")) == []


def test_the_doctor_finds_what_a_model_cannot_learn(lines, tmp_path):
    (lines / "labels.jsonl").write_text(
        (lines / "labels.jsonl").read_text().replace('"two"', f'"{"long " * 9}"').replace('"eight"', '" "')
    )
    empty, unknown, long = data_findings(lines)
    assert "1 sample (7 labelled in all): empty label, the first " in empty
    assert "6 characters that the tokenizer cannot write" in unknown
    assert '--add-characters "ÄÖßäö"' in unknown
    assert (
        "1 sample (7 labelled in all): the label and the end token need more than the decoder's 28 positions; the"
        in long
    )
    assert "the longest needs 46: " in long
    assert "training cuts these lines" in long


def test_the_doctor_finds_images_that_are_much_wider_than_the_input_of_a_model_without_a_cut_rule(tmp_path):
    from PIL import Image

    from vedcore.training.build import build_reader
    from vedcore.training.checkpoints import write_reader

    reader = build_reader(recipe().model, 0)
    write_reader(reader, tmp_path / "model")
    folder = write_folder(tmp_path / "lines", texts=("one", "two"))
    Image.new("RGB", (200, 20), "white").save(folder / "1.png")
    problems = [f.problem for f in diagnose(tmp_path / "model", data=Folder(folder)) if f.concern == "data"]
    assert problems == [
        "1 sample (2 labelled in all): the image is more than 1.5 times as wide as the input of 64 x 16 (width x height) for "
        "its height; the widest has 200 x 20"
    ]


def test_the_command_shows_the_findings_of_data(lines):
    result = vedcore("doctor", "line-reader", "--data", lines)
    assert result.exit_code == 1
    assert result.stdout.startswith("warning (data): 6 characters that the tokenizer cannot write")
