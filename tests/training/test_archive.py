"""A zip file of labelled images as a data set."""

import json
import os
import pickle
import zipfile

import pytest

from tests.training.tiny import NO_EVALUATION, TEXTS, recipe, write_archive, write_folder
from vedcore.errors import ConfigError
from vedcore.training import Archive, Folder, train
from vedcore.training.data.stored import open_stored
from vedcore.training.data.validated import sample_at
from vedcore.vision import load_image


def rows_in(path, *rows, **files):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels.jsonl", "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
        for name, content in files.items():
            archive.writestr(f"{name}.png", content)
    return path


def test_an_archive_has_the_samples_of_the_folder_with_the_same_files(tmp_path):
    folder, archive = Folder(write_folder(tmp_path / "lines")), Archive(write_archive(tmp_path / "lines.zip"))
    pairs = [(folder[index], archive[index]) for index in range(len(folder))]
    assert [sample.text for _, sample in pairs] == list(TEXTS)
    assert all(load_image(one.image).tobytes() == load_image(two.image).tobytes() for one, two in pairs)
    assert pairs[0][1].source == f"{tmp_path}/lines.zip/0.png"
    again = pickle.loads(pickle.dumps(archive))  # as a worker process has it
    assert again[3] == archive[3]


def test_a_path_is_opened_as_a_folder_or_as_a_zip(tmp_path):
    assert isinstance(open_stored(write_archive(tmp_path / "lines.ZIP")), Archive)
    assert isinstance(open_stored(write_folder(tmp_path / "folder.zip")), Folder)
    assert train(recipe(2, **NO_EVALUATION), tmp_path / "out", tmp_path / "lines.ZIP").step == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
def test_a_forked_process_reads_with_its_own_file(tmp_path):
    archive = Archive(write_archive(tmp_path / "lines.zip"))
    samples = [archive[index] for index in range(8)]
    child = os.fork()
    if child == 0:
        os._exit(0 if all(archive[index] == samples[index] for index in range(8) for _ in range(50)) else 1)
    assert all(archive[index] == samples[index] for index in range(8) for _ in range(50))
    assert os.waitpid(child, 0)[1] == 0


def test_what_is_wrong_with_a_row_is_a_problem_with_its_line(tmp_path):
    path = rows_in(
        tmp_path / "lines.zip",
        {"file": "a.png", "text": "one"},
        "{",
        {"file": "a.png"},
        {"file": "a.png", "text": "two"},
        {"file": "../a.png", "text": "three"},
        {"file": "b.png", "text": " "},
        a=b"x",
        b=b"x",
    )
    archive = Archive(path)
    assert len(archive) == 1
    assert [str(problem) for problem in archive.problems] == [
        f"{path}/labels.jsonl:2: bad row (the line: not valid JSON (Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)))",
        f"{path}/labels.jsonl:3: bad row (expected file and text, both strings)",
        f"{path}/a.png: two labels (labels.jsonl names it twice)",
        f"{path}/../a.png: missing image (labelled 'three')",
        f"{path}/b.png: empty label (only white space)",
    ]


def test_an_image_that_cannot_be_read_is_a_problem(tmp_path):
    path = rows_in(tmp_path / "lines.zip", {"file": "a.png", "text": "one"}, a=b"some bytes of an image")
    path.write_bytes(path.read_bytes().replace(b"some bytes", b"same bytes"))
    assert str(sample_at(Archive(path), 0)).startswith(
        f"{path}/a.png: unreadable image (not read from {path}: BadZipFile"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file; expected a zip of labelled images"),
        (lambda path: path.write_bytes(b"not a zip"), "not a zip file that can be read"),
        (lambda path: zipfile.ZipFile(path, "w").close(), "has no labels.jsonl at its top level"),
        (rows_in, "no labelled images in labels.jsonl"),
    ],
)
def test_what_is_no_archive_of_lines_is_refused(make, message, tmp_path):
    make(tmp_path / "lines.zip")
    with pytest.raises(ConfigError, match=rf"lines\.zip: {message}"):
        Archive(tmp_path / "lines.zip")
