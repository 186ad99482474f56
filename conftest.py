"""Settings of all tests: offline, deterministic, quiet."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["OMP_NUM_THREADS"] = "1"  # a product that threads share is summed in another order; pytest -n has the cores

import hypothesis
import pytest
import torch
from transformers.utils import logging

common = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "suppress_health_check": list(hypothesis.HealthCheck),
}
hypothesis.settings.register_profile("default", max_examples=20, **common)
hypothesis.settings.register_profile("nightly", max_examples=200, **common)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
logging.disable_progress_bar()


@pytest.fixture(autouse=True)
def seeded():
    """Each test draws the same weights, whatever ran before it."""
    torch.manual_seed(0)
