"""KeyMap: names on disk and names here, both ways, as data."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from vedcore import CheckpointError, ConfigError, KeyMap, Part, Rule
from vedcore.config import Config, model_config
from vedcore.part import without_storage
from vedcore.storage.keymap import Place
from vedcore_plugin_gpt2 import GPT2Config, GPT2LMHeadModel
from vedcore_plugin_vit import ViTConfig, ViTModel


def tiny_vit():
    return ViTModel(
        ViTConfig(
            hidden_size=6, num_hidden_layers=12, num_attention_heads=2, intermediate_size=5, image_size=4, patch_size=2
        )
    )


def tiny_gpt2(**fields):
    sizes = {"vocab_size": 11, "n_positions": 7, "n_embd": 6, "n_layer": 12, "n_head": 2, "n_inner": 5}
    return GPT2LMHeadModel(GPT2Config(**{**sizes, "add_cross_attention": True, **fields}))


PARTS = {
    "vit": tiny_vit,
    "gpt2": tiny_gpt2,
    "gpt2-untied": lambda: tiny_gpt2(tie_word_embeddings=False, add_cross_attention=False),
}

MAP = KeyMap(
    rules=(
        Rule("layer.{i}.dense", "blocks.{i}.up"),
        Rule("layer.{i}.mlp", "blocks.{i}.down", transposed=True),
        Rule("layer.{i}.qkv", "blocks.{i}.q", "blocks.{i}.k", "blocks.{i}.v", transposed=True),
        Rule("layer.{i}", "blocks.{i}"),
        Rule("stage.{i}.part.{j}.w", "stages.{j}.{i}.w"),
        Rule("any.{path}.gamma", "other.{path}.weight"),
    ),
    aliases=(("LayerNorm", "norm"), ("norm.gamma", "norm.weight"), ("old.{i}", "layer.{i}")),
    dropped=("head", "layer.{i}.mask", "norm.stray"),
    prefixes=("model.", "model.deeper."),
)


@pytest.mark.parametrize(
    ("ours", "place"),
    [
        ("blocks.0.up.weight", Place("layer.0.dense.weight")),
        ("blocks.12.up", Place("layer.12.dense")),
        ("blocks.3.down.weight", Place("layer.3.mlp.weight", 0, 1, True)),
        ("blocks.3.q.bias", Place("layer.3.qkv.bias", 0, 3, True)),
        ("blocks.3.k.bias", Place("layer.3.qkv.bias", 1, 3, True)),
        ("blocks.3.v.bias", Place("layer.3.qkv.bias", 2, 3, True)),
        ("blocks.3.other", Place("layer.3.other")),
        ("stages.1.2.w", Place("stage.2.part.1.w")),
        ("other.a.b.3.weight", Place("any.a.b.3.gamma")),
        ("blocks.x.up", Place("blocks.x.up")),
        ("blocks.3.upper", Place("layer.3.upper")),
        ("my.blocks.3.up", Place("my.blocks.3.up")),
        ("other.weight", Place("other.weight")),
        ("unmapped", Place("unmapped")),
    ],
)
def test_a_rule_maps_a_dotted_prefix_and_the_first_that_fits_wins(ours, place):
    assert MAP.to_theirs(ours) == place


@pytest.mark.parametrize(
    ("theirs", "canonical"),
    [
        ("layer.0.dense.weight", "layer.0.dense.weight"),
        ("LayerNorm.gamma", "norm.weight"),
        ("LayerNorm.bias", "norm.bias"),
        ("norm.gamma", "norm.weight"),
        ("norm.gammas", "norm.gammas"),
        ("old.4.dense.bias", "layer.4.dense.bias"),
        ("old.x", "old.x"),
        ("head.weight", None),
        ("head", None),
        ("header.weight", "header.weight"),
        ("layer.3.mask", None),
        ("old.3.mask", None),
        ("LayerNorm.stray", None),
        ("model.head.weight", None),
        ("model.layer.0.dense.weight", "layer.0.dense.weight"),
        ("model.deeper.x", "deeper.x"),
        ("deeper.model.x", "deeper.model.x"),
    ],
)
def test_a_name_on_disk_has_one_canonical_spelling_or_carries_nothing(theirs, canonical):
    assert MAP.canonical(theirs) == canonical


@given(st.text(max_size=30) | st.lists(st.sampled_from(["layer", "old", "3", "mask", "", "qkv"])).map(".".join))
def test_any_text_has_an_answer(name):
    assert isinstance(MAP.to_theirs(name), Place)
    assert MAP.canonical(name) is None or isinstance(MAP.canonical(name), str)


def test_a_map_without_rules_changes_nothing():
    assert KeyMap(()).to_theirs("a.0.b") == Place("a.0.b")
    assert KeyMap(()).canonical("a.0.b") == "a.0.b"


@pytest.mark.parametrize("name", PARTS)
def test_no_two_tensors_of_a_part_share_a_place_and_pieces_are_complete(name):
    with without_storage():
        part = PARTS[name]()
    places = [part.keymap.to_theirs(key) for key, _ in part.named_parameters(remove_duplicate=False)]
    assert len({(place.name, place.index) for place in places}) == len(places)
    for place in places:
        assert sum(other.name == place.name for other in places) == place.count
        assert 0 <= place.index < place.count


@pytest.mark.parametrize("name", PARTS)
def test_every_name_that_a_part_writes_is_its_own_canonical_spelling(name):
    with without_storage():
        part = PARTS[name]()
    for key, _ in part.named_parameters(remove_duplicate=False):
        written = part.keymap.to_theirs(key).name
        assert part.keymap.canonical(written) == written
        for prefix in part.keymap.prefixes:
            assert part.keymap.canonical(prefix + written) == written


@pytest.mark.parametrize("name", PARTS)
def test_every_alias_leads_to_a_name_that_some_tensor_has(name):
    with without_storage():
        part = PARTS[name]()
    written = {part.keymap.to_theirs(key).name for key, _ in part.named_parameters(remove_duplicate=False)}
    for _, canonical in part.keymap.aliases:
        prefix = canonical.replace("{i}", "11")
        assert any(key == prefix or key.startswith(prefix + ".") for key in written), canonical


@model_config("table")
class TableConfig(Config):
    """Nothing."""


class Table(Part[TableConfig]):
    """A part with a table of positions and the kernel of a convolution, both of another shape on disk."""

    config_class = TableConfig
    keymap = KeyMap(
        rules=(
            Rule("position_embedding.weight", "positions", reshaped="1 n d -> n d"),
            Rule("patches", "kernel", reshaped="d c h w -> d (c h w)"),
        )
    )

    def __init__(self, config):
        super().__init__(config)
        self.positions = nn.Parameter(torch.randn(1, 5, 4))
        self.kernel = nn.Conv2d(3, 4, (2, 6))


def test_a_reshaped_tensor_has_the_shape_of_the_rule_on_disk_and_comes_back_equal(tmp_path):
    part = Table(TableConfig())
    part.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in stored.items()} == {
        "position_embedding.weight": (5, 4),
        "patches.weight": (4, 36),
        "patches.bias": (4,),
    }
    assert torch.equal(stored["patches.weight"].view(4, 3, 2, 6), part.kernel.weight)
    loaded = Table.from_pretrained(tmp_path)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(part.parameters(), loaded.parameters(), strict=True))


def test_a_reshaped_tensor_of_another_size_is_reported_with_the_shape_on_disk(tmp_path):
    part = Table(TableConfig())
    part.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    save_file({**stored, "patches.weight": torch.zeros(4, 35)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"patches.weight: \(4, 35\), want \(4, 36\)"):
        Table.from_pretrained(tmp_path)


@pytest.mark.parametrize("reshaped", ["n d -> d n", "n d -> n", "n d", "n d -> n e"])
def test_a_rule_that_changes_the_order_of_the_axes_is_refused(reshaped):
    with pytest.raises(ConfigError, match="in the same order on both sides") as raised:
        Rule("table", "table", reshaped=reshaped)
    assert raised.value.found == reshaped
