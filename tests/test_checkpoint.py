"""Weights on disk: strict both ways, whole or not at all, no pickle unless asked."""

import copy
import errno
import os
import pickle
import stat
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from vedcore import KeyMap, Rule, Step
from vedcore.config import Config, field, model_config
from vedcore.errors import CheckpointError, CheckpointNotFound, ConfigError, SaveError, VedcoreError
from vedcore.part import Part, without_storage
from vedcore.storage import tensors as store
from vedcore.storage.files import read_json, write_json
from vedcore.storage.loading import COMPUTED, load_sections
from vedcore.storage.saving import tensors_to_write
from vedcore.storage.sections import Section
from vedcore.storage.tensors import byte_count, listed, stored_tensors
from vedcore_plugin_gpt2 import GPT2Config, GPT2LMHeadModel
from vedcore_plugin_vit import ViTConfig, ViTModel

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")

VIT = {
    "hidden_size": 6,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 5,
    "image_size": 4,
    "patch_size": 2,
}
GPT2 = {"vocab_size": 11, "n_positions": 7, "n_embd": 6, "n_layer": 1, "n_head": 2, "n_inner": 5}


def vit(**fields):
    return ViTModel(ViTConfig(**{**VIT, **fields})).eval()


def gpt2(**fields):
    return GPT2LMHeadModel(GPT2Config(**{**GPT2, "add_cross_attention": True, **fields})).eval()


PARTS = {"vit": vit, "gpt2": gpt2, "gpt2-untied": lambda: gpt2(tie_word_embeddings=False)}
WEIGHTS = "model.safetensors"


def moved(part):
    """The part with no weight at its first value."""
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.add_(torch.randn_like(parameter))
    return part


def same(a, b):
    ours, others = a.state_dict(), b.state_dict()
    return ours.keys() == others.keys() and all(
        ours[name].dtype == others[name].dtype and torch.equal(ours[name], others[name]) for name in ours
    )


def states(part, seed=3):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return part(torch.randn(2, 3, 4, 4, generator=generator)).states


def logits(part):
    slots = torch.arange(5)[None]
    mask = torch.ones(5, 5, dtype=torch.bool).tril()[None, None]
    with torch.no_grad():
        return part.lm_head(part(torch.tensor([[1, 4, 2, 9, 3]]), Step(slots=slots, mask=mask, extent=5)))


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edit(folder, **changes):
    """Change tensors of the file in ``folder``: a tensor, or None to remove it."""
    tensors = load_file(folder / WEIGHTS)
    for name, tensor in changes.items():
        tensors.pop(name, None)
        if tensor is not None:
            tensors[name] = tensor
    save_file(tensors, folder / WEIGHTS)


def pickled(folder, tensors, name="pytorch_model.bin"):
    (folder / WEIGHTS).unlink(missing_ok=True)
    torch.save(tensors, folder / name)


@pytest.fixture(params=list(PARTS))
def saved(request, tmp_path):
    """A part, and the folder it was saved to."""
    part = moved(PARTS[request.param]())
    part.save_pretrained(tmp_path / "model")
    return part, tmp_path / "model"


# There and back.


def test_what_was_saved_is_loaded_bit_for_bit_in_eval_mode(saved):
    part, folder = saved
    back = type(part).from_pretrained(folder)
    assert same(part, back)
    assert back.config.to_dict().items() >= part.config.to_dict().items()
    assert not back.training
    assert all(parameter.requires_grad for parameter in back.parameters())
    assert (back.dtype, back.device.type) == (torch.float32, "cpu")
    assert {path.name for path in folder.iterdir()} == {"config.json", WEIGHTS}


def test_ties_stay_ties(tmp_path):
    gpt2().save_pretrained(tmp_path)
    back = GPT2LMHeadModel.from_pretrained(tmp_path)
    assert back.lm_head.weight is back.token_embedding.weight
    gpt2(tie_word_embeddings=False).save_pretrained(tmp_path)
    back = GPT2LMHeadModel.from_pretrained(tmp_path)
    assert back.lm_head.weight is not back.token_embedding.weight


def test_saving_over_the_folder_that_was_loaded_changes_no_bit(saved):
    part, folder = saved
    live = type(part).from_pretrained(folder)
    before = snapshot(folder)
    live.save_pretrained(folder)
    first = snapshot(folder)
    assert first[WEIGHTS] == before[WEIGHTS]
    live.save_pretrained(folder)
    assert snapshot(folder) == first
    assert same(live, part)
    assert same(type(part).from_pretrained(folder), part)


