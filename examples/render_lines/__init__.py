"""Rendered lines of print as training data. A toml file and its seed define a data set, whose lines are drawn on access.

``load("words")[7]`` is the eighth line of words.toml. ``python -m render_lines words --count 64 --out FOLDER`` writes the
first 64 lines to a folder.
"""

from render_lines.dataset import (
    LatinMixture,
    Look,
    Mixture,
    PrintedLines,
    PrintSettings,
    RenderedLines,
    Settings,
    load,
)
from render_lines.faces import Face, find_faces, pillows_own
from render_lines.printing import Print

__all__ = [
    "Face",
    "LatinMixture",
    "Look",
    "Mixture",
    "Print",
    "PrintSettings",
    "PrintedLines",
    "RenderedLines",
    "Settings",
    "find_faces",
    "load",
    "pillows_own",
]
