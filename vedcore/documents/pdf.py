"""The pages of a PDF file, rendered by pdfium in a child process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from vedcore.documents.child import Child, ChildFailed, Refused
from vedcore.errors import ConfigError
from vedcore.vision import MAX_PIXELS, Origin, from_pixels

if TYPE_CHECKING:
    from PIL import Image

PDF_DEADLINE = 30.0
"""Seconds for a page, and for opening the document."""
MAX_PDF_PAGES = 10_000
_LEAST_DPI = 30.0
"""A page so large that it has too many pixels at this resolution is refused. The largest page of the standard is rendered."""

_REASONS = {
    "password": "is encrypted with a password; remove it, e.g. with: qpdf --decrypt --password=PASSWORD IN.pdf OUT.pdf",
    "security": "is encrypted in a way that pdfium does not support; remove the encryption, e.g. with qpdf --decrypt",
    "format": "is not a PDF that can be read; repair it, e.g. with: qpdf IN.pdf OUT.pdf",
    "library": "pypdfium2 is installed but does not work; install it again: pip install --force-reinstall pypdfium2",
    "file": "cannot be read; check the path and its permissions",
    "page": "is damaged; repair the file, e.g. with: qpdf IN.pdf OUT.pdf",
    "large": f"is too large to be rendered at {_LEAST_DPI:g} dpi; split it into smaller pages",
    "memory": "needs more memory than allowed; make its images smaller, or pass the page as an image",
    "save": "pdfium could not write it",
}
"""What the child may refuse, in words. The keys are the child's."""


class PdfPages:
    """The pages of a PDF document, rendered one at a time."""

    def __init__(
        self,
        source: str | os.PathLike[str] | bytes,
        origin: Origin,
        *,
        dpi: float,
        deadline: float = PDF_DEADLINE,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Raises ImageError for a document that cannot be opened; ConfigError for a resolution out of range."""
        if not _LEAST_DPI <= dpi <= 10_000:  # also NaN
            raise ConfigError(
                f"dpi: expected {_LEAST_DPI:g} to 10000, found {dpi}", field="dpi", expected="30 to 10000", found=dpi
            )
        self._dpi, self._max_pixels = float(dpi), max_pixels
        self._child = Child(source, origin, deadline)
        try:
            self._count: int = ask(self._child, origin, {"do": "count"})["pages"]
            if not 1 <= self._count <= MAX_PDF_PAGES:
                raise origin.error(
                    f"expected 1 to {MAX_PDF_PAGES} pages, found {self._count}; split the document",
                    expected=f"1 to {MAX_PDF_PAGES} pages",
                    found=self._count,
                )
        except BaseException:
            self._child.close()
            raise

    def __len__(self) -> int:
        return self._count

    def load(self, index: int, origin: Origin) -> Image.Image:
        """The page ``index``, from 0, as a viewer shows it, on white. origin: its name in errors. Raises ImageError."""
        request = {"do": "render", "page": index, "dpi": self._dpi, "least_dpi": _LEAST_DPI, "pixels": self._max_pixels}
        answer = ask(self._child, origin, request)
        with origin.wrap_errors("pdfium returned no image"):
            width, height = answer["width"], answer["height"]
            if width * height > self._max_pixels:
                raise ValueError(f"{width} x {height} pixels, more than the {self._max_pixels} allowed")
            return from_pixels(answer["data"], (width, height), answer["stride"], answer["dpi"])

    def close(self) -> None:
        """End the child process."""
        self._child.close()


def ask(child: Child, origin: Origin, request: dict[str, Any], *, deadline: float | None = None) -> dict[str, Any]:
    """What the child answers. Raises ImageError, whose message starts with ``origin``, if it refuses, dies or is too slow."""
    try:
        return child.ask(request, deadline=deadline)
    except Refused as refused:
        raise origin.error(_REASONS.get(refused.reason, f"pdfium failed ({refused.reason[:200]})")) from None
    except ChildFailed as cause:
        raise origin.error(
            f"pdfium {cause}; repair the file, e.g. with: qpdf IN.pdf OUT.pdf, or pass the page as an image"
        ) from cause