@pytest.mark.parametrize("limit", ["1B", 1, "300B", "1KB", "1KiB"])
def test_shards_hold_the_same_tensors_and_replace_the_single_file(saved, limit):
    part, folder = saved
    (folder / "model-00001-of-00099.safetensors").write_text("stray")
    (folder / "pytorch_model.bin").write_text("stray")
    (folder / "notes.txt").write_text("kept")
    part.save_pretrained(folder, max_shard_size=limit)
    files = shards(folder)
    assert len(files) > 1
    assert files == [f"model-{i:05d}-of-{len(files):05d}.safetensors" for i in range(1, len(files) + 1)]
    assert {path.name for path in folder.iterdir()} - set(files) == {
        "config.json",
        "model.safetensors.index.json",
        "notes.txt",
    }
    index = read_json(folder / "model.safetensors.index.json")
    for shard in files:
        tensors = load_file(folder / shard)
        assert {name for name, file in index["weight_map"].items() if file == shard} == tensors.keys()
        assert len(tensors) == 1 or sum(tensor.nbytes for tensor in tensors.values()) <= byte_count(limit)
    assert index["metadata"]["total_parameters"] == sum(p.numel() for p in part.parameters())
    assert same(type(part).from_pretrained(folder), part)
    part.save_pretrained(folder)
    assert {path.name for path in folder.iterdir()} == {"config.json", WEIGHTS, "notes.txt"}


def test_shards_are_read_by_transformers(tmp_path):
    part = moved(gpt2(add_cross_attention=False))
    part.save_pretrained(tmp_path, max_shard_size="1KB")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(theirs(torch.tensor([[1, 4, 2, 9, 3]])).logits, logits(part))


@pytest.mark.parametrize(
    ("text", "size"),
    [(7, 7), ("5GB", 5 * 10**9), ("300MB", 3 * 10**8), ("2KB", 2000), ("1GiB", 2**30), ("1kib", 1024), (" 12 B ", 12)],
)
def test_a_shard_size_is_a_number_or_a_text_with_a_unit(text, size):
    assert byte_count(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "5", "GB", "5XB", "-1GB", "0GB", "1.5GB", "5IB", "5 G B", f"{'9' * 5000}B", 1.5, 0, -5, True, False, None],
)
def test_another_shard_size_is_a_config_error_and_nothing_is_saved(tmp_path, text):
    with pytest.raises(ConfigError, match="max_shard_size must be a number of bytes or like '5GB'") as error:
        vit().save_pretrained(tmp_path / "model", max_shard_size=text)
    assert repr(text) in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_bfloat16_is_kept_and_dtype_converts_to_another_type(saved):
    part, folder = saved
    copy.deepcopy(part).to(torch.bfloat16).save_pretrained(folder)
    assert read_json(folder / "config.json")["dtype"] == "bfloat16"
    kept = type(part).from_pretrained(folder)
    assert {parameter.dtype for parameter in kept.parameters()} == {torch.bfloat16}
    widened = type(part).from_pretrained(folder, dtype=torch.float32)
    assert {parameter.dtype for parameter in widened.parameters()} == {torch.float32}
    assert same(widened, copy.deepcopy(part).to(torch.bfloat16).to(torch.float32))


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_files_have_the_modes_that_the_umask_says(tmp_path, mask):
    previous = os.umask(mask)
    try:
        vit().save_pretrained(tmp_path / "one")
        vit().save_pretrained(tmp_path / "many", max_shard_size="1KB")
    finally:
        os.umask(previous)
    for path in (*(tmp_path / "one").iterdir(), *(tmp_path / "many").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask, path


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device")],
    ids=["os", "safetensors"],
)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_save_that_fails_half_way_leaves_the_old_folder(tmp_path, monkeypatch, error, at):
    folder = tmp_path / "model"
    vit().save_pretrained(folder, max_shard_size="1KB")
    before = snapshot(folder)
    calls = []

    def failing(tensors, path, metadata):
        if len(calls) == at:
            Path(path).write_bytes(b"half")
            raise error
        calls.append(path)
        save_file(tensors, path, metadata=metadata)

    monkeypatch.setattr(store, "save_file", failing)
    with pytest.raises(SaveError, match="No space left on device") as raised:
        moved(vit()).save_pretrained(folder, max_shard_size="1KB")
    assert str(folder) in str(raised.value)
    assert snapshot(folder) == before
    assert list(tmp_path.iterdir()) == [folder]


# Strict both ways.


def pieces_of(folder):
    return load_file(folder / WEIGHTS)


def refused(part, folder, *told):
    with pytest.raises(CheckpointError) as error:
        type(part).from_pretrained(folder)
    for text in told:
        assert text in str(error.value), f"{text!r} not in {error.value}"
    assert str(folder) in str(error.value)


