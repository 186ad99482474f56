"""A session: rows of text that grow together, by one token per step.

Each step feeds the tokens that are pending and lets every strategy choose the next token of its rows. Rows may end, change
places, be repeated (beams), and join while others run.
Shapes: R rows, T pending tokens, V vocabulary size.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from vedcore.contract.types import Memory, RowCache, Step, Trace, causal_mask
from vedcore.generation.loop import FIRST_CAPACITY, Loop
from vedcore.generation.strategy import Recorder, Strategy


class Session:
    """Rows of text that one ``Loop`` (which runs the decoder) advances together, their cache, and the images' memory."""

    def __init__(self, loop: Loop, *, recorder: Recorder | None = None, use_cache: bool = True) -> None:
        """use_cache: if False, each step feeds all ids of every row again."""
        self.loop, self.recorder, self.use_cache = loop, recorder, use_cache
        self.strategies: list[Strategy] = []
        self.pending: list[Tensor] = []  # for each strategy, the ids (R, T) that the next step feeds
        self.fed: list[int] = []  # for each strategy, the number of ids that its rows have in the cache
        self.images = torch.empty(0, dtype=torch.long, device=loop.device)  # (R,) the image of each row
        self.memory: Memory | None = None
        self.cache: RowCache | None = None

    @property
    def running(self) -> bool:
        """Whether there is a row that has not ended."""
        return bool(self.strategies)

    def admit(self, memory: Memory, strategy: Strategy) -> None:
        """Add the rows of ``strategy``, which attend to the images of ``memory``. Other rows may be running."""
        rows, length = strategy.ids.shape
        images = torch.arange(memory.images, device=self.loop.device).repeat_interleave(rows // memory.images)
        filled = 0
        if self.use_cache:
            cache = self.loop.new_cache(rows, min(strategy.rules.max_length, FIRST_CAPACITY))
            if any(self.fed) and length > 1:  # running rows go on by one token, so all but the last are fed now
                filled = length - 1
                slots = torch.arange(filled, device=self.loop.device)[None]
                own = Memory(memory.layers, memory.mask, images)
                step = Step(slots=slots, mask=causal_mask(slots, filled), extent=filled, memory=own, cache=cache)
                self.loop.advance(strategy.ids[:, :filled], step)
                cache.set_lengths(cache.lengths.new_full((rows,), filled))
            self.cache = cache if self.cache is None else self.cache.join(cache)
        self.images = images if self.memory is None else torch.cat([self.images, images + self.memory.images])
        self.memory = memory if self.memory is None else self.memory.join(memory)
        self.strategies.append(strategy)
        self.pending.append(strategy.ids[:, filled:])
        self.fed.append(filled)
        self._attend(self.images)

    def step(self) -> None:
        """Give every row its next token. Rows that end leave."""
        trace = None if self.recorder is None else self.recorder.begin()
        choices, counts, first = [], [], 0
        for strategy, scores in zip(self.strategies, self._feed(trace), strict=True):
            counts.append(scores.shape[0])
            fed = slice(first, first + counts[-1])
            observe = None if self.recorder is None else partial(self.recorder.observe, fed)
            choices.append(strategy.advance(scores, observe))
            first = fed.stop
        self.pending = [choice.tokens for choice in choices]
        if any(choice.rows is not None for choice in choices):
            self._continue([choice.rows for choice in choices], counts)
        if not self.use_cache:
            self.pending, self.fed = [strategy.ids for strategy in self.strategies], [0] * len(self.strategies)

    def select(self, rows: Tensor) -> None:
        """Keep only the ``rows`` (long, (R',)), in that order. Rows may repeat."""
        images = self.images[rows]
        if not images.shape[0]:
            self.images, self.memory, self.cache = images, None, None
            return
        if self.cache is not None:
            self.cache = self.cache.select(rows)
        if not torch.equal(images, self.images):
            self._attend(images)

    def _continue(self, rows: list[Tensor | None], counts: list[int]) -> None:
        """Keep the rows of each strategy that its choice continues, and the strategies that have any."""
        places, first = [], 0
        for chosen, count in zip(rows, counts, strict=True):
            places.append((torch.arange(count, device=self.loop.device) if chosen is None else chosen) + first)
            first += count
        self.select(places[0] if len(places) == 1 else torch.cat(places))
        going = [index for index, tokens in enumerate(self.pending) if tokens.shape[0]]
        self.strategies = [self.strategies[index] for index in going]
        self.pending, self.fed = [self.pending[index] for index in going], [self.fed[index] for index in going]

    def _attend(self, images: Tensor) -> None:
        """Let the rows attend to ``images`` (R,). Images that no row attends to are dropped."""
        memory = self.memory = self.memory.for_rows(images)  # type: ignore[union-attr]
        each = torch.arange(memory.images, device=images.device)
        self.images = each.repeat_interleave(len(images) // memory.images) if memory.rows is None else memory.rows

    def _feed(self, trace: Trace | None) -> tuple[Tensor, ...]:
        """Feed what is pending -> for each strategy the scores (R, V) of its rows' next tokens.

        Rows of equal length share their slots. Rows of unequal length have slots of their own, which costs more; the
        padding after a row's last token lands in slots that the row fills later.
        """
        widths, last = [ids.shape[1] for ids in self.pending], None
        lengths = [fed + width for fed, width in zip(self.fed, widths, strict=True)]
        extent, width = max(lengths), max(widths)
        ids = self.pending[0]
        slots = torch.arange(extent - width, extent, device=ids.device)[None]
        if len(widths) > 1:
            ids = torch.cat([F.pad(own, (0, width - own.shape[1])) for own in self.pending])
            if len(set(zip(self.fed, widths, strict=True))) > 1:
                counts = ids.new_tensor([own.shape[0] for own in self.pending])
                slots = ids.new_tensor(self.fed).repeat_interleave(counts)[:, None] + slots - slots[:, :1]
                last = ids.new_tensor(widths).repeat_interleave(counts) - 1
        if self.cache is not None:
            self.cache.reserve(extent)
            ends = slots.new_full(ids.shape[:1], extent) if last is None else slots.gather(1, last[:, None])[:, 0] + 1
            self.cache.set_lengths(ends)
        mask, memory, cache = causal_mask(slots, extent), self.memory, self.cache
        step = Step(slots=slots, mask=mask, extent=extent, memory=memory, cache=cache, trace=trace)
        scores = self.loop.advance(ids, step, last)
        self.fed = lengths
        return (scores,) if len(widths) == 1 else torch.split(scores, [own.shape[0] for own in self.pending])
