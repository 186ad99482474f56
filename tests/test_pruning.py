"""A model with pruned heads equals one with masked heads, is smaller, and loads as it was saved."""

import json
import re

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from tests.parity import assert_within, images
from vedcore import ConfigError, VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from vedcore.nn import CrossAttention, SelfAttention
from vedcore_plugin_bart import BartConfig, MBartConfig
from vedcore_plugin_beit import BeitConfig
from vedcore_plugin_bert import BertConfig
from vedcore_plugin_deit import DeiTConfig
from vedcore_plugin_distilbert import DistilBertConfig
from vedcore_plugin_gpt2 import GPT2Config
from vedcore_plugin_roberta import RobertaConfig
from vedcore_plugin_swin import SwinConfig
from vedcore_plugin_trocr import TrOCRConfig
from vedcore_plugin_vit import ViTConfig, ViTModel

PLAIN = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 20, "image_size": 12,
    "patch_size": 4,
}  # fmt: skip
BERT = {
    "vocab_size": 21, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 20,
    "max_position_embeddings": 20, "add_cross_attention": True,
}  # fmt: skip
BART = {
    "vocab_size": 21, "d_model": 16, "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 20,
    "max_position_embeddings": 20,
}  # fmt: skip
ENCODERS = {
    "vit": ViTConfig(**PLAIN),
    "deit": DeiTConfig(**PLAIN, qkv_bias=False),
    "beit": BeitConfig(**PLAIN, use_relative_position_bias=True, use_shared_relative_position_bias=True),
    "swin": SwinConfig(embed_dim=8, depths=(2, 1), num_heads=(2, 4), window_size=2, image_size=18, patch_size=3),
}
DECODERS = {
    "gpt2": GPT2Config(vocab_size=21, n_embd=16, n_layer=2, n_head=4, n_positions=20, add_cross_attention=True),
    "bert": BertConfig(**BERT),
    "roberta": RobertaConfig(**BERT),
    "bart": BartConfig(**BART),
    "mbart": MBartConfig(**BART),
    "trocr": TrOCRConfig(**BART, cross_attention_hidden_size=16),
    "distilbert": DistilBertConfig(
        vocab_size=21, dim=16, n_layers=2, n_heads=4, hidden_dim=20, max_position_embeddings=20
    ),
}
IDS = {"decoder_start_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
TOKENS = torch.tensor([[1, 5, 7, 3], [1, 8, 2, 4]])


def build(encoder="vit", decoder="bert", adapter="linear"):
    torch.manual_seed(0)
    config = VisionEncoderDecoderConfig(
        encoder=ENCODERS[encoder].replace(), decoder=DECODERS[decoder].replace(), adapter=adapter, **IDS
    )
    model = VisionEncoderDecoderModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model


def outputs(model):
    with torch.no_grad():
        output = model(pixel_values=images(model, 2), decoder_input_ids=TOKENS, output_attentions=True)
    return output.encoder_last_hidden_state, output.logits


def masked(part, kind, heads):
    """Zero what the given heads of each layer add."""
    attentions = [module for module in part.modules() if isinstance(module, kind)]
    for layer, numbers in heads.items():
        out = attentions[layer].out
        with torch.no_grad():
            out.weight.unflatten(1, (attentions[layer].num_heads, -1))[:, list(numbers)] = 0


PRUNED = {0: [1], 2: [0, 3]}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_encoder_with_pruned_heads_equals_one_with_masked_heads(encoder, tmp_path):
    whole, model = build(encoder), build(encoder)
    masked(whole.encoder, SelfAttention, PRUNED)
    model.encoder.prune_heads(PRUNED)
    for ours, expected in zip(outputs(model), outputs(whole), strict=True):
        assert_within(ours, expected)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count < sum(parameter.numel() for parameter in whole.parameters())
    model.save_pretrained(tmp_path)
    again = VisionEncoderDecoderModel.from_pretrained(tmp_path)
    assert sum(parameter.numel() for parameter in again.parameters()) == count
    assert all(torch.equal(a, b) for a, b in zip(outputs(again), outputs(model), strict=True))


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_with_pruned_heads_equals_one_with_masked_heads(decoder, tmp_path):
    whole, model = build(decoder=decoder), build(decoder=decoder)
    masked(whole.decoder, SelfAttention, {0: [1, 2], 1: [0]})
    masked(whole.decoder, CrossAttention, {1: [0, 3]})
    model.decoder.prune_heads({0: [1, 2], 1: [0]}, cross={1: [0, 3]})
    assert_within(outputs(model)[1], outputs(whole)[1])
    assert model.decoder.sizes.layers == ((2, 2, 4), (3, 3, 4))
    for options in ({}, {"num_beams": 3}):
        found = model.generate(images(model, 2), max_new_tokens=6, **options)
        assert torch.equal(found, whole.generate(images(model, 2), max_new_tokens=6, **options))
    model.save_pretrained(tmp_path)
    again = VisionEncoderDecoderModel.from_pretrained(tmp_path)
    assert torch.equal(outputs(again)[1], outputs(model)[1])
    assert again.decoder.sizes.layers == ((2, 2, 4), (3, 3, 4))


def test_heads_of_gated_layers_are_pruned(tmp_path):
    whole, model = build(adapter="gated"), build(adapter="gated")
    masked(whole.decoder, CrossAttention, {0: [2]})
    model.decoder.prune_heads({}, cross={0: [2]})
    assert_within(outputs(model)[1], outputs(whole)[1])
    model.save_pretrained(tmp_path)
    assert torch.equal(outputs(VisionEncoderDecoderModel.from_pretrained(tmp_path))[1], outputs(model)[1])


@given(st.lists(st.sets(st.integers(0, 3), max_size=3), min_size=2, max_size=4))
def test_pruning_in_steps_is_pruning_at_once(steps):
    together = set().union(*steps)
    if len(together) == 4:
        return
    once, model = ViTModel(ENCODERS["vit"].replace()), ViTModel(ENCODERS["vit"].replace())
    model.load_state_dict(once.state_dict())
    once.prune_heads({1: together})
    for heads in steps:
        model.prune_heads({1: heads})
    assert model.config == once.config
    pairs = zip(model.parameters(), once.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_pruned_part_is_saved_without_a_model_and_built_from_its_config(tmp_path):
    model = ViTModel(ENCODERS["vit"].replace()).eval()
    model.prune_heads({0: [3], 1: [0]})
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["pruned_heads"] == {"0": [3], "1": [0]}
    again = ViTModel.from_pretrained(tmp_path)
    pixels = torch.randn(1, 3, 12, 12)
    assert torch.equal(again(pixels).states, model(pixels).states)
    assert [p.shape for p in ViTModel(again.config).parameters()] == [p.shape for p in model.parameters()]


class Taller(ViTModel):
    """A subclass that adds a layer after the base class has built its own."""

    def __init__(self, config):
        super().__init__(config)
        self.blocks.append(ViTModel(config.replace(pruned_heads={})).blocks[0])


class Renamed(ViTModel):
    """A subclass without an __init__ of its own."""


@pytest.mark.parametrize("kind", [ViTModel, Taller, Renamed])
def test_a_part_that_is_built_directly_is_pruned_when_all_its_layers_are_there(kind):
    last = 3 if kind is Taller else 2
    part = kind(ENCODERS["vit"].replace(pruned_heads={0: (1,), last: (0, 2)}))
    heads = {0: (0, 2, 3), last: (1, 3)}
    assert [block.attention.heads for block in part.blocks] == [
        heads.get(layer, (0, 1, 2, 3)) for layer in range(last + 1)
    ]
    assert type(part).__init__.__doc__ == ViTModel.__init__.__doc__


def test_pruned_heads_of_a_layer_that_does_not_exist_are_refused_when_the_part_is_built():
    with pytest.raises(ConfigError, match="3 layers of self-attention, none with the number 7") as error:
        ViTModel(ENCODERS["vit"].replace(pruned_heads={7: (0,)}))
    assert (error.value.field, error.value.found) == ("pruned_heads", 7)


def test_transformers_refuses_a_pruned_model_and_reads_a_whole_one(tmp_path):
    model = build()
    assert "pruned_heads" not in json.dumps(model.config.to_dict())
    model.decoder.prune_heads({}, cross={0: [0]})
    model.save_pretrained(tmp_path)
    data = json.loads((tmp_path / "config.json").read_text())
    assert data["model_type"] == "vedcore"
    assert data["decoder"]["pruned_cross_heads"] == {"0": [0]}
    with pytest.raises((ValueError, KeyError)):
        transformers.VisionEncoderDecoderModel.from_pretrained(tmp_path)


def test_gradients_reach_the_remaining_heads_and_frozen_weights_stay_frozen():
    model = build("beit").train()
    model.freeze("encoder.blocks.0.attention.query")
    model.encoder.prune_heads({0: [1]})
    assert not model.encoder.blocks[0].attention.query.weight.requires_grad
    model(pixel_values=images(model, 2), labels=torch.tensor([[5, 2], [6, 2]])).loss.backward()
    attention = model.encoder.blocks[0].attention
    assert attention.query.weight.grad is None
    assert attention.value.weight.grad.shape == (12, 16)


def test_a_new_vocabulary_leaves_pruned_heads_pruned():
    model = build()
    model.decoder.prune_heads({0: [1]}, cross={1: [2]})
    before = outputs(model)[1]
    model.resize_token_embeddings(30)
    assert_within(outputs(model)[1][..., :21], before)
    assert model.decoder.sizes.layers == ((3, 3, 4), (4, 4, 4))


@pytest.mark.parametrize(
    ("heads", "cross", "message"),
    [
        ({2: [0]}, {}, "BertForCausalLM has 2 layers of self-attention, none with the number 2"),
        ({0: [1], -1: [0]}, {}, "none with the number -1"),
        ({0: [1]}, {5: [0]}, "2 layers of cross-attention, none with the number 5"),
        ({0: [1, 4]}, {}, "heads 1, 4 of layer 0 cannot be pruned: the heads are 0 to 3"),
        ({0: [1]}, {0: [0, 1, 2, 3]}, "one has to stay"),
        *(
            (*pair, f"{name} must be lists of heads by layer, like .*, got {re.escape(str(odd))}")
            for odd in (
                {0: [1.0]},
                {0: [True]},
                {0: ["1"]},
                {0: "1"},
                {0: 0},
                {"0": [0]},
                {True: [0]},
                {(1,): [0]},
                [1],
                5,
            )
            for name, pair in (("heads", (odd, {})), ("cross", ({0: [1]}, odd)))
        ),
        (None, {}, "heads must be lists of heads by layer, like .*, got None"),
    ],
)
def test_pruning_heads_that_do_not_exist_is_refused_and_changes_nothing(heads, cross, message):
    model = build()
    before = outputs(model)[1]
    with pytest.raises(ConfigError, match=message):
        model.decoder.prune_heads(heads, cross=cross)
    assert torch.equal(outputs(model)[1], before)
    assert model.config.decoder.pruned_heads == model.config.decoder.pruned_cross_heads == {}
    assert model.decoder.config is model.config.decoder


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1]},
        {"0": 1},
        [1],
        {"0": [-1]},
        {"0": ["1"]},
        {"0": [True]},
        {1.9: (0,)},
        {True: (0,)},
        {"01": [0]},
        {"0": [0], "00": [1]},
        {0: [0], "0": [1]},
    ],
)
def test_invalid_pruned_heads_in_a_config_are_refused(value):
    with pytest.raises(ConfigError, match="pruned_heads must be lists of heads by layer"):
        ViTConfig.from_dict({"model_type": "vit", "pruned_heads": value})
    with pytest.raises(ConfigError, match="pruned_heads must be lists of heads by layer"):
        ViTConfig(pruned_heads=value)
