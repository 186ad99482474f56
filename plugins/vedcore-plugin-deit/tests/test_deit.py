"""DeiT alone against transformers 5.23, live; its files both ways; what its checkpoints are known for."""

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
from vedcore_plugin_deit import DeiTConfig, DeiTModel, vedcore_plugin
from vedcore_plugin_deit.testing import config_fields

TINY = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 20, "image_size": 12,
    "patch_size": 4,
}  # fmt: skip


def theirs(fields, seed=0, cls=transformers.DeiTModel):
    """A random transformers model with eager attention, in eval mode."""
    torch.manual_seed(seed)
    model = cls(transformers.DeiTConfig(**fields)).eval()
    model.set_attn_implementation("eager")
    perturb(model, seed)
    return model


def load(reference):
    """Our model, loaded from the files of a transformers model."""
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(folder)
        return DeiTModel.from_pretrained(folder)


def ours(fields, seed=0):
    """A random model of ours."""
    model = DeiTModel(DeiTConfig.from_dict(fields)).eval()
    perturb(model, seed)
    return model


def pixels(fields, batch=2, size=None):
    size = size or fields["image_size"]
    size = (size, size) if isinstance(size, int) else size
    return torch.randn(batch, fields.get("num_channels", 3), *size)


def write(folder, state, **config):
    """Write a checkpoint with these tensors."""
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "deit", **TINY, **config}))


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
        assert_within(model.pooler(output.states), expected.pooler_output)
    assert_within(output.states, expected.last_hidden_state)
    for kind, tensors in (("hidden", expected.hidden_states), ("self", expected.attentions)):
        assert len(seen.all(kind)) == len(tensors) == fields["num_hidden_layers"] + (kind == "hidden")
        for a, b in zip(seen.all(kind), tensors, strict=True):
            assert_within(a, b)
    grid = tuple(side // patch for side, patch in zip(fields["image_size"], fields["patch_size"], strict=True))
    assert (output.mask, output.grid, output.extra) == (None, grid, 2)
    assert output.states.shape == (batch, 2 + grid[0] * grid[1], model.hidden_size)


@given(config_fields(), st.integers(0, 99))
def test_transformers_loads_all_that_we_save(fields, seed):
    model, x = ours(fields, seed), pixels(fields)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        reference, info = transformers.DeiTModel.from_pretrained(folder, output_loading_info=True)
        again = DeiTModel.from_pretrained(folder)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        assert_within(model(x).states, reference(x).last_hidden_state)
    assert_same_weights(model, again)
    assert again.config.replace(extra={}) == model.config


@given(config_fields(), st.integers(0, 99))
def test_dropout_in_training_equals_that_of_transformers(fields, seed):
    reference = theirs(fields | {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.2}, seed)
    model, x = load(reference).train(), pixels(fields)
    torch.manual_seed(seed)
    expected = reference.train()(x).last_hidden_state.detach()
    torch.manual_seed(seed)
    assert_within(model(x).states.detach(), expected)


@given(config_fields(), st.sampled_from([1, 2, 3]), st.tuples(st.integers(1, 5), st.integers(1, 5)), st.integers(0, 99))
def test_interpolated_positions_keep_the_first_two_rows(fields, side, grid, seed):
    patch = fields["patch_size"][0]  # transformers can do this for one number and a square of patches alone
    reference = theirs(fields | {"patch_size": patch, "image_size": side * patch}, seed)
    model, x = load(reference), pixels(fields, size=[count * patch for count in grid])
    with torch.no_grad():
        expected = reference(x, interpolate_pos_encoding=True).last_hidden_state
        output = model(x, interpolate_pos_encoding=True)
        assert_within(output.states, expected)
        tokens = (model.cls_token, model.distillation_token)
        first = model.embeddings(x, *tokens, interpolate_pos_encoding=True)[0][:1, :2]
        assert torch.equal(first, torch.cat(tokens, dim=1) + model.embeddings.positions[:, :2])
    assert output.grid == grid


# Configs.


@given(config_fields())
def test_configs_round_trip(fields):
    config = DeiTConfig.from_dict(fields | {"encoder_stride": 8})
    assert DeiTConfig.from_dict(config.to_dict()) == config
    assert DeiTConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    through = transformers.DeiTConfig(**config.to_dict())
    back = DeiTConfig.from_dict(json.loads(through.to_json_string(use_diff=False)))
    assert back.extra["encoder_stride"] == 8
    assert back.pooler_output_size == config.hidden_size  # transformers writes what None means
    assert back.replace(extra=config.extra, pooler_output_size=None) == config


def test_the_defaults_are_those_of_transformers():
    published = transformers.DeiTConfig().to_dict() | {"pooler_output_size": None}
    known = DeiTConfig().to_dict()
    assert {name: published[name] for name in known} == known


@pytest.mark.parametrize(
    "field", [{"patch_size": 0}, {"image_size": [12]}, {"qkv_bias": "true"}, {"hidden_act": "gulp"}, {"layer_norm_eps": 0}]
)  # fmt: skip
def test_bad_fields_are_named(field):
    with pytest.raises(ConfigError, match=next(iter(field))):
        DeiTConfig.from_dict(TINY | field)


def test_heads_and_patches_that_do_not_fit_are_refused_with_their_numbers():
    with pytest.raises(ConfigError, match=r"16.*multiple.*3"):
        ours(TINY | {"num_attention_heads": 3})
    with pytest.raises(ConfigError, match="12 x 12 must hold at least one patch of 13 x 13"):
        ours(TINY | {"patch_size": 13})


def test_the_pooler_may_have_another_width():
    reference = theirs(TINY | {"pooler_output_size": 5, "pooler_act": "relu"})
    model, x = load(reference), pixels(TINY)
    with torch.no_grad():
        assert_within(model.pooler(model(x).states), reference(x).pooler_output)


# Names and forms of files.


def test_the_names_that_transformers_has_in_memory_load(tmp_path):
    reference = theirs(TINY)
    state = reference.state_dict()
    assert "layers.0.attention.q_proj.weight" in state
    write(tmp_path, state)
    assert_same_weights(DeiTModel.from_pretrained(tmp_path), load(reference))


@pytest.mark.parametrize(
    "wrapper",
    [
        transformers.DeiTForImageClassification,
        transformers.DeiTForImageClassificationWithTeacher,
        transformers.DeiTForMaskedImageModeling,
    ],
)
def test_models_for_other_tasks_load_without_heads_and_without_a_pooler(wrapper, tmp_path):
    reference = theirs(TINY | {"encoder_stride": 4}, cls=wrapper)
    reference.save_pretrained(tmp_path)
    model, x = DeiTModel.from_pretrained(tmp_path), pixels(TINY)
    with torch.no_grad():
        assert_within(model(x).states, reference.deit(x).last_hidden_state)
    assert model.pooler is None
    model.save_pretrained(tmp_path / "again")
    names = load_file(tmp_path / "again" / "model.safetensors").keys()
    assert not [name for name in names if name.startswith(("pooler", "deit"))]
    assert_same_weights(DeiTModel.from_pretrained(tmp_path / "again"), model)


@pytest.mark.parametrize("prefix", ["", "deit."])
@pytest.mark.parametrize("qkv_bias", [True, False])
def test_a_file_with_or_without_a_prefix_and_with_or_without_biases_loads(tmp_path, prefix, qkv_bias):
    reference = theirs(TINY | {"qkv_bias": qkv_bias})
    reference.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    assert ("encoder.layer.0.attention.attention.key.bias" in state) == qkv_bias
    write(tmp_path, {prefix + name: tensor for name, tensor in state.items()}, qkv_bias=qkv_bias)
    assert_same_weights(DeiTModel.from_pretrained(tmp_path), load(reference))


def test_a_file_of_a_vit_with_this_config_is_refused(tmp_path):
    transformers.ViTModel(transformers.ViTConfig(**TINY)).save_pretrained(tmp_path)
    write(tmp_path, load_file(tmp_path / "model.safetensors"))
    wrong = r"1 missing \(embeddings.distillation_token\); 1 of another shape \(embeddings.position_embeddings: \(1, 10, 16\)"
    with pytest.raises(CheckpointError, match=wrong):
        DeiTModel.from_pretrained(tmp_path)


def test_a_surplus_tensor_is_named(tmp_path):
    write(tmp_path, theirs(TINY).state_dict() | {"layernorm.scale": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"1 unexpected \(layernorm.scale\)"):
        DeiTModel.from_pretrained(tmp_path)


def test_bf16_files_load_in_bf16_or_in_the_given_dtype(tmp_path):
    reference, x = theirs(TINY).to(torch.bfloat16), pixels(TINY)
    reference.save_pretrained(tmp_path)
    half, full = (DeiTModel.from_pretrained(tmp_path, dtype=dtype) for dtype in (None, torch.float32))
    assert (half.dtype, full.dtype) == (torch.bfloat16, torch.float32)
    with torch.no_grad():
        assert_within(full(x).states, reference.float()(x).last_hidden_state)
        assert half(x).states.dtype == torch.bfloat16
        assert_within(half(x).states.float(), full(x).states, 0.1)


def test_initial_weights_have_the_distributions_of_transformers():
    fields = TINY | {"hidden_size": 64, "initializer_range": 0.05}
    reference = transformers.DeiTModel(transformers.DeiTConfig(**fields))
    mine, other = (m.state_dict() for m in (DeiTModel(DeiTConfig.from_dict(fields)), load(reference)))
    assert mine.keys() == other.keys()
    for name, weight in mine.items():
        assert float(weight.std()) == pytest.approx(float(other[name].std()), rel=0.1), name
        assert float(weight.mean()) == pytest.approx(float(other[name].mean()), abs=0.01), name
    assert not mine["distillation_token"].any()  # two equal tokens start apart only by what training does


# The laws of an encoder.


def test_images_of_another_size_or_shape_are_refused():
    model = ours(TINY)
    with pytest.raises(InputError, match=r"expected images of 12 x 12 pixels .*, got 12 x 16"):
        model(pixels(TINY, size=(12, 16)))
    for wrong in (torch.zeros(2, 1, 12, 12), torch.zeros(3, 12, 12)):
        with pytest.raises(InputError, match=r"expected pixel_values of shape \(batch, 3, height, width\)"):
            model(wrong)


def test_images_of_a_batch_do_not_affect_each_other():
    model, x = ours(TINY), pixels(TINY, 3)
    with torch.no_grad():
        whole = model(x).states
        assert_within(whole, torch.cat([model(image[None]).states for image in x]))
        x[1] = float("nan")
        assert torch.equal(model(x).states[::2], whole[::2])


@given(config_fields(), st.integers(0, 99))
def test_masked_pixels_change_no_unmasked_state(fields, seed):
    down, across = fields["patch_size"]
    height, width = (side // patch for side, patch in zip(fields["image_size"], (down, across), strict=True))
    fields["image_size"] = [height * down, width * across]
    model, x = ours(fields, seed), pixels(fields)
    counts = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed)) < 0.5
    pixel_mask = counts.repeat_interleave(down, 1).repeat_interleave(across, 2)
    other = torch.where(pixel_mask[:, None], x, 9.0)
    with torch.no_grad():
        a, b = (model(images, pixel_mask=pixel_mask) for images in (x, other))
    expected = torch.cat([torch.ones(2, 2, dtype=torch.bool), counts.flatten(1)], dim=1)
    assert torch.equal(a.mask, expected)
    assert torch.equal(a.states[a.mask], b.states[a.mask])


def test_a_mask_equals_an_attention_mask_of_transformers():
    reference = theirs(TINY)
    model, x = load(reference), pixels(TINY)
    pixel_mask = torch.ones(2, 12, 12, dtype=torch.bool)
    pixel_mask[0, :, 8:] = pixel_mask[1, 4:] = False
    with torch.no_grad():
        output = model(x, pixel_mask=pixel_mask)
        expected = reference(x, attention_mask=output.mask.long()).last_hidden_state
    assert output.mask.sum(dim=1).tolist() == [8, 5]
    assert_within(output.states[output.mask], expected[output.mask])


@pytest.mark.parametrize("masked", [False, True])
def test_a_forward_pass_compiles_as_one_graph(masked):
    model, x = ours(TINY), pixels(TINY)
    mask = torch.rand(2, 12, 12) < 0.1 if masked else None
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert_within(compiled(x, pixel_mask=mask).states, model(x, pixel_mask=mask).states)


def test_the_package_has_one_encoder():
    assert [(record.name, record.role, record.model) for record in vedcore_plugin()] == [("deit", "encoder", DeiTModel)]
