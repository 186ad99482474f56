"""Beam search: the best texts of each image, found over several rows per image.

Source: ``GenerationMixin._beam_search`` of transformers 5.23, whose tokens and scores these are.
Shapes: B images, n beams, c candidates, P ids of the prompt, N new tokens, V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vedcore.generation.rules import Rules
from vedcore.generation.strategy import Choice, Hypotheses, Observe, Select, StreamedTokens, finite, not_finite

NEVER = -1.0e9
"""Added to the score of what must not be chosen. It is finite, so that a sum with it stays a number."""

LOST = NEVER / 10
"""A score below it belongs to what must not be chosen, even if it was divided by a length."""


@dataclass(slots=True)
class Beams:
    """Running hypotheses, or candidates to continue them.

    tokens, logprobs: (B, n, N) new tokens and their log-probabilities. scores: (B, n). parents: (B, n) the beam that each
    one continues.
    """

    tokens: Tensor
    logprobs: Tensor
    scores: Tensor
    parents: Tensor

    @classmethod
    def start(cls, images: int, num_beams: int, device: torch.device) -> Beams:
        """Beams without tokens. They are equal, so only the first of each image may be continued."""
        scores = torch.full((images, num_beams), NEVER, device=device)
        scores[:, 0] = 0.0
        parents = torch.zeros(images, num_beams, dtype=torch.long, device=device)
        return cls(parents.new_zeros(images, num_beams, 0), scores.new_zeros(images, num_beams, 0), scores, parents)

    def extend(self, scores: Tensor, logprobs: Tensor, count: int, select: Select) -> Beams:
        """The ``count`` continuations per image that ``select`` takes by (B, n, V) ``scores`` added to the beams' own."""
        total = (scores + self.scores[:, :, None]).flatten(1)
        picked = select(total, count)
        parents, tokens = picked // scores.shape[-1], picked % scores.shape[-1]
        image = torch.arange(len(picked), device=picked.device)[:, None]
        return Beams(
            torch.cat([self.tokens[image, parents], tokens[..., None]], dim=2),
            torch.cat([self.logprobs[image, parents], logprobs.flatten(1).gather(1, picked)[..., None]], dim=2),
            total.gather(1, picked),
            parents,
        )

    def best(self, scores: Tensor, count: int) -> Beams:
        """The ``count`` beams with the highest ``scores`` (B, n), with these scores."""
        order = scores.topk(count).indices
        image = torch.arange(len(order), device=order.device)[:, None]
        return Beams(
            self.tokens[image, order],
            self.logprobs[image, order],
            scores.gather(1, order),
            self.parents[image, order],
        )

    def take(self, images: Tensor) -> Beams:
        """The beams of some images."""
        return Beams(self.tokens[images], self.logprobs[images], self.scores[images], self.parents[images])


@dataclass(slots=True)
class Finished:
    """The best finished hypotheses of each image: tokens and logprobs (B, n, longest), scores, counts and valid (B, n).

    A hypothesis that ended with a token that must not be chosen has no tokens; it exists if too few tokens were allowed.
    """

    tokens: Tensor
    logprobs: Tensor
    scores: Tensor
    counts: Tensor
    valid: Tensor

    @classmethod
    def empty(cls, images: int, num_beams: int, longest: int, device: torch.device) -> Finished:
        """No hypotheses."""
        return cls(
            torch.zeros(images, num_beams, longest, dtype=torch.long, device=device),
            torch.zeros(images, num_beams, longest, device=device),
            torch.full((images, num_beams), NEVER, device=device),
            torch.zeros(images, num_beams, dtype=torch.long, device=device),
            torch.zeros(images, num_beams, dtype=torch.bool, device=device),
        )

    def merge(self, found: Beams, ended: Tensor, divisor: float, early_stopping: bool | str) -> Finished:
        """Take in what has ``ended`` among the best of ``found``, where it has a higher score."""
        count = self.tokens.shape[1]
        ended = ended.clone()
        ended[:, count:] = False  # candidates beyond the beams only replace beams that end
        if early_stopping is True:
            ended &= ~self.valid.all(dim=1, keepdim=True)
        if not ended.any():
            return self
        scores = found.scores / divisor + ~ended * NEVER
        new = found.tokens.shape[2]
        padding = (0, self.tokens.shape[2] - new)
        counts = torch.where(ended & (found.scores > LOST), new, 0)
        both = Finished(
            torch.cat([self.tokens, torch.nn.functional.pad(found.tokens, padding)], dim=1),
            torch.cat([self.logprobs, torch.nn.functional.pad(found.logprobs, padding)], dim=1),
            torch.cat([self.scores, scores], dim=1),
            torch.cat([self.counts, counts], dim=1),
            torch.cat([self.valid, ended], dim=1),
        )
        order = both.scores.topk(count).indices
        image = torch.arange(len(order), device=order.device)[:, None]
        return both.map(lambda tensor: tensor[image, order])

    def put(self, images: Tensor, other: Finished) -> Finished:
        """A copy with the hypotheses of ``images`` replaced by those of ``other``."""
        pairs = zip(self.tensors(), other.tensors(), strict=True)
        return Finished(*(mine.index_put((images,), theirs) for mine, theirs in pairs))

    def map(self, function: Callable[[Tensor], Tensor]) -> Finished:
        """The same with ``function`` applied to each tensor."""
        return Finished(*map(function, self.tensors()))

    def tensors(self) -> Sequence[Tensor]:
        """All tensors."""
        return self.tokens, self.logprobs, self.scores, self.counts, self.valid


