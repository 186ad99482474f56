"""The rules that the rows of a text obey: the processors of their scores, and when a row ends.

Shapes: R rows, T ids so far (prompt included), V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vedcore.errors import InputError
from vedcore.generation.processors import Processor

StopRule = Callable[[Tensor, Tensor], Tensor | bool]
"""(R, T) ids, (R, V) scores from which the last id was chosen -> (R,) bool, or one bool for all rows."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of rows whose prompts have the same length.

    eos: the tokens that end a row. max_length: the length, prompt included, at which every row ends.
    """

    eos: frozenset[int]
    prompt_length: int
    max_length: int
    processors: tuple[Processor, ...] = ()
    stops: tuple[StopRule, ...] = ()

    @property
    def room(self) -> int:
        """The largest number of new tokens."""
        return self.max_length - self.prompt_length

    def process(self, ids: Tensor, scores: Tensor) -> Tensor:
        """(R, T) ids, (R, V) scores -> (R, V) scores."""
        for processor in self.processors:
            scores = processor(ids, scores)
        return scores

    def ended(self, tokens: list[int], length: int, ids: Callable[[], Tensor], scores: Tensor) -> list[bool]:
        """Which rows end with these tokens, their last ones. ids: called for the (R, T) ids only if there are ``stops``."""
        if length >= self.max_length:
            return [True] * len(tokens)
        ended = [token in self.eos for token in tokens]
        if not self.stops:
            return ended
        return [a or b for a, b in zip(ended, self.stopped(ids(), scores).tolist(), strict=True)]

    def stopped(self, ids: Tensor, scores: Tensor) -> Tensor:
        """(R, T) ids, (R, V) processed scores -> (R,) bool, True where one of ``stops`` ends the row."""
        stopped = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        for stop in self.stops:
            answer = torch.as_tensor(stop(ids, scores), dtype=torch.bool, device=ids.device).flatten()
            if len(answer) not in (1, len(ids)):
                raise InputError(
                    f"a stopping criterion returned {len(answer)} values for {len(ids)} rows; return a bool, or a bool "
                    "tensor with one value per row (rows that have ended are not included)",
                    field="stopping_criteria",
                    expected=f"1 or {len(ids)} values",
                    found=f"{len(answer)} values",
                )
            stopped |= answer
        return stopped

    def reason(self, last: int, count: int) -> str:
        """Why a row ended after ``count`` new tokens, of which ``last`` is the last."""
        if not count:
            return "none"
        if last in self.eos:
            return "eos"
        return "length" if count >= self.room else "stopped"
