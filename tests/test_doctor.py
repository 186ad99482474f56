"""The doctor finds each planted fault and names its fix, finds nothing in a sound checkpoint, and misses no fault."""

import json
import re
import shutil
import weakref
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from vedcore import CheckpointError, CheckpointNotFound, VisionEncoderDecoderModel, cli
from vedcore.diagnosis import diagnose
from vedcore.diagnosis.checkpoint import open_checkpoint
from vedcore.diagnosis.checks import weights
from vedcore.diagnosis.checks.dry_run import dry_run
from vedcore.diagnosis.doctor import CHECKS
from vedcore.storage.tensors import stored_tensors

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "plugins/vedcore-plugin-linereader/vedcore_plugin_linereader/line-reader"
CONFIG, GENERATION, PROCESSOR = "config.json", "generation_config.json", "preprocessor_config.json"
EMBEDDING = "decoder.transformer.wte.weight"


# Ways to break a checkpoint. Each is a function of the folder.


def fields(file, **values):
    """Set fields of a JSON file, ``a__b`` for b in a; None removes one."""

    def plant(folder):
        data = json.loads((folder / file).read_text())
        for name, value in values.items():
            *path, leaf = name.split("__")
            place = data
            for step in path:
                place = place[step]
            if value is None:
                place.pop(leaf, None)
            else:
                place[leaf] = value
        (folder / file).write_text(json.dumps(data))

    return plant


def tensors(change):
    """Change the tensors of the file in place, by their names."""

    def plant(folder):
        file = folder / "model.safetensors"
        found = load_file(file)
        change(found)
        save_file(found, file, metadata={"format": "pt"})

    return plant


def values(name, value, index=...):
    """Set values of one tensor."""

    def change(found):
        found[name][index] = value

    return tensors(change)


def data(file, change):
    """Change the bytes of a file."""
    return lambda folder: (folder / file).write_bytes(change((folder / file).read_bytes()))


def without(file):
    """Delete a file."""
    return lambda folder: (folder / file).unlink()


def all_of(*plants):
    def plant(folder):
        for each in plants:
            each(folder)

    return plant


def vocabulary(count):
    """The tokenizer of another model, with ``count`` tokens."""

    def plant(folder):
        found = json.loads((folder / "tokenizer.json").read_text())
        special = [token["content"] for token in found["added_tokens"]]
        words = [*special, *(f"w{i}" for i in range(count - len(special)))]
        found["model"]["vocab"] = {word: i for i, word in enumerate(words)}
        (folder / "tokenizer.json").write_text(json.dumps(found))

    return plant


def plain_end_token(folder):
    """The end token is in the vocabulary, but no file marks it as special."""
    fields("tokenizer_config.json", eos_token=None)(folder)
    found = json.loads((folder / "tokenizer.json").read_text())
    for token in found["added_tokens"]:
        token["special"] = token["content"] != "</s>"
    (folder / "tokenizer.json").write_text(json.dumps(found))


def untrained(folder):
    model = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(folder, folder, adapter="gated", seed=0)
    model.save_pretrained(folder)


