"""The tiny model of a recipe, built once per file."""

import pytest

from tests.training.tiny import recipe
from vedcore.training.build import build_reader
from vedcore.training.data.label_encoder import LabelEncoder


@pytest.fixture(scope="module")
def reader():
    return build_reader(recipe().model, 0)


@pytest.fixture(scope="module")
def encode(reader):
    return LabelEncoder.for_reader(reader)
