"""vedcore.nn: behaviour that the tests of the backbones do not check."""

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from tests.parity import assert_within
from vedcore import Step
from vedcore.config import Config, field, model_config
from vedcore.contract.protocols import AttentionSizes
from vedcore.contract.types import Recorder, causal_mask
from vedcore.errors import ConfigError, InputError
from vedcore.generation.cache import SelfCache
from vedcore.nn import (
    BertHead,
    DropPath,
    GatedMLP,
    LayerScale,
    Patches,
    PreNormBlock,
    RegisterTokens,
    RMSNorm,
    Rotary,
    RotaryFields,
    RotarySettings,
    ScaledEmbedding,
    SelfAttention,
    activation,
    drop_layers,
    initialize,
    patch_grid,
    patch_mask,
    resize_positions,
)


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_a_dropped_branch_is_zero_and_a_kept_one_is_scaled_so_that_the_mean_stays(rate):
    torch.manual_seed(0)
    rows = DropPath(rate).train()(torch.ones(2000, 3))
    assert set(rows.unique().tolist()) <= {0.0, 1 / (1 - rate) if rate < 1 else 0.0}
    assert rows.mean().item() == pytest.approx(0.0 if rate == 1 else 1.0, abs=0.1)


def test_initialize_skips_a_norm_without_weights():
    layers = nn.Sequential(nn.LayerNorm(3, elementwise_affine=False), nn.LayerNorm(3), nn.Linear(3, 3))
    nn.init.zeros_(layers[1].weight)
    initialize(layers, 0.02)
    assert layers[1].weight.tolist() == [1, 1, 1]


def test_a_tied_bert_head_has_one_bias_and_the_weight_of_the_embedding():
    tokens, head = nn.Embedding(7, 4), BertHead(4, 7, "gelu", norm_eps=1e-5)
    assert head.bias is not head.decoder.bias
    head.tie(tokens)
    assert head.decoder.weight is tokens.weight
    assert head.bias is head.decoder.bias


def test_layers_are_dropped_only_in_training_and_only_with_a_rate():
    x, blocks = torch.ones(1, 2, 3), nn.ModuleList([nn.Linear(3, 3)])
    drop_layers(blocks, 0.0)
    assert not blocks[0]._forward_hooks
    drop_layers(blocks, 1.0)
    assert torch.equal(blocks[0].train()(x), x)
    assert not torch.equal(blocks[0].eval()(x), x)


def test_a_padding_id_outside_the_vocabulary_is_an_error_that_names_the_field():
    with pytest.raises(ConfigError, match=r"pad_token_id \(9\) must be below vocab_size \(9\)") as raised:
        ScaledEmbedding(9, 4, scale=1.0, pad=9)
    assert (raised.value.field, raised.value.expected, raised.value.found) == ("pad_token_id", "below 9", 9)


@pytest.mark.parametrize(
    ("call", "kind", "data"),
    [
        (lambda: SelfAttention(10, 3), ConfigError, {"field": "hidden_size", "found": 10}),
        (lambda: activation("softmax"), ConfigError, {"field": "activation", "found": "softmax"}),
        (lambda: patch_grid((4, 9), (5, 5)), ConfigError, {"field": "image_size", "found": (4, 9)}),
        (lambda: Patches(3, 4, (2, 2))(torch.zeros(1, 1, 4, 4)), InputError, {"tensor": "pixel_values"}),
        (lambda: Patches(3, 4, (2, 2))(torch.zeros(1, 3, 1, 4)), InputError, {"found": (1, 3, 1, 4)}),
        (lambda: resize_positions(torch.zeros(1, 6, 4), (2, 2), extra=1), InputError, {"found": 5}),
        (
            lambda: patch_mask(torch.ones(1, 4, 4), torch.zeros(2, 3, 4, 4), (2, 2)),
            InputError,
            {"tensor": "pixel_mask", "expected": (2, 4, 4), "found": (1, 4, 4)},
        ),
    ],
)
def test_an_error_has_the_field_or_the_tensor_and_the_value_that_was_found(call, kind, data):
    with pytest.raises(kind) as raised:
        call()
    assert {name: getattr(raised.value, name) for name in data} == data


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
SCALINGS = [{"rope_type": "default"}, {"rope_type": "linear", "factor": 2.5}, {"rope_type": "llama3", **LLAMA3}]