def each_tensor(saved, change):
    """Load once for each tensor of the file, with ``change(name, tensor)`` in its place."""
    part, folder = saved
    tensors = pieces_of(folder)
    count = 0
    for name in tensors:
        changed = change(name, tensors[name])
        if changed is None:
            continue
        new, told = changed
        save_file({**{k: v for k, v in tensors.items() if k != name}, **new}, folder / WEIGHTS)
        with pytest.raises(CheckpointError) as error:
            load_sections(part.sections(), folder)
        for text in (str(folder), *told):
            assert text in str(error.value)
        count += 1
    assert count
    save_file(tensors, folder / WEIGHTS)
    assert same(type(part).from_pretrained(folder), part)


def test_each_tensor_removed_is_named(saved):
    each_tensor(saved, lambda name, tensor: ({}, (f"1 missing ({name})",)))


def test_each_tensor_renamed_is_named_twice(saved):
    each_tensor(
        saved, lambda name, tensor: ({f"{name}_x": tensor}, ("1 missing", "1 unexpected", f"({name})", f"({name}_x)"))
    )


def test_each_tensor_of_another_shape_is_named_with_both_shapes(saved):
    def longer(name, tensor):
        other = torch.cat([tensor, tensor[:1]])
        return {name: other}, ("1 of another shape", name, str(tuple(other.shape)), str(tuple(tensor.shape)))

    def flat(name, tensor):
        return {name: tensor[None]}, ("1 of another shape", name, str((1, *tensor.shape)))

    each_tensor(saved, longer)
    each_tensor(saved, flat)


def test_each_matrix_that_is_transposed_is_named(saved):
    def transpose(name, tensor):
        if tensor.dim() < 2 or tensor.shape == tensor.transpose(-1, -2).shape:
            return None
        return {name: tensor.transpose(-1, -2).contiguous()}, ("1 of another shape", name)

    each_tensor(saved, transpose)


def test_each_surplus_tensor_is_named(saved):
    each_tensor(
        saved, lambda name, tensor: ({name: tensor, f"x.{name}": tensor.clone()}, ("1 unexpected", f"x.{name}"))
    )


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_each_tensor_that_does_not_hold_floats_is_named(saved, dtype):
    each_tensor(saved, lambda name, tensor: ({name: tensor.to(dtype)}, (name, str(dtype), "expected torch.float32")))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_each_tensor_of_another_floating_type_than_the_others_is_named(saved, dtype):
    each_tensor(
        saved,
        lambda name, tensor: (
            {name: tensor.to(dtype)},
            (f"1 of {dtype} ({name} in {WEIGHTS})", "torch.float32 (", "dtype= "),
        ),
    )


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_a_type_that_is_only_for_storage_is_read_only_if_dtype_converts_it(saved, dtype):
    part, folder = saved
    stored = {name: tensor.to(dtype) for name, tensor in pieces_of(folder).items()}
    save_file(stored, folder / WEIGHTS)
    refused(part, folder, f"{len(stored)} of {dtype}", "pass dtype= to convert all of them", "Nothing was loaded")
    with pytest.raises(ConfigError, match=f"dtype must be torch.float32.*got {dtype}"):
        type(part).from_pretrained(folder, dtype=dtype)
    back = type(part).from_pretrained(folder, dtype=torch.float32)
    assert all(torch.equal(tensor, stored[name].float()) for name, tensor in tensors_to_write(back.sections()).items())


def test_different_types_are_converted_to_dtype(saved):
    part, folder = saved
    first = sorted(pieces_of(folder))[0]
    edit(folder, **{first: pieces_of(folder)[first].half()})
    back = type(part).from_pretrained(folder, dtype=torch.float32)
    assert {parameter.dtype for parameter in back.parameters()} == {torch.float32}


def test_all_problems_are_named_in_one_error(tmp_path):
    part = vit()
    part.save_pretrained(tmp_path)
    edit(
        tmp_path,
        **{
            "layernorm.bias": None,
            "embeddings.cls_token": None,
            "head.bias": torch.zeros(3),
            "layernorm.weight": torch.zeros(7),
        },
    )
    refused(
        part,
        tmp_path,
        "2 missing (embeddings.cls_token, layernorm.bias)",
        "1 unexpected (head.bias)",
        "1 of another shape (layernorm.weight: (7,), want (6,))",
        "Nothing was loaded",
    )
    for change, data in (
        ({"head.bias": torch.zeros(3)}, ("head.bias", None, (3,))),
        ({"layernorm.bias": None}, ("layernorm.bias", (6,), None)),
        ({"layernorm.weight": torch.zeros(7)}, ("layernorm.weight", (6,), (7,))),
        ({"layernorm.weight": torch.zeros(6).int()}, ("layernorm.weight", torch.float32, torch.int32)),
        ({"layernorm.weight": torch.zeros(6).half()}, ("layernorm.weight", COMPUTED, torch.float16)),
    ):
        part.save_pretrained(tmp_path)
        edit(tmp_path, **change)
        with pytest.raises(CheckpointError) as error:
            ViTModel.from_pretrained(tmp_path)
        assert (error.value.tensor, error.value.expected, error.value.found) == data
        assert error.value.file == str(tmp_path)
    part.save_pretrained(tmp_path)
    edit(tmp_path, **{name: torch.zeros(6, dtype=torch.int32) for name in ("layernorm.bias", "layernorm.weight")})
    refused(part, tmp_path, "layernorm.bias is torch.int32", "layernorm.weight is torch.int32")


