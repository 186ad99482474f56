"""A model whose weights can be frozen, checkpointed and given another vocabulary, and that knows which are untrained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vedcore.errors import ConfigError
from vedcore.generation import GenerationConfig
from vedcore.model.core import EncoderDecoder
from vedcore.model.files import sections_of
from vedcore.model.groups import set_trainable
from vedcore.model.new_characters import add_rows
from vedcore.model.untrained import FirstValues
from vedcore.model.vocabulary import NewVocabulary, Replacement, replace_tokenizer, resize
from vedcore.nn import Blocks
from vedcore.storage.sections import Section

if TYPE_CHECKING:
    from vedcore.model.config import VisionEncoderDecoderConfig
    from vedcore.text import Tokenizer


class EditableModel(EncoderDecoder):
    """The core with a config, and the methods that change its weights. They discard what ``prepare`` has built."""

    config: VisionEncoderDecoderConfig

    def __init__(self, encoder: Any, decoder: Any, bridge: nn.Module) -> None:
        super().__init__(encoder, decoder, bridge)
        self.generation_config = GenerationConfig()
        self._first_values = FirstValues()

    def sections(self) -> list[Section]:
        """The sections of a checkpoint of this model."""
        return sections_of(self)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return next(self.parameters()).dtype

    @property
    def untrained(self) -> list[str]:
        """The names of the parameters that started random when the model was composed and still hold these values.

        A pooler, on which no text depends, is not among them.
        """
        unread = {id(p) for section in self.sections() for p in section.optional_parameters()}
        return self._first_values.unchanged({name: p for name, p in self.named_parameters() if id(p) not in unread})

    def _mark_untrained(self, known: set[int]) -> None:
        """All parameters but those with these ids are random: list them in ``untrained`` until training changes them."""
        self._first_values = FirstValues()
        self._first_values.add({name: p for name, p in self.named_parameters() if id(p) not in known and not p.is_meta})

    def freeze(self, *patterns: str) -> list[str]:
        """Exclude the matching parameters from training: ``freeze("encoder")``, ``freeze("decoder.blocks.*.attention*")``.

        Patterns are those of ``vedcore.model.groups``; returns the names that they match. Dropout stays as ``train()`` and
        ``eval()`` set it. Raises ConfigError for a pattern without a match, with the names that are near.
        """
        self.discard_prepared()
        return set_trainable(self, patterns, False)

    def unfreeze(self, *patterns: str) -> list[str]:
        """Train the matching parameters again; all of them without a pattern."""
        self.discard_prepared()
        return set_trainable(self, patterns or ("*",), True)

    def resize_token_embeddings(self, new_num_tokens: int, *, seed: int | torch.Generator | None = None) -> nn.Module:
        """Give the decoder ``new_num_tokens`` tokens, in its config too; returns the embedding. Tied tensors stay tied.

        The first tokens keep their vectors; new ones are initialised randomly from ``seed``. The tensors are new: create the
        optimiser afterwards. Raises ConfigError if an id of ``config`` would be beyond the end.
        """
        untrained = self.untrained
        self._take(resize(self.decoder, self.config, new_num_tokens, seed), untrained)
        embedding: nn.Module = self.decoder.token_embedding
        return embedding

    def replace_tokenizer(
        self, old: Tokenizer, new: Tokenizer, *, seed: int | torch.Generator | None = None
    ) -> Replacement:
        """Give the decoder the vocabulary of ``new``. The vectors of pieces that ``old`` has too are kept.

        Special tokens are matched by their role (padding, begin or class, end or separator, unknown, mask), others by their
        text; the biases of the head follow. Pieces that only ``new`` has are initialised randomly from ``seed``. The ids in
        ``config``, the decoder's config and ``generation_config`` become those of ``new``; positions and ties stay. The
        tensors are new: create the optimiser afterwards. Returns how many pieces were kept, new and dropped.
        Raises ConfigError, with the model as it was, if ``old`` is not the decoder's tokenizer, an id has no counterpart in
        ``new``, or the decoder counts positions from a padding id that is another one in ``new`` (RoBERTa).
        """
        untrained = self.untrained
        changed = replace_tokenizer(self.decoder, self.config, self.generation_config, old, new, seed)
        self._take(changed.vocabulary, untrained)
        for name, value in changed.ids.items():
            setattr(self.config, name, value)
        self.generation_config = changed.generation_config
        return changed.replacement

    def add_characters(
        self, tokenizer: Tokenizer, characters: str, *, seed: int | torch.Generator | None = None
    ) -> Tokenizer:
        """Extend the vocabulary by those of ``characters`` that ``tokenizer`` cannot write; returns the extended tokenizer.

        Texts without them keep their ids. The vectors of a new character, and its bias in the head, start near those of a
        similar one (ä from a), or as the mean of all, with a little noise from ``seed``. Ties stay. The tensors are new:
        create the optimiser afterwards. Raises ConfigError or TokenizerError, with the model as it was, if a character cannot
        be added or ``tokenizer`` is not the decoder's.
        """
        extended = tokenizer.with_characters(characters)
        if extended is not tokenizer:
            untrained = self.untrained
            self._take(add_rows(self.decoder, self.config, tokenizer, extended, seed), untrained)
        return extended

    def _take(self, vocabulary: NewVocabulary, untrained: Sequence[str]) -> None:
        """Record a decoder's new vocabulary. untrained: the names that were in ``untrained`` before."""
        self.discard_prepared()
        self.config.decoder = vocabulary.config
        self.decoder.config = self.config.decoder  # type: ignore[attr-defined]
        parameters = {f"decoder.{name}": parameter for name, parameter in vocabulary.parameters.items()}
        self._first_values.add({n: p for n, p in parameters.items() if vocabulary.is_new or n in untrained})

    def gradient_checkpointing_enable(self) -> None:
        """Keep only the input of each block for the gradient and compute the rest again: less memory, one forward pass more.

        Applies to each part that runs its blocks in ``vedcore.nn.Blocks``; raises ConfigError if none does. Values, gradients
        and random draws stay the same.
        """
        self._set_checkpointing(True)

    def gradient_checkpointing_disable(self) -> None:
        """Keep everything that the gradient needs."""
        self._set_checkpointing(False)

    def _set_checkpointing(self, checkpointing: bool) -> None:
        loops = [module for module in self.modules() if isinstance(module, Blocks)]
        if not loops:
            raise ConfigError(
                f"neither {type(self.encoder).__name__} nor {type(self.decoder).__name__} runs its blocks in "
                "vedcore.nn.Blocks, which checkpoints gradients"
            )
        self.discard_prepared()
        for loop in loops:
            loop.checkpointing = checkpointing
