"""Data: what is read from a folder, each thing that can be wrong with it, and its order."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.training.tiny import TEXTS, Lines, draw, recipe, write_folder
from vedcore.errors import ConfigError, TrainingError
from vedcore.text import Tokenizer
from vedcore.training import Fault, Folder, Problem, Sample, check_data, open_data, train
from vedcore.training.build import build_reader
from vedcore.training.data.batches import ExampleDataset, collate
from vedcore.training.data.check import check_samples
from vedcore.training.data.label_encoder import LabelEncoder
from vedcore.training.data.sampler import LARGEST_SHUFFLE, BatchSampler, sample_order
from vedcore.training.datasets import CHECKED_SAMPLES
from vedcore.vision import Augmentation

RECIPE = recipe()


@pytest.fixture(scope="module")
def reader():
    return build_reader(RECIPE.model, 0)


@pytest.fixture(scope="module")
def encode(reader):
    return LabelEncoder.for_reader(reader)


@pytest.mark.parametrize("form", ["jsonl", "csv", "txt"])
def test_a_folder_is_read_in_three_forms(form, tmp_path):
    folder = Folder(write_folder(tmp_path / "lines", form))
    assert [(folder[i].image.name, folder[i].text) for i in range(len(folder))] == [
        (f"{i}.png", text) for i, text in enumerate(TEXTS)
    ]
    assert folder.problems == []


def test_a_label_may_hold_a_line_separator_a_quote_and_a_comma(tmp_path):
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
            '{"file_name": "0.png", "text": "one"}\n{"file_name": "1.png", "text": "two"}\n',
            "'file_name', 'text'",
        ),
        ("labels.csv", "file;text\n0.png;one\n1.png;two\n", "'file;text'"),
        ("labels.jsonl", "{}\n", "none"),
    ],
)
def test_a_label_file_of_other_columns_is_one_error(tmp_path, name, content, named):
    folder = write_folder(tmp_path / "lines", texts=("one", "two"))
    (folder / "labels.jsonl").unlink()
    (folder / name).write_text(content)
    with pytest.raises(
        ConfigError, match=f"{re.escape(name)}:1: expected the columns 'file' and 'text'.*found {re.escape(named)}"
    ):
        Folder(folder)


ROWS = {
    "a loose comma": (
        "csv",
        "file,text\n0.png,Hello, world\n",
        2,
        "3 fields where the first line has 2; .*double quotes",
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
def test_a_row_that_can_be_taken_in_two_ways_or_in_none_is_a_bad_row(case, tmp_path):
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
def test_a_csv_with_a_column_twice_is_one_error(header, tmp_path):
    folder = write_folder(tmp_path / "lines", "csv", texts=("one",))
    (folder / "labels.csv").write_text(f"{header}\n0.png,one,two\n")
    with pytest.raises(ConfigError, match=r"labels\.csv:1: column '(file|text)' appears twice"):
        Folder(folder)


def test_columns_without_a_name_are_passed_over(tmp_path):
    folder = write_folder(tmp_path / "lines", "csv", texts=("one",))
    (folder / "labels.csv").write_text("file,text,,\n0.png,one,,\n")
    assert Folder(folder)[0].text == "one"


def test_a_problem_is_one_line_that_can_be_written_whatever_the_name_of_the_image(tmp_path):
    folder = write_folder(tmp_path / "lines", "txt", texts=("one",))
    (folder / "0.png").rename(folder / "a\nb\udce9.png")
    (problem,) = Folder(folder).problems
    assert str(problem).startswith(rf"{folder}/a\nb\udce9.png: no label (there is no a\nb\udce9.txt)")


def test_the_name_of_a_folder_that_is_too_long_is_a_config_error():
    with pytest.raises(ConfigError, match=r"^a{200}: the folder cannot be read.*File name too long"):
        Folder("a" * 5000)


def test_a_text_that_the_tokenizer_cannot_take_is_a_problem(encode):
    problem = encode("a\ud800", "x")
    assert (problem.fault, str(problem).encode()[:1]) == (Fault.unwritable, b"x")


class Broken(Lines):
    """Eight lines, of which some are not what they should be."""

    def __init__(self, *bad, problems=()):
        self.bad = dict(enumerate(bad, 1))
        self.problems = problems

    def __getitem__(self, index):
        bad = self.bad.get(index)
        if isinstance(bad, BaseException):
            raise bad
        return bad or super().__getitem__(index)


def test_an_index_of_a_data_set_without_a_sample_is_a_problem_that_names_both():
    bad = Broken(
        KeyError("gone"),
        ConfigError("a folder is missing"),
        ("image", "text"),
        Sample(draw("x"), None, "line"),
        Sample(draw("x"), "\ud800", "line"),
        Sample(draw("x"), "x", 7),
        SystemExit(0),
    )
    problems = check_data(RECIPE, open_data(RECIPE, bad, Path()))["train"]
    assert {problem.fault for problem in problems} == {Fault.bad_sample}
    assert [problem.source for problem in problems] == [f"data set 'train', index {index}" for index in range(1, 8)]
    for problem, message in zip(
        problems,
        (
            r"it raised: KeyError: 'gone', .*test_data\.py:\d+",
            r"a folder is missing, .*test_data\.py:\d+",
            "expected a Sample, found tuple",
            "its text must be a string of whole characters, found 'None'",
            r"its text must be .* found '\\ud800'",
            "its source must be a string",
            r"it ended the program: SystemExit\(0\)",
        ),
        strict=True,
    ):
        assert re.search(message, problem.detail), problem.detail
    assert str(problems).encode()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_that_fails_while_training_stops_the_run_or_is_counted(workers, tmp_path):
    class Late(Broken):
        def __len__(self):
            return CHECKED_SAMPLES + 8

        def __getitem__(self, index):
            return super().__getitem__(index % 8) if index < CHECKED_SAMPLES else {}[index]

    plan = recipe(26, batch={"size": 8, "workers": workers}, evaluation={"data": "train", "lines": 208})
    with pytest.raises(TrainingError, match=r"data set 'train', index 20\d: bad sample \(it raised: KeyError: 20\d"):
        train(plan, tmp_path / "stopped", Late())
    result = train(plan, tmp_path / "counted", Late(), skip_bad=True)
    assert (result.ended, result.skipped, result.score.lines) == ("done", 8, CHECKED_SAMPLES)
    assert [problem.fault for problem in result.score.problems] == [Fault.bad_sample] * 8


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((line for line in ()), "object of type 'generator' has no len"),
        (7, "object of type 'int' has no len"),
        (type("Huge", (), {"__len__": lambda self: 10**30})(), "OverflowError"),
        (type("Less", (), {"__len__": lambda self: -1})(), "should return >= 0"),
        (type("Late", (), {"__len__": lambda self: 1 // 0})(), "ZeroDivisionError"),
        (Broken(problems=7), "'int' object is not iterable"),
        (Broken(problems=["x"]), "its problems must be a list of Problem"),
    ],
)
def test_what_is_no_data_set_is_a_config_error(data, message):
    with pytest.raises(ConfigError, match=f"^data set 'train': .*{message}"):
        open_data(RECIPE, data, Path())


def test_a_file_that_is_no_image_is_found_before_training(tmp_path, encode):
    folder = write_folder(tmp_path / "lines")
    (folder / "3.png").write_bytes(b"not a picture")
    problems, good = check_samples(Folder(folder), encode)
    assert [(p.fault, p.source) for p in problems] == [(Fault.unreadable_image, str(folder / "3.png"))]
    assert good == [0, 1, 2, 4, 5, 6, 7]


def test_two_images_with_one_text_file_are_a_fault(tmp_path):
    folder = write_folder(tmp_path / "lines", "txt", ("one", "two"))
    draw("one").save(folder / "0.jpg")
    found = Folder(folder)
    assert [problem.fault for problem in found.problems] == [Fault.two_labels]
    assert [found[index].text for index in range(len(found))] == ["two"]


@pytest.mark.parametrize("file", ["/etc/passwd", "../outside.png"])
def test_a_label_file_names_no_file_outside_of_its_folder(file, tmp_path):
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
        (lambda path: path.mkdir(), "no labelled images; expected labels.jsonl or labels.csv"),
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


def test_of_data_that_is_made_as_it_goes_a_sample_is_looked_at():
    class Endless(Lines):
        def __len__(self):
            return 10**9

        def __getitem__(self, index):
            return Sample(draw("x"), "", f"line {index}") if index == 199 else super().__getitem__(index % 8)

    (problem,) = check_data(RECIPE, {"train": Endless()})["train"]
    assert problem == Problem(Fault.empty_label, "line 199", "no text to learn")


@given(
    length=st.integers(1, 40),
    seed=st.tuples(st.integers(0, 2**32)),
    start=st.integers(0, 200),
    count=st.integers(0, 90),
)
def test_the_order_is_a_function_of_the_place_and_takes_each_sample_once_an_epoch(length, seed, start, count):
    whole = sample_order(length, seed, 0, start + count)
    assert sample_order(length, seed, start, count) == whole[start:]
    for epoch in range(len(whole) // length):
        assert sorted(whole[epoch * length : (epoch + 1) * length]) == list(range(length))


def test_data_too_long_to_be_shuffled_comes_as_it_is():
    length = LARGEST_SHUFFLE + 1
    assert sample_order(length, (0,), length - 1, 3) == [length - 1, 0, 1]


@given(accumulation=st.sampled_from([1, 2, 4]), world=st.sampled_from([1, 2, 3]), start=st.integers(0, 5))
def test_a_step_takes_the_same_samples_however_it_is_divided(accumulation, world, start):
    def keys(accumulation, world):
        sizes = {"length": 30, "seed": (1,), "start": start, "steps": 7, "size": 24, "accumulation": accumulation}
        passes = [list(BatchSampler(**sizes, rank=rank, world=world)) for rank in range(world)]
        for first in range(0, (7 - start) * accumulation, accumulation):
            found = [key for own in passes for batch in own[first : first + accumulation] for key in batch]
            yield sorted(found, key=lambda key: key[1])

    assert list(keys(accumulation, world)) == list(keys(1, 1))


def test_an_example_is_a_function_of_its_key(reader, encode):
    augment = Augmentation(share=1.0, rotation=3.0, blur=1.0, noise=0.1, brightness=0.3, jpeg=60.0)
    examples = ExampleDataset(Lines(), reader.processor.image_processor, encode, augment, (1, 0))
    again = pickle.loads(pickle.dumps(examples))  # as another process has it
    first, same, other = examples[2, 9], again[2, 9], examples[2, 10]
    assert np.array_equal(first.pixels, same.pixels)
    assert not np.array_equal(first.pixels, other.pixels)
    assert reader.processor.tokenizer.decode(first.ids) == "three</s>"


def test_a_batch_pads_labels_with_what_is_not_learned(reader, encode):
    examples = ExampleDataset(Lines(), reader.processor.image_processor, encode, Augmentation(), (0,))
    batch = collate([examples[0, 0], Problem(Fault.too_long, "x", "y"), examples[2, 1]])
    assert batch.pixels.shape == (2, 3, 16, 64)
    assert batch.labels.tolist() == [[*examples[0, 0].ids, -100, -100], examples[2, 0].ids]
    assert ([problem.source for problem in batch.problems], batch.sources) == (["x"], ["line 0", "line 2"])
    assert collate([batch.problems[0]]).labels.shape == (0, 0)


def test_a_tokenizer_that_drops_what_it_does_not_know_is_seen_through():
    class Dropping:
        unk_token_id = None

        def encode(self, text, add_special_tokens):
            return [ord(character) for character in text if character.isascii() and not character.isspace()]

        def decode(self, ids, skip_special_tokens=False):
            return "".join(map(chr, ids))

    encode = LabelEncoder(Dropping(), end=2, max_length=None)
    assert encode("a b", "x") == [97, 98, 2]
    assert encode("a\u00e9", "x").fault == Fault.unwritable


def test_a_word_that_only_as_a_whole_is_unknown_is_seen_through():
    class Words:
        unk_token_id = 0

        def encode(self, text, add_special_tokens):
            return [0] if len(text) > 3 else [5]

        def decode(self, ids, skip_special_tokens=False):
            return "abc"

    encode = LabelEncoder(Words(), end=2, max_length=None)
    assert encode("abc", "x") == [5, 2]
    assert "a word of 'abcd' is unknown" in str(encode("abcd", "x"))


def test_a_label_learns_no_token_that_reading_leaves_out(reader):
    tokenizer = reader.processor.tokenizer
    encode = LabelEncoder(tokenizer, end=2, max_length=None)
    for token in tokenizer.all_special_tokens:
        assert encode(f"a{token}b", "x").fault in (Fault.special_token, Fault.unwritable)
    for text in ("a<b", "< pad >", "<PAD>", "</ s>"):
        assert tokenizer.decode(encode(text, "x"), skip_special_tokens=True) == text


def test_a_special_token_that_only_tokenizer_json_has_is_one(reader, tmp_path):
    reader.processor.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    encode = LabelEncoder(Tokenizer.from_pretrained(tmp_path), end=2, max_length=None)
    assert encode.tokenizer.all_special_ids == []
    assert encode("a<pad>b", "x").fault == Fault.special_token


@pytest.mark.parametrize("change", ["rotation", "blur", "noise", "brightness", "jpeg"])
def test_an_augmentation_changes_an_image_and_not_its_size(change):
    image = draw("seven").convert("RGB")
    augment = Augmentation(share=1.0, **{change: 0.5 if change in ("noise", "brightness") else 20.0})
    changed = augment(image, np.random.default_rng(1))
    assert (changed.size, changed.mode) == (image.size, "RGB")
    assert not np.array_equal(np.asarray(changed), np.asarray(image))
    assert Augmentation(share=0.0, **{change: 0.5})(image, np.random.default_rng(1)) is image


def test_what_a_rotation_uncovers_has_the_colour_of_the_paper():
    image = Image.new("RGB", (40, 20), (10, 20, 30))
    turned = Augmentation(share=1.0, rotation=45.0)(image, np.random.default_rng(0))
    assert np.abs(np.asarray(turned).astype(int) - [10, 20, 30]).max() <= 1


def test_labels_fit_the_model_that_learns_them(reader, encode):
    ids = torch.tensor([encode("two", "x")])
    assert reader.model(torch.zeros(1, 3, 16, 64), labels=ids).loss.isfinite()
