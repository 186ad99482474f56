"""``generate`` and ``stream``: a task done at once or bit by bit, and the outcome put into words.

Shapes: B images, R rows (B times what is returned an image), P ids of the prompt, T ids with the prompt, N new tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vedcore.contract.types import Output
from vedcore.errors import ConfigError
from vedcore.generation.config import OUTPUTS
from vedcore.generation.engine import collect, decode, last
from vedcore.generation.task import Task
from vedcore.generation.watch import Record

Steps = tuple[tuple[Tensor, ...], ...]


@dataclass(frozen=True, slots=True)
class GenerationOutput(Output):
    """What decoding made of the images.

    sequences: (R, T) ids, the prompt first, padded behind each row's end. sequences_scores: (R,) of a beam search, else None.
    token_logprobs: (R, N) log-probability of each new token under the unprocessed scores, 0 behind a row's end.
    lengths: (R,) ids of each row without that padding. stop_reasons: for each row "eos", "length", "stopped" by a criterion
    of the caller, or "none" where a beam search found fewer texts than asked for, since too few tokens were allowed.

    What was asked for, else None; all but the encoder's have an element a step, of R rows, B times num_beams in a beam
    search, zeros where a row has ended. scores: (R, V) processed. logits: (R, V) unprocessed. beam_indices: (R, N) the row
    of ``scores`` that each token was chosen in, -1 behind a row's end. decoder_attentions: (R, H, P or 1, T),
    cross_attentions: (R, H, P or 1, S), decoder_hidden_states: (R, P or 1, D), a tuple of layers each.
    encoder_attentions, encoder_hidden_states: a tensor a layer, of B rows, as ``forward`` returns them.
    """

    sequences: Tensor
    sequences_scores: Tensor | None
    token_logprobs: Tensor
    lengths: Tensor
    stop_reasons: tuple[str, ...]
    scores: tuple[Tensor, ...] | None = None
    logits: tuple[Tensor, ...] | None = None
    beam_indices: Tensor | None = None
    decoder_attentions: Steps | None = None
    cross_attentions: Steps | None = None
    decoder_hidden_states: Steps | None = None
    encoder_attentions: tuple[Tensor, ...] | None = None
    encoder_hidden_states: tuple[Tensor, ...] | None = None

    @property
    def confidences(self) -> Tensor:
        """(R,): the exponential of the mean log-probability of a row's new tokens, its end token included; 0 of none."""
        count = self.lengths - (self.sequences.shape[1] - self.token_logprobs.shape[1])
        return (self.token_logprobs.sum(dim=1) / count).exp().masked_fill(count == 0, 0.0)


@dataclass(frozen=True, slots=True)
class StreamedTokens:
    """What is new of one row: its tokens behind the prompt and what came before, and their log-probabilities.

    stop_reason: None while the row goes on, else why these are its last. Of a beam search the last may be none: what was
    told turns out to be all.
    """

    row: int
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop_reason: str | None


@torch.inference_mode()
def generate(task: Task) -> GenerationOutput:
    """Write it to the end, and keep on the way what the settings ask to see."""
    settings, width = task.settings, task.prompt.shape[1]
    wanted = {name: bool(getattr(settings, name)) and bool(settings.return_dict_in_generate) for name in OUTPUTS}
    record = None
    if any(wanted.values()):
        record = Record(
            len(task.given) * max(task.beams, task.returned),
            width,
            scores=wanted["output_scores"],
            logits=wanted["output_logits"],
            attentions=wanted["output_attentions"],
            hidden_states=wanted["output_hidden_states"],
        )
    prompt = task.prompt.repeat_interleave(task.returned, dim=0)
    if task.beams > 1:
        found = last(task.search(record))
    else:
        found = collect(decode(task.decoder, task.memory, prompt, task.rules, task.choose, record), prompt, task.pad)
    outputs = {} if record is None else record.outputs()
    if record is not None and task.beams > 1 and wanted["output_scores"]:
        outputs["beam_indices"] = record.beam_indices(found, len(task.given))
    rooms = task.rooms(prompt)
    counts = (found.lengths - width).tolist()
    ends = found.ids.gather(1, found.lengths[:, None] - 1)[:, 0].tolist()
    reasons = tuple(task.reason(*row) for row in zip(ends, counts, rooms, strict=True))
    sequences = torch.cat([task.given.repeat_interleave(task.returned, dim=0), found.ids[:, width:]], dim=1)
    return GenerationOutput(sequences, found.scores, found.logprobs, found.lengths, reasons, **outputs)


def stream(task: Task) -> Iterator[StreamedTokens]:
    """What ``generate`` writes, as it comes; ConfigError where several texts of a beam search are asked for.

    A beam search yields, of each image, the tokens that all that can still become its best hypothesis agree on.
    """
    if task.beams > 1 and task.returned > 1:
        raise ConfigError(
            f"num_return_sequences is {task.returned}, but a beam search can only stream the best text of an image; "
            "leave it out, or call generate"
        )
    return _stream_beams(task) if task.beams > 1 else _stream_rows(task)


def _stream_rows(task: Task) -> Iterator[StreamedTokens]:
    prompt = task.prompt.repeat_interleave(task.returned, dim=0)
    rooms = task.rooms(prompt)
    for count, step in enumerate(decode(task.decoder, task.memory, prompt, task.rules, task.choose), 1):
        for row, token, logprob, ended in zip(step.rows, step.tokens, step.logprobs, step.ended, strict=True):
            reason = task.reason(token, count, rooms[row]) if ended else None
            yield StreamedTokens(row, (token,), (logprob,), reason)


def _stream_beams(task: Task) -> Iterator[StreamedTokens]:
    width, rooms = task.prompt.shape[1], task.rooms(task.prompt)
    told = [0] * len(rooms)
    for standing in task.search():
        done, agreed = standing.done.tolist(), standing.agreed().tolist()
        for place, image in enumerate(standing.images.tolist()):
            if done[place]:
                best_ids, best_logprobs = standing.finished.ids[place, 0], standing.finished.logprobs[place, 0]
                count = int(standing.finished.lengths[place, 0]) - width
            else:
                best_ids, best_logprobs = standing.running.ids[place, 0], standing.running.logprobs[place, 0]
                count = agreed[place] - width
            if count <= told[image] and not done[place]:
                continue
            tokens = best_ids[width + told[image] : width + count].tolist()
            logprobs = best_logprobs[told[image] : count].tolist()
            told[image] = count
            reason = task.reason(int(best_ids[width + count - 1]), count, rooms[image]) if done[place] else None
            yield StreamedTokens(image, tuple(tokens), tuple(logprobs), reason)
