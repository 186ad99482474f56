"""Random texts of 1 to 24 printable ASCII characters, without spaces at the ends and without two spaces in a row.

An image shows such a text completely. ``KINDS`` has the kinds of texts; all random choices come from ``chance``.
"""

from __future__ import annotations

import string
from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from random import Random

from render_lines.alphabet import PRINTABLE
from vedcore.errors import ConfigError

LONGEST = 24  # characters: the decoder of the line reader has 28 positions

# 9 is a digit from 1 to 9, # any digit, ? a capital letter.
AMOUNTS = (
    "9", "9#", "9##", "9,###", "9##,###", "9.#", "9##.##", "9,###.##", "-9.##", "+9#.#", "9#%", "9.##%", "(9,###)",
    "$9.##", "$9#.##", "$9,###.##", "$9##,###", "EUR 9##.##", "USD 9,###", "GBP 9#.##", "9#,##", "9.###,##", "9 ###,##",
    "9/9", "9 x 9#", "9## x 9##", "9-9#", "#.##", "9#:##", "9:## pm", "##:##:##", "9# kg", "9.# km", "9## mm", "9#C",
    "No. 9####", "No. 9", "# 9##", "#9###", "Nr. 9##/##", "p. 9##", "pp. 9#-9#", "Fig. 9", "Table 9.#", "(9)", "[9#]",
    "(9##) ###-####", "+9# ### ######", "9##-###-####", "#### #### #### ####", "##########", "9##.##.#.9",
    "??-9###", "??9#### ?", "?9#-###/?", "???-##-9##", "SKU: ??-9###/?", "Qty 9 @ 9.##", "9 @ 9.## = 9#.##", "Total: $9#.##",
    "Tel. ### ####", "Vol. 9#", "v9.#.#", "9=9+9", "9#*9", "<9#>", "{9}", "~9##", "9^9", "9_###", "&9;", "9'9\"", "9|9#",
)  # fmt: skip
DATES = (
    "{day} {month} {year}", "{day} {month:.3} {year}", "{month} {day}, {year}", "{month:.3} {day}, {year}", "{month} {year}",
    "{year}-{number:02}-{day:02}", "{day:02}/{number:02}/{year}", "{number}/{day}/{short:02}", "{day:02}.{number:02}.{year}",
    "{day:02}.{number:02}.{short:02}", "{weekday}", "{weekday} {day} {month:.3}", "{weekday:.3}, {day} {month:.3} {year}",
    "{day}-{month:.3}-{year}", "{day} {month}", "{year}", "{year}/{short:02}", "'{short:02}", "({year})",
    "{month:.3} '{short:02}",
)  # fmt: skip
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FIRST_DAY, LAST_DAY = date(1800, 1, 1).toordinal(), date(2049, 12, 31).toordinal()

CASES: tuple[Callable[[str], str], ...] = (str, str, str, str.capitalize, str.capitalize, string.capwords, str.upper)
BETWEEN = (", ", "-", " - ", "/", " & ", ". ", ": ", "; ", "_", ".", "@", " + ", "--", "'")
AFTER = (".", ".", ",", ",", ":", ";", "!", "?", "...", "'s", "*", "%", "-", ")")
AROUND = ("()", "()", '""', '""', "''", "[]", "{}", "<>", "**", "--", "//", "||")


class Texts:
    """The words that texts consist of: single words, sorted by length, and the words of prose in order."""

    def __init__(self, words: Sequence[str], prose: Sequence[str]) -> None:
        self.words = sorted(set(words), key=lambda word: (len(word), word))
        self.lengths = [len(word) for word in self.words]
        self.prose = list(prose)

    def draw(self, kind: str, chance: Random) -> str:
        """A random text of this kind, a key of ``KINDS``."""
        return KINDS[kind](self, chance)


def read_words(path: Path) -> list[str]:
    """The words of a text file in order, except those that are too long.

    Raises ConfigError if the file cannot be read, contains characters other than printable ASCII, or has no usable word.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as cause:
        raise ConfigError(f"{path}: cannot be read as text in UTF-8: {cause}", file=path) from cause
    for number, line in enumerate(lines, 1):
        if strange := sorted(set(line) - set(PRINTABLE) - {" ", "\t"}):
            raise ConfigError(
                f"{path}, line {number}: {' '.join(map(repr, strange))} is not printable ASCII; replace or remove it",
                file=path,
                found=strange,
            )
    words = [word for line in lines for word in line.split() if len(word) <= LONGEST]
    if not words:
        raise ConfigError(f"{path}: contains no word of at most {LONGEST} characters", file=path)
    return words


def _words(texts: Texts, chance: Random) -> str:
    """Words in one case, usually with spaces between them, and with punctuation between, after or around them."""
    room = chance.randint(1, LONGEST)
    mark = chance.random()
    between = chance.choice(BETWEEN) if mark < 0.15 else " "
    text = _fitting(texts, chance, room)
    while len(text) + len(between) < room and chance.random() < 0.9:
        text += between + _fitting(texts, chance, room - len(text) - len(between))
    text = chance.choice(CASES)(text)
    if 0.15 <= mark < 0.4:
        text += chance.choice(AFTER)
    elif mark >= 0.9:
        around = chance.choice(AROUND)
        text = around[0] + text + around[1]
    return text[:LONGEST].rstrip()


def _fitting(texts: Texts, chance: Random, room: int) -> str:
    """A word of at most ``room`` characters, or the shortest word if all are longer."""
    return texts.words[chance.randrange(max(bisect_right(texts.lengths, room), 1))]


def _amounts(_: Texts, chance: Random) -> str:
    pools = {"9": "123456789", "#": string.digits, "?": string.ascii_uppercase}
    return "".join(chance.choice(pools.get(mark, mark)) for mark in chance.choice(AMOUNTS))


def _dates(_: Texts, chance: Random) -> str:
    day = date.fromordinal(chance.randint(FIRST_DAY, LAST_DAY))
    text = chance.choice(DATES).format(
        day=day.day,
        number=day.month,
        month=MONTHS[day.month - 1],
        year=day.year,
        short=day.year % 100,
        weekday=WEEKDAYS[day.weekday()],
    )
    return text.upper() if chance.random() < 0.1 else text


def _characters(_: Texts, chance: Random) -> str:
    marks = chance.choices(PRINTABLE, k=chance.randint(1, LONGEST))
    for at in range(2, len(marks) - 1, 3):
        if chance.random() < 0.2:
            marks[at] = " "
    return "".join(marks)


def _prose(texts: Texts, chance: Random) -> str:
    """Consecutive words from a random place in the prose, like a piece of a long line."""
    room = max(chance.randint(1, LONGEST), chance.randint(1, LONGEST))
    at = chance.randrange(len(texts.prose))
    text = texts.prose[at]
    for word in texts.prose[at + 1 : at + LONGEST]:
        if len(text) + 1 + len(word) > room:
            break
        text += " " + word
    return text


KINDS: dict[str, Callable[[Texts, Random], str]] = {
    "words": _words,
    "amounts": _amounts,
    "dates": _dates,
    "characters": _characters,
    "prose": _prose,
}
