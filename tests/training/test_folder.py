"""Folders of labelled images, and everything that can be wrong with them."""

import re

import pytest

from tests.training.tiny import TEXTS, draw, write_folder
from vedcore.errors import ConfigError
from vedcore.training import Fault, Folder
from vedcore.training.data.check import check_samples


@pytest.mark.parametrize("form", ["jsonl", "csv", "txt"])
def test_a_folder_is_read_from_each_form_of_labels(form, tmp_path):
    folder = Folder(write_folder(tmp_path / "lines", form))
    assert [(folder[i].image.name, folder[i].text) for i in range(len(folder))] == [
        (f"{i}.png", text) for i, text in enumerate(TEXTS)
    ]
    assert folder.problems == []


def test_a_label_can_contain_a_line_separator_a_quote_and_a_comma(tmp_path):
    text = 'a "b", c\u2028d'
    for form in ("jsonl", "csv"):
        folder = write_folder(tmp_path / form, form, ("one",))
        if form == "csv":
            (folder / "labels.csv").write_text('file,text\n0.png,"a ""b"", c\u2028d"\n')
        else:
            (folder / "labels.jsonl").write_text('{"file": "0.png", "text": "a \\"b\\", c\u2028d"}\n')
        assert Folder(folder)[0].text == text


def test_images_of_subfolders_are_named_by_their_path(tmp_path):
    write_folder(tmp_path / "lines" / "page", "txt")
    assert len(Folder(tmp_path / "lines")) == 8


FAULTS = {
    Fault.missing_image: ('{"file": "9.png", "text": "nine"}', r"9\.png: missing image \(labelled 'nine'\)"),
    Fault.empty_label: ('{"file": "0.png", "text": " "}', r"0\.png: empty label \(only white space\)"),
    Fault.two_labels: (
        '{"file": "0.png", "text": "a"}\n{"file": "./0.png", "text": "b"}',
        r"0\.png: two labels \(labels\.jsonl has 2: 'a', 'b'\)",
    ),
    Fault.no_label: ('{"file": "1.png", "text": "two"}', r"0\.png: no label \(not in labels\.jsonl\)"),
    Fault.bad_row: (
        '{"file": "1.png", "text": "two"}\n{"file": "0.png", "txt": "one"}',
        r"labels\.jsonl:2: bad row \(expected file and text",
    ),
    Fault.unwritable: (
        '{"file": "0.png", "text": "caf\u00e9 \u4e2d"}',
        r"0\.png: .*'\u00e9' \(U\+00E9\), '\u4e2d' \(U\+4E2D\) in",
    ),
    Fault.special_token: (
        '{"file": "0.png", "text": "a<pad>b</s><pad>"}',
        r"0\.png: special token \('<pad>', '</s>' in 'a<pad>b</s><pad>'; the tokenizer encodes it",
    ),
    Fault.too_long: (
        '{"file": "0.png", "text": "sixteen letters."}',
        r"16 tokens and the end token; the decoder has 16 positions",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_a_label_file_is_found_before_training(fault, tmp_path, encode):
    row, message = FAULTS[fault]
    folder = write_folder(tmp_path / "lines", texts=("one", "two"))
    (folder / "labels.jsonl").write_text(row + "\n")
    problems, good = check_samples(Folder(folder), encode)
    (found,) = [problem for problem in problems if problem.fault == fault]
    assert re.search(message, str(found)), str(found)
    assert not any("0.png" in Folder(folder)[index].source for index in good)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        (
            "labels.jsonl",
            '{"page": "0.png", "text": "one"}\n{"page": "1.png", "text": "two"}\n',
            "'page', 'text'",
        ),
        ("labels.csv", "file|text\n0.png|one\n1.png|two\n", "'file|text'"),
        ("labels.jsonl", "{}\n", "none"),
    ],
)
def test_a_label_file_with_other_columns_is_one_error(tmp_path, name, content, named):
    folder = write_folder(tmp_path / "lines", texts=("one", "two"))
    (folder / "labels.jsonl").unlink()
    (folder / name).write_text(content)
    with pytest.raises(
        ConfigError, match=f"{re.escape(name)}:1: expected the columns 'file' and 'text'.*found {re.escape(named)}"
    ) as raised:
        Folder(folder)
    assert (raised.value.file, raised.value.expected) == (str(folder / name), ("file", "text"))


