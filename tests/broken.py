"""Backbones with one fault each, which the contract tests must catch, and the toy backbones without a fault.

Each class differs from a toy in what its name says, or from GPT-2 or ViT where only a reference shows the fault.
Shapes: B images, R rows, T tokens, S states, D hidden size, V vocabulary size.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import attrs
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn

from vedcore import Backbone, DecoderPart, DecoderSizes, EncoderOutput, KeyMap, Rule, Seam
from vedcore.config import Config, field, model_config, pair
from vedcore.contract.types import Memory, Step, causal_mask
from vedcore.errors import InputError
from vedcore.nn import (
    ACTIVATIONS,
    MLP,
    Blocks,
    CrossAttention,
    PatchEmbeddings,
    PreNormBlock,
    PreNormCrossAttention,
    SelfAttention,
    initialize,
    patch_mask,
)
from vedcore.part import Part, without_storage
from vedcore.storage.loading import load_sections
from vedcore.storage.sections import Section
from vedcore.testing import BackboneSpec
from vedcore_plugin_gpt2 import GPT2Config, GPT2LMHeadModel
from vedcore_plugin_gpt2.testing import SPEC as GPT2_SPEC
from vedcore_plugin_vit import ViTConfig, ViTModel
from vedcore_plugin_vit.model import KEYMAP as VIT_KEYMAP
from vedcore_plugin_vit.testing import SPEC as VIT_SPEC


@st.composite
def config_fields(draw):
    """The fields of a small toy's config.json."""
    return {
        "vocab_size": draw(st.integers(12, 16)),
        "hidden_size": draw(st.sampled_from([8, 12])),
        "layers": draw(st.integers(1, 2)),
        "heads": draw(st.sampled_from([1, 2])),
        "act": draw(st.sampled_from(["gelu", "silu"])),
        "eps": draw(st.sampled_from([1e-5, 1e-3])),
        "bias": draw(st.booleans()),
        "image_size": draw(st.sampled_from([[8, 12], [12, 12]])),
        "patch_size": 4,
    }


@model_config("toy")
class ToyConfig(Config):
    vocab_size: int = field.integer(16)
    hidden_size: int = field.integer(8)
    layers: int = field.integer(2)
    heads: int = field.integer(2)
    act: str = field.text("gelu", one_of=ACTIVATIONS)
    eps: float = field.number(1e-5, above=0.0)
    bias: bool = field.flag(True)
    image_size: int | tuple[int, int] = field.size(8)
    patch_size: int | tuple[int, int] = field.size(4)
    num_channels: int = field.integer(3)
    max_positions: int = field.integer(12)


def toy_blocks(config):
    return Blocks(
        PreNormBlock(
            nn.LayerNorm(config.hidden_size, eps=config.eps),
            SelfAttention(config.hidden_size, config.heads, bias=config.bias),
            nn.LayerNorm(config.hidden_size, eps=config.eps),
            MLP(config.hidden_size, 2 * config.hidden_size, config.act),
        )
        for _ in range(config.layers)
    )


class ToyEncoder(Part[ToyConfig]):
    """Patches with positions, blocks, a norm."""

    config_class = ToyConfig
    keymap = KeyMap(rules=())

    def __init__(self, config):
        super().__init__(config)
        self.hidden_size = config.hidden_size
        sizes = pair(config.image_size), pair(config.patch_size)
        self.embeddings = PatchEmbeddings(config.num_channels, config.hidden_size, *sizes, leading=0)
        self.blocks = toy_blocks(config)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.eps)
        initialize(self, 0.5)
        nn.init.normal_(self.embeddings.positions, std=0.5)

    def forward(self, pixel_values, /, *, pixel_mask=None, interpolate_pos_encoding=False, trace=None):
        x, grid = self.embeddings(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding)
        mask = patch_mask(pixel_mask, pixel_values, pair(self.config.patch_size))
        x = self.blocks(x, self.step(mask, trace))
        return EncoderOutput(self.between(self.norm(x)), mask, grid)

    def step(self, mask, trace):
        return Step(mask=None if mask is None else mask[:, None, None, :], trace=trace)

    def between(self, x):
        return x


