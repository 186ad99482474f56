"""The report on a checkpoint is right, whatever is broken in it, and reads no weights into memory."""

import dataclasses
import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from vedcore import CheckpointNotFound, Reader, VedcoreError, VisionEncoderDecoderModel, cli, diagnosis
from vedcore.diagnosis import checkpoint, diagnose, inspect
from vedcore.storage.tensors import stored_tensors

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "plugins/vedcore-plugin-linereader/vedcore_plugin_linereader/line-reader"
FILES = sorted(path.name for path in SHIPPED.iterdir())


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(SHIPPED, tmp_path / "model")


def change_config(folder, **fields):
    data = json.loads((folder / "config.json").read_text()) | fields
    (folder / "config.json").write_text(json.dumps(data))


def change_tensors(folder, change):
    found = load_file(folder / "model.safetensors")
    change(found)
    save_file(found, folder / "model.safetensors", metadata={"format": "pt"})


def run(*arguments):
    return CliRunner().invoke(cli.app, ["inspect", *map(str, arguments)])


# A whole model.


def test_sizes_are_those_of_the_loaded_model():
    report, model = inspect("line-reader"), VisionEncoderDecoderModel.from_pretrained(SHIPPED)
    counts = {part.name: part.parameters for part in report.parts}
    assert counts == {
        "encoder": sum(parameter.numel() for parameter in model.encoder.parameters()),
        "decoder": sum(parameter.numel() for parameter in model.decoder.parameters()),
    }
    assert [part.nbytes for part in report.parts] == [4 * count for count in counts.values()]
    assert report.files == {"model.safetensors": (SHIPPED / "model.safetensors").stat().st_size}


def test_the_report_has_everything_that_reading_uses():
    report = inspect("line-reader")
    assert [(part.model_type, part.served_by, part.dtypes) for part in report.parts] == [
        ("vit", "vedcore_plugin_vit.ViTModel", ("float32",)),
        ("gpt2", "vedcore_plugin_gpt2.GPT2LMHeadModel", ("float32",)),
    ]
    assert (report.image_size, report.processor_size) == ((32, 256), (32, 256))
    assert (report.vocabulary, report.tokenizer_size, report.positions) == (99, 99, 28)
    assert report.generation == {
        "max_length": 28,
        "use_cache": True,
        "output_attentions": False,
        "output_hidden_states": False,
    }
    assert report.adapter == "linear"
    assert report.cut == {"above": 8.0, "longest": 7.0, "shortest": 3.0, "separator": " "}
    nothing = (report.untrained, report.missing, report.unexpected, report.misshaped, report.other, report.unread)
    assert nothing == ((),) * 6


def test_each_id_is_listed_with_the_files_that_set_it(folder):
    change_config(folder, pad_token_id=5)
    (folder / "generation_config.json").unlink()
    entries = [(entry.name, entry.place, entry.value, entry.token) for entry in inspect(folder).ids]
    assert entries == [
        ("decoder_start_token_id", "config.json", 1, "<s>"),
        ("bos_token_id", "config.json", 1, "<s>"),
        ("bos_token_id", "config.json (decoder)", 1, "<s>"),
        ("bos_token_id", "tokenizer", 1, "<s>"),
        ("eos_token_id", "config.json", 2, "</s>"),
        ("eos_token_id", "config.json (decoder)", 2, "</s>"),
        ("eos_token_id", "tokenizer", 2, "</s>"),
        ("pad_token_id", "config.json", 5, "!"),
        ("pad_token_id", "config.json (decoder)", 0, "<pad>"),
        ("pad_token_id", "tokenizer", 0, "<pad>"),
    ]


def test_no_value_of_a_tensor_is_read(monkeypatch):
    @contextmanager
    def headers(*arguments, **options):
        def refuse():
            raise AssertionError("a value was read")

        with stored_tensors(*arguments, **options) as stored:
            yield {name: dataclasses.replace(tensor, read=refuse) for name, tensor in stored.items()}

    expected = inspect("line-reader")
    monkeypatch.setattr(checkpoint, "stored_tensors", headers)
    assert inspect("line-reader") == expected


