"""The words and sentences of several languages, collected from packages of this machine into a folder of text files.

``python -m render_lines.corpus`` writes the folder ``text/corpus`` that the data sets of the alphabet "latin" read. It takes
words from word lists in ``/usr/share/dict``, and sentences from the Debian handbook, the Debian reference and the message
catalogues of installed programs. ``SOURCES.md`` names the packages and their licences.

A sixteenth of the words and of the paragraphs, chosen by a checksum, goes to files of its own for evaluation.
"""

from __future__ import annotations

import argparse
import gettext
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from render_lines.alphabet import ALPHABET, LONGEST
from vedcore.errors import ConfigError

HERE = Path(__file__).parent
FOLDER = HERE / "text" / "corpus"
DICTIONARIES = Path("/usr/share/dict")
HANDBOOK = Path("/usr/share/doc/debian-handbook/html")
REFERENCE = Path("/usr/share/debian-reference")
CATALOGUES = Path("/usr/share/locale")

HELD_OUT = 16  # one word, and one paragraph, in so many
MOST_WORDS = 40_000
MOST_PROSE = 700_000  # characters of a language
_PACKAGES = "wamerican wngerman wfrench wspanish witalian wportuguese wswedish wdanish wnorwegian debian-handbook"


@dataclass(frozen=True)
class Language:
    """The files of a language: its word list, its folders of the handbook, its message catalogues."""

    code: str
    words: str
    handbook: str
    catalogues: tuple[str, ...]


LANGUAGES = (
    Language("en", "american-english", "en-US", ()),
    Language("de", "ngerman", "de-DE", ("de",)),
    Language("fr", "french", "fr-FR", ("fr",)),
    Language("es", "spanish", "es-ES", ("es",)),
    Language("it", "italian", "it-IT", ("it",)),
    Language("pt", "portuguese", "pt-BR", ("pt", "pt_BR")),
    Language("sv", "swedish", "sv-SE", ("sv",)),
    Language("da", "danish", "da-DK", ("da",)),
    Language("no", "bokmaal", "nb-NO", ("nb",)),
)

_SPACES = re.compile(r"\s+")
_PLACEHOLDER = re.compile(r"%|[{}\\<>|~]|\$\w|__")  # placeholders of a message, which are not printed
_ACCELERATOR = re.compile(r"(?:^|(?<=\W))[_&](?=\w)|(?<=\w)[_&](?=\w)")


class _Paragraphs(HTMLParser):
    """The texts of the paragraphs of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._depth, self._parts = 0, [""]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "p":
            self._depth, self._parts = 1, []

    def handle_endtag(self, tag: str) -> None:
        if tag == "p" and self._depth:
            self._depth = 0
            self.found.append("".join(self._parts))

    def handle_data(self, data: str) -> None:
        if self._depth:
            self._parts.append(data)


def _handbook(language: Language) -> Iterator[str]:
    for path in sorted((HANDBOOK / language.handbook).glob("*.html")):
        parser = _Paragraphs()
        parser.feed(path.read_text(encoding="utf-8", errors="replace"))
        yield from parser.found


def _reference(language: Language) -> Iterator[str]:
    path = REFERENCE / f"debian-reference.{language.code}.txt.gz"
    if path.is_file():
        for paragraph in gzip.decompress(path.read_bytes()).decode("utf-8", "replace").split("\n\n"):
            if not re.search(r"[|┌│├]|  \S+  |--", paragraph):
                yield paragraph


def _messages(language: Language) -> Iterator[str]:
    names = language.catalogues or ("de", "fr")
    for name in names:
        for path in sorted((CATALOGUES / name / "LC_MESSAGES").glob("*.mo")):
            try:
                with path.open("rb") as file:
                    catalogue = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
            except (OSError, ValueError, UnicodeDecodeError):
                continue
            for original, translated in catalogue.items():
                message = translated if language.catalogues else original
                if isinstance(message, str) and not _PLACEHOLDER.search(message):
                    yield _ACCELERATOR.sub("", message)


def clean(paragraphs: Iterable[str]) -> list[str]:
    """The paragraphs of at least four words that the alphabet can write, each once, in a shuffled but fixed order."""
    kept = set()
    for paragraph in paragraphs:
        text = _SPACES.sub(" ", paragraph.replace("\u00ad", "").replace("\u202f", " ")).strip()
        if text.count(" ") >= 3 and ALPHABET.issuperset(text):
            kept.add(text)
    return sorted(kept, key=checksum)


def checksum(text: str) -> int:
    """A checksum that decides to which file a text goes, the same on every machine."""
    return zlib.crc32(text.encode())


def read_lines(path: Path) -> list[str]:
    """The lines of a text file. Raises ConfigError if it cannot be read, is empty, or has characters outside the alphabet."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as cause:
        raise ConfigError(
            f"{path}: cannot be read as a text in UTF-8 ({cause}); install {_PACKAGES} and run "
            "python -m render_lines.corpus in the folder examples to write the texts"
        ) from cause
    if not lines:
        raise ConfigError(f"{path}: holds no text")
    for number, line in enumerate(lines, 1):
        if strange := sorted(set(line) - ALPHABET):
            raise ConfigError(
                f"{path}, line {number}: {' '.join(map(repr, strange))} is not in the alphabet of the reader"
            )
    return lines


def write(folder: Path = FOLDER) -> dict[str, tuple[int, int]]:
    """Write the files of all languages. Returns the numbers of words and paragraphs of each.

    Raises ConfigError if a word list is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for language in LANGUAGES:
        path = DICTIONARIES / language.words
        if not path.is_file():
            raise ConfigError(f"{path}: no such word list; apt-get install {_PACKAGES}")
        found = {word.strip() for word in _decoded(path.read_bytes()).splitlines()}
        words = sorted((w for w in found if 1 < len(w) <= LONGEST - 8 and ALPHABET.issuperset(w)), key=checksum)
        prose = clean([*_handbook(language), *_reference(language), *_messages(language)])
        for name, texts in (("words", words[:MOST_WORDS]), ("prose", _shortened(prose))):
            for prefix, wanted in (("", False), ("held_out_", True)):
                chosen = sorted(text for text in texts if (checksum(text[::-1]) % HELD_OUT == 0) == wanted)
                (folder / f"{prefix}{name}.{language.code}.txt").write_text("\n".join(chosen) + "\n", encoding="utf-8")
        counts[language.code] = (len(words[:MOST_WORDS]), len(_shortened(prose)))
    return counts


def _decoded(data: bytes) -> str:
    """The text of a word list, which may be in UTF-8 or in Latin-1."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _shortened(paragraphs: list[str]) -> list[str]:
    total, kept = 0, []
    for paragraph in paragraphs:
        total += len(paragraph)
        if total > MOST_PROSE:
            break
        kept.append(paragraph)
    return kept


def main() -> None:
    """Run ``python -m render_lines.corpus``."""
    parser = argparse.ArgumentParser(prog="python -m render_lines.corpus", description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder to write (text/corpus)")
    options = parser.parse_args()
    try:
        for code, (words, paragraphs) in write(options.out).items():
            print(f"{code}: {words} words, {paragraphs} paragraphs")
    except ConfigError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
