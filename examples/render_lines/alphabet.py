"""The alphabet of the line reader: printable ASCII, the letters of Latin-1, and the signs of print in western Europe.

The tokenizer in ``../line_reader_tokenizer`` has one token for each character, in this order.
"""

from __future__ import annotations

PRINTABLE = "".join(map(chr, range(33, 127)))
LETTERS = "".join(map(chr, (*range(0xC0, 0xD7), *range(0xD8, 0xF7), *range(0xF8, 0x100)))) + "Œœ"
QUOTES = "„“”‘’‚«»‹›"
SIGNS = "–—…•·°§¶€£¥¢©®™±×÷µ½¼¾²³¹ªº¿¡"

CHARACTERS = PRINTABLE + LETTERS + QUOTES + SIGNS
"""Every character of the alphabet except the space."""

ALPHABET = frozenset(CHARACTERS + " ")
LONGEST = 40  # characters: the decoder has 42 positions, for the start token, the text and the end token