class ToyBlocks(Blocks):
    """The decoder's blocks, with two places for a fault: what they read of the step, and what they return."""

    def __init__(self, blocks, decoder):
        super().__init__(blocks)
        self.decoder = [decoder]  # in a list, because it is no submodule of its own blocks

    def forward(self, x, step, cross=None):
        (decoder,) = self.decoder
        return decoder.between(super().forward(x, decoder.read(step, x), cross))


class ToyDecoder(DecoderPart[ToyConfig]):
    """Tokens with positions, blocks with cross-attention, a norm, an untied head."""

    config_class = ToyConfig
    keymap = KeyMap(rules=())

    def __init__(self, config):
        super().__init__(config)
        width = config.hidden_size
        self.sizes = DecoderSizes.uniform(
            hidden_size=width,
            vocab_size=config.vocab_size,
            max_positions=config.max_positions,
            num_layers=config.layers,
            seam=Seam(norm="pre", norm_eps=config.eps, num_heads=config.heads, initializer_range=0.5),
        )
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.positions = nn.Embedding(config.max_positions, width)
        self.blocks = ToyBlocks(toy_blocks(config), self)
        self.cross = ToyDecoder.make_cross(self)  # of a fault in make_cross the model itself knows nothing
        self.norm = nn.LayerNorm(width, eps=config.eps)
        self.lm_head = nn.Linear(width, config.vocab_size, bias=False)
        initialize(self, 0.5)

    def embed(self, input_ids, step, /, *, inputs_embeds=None):
        x = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        step = self.read(step, x)
        return x + self.positions(step.slots if step.positions is None else step.positions)

    def make_cross(self):
        width, heads, eps = self.config.hidden_size, self.config.heads, self.config.eps
        layers = nn.ModuleList(
            PreNormCrossAttention(nn.LayerNorm(width, eps=eps), CrossAttention(width, heads))
            for _ in range(self.config.layers)
        )
        initialize(layers, 0.5)
        return layers

    def read(self, step, x):
        return step

    def between(self, x):
        return x


ENCODER = BackboneSpec(
    Backbone(name="toy", role="encoder", model=ToyEncoder, protocol=2),
    config_fields(),
    claims=("global attention", "resize"),
)
DECODER = BackboneSpec(Backbone(name="toy", role="decoder", model=ToyDecoder, protocol=2), config_fields())


def like(spec: BackboneSpec, model: type, **changes: Any) -> BackboneSpec:
    """``spec`` with another model. changes: fields of the record."""
    return replace(spec, record=replace(spec.record, model=model, **changes))


class TextAlone(GPT2LMHeadModel):
    """GPT-2 without cross-attention, which only an adapter can add. It has no fault."""

    def __init__(self, config):
        super().__init__(config.replace(add_cross_attention=False))
        self.config = config


TEXT_ALONE = like(GPT2_SPEC, TextAlone)


@dataclass(frozen=True)
class Fault:
    """A backbone with one fault, and the law that catches it."""

    law: str
    name: str
    spec: BackboneSpec


FAULTS: list[Fault] = []


def caught_by(
    law: str, base: BackboneSpec | None = None, *, spec: dict[str, Any] | None = None, **changes: Any
) -> Callable[[type], type]:
    """The decorated model breaks this law.

    base: the spec of the backbone without the fault; None for the spec of the toy. spec: changed fields of the spec.
    changes: changed fields of the record.
    """

    def add(model):
        toy = DECODER if issubclass(model, ToyDecoder) else ENCODER
        FAULTS.append(Fault(law, model.__name__, replace(like(base or toy, model, **changes), **(spec or {}))))
        return model

    return add


