"""The lines of each kind: the same ones on every machine with the same fonts.

No typeface or sentence of them is used in training: numbers and addresses are in families that are reserved for tests, all
others in families that are held out.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw
from render_lines import drawing
from render_lines.alphabet import ALPHABET
from render_lines.corpus import read_lines
from render_lines.dataset import HERE, LatinMixture, PrintedLines, PrintSettings
from render_lines.faces import Face, find_faces
from render_lines.printing import Print

RESERVED = ("Open Sans", "Cantarell", "Linux Libertine O", "Lato")
PACKAGES = "fonts-open-sans fonts-cantarell fonts-linuxlibertine fonts-lato"
LANGUAGES = ("de", "fr", "es", "it", "pt", "en")
PHONES = ("+49 ### #######", "0### ######", "+33 # ## ## ## ##", "+1 ### ### ####", "+34 ### ### ###", "0#### ### ###")
CARDS = ("#### #### #### ####", "#### ###### #####", "### ### ###", "## ## ## ## ##")
THOUSANDS = ("# ### ###", "## ### ###", "### ###", "# ### ###,##", "## ###", "# ### ### ###")
TOPS = ("com", "org", "net", "de", "example.org", "co.uk", "info")


@dataclass(frozen=True)
class Drawn:
    """An image of a line and its text."""

    image: Image.Image
    text: str


def reserved_faces() -> list[Face]:
    """The regular faces of the four families. Raises SystemExit if one is not installed."""
    found = {}
    for face in find_faces():
        if face.family in RESERVED and face.style in ("Regular", "Book"):
            found.setdefault(face.family, face)
    if absent := [family for family in RESERVED if family not in found]:
        raise SystemExit(f"not installed: {', '.join(absent)}; apt-get install {PACKAGES}")
    return [found[family] for family in RESERVED]


def held_out_faces() -> list[Face]:
    """The faces that no training set draws with and that have the accented letters of six languages."""
    wanted = set("äöüßéèêçñáíóúàìòùãõâôÄÖÜÉÑ€„“«»–…")
    return [
        face for face in find_faces() if face.held_out and not face.reserved and not face.odd and wanted <= face.glyphs
    ]


def numbers(templates: tuple[str, ...], count: int = 40) -> Callable[[], Iterator[Drawn]]:
    """Random digits in the groups of the templates."""

    def draw() -> Iterator[Drawn]:
        chance = Random(f"{templates}")
        faces = reserved_faces()
        for index in range(count):
            text = "".join(chance.choice(string.digits) if mark == "#" else mark for mark in chance.choice(templates))
            yield clean(text, faces[index % len(faces)], chance)

    return draw


def addresses(count: int = 100) -> Iterator[Drawn]:
    """E-mail and web addresses of 30 to 60 characters."""
    chance, faces = Random("addresses"), reserved_faces()
    words = [
        word
        for word in read_lines(HERE / "text/corpus/held_out_words.en.txt")
        if word.isascii() and word.isalpha() and word.islower() and len(word) > 2
    ]
    made = 0
    while made < count:
        first, second, third, fourth = (chance.choice(words) for _ in range(4))
        top, digit = chance.choice(TOPS), chance.randrange(100)
        text = chance.choice(
            (
                f"{first}.{second}@{third}.{top}",
                f"{first}_{second}{digit}@{third}-{fourth}.{top}",
                f"https://www.{first}-{second}.{top}/{third}/{fourth}.html",
                f"www.{first}{second}.{top}/{third}?{fourth}={digit}",
                f"http://{first}.{top}/{second}/{third}_{digit}",
            )
        )
        if 30 <= len(text) <= 60:
            yield clean(text, faces[made % len(faces)], chance)
            made += 1


def languages(count: int = 400) -> Iterator[Drawn]:
    """Lines of 20 to 70 characters of six languages, each with a letter or sign that ASCII does not have, except English."""
    chance, faces = Random("languages"), held_out_faces()
    prose = {code: read_lines(HERE / f"text/corpus/held_out_prose.{code}.txt") for code in LANGUAGES}
    made = 0
    while made < count:
        code = LANGUAGES[made % len(LANGUAGES)]
        words = chance.choice(prose[code]).split()
        start, longest = chance.randrange(len(words)), chance.randint(20, 70)
        text = ""
        for word in words[start:]:
            if len(text) + 1 + len(word) > longest:
                break
            text = f"{text} {word}".strip()
        if len(text) >= 20 and set(text) <= ALPHABET and (code == "en" or not text.isascii()):
            yield clean(text, chance.choice(faces), chance)
            made += 1


def margins(count: int = 40) -> Iterator[Drawn]:
    """Lines with up to 200 pixels of paper on each side."""
    chance, faces = Random("margins"), reserved_faces()
    for drawn in _sentences(chance, faces, count):
        left, top, right, bottom = (chance.randint(20, 200) for _ in range(4))
        image = Image.new("L", (drawn.image.width + left + right, drawn.image.height + top + bottom), _paper(drawn))
        image.paste(drawn.image, (left, top))
        yield Drawn(image, drawn.text)


def boxes(count: int = 40) -> Iterator[Drawn]:
    """Lines in a box, or with an underline."""
    chance, faces = Random("boxes"), reserved_faces()
    for index, drawn in enumerate(_sentences(chance, faces, count)):
        space, thick = chance.randint(3, 20), chance.randint(1, 3)
        width, height = drawn.image.width + 2 * space + 8, drawn.image.height + 2 * space + 8
        image = Image.new("L", (width, height), _paper(drawn))
        image.paste(drawn.image, (space + 4, space + 4))
        draw = ImageDraw.Draw(image)
        if index % 4:
            draw.rectangle((2, 2, width - 3, height - 3), outline=40, width=thick)
        else:
            draw.line((4, height - 5, width - 5, height - 5), fill=40, width=thick)
        yield Drawn(image, drawn.text)


def sizes(count: int = 80) -> Iterator[Drawn]:
    """Lines at 8 to 200 pixels per em."""
    chance, faces = Random("sizes"), reserved_faces()
    for size in np.geomspace(8, 200, count):
        (drawn,) = _sentences(chance, faces, 1, round(size))
        yield drawn


def mixed(texts: LatinMixture, look: Print) -> Callable[[int, int], Iterator[Drawn]]:
    """Lines of a data set of ``render_lines`` with held-out typefaces and texts, by their number and a seed."""

    def draw(count: int, seed: int) -> Iterator[Drawn]:
        settings = PrintSettings(
            seed=seed, lines=count, faces="held-out", held_out_texts=True, texts=texts, print=look, alphabet="latin"
        )
        lines = PrintedLines(settings, HERE / "bench.toml")
        for index in range(count):
            sample = lines[index]
            yield Drawn(sample.image, sample.text)  # type: ignore[arg-type]

    return draw


_CLEAN = {
    "small": 0.1, "large": 0.1, "spaced": 0.1, "squeezed": 0.05, "scanned": 0.0, "worn": 0.0, "spread": 0.0,
    "specked": 0.0, "wide_margins": 0.05, "cropped": 0.0, "neighbours": 0.0, "boxed": 0.0, "ruled": 0.0, "bleeding": 0.0,
}  # fmt: skip
_SCANNED = {**_CLEAN, "small": 0.0, "scanned": 0.7, "worn": 0.3, "specked": 0.2, "bleeding": 0.2, "grainy": 0.6}
_PROSE = {"words": 2.0, "prose": 4.0, "cells": 0.5, "capitals": 0.5}
_DIGITS = {"numbers": 3.0, "amounts": 1.0, "codes": 0.5, "dates": 1.0}

CALIBRATED: dict[str, Callable[[int, int], Iterator[Drawn]]] = {
    "print": mixed(LatinMixture(**_PROSE), Print(**_CLEAN)),
    "digits": mixed(LatinMixture(**_DIGITS), Print(**_CLEAN)),
    "scan-like": mixed(LatinMixture(**_PROSE), Print(**_SCANNED)),
}
"""The kinds on which the probability is judged, each by the number of its lines and a seed."""

JUDGED, FITTED = 101, 102
"""The seeds of the lines that judge the probability, and of those to fit it on."""

KINDS: dict[str, Callable[[], Iterator[Drawn]]] = {
    "phone numbers": numbers(PHONES),
    "card groups": numbers(CARDS),
    "thousands": numbers(THOUSANDS),
    "addresses": addresses,
    "languages": languages,
    "margins": margins,
    "boxes": boxes,
    "8 to 200 px": sizes,
}


def clean(text: str, face: Face, chance: Random, size: int | None = None) -> Drawn:
    """The text as a screen or a good printer shows it: dark on light, or light on dark in one of eight."""
    cover = drawing.ink(text, face.font(size or chance.randint(18, 40)))
    cover = drawing.framed(cover, tuple(chance.randint(2, 8) for _ in range(4)))  # type: ignore[arg-type]
    dark, light = chance.uniform(0, 60), chance.uniform(220, 255)
    paper, ink = (dark, light) if chance.random() < 1 / 8 else (light, dark)
    return Drawn(drawing.picture(drawing.printed(cover, paper, ink)), text)


def save(folder: Path, drawn: Iterator[Drawn]) -> None:
    """The images as PNG files, each with its text in a .txt file."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, line in enumerate(drawn):
        line.image.save(folder / f"{index:05}.png")
        (folder / f"{index:05}.txt").write_text(line.text, encoding="utf-8")


def _sentences(chance: Random, faces: list[Face], count: int, size: int | None = None) -> Iterator[Drawn]:
    prose = read_lines(HERE / "text/corpus/held_out_prose.en.txt")
    made = 0
    while made < count:
        words = chance.choice(prose).split()
        start = chance.randrange(len(words))
        text = " ".join(words[start : start + chance.randint(1, 6)])
        if 6 <= len(text) <= 40 and set(text) <= ALPHABET:
            yield clean(text, faces[made % len(faces)], chance, size)
            made += 1


def _paper(drawn: Drawn) -> int:
    return int(np.asarray(drawn.image.convert("L"))[0, 0])
