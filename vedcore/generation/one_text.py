"""Greedy decoding and sampling: each row writes one text.

Shapes: R rows, T ids so far (prompt included), V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vedcore.generation.rules import Rules
from vedcore.generation.strategy import Choice, Hypotheses, Observe, Select, StreamedTokens, finite, survivors


class OneText:
    """The strategy that gives every row its own next token, by ``best`` (greedy decoding) or by a ``Draw`` (sampling)."""

    def __init__(self, prompt: Tensor, rules: Rules, select: Select, places: Sequence[int] | None = None) -> None:
        """prompt: (R, P) ids. places: the numbers of the texts in the whole output."""
        self.rules, self.select_token = rules, select
        self._ids = [prompt]  # joined when they are read, which greedy decoding without processors never does
        self._length = prompt.shape[1]
        self.texts = list(range(prompt.shape[0]) if places is None else places)
        self.tokens: dict[int, list[int]] = {text: [] for text in self.texts}
        self.logprobs: dict[int, list[float]] = {text: [] for text in self.texts}
        self._last: tuple[list[int], list[int], list[float], list[bool]] = [], [], [], []

    @property
    def ids(self) -> Tensor:
        """(R, T) the ids of the rows."""
        if len(self._ids) > 1:
            self._ids = [torch.cat(self._ids, dim=1)]
        return self._ids[0]

    def advance(self, scores: Tensor, observe: Observe | None = None) -> Choice:
        """(R, V) scores of the next token -> the tokens of the rows that go on."""
        processed = self.rules.process(self.ids, scores) if self.rules.processors else scores
        if observe is not None:
            observe(self.ids.new_tensor(self.texts), self.ids, scores, processed)
        new = self.select_token(processed, 1)
        logprobs = finite(scores.log_softmax(dim=-1).gather(1, new), self._length)
        self._ids.append(new)
        self._length += 1
        tokens: list[int] = new.flatten().tolist()
        ended = self.rules.ended(tokens, self._length, lambda: self.ids, processed)
        self._last = self.texts, tokens, logprobs, ended
        for text, token, logprob in zip(self.texts, tokens, logprobs, strict=True):
            self.tokens[text].append(token)
            self.logprobs[text].append(logprob)
        if True not in ended:
            return Choice(None, new)
        rows = torch.tensor(keep := survivors(ended), dtype=torch.long, device=new.device)
        self.texts, self._ids = [self.texts[index] for index in keep], [self.ids[rows]]
        return Choice(rows, new[rows])

    def events(self) -> list[StreamedTokens]:
        """The tokens that the last step added."""
        return [
            StreamedTokens(
                text, (token,), (logprob,), self.rules.reason(token, len(self.tokens[text])) if ended else None
            )
            for text, token, logprob, ended in zip(*self._last, strict=True)
        ]

    def result(self, pad: int) -> Hypotheses:
        """The texts in the order of their places, padded with ``pad``."""
        return Hypotheses.of(list(self.tokens.values()), list(self.logprobs.values()), pad, self._ids[0].device)
