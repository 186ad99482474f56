"""BEiT alone against transformers 5.23, live; its files both ways; what its checkpoints are known for."""

import json
import tempfile

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tests.parity import assert_within, perturb
from vedcore import CheckpointError, ConfigError, InputError
from vedcore.contract.types import Recorder
from vedcore_plugin_beit import BeitConfig, BeitModel, vedcore_plugin
from vedcore_plugin_beit.bias import RelativeBias, offsets
from vedcore_plugin_beit.testing import config_fields

TINY = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 20, "image_size": 12,
    "patch_size": 4, "vocab_size": 11,
}  # fmt: skip
OWN, SHARED, ABSOLUTE = (
    {field: True}
    for field in ("use_relative_position_bias", "use_shared_relative_position_bias", "use_absolute_position_embeddings")
)
NAME = "relative_position_bias"


def theirs(fields, seed=0, cls=transformers.BeitModel):
    """A random transformers model with eager attention, in eval mode."""
    torch.manual_seed(seed)
    model = cls(transformers.BeitConfig(**fields)).eval()
    model.set_attn_implementation("eager")
    perturb(model, seed)
    return model


def load(reference):
    """Our model, loaded from the files of a transformers model."""
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(folder)
        return BeitModel.from_pretrained(folder)


def ours(fields, seed=0):
    """A random model of ours."""
    model = BeitModel(BeitConfig.from_dict(fields)).eval()
    perturb(model, seed)
    return model


def pixels(fields, batch=2, size=None):
    size = size or fields["image_size"]
    size = (size, size) if isinstance(size, int) else size
    return torch.randn(batch, fields.get("num_channels", 3), *size)


def write(folder, state, **config):
    """Write a checkpoint with these tensors."""
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "beit", **TINY, **config}))


def assert_same_weights(model, other):
    assert model.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


# Parity with transformers.


@given(config_fields(), st.sampled_from([1, 3]), st.integers(0, 99))
def test_states_hidden_states_attentions_and_the_pooled_state_equal(fields, batch, seed):
    reference = theirs(fields, seed)
    model, x, seen = load(reference), pixels(fields, batch), Recorder("hidden", "self")
    with torch.no_grad():
        expected = reference(x, output_hidden_states=True, output_attentions=True)
        output = model(x, trace=seen)
        assert_within(model(x).states, expected.last_hidden_state)
        pooled = model.pooler(output.states) if fields["use_mean_pooling"] else output.states[:, 0]
    assert_within(output.states, expected.last_hidden_state)
    assert_within(pooled, expected.pooler_output)
    for kind, tensors in (("hidden", expected.hidden_states), ("self", expected.attentions)):
        assert len(seen.all(kind)) == len(tensors) == fields["num_hidden_layers"] + (kind == "hidden")
        for a, b in zip(seen.all(kind), tensors, strict=True):
            assert_within(a, b)
    grid = tuple(side // fields["patch_size"] for side in fields["image_size"])
    assert (output.mask, output.grid, output.extra) == (None, grid, 1)
    assert output.states.shape == (batch, 1 + grid[0] * grid[1], model.hidden_size)


@given(config_fields(), st.tuples(st.integers(2, 25), st.integers(2, 25)), st.booleans(), st.integers(0, 99))
def test_other_image_sizes_give_the_states_of_transformers(fields, size, interpolate, seed):
    reference = theirs(fields, seed)
    size = [max(side, fields["patch_size"]) for side in size]
    model, x = load(reference), pixels(fields, size=size)
    with torch.no_grad():
        expected = reference(x, interpolate_pos_encoding=interpolate).last_hidden_state
        assert_within(model(x, interpolate_pos_encoding=interpolate).states, expected)
        assert torch.equal(model(x).states, model(x, interpolate_pos_encoding=True).states)


@given(config_fields(), st.integers(0, 99))
def test_transformers_loads_all_that_we_save(fields, seed):
    model, x = ours(fields, seed), pixels(fields)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        reference, info = transformers.BeitModel.from_pretrained(folder, output_loading_info=True)
        again = BeitModel.from_pretrained(folder)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        assert_within(model(x).states, reference(x).last_hidden_state)
    assert_same_weights(model, again)
    assert again.config.replace(extra={}) == model.config


@given(config_fields(), st.integers(0, 99))
def test_dropout_in_training_equals_that_of_transformers(fields, seed):
    rates = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.2, "drop_path_rate": 0.5}
    reference = theirs(fields | rates, seed)
    model, x = load(reference).train(), pixels(fields)
    torch.manual_seed(seed)
    expected = reference.train()(x).last_hidden_state.detach()
    torch.manual_seed(seed)
    assert_within(model(x).states.detach(), expected)


