"""Saving checks what it writes: tensors that loading would not accept are named, and no file is touched."""

import copy

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.test_pruning import DECODERS, ENCODERS, build, outputs
from vedcore import KeyMap, SaveError, VisionEncoderDecoderModel
from vedcore.config import Config, field, model_config
from vedcore.model.adapters import Inserted
from vedcore.nn import Linear
from vedcore.part import Part
from vedcore_plugin_gpt2 import GPT2Config, GPT2LMHeadModel
from vedcore_plugin_vit import ViTModel


class Packed(nn.Module):
    """A linear layer whose weight is stored as bytes."""

    def __init__(self, linear):
        super().__init__()
        self.register_buffer("packed", linear.weight.detach().to(torch.int8))
        self.register_buffer("scale", torch.ones(linear.out_features))
        self.bias = linear.bias

    def forward(self, x):
        return nn.functional.linear(x, self.packed.to(x.dtype) * self.scale[:, None], self.bias)


class LoRA(nn.Module):
    """A linear layer inside a wrapper that adds a product of two small matrices."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.down = nn.Parameter(torch.zeros(2, base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, 2))

    def forward(self, x):
        return self.base(x) + x @ self.down.T @ self.up.T


def vit():
    return ViTModel(ENCODERS["vit"].replace())


def pack_an_mlp(part):
    part.blocks[1].mlp.up = Packed(part.blocks[1].mlp.up)
    return {
        "1 missing (blocks.1.mlp.up.weight)",
        "2 unexpected (blocks.1.mlp.up.packed, blocks.1.mlp.up.scale)",
    }, ("blocks.1.mlp.up.weight", (20, 16), None)


def wrap_a_query(part):
    part.blocks[0].attention.query = LoRA(part.blocks[0].attention.query)
    path = "blocks.0.attention.query"
    return {
        f"2 missing ({path}.bias, {path}.weight)",
        f"4 unexpected ({path}.base.bias, {path}.base.weight, {path}.down, {path}.up)",
    }, (f"{path}.bias", (16,), None)


class Compiled(nn.Module):
    """What torch.compile makes of a module, as far as names go."""

    def __init__(self, module):
        super().__init__()
        self._orig_mod = module


def compile_a_block(part):
    part.blocks[2] = Compiled(part.blocks[2])
    return {"16 missing (blocks.2.", "16 unexpected (blocks.2._orig_mod."}, ("blocks.2.attention.key.bias", (16,), None)


def parametrize_a_weight(part):
    nn.utils.parametrizations.weight_norm(part.blocks[0].mlp.down)
    path = "blocks.0.mlp.down"
    return {
        f"1 missing ({path}.weight)",
        f"{path}.parametrizations.weight.original0",
    }, (f"{path}.weight", (16, 20), None)


def add_a_parameter(part):
    part.temperature = nn.Parameter(torch.ones(3))
    return {"1 unexpected (temperature)"}, ("temperature", None, (3,))


def add_a_parameter_whose_name_loading_drops(part):
    part.classifier = nn.Linear(16, 3, bias=False)
    return {"1 unexpected (classifier.weight)"}, ("classifier.weight", None, (3, 16))


def widen_an_mlp(part):
    part.blocks[0].mlp.up = Linear(16, 24)
    return {
        "2 of another shape (blocks.0.mlp.up.bias: (24,), want (20,), blocks.0.mlp.up.weight: (24, 16), want (20, 16))",
    }, ("blocks.0.mlp.up.weight", (20, 16), (24, 16))


def add_a_layer(part):
    part.blocks.append(copy.deepcopy(part.blocks[0]))
    return {"16 unexpected (blocks.3."}, ("blocks.3.attention.key.bias", None, (16,))


def halve_a_pooler(part):
    part.pooler.dense.bias = None
    return {"1 missing (pooler.dense.bias)"}, ("pooler.dense.bias", (16,), None)


def cast_a_weight_to_integers(part):
    part.norm.weight = nn.Parameter(torch.ones(16, dtype=torch.int8), requires_grad=False)
    return {"norm.weight is torch.int8, expected torch.float32"}, ("norm.weight", torch.float32, torch.int8)


def make_a_weight_sparse(part):
    weight = part.blocks[0].mlp.up.weight.detach().to_sparse()
    part.blocks[0].mlp.up.weight = nn.Parameter(weight)
    found = "Parameter (torch.sparse_coo, torch.float32)"
    return {f"blocks.0.mlp.up.weight is a {found}, expected a plain dense tensor"}, (
        "blocks.0.mlp.up.weight",
        "a plain dense tensor",
        found,
    )


def lose_the_values(part):
    part.norm.to("meta")
    return {"norm.weight has no values", "norm.bias has no values"}, ("norm.weight", "values", "a meta tensor")


def share_what_the_config_keeps_apart(part):
    part.blocks[1].mlp.up.weight = part.blocks[0].mlp.up.weight
    names = "blocks.0.mlp.up.weight", "blocks.1.mlp.up.weight"
    return {f"{names[0]} and {names[1]} are one tensor, but the config describes 2"}, (
        names[1],
        "a tensor of its own",
        f"the tensor {names[0]}",
    )


CHANGES = [
    pack_an_mlp,
    wrap_a_query,
    compile_a_block,
    parametrize_a_weight,
    add_a_parameter,
    add_a_parameter_whose_name_loading_drops,
    widen_an_mlp,
    add_a_layer,
    halve_a_pooler,
    cast_a_weight_to_integers,
    make_a_weight_sparse,
    lose_the_values,
    share_what_the_config_keeps_apart,
]


@pytest.fixture
def saved(tmp_path):
    """A folder with a saved part, and a function that says whether it is still the same."""
    folder = tmp_path / "model"
    vit().save_pretrained(folder)

    def snapshot():
        return {path.name: path.read_bytes() for path in folder.iterdir()}, list(tmp_path.iterdir())

    before = snapshot()
    return folder, lambda: snapshot() == before


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("whole", [False, True], ids=["part", "whole model"])
def test_a_change_that_loading_would_refuse_is_named_and_nothing_is_written(saved, change, whole):
    folder, is_unchanged = saved
    model = build() if whole else vit()
    lines, (tensor, expected, found) = change(model.encoder if whole else model)
    prefix = "encoder." if whole else ""
    with pytest.raises(SaveError, match="is not saved, because it could not be loaded again") as error:
        model.save_pretrained(folder)
    message = str(error.value).replace("encoder.", "") if whole else str(error.value)
    for line in lines:
        assert line in message
    assert (error.value.tensor, error.value.expected) == (prefix + tensor, expected)
    assert error.value.found in (found, str(found).replace("the tensor ", f"the tensor {prefix}"))
    assert error.value.file == str(folder)
    assert str(folder) in str(error.value)
    assert is_unchanged()


def test_a_folder_that_did_not_exist_is_not_made(tmp_path):
    model = vit()
    add_a_parameter(model)
    with pytest.raises(SaveError):
        model.save_pretrained(tmp_path / "a" / "model")
    assert list(tmp_path.iterdir()) == []


def test_the_message_says_what_to_do(tmp_path):
    model = build(decoder="gpt2")
    model.decoder.blocks[0].mlp.up = LoRA(model.decoder.blocks[0].mlp.up)
    with pytest.raises(SaveError, match=r"Merge or unwrap layers that were replaced .*LoRA") as error:
        model.save_pretrained(tmp_path / "model")
    assert "decoder.blocks.0.mlp.up.weight" in str(error.value)
    assert "VisionEncoderDecoderModel is not saved" in str(error.value)


def test_all_problems_of_a_whole_model_are_named_at_once(tmp_path):
    model = build("deit", "gpt2")
    pack_an_mlp(model.encoder)
    model.decoder.cross[0].attention.query = LoRA(model.decoder.cross[0].attention.query)
    model.decoder.token_embedding = nn.Embedding(30, 16)
    model.bridge.extra = nn.Parameter(torch.zeros(2))
    with pytest.raises(SaveError) as error:
        model.save_pretrained(tmp_path / "model")
    for name in (
        "encoder.blocks.1.mlp.up.packed",
        "decoder.cross.0.attention.query.weight",
        "decoder.token_embedding.weight: (30, 16), want (21, 16)",
        "bridge.extra",
    ):
        assert name in str(error.value)


@pytest.mark.parametrize("decoder", ["gpt2", "bert", "bart"])
def test_an_embedding_that_was_resized_by_hand_is_refused_and_one_that_the_model_resized_is_saved(tmp_path, decoder):
    model = build(decoder=decoder)
    changed = copy.deepcopy(model)
    changed.decoder.token_embedding = nn.Embedding(30, 16)
    with pytest.raises(SaveError, match=r"token_embedding\.weight.*resize_token_embeddings"):
        changed.save_pretrained(tmp_path / "changed")
    model.resize_token_embeddings(30)
    model.save_pretrained(tmp_path / "model")
    assert torch.equal(outputs(VisionEncoderDecoderModel.from_pretrained(tmp_path / "model"))[1], outputs(model)[1])


# Ties.


def gpt2(**fields):
    return GPT2LMHeadModel(GPT2Config(vocab_size=11, n_positions=7, n_embd=6, n_layer=1, n_head=2, **fields))


def test_a_broken_tie_is_refused_unless_the_values_are_equal(tmp_path):
    part = gpt2()
    part.lm_head.weight = nn.Parameter(part.token_embedding.weight.detach().clone())
    part.save_pretrained(tmp_path)
    again = GPT2LMHeadModel.from_pretrained(tmp_path)
    assert again.lm_head.weight is again.token_embedding.weight
    assert torch.equal(again.lm_head.weight, part.lm_head.weight)

    before = (tmp_path / "model.safetensors").read_bytes()
    with torch.no_grad():
        part.lm_head.weight[0] += 1
    with pytest.raises(SaveError, match=r"token_embedding\.weight and lm_head\.weight differ, but are tied") as error:
        part.save_pretrained(tmp_path)
    assert error.value.tensor == "lm_head.weight"
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_a_tie_that_the_config_does_not_have_is_refused(tmp_path):
    part = gpt2(tie_word_embeddings=False)
    part.lm_head.weight = part.token_embedding.weight
    with pytest.raises(SaveError, match=r"token_embedding\.weight and lm_head\.weight are one tensor"):
        part.save_pretrained(tmp_path)
    part.lm_head.weight = nn.Parameter(part.token_embedding.weight.detach().clone())
    part.save_pretrained(tmp_path)
    assert torch.equal(GPT2LMHeadModel.from_pretrained(tmp_path).lm_head.weight, part.lm_head.weight)


def test_tied_weights_that_are_not_numbers_are_still_one_tensor(tmp_path):
    part = gpt2()
    with torch.no_grad():
        part.token_embedding.weight.fill_(float("nan"))
    part.save_pretrained(tmp_path)


# What is saved as it should be.


@pytest.mark.parametrize("adapter", ["linear", "gated"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_goes_there_and_back_with_every_adapter(tmp_path, decoder, adapter):
    model = build(decoder=decoder, adapter=adapter)
    model.save_pretrained(tmp_path)
    assert torch.equal(outputs(VisionEncoderDecoderModel.from_pretrained(tmp_path))[1], outputs(model)[1])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_goes_there_and_back_with_and_without_its_optional_module(tmp_path, encoder):
    model = build(encoder)
    model.save_pretrained(tmp_path)
    if hasattr(model.encoder, "pooler"):
        model.encoder.pooler = None
        model.save_pretrained(tmp_path)
        assert not any("pooler" in name for name in load_file(tmp_path / "model.safetensors"))
    assert torch.equal(outputs(VisionEncoderDecoderModel.from_pretrained(tmp_path))[1], outputs(model)[1])


def test_inserted_cross_attention_is_checked_by_its_own_names(tmp_path):
    model = build(decoder="distilbert")
    assert isinstance(model.decoder.cross, Inserted)
    model.decoder.cross[1].attention.value = Packed(model.decoder.cross[1].attention.value)
    with pytest.raises(SaveError, match=r"1 missing \(decoder\.cross\.1\.attention\.value\.weight\)"):
        model.save_pretrained(tmp_path)


def test_saving_draws_no_random_number_and_changes_neither_model_nor_config(tmp_path):
    model = build(decoder="gpt2", adapter="gated")
    config, names = copy.deepcopy(model.config), list(dict(model.named_parameters()))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    model.save_pretrained(tmp_path)
    model.encoder.save_pretrained(tmp_path / "encoder")
    assert torch.equal(torch.get_rng_state(), state)
    assert model.config == config
    assert list(dict(model.named_parameters())) == names
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_a_config_that_can_no_longer_be_built_is_a_save_error(tmp_path):
    model = vit()
    model.config.num_attention_heads = 3
    with pytest.raises(SaveError, match="nothing can be built from the config"):
        model.save_pretrained(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


# Parts that no plugin supplies.


@model_config("nobody-supplies-this")
class OwnConfig(Config):
    width: int = field.integer(16)


class OwnEncoder(Part[OwnConfig]):
    config_class = OwnConfig
    keymap = KeyMap(rules=())

    def __init__(self, config):
        super().__init__(config)
        self.hidden_size = config.width
        self.layer = nn.Linear(3, config.width)


class Protocol(nn.Module):
    """An encoder with only the protocol: no class attribute tells how it is built."""

    def __init__(self, config, size):
        super().__init__()
        self.config, self.hidden_size = config, config.width
        self.layer = nn.Linear(size, config.width)

    def sections(self):
        return OwnEncoder.sections(self)

    keymap = OwnEncoder.keymap


def test_a_part_that_no_plugin_supplies_is_built_from_its_own_class(tmp_path):
    model = VisionEncoderDecoderModel(encoder=OwnEncoder(OwnConfig()), decoder=build(decoder="gpt2").decoder)
    model.save_pretrained(tmp_path)
    model.decoder.blocks[0].mlp.up = LoRA(model.decoder.blocks[0].mlp.up)
    model.encoder.layer = LoRA(model.encoder.layer)
    with pytest.raises(SaveError) as error:
        model.save_pretrained(tmp_path)
    assert "encoder.layer.base.weight" in str(error.value)
    assert "decoder.blocks.0.mlp.up.base.weight" in str(error.value)


def test_a_module_that_nothing_can_build_again_is_saved_as_it_is(tmp_path):
    model = VisionEncoderDecoderModel(encoder=Protocol(OwnConfig(), 5), decoder=build(decoder="gpt2").decoder)
    model.save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors")["encoder.layer.weight"].shape == (16, 5)
