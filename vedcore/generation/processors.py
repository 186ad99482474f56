"""Logits processors: pure functions of the ids so far and the scores of the next token.

Each factory makes one kind of processor from its settings. ``score_processors`` and ``sampling_processors`` make those that a
config enables. Results and order are those of transformers 5.23 (generation/logits_process.py).
Shapes: R rows, T ids so far (including start token and prompt), V vocabulary size, N sequences of L ids.
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
"""(R, T) long ids, (R, V) float32 scores -> (R, V) scores. It does not modify its arguments."""

FORBIDDEN = float("-inf")


def with_checked_result(processor: Processor) -> Processor:
    """``processor``, which then raises InputError unless it returns floating-point scores of the shape (R, V) of its input."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        answer: Any = processor(ids, scores)
        if not isinstance(answer, Tensor) or answer.shape != scores.shape or not answer.is_floating_point():
            name = getattr(processor, "__name__", type(processor).__name__)
            found = f"{answer.dtype} {tuple(answer.shape)}" if isinstance(answer, Tensor) else type(answer).__name__
            raise InputError(
                f"the logits processor {name} returned {found} for scores of shape {tuple(scores.shape)} (rows, vocabulary); "
                "return floating-point scores of that shape",
                field="logits_processor",
                expected=f"floating-point scores of shape {tuple(scores.shape)}",
                found=found,
            )
        return answer

    return process


def score_processors(
    config: GenerationConfig, *, prompt_length: int, max_length: int, vocab_size: int
) -> list[Processor]:
    """The processors that ``config`` (resolved) enables under every strategy, in order. The caller's own come after them.

    prompt_length, max_length: in ids; both include the start token, and ``max_length`` includes the prompt.
    Raises ConfigError for an id that is not in the vocabulary.
    """
    _check_ids(config, vocab_size)
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
    elif ends and config.minimum_length(prompt_length):
        chosen.append(min_length(config.minimum_length(prompt_length), ends))
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
        # If the first token is forced, the text begins after it.
        forced = prompt_length == 1 and config.forced_bos_token_id is not None
        chosen.append(begin_suppress(config.begin_suppress_tokens, prompt_length + forced))
    return chosen


def sampling_processors(config: GenerationConfig) -> list[Processor]:
    """The processors of ``config`` (resolved) that run after the caller's own, in order.

    They are those of sampling, if ``do_sample`` is set, and then ``renormalize``, which applies to every strategy.
    """
    last: list[Processor] = [renormalize] if config.renormalize_logits else []
    if not config.do_sample:
        return last
    # A beam search always needs a candidate that does not end the text.
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


def _check_ids(config: GenerationConfig, vocab_size: int) -> None:
    """Raise ConfigError if a field of ``config`` has an id that is not in the vocabulary."""
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
            raise ConfigError(
                f"{name} has token id {max(ids)}, but the vocabulary has {vocab_size} tokens",
                field=name,
                expected=f"ids below {vocab_size}",
                found=max(ids),
            )


# Processors of every strategy.


