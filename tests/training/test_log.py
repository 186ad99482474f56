"""The log of a run: records are read back, and a line that no run can have written is refused."""

import json

import pytest

from vedcore.errors import CheckpointError
from vedcore.training.log import LOG_FILE, Log, read_log

STEP = {"event": "step", "step": 1, "stage": 0, "loss": 2.5, "lr": 1e-3, "norm": None}
SKIPPED = {"event": "skipped", "step": 1, "counts": {"bad row": 1}, "problems": ["x"]}


def test_lone_surrogates_are_escaped_and_read_back(tmp_path):
    record = {**SKIPPED, "problems": ["a \\ud800 b", "back\\slash \ud800", "\u00e9 \udfff"]}
    Log(tmp_path, 0).add(record, STEP)
    assert read_log(tmp_path) == [record, STEP]
    Log(tmp_path, 1)
    assert read_log(tmp_path) == [record, STEP]
    assert "\u00e9".encode() in (tmp_path / LOG_FILE).read_bytes()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"\xff\xfe", "not a line of JSON"),
        (b"{", "not a line of JSON"),
        (b"", "not a line of JSON"),
        (b"[" * 100_000, "not a line of JSON"),
        (b"[]", "expected an object whose event"),
        (b'{"step": 1}', "expected an object whose event"),
        (json.dumps({**STEP, "event": ["step"]}).encode(), "expected an object whose event"),
        (b'{"event": "step"}', "step must be an int of at least 0, got 'None'"),
        (json.dumps({**STEP, "step": "1"}).encode(), "step must be an int of at least 0, got '1'"),
        (json.dumps({**STEP, "step": -1}).encode(), "step must be an int of at least 0, got '-1'"),
        (json.dumps({**STEP, "loss": None}).encode(), "loss must be a finite number, got 'None'"),
        (json.dumps({**STEP, "lr": True}).encode(), "lr must be a finite number, got 'True'"),
        (json.dumps({**STEP, "lr": float("nan")}).encode(), "lr must be a finite number, got 'nan'"),
        (json.dumps({**STEP, "lr": 10**400}).encode(), "lr must be a finite number, got '1000"),
        (json.dumps({**STEP, "ctc": "x"}).encode(), "ctc must be a finite number, got 'x'"),
        (b'{"event": "evaluation", "step": 1, "cer": 0}', "wer must be a finite number, got 'None'"),
        (json.dumps({**SKIPPED, "counts": 3}).encode(), "counts must be ints by name, got 3"),
        (json.dumps({**SKIPPED, "problems": [3]}).encode(), r"problems must be a list of strings, got \[3\]"),
    ],
)
def test_a_line_that_no_run_can_have_written_is_refused_with_its_number(line, fault, tmp_path):
    (tmp_path / LOG_FILE).write_bytes(json.dumps(STEP).encode() + b"\n" + line + b"\n")
    before = (tmp_path / LOG_FILE).read_bytes()
    for read in (read_log, lambda run: Log(run, 5)):
        with pytest.raises(CheckpointError, match=rf"log\.jsonl:2: {fault}.*; delete that line") as raised:
            read(tmp_path)
        assert "\n" not in str(raised.value)
        assert raised.value.file == str(tmp_path / LOG_FILE)
        field = None if "JSON" in fault else "event" if "event" in fault else fault.split()[0]
        assert raised.value.field == field
        assert len(str(raised.value)) < 500 + len(str(tmp_path))
    assert (tmp_path / LOG_FILE).read_bytes() == before
