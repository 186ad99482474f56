"""Import paths of earlier releases keep working."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import vedcore
import vedcore.config
import vedcore.nn
from vedcore._moved import MODULES
from vedcore.config import field

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("old", MODULES)
def test_a_module_that_moved_is_the_same_module_under_its_old_name(old):
    new = importlib.import_module(MODULES[old])
    assert importlib.import_module(old) is new
    assert new.__name__ == new.__spec__.name == MODULES[old]
    assert getattr(vedcore, old.removeprefix("vedcore.")) is new


def test_the_old_imports_of_documents_and_plugins_work_in_a_fresh_process_without_a_warning():
    program = """
import sys
import vedcore
assert "torch" not in sys.modules
from vedcore.types import Recorder, causal_mask
from vedcore.loss import count_labels
from vedcore.parts import Pace, parameter_groups, warmup
from vedcore.vocabulary import tokenizer_report
from vedcore.errors import ConfigError
from vedcore.generation.cache import SelfCache
from vedcore.config import Config, Size, flag, heads, integer, layers, model_config, number, pair, rate, size, text, width
from vedcore.nn import MLP, Blocks, Part
import vedcore.keymap, vedcore.hub, vedcore.files, vedcore.protocols, vedcore.hookspecs
import vedcore.inspection, vedcore.doctor
assert Part is vedcore.Part
assert vedcore.keymap.KeyMap is vedcore.KeyMap
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["integer", "width", "heads", "flag", "size", "token_ids", "head_lists"])
def test_a_field_factory_is_found_in_the_package_too(name):
    assert getattr(vedcore.config, name) is getattr(field, name)


@pytest.mark.parametrize("name", ["no_such_name", "_field", "annotations2"])
def test_an_unknown_name_of_a_package_with_moved_names_is_an_attribute_error(name):
    for package in (vedcore.config, vedcore.nn):
        with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute '{name}'"):
            getattr(package, name)
        with pytest.raises(ImportError, match=name):
            exec(f"from {package.__name__} import {name}")


def test_a_module_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"vedcore\.nonsense"):
        importlib.import_module("vedcore.nonsense")
