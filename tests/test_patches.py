"""Patches: what a product gives is what the convolution gives."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vedcore.nn import Patches

SIDES = st.integers(1, 5)


@given(st.integers(1, 3), st.integers(1, 4), SIDES, SIDES, st.integers(0, 12), st.integers(0, 12), st.booleans())
def test_patches_without_a_gradient_are_those_with_one(images, channels, down, across, more, further, turned):
    patches = Patches(channels, 6, (down, across))
    shape = (
        (images, channels, across + further, down + more)
        if turned
        else (images, channels, down + more, across + further)
    )
    pixels = torch.randn(shape)
    pixels = pixels.transpose(2, 3) if turned else pixels
    learned, grid = patches(pixels)
    assert learned.requires_grad
    with torch.no_grad():
        found, same_grid = patches(pixels)
    assert (same_grid, grid) == (grid, ((down + more) // down, (across + further) // across))
    torch.testing.assert_close(found, learned, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("learning", [True, False])
def test_the_projection_is_a_convolution_whose_hooks_are_called(learning):
    patches, seen = Patches(3, 6, (2, 2)), []
    assert isinstance(patches.projection, nn.Conv2d)
    patches.projection.register_forward_hook(lambda _, given, found: seen.append((given[0].shape, found.shape)))
    with torch.set_grad_enabled(learning):
        patches(torch.randn(2, 3, 4, 6))
    assert seen == [((2, 3, 4, 6), (2, 6, 2, 3))]