def test_in_an_empty_file_everything_is_missing(saved):
    part, folder = saved
    save_file({}, folder / WEIGHTS)
    refused(part, folder, "missing")


def test_more_layers_than_the_file_has_are_missing_and_fewer_leave_tensors_over(tmp_path):
    vit().save_pretrained(tmp_path)
    data = read_json(tmp_path / "config.json")
    write_json(tmp_path / "config.json", {**data, "num_hidden_layers": 3})
    refused(vit(), tmp_path, "16 missing", "encoder.layer.2.")
    write_json(tmp_path / "config.json", {**data, "num_hidden_layers": 1})
    refused(vit(), tmp_path, "16 unexpected", "encoder.layer.1.")


@pytest.mark.parametrize("change", ["missing", "int", "unreadable", "shape"])
def test_a_load_that_fails_leaves_a_live_part_as_it_was(tmp_path, monkeypatch, change):
    part = moved(vit())
    moved(vit()).save_pretrained(tmp_path)
    edit(tmp_path, **{"pooler.dense.weight": None, "pooler.dense.bias": None})
    last = sorted(pieces_of(tmp_path))[-1]
    if change == "missing":
        edit(tmp_path, **{last: None})
    elif change == "int":
        edit(tmp_path, **{last: pieces_of(tmp_path)[last].long()})
    elif change == "shape":
        edit(tmp_path, **{last: torch.zeros(99)})
    else:
        real = store._read_safetensors

        def broken(path, stack):
            def fail():
                raise CheckpointError("a bad sector")

            tensors = real(path, stack)
            old = tensors[last]
            return {**tensors, last: store.StoredTensor(last, old.file, old.shape, fail)}

        monkeypatch.setattr(store, "_read_safetensors", broken)
    before = copy.deepcopy(part)
    with pytest.raises(CheckpointError):
        load_sections(part.sections(), tmp_path)
    assert same(part, before)


# Ties.


def test_a_tied_tensor_is_read_under_any_of_its_names(tmp_path):
    part = moved(gpt2())
    part.save_pretrained(tmp_path)
    table = pieces_of(tmp_path)["transformer.wte.weight"]
    for names in (["lm_head.weight"], ["transformer.wte.weight"], ["lm_head.weight", "transformer.wte.weight"]):
        edit(tmp_path, **{"transformer.wte.weight": None, "lm_head.weight": None})
        edit(tmp_path, **{name: table.clone() for name in names})
        assert same(GPT2LMHeadModel.from_pretrained(tmp_path), part)


@pytest.mark.parametrize(
    "change", [lambda t: t + 1, lambda t: t[:5], lambda t: t.bfloat16()], ids=["value", "shape", "type"]
)
def test_two_different_tensors_under_one_tie_are_refused(tmp_path, change):
    part = moved(gpt2())
    part.save_pretrained(tmp_path)
    edit(tmp_path, **{"lm_head.weight": change(pieces_of(tmp_path)["transformer.wte.weight"])})
    refused(part, tmp_path, "lm_head.weight", "transformer.wte.weight", "differ", "tie_word_embeddings")


def test_a_head_of_its_own_is_not_taken_from_the_embedding(tmp_path):
    part = gpt2(tie_word_embeddings=False)
    part.save_pretrained(tmp_path)
    edit(tmp_path, **{"lm_head.weight": None})
    refused(part, tmp_path, "1 missing (lm_head.weight)")


# Names that others write.


def config_beside(folder, part):
    folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", part.config.to_dict())


@pytest.mark.parametrize("form", ["bin", "safetensors"])
@pytest.mark.parametrize("prefix", ["", "vit."])
def test_the_names_that_transformers_has_in_memory_are_read(tmp_path, form, prefix):
    theirs = transformers.ViTModel(transformers.ViTConfig(**VIT)).eval()
    config_beside(tmp_path, vit())
    tensors = {prefix + name: tensor for name, tensor in theirs.state_dict().items()}
    if form == "bin":
        pickled(tmp_path, tensors)
    else:
        save_file(tensors, tmp_path / WEIGHTS)
    part = ViTModel.from_pretrained(tmp_path, allow_pickle=form == "bin")
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        expected = theirs(torch.randn(2, 3, 4, 4, generator=generator)).last_hidden_state
    torch.testing.assert_close(states(part), expected, rtol=1e-5, atol=1e-5)


