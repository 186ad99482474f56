"""Decoding: the loop that feeds a decoder its own tokens, and beam search.

It knows protocols only: a decoder, the memory of the images, and pure functions of scores. Caches are arguments, images that
are done leave the batch, and the head runs on the last position alone.
Shapes: B images, n beams, R rows, T ids so far, V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vedcore.errors import GenerationError
from vedcore.generation.cache import SelfCache
from vedcore.generation.processors import Processor
from vedcore.protocols import Decoder
from vedcore.types import Memory, Step, causal_mask

Choose = Callable[[Tensor, int], Tensor]
"""(rows, N) scores and a count k -> (rows, k) indices: ``best`` or a ``Draw``."""

FIRST_CAPACITY = 64
"""Cache slots allocated before the first token: more than most texts need, and little."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a decoding obeys: which tokens end a row, at which length it ends anyway, and what the scores pass through."""

    eos: tuple[int, ...]
    max_length: int
    processors: tuple[Processor, ...] = ()

    def ended(self, tokens: Tensor, length: int) -> Tensor:
        """Which of ``tokens``, each the last of ``length``, end their row: bool of the same shape."""
        if length >= self.max_length:
            return torch.ones_like(tokens, dtype=torch.bool)
        return torch.isin(tokens, tokens.new_tensor(self.eos))

    def process(self, ids: Tensor, scores: Tensor) -> Tensor:
        """(R, T) ids, (R, V) scores -> (R, V) scores."""
        for processor in self.processors:
            scores = processor(ids, scores)
        return scores


def best(scores: Tensor, count: int) -> Tensor:
    """The ``count`` highest of each row, in order."""
    return scores.argmax(dim=-1, keepdim=True) if count == 1 else scores.topk(count).indices


class Draw:
    """Draw ``count`` of each row without putting back, by the softmax of its scores."""

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self._generator = generator

    def __call__(self, scores: Tensor, count: int) -> Tensor:
        """(rows, N) scores -> (rows, count) indices."""
        return torch.multinomial(scores.softmax(dim=-1), count, generator=self._generator)


@dataclass(frozen=True, slots=True)
class Chosen:
    """One step: rows (n,) of the batch that took a token, tokens (n,), their log-probabilities (n,), and which ended (n,)."""

    rows: Tensor
    tokens: Tensor
    logprobs: Tensor
    ended: Tensor


@dataclass(frozen=True, slots=True)
class Hypotheses:
    """Finished rows: ids (R, T) and their log-probabilities (R, T - prompt), each valid up to lengths (R,); scores (R,)."""

    ids: Tensor
    logprobs: Tensor
    lengths: Tensor
    scores: Tensor | None = None


def new_cache(decoder: Decoder, rows: int, capacity: int) -> SelfCache:
    """An empty cache for ``rows`` rows of ``decoder``, on its device."""
    weight: Tensor = next(decoder.token_embedding.parameters())
    return SelfCache(decoder.cache_shapes, rows, capacity, dtype=weight.dtype, device=weight.device)


def next_scores(decoder: Decoder, ids: Tensor, start: int, memory: Memory, cache: SelfCache) -> Tensor:
    """Feed (R, T) ids into slots ``start`` and on -> (R, V) float32 scores of the token that follows them."""
    extent = start + ids.shape[1]
    cache.reserve(extent)
    slots = torch.arange(start, extent, device=ids.device)[None]
    step = Step(slots=slots, mask=causal_mask(slots, extent), extent=extent, memory=memory, cache=cache)
    hidden = decoder(ids, step)
    cache.set_lengths(cache.lengths.new_full((ids.shape[0],), extent))
    scores: Tensor = decoder.lm_head(hidden[:, -1])
    return scores.float()


