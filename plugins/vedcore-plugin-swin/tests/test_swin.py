"""Swin and Donut-Swin alone against transformers 5.23, live; their files both ways; what their checkpoints are known for."""

import copy
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tests.parity import assert_within, perturb
from vedcore import CheckpointError, ConfigError, InputError
from vedcore.contract.types import Recorder
from vedcore_plugin_swin import DonutSwinConfig, DonutSwinModel, SwinConfig, SwinModel, vedcore_plugin
from vedcore_plugin_swin.testing import config_fields, donut_config_fields
from vedcore_plugin_swin.windows import WindowBias, Windows

TINY = {
    "image_size": [24, 36],
    "patch_size": [2, 3],
    "embed_dim": 8,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 3,
}


@dataclass
class Architecture:
    name: str
    config: Any
    model: Any
    their_config: Any
    their_model: Any
    fields: Any

    def theirs(self, fields, seed=0, scale=0.3):
        """A random transformers model, in eval mode."""
        torch.manual_seed(seed)
        model = self.their_model(self.their_config(**fields)).eval()
        perturb(model, seed, scale)
        return model

    def load(self, reference):
        """Our model, loaded from the files of a transformers model."""
        with tempfile.TemporaryDirectory() as folder:
            reference.save_pretrained(folder)
            return self.model.from_pretrained(folder)

    def ours(self, fields, seed=0):
        torch.manual_seed(seed)
        model = self.model(self.config.from_dict(fields)).eval()
        perturb(model, seed)
        return model


SWIN = Architecture(
    "swin", SwinConfig, SwinModel, transformers.SwinConfig, transformers.SwinModel, config_fields()
)  # fmt: skip
DONUT = Architecture(
    "donut", DonutSwinConfig, DonutSwinModel, transformers.DonutSwinConfig, transformers.DonutSwinModel,
    donut_config_fields(),
)  # fmt: skip
each = pytest.mark.parametrize("arch", [SWIN, DONUT], ids=lambda a: a.name)


def pixels(fields, batch=2, size=None, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, fields.get("num_channels", 3), *(size or fields["image_size"]), generator=generator)


def write(folder, config, tensors):
    (folder / "config.json").write_text(json.dumps(config))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")


def changed(folder, change):
    """The tensors in ``folder``, changed and written back."""
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors", metadata={"format": "pt"})


# Parity with transformers.


@each
@given(data=st.data(), batch=st.sampled_from([1, 3]), seed=st.integers(0, 99))
def test_states_hidden_states_and_attentions_equal(arch, data, batch, seed):
    fields = data.draw(arch.fields)
    reference = arch.theirs(fields, seed)
    model = arch.load(reference)
    x, seen = pixels(fields, batch), Recorder("hidden", "self")
    with torch.no_grad():
        assert_within(model(x).states, reference(x).last_hidden_state)
        reference.set_attn_implementation("eager")
        expected = reference(x, output_hidden_states=True, output_attentions=True)
        ours = model(x, trace=seen)
    assert_within(ours.states, expected.last_hidden_state)
    for kind, tensors in (("hidden", expected.hidden_states), ("self", expected.attentions)):
        assert len(seen.all(kind)) == len(tensors) == len(fields["depths"]) + (kind == "hidden")
        for a, b in zip(seen.all(kind), tensors, strict=True):
            assert_within(a, b)
    assert (ours.mask, ours.extra, ours.grid) == (None, 0, tuple(expected.reshaped_hidden_states[-1].shape[2:]))
    assert model.hidden_size == ours.states.shape[2] == model.config.hidden_size


@each
@given(data=st.data(), seed=st.integers(0, 99))
def test_transformers_loads_all_that_we_save(arch, data, seed):
    fields = data.draw(arch.fields)
    model, x = arch.ours(fields, seed), pixels(fields)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        reference, info = arch.their_model.from_pretrained(folder, output_loading_info=True)
        again = arch.model.from_pretrained(folder)
    # Donut's class still keeps the index as a buffer, and fills it itself where a file has none.
    assert all(arch is DONUT and name.endswith("relative_position_index") for name in info["missing_keys"])
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    with torch.no_grad():
        assert_within(model(x).states, reference(x).last_hidden_state)
        assert torch.equal(model(x).states, again(x).states)
    assert again.config == model.config or again.config.extra.keys() == {"dtype", "architectures"}


