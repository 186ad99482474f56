"""vedcore and transformers, measured in one run: ``make bench`` and ``make bench-full``."""