# contract


@caught_by("record", protocol=1)
class AnotherProtocol(ToyEncoder): ...


@caught_by("record", name="toybox")
class AnotherNameThanItsConfig(ToyDecoder): ...


@caught_by("record", spec={"configs": st.nothing()})
class NoSmallConfigs(ToyEncoder): ...


@model_config("toy")
class DroppingConfig(ToyConfig):
    def to_dict(self):
        return {name: value for name, value in super().to_dict().items() if name != "layers"}


@caught_by("config-round-trip")
class DropsAConfigField(ToyEncoder):
    config_class = DroppingConfig


@model_config("toy")
class RenamingConfig(ToyConfig):
    def to_dict(self):
        return {"n_head" if name == "heads" else name: value for name, value in super().to_dict().items()}


@caught_by("config-round-trip")
class RenamesAConfigField(ToyDecoder):
    config_class = RenamingConfig


@model_config("toy")
class RoundingConfig(ToyConfig):
    eps: float = attrs.field(default=1e-5, converter=lambda value: round(value, 4))


@caught_by("config-round-trip")
class RoundsAConfigField(ToyEncoder):
    config_class = RoundingConfig


@model_config("toy")
class CoercingConfig(ToyConfig):
    layers: int = attrs.field(default=2, converter=int)


@caught_by("config-types")
class CoercesAConfigField(ToyDecoder):
    config_class = CoercingConfig


@model_config("toy")
class LenientConfig(ToyConfig):
    @classmethod
    def from_dict(cls, data, where="config"):
        return super().from_dict({**data, "bias": data.get("bias") in (True, "True", "true", 1)}, where)


@caught_by("config-types")
class CoercesWhatItReads(ToyEncoder):
    config_class = LenientConfig


@model_config("vit")
class OtherDefaultConfig(ViTConfig):
    layer_norm_eps: float = field.number(1e-6, above=0.0)


@caught_by("config-reference", VIT_SPEC)
class AnotherDefaultThanTheReference(ViTModel):
    config_class = OtherDefaultConfig


@caught_by("build")
class ReadsAValueWhileItIsBuilt(ToyEncoder):
    def __init__(self, config):
        super().__init__(config)
        self.rates = [rate.item() for rate in torch.linspace(0, 0.1, config.layers)]


@caught_by("attributes")
class NoSizes(ToyDecoder):
    def __init__(self, config):
        super().__init__(config)
        del self.sizes


@caught_by("attributes")
class TooFewLayersInItsSizes(ToyDecoder):
    def __init__(self, config):
        super().__init__(config)
        self.sizes = replace(self.sizes, layers=self.sizes.layers[1:])


@caught_by("attributes")
class MakesALayerTooMany(ToyDecoder):
    def make_cross(self):
        return super().make_cross().append(nn.Identity())


@caught_by("attributes")
class NormsInItsForward(ToyDecoder):
    def __init__(self, config):
        super().__init__(config)
        self.last_norm = self.norm
        del self.norm

    def forward(self, input_ids, step, /, *, inputs_embeds=None):
        return self.last_norm(self.blocks(self.embed(input_ids, step, inputs_embeds=inputs_embeds), step, self.cross))


@caught_by("names")
class ForgetsATensor(ToyEncoder):
    keymap = KeyMap(rules=(), dropped=("norm",))


@caught_by("names")
class OneNameForTwoTensors(ToyDecoder):
    keymap = KeyMap(rules=(Rule("blocks.{i}.mlp_norm", "blocks.{i}.attention_norm"),))


@caught_by("names")
class AnAliasHidesAName(ToyEncoder):
    keymap = KeyMap(rules=(), aliases=(("norm", "final_norm"),))