@each
@settings(max_examples=10)
@given(data=st.data(), seed=st.integers(0, 99))
def test_dropout_in_training_equals_that_of_transformers(arch, data, seed):
    rates = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3, "drop_path_rate": 0.5}
    fields = data.draw(arch.fields) | rates
    reference = arch.theirs(fields, seed)
    reference.set_attn_implementation("eager")
    model = arch.load(reference).train()
    x = pixels(fields, 3)
    torch.manual_seed(seed)
    expected = reference.train()(x).last_hidden_state.detach()
    torch.manual_seed(seed)
    assert_within(model(x).states.detach(), expected)


@each
@given(data=st.data())
def test_configs_round_trip(arch, data):
    config = arch.config.from_dict(data.draw(arch.fields) | {"path_norm": True})
    assert arch.config.from_dict(config.to_dict()) == config
    assert arch.config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    back = arch.config.from_dict(json.loads(arch.their_config(**config.to_dict()).to_json_string(use_diff=False)))
    back.extra = config.extra
    assert back == config


@each
def test_the_defaults_are_those_of_transformers(arch):
    theirs = arch.their_config().to_dict()
    ours = arch.config().to_dict()
    assert {name: list(theirs[name]) if isinstance(theirs[name], tuple) else theirs[name] for name in ours} == ours
    assert arch.config().hidden_size == theirs["hidden_size"]


@each
def test_initial_weights_have_the_distributions_of_transformers(arch):
    fields = TINY | {"embed_dim": 96, "use_absolute_embeddings": True, "initializer_range": 0.05}
    torch.manual_seed(0)
    theirs = arch.load(arch.their_model(arch.their_config(**fields))).state_dict()
    ours = arch.model(arch.config.from_dict(fields)).state_dict()
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        assert float(weight.std()) == pytest.approx(float(theirs[name].std()), rel=0.1), name
        assert float(weight.mean()) == pytest.approx(float(theirs[name].mean()), abs=0.02), name


# Names and forms of files.


@each
def test_the_names_that_transformers_has_in_memory_load(arch, tmp_path):
    reference = arch.theirs(TINY)
    expected = arch.load(reference).state_dict()
    write(tmp_path, reference.config.to_dict() | {"dtype": "float32"}, reference.state_dict())
    loaded = arch.model.from_pretrained(tmp_path).state_dict()
    assert expected.keys() == loaded.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


@each
def test_files_of_transformers_4_with_the_index_buffer_load_and_are_saved_without_it(arch, tmp_path):
    reference = arch.theirs(TINY)
    reference.save_pretrained(tmp_path / "a")

    def add_index(tensors):
        tables = [name for name in tensors if name.endswith("relative_position_bias_table")]
        index = {name.replace("bias_table", "index"): torch.zeros(9, 9, dtype=torch.long) for name in tables}
        return tensors | index

    changed(tmp_path / "a", add_index)
    model = arch.model.from_pretrained(tmp_path / "a")
    with torch.no_grad():
        assert_within(model(pixels(TINY)).states, reference(pixels(TINY)).last_hidden_state)
    model.save_pretrained(tmp_path / "b")
    assert not [name for name in load_file(tmp_path / "b" / "model.safetensors") if name.endswith("index")]


@pytest.mark.parametrize(
    ("arch", "wrapper"),
    [
        (SWIN, transformers.SwinForImageClassification),
        (SWIN, transformers.SwinForMaskedImageModeling),
        (DONUT, transformers.DonutSwinForImageClassification),
    ],
)
def test_models_for_other_tasks_load_without_their_heads(arch, wrapper, tmp_path):
    reference = wrapper(arch.their_config(**TINY)).eval()
    perturb(reference, 0)
    reference.save_pretrained(tmp_path)
    inner = getattr(reference, reference.base_model_prefix)
    with torch.no_grad():
        expected = inner(pixels(TINY)).last_hidden_state
        assert_within(arch.model.from_pretrained(tmp_path)(pixels(TINY)).states, expected)