@pytest.mark.parametrize("scaling", SCALINGS, ids=lambda scaling: scaling["rope_type"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotated_queries_and_keys_equal_those_of_the_reference(scaling, dtype):
    parameters = {"rope_theta": 5000.0, **scaling}
    reference = LlamaRotaryEmbedding(
        LlamaConfig(hidden_size=32, num_attention_heads=4, rope_parameters=dict(parameters))
    )
    query, keys = torch.randn(2, 4, 3, 8, dtype=dtype), torch.randn(2, 2, 3, 8, dtype=dtype)
    positions = torch.tensor([[0, 500, 7], [90, 1, 4000]])
    rotary = Rotary(8, RotarySettings(**parameters)).to(dtype)
    expected = apply_rotary_pos_emb(query, keys, *reference(query, positions))
    for found, wanted in zip(rotary(query, keys, Step(positions=positions)), expected, strict=True):
        assert torch.equal(found, wanted)


def test_positions_come_from_the_slots_unless_the_step_has_others():
    rotary, x = Rotary(4, RotarySettings()), torch.randn(1, 1, 2, 4)
    slots, other = torch.tensor([[3, 4]]), torch.tensor([[8, 9]])
    assert torch.equal(rotary(x, x, Step(slots=slots))[0], rotary(x, x, Step(positions=slots))[0])
    assert torch.equal(rotary(x, x, Step(slots=slots, positions=other))[0], rotary(x, x, Step(slots=other))[0])


def test_a_value_is_computed_once_in_a_step_and_its_copies():
    calls = []
    step = Step()
    copies = [replace(step, trace=print), replace(step, extent=3)]
    for each in (step, *copies):
        assert each.once("angles", lambda: calls.append(1) or 7) == 7
    assert len(calls) == 1
    assert Step().once("angles", lambda: 8) == 8


@model_config("rotary-toy")
class RotaryConfig(RotaryFields):
    width: int = field.integer(8)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, RotarySettings()),
        ({"rope_theta": 5e5}, RotarySettings(rope_theta=5e5)),
        ({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, RotarySettings(rope_theta=5e5)),
        (
            {"rope_theta": 10.0, "rope_scaling": {"type": "linear", "factor": 2}},
            RotarySettings(rope_theta=10.0, rope_type="linear", factor=2.0),
        ),
        (
            {"rope_theta": 10.0, "rope_parameters": {"rope_type": "llama3", "rope_theta": 20.0, **LLAMA3}},
            RotarySettings(rope_theta=20.0, rope_type="llama3", **LLAMA3),
        ),
    ],
)
def test_rotary_settings_are_read_from_new_and_old_files(fields, expected):
    config = RotaryConfig.from_dict(fields)
    assert config.rotary == expected
    assert RotaryConfig.from_dict(config.to_dict()) == config
    assert {name: value for name, value in config.to_dict().items() if name in fields} == fields


@pytest.mark.parametrize(
    ("fields", "message", "name"),
    [
        (
            {"rope_scaling": {"rope_type": "yarn"}},
            "one of default, linear, llama3, got 'yarn'",
            "rope_scaling.rope_type",
        ),
        ({"rope_parameters": {"rope_type": "linear", "factor": 0.5}}, "at least 1", "rope_parameters.factor"),
        ({"rope_parameters": {"beta": 1}}, "no field 'beta'", "rope_parameters.beta"),
        ({"rope_parameters": [1]}, "a dict with strings as keys", "rope_parameters"),
        (
            {"rope_parameters": {**LLAMA3, "high_freq_factor": 1.0}},
            r"high_freq_factor \(1.0\) must be above",
            "rope_parameters.high_freq_factor",
        ),
    ],
)
def test_wrong_rotary_settings_name_their_field(fields, message, name):
    with pytest.raises(ConfigError, match=message) as raised:
        RotaryConfig.from_dict(fields)
    assert raised.value.field == name
    config = RotaryConfig()
    with pytest.raises(ConfigError, match=message):
        setattr(config, *next(iter(fields.items())))
    assert config == RotaryConfig()


def test_the_default_of_a_mapping_is_not_shared():
    @model_config("mapping-toy")
    class MappingConfig(Config):
        table: dict[str, int] = field.mapping({"a": 1})

    one = MappingConfig()
    one.table["b"] = 2
    assert MappingConfig().table == {"a": 1}


