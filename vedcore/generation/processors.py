"""Logits processors: pure functions of the ids so far and the scores of the next token.

A factory makes one of each kind from its settings; ``score_processors`` and ``sampling_processors`` choose those that a
config turns on. What each computes, and in which order, is that of transformers 5.23 (generation/logits_process.py).
Shapes: R rows, T ids so far (start token and prompt included), V vocabulary size, N sequences of L ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from vedcore.config import id_tuple
from vedcore.errors import ConfigError, InputError
from vedcore.generation.config import GenerationConfig

Processor = Callable[[Tensor, Tensor], Tensor]
"""(R, T) long ids, (R, V) float32 scores -> (R, V) scores. It changes neither of what it is given."""

NEVER = float("-inf")


def checked(processor: Processor) -> Processor:
    """A caller's ``processor``. InputError where it returns anything but scores of the shape that it was given."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        answer: Any = processor(ids, scores)
        if not isinstance(answer, Tensor) or answer.shape != scores.shape or not answer.is_floating_point():
            name = getattr(processor, "__name__", type(processor).__name__)
            found = f"{answer.dtype} {tuple(answer.shape)}" if isinstance(answer, Tensor) else type(answer).__name__
            raise InputError(
                f"the logits processor {name} returned {found} for scores of shape {tuple(scores.shape)} (rows, vocabulary); "
                "return floating-point scores of that shape"
            )
        return answer

    return process


def score_processors(
    config: GenerationConfig, *, prompt_length: int, max_length: int, vocab_size: int
) -> list[Processor]:
    """What ``config`` (resolved) does to the scores under every strategy, in order; the caller's own come next.

    max_length: where rows end in any case, prompt included. Raises ConfigError for an id that is not in the vocabulary.
    """
    _refuse_foreign_ids(config, vocab_size)
    ends = id_tuple(config.eos_token_id)
    chosen: list[Processor] = []
    if config.sequence_bias is not None:
        chosen.append(sequence_bias(config.sequence_bias))
    if config.repetition_penalty not in (None, 1.0):
        chosen.append(repetition_penalty(config.repetition_penalty))
    if config.no_repeat_ngram_size:
        chosen.append(no_repeat_ngram(config.no_repeat_ngram_size))
    if config.bad_words_ids is not None:
        chosen.append(bad_words(config.bad_words_ids, ends))
    if ends and config.min_new_tokens:
        chosen.append(min_new_tokens(config.min_new_tokens, ends, prompt_length))
    elif ends and config.least(prompt_length):
        chosen.append(min_length(config.least(prompt_length), ends))
    if config.forced_bos_token_id is not None:
        chosen.append(forced_bos(config.forced_bos_token_id))
    if config.forced_eos_token_id is not None:
        chosen.append(forced_eos(id_tuple(config.forced_eos_token_id), max_length))
    if config.remove_invalid_values:
        chosen.append(remove_invalid)
    if config.exponential_decay_length_penalty is not None:
        chosen.append(exponential_decay(*config.exponential_decay_length_penalty, ends, prompt_length))
    if config.suppress_tokens:
        chosen.append(suppress(config.suppress_tokens))
    if config.begin_suppress_tokens:
        # A forced first token is not the place to suppress one: the text proper begins behind it.
        forced = prompt_length == 1 and config.forced_bos_token_id is not None
        chosen.append(begin_suppress(config.begin_suppress_tokens, prompt_length + forced))
    return chosen


def sampling_processors(config: GenerationConfig) -> list[Processor]:
    """What comes behind the caller's own processors: what sampling draws from, and the renormalisation, which is last.

    Renormalisation is of every strategy: without sampling it alone is returned, if ``config`` (resolved) wants it.
    """
    last: list[Processor] = [renormalize] if config.renormalize_logits else []
    if not config.do_sample:
        return last
    # A beam search needs a candidate that does not end the text, whatever else is cut.
    keep = 1 if config.num_beams in (None, 1) else max(1, len(id_tuple(config.eos_token_id))) + 1
    chosen: list[Processor] = []
    if config.temperature not in (None, 1.0):
        chosen.append(temperature(config.temperature))
    if config.top_k:
        chosen.append(top_k(config.top_k, keep))
    if config.top_p is not None and config.top_p < 1:
        chosen.append(top_p(config.top_p, keep))
    if config.min_p is not None:
        chosen.append(min_p(config.min_p, keep))
    if config.typical_p is not None and config.typical_p < 1:
        chosen.append(typical(config.typical_p, keep))
    if config.epsilon_cutoff:
        chosen.append(epsilon(config.epsilon_cutoff, keep))
    if config.eta_cutoff:
        chosen.append(eta(config.eta_cutoff, keep))
    return chosen + last


