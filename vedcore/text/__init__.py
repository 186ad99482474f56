"""Tokens in, text out: tokenizer files of every form. Home of the tokenizers library."""

from vedcore.text.stream import settled
from vedcore.text.tokenizer import Tokenizer

__all__ = ["Tokenizer", "settled"]
