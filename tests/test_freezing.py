"""What learns, and how fast: freezing by the names of parameters, and the groups of an optimiser."""

import pytest
import torch

from tests.parity import images
from vedcore import ConfigError, VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from vedcore.model.groups import Pace, parameter_groups, warmup
from vedcore_plugin_bert import BertConfig
from vedcore_plugin_gpt2 import GPT2Config, GPT2LMHeadModel
from vedcore_plugin_vit import ViTConfig, ViTModel

VIT = ViTConfig(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=20, image_size=8, patch_size=4
)
BERT = BertConfig(
    vocab_size=13, hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=20,
    max_position_embeddings=12, is_decoder=True, add_cross_attention=True,
)  # fmt: skip
IDS = {"decoder_start_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
LABELS = torch.tensor([[5, 7, 2], [4, 2, -100]])


@pytest.fixture
def model():
    return VisionEncoderDecoderModel(VisionEncoderDecoderConfig(encoder=VIT, decoder=BERT, **IDS)).train()


@pytest.fixture
def composed(tmp_path):
    """A trained encoder and a trained decoder, and new cross-attention between them."""
    ViTModel(VIT).save_pretrained(tmp_path / "encoder")
    decoder = GPT2Config(vocab_size=13, n_embd=16, n_layer=2, n_head=2, n_positions=12)
    GPT2LMHeadModel(decoder).save_pretrained(tmp_path / "decoder")
    model = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(
        tmp_path / "encoder", tmp_path / "decoder", seed=0, **IDS
    )
    return model.train()


def frozen(model):
    return [name for name, parameter in model.named_parameters() if not parameter.requires_grad]


def test_a_pattern_freezes_what_it_names_and_nothing_else(model):
    names = [name for name, _ in model.named_parameters()]
    assert model.freeze("encoder") == frozen(model) == [name for name in names if name.startswith("encoder.")]
    model.unfreeze()
    assert frozen(model) == []
    model.freeze("decoder.blocks.*.attention*")
    attention = [f"decoder.blocks.{i}.attention" for i in range(2)]
    assert frozen(model) == [name for name in names if name.startswith(tuple(attention))]
    assert any("attention_norm" in name for name in frozen(model))
    model.unfreeze("*.attention.query", "*norm.bias")
    assert frozen(model) == [
        n for n in names if n.startswith(tuple(attention)) and "query" not in n and "norm.b" not in n
    ]
    assert model.freeze("bridge.projection.bias", "bridge.projection.bias") == ["bridge.projection.bias"]


@pytest.mark.parametrize("patterns", [["encoder"], ["decoder", "bridge"], ["*.attention"]])
def test_a_step_moves_what_is_not_frozen_alone(model, patterns):
    still = set(model.freeze(*patterns))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW(parameter_groups(model, Pace(lr=0.1, weight_decay=0.1)))
    model(pixel_values=images(model, 2), labels=LABELS).loss.backward()
    optimizer.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert not moved & still
    assert {"encoder.norm.weight", "decoder.lm_head.norm.weight"} - still <= moved


def test_freezing_leaves_dropout_to_the_mode(model):
    model.freeze("encoder")
    assert model.encoder.training
    model.encoder.eval()
    model.unfreeze("encoder")
    assert not model.encoder.training


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("encodr", "near are encoder"),
        ("decoder.block", r"near are decoder\.blocks"),
        ("encoder.blocks.7", r"near are encoder\.blocks"),
        ("??????????", "near are bridge, decoder, encoder"),
        ("", "near are bridge, decoder, encoder"),
    ],
)
def test_a_pattern_that_matches_nothing_lists_what_is_near_and_freezes_nothing(model, pattern, near):
    with pytest.raises(ConfigError, match=f"no parameter matches {pattern!r}; {near}".replace("?", r"\?")):
        model.freeze("bridge", pattern)
    with pytest.raises(ConfigError, match=near):
        parameter_groups(model, Pace(lr=0.1), {pattern: Pace(lr=0.2)})
    assert frozen(model) == []


@pytest.mark.parametrize("pattern", [1, None, ["encoder"], b"encoder"])
def test_a_pattern_that_is_no_text_freezes_nothing(model, pattern):
    model.freeze("bridge.projection.bias")
    for change in (model.freeze, model.unfreeze):
        with pytest.raises(ConfigError, match="the name of a parameter or of a module, got ") as raised:
            change("bridge", pattern)
        assert repr(pattern) in str(raised.value)
    assert frozen(model) == ["bridge.projection.bias"]


def test_each_part_learns_at_its_pace_and_every_parameter_is_in_one_group(model):
    model.freeze("encoder.embeddings")
    parts = {"encoder.blocks.0": Pace(lr=1e-5), "encoder": Pace(lr=1e-4, weight_decay=0.5), "new": Pace(lr=1.0)}
    groups = parameter_groups(model, Pace(lr=1e-3, weight_decay=0.1, warmup_steps=3), parts)
    named = {name: group for group in groups for name in group["names"]}
    assert sorted(named) == sorted(set(dict(model.named_parameters())) - set(frozen(model)))
    assert sum(len(group["params"]) for group in groups) == len(named)
    for name, part, lr in (
        ("encoder.blocks.0.mlp.up.weight", "encoder.blocks.0", 1e-5),
        ("encoder.blocks.1.mlp.up.weight", "encoder", 1e-4),
        ("decoder.blocks.0.mlp.up.weight", "all else", 1e-3),
        ("bridge.projection.weight", "all else", 1e-3),
    ):
        assert (named[name]["part"], named[name]["lr"]) == (part, lr)
    assert {group["warmup_steps"] for group in groups} == {0, 3}
    torch.optim.AdamW(groups)


def test_only_matrices_are_decayed_unless_all_parameters_are_requested(model):
    groups = parameter_groups(model, Pace(lr=0.1, weight_decay=0.3))
    decayed = {name for group in groups if group["weight_decay"] for name in group["names"]}
    assert {"encoder.blocks.0.attention.query.weight", "encoder.embeddings.patches.projection.weight"} <= decayed
    assert "bridge.projection.weight" in decayed
    plain = ("bias", "norm.weight", "cls_token", "positions", "positions.weight", "tokens.weight", "types.weight")
    assert not [name for name in decayed if name.endswith(plain)]
    assert {
        group["weight_decay"] for group in parameter_groups(model, Pace(lr=0.1, weight_decay=0.3), decay_all=True)
    } == {0.3}


def test_new_cross_attention_warms_up_apart_and_stops_being_new(composed):
    untrained = composed.untrained
    assert any("cross" in name for name in untrained)
    groups = parameter_groups(composed, Pace(lr=1e-3), {"new": Pace(lr=1e-2, warmup_steps=4)})
    assert sorted(name for group in groups if group["part"] == "new" for name in group["names"]) == untrained
    optimizer = torch.optim.AdamW(groups)
    factors = [lambda step, n=group["warmup_steps"]: warmup(step, n) for group in groups]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factors)
    rates = []
    for _ in range(6):
        rates.append({group["part"]: group["lr"] for group in optimizer.param_groups})
        optimizer.zero_grad()
        composed(pixel_values=images(composed, 2), labels=LABELS).loss.backward()
        optimizer.step()
        schedule.step()
    assert [round(rate["new"], 6) for rate in rates] == [0.002, 0.004, 0.006, 0.008, 0.01, 0.01]
    assert {rate["all else"] for rate in rates} == {1e-3}
    assert composed.untrained == []
    groups = parameter_groups(composed, Pace(lr=1e-3), {"new": Pace(lr=1e-2)})
    assert {group["part"] for group in groups} == {"all else"}
