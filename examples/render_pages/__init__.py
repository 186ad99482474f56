"""Forty pages with their texts, to measure how well programs read pages. Fonts, texts and seed are fixed.

``python -m render_pages OUT`` writes NNN-kind.png and NNN-kind.txt for each page. The set was fixed before any program read
it, so it suits none of them.
"""

from render_pages.faces import Family, find_families
from render_pages.look import Look
from render_pages.page import Page, load_pages, render

__all__ = ["Family", "Look", "Page", "find_families", "load_pages", "render"]
