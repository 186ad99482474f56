"""The loop over a decoder's steps: from ids to the scores of the next token, over a cache that the loop makes.

``TorchLoop`` runs the decoder's own modules. Another loop may compute the same in another way.
Shapes: R rows, T new tokens, V vocabulary size.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from vedcore.contract.protocols import Decoder
from vedcore.contract.types import RowCache, Step
from vedcore.generation.cache import SelfCache

FIRST_CAPACITY = 64
"""The cache slots that a session allocates before the first token: more than most texts need, and little memory."""


class Loop(Protocol):
    """Advances rows of text by the tokens that it is given."""

    @property
    def device(self) -> torch.device:
        """Where ids and scores are."""

    def new_cache(self, rows: int, capacity: int) -> RowCache:
        """An empty cache for ``rows`` rows with room for ``capacity`` tokens each."""

    def advance(self, ids: Tensor, step: Step, last: Tensor | None = None) -> Tensor:
        """Feed (R, T) ids into ``step.slots`` -> (R, V) float32 scores of the token after each row's last one.

        last: (R,) the index of each row's last token, if it is not T - 1. The tokens after it are padding.
        """


class TorchLoop:
    """The loop that calls the decoder, and its head on each row's last token alone."""

    def __init__(self, decoder: Decoder) -> None:
        weight: Tensor = next(decoder.token_embedding.parameters())
        self._decoder, self._dtype, self.device = decoder, weight.dtype, weight.device

    def new_cache(self, rows: int, capacity: int) -> SelfCache:
        """An empty cache for ``rows`` rows with room for ``capacity`` tokens each."""
        return SelfCache(self._decoder.sizes.layers, rows, capacity, dtype=self._dtype, device=self.device)

    def advance(self, ids: Tensor, step: Step, last: Tensor | None = None) -> Tensor:
        """Feed (R, T) ids into ``step.slots`` -> (R, V) float32 scores of the token after each row's last one."""
        hidden: Tensor = self._decoder(ids, step)
        if step.trace is not None:
            step.trace("hidden", len(self._decoder.sizes.layers), hidden)
        at_last = hidden[:, -1] if last is None else hidden[torch.arange(ids.shape[0], device=ids.device), last]
        scores: Tensor = self._decoder.lm_head(at_last)
        return scores.float()
