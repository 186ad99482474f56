"""``vedcore compose`` joins two folders into one that vedcore and transformers load, or writes nothing."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer as Core
from tokenizers import models, pre_tokenizers
from typer.testing import CliRunner

from vedcore import ConfigError, ImageProcessor, Reader, SaveError, Tokenizer, VisionEncoderDecoderModel, cli
from vedcore.diagnosis import diagnose
from vedcore.model import UntrainedWarning

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "plugins/vedcore-plugin-linereader/vedcore_plugin_linereader/line-reader"
SIZES = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 9}
SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The folders ``vit`` and ``gpt2``, as transformers writes them."""
    root = tmp_path_factory.mktemp("parts")
    torch.manual_seed(0)
    vit = transformers.ViTConfig(**SIZES, hidden_size=8, image_size=[8, 24], patch_size=[4, 4])
    transformers.ViTModel(vit).save_pretrained(root / "vit")
    transformers.ViTImageProcessor(size={"height": 8, "width": 24}).save_pretrained(root / "vit")
    words = [*SPECIAL.values(), *"abcdefghijklmnopqrst"]
    core = Core(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    gpt2 = transformers.GPT2Config(n_embd=12, n_layer=2, n_head=2, n_positions=9, vocab_size=len(words), **IDS)
    transformers.GPT2LMHeadModel(gpt2).save_pretrained(root / "gpt2")
    transformers.PreTrainedTokenizerFast(tokenizer_object=core, **SPECIAL).save_pretrained(root / "gpt2")
    return root


@pytest.fixture
def pair(parts):
    return parts / "vit", parts / "gpt2"


def run(*arguments):
    return CliRunner().invoke(cli.app, ["compose", *map(str, arguments)])


def names(folder):
    return {path.name for path in folder.iterdir()}


WHOLE = {
    "config.json", "generation_config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json",
    "tokenizer_config.json", "vedcore.json",
}  # fmt: skip


def test_the_new_folder_reads_images(pair, tmp_path):
    result = run(*pair, "--out", tmp_path / "model")
    assert (result.exit_code, result.stderr) == (0, "")
    assert names(tmp_path / "model") == WHOLE
    assert names(tmp_path) == {"model"}
    reader = Reader.load(tmp_path / "model")
    with pytest.warns(UntrainedWarning):
        (reading,) = reader.read([Image.new("RGB", (50, 20), "white")])
    assert (reading.stop_reason, len(reading.token_ids)) == ("length", 8)


def test_the_model_is_the_one_that_python_composes(pair, tmp_path):
    assert run(*pair, "--out", tmp_path / "model", "--seed", 3).exit_code == 0
    model = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(*pair, seed=3)
    model.generation_config = model.generation_config.with_default_length(9)
    model.save_pretrained(tmp_path / "python")
    for name in ("config.json", "generation_config.json", "vedcore.json", "model.safetensors"):
        assert (tmp_path / "model" / name).read_bytes() == (tmp_path / "python" / name).read_bytes(), name


def test_transformers_reads_the_folder_as_well(pair, tmp_path):
    folder = tmp_path / "model"
    assert run(*pair, "--out", folder).exit_code == 0
    theirs, report = transformers.VisionEncoderDecoderModel.from_pretrained(folder, output_loading_info=True)
    assert (report["missing_keys"], report["unexpected_keys"]) == (set(), set())
    assert theirs.config.decoder_start_token_id == 1
    image = Image.effect_noise((40, 30), 60).convert("RGB")
    pixels = transformers.AutoImageProcessor.from_pretrained(folder)(image, return_tensors="pt").pixel_values
    assert torch.equal(pixels, ImageProcessor.from_pretrained(folder)(image).pixel_values)
    ids = transformers.AutoTokenizer.from_pretrained(folder)("a b q z").input_ids
    assert (
        ids
        == Tokenizer.from_pretrained(folder)("a b q z").input_ids
        == Tokenizer.from_pretrained(pair[1])("a b q z").input_ids
    )


def test_the_seed_decides_only_the_new_weights(pair, tmp_path):
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(*pair, "--out", tmp_path / out, "--seed", seed).exit_code == 0
    a, b, c = (load_file(tmp_path / out / "model.safetensors") for out in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    new = {name for name in a if name.startswith("enc_to_dec_proj") or ".crossattention." in name or "ln_cross" in name}
    changed = {name for name in a if not torch.equal(a[name], c[name])}
    assert changed
    assert changed <= new


def test_parts_ids_and_untrained_weights_are_printed(pair, tmp_path):
    result = run(*pair, "--out", tmp_path / "model")
    model = VisionEncoderDecoderModel.from_pretrained(tmp_path / "model")
    new = [name for name in model.untrained if name.startswith("decoder.cross")]
    for text in (
        "vedcore_plugin_vit.ViTModel", "vedcore_plugin_gpt2.GPT2LMHeadModel", "8 x 24 (encoder)", "1 <s>: config.json",
        "2 </s>: config.json", "0 <pad>: config.json", f"{len(new)} in decoder.cross", "2 in bridge.projection",
        f"vedcore doctor {tmp_path / 'model'}",
    ):  # fmt: skip
        assert text in result.stdout.replace("\n", ""), text


def test_the_doctor_reports_the_untrained_weights(pair, tmp_path):
    assert run(*pair, "--out", tmp_path / "model").exit_code == 0
    (finding,) = diagnose(tmp_path / "model")
    assert finding.concern == "weights"
    assert "random initial values" in finding.problem


def test_parts_of_shipped_models_compose(parts, tmp_path):
    assert run("line-reader", "line-reader", "--out", tmp_path / "model").exit_code == 0
    ours, shipped = (load_file(folder / "model.safetensors") for folder in (tmp_path / "model", SHIPPED))
    assert ours.keys() == shipped.keys()
    assert all(torch.equal(ours[name], shipped[name]) for name in ours)
    assert diagnose(tmp_path / "model") == []


def test_the_adapter_and_the_type_are_used(pair, tmp_path):
    assert run(*pair, "--out", tmp_path / "model", "--adapter", "gated", "--dtype", "bfloat16").exit_code == 0
    model = VisionEncoderDecoderModel.from_pretrained(tmp_path / "model")
    assert (model.config.adapter, model.dtype) == ("gated", torch.bfloat16)


# Token ids.


def test_the_id_options_are_used(pair, tmp_path):
    ids = ("--start-id", 5, "--bos-id", 6, "--eos-id", 7, "--pad-id", 8)
    assert run(*pair, "--out", tmp_path / "one", *ids).exit_code == 0
    config = json.loads((tmp_path / "one/config.json").read_text())
    names = ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
    assert [config[name] for name in names] == [5, 6, 7, 8]
    assert run(*pair, "--out", tmp_path / "two", "--eos-id", 2, "--eos-id", 7).exit_code == 0
    assert json.loads((tmp_path / "two/config.json").read_text())["eos_token_id"] == [2, 7]


def test_contradicting_ids_are_an_error_that_names_the_option(parts, tmp_path):
    decoder = shutil.copytree(parts / "gpt2", tmp_path / "decoder")
    data = json.loads((decoder / "config.json").read_text()) | {"eos_token_id": 7}
    (decoder / "config.json").write_text(json.dumps(data))
    (decoder / "generation_config.json").unlink()
    result = run(parts / "vit", decoder, "--out", tmp_path / "model")
    assert result.exit_code == 2
    message, hint = result.stderr.splitlines()
    assert message.startswith(
        f"vedcore: {decoder}: eos_token_id is 7 in the decoder's config, but 2 in the tokenizer; "
    )
    assert hint == "vedcore: hint: on the command line, eos_token_id is the option --eos-id"
    assert not (tmp_path / "model").exists()
    assert run(parts / "vit", decoder, "--out", tmp_path / "model", "--eos-id", 2).exit_code == 0


@pytest.mark.parametrize(
    ("field", "option"),
    [
        ("decoder_start_token_id", "--start-id"),
        ("bos_token_id", "--bos-id"),
        ("eos_token_id", "--eos-id"),
        ("pad_token_id", "--pad-id"),
    ],
)
def test_an_id_beyond_the_vocabulary_is_an_error_that_names_the_option(pair, tmp_path, field, option):
    result = run(
        *pair, "--out", tmp_path / "model", "--start-id", 1, option, 99
    )  # by default the start is the begin token
    assert_refused(
        result, f"{field} is 99 in the arguments", hint=f"on the command line, {field} is the option {option}"
    )
    with pytest.raises(ConfigError) as raised:
        VisionEncoderDecoderModel.from_encoder_decoder_pretrained(*pair, **{"decoder_start_token_id": 1, field: 99})
    assert (raised.value.field, raised.value.found, raised.value.file) == (field, 99, str(pair[1]))


# Errors, which leave no trace.


def assert_refused(result, *contained, hint=None):
    """The error is one line that has the texts ``contained``; a second line is the hint, if there is one."""
    assert (result.exit_code, result.stdout) == (2, "")
    message, *hints = result.stderr.splitlines()
    assert message.startswith("vedcore: ")
    assert hints == ([] if hint is None else [f"vedcore: hint: {hint}"])
    for text in contained:
        assert text in message


@pytest.mark.parametrize(
    ("part", "file", "option"),
    [("vit", "preprocessor_config.json", "--image-processor"), ("gpt2", "tokenizer.json", "--tokenizer")],
)
def test_a_missing_file_of_a_part_is_an_error_that_names_the_option(parts, tmp_path, part, file, option):
    folders = {name: shutil.copytree(parts / name, tmp_path / name) for name in ("vit", "gpt2")}
    (folders[part] / file).unlink()
    command = (*folders.values(), "--out", tmp_path / "model")
    assert_refused(run(*command), str(folders[part]), hint=f"take it from another folder with {option}")
    assert names(tmp_path) == {"vit", "gpt2"}
    assert run(*command, option, parts / part).exit_code == 0
    assert names(tmp_path / "model") == WHOLE


@pytest.mark.parametrize("wrong", [("no-such", None), (None, "no-such"), ("gpt2", None), (None, "vit")], ids=str)
def test_wrong_parts_are_refused(parts, tmp_path, wrong):
    encoder, decoder = ("vit" if wrong[0] is None else wrong[0]), ("gpt2" if wrong[1] is None else wrong[1])
    folders = (str(parts / encoder), str(parts / decoder))
    assert_refused(run(*folders, "--out", tmp_path / "model"))
    assert names(tmp_path) == set()


def test_an_unknown_adapter_is_refused(pair, tmp_path):
    hint = "on the command line, adapter is the option --adapter"
    assert_refused(run(*pair, "--out", tmp_path / "model", "--adapter", "glue"), "glue", hint=hint)
    assert names(tmp_path) == set()


def test_a_folder_with_files_is_replaced_only_with_force(pair, tmp_path):
    out = tmp_path / "model"
    out.mkdir()
    assert run(*pair, "--out", out).exit_code == 0  # an empty folder is as good as none
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "notes.txt").write_text("mine")
    (out / "vocab.txt").write_text("an older tokenizer's")
    (out / "model-00001-of-00002.safetensors").write_text("an older model's")
    assert_refused(run(*pair, "--out", out, "--seed", 9), str(out), "--force")
    assert all((out / name).read_bytes() == content for name, content in before.items())
    assert run(*pair, "--out", out, "--seed", 9, "--force").exit_code == 0
    assert names(out) == WHOLE | {"notes.txt"}
    assert (out / "model.safetensors").read_bytes() != before["model.safetensors"]


@pytest.mark.parametrize("kind", [VisionEncoderDecoderModel, ImageProcessor, Tokenizer])
def test_a_failed_save_changes_nothing(pair, tmp_path, monkeypatch, kind):
    out = tmp_path / "model"
    assert run(*pair, "--out", out).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*_, **__):
        raise SaveError("the disk is full")

    monkeypatch.setattr(kind, "save_pretrained", full)
    assert_refused(run(*pair, "--out", out, "--seed", 9, "--force"), "the disk is full")
    assert_refused(run(*pair, "--out", tmp_path / "other"), "the disk is full")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert names(tmp_path) == {"model"}