@pytest.mark.parametrize("size", [(12, 12), (8, 20)])
def test_gradients_equal(size):
    reference = theirs(TINY | OWN | SHARED | ABSOLUTE | {"use_mean_pooling": False})
    model, x = load(reference), pixels(TINY, size=size)
    (reference(x).last_hidden_state ** 2).sum().backward()
    (model(x).states ** 2).sum().backward()
    pairs = [
        (model.shared_bias.table, reference.shared_position_bias.relative_position_bias_table),
        (model.blocks[1].bias.table, reference.layers[1].relative_position_bias.relative_position_bias_table),
        (model.blocks[0].attention_scale.factor, reference.layers[0].lambda_1),
        (model.embeddings.positions, reference.embeddings.position_embeddings),
    ]
    for mine, other in pairs:
        assert_within(mine.grad, other.grad, 1e-4)


# The relative bias.


@pytest.mark.parametrize("grid", [(1, 1), (2, 2), (3, 3), (2, 4), (5, 1)])
def test_offsets_are_numbered_row_by_row_and_the_class_tokens_three_come_last(grid):
    height, width = grid
    index, last = offsets(grid, torch.device("cpu")), (2 * height - 1) * (2 * width - 1)
    assert index[0, 0] == last + 2
    assert bool((index[0, 1:] == last).all())
    assert bool((index[1:, 0] == last + 1).all())
    places = [(row, column) for row in range(height) for column in range(width)]
    for i, a in enumerate(places):
        for j, b in enumerate(places):
            assert index[1 + i, 1 + j] == (a[0] - b[0] + height - 1) * (2 * width - 1) + a[1] - b[1] + width - 1


def test_at_the_trained_size_of_square_images_the_bias_is_the_tables_own():
    bias = RelativeBias((3, 3), num_heads=2)
    torch.nn.init.normal_(bias.table)
    index = offsets((3, 3), torch.device("cpu"))
    got = bias((3, 3), index)
    assert got.shape == (1, 2, 10, 10)
    assert torch.equal(got[0].permute(1, 2, 0), bias.table[index])


def test_a_table_that_is_not_square_is_read_with_its_sides_exchanged_as_transformers_does():
    fields = TINY | OWN | {"image_size": [8, 16]}
    reference = theirs(fields)
    model, x, seen = load(reference), pixels(fields), Recorder("self")
    with torch.no_grad():
        expected = reference(x, output_attentions=True)
        assert_within(model(x, trace=seen).states, expected.last_hidden_state)
        assert_within(seen.all("self")[0], expected.attentions[0])
        bias, index = model.blocks[0].bias, offsets((2, 4), torch.device("cpu"))
        assert not torch.allclose(bias((2, 4), index)[0].permute(1, 2, 0), bias.table[index])
        sideways = bias((4, 2), index := offsets((4, 2), torch.device("cpu")))  # what the table is read as
        assert torch.equal(sideways[0].permute(1, 2, 0), bias.table[index])


def test_a_blocks_own_bias_and_the_shared_one_add_up():
    model, x, seen = ours(TINY | OWN | SHARED), pixels(TINY), Recorder("self")
    with torch.no_grad():
        model(x, trace=seen)
        before = seen.all("self")
        model.blocks[1].bias.table += model.shared_bias.table
        model.blocks[0].bias.table += model.shared_bias.table
        model.shared_bias.table.zero_()
        model(x, trace=seen)
    for a, b in zip(before, seen.all("self"), strict=True):
        assert_within(a, b)


def test_a_forward_pass_does_not_affect_the_next():
    model, x = ours(TINY | OWN | SHARED | ABSOLUTE), pixels(TINY)
    with torch.no_grad():
        before, state = model(x).states, model.state_dict().keys()
        model(pixels(TINY, size=(8, 24)))
        assert torch.equal(model(x).states, before)
    assert not list(model.buffers())
    assert model.state_dict().keys() == state


# Configs.