@torch.inference_mode()
def decode(decoder: Decoder, memory: Memory, prompt: Tensor, rules: Rules, choose: Choose) -> Iterator[Chosen]:
    """Yield the next token of every row that is under way, until all have ended.

    prompt: (R, T) ids to begin with. Rows that end leave the batch, the cache and the memory.
    Raises GenerationError when the scores are not numbers.
    """
    images = memory.layers[0][0].shape[0]
    rows = torch.arange(prompt.shape[0], device=prompt.device)
    cache = new_cache(decoder, len(rows), min(rules.max_length, FIRST_CAPACITY))
    ids, new = prompt, prompt
    while len(rows):
        length = ids.shape[1]
        raw = next_scores(decoder, new, length - new.shape[1], memory, cache)
        tokens = choose(rules.process(ids, raw), 1)[:, 0]
        logprobs = _logprob(raw, tokens)
        _refuse_nan(logprobs, length)
        ended = rules.ended(tokens, length + 1)
        yield Chosen(rows, tokens, logprobs, ended)
        new = tokens[:, None]
        ids = torch.cat([ids, new], dim=1)
        if ended.any():
            keep = _survivors(ended)
            rows, ids, new, cache = rows[keep], ids[keep], new[keep], cache.select(keep)
            if images == prompt.shape[0]:
                memory = memory.select(keep)
            else:
                memory = Memory(memory.layers, memory.mask, rows // (prompt.shape[0] // images))


def collect(chosen: Iterator[Chosen], prompt: Tensor, pad: int) -> Hypotheses:
    """Run a decoding to its end and put the tokens of each row together, padded with ``pad``."""
    steps = list(chosen)
    rows, prompt_length = prompt.shape
    ids = torch.full((rows, prompt_length + len(steps)), pad, dtype=torch.long, device=prompt.device)
    ids[:, :prompt_length] = prompt
    logprobs = torch.zeros(rows, len(steps), device=prompt.device)
    lengths = torch.full((rows,), prompt_length, dtype=torch.long, device=prompt.device)
    for index, step in enumerate(steps):
        ids[step.rows, prompt_length + index] = step.tokens
        logprobs[step.rows, index] = step.logprobs
        lengths[step.rows] += 1
    return Hypotheses(ids, logprobs, lengths)


@torch.inference_mode()
def beam_search(
    decoder: Decoder,
    memory: Memory,
    prompt: Tensor,
    rules: Rules,
    choose: Choose,
    *,
    num_beams: int,
    num_return: int,
    pad: int,
    length_penalty: float,
    early_stopping: bool | str,
) -> Hypotheses:
    """The ``num_return`` best of ``num_beams`` hypotheses an image, best first: (B * num_return) rows.

    prompt: (B, T). A hypothesis scores sum(log-probabilities) / (new tokens ** length_penalty); an image leaves the batch
    when its running beams cannot beat its finished ones any more, by the measure that ``early_stopping`` names (as in
    ``GenerationMixin._beam_search`` of transformers 5.23, whose tokens and scores these are).
    """
    count, prompt_length = prompt.shape
    images = torch.arange(count, device=prompt.device)
    cache = new_cache(decoder, count, min(rules.max_length, FIRST_CAPACITY))
    beams = _Beams.start(prompt, num_beams)
    pool = _Pool.empty(count, num_beams, prompt_length, rules.max_length, prompt.device)
    finished = pool
    new = prompt
    candidates = max(2, 1 + len(rules.eos)) * num_beams
    while len(images):
        length = beams.ids.shape[2]
        raw = next_scores(decoder, new, length - new.shape[1], memory, cache)
        if new is prompt and num_beams > 1:  # the beams of an image are one row until they part
            raw = raw.repeat_interleave(num_beams, dim=0)
            cache = cache.select(torch.arange(count, device=prompt.device).repeat_interleave(num_beams))
        logprobs = raw.log_softmax(dim=-1)
        scores = rules.process(beams.ids.flatten(0, 1), logprobs).unflatten(0, (-1, num_beams))
        extended = beams.extend(scores, logprobs.unflatten(0, (-1, num_beams)), candidates, choose)
        _refuse_nan(extended.logprobs[:, :, -1].flatten(), length)
        ended = rules.ended(extended.ids[:, :, -1], length + 1)

        new_tokens = length + 1 - prompt_length
        pool = pool.merge(extended, ended, new_tokens**length_penalty, early_stopping)
        beams = extended.best(extended.scores + ended * _NEVER, num_beams)
        full = early_stopping is True
        horizon = rules.max_length - prompt_length if early_stopping == "never" and length_penalty > 0 else new_tokens
        done = pool.done.all(dim=1) & (full | (beams.scores[:, 0] / horizon**length_penalty <= pool.scores.amin(dim=1)))
        if length + 1 >= rules.max_length:
            done = torch.ones_like(done)

        parents = beams.parents
        if done.any():
            finished = finished.put(images[done], pool.take(done))
            keep = (~done).nonzero().flatten()
            images, beams, pool = images[keep], beams.take(keep), pool.take(keep)
            memory, parents = memory.select(keep), parents[keep]
            offsets = keep
        else:
            offsets = torch.arange(len(images), device=prompt.device)
        cache = cache.select((offsets[:, None] * num_beams + parents).flatten())
        new = beams.ids[:, :, -1].reshape(-1, 1)
    return finished.hypotheses(num_return, prompt_length, pad)


_NEVER = -1.0e9
"""Added to the score of what must not be chosen; finite, so that a sum with it stays a number."""


@dataclass(slots=True)
class _Beams:
    """Hypotheses under way, or the candidates to follow them: ids (B, n, T), log-probabilities (B, n, T - prompt),
    scores (B, n), and the beam (B, n) that each came from."""

    ids: Tensor
    logprobs: Tensor
    scores: Tensor
    parents: Tensor

    @classmethod
    def start(cls, prompt: Tensor, num_beams: int) -> _Beams:
        ids = prompt[:, None].repeat(1, num_beams, 1)
        scores = torch.full(ids.shape[:2], _NEVER, device=prompt.device)
        scores[:, 0] = 0.0  # all beams are alike yet: only the first may be followed
        return cls(ids, scores.new_zeros(*ids.shape[:2], 0), scores, torch.zeros_like(ids[:, :, 0]))

    def extend(self, scores: Tensor, logprobs: Tensor, count: int, choose: Choose) -> _Beams:
        """The ``count`` continuations an image that ``choose`` takes by (B, n, V) ``scores`` on top of the beams' own."""
        total = (scores + self.scores[:, :, None]).flatten(1)
        picked = choose(total, count)
        parents, tokens = picked // scores.shape[-1], picked % scores.shape[-1]
        image = torch.arange(len(picked), device=picked.device)[:, None]
        return _Beams(
            torch.cat([self.ids[image, parents], tokens[..., None]], dim=2),
            torch.cat([self.logprobs[image, parents], logprobs.flatten(1).gather(1, picked)[..., None]], dim=2),
            total.gather(1, picked),
            parents,
        )

    def best(self, scores: Tensor, count: int) -> _Beams:
        """The ``count`` with the highest ``scores`` (B, n), which they keep."""
        order = scores.topk(count).indices
        image = torch.arange(len(order), device=order.device)[:, None]
        return _Beams(
            self.ids[image, order],
            self.logprobs[image, order],
            scores.gather(1, order),
            self.parents[image, order],
        )

    def take(self, images: Tensor) -> _Beams:
        return _Beams(self.ids[images], self.logprobs[images], self.scores[images], self.parents[images])


@dataclass(slots=True)
class _Pool:
    """The best finished hypotheses an image: ids (B, n, longest), log-probabilities, scores, lengths and which are real."""

    ids: Tensor
    logprobs: Tensor
    scores: Tensor
    lengths: Tensor
    done: Tensor

    @classmethod
    def empty(cls, images: int, num_beams: int, prompt: int, longest: int, device: torch.device) -> _Pool:
        return cls(
            torch.zeros(images, num_beams, longest, dtype=torch.long, device=device),
            torch.zeros(images, num_beams, longest - prompt, device=device),
            torch.full((images, num_beams), _NEVER, device=device),
            torch.zeros(images, num_beams, dtype=torch.long, device=device),
            torch.zeros(images, num_beams, dtype=torch.bool, device=device),
        )

    def merge(self, found: _Beams, ended: Tensor, divisor: float, early_stopping: bool | str) -> _Pool:
        """Take in what has ``ended`` among the best of ``found``, where it beats what is here."""
        count = self.ids.shape[1]
        ended = ended.clone()
        ended[:, count:] = False  # candidates beyond the beam only replace beams that end
        if early_stopping is True:
            ended &= ~self.done.all(dim=1, keepdim=True)
        if not ended.any():
            return self
        scores = found.scores / divisor + ~ended * _NEVER
        room = self.ids.shape[2] - found.ids.shape[2]
        ids = torch.nn.functional.pad(found.ids, (0, room))
        logprobs = torch.nn.functional.pad(found.logprobs, (0, room))
        lengths = torch.full_like(found.parents, found.ids.shape[2])
        both = _Pool(
            torch.cat([self.ids, ids], dim=1),
            torch.cat([self.logprobs, logprobs], dim=1),
            torch.cat([self.scores, scores], dim=1),
            torch.cat([self.lengths, lengths], dim=1),
            torch.cat([self.done, ended], dim=1),
        )
        order = both.scores.topk(count).indices
        image = torch.arange(len(order), device=order.device)[:, None]
        return both._map(lambda tensor: tensor[image, order])

    def take(self, images: Tensor) -> _Pool:
        return self._map(lambda tensor: tensor[images])

    def put(self, images: Tensor, other: _Pool) -> _Pool:
        pairs = zip(self._tensors(), other._tensors(), strict=True)
        return _Pool(*(mine.index_put((images,), theirs) for mine, theirs in pairs))

    def hypotheses(self, count: int, prompt: int, pad: int) -> Hypotheses:
        """The ``count`` best an image as rows, padded to the longest."""
        longest = int(self.lengths[:, :count].max())
        first = self._map(lambda tensor: tensor[:, :count].flatten(0, 1))
        beyond = torch.arange(longest, device=first.ids.device) >= first.lengths[:, None]
        return Hypotheses(
            first.ids[:, :longest].masked_fill(beyond, pad),
            first.logprobs[:, : longest - prompt],
            first.lengths,
            first.scores,
        )

    def _tensors(self) -> Sequence[Tensor]:
        return self.ids, self.logprobs, self.scores, self.lengths, self.done

    def _map(self, function: Callable[[Tensor], Tensor]) -> _Pool:
        return _Pool(*map(function, self._tensors()))


def _survivors(ended: Tensor) -> Tensor:
    """The rows that go on, each hole filled by a row from the end: few rows move, few are copied."""
    keep = (~ended).nonzero().flatten()
    order = torch.arange(len(keep), device=ended.device)
    order[ended[: len(keep)]] = keep[keep >= len(keep)]
    return order


def _logprob(scores: Tensor, tokens: Tensor) -> Tensor:
    return scores.log_softmax(dim=-1).gather(1, tokens[:, None])[:, 0]


def _refuse_nan(logprobs: Tensor, length: int) -> None:
    if bool(logprobs.isnan().any()):
        raise GenerationError(
            f"the scores of token {length} are not finite; the weights or the pixel values hold NaN or infinity, "
            "or a half-precision model overflows"
        )
