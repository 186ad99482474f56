"""An XML file as a tree of elements, read safely: without entities, without a DTD, and of limited depth."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from vedcore.errors import ConfigError

LINE = "#line"
"""The attribute that holds the line number of an element. No name of an attribute in a file begins so."""

_MAX_DEPTH = 200


def read_xml(path: Path) -> Element:
    """The root element of a file. Tags are without their namespaces.

    Raises ConfigError, which names the line, for a file that is not well-formed, has a DTD or nests its elements too deep.
    """
    parser, builder = expat.ParserCreate(namespace_separator="}"), TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise _error(path, parser.CurrentLineNumber, f"elements are nested more than {_MAX_DEPTH} deep")
        builder.start(_local(tag), {**attributes, LINE: str(parser.CurrentLineNumber)})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_local(tag))

    def refuse(*_: object) -> NoReturn:
        raise _error(path, parser.CurrentLineNumber, "a DTD or an entity, which is not read; remove the DOCTYPE")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as cause:
        raise _error(path, cause.lineno, f"not well-formed XML ({expat.ErrorString(cause.code)})") from cause
    except (LookupError, ValueError) as cause:  # the encoding that the file declares
        raise _error(path, 1, f"not readable as XML ({cause})") from cause
    except OSError as cause:
        raise ConfigError(f"{path}: cannot be read ({cause})", file=path) from cause
    return builder.close()


def line_of(element: Element) -> int:
    """The line number of an element in its file."""
    return int(element.attrib[LINE])


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _error(path: Path, line: int, found: str) -> ConfigError:
    return ConfigError(f"{path}:{line}: {found}", file=path, found=found)
