"""Weights on disk: the safetensors of a folder into modules through their KeyMaps, and back."""

from vedcore.checkpoint.load import Misfit, Section, compare, load_sections, read_parameters, save_sections
from vedcore.checkpoint.store import WEIGHT_FILES, StoredTensor, stored_tensors, write_tensors

__all__ = [
    "WEIGHT_FILES",
    "Misfit",
    "Section",
    "StoredTensor",
    "compare",
    "load_sections",
    "read_parameters",
    "save_sections",
    "stored_tensors",
    "write_tensors",
]
