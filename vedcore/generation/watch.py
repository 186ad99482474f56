"""What a caller of ``generate`` may want to see: scores, attention maps and hidden states, step by step.

Rows that end leave the batch, so what is seen of a step belongs to the rows that were there; the places of the others hold
zeros. Shapes: R rows of the whole batch (B images times n beams), P ids of the prompt, T ids so far, L, D, H, V as elsewhere.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vedcore.contract.types import Recorder
from vedcore.generation.engine import Hypotheses
from vedcore.generation.rules import UNSEEN

Layers = tuple[Tensor, ...]


class Record:
    """Keeps what the fields of GenerationOutput ask for; ``trace`` and a call for each step are the engine's side."""

    def __init__(
        self, rows: int, prompt_length: int, *, scores: bool, logits: bool, attentions: bool, hidden_states: bool
    ) -> None:
        """rows: R. prompt_length: P, with what is UNSEEN."""
        self._rows, self._prompt_length = rows, prompt_length
        self._kinds = (*(("self", "cross") if attentions else ()), *(("hidden",) if hidden_states else ()))
        self._wants_scores, self._wants_logits = scores, logits
        self._scores: list[Tensor] = []
        self._logits: list[Tensor] = []
        self._layers: dict[str, list[Layers]] = {kind: [] for kind in self._kinds}
        self._beams: list[Tensor] = []
        self._trace: Recorder | None = None

    @property
    def trace(self) -> Recorder | None:
        """A new recorder for the step that comes next; None where nothing of the decoder's inside is wanted."""
        self._trace = Recorder(*self._kinds) if self._kinds else None
        return self._trace

    def __call__(self, rows: Tensor, ids: Tensor, scores: Tensor, processed: Tensor) -> None:
        """One step: (R',) places in the whole batch, (R', T) ids, (R', V) scores as they are and processed."""
        if self._wants_scores:
            self._scores.append(self._whole(processed, rows))
            self._beams.append(self._whole(ids, rows))
        if self._wants_logits:
            self._logits.append(self._whole(scores, rows))
        if self._trace is not None:
            for kind, steps in self._layers.items():
                seen = self._trace.all(kind) or ()
                steps.append(tuple(self._whole(self._padded(kind, layer, ids), rows) for layer in seen))

    def _whole(self, part: Tensor, rows: Tensor) -> Tensor:
        """(R', ...) of some rows -> (R, ...), zeros for the others."""
        return part.new_zeros(self._rows, *part.shape[1:]).index_copy(0, rows, part)

    def _padded(self, kind: str, seen: Tensor, ids: Tensor) -> Tensor:
        """What a decoder saw of a step, a row for each of (R', T) ids and their padding put back in front."""
        seen = seen.repeat_interleave(
            len(ids) // len(seen), dim=0
        )  # in the first step the beams of an image are one row
        unseen = (ids == UNSEEN).sum(dim=1)
        if not bool(unseen.any()):
            return seen
        if ids.shape[1] == self._prompt_length:
            seen = _shifted(seen, 1 if kind == "hidden" else 2, unseen, ids.shape[1])
        return _shifted(seen, 3, unseen, ids.shape[1]) if kind == "self" else seen

    def outputs(self) -> dict[str, Any]:
        """The fields of GenerationOutput that were asked for."""
        return {
            "scores": tuple(self._scores) if self._wants_scores else None,
            "logits": tuple(self._logits) if self._wants_logits else None,
            "decoder_attentions": self._of("self"),
            "cross_attentions": self._of("cross"),
            "decoder_hidden_states": self._of("hidden"),
        }

    def _of(self, kind: str) -> tuple[Layers, ...] | None:
        return tuple(self._layers[kind]) if kind in self._layers else None

    def beam_indices(self, found: Hypotheses, images: int) -> Tensor:
        """(rows of ``found``, new tokens): the row of ``scores`` that each token was chosen in, -1 behind a row's end.

        A hypothesis went through the beam that held the same ids.
        """
        new = found.ids[:, self._prompt_length :]
        indices = torch.full_like(new, -1)
        image = torch.arange(len(new), device=new.device) // (len(new) // images)
        beams = self._rows // images
        for step, ids in enumerate(self._beams[: new.shape[1]]):
            running = ids[:, self._prompt_length :].view(images, beams, step)[image]
            indices[:, step] = image * beams + (running == new[:, None, :step]).all(dim=2).long().argmax(dim=1)
        places = torch.arange(self._prompt_length, found.ids.shape[1], device=new.device)
        return indices.masked_fill(places >= found.lengths[:, None], -1)


def _shifted(tensor: Tensor, dim: int, by: Tensor, size: int) -> Tensor:
    """(R, ...) with each row moved ``by`` (R,) places along ``dim``, which gets ``size``; zeros come in."""
    shape = [1] * tensor.dim()
    shape[0], shape[dim] = len(tensor), size
    source = (torch.arange(size, device=tensor.device) - by[:, None]).view(shape)
    target = [*tensor.shape[:dim], size, *tensor.shape[dim + 1 :]]
    return tensor.gather(dim, source.clamp(min=0).expand(target)).masked_fill(source < 0, 0)
