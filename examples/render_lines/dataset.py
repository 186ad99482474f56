"""Data sets of rendered lines. A line depends only on the toml file, its seed, its index and the faces of the machine."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import attrs
import numpy as np
from PIL import Image

from render_lines import drawing
from render_lines.alphabet import LONGEST
from render_lines.faces import Face, find_faces
from render_lines.latin import KINDS as KINDS_OF_LATIN
from render_lines.latin import LatinTexts, Line
from render_lines.printing import Print, print_line
from render_lines.texts import KINDS, Texts, read_words
from vedcore.config import field, from_dict, strict
from vedcore.errors import ConfigError
from vedcore.training import Sample

HERE = Path(__file__).parent
_TRIES = 12  # faces for a text; some signs are in few of them, and another text is drawn then


def _weight() -> Any:
    return field.number(0.0, at_least=0)


def _range(default: tuple[float, float], least: float, most: float) -> Any:
    """A field for a range [from, to] between ``least`` and ``most``."""

    def check(instance: Any, attribute: attrs.Attribute[Any], value: tuple[float, float]) -> None:
        if not least <= value[0] <= value[1] <= most:
            raise ConfigError(
                f"{attribute.name} must be [from, to] between {least} and {most}, got {list(value)}",
                field=attribute.name,
                expected=f"[from, to] between {least} and {most}",
                found=value,
            )

    return attrs.field(default=default, validator=check)


@strict
class Mixture:
    """``[texts]``: the weight of each kind of text."""

    words: float = _weight()
    amounts: float = _weight()
    dates: float = _weight()
    characters: float = _weight()
    prose: float = _weight()


@strict
class Look:
    """``[look]``: how lines are printed, and how they are damaged.

    size: pixels per em. margin: pixels of paper around the ink. tilt: the largest angle in degrees. blur: the largest radius,
    as a fraction of the size. quality: of JPEG. width: the least width of a ``widened`` line, in multiples of its height; the
    additional paper is on the right.
    The other fields are the share of lines with a property, drawn independently. ``scanned``: worn type from a scanner that
    knows only black and white. ``trimmed``: the margins and the width of a piece of a long line. ``tinted``: in colour.
    """

    size: tuple[int, int] = _range((16, 40), 8, 200)
    margin: tuple[int, int] = _range((1, 10), 1, 100)
    widened: float = field.rate(0.9)
    width: tuple[float, float] = _range((1.5, 5.0), 0, 20)
    tilted: float = field.rate(0.4)
    tilt: float = field.number(2.0, at_least=0, at_most=5)
    blurred: float = field.rate(0.4)
    blur: float = field.number(0.05, at_least=0, at_most=0.1)
    scanned: float = field.rate(0.0)
    trimmed: float = field.rate(0.0)
    light_on_dark: float = field.rate(0.125)
    shaded: float = field.rate(0.25)
    grainy: float = field.rate(0.5)
    jpeg: float = field.rate(0.4)
    quality: tuple[int, int] = _range((15, 70), 1, 95)
    tinted: float = field.rate(0.15)


@strict
class Settings:
    """The toml file of a data set.

    lines: the number of lines. faces: which faces to draw with. fonts: a folder of fonts; None means all fonts of the machine.
    words, prose: text files. These three paths are relative to the folder of the toml file.
    """

    seed: int = field.integer(0, at_least=0)
    lines: int = field.integer(100_000_000)
    faces: str = field.text("all", one_of=("all", "training", "held-out"))
    fonts: str | None = field.text(None)
    words: str = field.text("text/words.txt")
    prose: str = field.text("text/prose.txt")
    texts: Mixture = attrs.field(factory=Mixture)
    look: Look = attrs.field(factory=Look)


@strict
class LatinMixture:
    """``[texts]`` for the alphabet "latin": the weight of each kind of text."""

    words: float = _weight()
    prose: float = _weight()
    pieces: float = _weight()
    numbers: float = _weight()
    amounts: float = _weight()
    codes: float = _weight()
    addresses: float = _weight()
    dates: float = _weight()
    cells: float = _weight()
    capitals: float = _weight()
    characters: float = _weight()


@strict
class PrintSettings:
    """The toml file of a data set with the alphabet "latin".

    longest: the most characters of a text, at most 40. corpus: the folder of texts that ``python -m render_lines.corpus``
    writes, relative to the folder of the toml file. held_out_texts: draw only texts that training does not use. The other
    keys are as in ``Settings``.
    """

    alphabet: str = field.text("latin", one_of=("latin",))
    seed: int = field.integer(0, at_least=0)
    lines: int = field.integer(100_000_000)
    faces: str = field.text("all", one_of=("all", "training", "held-out"))
    fonts: str | None = field.text(None)
    longest: int = field.integer(LONGEST, at_most=LONGEST)
    corpus: str = field.text("text/corpus")
    held_out_texts: bool = field.flag(False)
    texts: LatinMixture = attrs.field(factory=LatinMixture)
    print: Print = attrs.field(factory=Print)


class PrintedLines:
    """The lines of a data set with the alphabet "latin" by their index, as ``RenderedLines`` for ASCII.

    A face draws a text only if it has all its characters. Raises ConfigError if no text has a weight, if the corpus or the
    folder of fonts cannot be read, or if there is no face.
    """

    def __init__(
        self, settings: PrintSettings, path: str | Path = HERE / "dataset.toml", faces: tuple[Face, ...] | None = None
    ):
        self.settings, self.path = settings, Path(path)
        self._kinds, self._weights = _weights(settings.texts, KINDS_OF_LATIN, self.path)
        folder = self.path.parent
        prefix = "held_out_" if settings.held_out_texts else ""
        self.texts = LatinTexts(folder / settings.corpus, prefix, HERE / f"text/{prefix}prose.txt")
        if faces is None:
            faces = find_faces(folder / settings.fonts if settings.fonts else None)
        faces = tuple(face for face in faces if not face.odd)
        self.faces = chosen_faces(faces, settings.faces, self.path)
        self._families = _by_family(self.faces)

    def __len__(self) -> int:
        return self.settings.lines

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: line {index} of {len(self)}")
        chance, grain = _chances(self.settings.seed, index)
        while True:
            kind = chance.choices(self._kinds, self._weights)[0]
            line = self.texts.draw(kind, chance, self.settings.longest)
            face = self._face_for(line, chance)
            if face is not None:
                image = print_line(line, face, self.settings.print, chance, grain)
                return Sample(image, line.text, f"{self.path.name} {index}: {kind}, {face.family} {face.style}")

    def _face_for(self, line: Line, chance: Random) -> Face | None:
        """A face that has every character of the line; None if a few tries find none."""
        wanted = set(line.before + line.text + line.after)
        for _ in range(_TRIES):
            face = chance.choice(chance.choice(self._families))
            if wanted <= face.glyphs:
                return face
        return None


class RenderedLines:
    """The lines of a data set by their index. The same index gives the same bytes in every process.

    settings: those of the toml file at ``path``, or made in Python. faces: the faces to draw with; None finds those of the
    machine. Raises ConfigError if no text has a weight, if a text file or a folder of fonts cannot be used, or if there is no
    face.
    """

    def __init__(
        self, settings: Settings, path: str | Path = HERE / "dataset.toml", faces: tuple[Face, ...] | None = None
    ):
        self.settings, self.path = settings, Path(path)
        self._kinds, self._weights = _weights(settings.texts, KINDS, self.path)
        folder = self.path.parent
        self.texts = Texts(read_words(folder / settings.words), read_words(folder / settings.prose))
        if faces is None:
            faces = find_faces(folder / settings.fonts if settings.fonts else None)
        self.faces = chosen_faces(faces, settings.faces, self.path)
        self._families = _by_family(self.faces)

    def __len__(self) -> int:
        return self.settings.lines

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: line {index} of {len(self)}")
        chance, grain = _chances(self.settings.seed, index)
        kind = chance.choices(self._kinds, self._weights)[0]
        words = self.texts.draw(kind, chance)
        face = chance.choice(chance.choice(self._families))
        image = render(words, face, self.settings.look, chance, grain)
        return Sample(image, words, f"{self.path.name} {index}: {kind}, {face.family} {face.style}")


def load(dataset: str | Path, faces: tuple[Face, ...] | None = None) -> RenderedLines | PrintedLines:
    """The data set of a toml file, by its path or by the name of a file next to this one ("words", "prose", "latin").

    Raises ConfigError that names every unknown key and every value that cannot be used, or as the data set does.
    """
    path = Path(dataset) if Path(dataset).suffix else HERE / f"{dataset}.toml"
    data = read_toml(path)
    if data.get("alphabet") == "latin":
        return PrintedLines(from_dict(PrintSettings, data, str(path)), path, faces)
    return RenderedLines(from_dict(Settings, data, str(path)), path, faces)


def render(line: str, face: Face, look: Look, chance: Random, grain: np.random.Generator) -> Image.Image:
    """The image of a text in a face, in mode "L" or "RGB"."""

    def happens(share: float) -> bool:
        return chance.random() < share

    size = chance.randint(*look.size)
    tilt = chance.uniform(-look.tilt, look.tilt) if happens(look.tilted) else 0.0
    blur = chance.uniform(0, look.blur) * size if happens(look.blurred) else 0.0
    cover = drawing.ink(line, face.font(size), tilt=tilt, blur=blur)
    if happens(look.scanned):
        cover = drawing.scanned(cover, chance, grain)
    least, most = (1, 5) if (trimmed := happens(look.trimmed)) else look.margin
    wide = 3.0 if trimmed else chance.uniform(*look.width) if happens(look.widened) else 0.0
    left, top, right, bottom = (chance.randint(least, most) for _ in range(4))
    cover = drawing.framed(cover, (left, top, right, bottom), wide)
    dark, light = chance.uniform(0, 110), chance.uniform(180, 255)
    paper, ink_level = (dark, light) if happens(look.light_on_dark) else (light, dark)
    levels = drawing.printed(cover, paper, ink_level)
    if happens(look.shaded):
        levels = drawing.shaded(levels, chance)
    if happens(look.grainy):
        levels = drawing.grainy(levels, chance, grain)
    image = drawing.picture(levels)
    if happens(look.jpeg):
        image = drawing.jpeg(image, chance.randint(*look.quality))
    return drawing.tinted(image, chance) if happens(look.tinted) else image


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a toml file. Raises ConfigError if it cannot be read."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise ConfigError(f"{path}: cannot be read as a data set ({cause})", file=path) from cause


def _weights(mixture: Any, kinds: Iterable[str], path: Path) -> tuple[list[str], list[float]]:
    """The kinds and their weights. Raises ConfigError if all weights are 0."""
    weights = {kind: getattr(mixture, kind) for kind in kinds}
    if not any(weights.values()):
        raise ConfigError(
            f"{path}: [texts] has no weight above 0; set at least one of {', '.join(kinds)}", file=path, field="texts"
        )
    return list(weights), list(weights.values())


def _by_family(faces: tuple[Face, ...]) -> list[list[Face]]:
    return [[face for face in faces if face.family == family] for family in sorted({face.family for face in faces})]


def _chances(seed: int, index: int) -> tuple[Random, np.random.Generator]:
    """The sources of a line's random choices and of its noise."""
    first, second = np.random.SeedSequence([seed, index]).generate_state(2, np.uint64)
    return Random(int(first)), np.random.default_rng(second)


def chosen_faces(faces: tuple[Face, ...], which: str, path: Path) -> tuple[Face, ...]:
    """The faces that ``which`` names ("all", "training" or "held-out"), without the reserved ones.

    Raises ConfigError if there are none.
    """
    free = (face for face in faces if not face.reserved)
    chosen = tuple(face for face in free if which == "all" or face.held_out == (which == "held-out"))
    if not chosen:
        raise ConfigError(
            f'{path}: faces = "{which}" selects none of the {len(faces)} faces of this machine (about one in eight is held '
            f'out); set faces = "all", or install more: pip install -r {HERE / "fonts.txt"}',
            file=path,
            field="faces",
            found=which,
        )
    return chosen