def test_the_same_tensor_in_two_spellings_must_be_the_same(tmp_path):
    part = moved(vit())
    part.save_pretrained(tmp_path)
    edit(tmp_path, **{"vit.layernorm.weight": pieces_of(tmp_path)["layernorm.weight"].clone()})
    assert same(ViTModel.from_pretrained(tmp_path), part)
    edit(tmp_path, **{"vit.layernorm.weight": torch.zeros(6)})
    refused(part, tmp_path, "layernorm.weight and vit.layernorm.weight differ", "two spellings")


def test_a_classifier_of_transformers_gives_its_encoder_without_a_pooler(tmp_path):
    theirs = transformers.ViTForImageClassification(transformers.ViTConfig(**VIT, num_labels=3)).eval()
    theirs.save_pretrained(tmp_path)
    assert any(name.startswith("vit.") for name in pieces_of(tmp_path))
    part = ViTModel.from_pretrained(tmp_path)
    assert part.pooler is None
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        expected = theirs.vit(torch.randn(2, 3, 4, 4, generator=generator)).last_hidden_state
    torch.testing.assert_close(states(part), expected, rtol=1e-5, atol=1e-5)
    part.save_pretrained(tmp_path / "again")
    assert not any("pooler" in name for name in pieces_of(tmp_path / "again"))
    assert same(ViTModel.from_pretrained(tmp_path / "again"), part)


def test_a_part_without_its_optional_module_lets_no_such_tensor_in(tmp_path):
    part = vit()
    part.save_pretrained(tmp_path)
    bare = vit()
    bare.pooler = None
    with pytest.raises(CheckpointError, match=r"2 unexpected \(pooler.dense.bias, pooler.dense.weight\)"):
        load_sections(bare.sections(), tmp_path)
    bare.save_pretrained(tmp_path)
    load_sections(bare.sections(), tmp_path)
    assert bare.pooler is None


def test_a_pooler_is_kept_where_the_file_has_one_and_half_of_one_is_missing(tmp_path):
    part = vit()
    part.save_pretrained(tmp_path)
    assert ViTModel.from_pretrained(tmp_path).pooler is not None
    edit(tmp_path, **{"pooler.dense.bias": None})
    refused(part, tmp_path, "1 missing (pooler.dense.bias)")


