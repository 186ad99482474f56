"""New characters in a decoder's vocabulary, with rows that start from those of similar characters.

The tensors of the vocabulary are those whose shapes depend on its size: embedding, head, bias of the head.
Shapes: V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from vedcore.errors import ConfigError
from vedcore.model.seeding import seeded
from vedcore.model.vocabulary import NewVocabulary, resize

if TYPE_CHECKING:
    from vedcore.text import Tokenizer

_LIKENESS = 0.9
"""Of the way from the mean row to that of the similar character. With a whole copy both get the same scores, and the reader
writes the new character for the old one: ten times as many errors on old text. At 0.9 its readings stay as they were."""

_NOISE = 0.05
"""Of the deviation of the old rows: several characters that start from one row get different gradients."""


def similar_ids(old: Tokenizer, new: Tokenizer) -> dict[int, Sequence[int]]:
    """The ids that only ``new`` has, each with the ids of ``old`` whose rows it starts from; none if nothing is similar."""
    from vedcore.text import base_of  # not needed to load a model

    vocabulary = old.get_vocab()
    similar: dict[int, Sequence[int]] = {}
    for piece, token in sorted(new.get_vocab().items(), key=lambda item: item[1]):  # the noise follows the order
        if piece not in vocabulary:
            bases = {piece.replace(c, base) for c in piece if (base := base_of(c)) is not None}
            similar[token] = [vocabulary[base] for base in sorted(bases) if base in vocabulary]
    return similar


def add_rows(
    decoder: Any, config: Any, old: Tokenizer, new: Tokenizer, seed: int | torch.Generator | None
) -> NewVocabulary:
    """Give the decoder of the tokenizer ``old`` rows for the ids that only ``new`` has.

    config: the model's config, with its token ids. Raises ConfigError, before anything changes, if ``old`` is not the
    decoder's tokenizer, or if the vocabulary does not fit the memory or its size cannot change.
    """
    old_size, largest = decoder.sizes.vocab_size, max(old.get_vocab().values())
    if largest >= old_size:
        raise ConfigError(
            f"the tokenizer has ids up to {largest}, but the decoder's vocabulary has {old_size} tokens: it is not the "
            "decoder's tokenizer",
            field="tokenizer",
            expected=f"ids below {old_size}",
            found=largest,
        )
    similar = similar_ids(old, new)
    vocabulary = resize(decoder, config, max(old_size, *(token + 1 for token in similar)), seed)
    known = [token for token in range(old_size) if token not in similar]
    with torch.no_grad(), seeded(seed):
        for parameter in vocabulary.parameters.values():
            rows = parameter[known].float()  # (V, ...)
            mean = rows.mean(0)
            spread = _NOISE * rows.std() if parameter.dim() > 1 else 0.0
            for token, sources in similar.items():
                start = mean + _LIKENESS * (parameter[list(sources)].float().mean(0) - mean) if sources else mean
                parameter[token] = start + spread * torch.randn(rows.shape[1:]).to(rows.device)
    return vocabulary
