"""The faces of this machine that can draw a line of text. A font file can contain several faces.

Fonts come from the system (the list of fontconfig, or the usual folders if there is no fontconfig) and from installed font
packages (``fonts.txt`` names sixty). A face is used if it draws every printable ASCII character, and if its letters have the
usual shapes: b rises above x, p descends below it, and a dash is wider than high. Very thin faces are not used.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont, features

from render_lines.alphabet import CHARACTERS, PRINTABLE
from vedcore.errors import ConfigError

SUFFIXES = (".ttf", ".otf", ".ttc")
FOLDERS = {
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": ("%WINDIR%/Fonts", "%LOCALAPPDATA%/Microsoft/Windows/Fonts"),
}
OTHERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts")
HELD_OUT = 8  # one in eight first words of family names is held out from training
RESERVED = (
    "opensans", "cantarell", "linuxlibertine", "libertine", "libertinus", "linuxbiolinum", "biolinum", "lato", "carlito",
    "droidsans", "notosans",
)  # fmt: skip
"""Parts of the names of families that no data set draws with, because readers are judged on pages in these families."""
_ODD = (
    "phon", "babel unicode", "monoisome", "junkyard", "penguin attack", "emerita", "opendyslexicalta", "keyfont",
    "quotation", "math", "elegante", "domestic manners", "cmr10", "solothurn", "cupola", "compagnon", "klaudia",
    "berenika", "furence", "monofur", "script", "sans thin",
)  # fmt: skip
_RAQM = bool(features.check("raqm"))
_MONOSPACED = re.compile(r"mono|code|courier|cursor|typewriter|hack|hermit|agave|cousine")
_TOO_THIN = ("thin", "hairline", "extralight", "ultralight", "extra light", "ultra light")
_VARIANTS = ("light", "regular", "medium", "bold", "black", "condensed", "")  # of a variable font; "" is plain "italic"


@dataclass(frozen=True, order=True)
class Face:
    """A face: its names and its file. A face without a path is the one that Pillow contains."""

    family: str
    style: str
    path: str = ""
    index: int = 0
    variant: str = ""  # the instance of a variable font

    @property
    def held_out(self) -> bool:
        """Whether the face is only for evaluation. The first word of its family decides, so every machine agrees."""
        return zlib.crc32(self.family.split()[0].lower().encode()) % HELD_OUT == 0

    @property
    def reserved(self) -> bool:
        """Whether no data set draws with the face, because readers are judged on texts in its family or in a derived one."""
        name = "".join(mark for mark in self.family.lower() if mark.isalnum())
        return any(reserved in name for reserved in RESERVED)

    @property
    def odd(self) -> bool:
        """Whether some glyphs of the face do not show their characters, or are too ornate for print."""
        return self.family == "sans" or any(odd in self.family.lower() for odd in _ODD)

    def font(self, size: int, *, shaped: bool = False) -> ImageFont.FreeTypeFont:
        """The face at ``size`` pixels per em. shaped: with ligatures, if Pillow can and it is not monospaced."""
        return _font(self, size, shaped and _RAQM and not _MONOSPACED.search(self.family.lower()))

    @property
    def glyphs(self) -> frozenset[str]:
        """The characters of the alphabet that the face can draw, including the space."""
        return _glyphs(self)


def pillows_own() -> Face:
    """The face that Pillow contains, which every machine has."""
    family, style = _own(20).getname()
    return Face(family or "Pillow", style or "Regular")


@lru_cache(maxsize=8)
def find_faces(folder: str | Path | None = None) -> tuple[Face, ...]:
    """The usable faces in ``folder``, or of the whole machine, sorted by name.

    Raises ConfigError if ``folder`` does not exist or has no usable face.
    """
    if folder is None:
        own = pillows_own()
        files, found = [*_of_the_system(), *_of_packages()], {(own.family, own.style): own}
    else:
        files, found = list(_under([folder])), {}
    for path in sorted(set(map(str, files))):
        for face in _faces(path):
            found.setdefault((face.family, face.style), face)
    if not found:
        raise ConfigError(
            f"fonts: no face under {folder} draws all printable ASCII characters; "
            f"name a folder with files that end in {', '.join(SUFFIXES)}, or leave fonts out to use those of the machine",
            file=folder,
            field="fonts",
        )
    return tuple(sorted(found.values()))


def _under(folders: Iterable[str | Path]) -> Iterator[str]:
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                yield str(path)


def _of_the_system() -> Iterator[str]:
    if lister := shutil.which("fc-list"):
        listed = subprocess.run([lister, "--format", "%{file}\n"], capture_output=True, text=True, check=False)
        yield from (line for line in listed.stdout.splitlines() if line.lower().endswith(SUFFIXES))
    else:
        usual = FOLDERS.get(sys.platform, OTHERS)
        yield from _under(os.path.expandvars(os.path.expanduser(folder)) for folder in usual)


def _of_packages() -> Iterator[str]:
    for point in entry_points(group="fontpkg.family"):
        spec = find_spec(point.module)
        yield from _under((spec and spec.submodule_search_locations) or ())


def _faces(path: str) -> Iterator[Face]:
    """The usable faces of one file; none if the file is not a font."""
    for index in range(1 if not path.lower().endswith(".ttc") else 64):
        try:
            font = ImageFont.truetype(path, 20, index=index, layout_engine=ImageFont.Layout.BASIC)
            if not _writes(font):
                continue
        except (OSError, ValueError):
            return
        for variant in _variants(font):
            family, style = font.getname()
            face = Face(family or Path(path).stem, variant or style or "Regular", path, index, variant)
            if not any(thin in face.style.lower() for thin in _TOO_THIN):
                yield face


def _variants(font: ImageFont.FreeTypeFont) -> list[str]:
    """The names of the instances of a variable font that differ enough; [""] for an ordinary font."""
    try:
        names = [name.decode("latin-1") for name in font.get_variation_names()]
    except OSError:
        return [""]
    return [name for name in names if name.lower().replace("italic", "").strip() in _VARIANTS] or names[:1]


def _writes(font: ImageFont.FreeTypeFont) -> bool:
    missing = bytes(font.getmask("\uffff"))
    masks = {mark: font.getmask(mark) for mark in PRINTABLE}
    if any(bytes(mask) == missing or not mask.getbbox() for mask in masks.values()):
        return False
    left, top, right, bottom = masks["-"].getbbox()
    (_, b_top, *_), (_, x_top, _, x_bottom), (*_, p_bottom) = (font.getbbox(mark, anchor="ls") for mark in "bxp")
    return bool(b_top < x_top and p_bottom > x_bottom and bottom - top < right - left)


@lru_cache(maxsize=4096)
def _glyphs(face: Face) -> frozenset[str]:
    """A character without a glyph is drawn as a mark of its own, or as nothing; some faces draw letters without accents."""
    font = _font(face, 24)
    missing = bytes(font.getmask("\uffff"))
    masks = {mark: font.getmask(mark) for mark in CHARACTERS}
    found = {mark for mark, mask in masks.items() if mask.getbbox() and bytes(mask) != missing}
    plain = {bytes(masks[mark]) for mark in PRINTABLE}
    return frozenset({mark for mark in found if mark in PRINTABLE or bytes(masks[mark]) not in plain} | {" "})


@lru_cache(maxsize=512)
def _font(face: Face, size: int, shaped: bool = False) -> ImageFont.FreeTypeFont:
    if not face.path:
        return _own(size)
    engine = ImageFont.Layout.RAQM if shaped else ImageFont.Layout.BASIC
    font = ImageFont.truetype(face.path, size, index=face.index, layout_engine=engine)
    if face.variant:
        font.set_variation_by_name(face.variant)
    return font


def _own(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise ConfigError(
            "this Pillow was built without FreeType and cannot draw text: pip install --force-reinstall pillow"
        )
    return font