def test_a_transformer_without_its_head_and_with_stray_masks_is_read(tmp_path):
    theirs = transformers.GPT2Model(transformers.GPT2Config(**GPT2)).eval()
    theirs.save_pretrained(tmp_path)
    assert "wte.weight" in pieces_of(tmp_path)
    strays = {}
    for i in range(GPT2["n_layer"]):
        strays[f"h.{i}.attn.bias"] = torch.ones(1, 1, 7, 7, dtype=torch.bool)
        strays[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
        strays[f"h.{i}.crossattention.bias"] = torch.ones(1, 1, 7, 7)
    edit(tmp_path, **strays)
    part = GPT2LMHeadModel.from_pretrained(tmp_path)
    with torch.no_grad():
        hidden = theirs(torch.tensor([[1, 4, 2, 9, 3]])).last_hidden_state
    torch.testing.assert_close(logits(part), hidden @ theirs.wte.weight.T, rtol=1e-5, atol=1e-5)
    part.save_pretrained(tmp_path / "again")
    assert not any("masked_bias" in name or name.endswith(".attn.bias") for name in pieces_of(tmp_path / "again"))


# The index.


@pytest.fixture
def sharded(tmp_path):
    part = moved(vit())
    part.save_pretrained(tmp_path / "model", max_shard_size="1KB")
    return part, tmp_path / "model"


INDEX = "model.safetensors.index.json"


def reindex(folder, **changes):
    index = read_json(folder / INDEX)
    index["weight_map"] |= changes
    write_json(folder / INDEX, index)


def shards(folder):
    return sorted(path.name for path in folder.glob("*.safetensors"))


def test_a_missing_shard_is_named(sharded):
    part, folder = sharded
    lost = shards(folder)[1]
    (folder / lost).unlink()
    with pytest.raises(CheckpointNotFound, match=f"{lost}: no such file, though the index") as error:
        type(part).from_pretrained(folder)
    assert error.value.file == str(folder / lost)


def test_a_tensor_that_is_not_in_its_shard_is_named(sharded):
    part, folder = sharded
    first = shards(folder)[0]
    reindex(folder, **{"layernorm.weight": first})
    refused(part, folder, f"{first}: lacks layernorm.weight, which the index says it holds")


def test_one_tensor_in_two_shards_is_refused(sharded):
    part, folder = sharded
    first, last = shards(folder)[0], shards(folder)[-1]
    double = next(iter(load_file(folder / first)))
    save_file({**load_file(folder / last), double: load_file(folder / first)[double]}, folder / last)
    refused(part, folder, last, first, f"holds {double} too")


@pytest.mark.parametrize(
    "name", ["../other/model.safetensors", "/etc/passwd", "..", "a/b", "C:x", "a\\b", "", 3, None, []]
)
def test_an_index_reads_only_its_own_folder(sharded, name):
    part, folder = sharded
    (folder.parent / "other").mkdir()
    save_file(pieces_of_all(folder), folder.parent / "other" / WEIGHTS)
    reindex(folder, **{"layernorm.weight": name})
    refused(part, folder, repr(name), "leaves the folder")


def pieces_of_all(folder):
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


@pytest.mark.parametrize("name", ["fifo", "folder", "x" * 5000, "config.json", "pickle.pkl"])
def test_an_index_that_names_no_weight_file_is_refused(sharded, name):
    part, folder = sharded
    os.mkfifo(folder / "fifo")
    (folder / "folder").mkdir()
    (folder / "pickle.pkl").write_bytes(pickle.dumps({}))
    reindex(folder, **{"layernorm.weight": name})
    refused(part, folder)


@pytest.mark.parametrize(
    "content", [{}, {"weight_map": {}}, {"weight_map": []}, {"weight_map": "x"}, {"weight_map": None}]
)
def test_an_index_without_a_map_is_refused(sharded, content):
    part, folder = sharded
    write_json(folder / INDEX, content)
    refused(part, folder, "weight_map must map tensor names to files")


def test_an_index_that_is_not_json_is_refused(sharded):
    part, folder = sharded
    (folder / INDEX).write_text('{"weight_map": {"a": "b", "a": "c"}}')
    with pytest.raises(ConfigError, match="appears twice"):
        type(part).from_pretrained(folder)


# Pickles.


class Gadget:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_a_pickle_is_refused_unless_it_is_allowed(saved):
    part, folder = saved
    pickled(folder, pieces_of(folder))
    refused(part, folder, f"no {WEIGHTS}", "allow_pickle=True", "can run code")
    assert same(type(part).from_pretrained(folder, allow_pickle=True), part)


def test_a_folder_without_weights_says_so_without_a_word_of_pickles(tmp_path):
    config_beside(tmp_path, vit())
    for allowed in (False, True):
        with pytest.raises(CheckpointNotFound, match=r"no model\.safetensors") as error:
            ViTModel.from_pretrained(tmp_path, allow_pickle=allowed)
        assert "allow_pickle" not in str(error.value)


def test_safetensors_are_taken_before_a_pickle(saved):
    part, folder = saved
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    assert same(type(part).from_pretrained(folder, allow_pickle=True), part)


def test_sharded_pickles_are_read_where_they_are_allowed(saved):
    part, folder = saved
    tensors = pieces_of(folder)
    names = sorted(tensors)
    halves = names[: len(names) // 2], names[len(names) // 2 :]
    weight_map = {}
    for i, half in enumerate(halves):
        pickled(folder, {name: tensors[name] for name in half}, f"pytorch_model-{i}.bin")
        weight_map |= dict.fromkeys(half, f"pytorch_model-{i}.bin")
    write_json(folder / "pytorch_model.bin.index.json", {"weight_map": weight_map})
    refused(part, folder, "allow_pickle=True")
    assert same(type(part).from_pretrained(folder, allow_pickle=True), part)


def test_an_index_of_safetensors_does_not_lead_to_a_pickle(saved):
    part, folder = saved
    tensors = pieces_of(folder)
    pickled(folder, tensors, "weights.bin")
    write_json(folder / INDEX, {"weight_map": dict.fromkeys(tensors, "weights.bin")})
    refused(part, folder, "weights.bin", "allow_pickle=True")


def test_every_spelling_and_a_shared_tensor_in_a_pickle_are_read(tmp_path):
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2)).eval()
    tensors = theirs.state_dict()
    assert tensors["lm_head.weight"].data_ptr() == tensors["transformer.wte.weight"].data_ptr()
    config_beside(tmp_path, gpt2(add_cross_attention=False))
    pickled(tmp_path, tensors)
    part = GPT2LMHeadModel.from_pretrained(tmp_path, allow_pickle=True)
    with torch.no_grad():
        expected = theirs(torch.tensor([[1, 4, 2, 9, 3]])).logits
    torch.testing.assert_close(logits(part), expected, rtol=1e-5, atol=1e-5)
    pickled(tmp_path, {name: nn.Parameter(tensor.clone()) for name, tensor in tensors.items()})
    assert same(GPT2LMHeadModel.from_pretrained(tmp_path, allow_pickle=True), part)