@given(config_fields())
def test_configs_round_trip(fields):
    config = BeitConfig.from_dict(fields | {"vocab_size": 17, "pool_scales": [1, 2]})
    assert BeitConfig.from_dict(config.to_dict()) == config
    assert BeitConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    through = transformers.BeitConfig(**config.to_dict())
    back = BeitConfig.from_dict(json.loads(through.to_json_string(use_diff=False)))
    assert (back.extra["vocab_size"], back.extra["pool_scales"]) == (17, [1, 2])
    assert back.replace(extra=config.extra) == config


def test_the_defaults_are_those_of_transformers():
    published, known = transformers.BeitConfig().to_dict(), BeitConfig().to_dict()
    assert {name: published[name] for name in known} == known


@pytest.mark.parametrize(
    "field",
    [
        {"patch_size": 0},
        {"use_mean_pooling": "true"},
        {"drop_path_rate": 1.5},
        {"layer_scale_init_value": None},
        {"layer_norm_eps": 0},
    ],
)
def test_bad_fields_are_named(field):
    with pytest.raises(ConfigError, match=next(iter(field))):
        BeitConfig.from_dict(TINY | field)


def test_heads_and_patches_that_do_not_fit_are_refused_with_their_numbers():
    with pytest.raises(ConfigError, match=r"16.*multiple.*3"):
        ours(TINY | {"num_attention_heads": 3})
    with pytest.raises(ConfigError, match="12 x 12 must hold at least one patch of 13 x 13"):
        ours(TINY | OWN | {"patch_size": 13})


def test_the_rate_of_stochastic_depth_rises_with_the_layer():
    config = BeitConfig(num_hidden_layers=5, drop_path_rate=0.4)
    assert [config.drop_path(i) for i in range(5)] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert BeitConfig(num_hidden_layers=1, drop_path_rate=0.4).drop_path(0) == 0.0


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_without_an_initial_value_there_is_no_layer_scale(value):
    reference = theirs(TINY | {"layer_scale_init_value": value})
    model, x = load(reference), pixels(TINY)
    assert not [name for name in model.state_dict() if "scale" in name]
    with torch.no_grad():
        assert_within(model(x).states, reference(x).last_hidden_state)


def test_only_without_mean_pooling_there_is_a_last_norm():
    pooled, plain = (load(theirs(TINY | {"use_mean_pooling": mean})) for mean in (True, False))
    assert {name for name in pooled.state_dict() if "norm" in name and "blocks" not in name} == {
        "pooler.norm.weight",
        "pooler.norm.bias",
    }
    assert {name for name in plain.state_dict() if "norm" in name and "blocks" not in name} == {
        "norm.weight",
        "norm.bias",
    }
    seen = Recorder("hidden")
    with torch.no_grad():
        output = pooled(pixels(TINY), trace=seen)
    assert torch.equal(output.states, seen.all("hidden")[-1])


def test_patches_that_are_not_square_work():
    fields = TINY | {"patch_size": [4, 6], "image_size": [8, 18]}
    reference = theirs(fields)
    with torch.no_grad():
        x = pixels(fields)
        assert_within(load(reference)(x).states, reference(x).last_hidden_state)
        output = ours(fields | OWN | ABSOLUTE)(x)  # transformers divides by the pair, and fails
    assert output.grid == (2, 3)


# Names and forms of files.


def test_the_names_that_transformers_has_in_memory_load(tmp_path):
    fields = OWN | SHARED | ABSOLUTE | {"use_mask_token": True}
    reference = theirs(TINY | fields)
    state = reference.state_dict()
    assert {f"layers.0.{NAME}.{NAME}_table", f"shared_position_bias.{NAME}_table", "layers.1.lambda_2"} <= state.keys()
    write(tmp_path, state, **fields)
    assert_same_weights(BeitModel.from_pretrained(tmp_path), load(reference))


def test_the_index_buffer_of_old_files_is_dropped(tmp_path):
    reference = theirs(TINY | OWN | SHARED)
    reference.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    tables = [name for name in state if name.endswith(f"{NAME}_table")]
    assert len(tables) == 3
    index = {name.replace("_table", "_index"): torch.zeros(10, 10, dtype=torch.long) for name in tables}
    write(tmp_path, state | index, **OWN, **SHARED)
    model = BeitModel.from_pretrained(tmp_path)
    assert_same_weights(model, load(reference))
    model.save_pretrained(tmp_path / "again")
    assert load_file(tmp_path / "again" / "model.safetensors").keys() == state.keys()


