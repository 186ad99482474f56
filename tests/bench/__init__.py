"""vedcore against transformers, side by side: ``make bench``."""
