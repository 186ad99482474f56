"""Rendered lines of print as data: a data set is a seed and a toml, and each of its lines is drawn when it is asked for.

``load("words")[7]`` is the eighth line of words.toml; ``python -m render_lines words --count 64 --out FOLDER`` writes some.
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
