"""Tokenizer formats older than tokenizer.json: vocabulary files, and a class whose name says how they are used."""

from vedcore.text.legacy.formats import build_from_vocabulary

__all__ = ["build_from_vocabulary"]
