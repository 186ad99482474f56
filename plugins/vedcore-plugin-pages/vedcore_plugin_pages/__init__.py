"""The lines of a page for vedcore: image in, blocks and lines in reading order out."""

from vedcore import Segmenter, hookimpl
from vedcore_plugin_pages.segmenter import segment_page

__all__ = ["PAGES", "segment_page"]

PAGES = Segmenter(name="pages", segmenter=segment_page, protocol=2)


@hookimpl
def vedcore_plugin() -> list[Segmenter]:
    """The segmenter of this package."""
    return [PAGES]
