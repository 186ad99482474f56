"""Swin, and the Swin of Donut and Nougat: one tower, with a norm after it or without.

Shapes: B images, C channels, S = states of the last grid, D hidden size.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from vedcore import EncoderOutput, KeyMap, Part, Rule, Trace
from vedcore.nn import initialize
from vedcore_plugin_swin.config import DonutSwinConfig, SwinConfig
from vedcore_plugin_swin.tower import Tower

_BLOCK, _OURS = "encoder.layers.{s}.blocks.{b}", "tower.stages.{s}.blocks.{b}"

_TOWER = (  # (on disk, here)
    Rule("embeddings.patch_embeddings", "tower.patches"),
    Rule("embeddings.norm", "tower.norm"),
    Rule("embeddings.position_embeddings", "tower.positions.table"),
    Rule(f"{_BLOCK}.layernorm_before", f"{_OURS}.attention_norm"),
    Rule(f"{_BLOCK}.attention.self.relative_position_bias_table", f"{_OURS}.bias.table"),
    Rule(f"{_BLOCK}.attention.output.dense", f"{_OURS}.attention.out"),
    Rule(f"{_BLOCK}.attention.self", f"{_OURS}.attention"),
    Rule(f"{_BLOCK}.layernorm_after", f"{_OURS}.mlp_norm"),
    Rule(f"{_BLOCK}.intermediate.dense", f"{_OURS}.mlp.up"),
    Rule(f"{_BLOCK}.output.dense", f"{_OURS}.mlp.down"),
    Rule("encoder.layers.{s}.downsample", "tower.stages.{s}.merge"),
)
_DROPPED = (
    "classifier",
    "embeddings.mask_token",
    f"{_BLOCK}.attention.self.relative_position_index",  # a buffer that is computed from window_size
)

SWIN_KEYMAP = KeyMap(
    rules=(*_TOWER, Rule("layernorm", "norm")),
    aliases=(  # names in memory in transformers 5, for state dicts that save_pretrained did not write
        (f"{_BLOCK}.attention.q_proj", f"{_BLOCK}.attention.self.query"),
        (f"{_BLOCK}.attention.k_proj", f"{_BLOCK}.attention.self.key"),
        (f"{_BLOCK}.attention.v_proj", f"{_BLOCK}.attention.self.value"),
        (f"{_BLOCK}.attention.o_proj", f"{_BLOCK}.attention.output.dense"),
        (f"{_BLOCK}.attention.relative_position_bias", f"{_BLOCK}.attention.self"),
        (f"{_BLOCK}.mlp.fc1", f"{_BLOCK}.intermediate.dense"),
        (f"{_BLOCK}.mlp.fc2", f"{_BLOCK}.output.dense"),
    ),
    dropped=(*_DROPPED, "decoder"),  # decoder is the head for masked images
    prefixes=("swin.",),
)
DONUT_SWIN_KEYMAP = KeyMap(rules=_TOWER, dropped=_DROPPED, prefixes=("donut.",))


class SwinModel(Part[SwinConfig]):
    """A Swin encoder. It turns an image of any size into one state for each cell of the last grid."""

    config_class: ClassVar = SwinConfig
    keymap: ClassVar = SWIN_KEYMAP

    def __init__(self, config: SwinConfig) -> None:
        super().__init__(config)
        self.hidden_size = config.hidden_size
        self.tower = Tower(config, leading_positions=0, out_dropout=config.hidden_dropout_prob)
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

        As in training, the attention inside windows ignores the mask, so masked pixels influence the states near them.

        Raises InputError if there are absolute positions and the grid is not the trained one, unless
        ``interpolate_pos_encoding`` is set.
        """
        output = self.tower(
            pixel_values, pixel_mask=pixel_mask, interpolate_pos_encoding=interpolate_pos_encoding, trace=trace
        )
        return EncoderOutput(self.norm(output.states), output.mask, output.grid)


class DonutSwinModel(Part[DonutSwinConfig]):
    """The encoder of Donut and Nougat: a Swin without a norm after the tower."""

    config_class: ClassVar = DonutSwinConfig
    keymap: ClassVar = DONUT_SWIN_KEYMAP

    def __init__(self, config: DonutSwinConfig) -> None:
        super().__init__(config)
        self.hidden_size = config.hidden_size
        # The table of absolute positions in a file starts with a row for a class token, though there is none.
        self.tower = Tower(config, leading_positions=1, out_dropout=config.attention_probs_dropout_prob)
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
        """(B, C, height, width) -> states (B, S, D). Sizes and ``pixel_mask`` are as in ``SwinModel``."""
        output: EncoderOutput = self.tower(
            pixel_values, pixel_mask=pixel_mask, interpolate_pos_encoding=interpolate_pos_encoding, trace=trace
        )
        return output
