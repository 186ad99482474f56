"""The protocol of strategies, and how a token is chosen by its scores.

A strategy decodes some rows of a session: ``OneText`` (greedy decoding and sampling), ``BeamSearch``.
Shapes: R rows, T ids so far (prompt included), N new tokens, V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from vedcore.contract.types import Trace
from vedcore.errors import GenerationError
from vedcore.generation.rules import Rules

Select = Callable[[Tensor, int], Tensor]
"""(rows, N) scores and a count k -> (rows, k) indices: ``best`` or a ``Draw``."""

Observe = Callable[[Tensor, Tensor, Tensor, Tensor], None]
"""Called with the places (R,) of rows in the whole output, their ids (R, T), their scores (R, V), and these processed."""


class Choice(NamedTuple):
    """The next tokens (R', 1) of a strategy, and the rows (R',) that they continue; None: all rows, in order."""

    rows: Tensor | None
    tokens: Tensor


@dataclass(frozen=True, slots=True)
class StreamedTokens:
    """New tokens of one row and their log-probabilities.

    stop_reason: None while the row goes on, else the reason why these tokens are its last ones. In a beam search the last
    event may have no tokens.
    """

    row: int
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop_reason: str | None


class Strategy(Protocol):
    """Chooses the tokens of some rows of a session. All its rows have the same length."""

    rules: Rules
    """The rules of its rows. If the longest text is short, the session allocates a small cache."""

    @property
    def ids(self) -> Tensor:
        """(R, T) the ids of its rows. At first the prompts, the same number of rows for each image."""

    def advance(self, scores: Tensor, observe: Observe | None) -> Choice:
        """(R, V) scores of the next token -> the tokens. A choice without tokens ends the strategy."""

    def events(self) -> Iterable[StreamedTokens]:
        """The tokens that became certain in the last step, for a stream."""

    def result(self, pad: int) -> Hypotheses:
        """The finished texts in the order of their places, padded with ``pad``."""


class Recorder(Protocol):
    """Observes the steps of a session."""

    def begin(self) -> Trace | None:
        """Called before a step; returns the trace for the decoder."""

    def observe(self, fed: slice, places: Tensor, ids: Tensor, scores: Tensor, processed: Tensor) -> None:
        """Called by a strategy with its scores; ``fed`` are its rows among those of the step."""


@dataclass(frozen=True, slots=True)
class Hypotheses:
    """Finished texts: new tokens (R, N), their log-probabilities (R, N), both valid up to counts (R,), and scores (R,)."""

    tokens: Tensor
    logprobs: Tensor
    counts: Tensor
    scores: Tensor | None = None

    @classmethod
    def of(
        cls, tokens: Sequence[list[int]], logprobs: Sequence[list[float]], pad: int, device: torch.device
    ) -> Hypotheses:
        """From lists of unequal length, which are padded with ``pad`` and 0."""
        counts = [len(row) for row in tokens]
        longest = max(counts)
        padded = [row + [pad] * (longest - len(row)) for row in tokens]
        values = [row + [0.0] * (longest - len(row)) for row in logprobs]
        return cls(*(torch.tensor(rows, device=device) for rows in (padded, values, counts)))


def best(scores: Tensor, count: int) -> Tensor:
    """The ``count`` highest of each row, in order."""
    return scores.argmax(dim=-1, keepdim=True) if count == 1 else scores.topk(count).indices


class Draw:
    """Draws ``count`` of each row without replacement, by the softmax of its scores."""

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self._generator = generator

    def __call__(self, scores: Tensor, count: int) -> Tensor:
        """(rows, N) scores -> (rows, count) indices."""
        return torch.multinomial(scores.softmax(dim=-1), count, generator=self._generator)


def drawable(ids: Tensor, scores: Tensor) -> Tensor:
    """The last processor before a ``Draw``. Raises GenerationError if a row has no finite score to draw from."""
    highest = scores.amax(dim=-1)  # NaN if one is; on a GPU, multinomial would end the whole process
    if not bool(highest.isfinite().all()):
        raise not_finite(ids.shape[1])
    return scores


def choosable(ids: Tensor, scores: Tensor) -> Tensor:
    """The last processor before ``best``, after other processors. An infinite score may be the best one."""
    if not bool((scores.amax(dim=-1) > float("-inf")).all()):  # False for NaN too
        raise not_finite(ids.shape[1])
    return scores


def finite(logprobs: Tensor, length: int) -> list[float]:
    """(n, 1) log-probabilities of chosen tokens as a list. Raises GenerationError if one is NaN."""
    values: list[float] = logprobs.flatten().tolist()
    if any(value != value for value in values):  # noqa: PLR0124 (only NaN differs from itself)
        raise not_finite(length)
    return values


def not_finite(length: int) -> GenerationError:
    """The error for scores of token ``length`` that are not numbers."""
    return GenerationError(
        f"the scores of token {length} are not finite; the weights or the pixel values hold NaN or infinity, "
        "a half-precision model overflows, or a processor leaves no token"
    )


def survivors(ended: list[bool]) -> list[int]:
    """The rows that go on. A row from the end fills each gap, so that few rows change their place and few are copied."""
    keep = [index for index, is_over in enumerate(ended) if not is_over]
    spare = [index for index in keep if index >= len(keep)]
    return [spare.pop() if ended[index] else index for index in range(len(keep))]