class Scaled(nn.Module):
    """A factor and a shift that are saved buffers, like the running statistics of a BatchNorm."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("factor", torch.ones(width, device="cpu"))
        self.register_buffer("shift", torch.ones(width, device="cpu"))

    def forward(self, x):
        return x * self.factor + self.shift


class WithBuffers(ToyEncoder):
    def __init__(self, config):
        super().__init__(config)
        self.scaled = Scaled(config.hidden_size)

    def between(self, x):
        return self.scaled(x)


@caught_by("names")
class OneNameForTwoBuffers(WithBuffers):
    keymap = KeyMap(rules=(Rule("scaled.shift", "scaled.factor"),))


# shapes


@caught_by("shapes")
class TransposedStates(ToyEncoder):
    def between(self, x):
        return x.transpose(1, 2)


@caught_by("shapes")
class RowsAfterTokens(ToyDecoder):
    def between(self, x):
        return x.transpose(0, 1)


@caught_by("shapes")
class AStateTooMany(ToyEncoder):
    def between(self, x):
        return torch.cat([x, x[:, :1]], dim=1)


@caught_by("shapes")
class NoNumberForABlankImage(ToyEncoder):
    def forward(self, pixel_values, /, **options):
        mean, deviation = pixel_values.mean((1, 2, 3), True), pixel_values.std((1, 2, 3), keepdim=True)
        return super().forward((pixel_values - mean) / deviation, **options)


@caught_by("last-position")
class MorePositionsThanItsTable(ToyDecoder):
    def __init__(self, config):
        super().__init__(config)
        self.sizes = replace(self.sizes, max_positions=config.max_positions + 1)


@caught_by("largest-ids")
class MorePositionIdsThanItsTable(ToyDecoder):
    def __init__(self, config):
        super().__init__(config)
        self.sizes = replace(self.sizes, position_ids=config.max_positions + 1)


@caught_by("largest-ids")
class RefusesTheTokenTypesOfItsSizes(ToyDecoder):
    def __init__(self, config):
        super().__init__(config)
        self.sizes = replace(self.sizes, token_types=2)

    def embed(self, input_ids, step, /, **options):
        if step.token_types is not None:
            raise InputError("no token types")
        return super().embed(input_ids, step, **options)


@caught_by("stateless")
class CachesOnTheModule(ToyDecoder):
    def between(self, x):
        self.last = x.detach()
        return x


@caught_by("stateless")
class CachesInAList(ToyEncoder):
    def __init__(self, config):
        super().__init__(config)
        self.seen = []

    def between(self, x):
        self.seen.append(x.detach())
        return x


@caught_by("stateless")
class CachesInADict(ToyEncoder):
    def __init__(self, config):
        super().__init__(config)
        self.memo = {"states": None}

    def between(self, x):
        self.memo["states"] = x.detach()
        return x


@caught_by("stateless")
class CountsItsCallsAndAddsThem(ToyEncoder):
    calls = 0

    def between(self, x):
        self.calls += 1
        return x + self.calls


@caught_by("trace")
class NeverCallsTheTrace(ToyEncoder):
    def step(self, mask, trace):
        return super().step(mask, None)


@caught_by("trace")
class HandsAStepOnWithoutItsTrace(ToyDecoder):
    def read(self, step, x):
        return replace(step, trace=None)


@model_config("toy")
class UndrawnDefaultConfig(ToyConfig):
    eps: float = field.number(1e-4, above=0.0)


@caught_by("shapes")
class NoNumberForItsDefault(ToyEncoder):
    config_class = UndrawnDefaultConfig

    def between(self, x):
        return x / (self.config.eps - 1e-4)


@caught_by("deterministic")
class DropoutInEval(ToyDecoder):
    def between(self, x):
        return F.dropout(x, 0.1, training=True)


@caught_by("composition")
class ScalesInItsForward(ToyDecoder):
    def forward(self, input_ids, step, /, **options):
        return 2 * super().forward(input_ids, step, **options)


@caught_by("composition")
class AddsTheTokensAgainInItsForward(ToyDecoder):
    def forward(self, input_ids, step, /, *, inputs_embeds=None):
        x = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        return x + super().forward(input_ids, step, inputs_embeds=inputs_embeds)


@caught_by("batch-independence")
class SharesAMeanBetweenImages(ToyEncoder):
    def between(self, x):
        return x - x.mean(0, keepdim=True) / 2


@caught_by("batch-independence")
class SharesAMeanBetweenRows(ToyDecoder):
    def between(self, x):
        return x - x.mean((0, 1), keepdim=True) / 2


@caught_by("causality")
class LeaksTheFuture(ToyDecoder):
    def read(self, step, x):
        return replace(step, mask=None)


@caught_by("looks-at-the-image")
class NeverLooksAtTheImage(ToyDecoder):
    def read(self, step, x):
        return replace(step, memory=None)


@caught_by("memory-mask")
class IgnoresTheMemoryMask(ToyDecoder):
    def read(self, step, x):
        memory = step.memory
        return replace(step, memory=memory and Memory(memory.layers, None, memory.rows))


@caught_by("token-mask")
class IgnoresTheTokenMask(ToyDecoder):
    def read(self, step, x):
        return replace(step, mask=causal_mask(step.slots, step.extent))


@caught_by("token-mask")
class IgnoresThePositionsOfAStep(ToyDecoder):
    def read(self, step, x):
        return replace(step, positions=None)


@caught_by("state-mask")
class IgnoresThePixelMask(ToyEncoder):
    def forward(self, pixel_values, /, *, pixel_mask=None, **options):
        return super().forward(pixel_values, **options)


@caught_by("state-mask", spec={"claims": ()})
class MasksPixelsAndNotStates(ToyEncoder):
    def forward(self, pixel_values, /, *, pixel_mask=None, **options):
        output = super().forward(pixel_values, pixel_mask=pixel_mask, **options)
        return replace(output, mask=None if pixel_mask is None else pixel_mask.flatten(1))


@caught_by("state-mask", spec={"claims": ()})
class SaysThatAllStatesCount(ToyEncoder):
    def forward(self, pixel_values, /, *, pixel_mask=None, **options):
        output = super().forward(pixel_values, **options)
        mask = None if pixel_mask is None else torch.ones(output.states.shape[:2], dtype=torch.bool)
        return replace(output, mask=mask)


@caught_by("pixel-mask")
class MasksWhatItReturnsAlone(ToyEncoder):
    def step(self, mask, trace):
        return Step(trace=trace)


@caught_by("resize")
class RefusesAnotherSize(ToyEncoder):
    def forward(self, pixel_values, /, *, interpolate_pos_encoding=False, **options):
        return super().forward(pixel_values, **options)


class UncheckedSize(PatchEmbeddings):
    def forward(self, pixel_values, *tokens, interpolate_pos_encoding):
        if interpolate_pos_encoding:
            return super().forward(pixel_values, *tokens, interpolate_pos_encoding=True)
        x, grid = self.patches(pixel_values)
        return x + self.positions, grid


@caught_by("resize")
class DoesNotCheckTheSize(ToyEncoder):
    def __init__(self, config):
        super().__init__(config)
        self.embeddings.__class__ = UncheckedSize


class UncheckedPatches(nn.Module):
    def __init__(self, projection):
        super().__init__()
        self.projection = projection

    def forward(self, pixel_values):
        x = self.projection(pixel_values)
        return x.flatten(2).transpose(1, 2), x.shape[2:]


@caught_by("shape-errors")
class TorchsErrorForAnotherNumberOfChannels(ToyEncoder):
    def __init__(self, config):
        super().__init__(config)
        self.embeddings.patches = UncheckedPatches(self.embeddings.patches.projection)


@caught_by("inputs-embeds")
class ScalesEmbeddingsTwice(ToyDecoder):
    def embed(self, input_ids, step, /, *, inputs_embeds=None):
        return super().embed(input_ids, step, inputs_embeds=None if inputs_embeds is None else 2 * inputs_embeds)


@caught_by("inputs-embeds")
class WidensEmbeddingsInEmbed(ToyDecoder):
    def __init__(self, config):
        super().__init__(config)
        self.token_embedding = nn.Embedding(config.vocab_size, 4)
        self.widen = nn.Linear(4, config.hidden_size)

    def embed(self, input_ids, step, /, *, inputs_embeds=None):
        narrow = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        return super().embed(None, step, inputs_embeds=self.widen(narrow))


@caught_by("bfloat16")
class MakesAFloat32Tensor(ToyEncoder):
    def between(self, x):
        return x + torch.ones(x.shape[-1], device=x.device)


@caught_by("gradients")
class UnusedParameter(ToyEncoder):
    def __init__(self, config):
        super().__init__(config)
        self.scale = nn.Parameter(torch.ones(config.hidden_size))


@caught_by("gradients")
class DetachedStates(ToyDecoder):
    def between(self, x):
        return x.detach()


@caught_by("gradients")
class ReadsAPartThatAFileMayLack(ToyEncoder):
    keymap = KeyMap(rules=(), optional=("norm",))


@caught_by("pickles")
class KeepsALambda(ToyDecoder):
    def __init__(self, config):
        super().__init__(config)
        self.between = lambda x: 2 * x


@caught_by("swapped-linear")
class ReadsAWeightPastItsModule(ToyEncoder):
    def __init__(self, config):
        super().__init__(config)
        self.out = nn.Linear(config.hidden_size, config.hidden_size)

    def between(self, x):
        return F.linear(x, self.out.weight, self.out.bias)


# parity


@caught_by("parity", VIT_SPEC)
class AnotherEps(ViTModel):
    def __init__(self, config):
        super().__init__(config)
        self.norm.eps = 10 * config.layer_norm_eps


@caught_by("parity", GPT2_SPEC)
class AnotherScale(GPT2LMHeadModel):
    def __init__(self, config):
        super().__init__(config)
        self.blocks[0].attention.scale *= 1.1


@caught_by("parity", GPT2_SPEC)
class AnotherActivation(GPT2LMHeadModel):
    def __init__(self, config):
        super().__init__(config)
        self.blocks[0].mlp.act = F.gelu


# cache


@caught_by("cache")
class CountsPositionsFromZero(ToyDecoder):
    def read(self, step, x):
        counted = torch.arange(x.shape[1], device=x.device)[None]
        return replace(step, positions=counted if step.positions is None else step.positions)


@caught_by("unequal-rows")
class TakesTheSlotsOfTheFirstRow(ToyDecoder):
    def read(self, step, x):
        return replace(step, positions=step.slots[:1] if step.positions is None else step.positions)


def memory_of_rows(memory, rows):
    """``memory`` repeated to ``rows`` rows, in the order image 0, 1, ..., 0, 1, ..."""
    times = rows // memory.layers[0][0].shape[0]
    mask = None if memory.mask is None else memory.mask.repeat(times, 1)
    return Memory(tuple((k.repeat(times, 1, 1, 1), v.repeat(times, 1, 1, 1)) for k, v in memory.layers), mask)


@caught_by("shared-memory")
class RepeatsTheMemoryInAnotherOrder(ToyDecoder):
    def read(self, step, x):
        return replace(step, memory=step.memory and memory_of_rows(step.memory, len(x)))


@caught_by("shared-memory")
class ExpectsKeysForEachRow(ToyDecoder):
    def read(self, step, x):
        if step.memory is not None and len(step.memory.layers[0][0]) != len(x):
            raise InputError("keys and rows differ in number")
        return step


@caught_by("shared-memory")
class IgnoresWhichImageARowNames(ToyDecoder):
    def read(self, step, x):
        return replace(step, memory=step.memory and Memory(step.memory.layers, step.memory.mask))


@caught_by("prepared")
class SetsANumberThatAnotherModuleReads(ToyDecoder):
    def __init__(self, config):
        super().__init__(config)
        self.scale = 1.0

    def embed(self, input_ids, step, /, **options):
        self.scale = 2.0
        return super().embed(input_ids, step, **options)

    def between(self, x):
        scale, self.scale = self.scale, 1.0
        return scale * x


@caught_by("compile")
class ReadsAValue(ToyEncoder):
    def between(self, x):
        return x * (2 if x.sum().item() > 1e9 else 1)


@caught_by("compile")
class ReadsAValueWhereThereIsACache(ToyDecoder):
    def read(self, step, x):
        if step.cache is not None and bool((step.slots >= self.sizes.max_positions).any()):
            raise InputError("too many tokens")
        return step


@caught_by("compile")
class LooksAtTheClock(ToyEncoder):
    def between(self, x):
        time.thread_time()
        return x


@caught_by("export")
class ReadsAValueUnlessDynamoLooks(ToyEncoder):
    def between(self, x):
        if not torch.compiler.is_dynamo_compiling() and not x.is_meta and bool(x.isnan().any()):
            raise InputError("not a number")
        return x


@caught_by("meta")
class MakesATensorOnTheCpu(ToyEncoder):
    def between(self, x):
        return x + torch.ones(x.shape[-1], dtype=x.dtype, device="cpu")


@caught_by("meta")
class MakesATensorWithoutADevice(ToyDecoder):
    def read(self, step, x):
        positions = step.slots if step.positions is None else step.positions
        return replace(step, positions=positions + torch.zeros(x.shape[1], dtype=torch.long))


# files


@caught_by("save-and-load")
class SavesNoNorm(ToyEncoder):
    def sections(self):
        return [Section("", self, self.keymap, without=("norm",))]


@caught_by("save-and-load")
class SavesNoBuffer(WithBuffers):
    def sections(self):
        return [Section("", self, self.keymap, without=("scaled",))]


@caught_by("save-and-load")
class KeepsATensorOutsideItsParameters(ToyDecoder):
    def __init__(self, config):
        super().__init__(config)
        self.shift = torch.randn(config.hidden_size).tolist() if torch.get_default_device().type == "cpu" else [0.0]

    def between(self, x):
        return x + sum(self.shift)


class Lenient:
    """Accepts a file with surplus or missing tensors."""

    missing_ok: tuple[str, ...] = ()
    hides: Literal["", "surplus"] = ""

    @classmethod
    def from_pretrained(cls, folder, **options):
        with without_storage():
            part = cls(cls.config_class.from_pretrained(folder))
        keymap = replace(cls.keymap, dropped=(cls.hides,) if cls.hides else ())
        load_sections([Section("", part, keymap)], Path(folder), missing_ok=cls.missing_ok)
        return part.eval()


@caught_by("strict-load")
class LoadsAFileThatLacksATensor(Lenient, ToyEncoder):
    missing_ok = ("norm.weight", "norm.bias")


@caught_by("strict-load")
class LoadsAFileWithOneMoreTensor(Lenient, ToyDecoder):
    hides = "surplus"


@caught_by("reference-loads", VIT_SPEC)
class WritesNamesOfItsOwn(ViTModel):
    keymap = replace(
        VIT_KEYMAP,
        rules=(*VIT_KEYMAP.rules[:-1], Rule("final_norm", "norm")),
        aliases=(*VIT_KEYMAP.aliases, ("layernorm", "final_norm")),
    )


@model_config("gpt2")
class SmallerConfig(GPT2Config):
    def to_dict(self):
        return {name: value for name, value in super().to_dict().items() if name != "scale_attn_weights"}


@caught_by("config-round-trip", GPT2_SPEC)
class DropsAFieldOfTheReference(GPT2LMHeadModel):
    config_class = SmallerConfig
