"""Tokens in, text out: the tokenizer, its files in every format, and decoding while tokens arrive.

The only package that imports the tokenizers library.
"""

from vedcore.text.characters import base_of, describe_unknown, is_unwritable
from vedcore.text.special_tokens import is_skipped
from vedcore.text.streaming import StreamingDecoder, stable_text
from vedcore.text.tokenizer import Tokenizer

__all__ = ["StreamingDecoder", "Tokenizer", "base_of", "describe_unknown", "is_skipped", "is_unwritable", "stable_text"]