@each
def test_surplus_and_missing_tensors_are_named(arch, tmp_path):
    arch.ours(TINY).save_pretrained(tmp_path)
    first = "encoder.layers.0.blocks.0.attention.self.query.weight"
    changed(tmp_path, lambda t: {n: v for n, v in t.items() if n != first} | {"pooler.weight": torch.ones(1)})
    with pytest.raises(CheckpointError, match=rf"1 missing \({first}\); 1 unexpected \(pooler.weight\)"):
        arch.model.from_pretrained(tmp_path)


@each
def test_bf16_files_load_in_bf16_or_in_the_given_dtype(arch, tmp_path):
    reference = arch.theirs(TINY).to(torch.bfloat16)
    reference.save_pretrained(tmp_path)
    half, full = (arch.model.from_pretrained(tmp_path, dtype=dtype) for dtype in (None, torch.float32))
    assert (half.dtype, full.dtype) == (torch.bfloat16, torch.float32)
    x = pixels(TINY)
    with torch.no_grad():
        assert_within(full(x).states, reference.float()(x).last_hidden_state)
        assert half(x).states.dtype == torch.bfloat16
        assert_within(half(x).states.float(), full(x).states, 0.1)


# Fields.


@each
def test_derived_and_old_fields_in_a_file_are_kept_and_have_no_effect(arch, tmp_path):
    odd = {"hidden_size": 999, "num_layers": 7, "path_norm": False, "use_2d_embeddings": True}
    arch.ours(TINY).save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(stored | odd))
    model = arch.model.from_pretrained(tmp_path)
    assert model.hidden_size == model.config.hidden_size == model(pixels(TINY)).states.shape[2] == 16
    assert odd.items() <= model.config.extra.items()
    assert odd.items() <= model.config.to_dict().items()


@each
@pytest.mark.parametrize(
    "field", [{"depths": [2, 0]}, {"window_size": 0}, {"mlp_ratio": 0.0}, {"qkv_bias": "true"}, {"num_heads": 2}]
)
def test_bad_fields_are_named(arch, field):
    with pytest.raises(ConfigError, match=next(iter(field))):
        arch.config.from_dict(TINY | field)


@each
def test_stages_and_heads_that_do_not_fit_are_refused_with_their_numbers(arch):
    with pytest.raises(ConfigError, match=r"num_heads \(2,\) and depths \(2, 2\)") as raised:
        arch.ours(TINY | {"num_heads": [2]})
    assert (raised.value.field, raised.value.expected, raised.value.found) == ("num_heads", "2 entries", (2,))
    with pytest.raises(ConfigError, match=r"16.*multiple.*3"):
        arch.ours(TINY | {"num_heads": [2, 3]})


def test_the_config_of_one_architecture_does_not_build_the_other():
    with pytest.raises(ConfigError, match="SwinModel is built from a SwinConfig, got DonutSwinConfig"):
        SwinModel(DonutSwinConfig())
    assert [record.name for record in vedcore_plugin()] == ["swin", "donut-swin"]


# Windows.


