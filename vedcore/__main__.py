"""``python -m vedcore`` is the command ``vedcore``."""

from vedcore.cli import main

main()
