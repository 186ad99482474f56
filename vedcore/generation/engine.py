"""Decoding: the loop that feeds a decoder its own tokens, and beam search.

It knows protocols only: a decoder, the memory of the images, and pure functions of scores. Caches are arguments, images that
are done leave the batch, and the head runs on the last position alone.
Shapes: B images, n beams, R rows, T ids so far, V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from vedcore.contract.protocols import Decoder
from vedcore.contract.types import Memory, Step, Trace, causal_mask
from vedcore.errors import GenerationError
from vedcore.generation.cache import SelfCache
from vedcore.generation.rules import UNSEEN, MixedRules, Rules

Choose = Callable[[Tensor, int], Tensor]
"""(rows, N) scores and a count k -> (rows, k) indices: ``best`` or a ``Draw``."""

FIRST_CAPACITY = 64
"""Cache slots allocated before the first token: more than most texts need, and little."""


class Watch(Protocol):
    """Who wants to see what is inside: asked for nothing, it is not there and costs nothing."""

    @property
    def trace(self) -> Trace | None:
        """What the decoder is handed for the step that comes next."""

    def __call__(self, rows: Tensor, ids: Tensor, scores: Tensor, processed: Tensor) -> None:
        """One step: (R,) places in the whole batch, (R, T) ids, (R, V) scores as they are and processed."""


def best(scores: Tensor, count: int) -> Tensor:
    """The ``count`` highest of each row, in order."""
    return scores.argmax(dim=-1, keepdim=True) if count == 1 else scores.topk(count).indices


def drawable(ids: Tensor, scores: Tensor) -> Tensor:
    """A last processor before a ``Draw``: the scores as they are, or GenerationError where a row has none to draw from."""
    highest = scores.amax(dim=-1)  # NaN where one is; on a GPU, multinomial would take the whole process down
    if not bool(highest.isfinite().all()):
        raise _not_finite(ids.shape[1])
    return scores


def choosable(ids: Tensor, scores: Tensor) -> Tensor:
    """A last processor before ``best``, where others have been: the same, though an infinite score may be the best."""
    if not bool((scores.amax(dim=-1) > float("-inf")).all()):  # False for NaN too
        raise _not_finite(ids.shape[1])
    return scores


class Draw:
    """Draw ``count`` of each row without putting back, by the softmax of its scores."""

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self._generator = generator

    def __call__(self, scores: Tensor, count: int) -> Tensor:
        """(rows, N) scores -> (rows, count) indices."""
        return torch.multinomial(scores.softmax(dim=-1), count, generator=self._generator)


class Chosen(NamedTuple):
    """One step: the rows of the batch that took a token, the tokens, their log-probabilities, and which rows it ended."""

    rows: list[int]
    tokens: list[int]
    logprobs: list[float]
    ended: list[bool]


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


def next_scores(
    decoder: Decoder, ids: Tensor, start: int, memory: Memory, cache: SelfCache, trace: Trace | None = None
) -> Tensor:
    """Feed (R, T) ids into slots ``start`` and on -> (R, V) float32 scores of the token that follows them."""
    extent = start + ids.shape[1]
    cache.reserve(extent)
    slots = torch.arange(start, extent, device=ids.device)[None]
    step = Step(slots=slots, mask=causal_mask(slots, extent), extent=extent, memory=memory, cache=cache, trace=trace)
    hidden = decoder(ids, step)
    cache.set_lengths(cache.lengths.new_full((ids.shape[0],), extent))
    if trace is not None:
        trace("hidden", len(decoder.cache_shapes), hidden)
    scores: Tensor = decoder.lm_head(hidden[:, -1])
    return scores.float()


def next_mixed_scores(
    decoder: Decoder, ids: Tensor, start: int, memory: Memory, cache: SelfCache, trace: Trace | None = None
) -> Tensor:
    """The same for rows of unequal length: (R, T) ids without the UNSEEN ones go into the slots behind each row's own.

    Nothing is padded in front: a shorter row has free slots behind its last token, which it fills later and nobody sees.
    """
    seen = ids != UNSEEN
    counts = seen.sum(dim=1)
    width = int(counts.max())
    packed = ids.gather(1, seen.long().argsort(dim=1, descending=True, stable=True)[:, :width]).clamp(min=0)
    slots = cache.lengths[:, None] + torch.arange(width, device=ids.device)
    lengths = cache.lengths + counts
    extent = int(lengths.max())
    cache.reserve(extent)
    step = Step(slots=slots, mask=causal_mask(slots, extent), extent=extent, memory=memory, cache=cache, trace=trace)
    hidden = decoder(packed, step)
    cache.set_lengths(lengths)
    if trace is not None:
        trace("hidden", len(decoder.cache_shapes), hidden)
    scores: Tensor = decoder.lm_head(hidden[torch.arange(len(ids), device=ids.device), counts - 1])
    return scores.float()


@torch.inference_mode()
def decode(
    decoder: Decoder,
    memory: Memory,
    prompt: Tensor,
    rules: Rules | MixedRules,
    choose: Choose,
    watch: Watch | None = None,
) -> Iterator[Chosen]:
    """Yield the next token of every row that is under way, until all have ended.

    prompt: (R, T) ids to begin with. Rows that end leave the batch, the cache and the memory.
    Raises GenerationError when the scores are not numbers.
    """
    rows, ids, new = list(range(len(prompt))), prompt, prompt
    shared = len(prompt) // memory.layers[0][0].shape[0]
    cache = new_cache(decoder, len(prompt), min(rules.max_length, FIRST_CAPACITY))
    feed = next_mixed_scores if isinstance(rules, MixedRules) else next_scores
    sees_ids = bool(rules.processors or rules.stops) or watch is not None
    length = ids.shape[1]
    while rows:
        trace = None if watch is None else watch.trace
        scores = feed(decoder, new, length - new.shape[1], memory, cache, trace)
        processed = rules.process(ids, scores)
        if watch is not None:
            watch(prompt.new_tensor(rows), ids, scores, processed)
        new = choose(processed, 1)
        logprobs = _finite(scores.log_softmax(dim=-1).gather(1, new), length)
        if sees_ids:
            ids = torch.cat([ids, new], dim=1)
        length += 1
        tokens = new.flatten().tolist()
        full = length >= rules.max_length
        ended = [full or token in rules.eos for token in tokens]
        if rules.stops and not full:
            ended = [a or b for a, b in zip(ended, rules.stopped(ids, processed).tolist(), strict=True)]
        yield Chosen(rows, tokens, logprobs, ended)
        if all(ended):
            return
        if any(ended):
            keep = _survivors(ended)
            rows = [rows[index] for index in keep]
            kept = torch.tensor(keep, dtype=torch.long, device=ids.device)
            ids, new, cache = ids[kept], new[kept], cache.select(kept)
            if shared == 1:
                memory = memory.select(kept)
            else:
                images = torch.tensor(rows, dtype=torch.long, device=ids.device) // shared
                memory = Memory(memory.layers, memory.mask, images)


def collect(chosen: Iterable[Chosen], prompt: Tensor, pad: int) -> Hypotheses:
    """Run a decoding to its end and put the tokens of each row together, padded with ``pad``."""
    tokens: list[list[int]] = [[] for _ in prompt]
    logprobs: list[list[float]] = [[] for _ in prompt]
    for step in chosen:
        for row, token, logprob in zip(step.rows, step.tokens, step.logprobs, strict=True):
            tokens[row].append(token)
            logprobs[row].append(logprob)
    longest = max(map(len, tokens))
    new = prompt.new_tensor([row + [pad] * (longest - len(row)) for row in tokens])
    lengths = prompt.new_tensor([prompt.shape[1] + len(row) for row in tokens])
    padded = [row + [0.0] * (longest - len(row)) for row in logprobs]
    return Hypotheses(torch.cat([prompt, new], dim=1), torch.tensor(padded, device=prompt.device), lengths)


@dataclass(frozen=True, slots=True)
class Standing:
    """A beam search behind one step: for each of ``images`` its running beams, the finished ones, and if it is done."""

    images: Tensor
    running: _Beams
    finished: _Pool
    done: Tensor

    def agreed(self) -> Tensor:
        """(B,): how many ids, from the first, are the same in whatever can still become an image's best hypothesis."""
        ids = self.running.ids
        first, best, length = ids[:, 0], self.finished.ids[:, 0], ids.shape[2]
        within = torch.arange(length, device=ids.device) < self.finished.lengths[:, :1]
        alike = (ids == first[:, None]).all(dim=1)
        alike &= ~self.finished.done[:, :1] | (within & (best[:, :length] == first))
        return alike.long().cumprod(dim=1).sum(dim=1)


