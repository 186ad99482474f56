"""``Check``, the decorator that registers one, and the list of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vedcore.testing.subject import LawBroken, Subject

Role = Literal["encoder", "decoder", "both"]


@dataclass(frozen=True, slots=True)
class Check:
    """One law.

    Attributes:
        id: the stable name, for ``exclude`` and reports.
        level: the name of the module that holds it.
        role: the role of the backbones that it applies to.
        law: the law in one sentence.
        cause: the usual cause if it does not hold.
        run: the test itself. It raises LawBroken.
        claim: the claim that the spec must make for the law to apply; None if it always applies.
        after: earlier checks of the level without which this one means nothing. If one of them fails, this one is blocked.
        examples: the number of small configs to try; hypothesis' profile "nightly" tries ten times as many.
    """

    id: str
    level: str
    role: Role
    law: str
    cause: str
    run: Callable[[Subject], None]
    claim: str | None = None
    after: tuple[str, ...] = ()
    examples: int = 3


LAWS: list[Check] = []


def check(
    law: str,
    cause: str,
    *,
    role: Role = "both",
    claim: str | None = None,
    after: tuple[str, ...] = (),
    examples: int = 3,
) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Register a function as a law. Its module is the level, its name the id."""

    def register(run: Callable[[Subject], None]) -> Callable[[Subject], None]:
        name, level = run.__name__.strip("_").replace("_", "-"), run.__module__.rpartition(".")[2]
        LAWS.append(Check(name, level, role, law, cause, run, claim, after, examples))
        return run

    return register


def must(holds: bool, problem: str) -> None:
    """Raises LawBroken with ``problem`` unless ``holds``."""
    if not holds:
        raise LawBroken(problem)
