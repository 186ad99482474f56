"""The families that pages are set in: a regular and a bold face each, found by the file names in ``faces.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import ImageFont

from vedcore.errors import ConfigError

LIST = Path(__file__).with_name("faces.toml")
FOLDERS = ("/usr/share/fonts", "/usr/share/texmf/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")


@dataclass(frozen=True)
class Family:
    """The font files of a family. A family without files is the face that Pillow contains, which every machine has."""

    name: str
    regular: Path | None = None
    bold: Path | None = None

    def font(self, size: float, *, bold: bool = False) -> ImageFont.FreeTypeFont:
        """The face at ``size`` pixels per em. Letters are placed without ligatures, by the font's own advances and kerning."""
        return _font(self.bold if bold else self.regular, size)


def find_families(names: Iterable[str]) -> dict[str, Family]:
    """The families with these names. Raises ConfigError if a font file is missing; it says which packages to install."""
    packages = {family: package for package, families in _listed().items() for family in families}
    installed = {path.name: path for path in _font_files()}
    found, missing = {}, set()
    for name in sorted(set(names)):
        if name not in packages:
            raise ConfigError(
                f"family {name!r} is not in {LIST}; it has {', '.join(sorted(packages))}", file=LIST, field=name
            )
        files = _listed()[packages[name]][name]
        paths = {style: installed.get(file) for style, file in files.items()}
        found[name] = Family(name, **paths)
        missing |= {packages[name]} if None in paths.values() else set()
    if missing:
        raise ConfigError(
            f"the fonts of {', '.join(sorted(missing))} are not in {', '.join(FOLDERS)}; "
            f"install them: apt-get install {' '.join(sorted(missing))}",
            field="family",
            found=sorted(missing),
        )
    return found


@cache
def _listed() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    return tomllib.loads(LIST.read_text(encoding="utf-8"))


def _font_files() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted(path for path in Path(folder).expanduser().rglob("*") if path.suffix in (".ttf", ".otf"))


@cache
def _font(path: Path | None, size: float) -> ImageFont.FreeTypeFont:
    if path is not None:
        return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise ConfigError("this Pillow has no FreeType; install Pillow from the package index: pip install pillow")
    return font