@dataclass(frozen=True, slots=True)
class BeamState:
    """A beam search after a step: of each of the ``images`` its running beams, its finished hypotheses, and if it is done."""

    images: Tensor
    running: Beams
    finished: Finished
    done: Tensor

    def agreed(self) -> Tensor:
        """(B,): how many first tokens are equal in all hypotheses that can still become the best one of an image."""
        tokens = self.running.tokens
        first, best, length = tokens[:, 0], self.finished.tokens[:, 0], tokens.shape[2]
        within = torch.arange(length, device=tokens.device) < self.finished.counts[:, :1]
        alike = (tokens == first[:, None]).all(dim=1)
        alike &= ~self.finished.valid[:, :1] | (within & (best[:, :length] == first))
        return alike.long().cumprod(dim=1).sum(dim=1)


class BeamSearch:
    """The strategy that follows the ``num_beams`` best hypotheses of each image.

    A hypothesis scores sum(log-probabilities) / (new tokens ** length_penalty). An image is done when its running beams
    cannot beat its finished hypotheses any more, by the measure that ``early_stopping`` names.
    """

    def __init__(
        self,
        prompt: Tensor,
        rules: Rules,
        select: Select,
        *,
        num_beams: int,
        num_return: int,
        length_penalty: float = 1.0,
        early_stopping: bool | str = False,
        places: Sequence[int] | None = None,
    ) -> None:
        """prompt: (B, P) ids, one row per image, which becomes ``num_beams`` rows after the first step.

        places: the numbers of the images in the whole output.
        """
        count, device = len(prompt), prompt.device
        self.prompt, self.rules, self.select_token = prompt, rules, select
        self.num_beams, self.num_return = num_beams, num_return
        self.length_penalty, self.early_stopping = length_penalty, early_stopping
        self.places = torch.arange(count, device=device) if places is None else prompt.new_tensor(places)
        self.images = torch.arange(count, device=device)  # those that are not done
        self.running = Beams.start(count, num_beams, device)
        self.finished = Finished.empty(count, num_beams, rules.room, device)  # of the images that are not done
        self.results = self.finished
        self.state: BeamState | None = None
        self._sent: dict[int, int] = {}  # how many tokens of each image were events
        self.eos = prompt.new_tensor(sorted(rules.eos))

    @property
    def ids(self) -> Tensor:
        """(B, P) the prompts at first, then (B n, T) the ids of the beams."""
        return self._with_prompt(self.running.tokens) if self.state is not None else self.prompt

    def advance(self, scores: Tensor, observe: Observe | None = None) -> Choice:
        """(B, V) or (B n, V) scores of the next token -> the tokens of the beams that go on."""
        rules, n, images = self.rules, self.num_beams, len(self.images)
        per_image = len(scores) // images  # 1 in the first step, whose beams are equal
        if per_image < n:
            scores = scores.repeat_interleave(n, dim=0)
        logprobs = scores.log_softmax(dim=-1)
        processed = rules.process(self._with_prompt(self.running.tokens), logprobs) if rules.processors else logprobs
        if observe is not None:
            beam = torch.arange(n, device=scores.device)
            places = (self.places[self.images][:, None] * n + beam).flatten()
            observe(places, self._with_prompt(self.running.tokens), scores, processed)
        by_beam = processed.view(images, n, -1)
        candidates = min(max(2, 1 + len(rules.eos)), by_beam.shape[2]) * n
        found = self.running.extend(by_beam, logprobs.view_as(by_beam), candidates, self.select_token)
        self._check(found)
        ended = self._ended(found, by_beam)
        done = self._settle(found, ended)
        return self._going_on(done, per_image)

    def _with_prompt(self, tokens: Tensor) -> Tensor:
        """(B, k, N) new tokens -> (B k, P + N) ids."""
        prompt = self.prompt[self.images].repeat_interleave(tokens.shape[1], dim=0)
        return torch.cat([prompt, tokens.flatten(0, 1)], dim=1)

    def _check(self, found: Beams) -> None:
        """Raises GenerationError for NaN, and if the processors leave an image without a token.

        One beam may have no token while others go on, and all beams if a hypothesis is finished.
        """
        length = self.rules.prompt_length + found.tokens.shape[2] - 1
        finite(found.logprobs[:, :, -1], length)
        if self.rules.processors:
            goes_on = found.scores.amax(dim=1) > LOST  # False for NaN too
            if not bool((goes_on | (self.finished.scores[:, 0] > LOST)).all()):
                raise not_finite(length)

    def _ended(self, found: Beams, scores: Tensor) -> Tensor:
        """(B, c) bool: the candidates that their last token ends. It was chosen by the beams' (B, n, V) scores."""
        if found.tokens.shape[2] >= self.rules.room:
            return torch.ones_like(found.parents, dtype=torch.bool)
        ended = torch.isin(found.tokens[:, :, -1], self.eos)
        if self.rules.stops:
            image = torch.arange(len(scores), device=scores.device)[:, None]
            chosen_by = scores[image, found.parents].flatten(0, 1)
            ended |= self.rules.stopped(self._with_prompt(found.tokens), chosen_by).view_as(ended)
        return ended

    def _settle(self, found: Beams, ended: Tensor) -> Tensor:
        """Update the finished hypotheses and the running beams -> (B,) bool: the images that are done."""
        new, penalty = found.tokens.shape[2], self.length_penalty
        self.finished = self.finished.merge(found, ended, new**penalty, self.early_stopping)
        self.running = found.best(found.scores + ended * NEVER, self.num_beams)
        horizon = self.rules.room if self.early_stopping == "never" and penalty > 0 else new
        is_full = self.finished.valid.all(dim=1)
        scores = self.finished.scores
        worst = scores.amin(dim=1).where(is_full, scores.new_tensor(NEVER))
        done = (is_full & (self.early_stopping is True)) | (self.running.scores[:, 0] / horizon**penalty <= worst)
        if self.rules.stops or new >= self.rules.room:
            done |= ended.all(dim=1)  # no candidate goes on
        self.state = BeamState(self.images, self.running, self.finished, done)
        return done  # type: ignore[no-any-return]

    def _going_on(self, done: Tensor, per_image: int) -> Choice:
        """The rows and tokens of the beams of the images that are not done."""
        keep = torch.arange(len(done), device=done.device)
        if bool(done.any()):
            self.results = self.results.put(self.images[done], self.finished.map(lambda tensor: tensor[done]))
            keep = keep[~done]
            self.images, self.running = self.images[keep], self.running.take(keep)
            self.finished = self.finished.map(lambda tensor: tensor[keep])
        rows = keep[:, None] * per_image + (self.running.parents if per_image > 1 else 0)
        rows = rows.expand(-1, self.num_beams).flatten()
        return Choice(rows, self.running.tokens[:, :, -1].reshape(-1, 1))

    def events(self) -> Iterator[StreamedTokens]:
        """The tokens on which all hypotheses agree since the last call that can still become the best one of their image."""
        state = self.state
        if state is None:
            return
        done, agreed = state.done.tolist(), state.agreed().tolist()
        for index, image in enumerate(self.places[state.images].tolist()):
            source = state.finished if done[index] else state.running
            count = int(state.finished.counts[index, 0]) if done[index] else agreed[index]
            first = self._sent.get(image, 0)
            if count <= first and not done[index]:
                continue
            tokens = source.tokens[index, 0, :count].tolist()
            logprobs = source.logprobs[index, 0, first:count].tolist()
            reason = self.rules.reason(tokens[-1] if tokens else -1, count) if done[index] else None
            self._sent[image] = count
            yield StreamedTokens(image, tuple(tokens[first:]), tuple(logprobs), reason)

    def result(self, pad: int) -> Hypotheses:
        """The ``num_return`` best hypotheses of each image, padded with ``pad``, best first."""
        count = self.num_return
        longest = int(self.results.counts[:, :count].max())
        first = self.results.map(lambda tensor: tensor[:, :count].flatten(0, 1))
        beyond = torch.arange(longest, device=first.tokens.device) >= first.counts[:, None]
        return Hypotheses(
            first.tokens[:, :longest].masked_fill(beyond, pad),
            first.logprobs[:, :longest].masked_fill(beyond, 0.0),
            first.counts,
            first.scores,
        )