ROWS = {
    "a loose comma": (
        "csv",
        "file,text\n0.png,Hello, world\n",
        2,
        "3 fields where the first line has 2: '0.png,Hello, world'; put a text with a comma in double quotes",
    ),
    "a missing field": ("csv", "file,text\n1.png,two\n\n0.png\n", 4, "1 field where the first line has 2"),
    "a quote without its end": ("csv", 'file,text\n1.png,two\n0.png,"one\n', 3, "unexpected end of data"),
    "a quote that ends too early": ("csv", 'file,text\n0.png,"o"ne\n1.png,two\n', 2, "expected after"),
    "a field of a megabyte": ("csv", f"file,text\n0.png,{'a' * 10**6}\n1.png,two\n", 2, "larger than field limit"),
    "a key twice": ("jsonl", '{"file": "0.png", "text": "one", "text": "two"}\n', 1, "key 'text' appears twice"),
    "depth": ("jsonl", '{"file": "0.png", "text": "one", "more": ' + "[" * 10**5 + "\n", 1, "not valid JSON"),
    "no object": ("jsonl", "[1]\n", 1, "expected a JSON object, found list"),
    "half a character in the text": (
        "jsonl",
        '{"file": "0.png", "text": "\\ud800"}\n',
        1,
        r"'\\ud800' contains half of",
    ),
    "half a character in the name": ("jsonl", '{"file": "\\udc80", "text": "one"}\n', 1, r"'\\udc80' contains half of"),
    "a name too long": ("jsonl", f'{{"file": "{"a" * 5000}", "text": "one"}}\n', 1, "File name too long"),
}


@pytest.mark.parametrize("case", ROWS)
def test_an_ambiguous_or_unreadable_row_is_a_bad_row_with_its_line_number(case, tmp_path):
    form, content, line, message = ROWS[case]
    folder = write_folder(tmp_path / "lines", texts=("one", "two"))
    (folder / "labels.jsonl").unlink()
    (folder / f"labels.{form}").write_text(content)
    found = Folder(folder)
    (bad,) = [problem for problem in found.problems if problem.fault == Fault.bad_row]
    assert bad.source == f"{folder / 'labels'}.{form}:{line}"
    assert re.search(message, bad.detail), bad.detail
    assert len(str(bad).encode().splitlines()) == 1
    assert [found[index].text for index in range(len(found))] == ["two"] * ("two\n" in content)


@pytest.mark.parametrize("header", ["file,text,text", "file,file,text"])
def test_a_csv_file_with_a_duplicate_column_is_one_error(header, tmp_path):
    folder = write_folder(tmp_path / "lines", "csv", texts=("one",))
    (folder / "labels.csv").write_text(f"{header}\n0.png,one,two\n")
    with pytest.raises(ConfigError, match=r"labels\.csv:1: column '(file|text)' appears twice"):
        Folder(folder)


def test_columns_without_a_name_are_ignored(tmp_path):
    folder = write_folder(tmp_path / "lines", "csv", texts=("one",))
    (folder / "labels.csv").write_text("file,text,,\n0.png,one,,\n")
    assert Folder(folder)[0].text == "one"


def test_a_problem_is_one_printable_line_for_any_file_name(tmp_path):
    folder = write_folder(tmp_path / "lines", "txt", texts=("one",))
    (folder / "0.png").rename(folder / "a\nb\udce9.png")
    (problem,) = Folder(folder).problems
    assert str(problem).startswith(rf"{folder}/a\nb\udce9.png: no label (there is no a\nb\udce9.txt)")


def test_a_folder_name_that_is_too_long_is_a_config_error():
    with pytest.raises(ConfigError, match=r"^a{200}: the folder cannot be read.*File name too long"):
        Folder("a" * 5000)


def test_a_file_that_is_not_an_image_is_found_before_training(tmp_path, encode):
    folder = write_folder(tmp_path / "lines")
    (folder / "3.png").write_bytes(b"not a picture")
    problems, good = check_samples(Folder(folder), encode)
    assert [(p.fault, p.source) for p in problems] == [(Fault.unreadable_image, str(folder / "3.png"))]
    assert good == [0, 1, 2, 4, 5, 6, 7]


def test_two_images_with_one_text_file_are_a_problem(tmp_path):
    folder = write_folder(tmp_path / "lines", "txt", ("one", "two"))
    draw("one").save(folder / "0.jpg")
    found = Folder(folder)
    assert [problem.fault for problem in found.problems] == [Fault.two_labels]
    assert [found[index].text for index in range(len(found))] == ["two"]


@pytest.mark.parametrize("file", ["/etc/passwd", "../outside.png"])
def test_a_label_file_cannot_name_a_file_outside_of_its_folder(file, tmp_path):
    draw("x").save(tmp_path / "outside.png")
    folder = write_folder(tmp_path / "lines", texts=("one",))
    with (folder / "labels.jsonl").open("a") as rows:
        rows.write(f'{{"file": "{file}", "text": "x"}}\n')
    (problem,) = Folder(folder).problems
    assert "outside of" in problem.detail


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such folder"),
        (lambda path: path.mkdir(), "no labelled images; expected labels.jsonl, labels.csv, labels.tsv"),
        (
            lambda path: (write_folder(path), (path / "labels.csv").write_text("file,text\n")),
            "has both labels.jsonl and labels.csv",
        ),
        (lambda path: (write_folder(path), (path / "labels.jsonl").write_bytes(b"\xff\xfe")), "must be text in UTF-8"),
    ],
)
def test_a_folder_that_cannot_be_read_is_an_error(make, message, tmp_path):
    make(tmp_path / "lines")
    with pytest.raises(ConfigError, match=message):
        Folder(tmp_path / "lines")
