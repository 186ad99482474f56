"""Weights on disk: the safetensors of a folder into modules through their KeyMaps, and back."""

from vedcore.checkpoint.load import Section, load_sections, save_sections
from vedcore.checkpoint.store import WEIGHT_FILES, StoredTensor, stored_tensors, write_tensors

__all__ = [
    "WEIGHT_FILES",
    "Section",
    "StoredTensor",
    "load_sections",
    "save_sections",
    "stored_tensors",
    "write_tensors",
]
