"""Which layout images are read with: the caller's choice, the checkpoint's default, and the segmenter that a page needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import attrs

from vedcore.contract.hookspecs import Segmenter
from vedcore.contract.protocols import PageSegmenter
from vedcore.errors import ConfigError
from vedcore.reader.finding import FindLine, FindLineOrPage, FindPage, FindWhole, RowFinder
from vedcore.registry import registry
from vedcore.storage.own import OWN_FILE, own_settings
from vedcore.vision import CutRule

LayoutName = Literal["auto", "page", "line", "whole"]
"""How images are read.

auto: each is a line or a page, whichever it looks like. page: a segmenter finds the lines. line: one line, which is cut if
it is long. whole: the model reads the image as it is.
"""

_LAYOUTS = get_args(LayoutName)
_USUAL = "pages"  # what the hint of an error names if no segmenter is installed


def row_finder(
    layout: LayoutName, rule: CutRule | None, segmenter: PageSegmenter | str | None, reads_lines: bool
) -> RowFinder:
    """What finds the rows of an image in ``layout``.

    rule: cuts long lines. segmenter: a function, or the name of an installed segmenter; None: the only one that is installed.
    reads_lines: whether the model reads lines of text, so that other images get a warning.

    Raises ConfigError if several segmenters are installed and none is chosen, PluginNotFound if "page" needs one and there is
    none, and PluginError if its plugin cannot be used. Without a segmenter "auto" reads every image as a line.
    """
    if layout == "whole":
        return FindWhole(reads_lines)
    if layout == "line":
        return FindLine(rule)
    if layout == "auto" and segmenter is None and not registry().segmenter_names():
        return FindLine(rule, advice=f"to read pages, pip install vedcore-plugin-{_USUAL}")
    page = FindPage(find_segmenter(segmenter), rule)
    return page if layout == "page" else FindLineOrPage(FindLine(rule), page)


def find_segmenter(segmenter: PageSegmenter | str | None) -> PageSegmenter:
    """The segmenter of this name, or the only installed one; a function is returned as it is. Raises as ``row_finder``."""
    if segmenter is not None and not isinstance(segmenter, str):
        return segmenter
    names = registry().segmenter_names()
    if segmenter is None and len(names) > 1:
        raise ConfigError(
            f"several segmenters are installed: {', '.join(names)}; choose one with --segmenter NAME, in Python with "
            'segmenter="NAME"',
            field="segmenter",
            expected=names,
        )
    return registry().segmenter(segmenter or (names[0] if names else _USUAL)).segmenter


def check_segmenter(segmenter: Any) -> PageSegmenter | str | None:
    """A segmenter as ``Reader`` takes it: a function, a record, a name or None.

    Raises ConfigError for another value, and PluginNotFound for a name that is not installed.
    """
    if isinstance(segmenter, Segmenter):
        return segmenter.segmenter
    if isinstance(segmenter, str) and segmenter not in registry().segmenter_names():
        registry().segmenter(segmenter)  # raises
    if segmenter is not None and not isinstance(segmenter, str) and not callable(segmenter):
        expected = "a function, a Segmenter, or the name of an installed one"
        raise ConfigError(
            f"segmenter must be {expected}, got {segmenter!r}", field="segmenter", expected=expected, found=segmenter
        )
    return segmenter  # type: ignore[no-any-return]


def preferred_segmenter(folder: Path) -> str | None:
    """The segmenter in the checkpoint's vedcore.json, if it is installed; None otherwise."""
    name = own_settings(folder).get("segmenter")
    return name if name in registry().segmenter_names() else None


def check_layout(layout: Any, file: Path | None = None) -> LayoutName:
    """``layout`` if it is the name of a layout. Raises ConfigError, which names ``file``."""
    if layout not in _LAYOUTS:
        expected = " | ".join(_LAYOUTS)
        where = "" if file is None else f"{file}: "
        raise ConfigError(
            f"{where}layout must be {expected}, got {layout!r}",
            file=file,
            field="layout",
            expected=expected,
            found=layout,
        )
    return layout  # type: ignore[no-any-return]


def read_layout(folder: Path) -> LayoutName | None:
    """The layout in the checkpoint's vedcore.json, or None. Raises ConfigError if there is no such layout."""
    layout = own_settings(folder).get("layout")
    return None if layout is None else check_layout(layout, folder / OWN_FILE)


def read_cut_rule(folder: Path) -> CutRule | None:
    """The cut rule in the checkpoint's vedcore.json, or None. Raises ConfigError if it is not a valid rule."""
    rule, path = own_settings(folder).get("cut"), folder / OWN_FILE
    if rule is None:
        return None
    known = sorted(attribute.name for attribute in attrs.fields(CutRule))
    if not isinstance(rule, dict) or not set(rule) <= set(known):
        expected = f"an object with {', '.join(known)}"
        raise ConfigError(
            f"{path}: cut must be {expected}, got {rule!r}", file=path, field="cut", expected=expected, found=rule
        )
    try:
        return CutRule(**rule)
    except ConfigError as error:
        raise ConfigError(
            f"{path}: {error}", file=path, field=error.field, expected=error.expected, found=error.found
        ) from error