def test_shards_and_types_are_counted_like_one_file(folder):
    whole = inspect(folder)
    model = VisionEncoderDecoderModel.from_pretrained(folder, dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="1MB")
    report = inspect(folder)
    assert len(report.files) > 1
    for part, before in zip(report.parts, whole.parts, strict=True):
        assert (part.parameters, part.nbytes) == (before.parameters, before.nbytes // 2)
        assert part.dtypes == ("bfloat16",)


def test_a_pickle_is_counted_if_allowed(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    refused, read = inspect(folder), inspect(folder, allow_pickle=True)
    assert [unread.what for unread in refused.unread] == ["weights"]
    assert read.parts == inspect(SHIPPED).parts
    assert (list(read.files), read.unread) == (["pytorch_model.bin"], ())


# Untrained.


def test_untrained_parameters_are_those_of_the_model(tmp_path):
    model = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(SHIPPED, SHIPPED, adapter="gated", seed=1)
    model.save_pretrained(tmp_path)
    shutil.copy(SHIPPED / "tokenizer.json", tmp_path)
    shutil.copy(SHIPPED / "preprocessor_config.json", tmp_path)
    report = inspect(tmp_path)
    assert report.adapter == "gated"
    assert list(report.untrained) == model.untrained != []
    between = report.parts[-1]
    assert (between.name, between.parameters) == ("joint", sum(p.numel() for p in model.decoder.cross.parameters()))

    def train(found):  # by a program that leaves vedcore.json as it is
        for name in found:
            if name.startswith("cross_attention.0."):
                found[name] = found[name] + 1

    change_tensors(tmp_path, train)
    left = [name for name in model.untrained if not name.startswith("decoder.cross.0.")]
    assert list(inspect(tmp_path).untrained) == left != []


# A single part.


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 9}
    vit = transformers.ViTConfig(**sizes, image_size=12, patch_size=4)
    bert = transformers.BertConfig(**sizes, vocab_size=11, max_position_embeddings=7)
    for kind, config in (
        (transformers.ViTModel, vit),
        (transformers.ViTForImageClassification, vit),
        (transformers.BertModel, bert),
        (transformers.BertForMaskedLM, bert),
    ):
        kind(config).save_pretrained(root / kind.__name__)
    return root


@pytest.mark.parametrize("kind", ["ViTModel", "ViTForImageClassification"])
def test_a_single_encoder_is_reported(parts, kind):
    report = inspect(parts / kind)
    (part,) = report.parts
    assert (part.name, part.model_type, part.served_by) == ("encoder", "vit", "vedcore_plugin_vit.ViTModel")
    assert part.parameters == getattr(transformers, kind).from_pretrained(parts / kind).num_parameters()
    assert (report.image_size, report.vocabulary, report.adapter) == ((12, 12), None, None)
    assert (report.missing, report.unexpected, report.unread) == ((), (), ())


def test_a_single_decoder_is_reported_with_its_missing_tensors(parts):
    report = inspect(parts / "BertForMaskedLM")
    (part,) = report.parts
    assert (part.name, part.model_type) == ("decoder", "bert")
    assert (report.vocabulary, report.positions, report.image_size) == (11, 7, None)
    assert (report.missing, report.unexpected, report.unread) == ((), (), ())
    report = inspect(parts / "BertModel")
    assert report.missing
    assert all(name.startswith("cls.predictions.") for name in report.missing)


# What is broken.


def test_missing_unexpected_and_misshaped_tensors_are_named(folder):
    def change(found):
        del found["encoder.layernorm.bias"], found["decoder.transformer.ln_f.bias"]
        found["odd"] = torch.ones(2)
        found["encoder.layernorm.weight"] = torch.ones(3)

    change_tensors(folder, change)
    report = inspect(folder)
    assert set(report.missing) == {"encoder.layernorm.bias", "decoder.transformer.ln_f.bias"}
    assert report.unexpected == ("odd",)
    assert report.misshaped == ("encoder.layernorm.weight: (3,), want (128,)",)
    assert (report.unread, report.other) == ((), ())
    assert [part.name for part in report.parts] == ["encoder", "decoder", "joint"]


def test_a_config_of_any_size_takes_no_memory(folder):
    change_config(
        folder, encoder=json.loads((folder / "config.json").read_text())["encoder"] | {"hidden_size": 120_000}
    )
    report = inspect(folder)
    assert report.unread == ()
    assert "encoder.layernorm.weight: (128,), want (120000,)" in report.misshaped


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("config.json", "config"),
        ("generation_config.json", "generation"),
        ("model.safetensors", "weights"),
        ("preprocessor_config.json", "image processor"),
        ("tokenizer.json", "tokenizer"),
        ("tokenizer_config.json", "tokenizer"),
        ("vedcore.json", "vedcore.json"),
    ],
)
def test_a_broken_file_hides_only_its_own_content(folder, file, what):
    (folder / file).write_bytes((folder / file).read_bytes()[:-5])
    report, whole = inspect(folder), inspect(SHIPPED)
    assert [(unread.what, file in unread.reason) for unread in report.unread] == [(what, True)]
    content = {
        "config": (
            "vocabulary",
            "positions",
            "image_size",
            "adapter",
            "tokenizer_size",
        ),  # the tokenizer reads its family from config.json
        "generation": ("generation",),
        "image processor": ("processor_size",),
        "vedcore.json": ("cut",),
        "weights": (),
        "tokenizer": ("tokenizer_size",),
    }
    for name in {name for names in content.values() for name in names}:
        lost = {"generation": {}}.get(name) if name in content[what] else getattr(whole, name)
        assert getattr(report, name) == lost, name
    assert [part.parameters for part in report.parts] == [part.parameters for part in whole.parts]


