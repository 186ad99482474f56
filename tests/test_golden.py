"""The shipped line reader against what transformers 5.23 made of the same images: pixels, logits, tokens, scores, text."""

import json
from pathlib import Path

import jiwer
import pytest
import torch
from safetensors.torch import load_file

from tests.parity import assert_within
from vedcore import Reader

LINES = Path(__file__).parent / "golden/lines"
EXPECTED = json.loads((LINES / "expected.json").read_text())
PATHS = [LINES / line["file"] for line in EXPECTED]
END, PAD = 2, 0


@pytest.fixture(scope="module")
def reader():
    return Reader.load("line-reader")


@pytest.fixture(scope="module")
def tensors():
    return load_file(LINES / "tensors.safetensors")


@pytest.fixture(scope="module")
def pixels(reader):
    return reader.processor(PATHS).pixel_values


def until_end(row):
    return row[: row.index(END) + 1] if END in row else row


def test_pixel_values_equal(pixels, tensors):
    expected = tensors["pixel_values"]
    assert len(expected) == 16
    assert float((pixels[:16] - expected).abs().max()) <= 1e-6


def test_logits_equal(reader, pixels, tensors):
    ids, expected = tensors["decoder_input_ids"], tensors["logits"]
    with torch.no_grad():
        logits = reader.model(pixel_values=pixels[:8], decoder_input_ids=ids).logits
    assert len(expected) == 8
    assert_within(logits, expected)


def test_greedy_tokens_equal(reader, pixels):
    found = reader.model.generate(pixels).tolist()
    assert [until_end(row) for row in found] == [until_end(line["greedy"]) for line in EXPECTED]
    assert all(set(row[len(until_end(row)) :]) <= {PAD} for row in found)


def test_beam_tokens_and_scores_equal(reader, pixels):
    found = reader.model.generate(pixels, num_beams=4, return_dict_in_generate=True)
    assert [until_end(row) for row in found.sequences.tolist()] == [until_end(line["beam4"]) for line in EXPECTED]
    scores = torch.tensor([line["beam4_score"] for line in EXPECTED])
    assert float((found.sequences_scores - scores).abs().max()) <= 1e-4


def test_texts_equal_and_are_nearly_all_right(reader, capsys):
    readings = reader.read(PATHS, cut=False)
    assert [reading.text for reading in readings] == [line["transformers_greedy_text"] for line in EXPECTED]
    error = jiwer.cer([line["text"] for line in EXPECTED], [reading.text for reading in readings])
    with capsys.disabled():
        print(f"\nline-reader: character error rate {100 * error:.2f} % on {len(PATHS)} lines")
    assert error < 0.03