@pytest.mark.parametrize("form", ["zip", "legacy", "plain", "nested"])
def test_a_pickle_that_would_run_code_never_does(tmp_path, form):
    marker = tmp_path / "ran"
    config_beside(tmp_path, vit())
    path = tmp_path / "pytorch_model.bin"
    gadget = Gadget(marker)
    if form == "plain":
        path.write_bytes(pickle.dumps(gadget))
    else:
        torch.save(
            {"a": [gadget]} if form == "nested" else gadget, path, _use_new_zipfile_serialization=form != "legacy"
        )
    with pytest.raises(CheckpointError) as error:
        ViTModel.from_pretrained(tmp_path, allow_pickle=True)
    assert str(path) in str(error.value)
    assert not marker.exists()


def odd():
    return {
        "coo": torch.eye(6).to_sparse(),
        "csr": torch.eye(6).to_sparse_csr(),
        "meta": torch.empty(6, device="meta"),
        "stride 0": torch.zeros(1).expand(10**9),
        "list": [1.0],
        "number": 1.0,
        "text": "x",
        "nothing": None,
    }


@pytest.mark.parametrize("kind", ["coo", "csr", "meta", "stride 0", "list", "number", "text", "nothing"])
@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_anything_but_a_plain_dense_tensor_is_refused_by_name(tmp_path, kind):
    config_beside(tmp_path, vit())
    pickled(tmp_path, {**vit().state_dict(), "strange": odd()[kind]})
    with pytest.raises(CheckpointError, match="strange"):
        ViTModel.from_pretrained(tmp_path, allow_pickle=True)


@pytest.mark.parametrize(
    "content", [[1], torch.zeros(3), None, {3: torch.zeros(3)}], ids=["list", "tensor", "none", "key"]
)
def test_a_pickle_that_is_not_tensors_by_name_is_refused(tmp_path, content):
    config_beside(tmp_path, vit())
    pickled(tmp_path, content)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: "):
        ViTModel.from_pretrained(tmp_path, allow_pickle=True)


# Damaged files.


def read_all(folder):
    with stored_tensors(folder) as tensors:
        return {name: tensor.read() for name, tensor in tensors.items()}


def test_a_file_cut_at_any_point_or_padded_is_refused_by_name(saved):
    part, folder = saved
    path = folder / WEIGHTS
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    cuts = {*range(20), *range(header - 5, header + 5), *range(20, len(whole), 37), len(whole) - 1}
    for cut in sorted(cuts):
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            read_all(folder)
    for padding in (b"\0", b"x" * 7, b"\0" * 4096, whole):
        path.write_bytes(whole + padding)
        refused(part, folder, WEIGHTS)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        b"\xff" * 64,
        (10**9).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{}" + b"x",
        (4).to_bytes(8, "little") + b"null",
        (60).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,9]}}'.ljust(60) + b"\0" * 9,
        (60).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}'.ljust(60) + b"\0" * 4,
        (60).to_bytes(8, "little") + b'{"a":{"dtype":"X32","shape":[1],"data_offsets":[0,4]}}'.ljust(60) + b"\0" * 4,
        b"PK\x03\x04" + b"\0" * 60,
    ],
    ids=range(11),
)
def test_a_malformed_header_is_a_checkpoint_error(tmp_path, data):
    config_beside(tmp_path, vit())
    (tmp_path / WEIGHTS).write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        ViTModel.from_pretrained(tmp_path)


def test_a_damaged_byte_gives_a_vedcore_error_or_a_whole_part(saved):
    part, folder = saved
    path = folder / WEIGHTS
    whole = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(whole[:8], "little")
    generator = torch.Generator().manual_seed(0)
    for position in torch.randint(0, header, (40,), generator=generator).tolist():
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        try:
            back = type(part).from_pretrained(folder)
        except VedcoreError:
            continue
        assert back.state_dict().keys() == part.state_dict().keys()


def test_weights_that_are_a_folder_are_refused(tmp_path):
    config_beside(tmp_path, vit())
    (tmp_path / WEIGHTS).mkdir()
    with pytest.raises(CheckpointError, match="not a regular file"):
        ViTModel.from_pretrained(tmp_path)


# Parts of third parties.


@model_config("odd")
class OddConfig(Config):
    width: int = field.integer(3)


