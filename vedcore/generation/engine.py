"""Decoding: the loop that feeds a decoder its own tokens, and beam search.

It knows protocols only: a decoder, the memory of the images, and pure functions of scores. Caches are arguments, images that
are done leave the batch, and the head runs on the last position alone.
Shapes: B images, n beams, R rows, T ids so far, V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
    """What a decoding obeys: which tokens end a row, at which length it ends anyway, what the scores pass through."""

    eos: frozenset[int]
    max_length: int
    processors: tuple[Processor, ...] = ()

    def process(self, ids: Tensor, scores: Tensor) -> Tensor:
        """(R, T) ids, (R, V) scores -> (R, V) scores."""
        for processor in self.processors:
            scores = processor(ids, scores)
        return scores


def best(scores: Tensor, count: int) -> Tensor:
    """The ``count`` highest of each row, in order."""
    return scores.argmax(dim=-1, keepdim=True) if count == 1 else scores.topk(count).indices


def drawable(ids: Tensor, scores: Tensor) -> Tensor:
    """A last processor before a ``Draw``: the scores as they are, or GenerationError where a row has none to draw from."""
    highest = scores.amax(dim=-1)  # NaN where one is; on a GPU, multinomial would take the whole process down
    if not bool(highest.isfinite().all()):
        raise _not_finite(ids.shape[1])
    return scores


class Draw:
    """Draw ``count`` of each row without putting back, by the softmax of its scores."""

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self._generator = generator

    def __call__(self, scores: Tensor, count: int) -> Tensor:
        """(rows, N) scores -> (rows, count) indices."""
        return torch.multinomial(scores.softmax(dim=-1), count, generator=self._generator)


@dataclass(frozen=True, slots=True)
class Chosen:
    """One step: the rows of the batch that took a token, the tokens, and their log-probabilities."""

    rows: list[int]
    tokens: list[int]
    logprobs: list[float]


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


def decode(decoder: Decoder, memory: Memory, prompt: Tensor, rules: Rules, choose: Choose) -> Iterator[Chosen]:
    """Yield the next token of every row that is under way, until all have ended.

    prompt: (R, T) ids to begin with. Rows that end leave the batch, the cache and the memory.
    Raises GenerationError when the scores are not numbers.
    """
    rows, ids, new = list(range(len(prompt))), prompt, prompt
    shared = len(prompt) // memory.layers[0][0].shape[0]
    cache = new_cache(decoder, len(prompt), min(rules.max_length, FIRST_CAPACITY))
    while rows:
        with torch.inference_mode():
            length = ids.shape[1]
            scores = next_scores(decoder, new, length - new.shape[1], memory, cache)
            new = choose(rules.process(ids, scores), 1)
            logprobs = _finite(scores.log_softmax(dim=-1).gather(1, new), length)
            ids = torch.cat([ids, new], dim=1)
            tokens = new[:, 0].tolist()
        yield Chosen(rows, tokens, logprobs)
        if length + 1 >= rules.max_length:
            return
        ended = [token in rules.eos for token in tokens]
        if any(ended):
            with torch.inference_mode():
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
    eos = prompt.new_tensor(sorted(rules.eos))
    while len(images):
        length = beams.ids.shape[2]
        raw = next_scores(decoder, new, length - new.shape[1], memory, cache)
        if new is prompt and num_beams > 1:  # the beams of an image are one row until they part
            raw = raw.repeat_interleave(num_beams, dim=0)
            cache = cache.select(torch.arange(count, device=prompt.device).repeat_interleave(num_beams))
        logprobs = raw.log_softmax(dim=-1)
        scores = rules.process(beams.ids.flatten(0, 1), logprobs).view(len(images), num_beams, -1)
        extended = beams.extend(scores, logprobs.view_as(scores), candidates, choose)
        _finite(extended.logprobs[:, :, -1], length)
        ended = (
            torch.isin(extended.ids[:, :, -1], eos)
            if length + 1 < rules.max_length
            else torch.ones_like(extended.ids[:, :, -1], dtype=torch.bool)
        )

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
