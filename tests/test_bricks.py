"""Bricks of vedcore.nn: laws that no backbone shows."""

import pytest
import torch
from torch import nn

from vedcore.nn import DropPath, initialize


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_a_branch_that_is_left_out_is_zero_and_one_that_is_kept_keeps_the_mean(rate):
    torch.manual_seed(0)
    rows = DropPath(rate).train()(torch.ones(2000, 3))
    assert set(rows.unique().tolist()) <= {0.0, 1 / (1 - rate) if rate < 1 else 0.0}
    assert rows.mean().item() == pytest.approx(0.0 if rate == 1 else 1.0, abs=0.1)


def test_a_norm_without_weights_has_nothing_to_start_from():
    layers = nn.Sequential(nn.LayerNorm(3, elementwise_affine=False), nn.LayerNorm(3), nn.Linear(3, 3))
    nn.init.zeros_(layers[1].weight)
    initialize(layers, 0.02)
    assert layers[1].weight.tolist() == [1, 1, 1]