class Odd(Part[OddConfig]):
    """A part with a scalar, a counter that is saved, a table that is not, and two tensors in one."""

    config_class: ClassVar = OddConfig
    keymap: ClassVar = KeyMap((Rule("both", "left", "right"),))

    def __init__(self, config, device="cpu"):
        super().__init__(config)
        self.scale = nn.Parameter(torch.ones(()))
        self.left, self.right = nn.Linear(2, config.width), nn.Linear(2, config.width)
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("steps", torch.tensor(5))
        self.register_buffer("average", torch.ones(2))
        self.register_buffer("table", torch.arange(4, device=device), persistent=False)


def test_scalars_buffers_and_frozen_tensors_come_back(tmp_path):
    part = moved(Odd(OddConfig()))
    part.steps += 2
    part.save_pretrained(tmp_path)
    assert pieces_of(tmp_path).keys() == {"scale", "frozen", "both.weight", "both.bias", "steps", "average"}
    back = Odd.from_pretrained(tmp_path, dtype=torch.float64)
    assert same(back, copy.deepcopy(part).to(torch.float64))
    assert back.steps.item() == 7
    assert back.table.tolist() == [0, 1, 2, 3]
    assert {name for name, p in back.named_parameters() if not p.requires_grad} == {"frozen"}


def test_the_error_for_a_buffer_without_values_helps_its_author(tmp_path):
    class Careless(Odd):
        def __init__(self, config):
            super().__init__(config, device=None)

    Odd(OddConfig()).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r'Careless: buffers table have no values.*device="cpu"'):
        Careless.from_pretrained(tmp_path)


def test_a_part_with_only_a_piece_of_a_tensor_is_refused(tmp_path):
    class Half(Odd):
        def __init__(self, config):
            super().__init__(config)
            del self.right

    Odd(OddConfig()).save_pretrained(tmp_path)
    refused(Half(OddConfig()), tmp_path, "both.weight: 2 tensors side by side, the model has 1")


def test_tensors_that_may_be_missing_are_returned_and_stay_unchanged(tmp_path):
    part = moved(vit())
    part.save_pretrained(tmp_path)
    edit(tmp_path, **{"layernorm.weight": None, "layernorm.bias": None})
    live = moved(vit())
    before = live.norm.weight.clone()
    assert load_sections(live.sections(), tmp_path, missing_ok=["norm."]) == ["layernorm.weight", "layernorm.bias"]
    assert torch.equal(live.norm.weight, before)
    assert torch.equal(live.pooler.dense.weight, part.pooler.dense.weight)
    edit(tmp_path, **{"embeddings.cls_token": None})
    with pytest.raises(CheckpointError, match="1 missing"):
        load_sections(live.sections(), tmp_path, missing_ok=["norm."])


def test_sections_share_one_file_by_their_prefixes(tmp_path):
    left, right = moved(vit()), moved(gpt2())
    sections = [Section("encoder.", left, left.keymap), Section("decoder.", right, right.keymap)]
    tensors = tensors_to_write(sections)
    assert {name.split(".")[0] for name in tensors} == {"encoder", "decoder"}
    store.write_tensors(tmp_path, tensors, "5GB")
    others = [vit(), gpt2()]
    pairs = zip(sections, others, strict=True)
    load_sections([Section(s.prefix, other, s.keymap) for s, other in pairs], tmp_path)
    assert same(others[0], left)
    assert same(others[1], right)
    edit(tmp_path, **{"bridge.weight": torch.zeros(2), "encoder.strange": torch.zeros(2)})
    with pytest.raises(CheckpointError, match=r"2 unexpected \(bridge.weight, encoder.strange\)"):
        load_sections(sections, tmp_path)


def test_a_part_is_built_from_its_own_config():
    with pytest.raises(ConfigError, match="ViTModel is built from a ViTConfig, got GPT2Config"):
        ViTModel(GPT2Config())
    with without_storage():
        assert vit().device.type == "meta"
    assert vit().device.type == "cpu"


def test_a_folder_that_is_not_there_or_is_a_file_is_not_found(tmp_path):
    (tmp_path / "file").write_text("x")
    for name in ("absent", "file"):
        with pytest.raises(CheckpointNotFound, match=name):
            ViTModel.from_pretrained(tmp_path / name)


@pytest.mark.parametrize("field", ["hidden_size", "intermediate_size", "image_size", "num_channels"])
def test_sizes_that_no_memory_holds_are_refused_and_take_none(tmp_path, field):
    vit().save_pretrained(tmp_path)
    data = read_json(tmp_path / "config.json")
    for size in (2**40, 2**62, 10**30):
        write_json(tmp_path / "config.json", {**data, field: size})
        with pytest.raises(VedcoreError):
            ViTModel.from_pretrained(tmp_path)


def test_a_long_list_is_cut():
    assert listed(["a", "b"], 2) == "a, b"
    assert listed(["a", "b", "c"], 2) == "a, b and 1 more"
