"""ConvNeXt: patches, then stages of convolutions. Each stage halves the height and width of the feature map.

Shapes: B images, C channels, h x w a map, S = h w of the last map, D width. Between convolutions a map is (B, h, w, D).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vedcore import ConfigError, EncoderOutput, InputError, KeyMap, Part, Rule, Trace
from vedcore.config import pair
from vedcore.nn import MLP, DropPath, Patches, initialize, patch_mask
from vedcore_plugin_convnext.config import ConvNextConfig

NORM_EPS = 1e-6
"""The eps of every norm except the last, which has ``layer_norm_eps``."""

_STAGE = "encoder.stages.{s}"

KEYMAP = KeyMap(
    rules=(  # (on disk, here)
        Rule("embeddings.patch_embeddings", "patches.projection"),
        Rule("embeddings.layernorm", "patches_norm"),
        Rule(f"{_STAGE}.downsampling_layer.0", "stages.{s}.downsample.norm"),
        Rule(f"{_STAGE}.downsampling_layer.1", "stages.{s}.downsample.convolution"),
        Rule(f"{_STAGE}.layers.{{b}}.dwconv", "stages.{s}.blocks.{b}.convolution"),
        Rule(f"{_STAGE}.layers.{{b}}.layernorm", "stages.{s}.blocks.{b}.norm"),
        Rule(f"{_STAGE}.layers.{{b}}.pwconv1", "stages.{s}.blocks.{b}.mlp.up"),
        Rule(f"{_STAGE}.layers.{{b}}.pwconv2", "stages.{s}.blocks.{b}.mlp.down"),
        Rule(f"{_STAGE}.layers.{{b}}.layer_scale_parameter", "stages.{s}.blocks.{b}.scale"),
        Rule("layernorm", "norm"),
    ),
    dropped=("classifier",),
    prefixes=("convnext.",),
)


def convolve(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """(B, h, w, D) -> (B, h', w', D'). Convolutions take the channels first, norms and linear layers take them last."""
    return convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # type: ignore[no-any-return]


class Block(nn.Module):
    """x + scale mlp(norm(convolution(x))). The convolution mixes positions in each channel, the MLP mixes channels."""

    def __init__(self, config: ConvNextConfig, width: int, drop_path: float) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, kernel_size=7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = MLP(width, 4 * width, config.hidden_act)
        first = config.layer_scale_init_value
        self.scale = nn.Parameter(torch.full((width,), first)) if first > 0 else None
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, D) -> (B, h, w, D)."""
        branch = self.mlp(self.norm(convolve(self.convolution, x)))
        if self.scale is not None:
            branch = branch * self.scale
        return x + self.drop_path(branch)  # type: ignore[no-any-return]


class Downsample(nn.Module):
    """Merges 2 x 2 positions to one of the next stage's width. An odd last row or column is dropped."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(before, eps=NORM_EPS)
        self.convolution = nn.Conv2d(before, after, kernel_size=2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, D) -> (B, h // 2, w // 2, the next D)."""
        return convolve(self.convolution, self.norm(x))


class Stage(nn.Module):
    """Blocks, after a downsampling in all stages except the first."""

    def __init__(self, config: ConvNextConfig, index: int) -> None:
        super().__init__()
        width, depth = config.hidden_sizes[index], config.depths[index]
        before, last = sum(config.depths[:index]), sum(config.depths) - 1
        rates = [config.drop_path_rate * i / max(last, 1) for i in range(before, before + depth)]
        self.downsample = Downsample(config.hidden_sizes[index - 1], width) if index else nn.Identity()
        self.blocks = nn.Sequential(*(Block(config, width, rate) for rate in rates))

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, D) -> (B, h // 2, w // 2, the next D); the first stage keeps the shape."""
        return self.blocks(self.downsample(x))  # type: ignore[no-any-return]


class ConvNextModel(Part[ConvNextConfig]):
    """A ConvNeXt encoder. It turns an image of any size into one state for each position of the last map, row by row."""

    config_class: ClassVar = ConvNextConfig
    keymap: ClassVar = KEYMAP

    def __init__(self, config: ConvNextConfig) -> None:
        super().__init__(config)
        if not len(config.hidden_sizes) == len(config.depths) == config.num_stages:
            raise ConfigError(
                f"hidden_sizes {config.hidden_sizes} and depths {config.depths} must have one entry for each of "
                f"num_stages ({config.num_stages})",
                field="num_stages",
                expected=config.num_stages,
                found=(len(config.hidden_sizes), len(config.depths)),
            )
        self.hidden_size = config.hidden_size
        self.patches = Patches(config.num_channels, config.hidden_sizes[0], pair(config.patch_size))
        self.patches_norm = nn.LayerNorm(config.hidden_sizes[0], eps=NORM_EPS)
        self.stages = nn.ModuleList(Stage(config, index) for index in range(config.num_stages))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        initialize(self, config.initializer_range)

    def forward(
        self,
        pixel_values: Tensor,
        /,
        *,
        pixel_mask: Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        trace: Trace | None = None,
    ) -> EncoderOutput:
        """(B, C, height, width) -> states (B, S, D), and their mask (B, S) if there is a ``pixel_mask``.

        There are no position embeddings, so every image size works. Convolutions ignore the mask, so masked pixels influence
        the states near them.

        Raises InputError if an image is too small for one position of the last map.
        """
        x, grid = self.patches(pixel_values)
        factor = 2 ** (len(self.stages) - 1)
        if min(grid) < factor:
            height, width = pixel_values.shape[-2:]
            least = " x ".join(str(side * factor) for side in self.patches.patch_size)
            raise InputError(
                f"an image of {height} x {width} pixels is too small: this encoder needs {least}",
                tensor="pixel_values",
                expected=f"at least {least}",
                found=(height, width),
            )
        x = self.patches_norm(x).unflatten(1, grid)
        for index, stage in enumerate(self.stages):
            if trace is not None:
                trace("hidden", index, x.flatten(1, 2))
            x = stage(x)
        if trace is not None:
            trace("hidden", len(self.stages), x.flatten(1, 2))
        down, across = self.patches.patch_size
        mask = patch_mask(pixel_mask, pixel_values, (down * factor, across * factor))
        return EncoderOutput(self.norm(x.flatten(1, 2)), mask, (x.shape[1], x.shape[2]))