@torch.inference_mode()
def beam_search(
    decoder: Decoder,
    memory: Memory,
    prompt: Tensor,
    rules: Rules | MixedRules,
    choose: Choose,
    *,
    num_beams: int,
    num_return: int,
    pad: int,
    length_penalty: float,
    early_stopping: bool | str,
    watch: Watch | None = None,
) -> Generator[Standing, None, Hypotheses]:
    """Yield how it stands behind each step; return the ``num_return`` best of ``num_beams`` hypotheses an image, best first.

    prompt: (B, T); B * num_return rows are returned. A hypothesis scores sum(log-probabilities) / (new tokens **
    length_penalty); an image leaves the batch when its running beams cannot beat its finished ones any more, by the
    measure that ``early_stopping`` names (as in ``GenerationMixin._beam_search`` of transformers 5.23, whose tokens and
    scores these are).
    """
    count, prompt_length = prompt.shape
    images = torch.arange(count, device=prompt.device)
    cache = new_cache(decoder, count, min(rules.max_length, FIRST_CAPACITY))
    beams = _Beams.start(prompt, num_beams)
    pool = _Pool.empty(count, num_beams, prompt_length, rules.max_length, prompt.device)
    finished = pool
    new = prompt
    candidates = min(max(2, 1 + len(rules.eos)), decoder.vocab_size) * num_beams
    eos = prompt.new_tensor(sorted(rules.eos))
    feed = next_mixed_scores if isinstance(rules, MixedRules) else next_scores
    while len(images):
        length = beams.ids.shape[2]
        trace = None if watch is None else watch.trace
        raw = feed(decoder, new, length - new.shape[1], memory, cache, trace)
        if new is prompt and num_beams > 1:  # the beams of an image are one row until they part
            raw = raw.repeat_interleave(num_beams, dim=0)
            cache = cache.select(torch.arange(count, device=prompt.device).repeat_interleave(num_beams))
        logprobs = raw.log_softmax(dim=-1)
        flat = beams.ids.flatten(0, 1)
        processed = rules.process(flat, logprobs)
        if watch is not None:
            beam = torch.arange(num_beams, device=prompt.device)
            watch((images[:, None] * num_beams + beam).flatten(), flat, raw, processed)
        scores = processed.view(len(images), num_beams, -1)
        extended = beams.extend(scores, logprobs.view_as(scores), candidates, choose)
        _check_candidates(extended, pool, rules, length)
        ended = _ended(extended, rules, eos, scores)
        new_tokens = length + 1 - prompt_length
        pool = pool.merge(extended, ended, new_tokens**length_penalty, early_stopping)
        beams = extended.best(extended.scores + ended * _NEVER, num_beams)
        distant = early_stopping == "never" and length_penalty > 0
        horizon = rules.room(beams.ids[:, 0], prompt_length) if distant else new_tokens
        is_full = pool.done.all(dim=1)
        worst = pool.scores.amin(dim=1).where(is_full, pool.scores.new_tensor(_NEVER))
        done = (is_full & (early_stopping is True)) | (beams.scores[:, 0] / horizon**length_penalty <= worst)
        if rules.stops or length + 1 >= rules.max_length:
            done |= ended.all(dim=1)  # nothing goes on
        yield Standing(images, beams, pool, done)

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


