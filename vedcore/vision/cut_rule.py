"""When a long line of text is cut, and into what."""

from __future__ import annotations

import attrs

from vedcore.config import field
from vedcore.errors import ConfigError


@attrs.frozen(kw_only=True)
class CutRule:
    """Widths are multiples of the height of the ink.

    A line whose ink is wider than ``above`` is cut between words into pieces of at most ``longest``. A word wider than 1.15
    times ``above`` is cut into pieces that overlap. A piece narrower than ``shortest`` is extended with background.
    ``separator`` joins the texts of pieces that do not overlap.

    Raises ConfigError unless 0 < shortest <= longest <= above.
    """

    above: float = field.number(8.0, above=0)
    longest: float = field.number(7.0, above=0)
    shortest: float = field.number(3.0, above=0)
    separator: str = field.text(" ")

    def __attrs_post_init__(self) -> None:
        if not self.shortest <= self.longest <= self.above:
            raise ConfigError(
                "CutRule needs shortest <= longest <= above, "
                f"got shortest {self.shortest}, longest {self.longest}, above {self.above}",
                field="longest",
                expected="shortest <= longest <= above",
                found=self.longest,
            )