def test_parts_without_a_plugin_are_reported_from_their_files(folder):
    encoder = json.loads((folder / "config.json").read_text())["encoder"]
    change_config(folder, encoder=encoder | {"model_type": "vitt"})
    report, whole = inspect(folder), inspect(SHIPPED)
    assert [unread.what for unread in report.unread] == ["config"]
    assert (report.parts[0].model_type, report.parts[0].parameters) == ("vitt", whole.parts[0].parameters)
    assert "no encoder named 'vitt'" in report.parts[0].served_by
    assert report.parts[1] == whole.parts[1]
    for config in ('{"model_type": "vitt"}', "{}"):
        (folder / "config.json").write_text(config)
        report = inspect(folder)
        assert (report.parts, [unread.what for unread in report.unread]) == ((), ["config"])


@st.composite
def damages(draw):
    """A file of the checkpoint and a change of its bytes."""
    file = draw(st.sampled_from(FILES))
    size = (SHIPPED / file).stat().st_size
    place = draw(st.integers(0, size - 1) | st.integers(0, min(size, 2000) - 1))
    change = draw(st.sampled_from(["cut", "remove", "insert", "replace"]))
    return (
        file,
        place,
        change,
        draw(st.binary(min_size=1, max_size=4) | st.sampled_from([b"0", b"9", b"null", b"[", b'"'])),
    )


@given(damages())
def test_a_damaged_file_never_crashes(tmp_path_factory, damage):
    file, place, change, put = damage
    folder = shutil.copytree(SHIPPED, tmp_path_factory.mktemp("damage") / "model")
    whole = (folder / file).read_bytes()
    if change == "remove":
        (folder / file).unlink()
    else:
        rest = {"cut": b"", "insert": put + whole[place:], "replace": put + whole[place + len(put) :]}[change]
        (folder / file).write_bytes(whole[:place] + rest)
    report, findings = inspect(folder), diagnose(folder)
    assert len(report.unread) <= len(findings)
    assert run(folder).exit_code == bool(report.unread)
    try:
        Reader.load(folder)
    except VedcoreError:  # then a finding says why
        assert "error" in {finding.severity for finding in findings}


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(CheckpointNotFound):
        inspect(tmp_path / "none")


# The package.


def test_the_package_has_its_names_and_imports_torch_only_when_it_uses_them():
    program = (
        "import sys, vedcore.diagnosis as package\n"
        "assert set(package.__all__) <= set(dir(package))\n"
        "assert 'torch' not in sys.modules\n"
        "assert all(getattr(package, name) for name in package.__all__)\n"
        "assert callable(package.inspect) and callable(package.diagnose)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, cwd=ROOT, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    with pytest.raises(AttributeError, match="no attribute 'cure'"):
        diagnosis.cure  # noqa: B018


# The command.


def test_json_is_the_report():
    result = run("line-reader", "--format", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json.loads(json.dumps(dataclasses.asdict(inspect("line-reader"))))


def test_the_table_shows_the_whole_report(folder):
    result = run(folder)
    assert result.exit_code == 0
    for text in (
        "vedcore_plugin_vit.ViTModel", "867,584", "3.5 MB", "float32", "model.safetensors 5.7 MB", "32 x 256 (encoder)",
        "99 tokens", "28", "2 </s>: config.json", "max_length 28", "linear", "longest 7.0",
    ):  # fmt: skip
        assert text in result.stdout
    assert "untrained" not in result.stdout

    change_tensors(folder, lambda found: found.update(odd=torch.ones(2)) or found.pop("encoder.layernorm.bias"))
    (folder / "tokenizer.json").unlink()
    result = run(folder)
    assert result.exit_code == 1
    for text in ("unexpected", "odd", "missing", "encoder.layernorm.bias", "unread: tokenizer"):
        assert text in result.stdout


def test_the_command_refuses_a_missing_checkpoint(tmp_path):
    result = run(tmp_path / "none")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("vedcore: ")