def _refuse_foreign_ids(config: GenerationConfig, vocab_size: int) -> None:
    for name, ids in (
        ("sequence_bias", [token for sequence, _ in config.sequence_bias or () for token in sequence]),
        ("bad_words_ids", [token for sequence in config.bad_words_ids or () for token in sequence]),
        ("eos_token_id", id_tuple(config.eos_token_id)),
        ("forced_bos_token_id", id_tuple(config.forced_bos_token_id)),
        ("forced_eos_token_id", id_tuple(config.forced_eos_token_id)),
        ("suppress_tokens", config.suppress_tokens or ()),
        ("begin_suppress_tokens", config.begin_suppress_tokens or ()),
    ):
        if max(ids, default=-1) >= vocab_size:
            raise ConfigError(f"{name} has token id {max(ids)}, but the vocabulary has {vocab_size} tokens")


# Of every strategy.


def sequence_bias(biases: Sequence[tuple[tuple[int, ...], float]]) -> Processor:
    """Add a sequence's bias to its last token wherever the ids end with what comes before it."""
    by_length: dict[int, dict[tuple[int, ...], float]] = {}
    for sequence, bias in biases:
        by_length.setdefault(len(sequence) - 1, {})[sequence] = bias
    groups = [
        (
            length,
            _placed(torch.tensor([sequence[:-1] for sequence in group], dtype=torch.long)),  # (N, L - 1)
            _placed(torch.tensor([sequence[-1] for sequence in group])),
            _placed(torch.tensor(list(group.values()), dtype=torch.float32)),
        )
        for length, group in sorted(by_length.items())
    ]

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        total = torch.zeros_like(scores)
        for length, prefixes, last, values in groups:
            if length <= ids.shape[1]:
                ending = ids[:, None, ids.shape[1] - length :]
                matches = (ending == prefixes(ids.device)).all(dim=-1)  # (R, N)
                total.index_add_(1, last(ids.device), torch.where(matches, values(ids.device), 0.0))
        return scores + total

    return process


def repetition_penalty(penalty: float) -> Processor:
    """Divide the scores above 0 of tokens that occur in the ids by ``penalty``, multiply those below."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        seen = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, ids, True)
        return torch.where(seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)

    return process


def no_repeat_ngram(size: int) -> Processor:
    """Forbid every token that would complete a run of ``size`` tokens which is in the ids already."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        if ids.shape[1] < size:
            return scores
        runs = ids.unfold(1, size, 1)  # (R, T - size + 1, size)
        ending = ids[:, None, ids.shape[1] - size + 1 :]
        again = (runs[..., :-1] == ending).all(dim=-1)
        times = torch.zeros_like(scores, dtype=torch.long).scatter_add_(1, runs[..., -1], again.long())
        return scores.masked_fill(times > 0, NEVER)

    return process


def bad_words(words: Sequence[tuple[int, ...]], ends: Sequence[int]) -> Processor:
    """Forbid the last token of a word wherever the ids end with the rest of it; an end token alone is let be."""
    return sequence_bias([(word, NEVER) for word in words if len(word) > 1 or word[0] not in ends])


def min_length(length: int, ends: Sequence[int]) -> Processor:
    """Forbid the end tokens while there are fewer than ``length`` ids, the prompt included."""
    hidden = suppress(ends)
    return lambda ids, scores: hidden(ids, scores) if ids.shape[1] < length else scores


def min_new_tokens(count: int, ends: Sequence[int], prompt_length: int) -> Processor:
    """Forbid the end tokens while there are fewer than ``count`` ids behind the prompt."""
    return min_length(prompt_length + count, ends)


def forced_bos(token: int) -> Processor:
    """Only ``token`` behind the start token."""
    return lambda ids, scores: _only((token,), scores) if ids.shape[1] == 1 else scores


def forced_eos(tokens: Sequence[int], max_length: int) -> Processor:
    """Only ``tokens`` in the last place of ``max_length``."""
    return lambda ids, scores: _only(tokens, scores) if ids.shape[1] == max_length - 1 else scores


def remove_invalid(ids: Tensor, scores: Tensor) -> Tensor:
    """0 for what is not a number, the largest and the least float for the infinities."""
    return scores.nan_to_num()


def exponential_decay(start: int, factor: float, ends: Sequence[int], prompt_length: int) -> Processor:
    """Raise the end tokens' scores by |score| * (factor ** k - 1), k tokens after ``start`` new ones."""
    begin = start + prompt_length
    places = _placed(torch.tensor(list(dict.fromkeys(ends))))
    # Its powers become infinite where those of a float of Python are an OverflowError.
    base = torch.tensor(factor, dtype=torch.float64)

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        if ids.shape[1] <= begin:
            return scores
        end_scores = scores[:, places(scores.device)]
        raised = end_scores.abs() * (base ** (ids.shape[1] - begin) - 1)
        # Behind min_length an end token is at -inf, where it stays; and 0 times infinity is no number.
        stays = ~end_scores.isfinite() | (end_scores == 0)
        return scores.index_add(1, places(scores.device), raised.masked_fill(stays, 0.0))

    return process


