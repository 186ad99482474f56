"""Documents: the pages of image files, TIFF files and PDF files; hOCR, ALTO and searchable PDF files that are written.

The only package that uses pypdfium2, and only in a child process.
"""

from vedcore.documents.alto import alto
from vedcore.documents.hocr import hocr
from vedcore.documents.pages import Page, Pages, open_pages
from vedcore.documents.searchable import write_searchable_pdf

__all__ = ["Page", "Pages", "alto", "hocr", "open_pages", "write_searchable_pdf"]
