"""What a law is, and the list of them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vedcore.testing.subject import LawBroken, Subject

Role = Literal["encoder", "decoder", "both"]


@dataclass(frozen=True, slots=True)
class Check:
    """One law. id: stable. claim: what the record must promise for the law to apply, if anything.

    after: checks before it in its level without which it says nothing; where one fails, this one is blocked.
    examples: how many small configs it is tried on, before the profile of hypothesis is asked.
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
    """Make a function a law of the level that its module is; its name is the id."""

    def register(run: Callable[[Subject], None]) -> Callable[[Subject], None]:
        name, level = run.__name__.strip("_").replace("_", "-"), run.__module__.rpartition(".")[2]
        LAWS.append(Check(name, level, role, law, cause, run, claim, after, examples))
        return run

    return register


def must(holds: bool, problem: str) -> None:
    """LawBroken with the problem, unless it holds."""
    if not holds:
        raise LawBroken(problem)
