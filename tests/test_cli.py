"""The command prints every reading whole and every error as one line, and its exit code tells them apart."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from vedcore import Reader, Reading, __version__, cli
from vedcore.cli.app import escape_controls
from vedcore.cli.reading_progress import reading_progress

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "plugins/vedcore-plugin-linereader/vedcore_plugin_linereader/line-reader"
LINES = ROOT / "tests/golden/lines"
EXPECTED = json.loads((LINES / "expected.json").read_text())[1:4]
PATHS = [str(LINES / line["file"]) for line in EXPECTED]
TEXTS = [line["transformers_greedy_text"] for line in EXPECTED]


def run(*arguments, stdin=None):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], input=stdin)


def read(*arguments, form="text", stdin=None):
    return run("read", *arguments, "--format", form, stdin=stdin)


def process(*arguments, stdin=None, **environment):
    return subprocess.run(
        [sys.executable, "-m", "vedcore", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment},
    )


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch):
    """Load the shipped checkpoint once for all tests."""
    load = Reader.load

    def cached(name, **options):
        if name == "line-reader" and not options:
            return CACHE.setdefault(name, None) or CACHE.update({name: load(name)}) or CACHE[name]
        return load(name, **options)

    monkeypatch.setattr(Reader, "load", cached)


CACHE: dict[str, Reader] = {}


@pytest.fixture
def says(monkeypatch):
    """Every image reads as the given text."""

    def set_text(text):
        def each(self, images, **_):
            return (Reading(text, 0.5, (1, 2), (-0.7,), "eos", image) for image in images)

        monkeypatch.setattr(Reader, "each", each)

    return set_text


# What is read.


def test_files_are_read_in_order():
    result = read(*PATHS)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == TEXTS


def test_a_folder_is_the_images_in_it_by_name(tmp_path):
    for name, path in zip(("b.png", "a.PNG", "c.png"), PATHS, strict=True):
        shutil.copy(path, tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    result = read(tmp_path, form="csv")
    assert result.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(Path(row["file"]).name, row["text"]) for row in rows] == [
        ("a.PNG", TEXTS[1]),
        ("b.png", TEXTS[0]),
        ("c.png", TEXTS[2]),
    ]


def test_stdin_is_one_image():
    result = read(PATHS[1], "-", stdin=Path(PATHS[0]).read_bytes(), form="jsonl")
    assert result.exit_code == 0
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["file"], row["text"]) for row in rows] == [(PATHS[1], TEXTS[1]), ("-", TEXTS[0])]


def test_a_folder_without_images_says_so(tmp_path):
    result = read(tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"vedcore: {tmp_path}: no images in this folder\n"


@pytest.mark.parametrize("options", [["--beams", "4"], ["--batch-size", "1"], ["--no-cut"], ["-m", SHIPPED]], ids=str)
def test_options_are_accepted_and_give_the_same_lines(options):
    result = read(*PATHS, *options)
    assert (result.exit_code, result.stdout.splitlines()) == (0, TEXTS)


def test_options_reach_the_reader(monkeypatch):
    seen = []
    each = Reader.each
    monkeypatch.setattr(Reader, "each", lambda self, images, **o: seen.append(o) or each(self, images, **o))
    read(PATHS[0], "--beams", "3", "--batch-size", "5", "--no-cut")
    read(PATHS[0])
    read(PATHS[0], "--layout", "line")
    assert seen == [
        {"batch_size": 5, "layout": None, "cut": False, "num_beams": 3},
        {"batch_size": 16, "layout": None, "cut": True},
        {"batch_size": 16, "layout": "line", "cut": True},
    ]


def test_read_uses_a_prepared_model(monkeypatch):
    prepared, each = [], Reader.each
    monkeypatch.setattr(
        Reader,
        "each",
        lambda self, images, **o: prepared.append(self.model.inference_form is not None) or each(self, images, **o),
    )
    assert read(PATHS[0]).exit_code == 0
    assert prepared == [True]


def test_a_long_line_is_cut_unless_no_cut_is_set(tmp_path):
    lines = [Image.open(path).convert("RGB") for path in PATHS]
    whole = Image.new("RGB", (sum(line.width for line in lines) + 40, max(line.height for line in lines)), "white")
    left = 0
    for line in lines:
        whole.paste(line, (left, 0))
        left += line.width + 20
    whole.save(tmp_path / "long.png")
    counts = [
        len(json.loads(read(tmp_path / "long.png", *options, form="jsonl").stdout)["pieces"])
        for options in ([], ["--no-cut"])
    ]
    assert counts[0] > 1
    assert counts[1] == 0


# How it is printed.


def test_jsonl_parses_back_to_the_readings():
    result = read(*PATHS, "--no-cut", form="jsonl")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    for row, path, line in zip(rows, PATHS, EXPECTED, strict=True):
        tokens = ["token_ids", "token_logprobs", "pieces"]
        assert list(row) == [
            "file",
            "text",
            "confidence",
            "probability",
            "stop_reason",
            *tokens,
            "page",
            "size",
            "dpi",
            "layout",
            "warnings",
        ]
        assert (row["page"], row["layout"], row["warnings"]) == (1, "whole", [])
        with Image.open(path) as image:
            assert row["size"] == list(image.size)
        assert (row["file"], row["text"], row["stop_reason"]) == (path, line["transformers_greedy_text"], "eos")
        assert row["token_ids"] == line["greedy"][1:]
        assert len(row["token_logprobs"]) == len(row["token_ids"])
        assert 0.5 < row["confidence"] <= 1
        assert row["probability"] is None


AWKWARD = ["[bold]red[/bold]", 'a "quoted", text', "two\nlines", "naïve 日本語", "[/]", "", "=1+1", ":smile:"]


@pytest.mark.parametrize("text", AWKWARD)
def test_any_text_parses_back_from_csv_and_jsonl(says, text):
    says(text)
    rows = list(csv.DictReader(io.StringIO(read("x.png", form="csv").stdout, newline="")))
    assert [(row["file"], row["text"], row["confidence"], row["stop_reason"]) for row in rows] == [
        ("x.png", text, "0.500000", "eos")
    ]
    assert json.loads(read("x.png", form="jsonl").stdout)["text"] == text


@pytest.mark.parametrize("text", ["[bold]red[/bold]", "[/]", "[link=x]y", ":smile:", "[1/2]"])
def test_markup_is_printed_literally(says, text):
    says(text)
    assert text in read("x.png", form="table").stdout
    assert text in read("[red]x[/red].png", form="table").stdout
    assert "[red]x[/red].png" in read("[red]x[/red].png", form="table").stdout


@pytest.mark.parametrize("text", ["w" * 70, " ".join(["word"] * 14)])
def test_a_table_shows_a_line_whole(says, text):
    says(text)
    result = read("name-of-a-file.png", form="table")
    assert text in result.stdout
    assert "0.500" in result.stdout
    assert "eos" in result.stdout


def test_a_table_folds_what_is_too_long_and_leaves_nothing_out(says):
    text, name = "a" * 300, "/" + "f" * 200 + ".png"
    says(text)
    printed = read(name, form="table").stdout
    assert printed.count("a") >= 300
    assert printed.count("f") >= 200
    assert "…" not in printed


def test_table_is_the_default():
    result = run("read", PATHS[0])
    assert result.exit_code == 0
    assert [word for word in ("image", "text", "confidence", "stop") if word not in result.stdout] == []
    assert TEXTS[0] in result.stdout


@pytest.mark.parametrize("form", ["text", "jsonl", "csv", "table"])
def test_output_goes_to_a_file_and_not_to_stdout(tmp_path, form):
    shown = read(*PATHS, form=form)
    result = read(*PATHS, "--output", tmp_path / "out.dat", form=form)
    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "out.dat").read_text(encoding="utf-8") == shown.stdout


@pytest.fixture
def not_utf8(tmp_path):
    """A folder with an image and a broken image, whose names are not UTF-8; skipped on file systems without such names."""
    folder = tmp_path / os.fsdecode(b"d\xff")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("the file system accepts only UTF-8")
    shutil.copy(PATHS[0], folder / os.fsdecode(b"\xe9 .png"))
    (folder / os.fsdecode(b"\xfe.png")).write_bytes(b"no image")
    return folder


@pytest.mark.parametrize("form", ["text", "jsonl", "csv", "table"])
def test_a_name_that_is_not_utf8_is_printed_and_written_with_escapes(not_utf8, tmp_path, form):
    printed = read(not_utf8, form=form)
    written = read(not_utf8, "--output", tmp_path / "out.dat", form=form)
    assert printed.stdout == (tmp_path / "out.dat").read_text(encoding="utf-8")
    assert TEXTS[0] in printed.stdout
    assert (r"d\udcff/\udce9 .png" in printed.stdout) == (form != "text")
    for result in (printed, written):
        assert result.exit_code == 1
        assert_one_line(result.stderr, r"d\udcff/\udcfe.png")


def test_a_name_that_is_not_utf8_reads_back_from_jsonl_as_it_is(not_utf8, tmp_path):
    read(not_utf8, "--output", tmp_path / "out.jsonl", form="jsonl")
    assert Path(json.loads((tmp_path / "out.jsonl").read_text())["file"]).is_file()


def test_a_model_whose_name_is_not_utf8_is_loaded_or_reported(not_utf8):
    shutil.copytree(SHIPPED, not_utf8 / "model")
    assert read(PATHS[0], "--model", not_utf8 / "model").stdout.splitlines() == TEXTS[:1]
    for command in (["read", PATHS[0], "--model"], ["inspect"], ["doctor"]):
        result = run(*command, not_utf8 / "none")
        assert result.exit_code == 2
        assert_one_line(result.stderr, r"d\udcff/none: no such folder")


LONG = "n" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["read", "IMAGE", "--model", LONG],
        ["read", "IMAGE", "--output", LONG],
        ["inspect", LONG],
        ["doctor", LONG],
        ["eval", LONG, "."],
        ["eval", "line-reader", LONG],
        ["compose", SHIPPED, SHIPPED, "--out", LONG],
        ["compose", LONG, SHIPPED, "--out", "out"],
        ["compose", SHIPPED, SHIPPED, "--tokenizer", LONG, "--out", "out"],
        ["train", "FOLDER", "--out", LONG],
        ["train", "FOLDER", "--out", "out", "--recipe", LONG],
        ["new-plugin", "mine", "--role", "encoder", "--into", LONG],
    ],
    ids=lambda arguments: " ".join("LONG" if word == LONG else Path(word).name for word in map(str, arguments)),
)
def test_a_name_that_is_too_long_is_one_line_and_exit_code_2(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(PATHS[0], tmp_path / "a.png")
    (tmp_path / "a.txt").write_text(TEXTS[0])
    named = {"IMAGE": PATHS[0], "FOLDER": tmp_path}
    result = run(*(named.get(str(argument), argument) for argument in arguments))
    assert result.exit_code == 2
    assert_one_line(result.stderr, LONG[:100])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.txt"]


def test_too_many_beams_are_refused_in_one_line():
    result = read(PATHS[0], "--beams", 10**6)
    assert result.exit_code == 2
    assert_one_line(result.stderr, "num_beams must be an int from 1 to 1024, got 1000000")


@pytest.mark.parametrize("suffix", ["txt", "JSONL", "csv"])
def test_the_suffix_of_the_output_decides_its_format(tmp_path, suffix):
    run("read", PATHS[0], "--output", tmp_path / f"out.{suffix}")
    form = {"txt": "text", "JSONL": "jsonl", "csv": "csv"}[suffix]
    assert (tmp_path / f"out.{suffix}").read_text(encoding="utf-8") == read(PATHS[0], form=form).stdout


@pytest.mark.parametrize("form", ["text", "jsonl", "csv"])
def test_rows_are_written_as_they_are_read_and_kept_when_it_is_interrupted(tmp_path, monkeypatch, form):
    output, seen = tmp_path / "out.dat", []

    def each(self, images, **_):
        yield Reading("first", 0.5, (1, 2), (-0.7,), "eos", next(iter(images)))
        seen.append(output.read_text())
        raise KeyboardInterrupt

    monkeypatch.setattr(Reader, "each", each)
    result = read("a.png", "b.png", "--output", output, form=form)
    assert result.exit_code == 130
    assert [output.read_text()] == seen
    assert "first" in seen[0]


def test_an_unwritable_output_is_an_error_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Reader, "each", lambda self, images, **_: (pytest.fail("read") for _ in images))
    (tmp_path / "file").touch()
    for output in (tmp_path / "none" / "out.txt", tmp_path / "file" / "out.txt"):
        assert read(PATHS[0], "--output", output).exit_code == 2
    assert read(PATHS[0], PATHS[1], "--output", tmp_path / "file" / "folder").exit_code == 2


def test_an_image_is_never_written_over(tmp_path):
    image = tmp_path / "a.png"
    shutil.copy(PATHS[0], image)
    (tmp_path / "soft.png").symlink_to(image)
    os.link(image, tmp_path / "hard.txt")
    for output in (image, tmp_path / "soft.png", tmp_path / "hard.txt"):
        result = read(image, "--output", output)
        assert result.exit_code == 2
        assert_one_line(result.stderr, "it is one of the documents")
    result = read(image, "--output", tmp_path, form="pdf")
    assert result.exit_code == 0
    os.link(image, tmp_path / "b.hocr")
    shutil.copy(PATHS[0], tmp_path / "b.png")
    result = read(image, tmp_path / "b.png", "--output", tmp_path, form="hocr")
    assert_one_line(result.stderr, "b.hocr: not written, because it is one of the documents")
    assert image.read_bytes() == Path(PATHS[0]).read_bytes()


def test_without_readings_there_is_no_table(tmp_path):
    result = run("read", tmp_path / "none.png")
    assert (result.exit_code, result.stdout) == (1, "")
    assert_one_line(result.stderr, "none.png: no such file")


def test_an_output_that_cannot_be_written_is_one_line(tmp_path):
    result = read(PATHS[0], "--output", tmp_path / "no/such/out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert_one_line(result.stderr, "not written")


def test_progress_is_shown_only_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with reading_progress(2) as progress:
        progress.add(1)
        for lines in (1, 7, 0):
            progress.advance(lines)
    assert "3/3" in stream.getvalue()
    assert "pages, 8 lines" in stream.getvalue()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with reading_progress(2) as progress:
        progress.advance(1)
    assert sys.stderr.getvalue() == ""


# What goes wrong.


def assert_one_line(stderr, *contained):
    assert stderr.startswith("vedcore: ")
    assert stderr.count("\n") == 1
    assert stderr.endswith("\n")
    assert "Traceback" not in stderr
    for text in contained:
        assert text in stderr


@pytest.fixture
def bad_files(tmp_path):
    data = Path(PATHS[0]).read_bytes()
    (tmp_path / "truncated.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.png").write_text("no image at all")
    (tmp_path / "empty.png").write_bytes(b"")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(40 * 2**20)
    names = ("truncated.png", "text.png", "empty.png", "huge.png", "missing.png")
    return [str(tmp_path / name) for name in (*names, "n" * 5000)]


@pytest.mark.parametrize("batch_size", [1, 16])
def test_bad_images_are_reported_and_the_others_are_read(bad_files, batch_size):
    result = read(PATHS[0], *bad_files[:3], PATHS[1], *bad_files[3:], PATHS[2], "--batch-size", batch_size)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == TEXTS
    errors = result.stderr.splitlines()
    assert len(errors) == len(bad_files)
    for line, path in zip(errors, bad_files, strict=True):
        assert line.startswith(f"vedcore: {path}: ")
        assert len(line) > len(f"vedcore: {path}: ")


def test_a_bad_stdin_is_reported():
    result = read("-", stdin=b"no image")
    assert result.exit_code == 1
    assert_one_line(result.stderr)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (None, "no such folder, and no plugin ships a checkpoint of that name (shipped: line-reader)"),
        (lambda folder: (folder / "config.json").unlink(), "config.json: no such file"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json"),
        (
            lambda folder: (folder / "config.json").write_text(
                json.dumps(
                    {
                        "model_type": "vision-encoder-decoder",
                        "encoder": {"model_type": "x"},
                        "decoder": {"model_type": "y"},
                    }
                )
            ),
            "no encoder named 'x'",
        ),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "model_type is 'bert'"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 100), "model.safetensors"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_one_line_and_exit_code_2(tmp_path, spoil, message):
    folder = tmp_path / "model"
    if spoil is not None:
        shutil.copytree(SHIPPED, folder)
        spoil(folder)
    result = read(PATHS[0], "--model", folder)
    assert (result.exit_code, result.stdout) == (2, "")
    assert_one_line(result.stderr, message)


COMMAND = "\x1b]0;owned\x07\x9b2J\r\x7f"
ESCAPED = r"\u001b]0;owned\u0007\u009b2J\u000d\u007f"


def test_no_file_controls_the_terminal(tmp_path, says):
    folder = tmp_path / "model"
    shutil.copytree(SHIPPED, folder)
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, COMMAND: torch.zeros(1)}, folder / "model.safetensors")
    assert_one_line(read(PATHS[0], "--model", folder).stderr, ESCAPED)
    assert ESCAPED in run("doctor", folder).stdout
    assert ESCAPED in run("inspect", folder).stdout
    assert COMMAND not in run("inspect", folder).stdout
    says(COMMAND)
    printed = read(f"{COMMAND}.png", form="table").stdout
    assert printed.count(ESCAPED) == 2
    assert "\x1b" not in printed


def test_escaping_keeps_lines_and_the_meaning_of_json():
    assert escape_controls("two\nlines\tand 日本語\u3000\xa0") == "two\nlines\tand 日本語\u3000\xa0"
    every = "".join(map(chr, range(0x180)))
    assert json.loads(escape_controls(json.dumps(every, ensure_ascii=False))) == every


def test_debug_shows_the_traceback():
    result = read(PATHS[0], "--model", "no-such", "--debug")
    assert type(result.exception).__name__ == "CheckpointNotFound"
    assert result.exit_code == 1


def test_ctrl_c_is_exit_code_130_and_no_traceback(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Reader, "each", interrupted)
    result = read(PATHS[0])
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "vedcore: interrupted\n")


def test_a_warning_is_one_line_on_stderr(monkeypatch):
    def warned(*_, **__):
        warnings.warn("the weights are random; train the model first", stacklevel=1)
        return iter(())

    monkeypatch.setattr(Reader, "each", warned)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = read(PATHS[0])
    assert result.stderr == "vedcore: the weights are random; train the model first\n"


@pytest.mark.parametrize(
    "arguments", [["read"], ["read", "x", "--beams", "0"], ["read", "x", "--format", "xml"], ["reed"]], ids=str
)
def test_a_wrong_request_is_exit_code_2(arguments):
    assert run(*arguments).exit_code == 2


# Other commands.


def test_plugins_are_listed_with_their_records():
    result = run("plugins")
    assert result.exit_code == 0
    for text in ("vedcore-plugin-vit", "encoder vit", "decoder gpt2", "checkpoint line-reader", "adapter linear"):
        assert text in result.stdout


def test_a_broken_plugin_is_listed_with_its_reason(monkeypatch):
    from vedcore.registry import Plugin, Registry

    broken = Registry([Plugin("odd[red]", "no_such_module_here", "odd-dist", "1.0")])
    monkeypatch.setattr("vedcore.registry.registry", lambda: broken)
    result = run("plugins")
    assert result.exit_code == 0
    assert "odd-dist" in result.stdout
    assert result.stdout.count("odd[red]") == 2  # in its column and in the reason
    assert "broken: " in result.stdout
    assert "ModuleNotFoundError" in result.stdout


def test_version_and_no_arguments():
    assert run("--version").stdout == f"vedcore {__version__}\n"
    assert "Usage" in run().output


# The process.


def test_the_module_reads_a_line():
    done = process("read", PATHS[0], "-", "-f", "text", stdin=Path(PATHS[1]).read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == TEXTS[:2]


def test_the_process_prints_an_error_as_one_line_and_with_debug_in_full():
    done = process("read", PATHS[0], "-m", "no-such")
    assert (done.returncode, done.stdout) == (2, b"")
    assert_one_line(done.stderr.decode())
    done = process("read", PATHS[0], "-m", "no-such", "--debug")
    assert done.returncode == 1
    assert b"Traceback" in done.stderr
    assert b"CheckpointNotFound" in done.stderr


def test_a_terminal_that_cannot_show_a_letter_is_no_crash():
    done = process("read", PATHS[0], PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert TEXTS[0].encode() in done.stdout


@pytest.mark.parametrize("command", [["--help"], ["read", "--help"], ["plugins", "--help"], ["--version"]], ids=str)
def test_help_imports_no_torch(command):
    program = (
        "import sys\nfrom vedcore.cli import app\n"
        f"try: app({command!r})\nexcept SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'numpy', 'PIL', 'tokenizers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout
