"""Characters that a vocabulary is extended by: which are allowed, and which known characters are like them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vedcore.errors import ConfigError

if TYPE_CHECKING:
    from vedcore.text.tokenizer import Tokenizer

_LOOK_ALIKES = {
    "ß": "s", "ẞ": "S", "æ": "a", "Æ": "A", "œ": "o", "Œ": "O", "ı": "i", "ſ": "f", "þ": "p", "Þ": "P", "ð": "d", "Ð": "D",
    "€": "E", "£": "L", "¥": "Y", "¢": "c", "§": "S", "¿": "?", "¡": "!", "×": "x", "°": "o", "•": ".", "·": ".", "…": ".",
    "–": "-", "—": "-", "−": "-", "‘": "'", "’": "'", "‚": ",", "“": '"', "”": '"', "„": '"', "«": "<", "»": ">", "‹": "<",
    "›": ">",
}  # fmt: skip
"""Characters without a decomposition, and what they look like. Unicode has no table of look-alikes within one script."""


def check_characters(characters: str) -> list[str]:
    """Each character once, composed (NFC), without spaces.

    Raises ConfigError for a character that cannot be a letter of its own: a combining mark without a composed form, a
    control character, a space other than the usual one.
    """
    composed = list(dict.fromkeys(unicodedata.normalize("NFC", characters).replace(" ", "")))
    for character in composed:
        if reason := reason_against(character):
            raise ConfigError(
                f"add_characters: {character!r} (U+{ord(character):04X}) {reason}",
                field="add_characters",
                expected="printable characters",
                found=character,
            )
    return composed


def reason_against(character: str) -> str:
    """Why no token can be added for a character; an empty string if one can."""
    if unicodedata.category(character).startswith("M"):
        return (
            "is a combining mark that has no composed form with the letter before it; only single characters can be added, so "
            "normalise the labels to NFC, and replace what stays apart"
        )
    if not character.isprintable():
        return "is a space or a control character, which an image does not show; replace it in the labels"
    return ""


def describe_unknown(counts: Mapping[str, int]) -> tuple[str, str]:
    """The characters that a tokenizer cannot write, with their counts, the most frequent first; and what helps."""
    listed = ", ".join(
        f"{character!r} (U+{ord(character):04X}) {count}"
        for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
    what = f"{len(counts)} character{'' if len(counts) == 1 else 's'} that the tokenizer cannot write: {listed}"
    reasons: dict[str, list[str]] = {}
    for character in sorted(counts):
        reasons.setdefault(reason_against(character), []).append(character)
    can_be_added = reasons.pop("", [])
    advice = [f"U+{ord(characters[0]):04X} {reason}" for reason, characters in reasons.items()]
    if can_be_added:
        option = "".join(can_be_added).replace("\\", "\\\\").replace('"', '\\"')
        advice.insert(0, f'train with --add-characters "{option}" (add_characters in [model] of a recipe)')
    return what, "; ".join(advice)


def is_unwritable(tokenizer: Tokenizer, character: str) -> bool:
    """Whether the tokenizer has no token for a character: it is unknown, or lost without being a space."""
    ids = tokenizer.encode(character, add_special_tokens=False)
    return tokenizer.unk_token_id in ids or (not ids and not character.isspace())


def base_of(character: str) -> str | None:
    """A simpler character that looks like ``character``: a for ä, o for ø, E for €. None if there is none."""
    if character in _LOOK_ALIKES:
        return _LOOK_ALIKES[character]
    base = unicodedata.normalize("NFKD", character)[0]
    if base != character:
        return base
    name, _, rest = unicodedata.name(character, "").partition(" WITH ")  # ø and ł have no decomposition
    try:
        return unicodedata.lookup(name) if rest else None
    except KeyError:
        return None
