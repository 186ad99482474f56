"""Error rates on whole pages for vedcore, Tesseract and RapidOCR: ``make bench-pages``."""