@given(
    grid=st.tuples(st.integers(1, 9), st.integers(1, 9)), side=st.integers(1, 6), batch=st.integers(1, 3),
    shifted=st.booleans(),
)  # fmt: skip
def test_joining_undoes_splitting(grid, side, batch, shifted):
    windows = Windows.over(grid, side, side // 2 if shifted else 0)
    x = torch.randn(batch, *grid, 5)
    split = windows.split(x)
    assert split.shape == (batch * windows.counts[0] * windows.counts[1], windows.side**2, 5)
    assert torch.equal(windows.join(split), x)


@given(grid=st.tuples(st.integers(1, 12), st.integers(1, 12)), side=st.integers(2, 6))
def test_strangers_are_states_that_were_not_neighbours_before_the_roll(grid, side):
    windows = Windows.over(grid, side, side // 2)
    if not windows.shift:
        return
    height, width = (count * side for count in windows.counts)
    padded = Windows((height, width), side, windows.shift)
    rows, columns = torch.arange(height)[:, None].expand(height, width), torch.arange(width).expand(height, width)
    rows, columns = padded.split(torch.stack([rows, columns], dim=-1)[None]).unbind(-1)  # where each place came from
    apart = [(x[:, :, None] - x[:, None, :]).abs() >= side for x in (rows, columns)]
    assert torch.equal(windows.strangers(rows.device), apart[0] | apart[1])


@given(side=st.integers(1, 5), window=st.integers(1, 5))
def test_an_offset_has_one_bias_in_a_window_of_any_size(side, window):
    bias = WindowBias(window, num_heads=2)
    torch.nn.init.normal_(bias.table)
    windows = Windows.over((side, side + 1), window, window // 2)
    side = windows.side
    table = bias.table.view(2 * window - 1, 2 * window - 1, 2)
    got = bias(windows, batch=1)[0].view(2, side, side, side, side)
    for a in range(side):
        for b in range(side):
            for c in range(side):
                for d in range(side):
                    if not windows.shift:
                        assert torch.equal(got[:, a, b, c, d], table[a - c + window - 1, b - d + window - 1])


@each
def test_the_zeros_that_pad_a_window_are_attended_to(arch):
    fields = TINY | {"image_size": [8, 15], "window_size": 3, "depths": [2], "num_heads": [2]}  # a grid of 4 x 5
    reference = arch.theirs(fields)
    reference.set_attn_implementation("eager")
    model, x, seen = arch.load(reference), pixels(fields), Recorder("self")
    with torch.no_grad():
        assert_within(model(x, trace=seen).states, reference(x).last_hidden_state)
    assert bool((Windows((4, 5), 3, 0).split(torch.ones(1, 4, 5, 1)) == 0).any())
    assert seen.all("self")[0].shape == (2 * 4, 2, 9, 9)


@each
def test_strangers_in_a_shifted_window_get_minus_100_not_minus_infinity(arch):
    fields = TINY | {"depths": [2, 2]}
    reference = arch.theirs(fields)
    reference.set_attn_implementation("eager")
    with torch.no_grad():
        for name, table in reference.named_parameters():
            if name.endswith("relative_position_bias_table"):
                table.copy_(torch.randint(-90, 90, table.shape))  # enough to look across the seam
    model, x, seen = arch.load(reference), pixels(fields), Recorder("self")
    with torch.no_grad():
        assert_within(model(x, trace=seen).states, reference(x).last_hidden_state)
    strangers = Windows((12, 12), 3, 1).strangers(x.device)[:, None].expand(-1, 2, -1, -1).repeat(2, 1, 1, 1)
    assert float(seen.all("self")[0][strangers].max()) > 0.01


@each
@pytest.mark.parametrize("grid", [(3, 3), (3, 7), (6, 3)])
def test_a_grid_of_one_window_is_not_shifted(arch, grid):
    fields = TINY | {"image_size": [grid[0] * 2, grid[1] * 3], "depths": [2], "num_heads": [2]}
    reference = arch.theirs(fields)
    with torch.no_grad():
        assert_within(arch.load(reference)(pixels(fields)).states, reference(pixels(fields)).last_hidden_state)


@each
@pytest.mark.parametrize("grid", [(2, 2), (1, 5), (3, 8)])
def test_a_grid_smaller_than_the_window_equals_a_model_with_smaller_windows(arch, grid):
    window, side = 4, min(grid)
    fields = TINY | {"image_size": [grid[0] * 2, grid[1] * 3], "depths": [2], "num_heads": [2]}
    model = arch.ours(fields | {"window_size": window})
    smaller = arch.theirs(fields | {"window_size": side})
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        stored = json.loads((Path(folder) / "config.json").read_text())
        (Path(folder) / "config.json").write_text(json.dumps(stored | {"window_size": side}))
        cut = slice(window - side, window + side - 1)

        def shrink(tensors):
            return {
                name: x.view(2 * window - 1, 2 * window - 1, 2)[cut, cut].reshape(-1, 2).contiguous()
                if name.endswith("bias_table")
                else x
                for name, x in tensors.items()
            }

        changed(Path(folder), shrink)
        smaller = arch.their_model.from_pretrained(folder).eval()
    with torch.no_grad():
        assert_within(model(pixels(fields)).states, smaller(pixels(fields)).last_hidden_state)


@each
def test_a_small_image_does_not_affect_the_next(arch):
    fields = TINY | {"depths": [2, 2]}
    model, x = arch.ours(fields), pixels(fields)
    with torch.no_grad():
        before = model(x).states
        model(pixels(fields, size=(2, 3)))
        assert torch.equal(model(x).states, before)


# Images.


@each
@given(data=st.data(), seed=st.integers(0, 9))
def test_any_image_size_works_without_interpolation(arch, data, seed):
    fields = data.draw(arch.fields) | {"use_absolute_embeddings": False}
    stages, window, patch = len(fields["depths"]), fields["window_size"], fields["patch_size"]
    least = window * 2 ** (stages - 1)
    size = [data.draw(st.integers(least * p, (least + 5) * p)) for p in patch]
    reference = arch.theirs(fields, seed)
    model, x = arch.load(reference), pixels(fields, size=size)
    with torch.no_grad():
        assert_within(model(x).states, reference(x).last_hidden_state)
        assert torch.equal(model(x).states, model(x, interpolate_pos_encoding=True).states)
        tiny = model(pixels(fields, size=(1, 1)))
    assert tiny.grid == (1, 1)
    assert bool(tiny.states.isfinite().all())


@each
def test_images_of_a_batch_do_not_affect_each_other(arch):
    model, x = arch.ours(TINY), pixels(TINY, 3)
    with torch.no_grad():
        whole = model(x).states
        alone = torch.cat([model(image[None]).states for image in x])
        assert_within(whole, alone)
        x[1] = float("nan")
        assert torch.equal(model(x).states[::2], whole[::2])


@each
@given(data=st.data(), seed=st.integers(0, 99))
def test_a_state_is_masked_if_all_its_pixels_are(arch, data, seed):
    fields = data.draw(arch.fields) | {"use_absolute_embeddings": False}
    model = arch.ours(fields)
    height, width = (data.draw(st.integers(1, 60)) for _ in range(2))
    x = pixels(fields, size=(height, width))
    pixel_mask = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed)) < 0.02
    with torch.no_grad():
        output = model(x, pixel_mask=pixel_mask)
        assert torch.equal(output.states, model(x).states)  # windows do not look at the mask
    down, across = (p * 2 ** (len(fields["depths"]) - 1) for p in fields["patch_size"])
    expected = torch.stack(
        [
            pixel_mask[:, i * down : (i + 1) * down, j * across : (j + 1) * across].flatten(1).any(1)
            for i in range(output.grid[0])
            for j in range(output.grid[1])
        ],
        dim=1,
    )
    assert torch.equal(output.mask, expected)


@each
@pytest.mark.parametrize("shape", [(2, 3, 24), (2, 4, 24, 36), (2, 3, 0, 36), (24,)])
def test_pixels_of_another_shape_are_refused(arch, shape):
    with pytest.raises(InputError, match="expected pixel_values"):
        arch.ours(TINY)(torch.zeros(shape))


@each
def test_a_mask_of_another_shape_is_refused(arch):
    with pytest.raises(InputError, match=r"pixel_mask of shape \(2, 24, 36\), got \(2, 24, 35\)") as raised:
        arch.ours(TINY)(pixels(TINY), pixel_mask=torch.ones(2, 24, 35))
    assert (raised.value.tensor, raised.value.found) == ("pixel_mask", (2, 24, 35))


# Absolute positions.

SQUARE = TINY | {"image_size": 24, "patch_size": 2, "use_absolute_embeddings": True}


@given(size=st.tuples(st.integers(6, 20), st.integers(6, 20)), seed=st.integers(0, 9))
def test_positions_are_interpolated_as_in_transformers(size, seed):
    reference = SWIN.theirs(SQUARE, seed)
    model, x = SWIN.load(reference), pixels(SQUARE, size=[2 * side for side in size])
    with torch.no_grad():
        expected = reference(x, interpolate_pos_encoding=True).last_hidden_state
        assert_within(model(x, interpolate_pos_encoding=True).states, expected)


@each
def test_positions_of_another_grid_need_interpolation(arch):
    model = arch.ours(SQUARE)
    for size, found in (((20, 24), "10 x 12"), ((16, 36), "8 x 18")):  # the second has as many patches as trained
        with pytest.raises(InputError, match=rf"12 x 12 patches .* got {found}; .*interpolate_pos_encoding=True"):
            model(pixels(SQUARE, size=size))
    model(pixels(SQUARE, size=(23, 24)))  # filled up to the trained grid
    model(pixels(SQUARE, size=(23, 35)), interpolate_pos_encoding=True)
    oblong = arch.ours(TINY | {"image_size": [24, 27], "use_absolute_embeddings": True})
    with pytest.raises(InputError, match=r"square grid can be resized to 6 x 6, these are 12 x 9"):
        oblong(pixels(TINY, size=(12, 18)), interpolate_pos_encoding=True)


def test_a_table_with_a_row_for_a_class_token_is_refused_by_swin(tmp_path):
    SWIN.ours(SQUARE).save_pretrained(tmp_path)
    name = "embeddings.position_embeddings"
    changed(tmp_path, lambda t: t | {name: torch.zeros(1, 145, 8)})
    with pytest.raises(CheckpointError, match=rf"{name}: \(1, 145, 8\), want \(1, 144, 8\)"):
        SwinModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("size", [(24, 24), (20, 30)])
def test_donut_keeps_the_row_of_the_class_token_and_adds_the_others_as_swin_does(size, tmp_path):
    reference = DONUT.theirs(SQUARE)
    reference.save_pretrained(tmp_path / "a")
    model = DonutSwinModel.from_pretrained(tmp_path / "a")
    table = reference.embeddings.position_embeddings
    assert table.shape == (1, 145, 8)
    model.save_pretrained(tmp_path / "b")
    assert torch.equal(load_file(tmp_path / "b" / "model.safetensors")["embeddings.position_embeddings"], table)
    # The same weights as a Swin, whose last hidden state is what a Donut-Swin gives.
    config = reference.config.to_dict() | {"model_type": "swin", "architectures": ["SwinModel"], "dtype": "float32"}
    tensors = load_file(tmp_path / "a" / "model.safetensors")
    tensors |= {"embeddings.position_embeddings": table[:, 1:].detach()}
    (tmp_path / "c").mkdir()
    write(tmp_path / "c", config, tensors | {"layernorm.weight": torch.ones(16), "layernorm.bias": torch.zeros(16)})
    swin, x = SwinModel.from_pretrained(tmp_path / "c"), pixels(SQUARE, size=size)
    seen = Recorder("hidden")
    with torch.no_grad():
        swin(x, interpolate_pos_encoding=True, trace=seen)
        assert_within(model(x, interpolate_pos_encoding=True).states, seen.all("hidden")[-1])


# What a module must be.


@each
def test_it_compiles_as_one_graph_and_has_no_state(arch):
    model, x = arch.ours(TINY), pixels(TINY)
    before = copy.deepcopy(model.state_dict())
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    mask = torch.ones(2, 24, 36, dtype=torch.bool)
    with torch.no_grad():
        ours, expected = compiled(x, pixel_mask=mask), model(x, pixel_mask=mask)
        assert_within(ours.states, expected.states)
        assert torch.equal(ours.mask, expected.mask)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert not list(model.buffers())


@each
def test_every_weight_affects_the_output(arch):
    model = arch.ours(TINY)
    model(pixels(TINY)).states.square().sum().backward()
    still = [name for name, weight in model.named_parameters() if not weight.grad.abs().sum() > 0]
    assert not still