def last(steps: Generator[Standing, None, Hypotheses]) -> Hypotheses:
    """Run a beam search to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Hypotheses = end.value
            return found


_NEVER = -1.0e9
"""Added to the score of what must not be chosen; finite, so that a sum with it stays a number."""

_LOST = _NEVER / 10
"""A score below it is that of what must not be chosen, divided by a length maybe."""


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
    """The best finished hypotheses an image: ids (B, n, longest), log-probabilities, scores, lengths and which are done.

    What ended with a token that must not be chosen, since too few were allowed, has no tokens behind the prompt.
    """

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
            torch.full((images, num_beams), prompt, device=device),
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
        prompt = self.ids.shape[2] - self.logprobs.shape[2]
        lengths = torch.where(ended & (found.scores > _LOST), found.ids.shape[2], prompt)
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
            first.logprobs[:, : longest - prompt].masked_fill(beyond[:, prompt:], 0.0),
            first.lengths,
            first.scores,
        )

    def _tensors(self) -> Sequence[Tensor]:
        return self.ids, self.logprobs, self.scores, self.lengths, self.done

    def _map(self, function: Callable[[Tensor], Tensor]) -> _Pool:
        return _Pool(*map(function, self._tensors()))


def _ended(found: _Beams, rules: Rules | MixedRules, eos: Tensor, scores: Tensor) -> Tensor:
    """(B, n): which of the candidates their last token ends; it was chosen from the beams' (B, beams, V) scores."""
    if found.ids.shape[2] >= rules.max_length:
        return torch.ones_like(found.parents, dtype=torch.bool)
    ended = torch.isin(found.ids[:, :, -1], eos)
    if rules.stops:
        image = torch.arange(len(scores), device=scores.device)[:, None]
        stopped = rules.stopped(found.ids.flatten(0, 1), scores[image, found.parents].flatten(0, 1))
        ended |= stopped.view_as(ended)
    return ended


def _check_candidates(found: _Beams, pool: _Pool, rules: Rules | MixedRules, length: int) -> None:
    """GenerationError for log-probabilities that are no numbers, and where processors have left an image nothing.

    One beam may be without a token while others go on, and all where a hypothesis is finished.
    """
    _finite(found.logprobs[:, :, -1], length)
    if not rules.processors:
        return
    going_on = found.scores.amax(dim=1) > _LOST  # False for NaN too
    if not bool((going_on | (pool.scores[:, 0] > _LOST)).all()):
        raise _not_finite(length)


def _survivors(ended: list[bool]) -> list[int]:
    """The rows that go on, each hole filled by a row from the end: few rows move, few are copied."""
    keep = [index for index, over in enumerate(ended) if not over]
    spare = [index for index in keep if index >= len(keep)]
    return [spare.pop() if ended[index] else index for index in range(len(keep))]


def _finite(logprobs: Tensor, length: int) -> list[float]:
    """(n, 1) log-probabilities of tokens that were chosen; GenerationError if one is not a number."""
    values: list[float] = logprobs.flatten().tolist()
    if any(value != value for value in values):  # noqa: PLR0124 (NaN alone differs from itself)
        raise _not_finite(length)
    return values


def _not_finite(length: int) -> GenerationError:
    return GenerationError(
        f"the scores of token {length} are not finite; the weights or the pixel values hold NaN or infinity, "
        "a half-precision model overflows, or a processor leaves no token"
    )
