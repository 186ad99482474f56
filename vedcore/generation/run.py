"""``generate`` and ``stream``: a request carried out at once or token by token.

Shapes: B images, R rows (B times the texts per image), P ids of the prompt, T ids with the prompt, N new tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from vedcore.contract.types import Output
from vedcore.errors import ConfigError
from vedcore.generation.config import OUTPUT_FIELDS
from vedcore.generation.record import StepRecorder
from vedcore.generation.request import Request
from vedcore.generation.strategy import Hypotheses, StreamedTokens

Steps = tuple[tuple[Tensor, ...], ...]


@dataclass(frozen=True, slots=True)
class GenerationOutput(Output):
    """The texts of the images, and how they came about.

    sequences: (R, T) ids, the prompt first, padded after each row's end. sequences_scores: (R,) of a beam search, else None.
    token_logprobs: (R, N) log-probability of each new token under the unprocessed scores, 0 after a row's end.
    lengths: (R,) the ids of each row without that padding. stop_reasons: for each row "eos", "length", "stopped" (by a
    stopping criterion), or "none" if a beam search found fewer texts than requested because too few tokens were allowed.

    The other fields are None unless they are requested. All but the encoder's have one element per step, with R rows (B times
    num_beams in a beam search), zeros where a row has ended. scores: (R, V) processed. logits: (R, V) unprocessed.
    beam_indices: (R, N) the row of ``scores`` that each token was chosen in, -1 after a row's end. decoder_attentions: (R, H,
    Q, T), cross_attentions: (R, H, Q, S), decoder_hidden_states: (R, Q, D), a tuple of layers each; Q is P in the first step,
    then 1, or T without a cache.
    encoder_attentions, encoder_hidden_states: a tensor per layer with B rows, as ``forward`` returns them.
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
        """(R,): exp(mean log-probability of a row's new tokens, the end token included); 0 for a row without new tokens."""
        count = self.lengths - (self.sequences.shape[1] - self.token_logprobs.shape[1])
        return (self.token_logprobs.sum(dim=1) / count).exp().masked_fill(count == 0, 0.0)


def generate(request: Request) -> GenerationOutput:
    """Carry the request out. All tensors of the output are ordinary tensors, which may be changed and trained on."""
    with torch.inference_mode():
        output = _generate(request)
    values = {field.name: _ordinary(getattr(output, field.name)) for field in fields(output)}
    return GenerationOutput(**values)


def _ordinary(value: Any) -> Any:
    """The value with tensors that were made in inference mode replaced by ordinary ones."""
    if isinstance(value, tuple):
        return tuple(_ordinary(item) for item in value)
    return value.clone() if isinstance(value, Tensor) and value.is_inference() else value


def _generate(request: Request) -> GenerationOutput:
    settings, given, returned = request.settings, request.given, request.returned
    images, width = given.shape
    wanted = {name: bool(getattr(settings, name)) and bool(settings.return_dict_in_generate) for name in OUTPUT_FIELDS}
    recorder = None
    if any(wanted.values()):
        recorder = StepRecorder(
            images * max(request.beams, returned),
            width,
            scores=wanted["output_scores"],
            logits=wanted["output_logits"],
            attentions=wanted["output_attentions"],
            hidden_states=wanted["output_hidden_states"],
        )
    strategies = list(request.strategies())
    session = request.session(strategies, recorder)
    while session.running:
        session.step()
    found = _together(request, [strategy.result(request.pad) for strategy in strategies])
    outputs = {} if recorder is None else recorder.outputs()
    if request.encoder_trace is not None:
        outputs["encoder_hidden_states"] = request.encoder_trace.all("hidden")
        outputs["encoder_attentions"] = request.encoder_trace.all("self")
    if recorder is not None and request.beams > 1 and wanted["output_scores"]:
        outputs["beam_indices"] = recorder.beam_indices(found, images)
    counts, tokens = found.counts.tolist(), found.tokens.tolist()
    rules = {image: group.rules for group in request.groups for image in group.images}
    reasons = tuple(
        rules[row // returned].reason(tokens[row][count - 1] if count else -1, count)
        for row, count in enumerate(counts)
    )
    sequences = torch.cat([given.repeat_interleave(returned, dim=0), found.tokens], dim=1)
    return GenerationOutput(sequences, found.scores, found.logprobs, found.counts + width, reasons, **outputs)


def _together(request: Request, results: list[Hypotheses]) -> Hypotheses:
    """The texts of all groups in the order of their images."""
    if len(results) == 1:
        return results[0]
    longest = max(result.tokens.shape[1] for result in results)

    def padded(tensors: list[Tensor], value: float) -> Tensor:
        fill = [torch.nn.functional.pad(tensor, (0, longest - tensor.shape[1]), value=value) for tensor in tensors]
        return torch.cat(fill)[order]

    texts = range(request.returned)
    rows = [image * request.returned + text for group in request.groups for image in group.images for text in texts]
    order = torch.tensor(rows, device=request.given.device).argsort()
    scores = [result.scores for result in results if result.scores is not None]
    return Hypotheses(
        padded([result.tokens for result in results], request.pad),
        padded([result.logprobs for result in results], 0.0),
        torch.cat([result.counts for result in results])[order],
        torch.cat(scores)[order] if scores else None,
    )


def stream(request: Request) -> Iterator[StreamedTokens]:
    """The tokens that ``generate`` would return, as they are chosen.

    A beam search yields, for each image, the tokens on which all hypotheses agree that can still become its best one.
    Raises ConfigError if several texts of a beam search are requested.
    """
    if request.beams > 1 and request.returned > 1:
        raise ConfigError(
            f"num_return_sequences is {request.returned}, but a beam search can only stream the best text of an image; "
            "leave it out, or call generate",
            field="num_return_sequences",
            expected=1,
            found=request.returned,
        )
    return _stream(request)


def _stream(request: Request) -> Iterator[StreamedTokens]:
    with torch.inference_mode():
        session = request.session(list(request.strategies()))
    while session.running:
        running = list(session.strategies)
        with torch.inference_mode():
            session.step()
            new = [event for strategy in running for event in strategy.events()]
        yield from new  # outside of inference mode, which the caller did not choose