def sequence_bias(biases: Sequence[tuple[tuple[int, ...], float]]) -> Processor:
    """Add the bias of each sequence to the score of its last token, in rows that end with its other tokens."""
    by_length: dict[int, dict[tuple[int, ...], float]] = {}
    for sequence, bias in biases:
        by_length.setdefault(len(sequence) - 1, {})[sequence] = bias
    groups = [
        (
            length,
            _on_device(torch.tensor([sequence[:-1] for sequence in group], dtype=torch.long)),  # (N, L - 1)
            _on_device(torch.tensor([sequence[-1] for sequence in group])),
            _on_device(torch.tensor(list(group.values()), dtype=torch.float32)),
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
    """For tokens that occur in the ids: divide scores above 0 by ``penalty``, and multiply scores below 0 by it."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        seen = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, ids, True)
        return torch.where(seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)

    return process


def no_repeat_ngram(size: int) -> Processor:
    """Forbid every token that would repeat an n-gram of ``size`` tokens that the ids already contain."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        if ids.shape[1] < size:
            return scores
        runs = ids.unfold(1, size, 1)  # (R, T - size + 1, size)
        ending = ids[:, None, ids.shape[1] - size + 1 :]
        again = (runs[..., :-1] == ending).all(dim=-1)
        times = torch.zeros_like(scores, dtype=torch.long).scatter_add_(1, runs[..., -1], again.long())
        return scores.masked_fill(times > 0, FORBIDDEN)

    return process


def bad_words(words: Sequence[tuple[int, ...]], ends: Sequence[int]) -> Processor:
    """Forbid the last token of each word in rows that end with its other tokens. A word that is one end token is ignored."""
    return sequence_bias([(word, FORBIDDEN) for word in words if len(word) > 1 or word[0] not in ends])


def min_length(length: int, ends: Sequence[int]) -> Processor:
    """Forbid the end tokens while there are fewer than ``length`` ids, including the prompt."""
    hidden = suppress(ends)
    return lambda ids, scores: hidden(ids, scores) if ids.shape[1] < length else scores


def min_new_tokens(count: int, ends: Sequence[int], prompt_length: int) -> Processor:
    """Forbid the end tokens while there are fewer than ``count`` ids after the prompt."""
    return min_length(prompt_length + count, ends)


def forced_bos(token: int) -> Processor:
    """Allow only ``token`` after the start token."""
    return lambda ids, scores: _allow_only((token,), scores) if ids.shape[1] == 1 else scores


def forced_eos(tokens: Sequence[int], max_length: int) -> Processor:
    """Allow only ``tokens`` as the last of ``max_length`` ids."""
    return lambda ids, scores: _allow_only(tokens, scores) if ids.shape[1] == max_length - 1 else scores


def remove_invalid(ids: Tensor, scores: Tensor) -> Tensor:
    """Replace NaN by 0, and infinities by the largest and the smallest finite float."""
    return scores.nan_to_num()


def exponential_decay(start: int, factor: float, ends: Sequence[int], prompt_length: int) -> Processor:
    """Raise the end tokens' scores by |score| * (factor ** k - 1), k tokens after ``start`` new ones."""
    begin = start + prompt_length
    end_ids = _on_device(torch.tensor(list(dict.fromkeys(ends))))
    # Powers of a tensor overflow to infinity; those of a Python float raise OverflowError.
    base = torch.tensor(factor, dtype=torch.float64)

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        if ids.shape[1] <= begin:
            return scores
        end_scores = scores[:, end_ids(scores.device)]
        raised = end_scores.abs() * (base ** (ids.shape[1] - begin) - 1)
        # An end token that min_length set to -inf stays there, and 0 times infinity would be NaN.
        unchanged = ~end_scores.isfinite() | (end_scores == 0)
        return scores.index_add(1, end_ids(scores.device), raised.masked_fill(unchanged, 0.0))

    return process


def suppress(tokens: Sequence[int]) -> Processor:
    """Forbid ``tokens`` everywhere."""
    suppressed = _on_device(torch.tensor(list(tokens), dtype=torch.long))
    return lambda ids, scores: scores.index_fill(1, suppressed(scores.device), FORBIDDEN)


def begin_suppress(tokens: Sequence[int], length: int) -> Processor:
    """Forbid ``tokens`` when there are exactly ``length`` ids."""
    hidden = suppress(tokens)
    return lambda ids, scores: hidden(ids, scores) if ids.shape[1] == length else scores


def renormalize(ids: Tensor, scores: Tensor) -> Tensor:
    """Turn processed scores into log-probabilities again."""
    return scores.log_softmax(dim=-1)


# Processors of sampling. Each leaves at least ``keep`` tokens.


def temperature(value: float) -> Processor:
    """Divide the scores by ``value``: below 1 likely tokens become more likely, above 1 less likely."""
    return lambda ids, scores: scores / value


def top_k(count: int, keep: int = 1) -> Processor:
    """Leave the ``count`` best tokens, and tokens whose score equals the last of them."""
    return lambda ids, scores: scores.masked_fill(_below_best(scores, max(count, keep)), FORBIDDEN)


def top_p(mass: float, keep: int = 1) -> Processor:
    """Leave the smallest set of best tokens whose probabilities sum to ``mass`` (nucleus sampling, Holtzman et al., 2020)."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        ordered, order = scores.sort(dim=-1)
        cut = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - mass
        cut[..., -keep:] = False
        return scores.masked_fill(_unsorted(cut, order), FORBIDDEN)

    return process


def min_p(share: float, keep: int = 1) -> Processor:
    """Leave the tokens that are at least ``share`` times as likely as the best (Nguyen et al., 2024)."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        probabilities = scores.softmax(dim=-1)
        cut = probabilities < share * probabilities.amax(dim=-1, keepdim=True)
        best = probabilities.topk(min(keep, scores.shape[-1]), dim=-1).indices
        return scores.masked_fill(cut.scatter(-1, best, False), FORBIDDEN)

    return process


def typical(mass: float, keep: int = 1) -> Processor:
    """Leave the tokens whose information is closest to the entropy, up to a probability of ``mass`` (Meister et al., 2023)."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        logprobs = scores.log_softmax(dim=-1)
        entropy = -(logprobs * logprobs.exp()).nansum(dim=-1, keepdim=True)  # -inf times 0 counts as 0
        distances, order = (-logprobs - entropy).abs().sort(dim=-1)
        sums = scores.gather(-1, order).softmax(dim=-1).cumsum(dim=-1)
        last = (sums < mass).sum(dim=-1, keepdim=True).clamp(max=scores.shape[-1] - 1)
        cut = distances > distances.gather(-1, last)
        cut[..., :keep] = False
        return scores.masked_fill(_unsorted(cut, order), FORBIDDEN)

    return process


def epsilon(cutoff: float, keep: int = 1) -> Processor:
    """Leave the tokens with a probability of at least ``cutoff`` (Hewitt et al., 2022)."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        return scores.masked_fill((scores.softmax(dim=-1) < cutoff) & _below_best(scores, keep), FORBIDDEN)

    return process


def eta(cutoff: float, keep: int = 1) -> Processor:
    """Like ``epsilon``, with the threshold min(cutoff, sqrt(cutoff) * exp(-entropy)), which falls as the entropy grows."""

    def process(ids: Tensor, scores: Tensor) -> Tensor:
        logprobs = scores.log_softmax(dim=-1)
        entropy = -(logprobs * logprobs.exp()).nansum(dim=-1, keepdim=True)
        threshold = (cutoff**0.5 * (-entropy).exp()).clamp(max=cutoff)
        return scores.masked_fill((scores.softmax(dim=-1) < threshold) & _below_best(scores, keep), FORBIDDEN)

    return process


def _below_best(scores: Tensor, count: int) -> Tensor:
    """(R, V) bool: the scores below the ``count``-th best of their row."""
    return scores < scores.topk(min(count, scores.shape[-1]), dim=-1).values[..., -1:]


def _unsorted(mask: Tensor, order: Tensor) -> Tensor:
    """(R, V) mask of sorted scores -> (R, V) mask of the scores. order: the index of each sorted score before sorting."""
    return torch.zeros_like(mask).scatter(-1, order, mask)


def _allow_only(tokens: Sequence[int], scores: Tensor) -> Tensor:
    row = torch.full_like(scores[:1], FORBIDDEN)
    row[:, list(tokens)] = 0
    return row.expand_as(scores).clone()


def _on_device(tensor: Tensor) -> Callable[[torch.device], Tensor]:
    """A function that returns ``tensor`` on a device. The copies are cached, because it is called in every step."""
    return cache(tensor.to)
