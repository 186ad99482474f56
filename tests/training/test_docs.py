"""docs/training.md: its imports and its recipes are valid."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest

from vedcore.training import Recipe
from vedcore.vision import CutRule

PAGE = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
IMPORTS = re.findall(r"^from (vedcore\S*) import (.+)$", PAGE, re.MULTILINE)
RECIPES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("module", "names"), IMPORTS)
def test_every_documented_import_works(module, names):
    for name in names.split(", "):
        assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("text", RECIPES, ids=lambda text: text.split("\n")[0])
def test_every_documented_recipe_is_valid(text):
    recipe = Recipe.from_dict(tomllib.loads(text))
    CutRule(**recipe.model.cut)
