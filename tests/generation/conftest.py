import pytest

from tests.generation.toy import lively


@pytest.fixture
def model():
    return lively()
