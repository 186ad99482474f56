"""The text of a label file."""

from __future__ import annotations

import codecs
from pathlib import Path

from vedcore.errors import ConfigError

UTF_8 = "utf-8"
ENCODINGS = (UTF_8, "latin-1", "cp1252")
"""The encodings of label files. Others than UTF-8 are never guessed, because every file is valid Latin-1."""


def read_text(path: Path, encoding: str) -> str:
    """The text of a label file, without a byte order mark.

    Raises ConfigError if a byte is not valid in ``encoding``: the line, the byte and the option that helps.
    """
    try:
        data = path.read_bytes()
    except OSError as cause:
        raise ConfigError(f"{path}: the labels cannot be read ({cause})", file=path) from cause
    try:
        return data.decode("utf-8-sig" if encoding == UTF_8 else encoding)
    except UnicodeDecodeError as cause:
        start = data.rfind(b"\n", 0, cause.start) + 1
        line, byte = data.count(b"\n", 0, cause.start) + 1, data[cause.start]
        found = f"byte 0x{byte:02X} after {data[start : cause.start][-30:].decode(encoding, 'replace')!r}"
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            advice = "the file is UTF-16; save it as UTF-8"
        elif encoding == UTF_8:
            advice = (
                f"save the file as UTF-8, or, if this byte is {bytes([byte]).decode('cp1252', 'replace')!r}, read it with "
                '--encoding latin-1 (cp1252 if it comes from Windows; in a recipe: encoding = "latin-1" of the data set)'
            )
        else:
            advice = "name the encoding of the file with --encoding, or save it as UTF-8"
        raise ConfigError(
            f"{path}:{line}: labels must be text in {encoding.upper()}, found {found}; {advice}",
            file=path,
            expected=encoding.upper(),
            found=byte,
        ) from cause