def test_a_file_for_masked_images_has_a_norm_that_belongs_to_the_head(tmp_path):
    fields = TINY | SHARED | {"use_mask_token": True}  # as the files *-pt22k
    reference = theirs(fields, cls=transformers.BeitForMaskedImageModeling)
    reference.save_pretrained(tmp_path)
    names = load_file(tmp_path / "model.safetensors").keys()
    assert {"layernorm.weight", "lm_head.weight", "beit.embeddings.mask_token"} <= names
    model, x = BeitModel.from_pretrained(tmp_path), pixels(TINY)
    assert isinstance(model.norm, torch.nn.Identity)
    assert model.pooler is None
    with torch.no_grad():
        assert_within(model(x).states, reference.beit(x).last_hidden_state)
        model.save_pretrained(tmp_path / "again")
        again = transformers.BeitModel.from_pretrained(tmp_path / "again")
        assert_within(again(x).last_hidden_state, model(x).states)
    assert torch.equal(model.embeddings.mask_token, again.embeddings.mask_token)


def test_a_file_with_two_last_norms_is_refused(tmp_path):
    fields = TINY | {"use_mean_pooling": False}
    theirs(fields, cls=transformers.BeitForMaskedImageModeling).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"beit.layernorm.weight and layernorm.weight differ"):
        BeitModel.from_pretrained(tmp_path)


def test_a_classifier_loads_without_its_head(tmp_path):
    reference = theirs(TINY | OWN, cls=transformers.BeitForImageClassification)  # as the files *-ft22k and *-to1k
    reference.save_pretrained(tmp_path)
    assert {"classifier.weight", "beit.pooler.layernorm.weight"} <= load_file(tmp_path / "model.safetensors").keys()
    model, x = BeitModel.from_pretrained(tmp_path), pixels(TINY)
    with torch.no_grad():
        expected = reference.beit(x)
        output = model(x)
        assert_within(output.states, expected.last_hidden_state)
        assert_within(model.pooler(output.states), expected.pooler_output)