def as_pickle(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def both(**ids):
    return all_of(fields(CONFIG, **ids), fields(GENERATION, **ids))


@dataclass
class Fault:
    plant: Callable[[Path], object]
    severity: str
    concern: str
    problem: str
    fix: str
    alone: bool = True
    """Whether it is the only finding."""


E, W = "error", "warning"
FAULTS = {
    # Files.
    "no config": Fault(without(CONFIG), E, "config", "config.json: no such file", "copy the config.json"),
    "config is no JSON": Fault(data(CONFIG, lambda b: b[:-9]), E, "config", "not valid JSON", "copy the config.json"),
    "config in UTF-16": Fault(
        data(CONFIG, lambda b: b.decode().encode("utf-16")), E, "config", "utf-8", "save config.json as UTF-8"
    ),
    "a mark in front of the config": Fault(
        data(CONFIG, lambda b: b"\xef\xbb\xbf" + b), E, "config", "BOM", "without a byte order mark"
    ),
    "a config field of a wrong kind": Fault(
        fields(CONFIG, encoder__num_hidden_layers="4"), E, "config", "num_hidden_layers", "correct what the message names"
    ),
    "an encoder that no plugin serves": Fault(
        fields(CONFIG, encoder__model_type="vitt"), E, "config", "no encoder named 'vitt'",
        "correct model_type, or install the plugin"
    ),
    "no image processor": Fault(
        without(PROCESSOR), E, "image processor", "no image processor", "copy preprocessor_config.json"
    ),
    "no tokenizer": Fault(
        without("tokenizer.json"), E, "tokenizer", "no tokenizer.json", "copy tokenizer.json and tokenizer_config.json"
    ),
    "tokenizer settings in Latin-1": Fault(
        data("tokenizer_config.json", lambda b: b.replace(b"</s>", "\xe9".encode("latin-1"))),
        E, "tokenizer", "not valid JSON", "save tokenizer_config.json as UTF-8",
    ),
    "a cutting rule that cannot be": Fault(
        fields("vedcore.json", cut__longest=-1.0), E, "vedcore.json", "longest", "correct what the message names"
    ),
    # Weights.
    "no weights": Fault(without("model.safetensors"), E, "weights", "no model.safetensors", "copy or download"),
    "truncated weights": Fault(
        data("model.safetensors", lambda b: b[: len(b) // 2]), E, "weights", "model.safetensors", "every weight file again"
    ),
    "weights in a pickle": Fault(as_pickle, E, "weights", "allow_pickle", "--allow-pickle"),
    "a missing tensor": Fault(
        tensors(lambda t: t.pop("encoder.layernorm.bias")), E, "weights", "1 missing (encoder.layernorm.bias)", "from one save"
    ),
    "a tensor too many": Fault(
        tensors(lambda t: t.update({"decoder.odd": torch.ones(3)})), E, "weights", "1 unexpected (decoder.odd)",
        "from one save",
    ),
    "a tensor of another shape": Fault(
        tensors(lambda t: t.update({"encoder.layernorm.bias": torch.ones(7)})),
        E, "weights", "encoder.layernorm.bias: (7,), want (128,)", "from one save",
    ),
    "NaN": Fault(
        values("encoder.layernorm.weight", float("nan"), 5), E, "weights", "encoder.layernorm.weight (1 NaN, 0 infinite)",
        "earlier checkpoint",
    ),
    "infinity": Fault(
        values(EMBEDDING, float("-inf"), (3, slice(2))), E, "weights", f"{EMBEDDING} (0 NaN, 2 infinite)",
        "earlier checkpoint",
    ),
    "a matrix of zeros": Fault(
        values("decoder.transformer.h.0.attn.c_attn.weight", 0.0), E, "weights", "are zero", "never filled"
    ),
    "a dead norm": Fault(values("decoder.transformer.ln_f.weight", 0.0), E, "weights", "ln_f.weight", "never filled"),
    "untrained weights": Fault(
        untrained, E, "weights", "22 parameters still hold their random initial values", "train the model"
    ),
    # Images.
    "another size of images": Fault(
        fields(PROCESSOR, size={"height": 64, "width": 64}), E, "image processor", "images of 64 x 64, but the encoder is "
        "made for 32 x 256", '"size": {"height": 32, "width": 256} in preprocessor_config.json',
    ),
    "another crop of images": Fault(
        fields(PROCESSOR, do_center_crop=True, crop_size=224), E, "image processor", "images of 224 x 224",
        '"crop_size": {"height": 32, "width": 256}',
    ),
    "images as they come": Fault(
        fields(PROCESSOR, do_resize=False), W, "image processor", "images of varying sizes", '"do_resize": true'
    ),
    "images that are not normalised": Fault(
        fields(PROCESSOR, do_normalize=False), W, "image processor", "black to 0 and white to 1", '"do_normalize": true'
    ),
    "images that are not rescaled": Fault(
        fields(PROCESSOR, do_rescale=False), W, "image processor", "black to -1 and white to 509", '"do_rescale": true'
    ),
    "a mean of 8-bit pixels": Fault(
        fields(PROCESSOR, image_mean=[127.5] * 3, image_std=[127.5] * 3), W, "image processor",
        "black to -1 and white to -0.992", '"image_mean": [0.5, 0.5, 0.5]',
    ),
    "no spread": Fault(
        fields(PROCESSOR, image_std=[0.5, 0.0, 0.5]), E, "image processor", "image_std must be above 0",
        "correct what the message names"
    ),
    "no mean": Fault(
        fields(PROCESSOR, image_mean=[]), E, "image processor", "image_mean must be", "correct what the message names"
    ),
    "a mean that is switched off": Fault(
        lambda folder: (folder / PROCESSOR).write_text('{"image_mean": null, "size": [32, 256]}'),
        E, "image processor", "do_normalize is set, but image_mean is null", "correct what the message names",
    ),
    "grey images": Fault(
        fields(CONFIG, encoder__num_channels=1), E, "image processor", "num_channels is 1", '"num_channels": 3', alone=False
    ),
    # Tokens.
    "the tokenizer of a larger model": Fault(
        vocabulary(120), E, "tokenizer", "ids 0 to 119, but the decoder's vocabulary ends at 98", "copy tokenizer.json"
    ),
    "the tokenizer of a smaller model": Fault(
        vocabulary(60), W, "tokenizer", "has only the first 60", "copy tokenizer.json"
    ),
    "an end token that shows": Fault(plain_end_token, W, "tokenizer", "show it as '</s>'", '"eos_token"'),
    # Ids.
    "swapped begin and end": Fault(
        both(bos_token_id=2, eos_token_id=1), E, "ids", "eos_token_id is 1 ('<s>') in config.json, but 2 ('</s>')",
        '"eos_token_id": 2', alone=False,
    ),
    "no end": Fault(both(eos_token_id=None), E, "ids", "no text ends", '"eos_token_id": 2 (\'</s>\') in config.json'),
    "no start": Fault(
        both(decoder_start_token_id=None, bos_token_id=None), E, "ids", "no text can begin",
        '"decoder_start_token_id": 1 (\'<s>\')',
    ),
    "no padding": Fault(both(pad_token_id=None), W, "ids", "labels cannot be padded", '"pad_token_id": 0'),
    "padding beyond the vocabulary": Fault(
        both(pad_token_id=50256), E, "ids", "50256 in config.json, but the decoder's vocabulary has 99", '"pad_token_id": 0',
        alone=False,
    ),
    "padding with a letter": Fault(
        both(pad_token_id=69), E, "ids", "pad_token_id is 69 ('a') in generation_config.json", '"pad_token_id": 0', alone=False
    ),
    "two starts": Fault(
        fields(GENERATION, decoder_start_token_id=2), W, "ids", "1 in config.json, but 2 in generation_config.json",
        "to the id that the model was trained with",
    ),
    "an end of generation's own": Fault(
        fields(GENERATION, eos_token_id=3), E, "ids", "eos_token_id is 3 ('<unk>') in generation_config.json",
        '"eos_token_id": 2 (\'</s>\') in generation_config.json',
    ),
    # Generation.
    "no beams": Fault(fields(GENERATION, num_beams=0), E, "generation", "num_beams must be", "correct what the message names"),
    "no temperature": Fault(
        fields(GENERATION, temperature=0.0), E, "generation", "temperature must be",
        "correct what the message names",
    ),
    "groups of beams": Fault(
        fields(GENERATION, num_beam_groups=2), E, "generation", "num_beam_groups is 2", "correct what the message names"
    ),
    "no longest length": Fault(
        fields(GENERATION, max_length=None), W, "generation", "cut after 20 tokens", '"max_length": 28 in generation_config'
    ),
    "a length beyond the positions": Fault(
        fields(GENERATION, max_length=512), W, "generation", "grow to 512 tokens, but the decoder has positions for 28",
        '"max_length": 28',
    ),
    "a length below the positions": Fault(
        fields(GENERATION, max_length=26), W, "generation", "no text has more than 25 tokens with its end token, but the "
        "decoder has positions for 28", '"max_length": 28',
    ),
    "pieces too long for the positions": Fault(
        fields("vedcore.json", cut__longest=12.0, cut__above=12.0), W, "generation", "pieces of up to 12 heights of the ink, "
        "about 36 characters in narrow type, but the decoder has positions for 27 and the end token",
        'set "longest" in "cut" to at most 9.0 in vedcore.json',
    ),
    "a shortest length beyond the longest": Fault(
        fields(GENERATION, min_length=29), E, "generation", "must have 29 tokens before it ends, but is cut after 28",
        '"min_length" below "max_length"',
    ),
    "a suppressed end token": Fault(
        fields(GENERATION, suppress_tokens=[5, 2]), E, "generation", "suppress_tokens has 2, the end token",
        'remove 2 from "suppress_tokens"',
    ),
    # Found by reading.
    "scores that overflow": Fault(
        values(EMBEDDING, 3e38), E, "dry run", "failed: the scores of token 1", "dtype=torch.float32"
    ),
    "an end token that is never written": Fault(
        values(EMBEDDING, 0.0, 2), W, "dry run", "a blank and a noise image gave 28 tokens and no end token",
        "train with the end token after every label",
    ),
    "a bad word beyond the vocabulary": Fault(
        fields(GENERATION, bad_words_ids=[[700]]), E, "dry run", "700", "generation_config.json"
    ),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(SHIPPED, tmp_path / "model")


def found(findings, fault):
    return [
        finding
        for finding in findings
        if (finding.severity, finding.concern) == (fault.severity, fault.concern)
        and fault.problem in finding.problem
        and fault.fix in finding.fix
    ]


def test_the_shipped_checkpoint_has_no_findings():
    assert diagnose("line-reader") == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_with_its_fix(folder, name):
    fault = FAULTS[name]
    fault.plant(folder)
    findings = diagnose(folder)
    assert len(found(findings, fault)) == 1, findings
    if fault.alone:
        assert len(findings) == 1, findings
    assert [f.severity for f in findings] == sorted(f.severity for f in findings)


FIELD = re.compile(r'"(\w+)": (\{.*?\}|\d+)')
WEIGHTS_CHANGE_TOO = {"grey images"}
FIX_HAS_VALUES = [name for name, fault in FAULTS.items() if FIELD.search(fault.fix) and name not in WEIGHTS_CHANGE_TOO]


@pytest.mark.parametrize("name", FIX_HAS_VALUES)
def test_following_the_fixes_leaves_no_finding(folder, name):
    FAULTS[name].plant(folder)
    for finding in diagnose(folder):
        file = re.search(r"\w+\.json", finding.fix)[0]
        fields(file, **{field: json.loads(value) for field, value in FIELD.findall(finding.fix)})(folder)
    assert diagnose(folder) == []


TOGETHER = (
    "tokenizer settings in Latin-1",
    "a cutting rule that cannot be",
    "NaN",
    "another size of images",
    "images that are not normalised",
    "no padding",
    "no longest length",
    "a config field of a wrong kind",
)


@given(st.sets(st.sampled_from(TOGETHER), min_size=2))
def test_no_fault_hides_another(tmp_path_factory, names):
    needs_model = {"another size of images"}  # without its config the encoder's size is unknown
    if "a config field of a wrong kind" in names:
        names = names - needs_model - {"no padding"}
    folder = shutil.copytree(SHIPPED, tmp_path_factory.mktemp("faults") / "model")
    for name in names:
        FAULTS[name].plant(folder)
    findings = diagnose(folder)
    for name in names:
        fault = FAULTS[name]
        similar = [f for f in findings if (f.concern, f.severity) == (fault.concern, fault.severity)]
        assert any(fault.problem in finding.problem for finding in similar), (name, findings)


def test_every_check_finds_one_of_the_faults(folder):
    originals = {path.name: path.read_bytes() for path in folder.iterdir()}
    silent = set(CHECKS)  # until one of the faults makes a check speak
    for fault in FAULTS.values():
        fault.plant(folder)
        opened = open_checkpoint(folder)
        silent -= {check for check in silent if list(check(opened))}
        for path in folder.iterdir():
            path.unlink()
        for name, content in originals.items():
            (folder / name).write_bytes(content)
    assert silent == set()


def test_an_empty_folder_has_findings(tmp_path):
    findings = diagnose(tmp_path)
    assert {finding.concern for finding in findings} == {"config", "weights", "image processor", "tokenizer"}


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(CheckpointNotFound):
        diagnose(tmp_path / "none")


def test_a_pickle_is_read_if_allowed(folder):
    as_pickle(folder)
    assert diagnose(folder, allow_pickle=True) == []


def test_a_padded_vocabulary_is_sound(folder):
    def padded(found):
        found[EMBEDDING] = torch.cat([found[EMBEDDING], torch.zeros(5, 128)])

    tensors(padded)(folder)
    fields(CONFIG, decoder__vocab_size=104)(folder)
    assert diagnose(folder) == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_another_type_of_weights_is_sound(folder, dtype):
    VisionEncoderDecoderModel.from_pretrained(folder, dtype=dtype).save_pretrained(folder)
    assert diagnose(folder) == []


def test_beams_and_sampling_are_sound(folder):
    fields(GENERATION, num_beams=3, num_return_sequences=2, do_sample=True, early_stopping=True, top_k=5)(folder)
    assert diagnose(folder) == []


def test_weights_are_read_one_tensor_at_a_time(folder, monkeypatch):
    read: list[weakref.ref[torch.Tensor]] = []

    def one_by_one(tensor):
        assert all(earlier() is None for earlier in read)
        values = tensor.read()
        read.append(weakref.ref(values))
        return values

    @contextmanager
    def watched(*arguments, **options):
        with stored_tensors(*arguments, **options) as stored:
            yield {name: replace(tensor, read=partial(one_by_one, tensor)) for name, tensor in stored.items()}

    opened = open_checkpoint(folder)
    monkeypatch.setattr(weights, "stored_tensors", watched)
    assert list(weights.weights_hold_values(opened)) == []
    assert len(read) == len(opened.tensors)


def test_8_bit_weights_are_checked(folder):
    file = folder / "model.safetensors"
    save_file({name: tensor.to(torch.float8_e4m3fn) for name, tensor in load_file(file).items()}, file)
    assert list(weights.weights_hold_values(open_checkpoint(folder))) == []
    values("encoder.layernorm.weight", float("nan"), 5)(folder)
    (finding,) = weights.weights_hold_values(open_checkpoint(folder))
    assert "encoder.layernorm.weight (1 NaN" in finding.problem


def test_a_tensor_that_cannot_be_read_is_a_finding(folder, monkeypatch):
    def fail(_):
        raise CheckpointError("model.safetensors: the disk is gone")

    opened = open_checkpoint(folder)
    monkeypatch.setattr(weights, "count_values", fail)
    (finding,) = weights.weights_hold_values(opened)
    assert (finding.problem, finding.concern) == ("model.safetensors: the disk is gone", "weights")


def test_missing_ids_are_found_without_a_tokenizer(folder):
    both(eos_token_id=None)(folder)
    without("tokenizer.json")(folder)
    fixes = {finding.concern: finding.fix for finding in diagnose(folder)}
    assert "to the id of the token that the decoder was trained with" in fixes["ids"]


def test_ids_that_only_the_decoder_section_sets_are_sound(folder):
    """The published small TrOCR checkpoints are like this, and have no generation_config.json."""
    names = ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
    fields(CONFIG, **dict.fromkeys(names), decoder__decoder_start_token_id=1, decoder__max_length=28)(folder)
    without(GENERATION)(folder)
    assert diagnose(folder) == []
    fields(CONFIG, decoder__eos_token_id=1)(folder)
    (finding,) = diagnose(folder)
    assert "eos_token_id is 1 ('<s>') in config.json (decoder)" in finding.problem


@pytest.mark.parametrize("file", sorted({path.name for path in SHIPPED.iterdir()} - {GENERATION}))
def test_a_check_without_its_file_finds_nothing(folder, file):
    """The missing file is already a finding."""
    without(file)(folder)
    opened = open_checkpoint(folder)
    assert [finding for check in CHECKS[1:] for finding in check(opened)] == []
    if file == PROCESSOR:
        assert list(dry_run(opened)) == []


def test_a_single_part_is_checked(tmp_path):
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_embd=8, n_layer=1, n_head=2, n_positions=9, vocab_size=11, bos_token_id=1, eos_token_id=2
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    assert diagnose(tmp_path) == []
    fields(CONFIG, eos_token_id=50256)(tmp_path)
    assert {finding.concern for finding in diagnose(tmp_path)} == {"ids"}


# The command.


def run(*arguments):
    return CliRunner().invoke(cli.app, ["doctor", *map(str, arguments)])


def test_the_command_finds_nothing_in_the_shipped_checkpoint():
    result = run("line-reader")
    assert (result.exit_code, result.stdout) == (0, "line-reader: nothing found\n")
    result = run("line-reader", "--format", "json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


def test_the_command_prints_each_finding_with_its_fix(folder):
    FAULTS["another size of images"].plant(folder)
    FAULTS["no padding"].plant(folder)
    findings = diagnose(folder)
    assert len(findings) == 2
    result = run(folder)
    assert result.exit_code == 1
    assert result.stdout == "".join(f"{f.severity} ({f.concern}): {f.problem}\n  fix: {f.fix}\n" for f in findings)
    printed = json.loads(run(folder, "-f", "json").stdout)
    assert printed == [{name: getattr(f, name) for name in ("severity", "concern", "problem", "fix")} for f in findings]


def test_the_readme_shows_the_output_of_the_command(folder):
    FAULTS["another size of images"].plant(folder)
    assert f"```\n{run(folder).stdout}```" in (ROOT / "README.md").read_text()


def test_the_command_refuses_a_missing_checkpoint(tmp_path):
    result = run(tmp_path / "none")
    assert result.exit_code == 2
    assert result.stderr.startswith("vedcore: ")
    assert result.stderr.count("\n") == 1


def test_the_command_reads_a_pickle_if_allowed(folder):
    as_pickle(folder)
    assert run(folder).exit_code == 1
    assert run(folder, "--allow-pickle").exit_code == 0
