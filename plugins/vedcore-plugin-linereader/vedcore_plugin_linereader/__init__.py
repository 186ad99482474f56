"""A line reader for vedcore: printed text, up to 24 characters at a time, longer lines cut at their gaps."""

from pathlib import Path

from vedcore import Checkpoint, hookimpl

__all__ = ["LINE_READER"]

LINE_READER = Checkpoint(
    name="line-reader",
    folder=Path(__file__).parent / "line-reader",
    summary="one line of printed ASCII text; ViT and GPT-2, 1.4 million parameters",
    protocol=2,
)


@hookimpl
def vedcore_plugin() -> list[Checkpoint]:
    """The checkpoint of this package."""
    return [LINE_READER]