def test_a_model_of_segments_loads_without_its_heads(tmp_path):
    fields = TINY | OWN | {"num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "add_fpn": True}
    reference = theirs(fields, cls=transformers.BeitForSemanticSegmentation)
    reference.save_pretrained(tmp_path)
    heads = {name.split(".")[0] for name in load_file(tmp_path / "model.safetensors")} - {"beit"}
    assert {"decode_head", "auxiliary_head"} < heads
    model, x = BeitModel.from_pretrained(tmp_path), pixels(TINY)
    with torch.no_grad():
        assert_within(model(x).states, reference.beit(x).last_hidden_state)


def test_a_key_bias_is_a_surplus_tensor_and_a_bias_table_may_not_be_missing(tmp_path):
    state = theirs(TINY | OWN).state_dict()
    del state[f"layers.1.{NAME}.{NAME}_table"]
    write(tmp_path, state | {"layers.0.attention.k_proj.bias": torch.zeros(16)}, **OWN)
    lost, extra = (rf"encoder\.layer\.1.*{NAME}_table", r"layers\.0\.attention\.k_proj\.bias")
    with pytest.raises(CheckpointError, match=rf"1 missing \({lost}\); 1 unexpected \({extra}\)"):
        BeitModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("mean", [True, False])
def test_bf16_files_load_in_bf16_or_in_the_given_dtype(tmp_path, mean):
    fields = TINY | OWN | SHARED | ABSOLUTE | {"use_mean_pooling": mean}
    reference, x = theirs(fields).to(torch.bfloat16), pixels(TINY, size=(8, 16))
    reference.save_pretrained(tmp_path)
    half, full = (BeitModel.from_pretrained(tmp_path, dtype=dtype) for dtype in (None, torch.float32))
    assert (half.dtype, full.dtype) == (torch.bfloat16, torch.float32)
    with torch.no_grad():
        assert_within(full(x).states, reference.float()(x).last_hidden_state)
        assert half(x).states.dtype == torch.bfloat16
        assert_within(half(x).states.float(), full(x).states, 0.1)


def test_initial_weights_have_the_distributions_of_transformers():
    fields = TINY | OWN | SHARED | ABSOLUTE | {"hidden_size": 64, "initializer_range": 0.05, "use_mask_token": True}
    reference = transformers.BeitModel(transformers.BeitConfig(**fields))
    mine, other = (model.state_dict() for model in (BeitModel(BeitConfig.from_dict(fields)), load(reference)))
    assert mine.keys() == other.keys()
    for name, weight in mine.items():
        assert float(weight.std()) == pytest.approx(float(other[name].std()), rel=0.1), name
        assert float(weight.mean()) == pytest.approx(float(other[name].mean()), abs=0.01), name


# The laws of an encoder.


def test_images_smaller_than_a_patch_or_of_a_wrong_shape_are_refused():
    model = ours(TINY | OWN)
    with pytest.raises(
        InputError, match=r"at least one patch, \(4, 4\) pixels \(height, width\), got \(3, 12\)"
    ) as raised:
        model(pixels(TINY, size=(3, 12)))
    assert (raised.value.tensor, raised.value.expected, raised.value.found) == ("pixel_values", (4, 4), (3, 12))
    for wrong in (torch.zeros(2, 1, 12, 12), torch.zeros(3, 12, 12)):
        with pytest.raises(InputError, match=r"expected pixel_values of shape \(batch, 3, height, width\)"):
            model(wrong)


def test_absolute_positions_of_a_grid_without_a_square_number_work_only_at_the_trained_size():
    fields = TINY | ABSOLUTE | {"image_size": [4, 12]}
    model = ours(fields)
    with torch.no_grad():
        x = pixels(fields)
        placed = model.embeddings(x)[0]
        model.embeddings.positions.zero_()
        assert not torch.equal(model.embeddings(x)[0], placed)
    with pytest.raises(InputError, match=r"expected images of 1 x 3 patches \(down x across\), got 2 x 2"):
        model(pixels(TINY, size=(8, 8)))


def test_images_of_a_batch_do_not_affect_each_other():
    model, x = ours(TINY | OWN | SHARED), pixels(TINY, 3)
    with torch.no_grad():
        whole = model(x).states
        assert_within(whole, torch.cat([model(image[None]).states for image in x]))
        x[1] = float("nan")
        assert torch.equal(model(x).states[::2], whole[::2])


@given(config_fields(), st.integers(0, 99))
def test_masked_pixels_change_no_unmasked_state(fields, seed):
    patch = fields["patch_size"]
    height, width = (side // patch for side in fields["image_size"])
    fields["image_size"] = [height * patch, width * patch]
    model, x = ours(fields, seed), pixels(fields)
    counts = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed)) < 0.5
    pixel_mask = counts.repeat_interleave(patch, 1).repeat_interleave(patch, 2)
    other = torch.where(pixel_mask[:, None], x, 9.0)
    with torch.no_grad():
        a, b = (model(images, pixel_mask=pixel_mask) for images in (x, other))
    assert torch.equal(a.mask, torch.cat([torch.ones(2, 1, dtype=torch.bool), counts.flatten(1)], dim=1))
    assert torch.equal(a.states[a.mask], b.states[a.mask])


@pytest.mark.parametrize("fields", [OWN, SHARED, OWN | SHARED, {}])
def test_a_mask_equals_an_attention_mask_of_transformers(fields):
    reference = theirs(TINY | fields)
    model, x, seen = load(reference), pixels(TINY), Recorder("self")
    pixel_mask = torch.ones(2, 12, 12, dtype=torch.bool)
    pixel_mask[0, :, 8:] = pixel_mask[1, 4:] = False
    with torch.no_grad():
        output = model(x, pixel_mask=pixel_mask, trace=seen)
        expected = reference(x, attention_mask=output.mask.long(), output_attentions=True)
    assert output.mask.sum(dim=1).tolist() == [7, 4]
    assert_within(output.states[output.mask], expected.last_hidden_state[output.mask])
    assert_within(seen.all("self")[1], expected.attentions[1])


@pytest.mark.parametrize("fields", [OWN | ABSOLUTE, SHARED, {}])
@pytest.mark.parametrize("size", [(12, 12), (8, 20)])
def test_a_forward_pass_compiles_as_one_graph(fields, size):
    model, x = ours(TINY | fields), pixels(TINY, size=size)
    mask = torch.rand(2, *size) < 0.1
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert_within(compiled(x).states, model(x).states)
        assert_within(compiled(x, pixel_mask=mask).states, model(x, pixel_mask=mask).states)


def test_the_package_has_one_encoder():
    assert [(record.name, record.role, record.model) for record in vedcore_plugin()] == [("beit", "encoder", BeitModel)]
