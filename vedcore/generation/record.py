"""The outputs of ``generate`` besides the text: scores, attention probabilities and hidden states of each step.

Rows that end leave the batch, so each step has the rows that were running; the places of the others hold zeros.
Shapes: R rows of the whole output (B images times n beams), P ids of the longest prompt, T ids so far, V vocabulary size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vedcore.contract.types import Recorder as TraceRecorder
from vedcore.generation.strategy import Hypotheses

Layers = tuple[Tensor, ...]


class StepRecorder:
    """Keeps the fields of GenerationOutput that are requested. It is the ``Recorder`` of a session."""

    def __init__(
        self, rows: int, prompt_length: int, *, scores: bool, logits: bool, attentions: bool, hidden_states: bool
    ) -> None:
        """rows: R. prompt_length: P; a shorter prompt has zeros before it."""
        self._rows, self._prompt_length = rows, prompt_length
        self._kinds = (*(("self", "cross") if attentions else ()), *(("hidden",) if hidden_states else ()))
        self._wants_scores, self._wants_logits = scores, logits
        self._steps: list[dict[str, list[Tensor]]] = []  # for each step, the tensors of the whole output by kind
        self._trace: TraceRecorder | None = None

    def begin(self) -> TraceRecorder | None:
        """Start the record of a step; returns the trace for the decoder, None if it need not be observed."""
        self._steps.append({})
        self._trace = TraceRecorder(*self._kinds) if self._kinds else None
        return self._trace

    def observe(self, fed: slice, places: Tensor, ids: Tensor, scores: Tensor, processed: Tensor) -> None:
        """Record (R',) places: ids (R', T), scores (R', V) before and after the processors, and the trace of ``fed``."""
        new = len(self._steps) - 1
        if self._wants_scores:
            self._put("scores", [processed], places)
            self._put("tokens", [ids[:, ids.shape[1] - new :]], places)
        if self._wants_logits:
            self._put("logits", [scores], places)
        for kind in self._kinds:
            seen = (self._trace.all(kind) if self._trace is not None else None) or ()
            padding = self._prompt_length + new - ids.shape[1]
            self._put(kind, [self._padded(kind, layer[fed], len(ids), padding) for layer in seen], places)

    def _put(self, kind: str, parts: list[Tensor], places: Tensor) -> None:
        """Put tensors (R', ...) into the places of the whole output."""
        if kind not in self._steps[-1]:
            self._steps[-1][kind] = [part.new_zeros(self._rows, *part.shape[1:]) for part in parts]
        for whole, part in zip(self._steps[-1][kind], parts, strict=True):
            whole.index_copy_(0, places, part)

    def _padded(self, kind: str, seen: Tensor, rows: int, padding: int) -> Tensor:
        """What the decoder computed for some rows, with zeros for the ``padding`` before shorter prompts."""
        seen = seen.repeat_interleave(rows // len(seen), dim=0)  # in the first step the beams of an image are one row
        width = self._prompt_length + len(self._steps) - 1
        queries = 1 if kind == "hidden" else 2
        if kind == "self":
            seen = _shifted(seen, 3, padding, width)
        if len(self._steps) == 1 or seen.shape[queries] > 1:  # later steps have one query, or all without a cache
            seen = _shifted(seen, queries, padding, width)
        return seen

    def outputs(self) -> dict[str, Any]:
        """The requested fields of GenerationOutput."""
        return {
            "scores": tuple(step["scores"][0] for step in self._steps) if self._wants_scores else None,
            "logits": tuple(step["logits"][0] for step in self._steps) if self._wants_logits else None,
            "decoder_attentions": self._of("self"),
            "cross_attentions": self._of("cross"),
            "decoder_hidden_states": self._of("hidden"),
        }

    def _of(self, kind: str) -> tuple[Layers, ...] | None:
        return tuple(tuple(step[kind]) for step in self._steps) if kind in self._kinds else None

    def beam_indices(self, found: Hypotheses, images: int) -> Tensor:
        """(rows of ``found``, N): the row of ``scores`` that each token was chosen in, -1 after the end of a row.

        A hypothesis went through the beam that held the same tokens.
        """
        indices = torch.full_like(found.tokens, -1)
        image = torch.arange(len(indices), device=indices.device) // (len(indices) // images)
        beams = self._rows // images
        for number, step in enumerate(self._steps[: indices.shape[1]]):
            running = step["tokens"][0].view(images, beams, number)[image]
            same = (running == found.tokens[:, None, :number]).all(dim=2)
            indices[:, number] = image * beams + same.long().argmax(dim=1)
        places = torch.arange(indices.shape[1], device=indices.device)
        return indices.masked_fill(places >= found.counts[:, None], -1)


def _shifted(tensor: Tensor, dim: int, by: int, size: int) -> Tensor:
    """``tensor`` moved ``by`` places along ``dim``, with ``size`` places in all; zeros elsewhere."""
    if not by and tensor.shape[dim] == size:
        return tensor
    width = min(tensor.shape[dim], size - by)
    moved = tensor.new_zeros([*tensor.shape[:dim], size, *tensor.shape[dim + 1 :]])
    moved.narrow(dim, by, width).copy_(tensor.narrow(dim, 0, width))
    return moved
