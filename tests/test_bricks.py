"""vedcore.nn: behaviour that the tests of the backbones do not check."""

import pytest
import torch
from torch import nn

from vedcore.errors import ConfigError, InputError
from vedcore.nn import (
    BertHead,
    DropPath,
    Patches,
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
