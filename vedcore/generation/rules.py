"""What a decoding obeys: what its scores pass through, and when a row ends.

Shapes: R rows, T ids so far (prompt included), P ids of the prompt, V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vedcore.errors import InputError
from vedcore.generation.processors import Processor

StopRule = Callable[[Tensor, Tensor], Tensor | bool]
"""(R, T) ids, (R, V) scores from which the last of them were chosen -> (R,) bool, or one bool for all rows."""

UNSEEN = -1
"""Stands in a row of ids for padding in front of a shorter prompt: the decoder never sees it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Of rows whose prompts are of one length: which tokens end a row, the length at which it ends anyway, and the rest."""

    eos: frozenset[int]
    max_length: int
    processors: tuple[Processor, ...] = ()
    stops: tuple[StopRule, ...] = ()

    def process(self, ids: Tensor, scores: Tensor) -> Tensor:
        """(R, T) ids, (R, V) scores -> (R, V) scores."""
        for processor in self.processors:
            scores = processor(ids, scores)
        return scores

    def stopped(self, ids: Tensor, scores: Tensor) -> Tensor:
        """(R, T) ids, (R, V) processed scores -> (R,) bool, where one of ``stops`` ends the row."""
        over = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        for stop in self.stops:
            answer = torch.as_tensor(stop(ids, scores), dtype=torch.bool, device=ids.device).flatten()
            if len(answer) not in (1, len(ids)):
                raise InputError(
                    f"a stopping criterion returned {len(answer)} values for {len(ids)} rows; return a bool, or a bool "
                    "tensor with a value a row (rows that have ended are not asked about)"
                )
            over |= answer
        return over

    def room(self, ids: Tensor, prompt_length: int) -> Tensor | int:
        """How many tokens may stand behind the prompts, which are the first ``prompt_length`` of (R, T) ids."""
        return self.max_length - prompt_length


class MixedRules:
    """Of rows whose prompts are of unequal length: each row obeys what it would obey alone, and nobody sees its padding."""

    def __init__(self, rules: Mapping[int, Rules], width: int) -> None:
        """rules: by the length of the prompt. width: P, the prompts with the UNSEEN ids in front of the shorter ones."""
        self._rules, self._width = rules, width
        self.eos = next(iter(rules.values())).eos
        self.processors = tuple(processor for one in rules.values() for processor in one.processors)
        self.max_length = max(width - length + one.max_length for length, one in rules.items())
        self.stops = (self.stopped,)

    def process(self, ids: Tensor, scores: Tensor) -> Tensor:
        """(R, T) ids, (R, V) scores -> (R, V) scores."""
        processed = torch.empty_like(scores)
        for _, rules, rows, own in self._alike(ids):
            processed[rows] = rules.process(own, scores[rows]).to(scores.dtype)
        return processed

    def stopped(self, ids: Tensor, scores: Tensor) -> Tensor:
        """(R, T) ids, (R, V) processed scores -> (R,) bool, where a rule ends the row, or its own length."""
        over = torch.empty(len(ids), dtype=torch.bool, device=ids.device)
        for _, rules, rows, own in self._alike(ids):
            over[rows] = rules.stopped(own, scores[rows]) | (own.shape[1] >= rules.max_length)
        return over

    def room(self, ids: Tensor, prompt_length: int) -> Tensor | int:
        """(R,): how many tokens may stand behind the prompt of each row of (R, T) ids."""
        room = torch.empty(len(ids), dtype=torch.long, device=ids.device)
        for length, rules, rows, _ in self._alike(ids):
            room[rows] = rules.max_length - length
        return room

    def _alike(self, ids: Tensor) -> Iterator[tuple[int, Rules, Tensor, Tensor]]:
        """For each length of prompt: it, its rules, the rows that have it, and their ids without padding."""
        lengths = (ids[:, : self._width] != UNSEEN).sum(dim=1)
        for length in sorted(set(lengths.tolist())):
            rows = (lengths == length).nonzero().flatten()
            yield length, self._rules[length], rows, ids[rows, self._width - length :]
