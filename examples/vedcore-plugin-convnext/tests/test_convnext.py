from typing import ClassVar

import hypothesis
import pytest
import torch
import transformers

from vedcore import ConfigError, InputError
from vedcore.testing import BackboneContract
from vedcore_plugin_convnext import CONVNEXT, ConvNextConfig, ConvNextModel
from vedcore_plugin_convnext.testing import config_fields


class TestConvNext(BackboneContract):
    record = CONVNEXT
    exclude: ClassVar = {"parity": "ConvNextModel returns a map (B, D, h, w) before its norm; compared below"}


@hypothesis.settings(max_examples=20, deadline=None, derandomize=True, database=None)
@hypothesis.given(config_fields())
def test_states_are_the_normed_map_of_the_reference_row_by_row(tmp_path_factory, fields):
    torch.manual_seed(0)
    theirs = transformers.ConvNextModel(transformers.ConvNextConfig(**fields)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("convnext")
    theirs.save_pretrained(folder)
    ours = ConvNextModel.from_pretrained(folder)
    height, width = fields["image_size"]
    pixels = torch.randn(2, fields["num_channels"], height, width)
    with torch.no_grad():
        output = ours(pixels)
        feature_map = theirs(pixels).last_hidden_state
        wanted = theirs.layernorm(feature_map.flatten(2).transpose(1, 2))
    assert output.grid == tuple(feature_map.shape[2:])
    assert (output.states - wanted).abs().max() <= 1e-5 * max(1.0, float(wanted.abs().max()))


def test_a_state_is_masked_if_all_its_pixels_are():
    model = ConvNextModel(ConvNextConfig(num_stages=2, hidden_sizes=(4, 8), depths=(1, 1), patch_size=2))
    mask = torch.zeros(1, 9, 12, dtype=torch.bool)
    mask[0, 0, :5] = True
    output = model(torch.randn(1, 3, 9, 12), pixel_mask=mask)
    assert output.grid == (2, 3)
    assert output.mask.tolist() == [[True, True, False, False, False, False]]


def test_wrong_sizes_are_refused():
    with pytest.raises(ConfigError, match="one entry for each of num_stages"):
        ConvNextModel(ConvNextConfig(hidden_sizes=(4, 8)))
    model = ConvNextModel(ConvNextConfig(num_stages=2, hidden_sizes=(4, 8), depths=(1, 1)))
    with pytest.raises(InputError, match="7 x 40 pixels is too small: this encoder needs 8 x 8"):
        model(torch.randn(1, 3, 7, 40))
