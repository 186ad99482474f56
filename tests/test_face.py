"""The public face: what ``vedcore`` offers, and what importing it costs."""

import ast
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vedcore
from vedcore import errors

ROOT = Path(__file__).parent.parent
PROMISED = {
    "Adapter",
    "Backbone",
    "Checkpoint",
    "CrossAttentionAdapter",
    "Decoder",
    "DecoderPart",
    "Encoder",
    "EncoderOutput",
    "GenerationConfig",
    "ImageProcessor",
    "ImageProcessorType",
    "KeyMap",
    "Memory",
    "Part",
    "Processor",
    "Reader",
    "Segmenter",
    "Step",
    "Tokenizer",
    "VisionEncoderDecoderConfig",
    "VisionEncoderDecoderModel",
    "hookimpl",
}
"""Users rely on these names."""
NEEDED_BESIDE = {
    "AttentionSizes",
    "BlockRegion",
    "Cache",
    "CrossAttention",
    "DecoderSizes",
    "LineRegion",
    "PageRegion",
    "PageSegmenter",
    "Reading",
    "Rule",
    "Seam",
    "Trace",
}
"""What a signature or a field of a promised name needs."""
ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}


def run(*arguments):
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done


def test_all_is_what_is_promised_and_every_error():
    assert set(vedcore.__all__) == PROMISED | NEEDED_BESIDE | ERRORS
    assert vedcore.__all__ == sorted(set(vedcore.__all__))


def test_a_type_checker_sees_the_same_names_from_the_same_homes():
    tree = ast.parse((ROOT / "vedcore/__init__.py").read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in guarded.body for alias in node.names}
    assert seen == vedcore._HOME


@pytest.mark.parametrize("name", vedcore.__all__)
def test_every_name_resolves_to_what_its_home_holds(name):
    vars(vedcore).pop(name, None)
    value = getattr(vedcore, name)
    assert vars(vedcore)[name] is value
    assert value is getattr(sys.modules[vedcore._HOME[name]], name)


def test_dir_lists_every_name_before_it_is_used():
    assert set(vedcore.__all__) <= set(dir(vedcore))
    assert "__version__" in dir(vedcore)
    assert dir(vedcore) == sorted(set(dir(vedcore)))


def test_an_unknown_name_is_an_attribute_error_that_says_so():
    with pytest.raises(AttributeError, match="module 'vedcore' has no attribute 'ViTModel'"):
        _ = vedcore.ViTModel
    with pytest.raises(ImportError, match="ViTModel"):
        exec("from vedcore import ViTModel")


def test_importing_vedcore_imports_no_torch_and_no_plugin():
    program = """
import sys, vedcore
vedcore.CheckpointError, vedcore.KeyMap, vedcore.hookimpl, dir(vedcore)
print(sorted(name for name in sys.modules if name.split('.')[0] in HEAVY or name.startswith('vedcore_plugin')))
"""
    heavy = {"torch", "transformers", "numpy", "PIL", "safetensors", "tokenizers", "huggingface_hub", "cattrs", "typer"}
    assert run("-W", "error", "-c", f"HEAVY = {heavy!r}\n{program}").stdout.strip() == "[]"


def test_help_is_answered_without_torch_and_without_plugins():
    done = run("-W", "error", "-X", "importtime", "-m", "vedcore", "--help")
    assert "read" in done.stdout
    assert "plugins" in done.stdout
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert {"vedcore", "typer"} <= imported
    assert not {"torch", "numpy", "transformers", "PIL", "tokenizers", "huggingface_hub"} & imported
    assert not any(name.startswith("vedcore_plugin") for name in imported)


def test_the_version_is_that_of_the_distribution():
    declared = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert vedcore.__version__ == declared


# The errors.


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_every_error_is_of_one_tree_says_its_message_and_can_be_sent_to_another_process(name):
    kind = getattr(errors, name)
    assert issubclass(kind, errors.VedcoreError)
    assert name in errors.__doc__
    error = kind(
        "what was asked", file=Path("a/config.json"), field="n_embd", tensor="wte", expected=(2, 3), found=(3, 2)
    )
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back)) == (kind, "what was asked")
    data = {"file": "a/config.json", "field": "n_embd", "tensor": "wte", "expected": (2, 3), "found": (3, 2)}
    assert {name: getattr(back, name) for name in data} == data
    assert {getattr(kind("only a message"), name) for name in data} == {None}
    assert str(kind()) == ""


def test_every_error_is_also_what_a_stranger_would_catch():
    caught = {
        "ConfigError": ValueError,
        "CheckpointError": ValueError,
        "CheckpointNotFound": FileNotFoundError,
        "SaveError": OSError,
        "ImageError": ValueError,
        "TokenizerError": ValueError,
        "InputError": ValueError,
        "GenerationError": RuntimeError,
        "TrainingError": RuntimeError,
        "PluginError": RuntimeError,
        "PluginNotFound": LookupError,
    }
    assert caught.keys() == ERRORS - {"VedcoreError"}
    for name, builtin in caught.items():
        assert issubclass(getattr(errors, name), builtin)


def fail(error):
    with errors.foreign(errors.TokenizerError, "tokenizer.json"):
        raise error


class PanicException(BaseException):  # as compiled libraries raise it
    pass


@pytest.mark.parametrize(
    "error", [ValueError("bad\n  thing"), KeyError("x"), OSError(5, "io"), PanicException("p")], ids=repr
)
def test_what_a_library_raises_becomes_ours_in_one_line(error):
    with pytest.raises(errors.TokenizerError, match=rf"^tokenizer\.json: {type(error).__name__}: ") as raised:
        fail(error)
    assert raised.value.__cause__ is error
    assert "\n" not in str(raised.value)


def test_an_error_without_a_message_and_a_long_one_are_still_reported():
    with pytest.raises(errors.TokenizerError, match="ValueError: no further message"):
        fail(ValueError())
    with pytest.raises(errors.TokenizerError) as raised:
        fail(ValueError("x" * 10_000))
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    "error", [errors.ImageError("mine"), MemoryError(), KeyboardInterrupt(), SystemExit(2)], ids=repr
)
def test_our_own_errors_and_those_that_are_no_fault_of_the_input_pass_through(error):
    with pytest.raises(type(error)) as raised:
        fail(error)
    assert raised.value is error


def test_what_goes_well_is_left_alone():
    with errors.foreign(errors.TokenizerError, "x"):
        pass