def suppress(tokens: Sequence[int]) -> Processor:
    """Forbid ``tokens``."""
    places = _placed(torch.tensor(list(tokens), dtype=torch.long))
    return lambda ids, scores: scores.index_fill(1, places(scores.device), NEVER)


def begin_suppress(tokens: Sequence[int], length: int) -> Processor:
    """Forbid ``tokens`` where there are exactly ``length`` ids."""
    hidden = suppress(tokens)
    return lambda ids, scores: hidden(ids, scores) if ids.shape[1] == length else scores


def renormalize(ids: Tensor, scores: Tensor) -> Tensor:
    """Log-probabilities again, after scores were changed or cut."""
    return scores.log_softmax(dim=-1)


# Of sampling. ``keep`` tokens are always left.


def temperature(value: float) -> Processor:
    """Divide by ``value``: below 1 the likely tokens gain, above 1 the others do."""
    return lambda ids, scores: scores / value


def top_k(count: int, keep: int = 1) -> Processor:
    """Leave the ``count`` best tokens, and what ties with the last of them."""
    return lambda ids, scores: scores.masked_fill(_below_best(scores, max(count, keep)), NEVER)


def top_p(mass: float, keep: int = 1) -> Processor:
    """Leave the fewest best tokens whose probabilities sum to ``mass`` (nucleus sampling, Holtzman et al., 2020)."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        ordered, places = scores.sort(dim=-1)
        cut = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - mass
        cut[..., -keep:] = False
        return scores.masked_fill(_back(cut, places), NEVER)

    return process


def min_p(share: float, keep: int = 1) -> Processor:
    """Leave the tokens at least ``share`` times as likely as the best (Nguyen et al., 2024)."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        probabilities = scores.softmax(dim=-1)
        cut = probabilities < share * probabilities.amax(dim=-1, keepdim=True)
        best = probabilities.topk(min(keep, scores.shape[-1]), dim=-1).indices
        return scores.masked_fill(cut.scatter(-1, best, False), NEVER)

    return process


def typical(mass: float, keep: int = 1) -> Processor:
    """Leave the tokens nearest to the expected surprise, until they sum to ``mass`` (Meister et al., 2023)."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        logprobs = scores.log_softmax(dim=-1)
        entropy = -(logprobs * logprobs.exp()).nansum(dim=-1, keepdim=True)  # -inf times 0 counts as 0
        distances, places = (-logprobs - entropy).abs().sort(dim=-1)
        sums = scores.gather(-1, places).softmax(dim=-1).cumsum(dim=-1)
        last = (sums < mass).sum(dim=-1, keepdim=True).clamp(max=scores.shape[-1] - 1)
        cut = distances > distances.gather(-1, last)
        cut[..., :keep] = False
        return scores.masked_fill(_back(cut, places), NEVER)

    return process


def epsilon(least: float, keep: int = 1) -> Processor:
    """Leave the tokens of probability ``least`` or more (Hewitt et al., 2022)."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        return scores.masked_fill((scores.softmax(dim=-1) < least) & _below_best(scores, keep), NEVER)

    return process


def eta(cutoff: float, keep: int = 1) -> Processor:
    """Like epsilon, with a threshold that falls with the entropy: min(cutoff, sqrt(cutoff) * exp(-entropy))."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        logprobs = scores.log_softmax(dim=-1)
        entropy = -(logprobs * logprobs.exp()).nansum(dim=-1, keepdim=True)
        least = (cutoff**0.5 * (-entropy).exp()).clamp(max=cutoff)
        return scores.masked_fill((scores.softmax(dim=-1) < least) & _below_best(scores, keep), NEVER)

    return process


def _below_best(scores: Tensor, count: int) -> Tensor:
    """(R, V) bool: what is less than the ``count``-th best of its row."""
    return scores < scores.topk(min(count, scores.shape[-1]), dim=-1).values[..., -1:]


def _back(cut: Tensor, places: Tensor) -> Tensor:
    """A mask over sorted scores as one over the scores; ``places``: where each sorted score came from."""
    return torch.zeros_like(cut).scatter(-1, places, cut)


def _only(tokens: Sequence[int], scores: Tensor) -> Tensor:
    row = torch.full_like(scores[:1], NEVER)
    row[:, list(tokens)] = 0
    return row.expand_as(scores).clone()


def _placed(tensor: Tensor) -> Callable[[torch.device], Tensor]:
    """``tensor`` on the device asked for, moved there once and not in every step."""
    return cache(tensor.to)