def grouped_and_repeated(heads, groups, width, **options):
    """An attention whose query heads share keys, and one with the same values for which the keys are repeated."""
    shared = SelfAttention(12, heads, key_value_heads=groups, head_width=width, **options).eval()
    plain = SelfAttention(12, heads, head_width=width, **options).eval()
    weights = copy.deepcopy(shared.state_dict())
    for name in weights:
        if name.startswith(("key", "value")):
            each = weights[name].unflatten(0, (groups, width))
            weights[name] = each.repeat_interleave(heads // groups, dim=0).flatten(0, 1)
    plain.load_state_dict(weights)
    return shared, plain


@given(
    groups=st.sampled_from([1, 2, 4]),
    tokens=st.integers(1, 4),
    rows=st.integers(1, 3),
    grad=st.booleans(),
    out_bias=st.booleans(),
    masked=st.booleans(),
)
def test_shared_keys_equal_repeated_keys(groups, tokens, rows, grad, out_bias, masked):
    torch.manual_seed(0)
    shared, plain = grouped_and_repeated(4, groups, 6, bias=True, key_bias=False, out_bias=out_bias)
    x, seen = torch.randn(rows, tokens, 12), [Recorder("self"), Recorder("self")]
    mask = causal_mask(torch.arange(tokens)[None], tokens) if masked else None
    bias = torch.randn(1, 4, tokens, tokens)
    with torch.set_grad_enabled(grad):
        for option in (None, bias):
            found, expected = (
                attention(x, 0, Step(mask=mask, trace=trace), option)
                for attention, trace in zip((shared, plain), seen, strict=True)
            )
            assert_within(found.detach(), expected.detach())
            assert_within(*(trace.all("self")[0].detach() for trace in seen))
    assert (shared.out.bias is None) is not out_bias


def test_a_cache_of_shared_keys_holds_one_copy():
    torch.manual_seed(0)
    attention, _ = grouped_and_repeated(4, 2, 6)
    attention.rotary = Rotary(6, RotarySettings())
    x = torch.randn(2, 5, 12)
    whole = attention(x, 0, Step(slots=torch.arange(5)[None], mask=causal_mask(torch.arange(5)[None], 5), extent=5))
    cache = SelfCache([AttentionSizes(4, 2, 6)], rows=2, capacity=5)
    outputs = []
    for slot in range(5):
        slots = torch.tensor([[slot]])
        step = Step(slots=slots, mask=causal_mask(slots, slot + 1), extent=slot + 1, cache=cache)
        outputs.append(attention(x[:, slot : slot + 1], 0, step))
    assert_within(torch.cat(outputs, dim=1).detach(), whole.detach())


@torch.no_grad()
def test_a_block_is_built_from_its_modules():
    torch.manual_seed(0)
    norms, attention = [RMSNorm(8, eps=1e-6) for _ in range(2)], SelfAttention(8, 2, bias=False, out_bias=False)
    mlp, scale = GatedMLP(8, 12, "silu"), LayerScale(8, 0.5)
    block = PreNormBlock(norms[0], attention, norms[1], mlp, after_attention=scale, after_mlp=nn.Tanh()).eval()
    x = torch.randn(2, 3, 8)
    middle = x + 0.5 * attention(norms[0](x), 0, Step())
    assert_within(block(x, 0, Step()), middle + mlp(norms[1](middle)).tanh())
    expected = mlp.down(nn.functional.silu(mlp.gate(x)) * mlp.up(x))
    assert_within(mlp(x), expected)
    assert all(layer.bias is None for layer in (mlp.gate, mlp.up, mlp.down, attention.out))


def test_register_tokens_stand_after_the_leading_tokens():
    registers = RegisterTokens(2, 3, after=1)
    nn.init.constant_(registers.tokens, 7.0)
    x = torch.randn(2, 4, 3)
    y = registers(x)
    assert torch.equal(y[:, :1], x[:, :1])
    assert torch.equal(y[:, 3:], x[:, 1:])
    assert (y[:, 1:3] == 7).all()


def test_initialize_sets_the_weights_of_an_rms_norm_to_one():
    norm = RMSNorm(3)
    nn.init.zeros_(norm.weight)
    initialize(norm, 0.02)
    assert norm.weight.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("call", "data"),
    [
        (lambda: SelfAttention(8, 4, key_value_heads=3), {"field": "num_key_value_heads", "found": 3}),
        (lambda: Rotary(5, RotarySettings()), {"field": "head_dim", "found": 5}),
        (lambda: GatedMLP(4, 8, "softmax"), {"field": "activation", "found": "softmax"}),
    ],
)
def test_sizes_that_do_not_fit_are_errors_that_name_the_field(call, data):
    with pytest.raises(ConfigError) as raised:
        call()
    assert {name: getattr(raised.value, name) for name in data} == data
