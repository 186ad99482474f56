"""The composed model against transformers 5.23, live: logits, tokens, files both ways; hypothesis chooses the shapes."""

import tempfile
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from tests.parity import (
    assert_same_tokens,
    assert_within,
    both,
    images,
    theirs,
)
from vedcore import VisionEncoderDecoderModel
from vedcore_plugin_gpt2.testing import config_fields as gpt2_fields
from vedcore_plugin_vit.testing import config_fields as vit_fields

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")


@given(vit_fields(), gpt2_fields(), st.sampled_from([1, 5]), st.integers(1, 6), st.integers(0, 99))
def test_logits_equal(vit, gpt2, batch, length, seed):
    with tempfile.TemporaryDirectory() as folder:
        reference, model = both(Path(folder), transformers.ViTConfig(**vit), transformers.GPT2Config(**gpt2), seed)
    pixels = images(model, batch)
    ids = torch.randint(0, gpt2["vocab_size"], (batch, length))
    with torch.no_grad():
        ours = model(pixel_values=pixels, decoder_input_ids=ids)
        expected = reference(pixel_values=pixels, decoder_input_ids=ids)
    assert_within(ours.logits, expected.logits)
    assert_within(ours.encoder_last_hidden_state, expected.encoder_last_hidden_state)


@given(
    vit_fields(),
    gpt2_fields(),
    st.sampled_from([1, 5]),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([False, True, "never"]),
    st.sampled_from([-1.0, 0.0, 1.0, 2.0]),
    st.integers(0, 99),
)
def test_greedy_and_beam_tokens_and_scores_equal(vit, gpt2, batch, beams, early_stopping, penalty, seed):
    with tempfile.TemporaryDirectory() as folder:
        reference, model = both(Path(folder), transformers.ViTConfig(**vit), transformers.GPT2Config(**gpt2), seed)
    pixels = images(model, batch)
    options = {"max_new_tokens": 9}
    if beams > 1:
        options |= {"num_beams": beams, "early_stopping": early_stopping, "length_penalty": penalty}
    told = {"output_scores": True, "return_dict_in_generate": True}
    expected = reference.generate(pixels, **options, **told)
    ours = model.generate(pixels, **options, return_dict_in_generate=True)
    assert_same_tokens(ours.sequences, expected.sequences, 2, _gap(model, pixels, ours, expected))
    if beams > 1:
        assert_within(ours.sequences_scores, expected.sequences_scores, 1e-4)
    assert bool((ours.token_logprobs <= 0).all())


def _gap(model, pixels, ours, expected):
    """How near the two best scores are where a greedy row parts; beams are compared by their scores alone."""

    def gap(row, position):
        if getattr(expected, "sequences_scores", None) is not None:
            return float((ours.sequences_scores[row] - expected.sequences_scores[row]).abs())
        best = expected.scores[position - 1][row].topk(2).values
        return float(best[0] - best[1])

    return gap


@pytest.mark.parametrize("shard", [None, "20KB"])
@pytest.mark.parametrize("unequal", [False, True])
def test_each_library_loads_the_whole_model_that_the_other_saved(tmp_path, shard, unequal):
    vit = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37, image_size=24, patch_size=8
    )
    gpt2 = transformers.GPT2Config(
        vocab_size=31, n_positions=24, n_embd=48 if unequal else 32, n_layer=2, n_head=4, pad_token_id=0,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    reference = theirs(vit, gpt2)
    reference.save_pretrained(tmp_path / "a", **({"max_shard_size": shard} if shard else {}))
    model = VisionEncoderDecoderModel.from_pretrained(tmp_path / "a")
    model.save_pretrained(tmp_path / "b", **({"max_shard_size": shard} if shard else {}))
    assert ((tmp_path / "b" / "model.safetensors.index.json").exists()) == bool(shard)
    again, info = transformers.VisionEncoderDecoderModel.from_pretrained(tmp_path / "b", output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    pixels, ids = images(model, 2), torch.randint(0, 31, (2, 5))
    with torch.no_grad():
        expected = reference(pixel_values=pixels, decoder_input_ids=ids).logits
        assert torch.equal(again(pixel_values=pixels, decoder_input_ids=ids).logits, expected)
        assert_within(model(pixel_values=pixels, decoder_input_ids=ids).logits, expected)
    assert again.generate(pixels).tolist() == reference.generate(pixels).tolist()


def test_a_file_without_the_pooler_loads_and_is_saved_without_it(tmp_path):
    vit = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=37, image_size=8, patch_size=8
    )
    gpt2 = transformers.GPT2Config(vocab_size=31, n_positions=16, n_embd=32, n_layer=1, n_head=4, pad_token_id=0)
    reference = theirs(vit, gpt2)
    reference.encoder.pooler = None
    reference.save_pretrained(tmp_path / "a")
    model = VisionEncoderDecoderModel.from_pretrained(tmp_path / "a")
    assert model.encoder.pooler is None
    model.save_pretrained(tmp_path / "b")
    with safe_open(tmp_path / "b" / "model.safetensors", "pt") as file:
        assert not [name for name in file.keys() if "pooler" in name]  # noqa: SIM118
    _, info = transformers.VisionEncoderDecoderModel.from_pretrained(tmp_path / "b", output_loading_info=True)
    assert set(info["missing_keys"]) == {"encoder.pooler.dense.weight", "encoder.pooler.dense.bias"}


@given(vit_fields(), gpt2_fields(), st.integers(0, 99))
def test_forward_outputs_equal_eager(vit, gpt2, seed):
    with tempfile.TemporaryDirectory() as folder:
        reference, model = both(Path(folder), transformers.ViTConfig(**vit), transformers.GPT2Config(**gpt2), seed)
    reference.set_attn_implementation("eager")
    pixels = images(model, 3)
    labels = torch.randint(3, gpt2["vocab_size"], (3, 5))
    labels[1, 3:] = -100
    asked = {"labels": labels, "output_attentions": True, "output_hidden_states": True}
    with torch.no_grad():
        ours, expected = model(pixel_values=pixels, **asked), reference(pixel_values=pixels, **asked)
    assert_within(ours.loss, expected.loss)
    assert_within(ours.logits, expected.logits)
    for name in (
        "decoder_hidden_states",
        "decoder_attentions",
        "cross_attentions",
        "encoder_hidden_states",
        "encoder_attentions",
    ):
        mine, other = getattr(ours, name), getattr(expected, name)
        assert len(mine) == len(other), name
        for a, b in zip(mine, other, strict=True):
            assert_within(a, b)
