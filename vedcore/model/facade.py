"""VisionEncoderDecoderModel: an encoder, a bridge and a decoder as one model, in the checkpoint format of transformers.

The classes answer to the documentation of transformers' classes of the same names.
Shapes: B images, R rows, T tokens, S encoder states, D hidden size, V vocabulary size.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from vedcore.contract.types import EncoderOutput, Memory, Recorder
from vedcore.errors import ConfigError, InputError, foreign
from vedcore.generation import (
    OUTPUTS,
    GenerationConfig,
    PastKeyValues,
    Processor,
    StopRule,
    StreamedTokens,
    Task,
    generate,
    stream,
)
from vedcore.model.adapters import Inserted, join
from vedcore.model.checks import (
    check_decoder_dtype,
    check_tokens,
    decoder_input,
    kind_of,
    listed_functions,
    next_step,
    past_of,
)
from vedcore.model.chunks import encode_in_pieces
from vedcore.model.compose import Asked, build, cast, give_cross, seeded, split
from vedcore.model.config import VisionEncoderDecoderConfig, ours_alone
from vedcore.model.groups import set_trainable
from vedcore.model.inputs import check_tensors
from vedcore.model.labels import LabelWarning, check_labels, label_problems, shift_right
from vedcore.model.loss import token_loss
from vedcore.model.output import VisionEncoderDecoderOutput, encoder_output
from vedcore.model.reference import reference_model
from vedcore.model.token_ids import ID_NAMES, settle
from vedcore.model.vocabulary import Replacement, replace_tokenizer, resize
from vedcore.nn import Blocks, Twin, initialize
from vedcore.nn.pruning import apply_pruning
from vedcore.part import without_storage
from vedcore.registry import registry
from vedcore.storage.files import staged, write_json
from vedcore.storage.hub import resolve
from vedcore.storage.keymap import KeyMap, Rule
from vedcore.storage.loading import check_dtype, load_sections
from vedcore.storage.own import OWN_FILE, checksums, is_unchanged, own_settings, stored_checksums
from vedcore.storage.saving import check_loadable, tensors_to_write
from vedcore.storage.sections import Section
from vedcore.storage.tensors import WEIGHT_FILES, write_tensors

if TYPE_CHECKING:
    from vedcore.text import Tokenizer


class UntrainedWarning(UserWarning):
    """Text is written with weights that still hold their first, random values."""


_BRIDGE = KeyMap(rules=(Rule("enc_to_dec_proj", "projection"),))


def _check_place(dtype: torch.dtype | None, device: torch.device | str | None) -> None:
    """ConfigError unless a model can be of ``dtype`` and on ``device`` here."""
    check_dtype(dtype)
    with foreign(ConfigError, f"device={device!r} cannot be used here; pass device='cpu', or leave it out"):
        torch.empty(0, device=device)


class VisionEncoderDecoderModel(nn.Module):
    """Images in, text out: any encoder and any decoder that a plugin supplies."""

    def __init__(
        self, config: VisionEncoderDecoderConfig | None = None, encoder: Any = None, decoder: Any = None
    ) -> None:
        """From a config (random weights), or from built parts. ConfigError if neither, or if they do not fit.

        Of two built parts what joins them is new, and in ``untrained``: a bridge, cross-attention for a decoder without any.
        """
        super().__init__()
        if config is None:
            if encoder is None or decoder is None:
                raise ConfigError("VisionEncoderDecoderModel needs a config, or an encoder and a decoder")
            config = VisionEncoderDecoderConfig(encoder=encoder.config, decoder=decoder.config)
        adapter = registry().adapter(config.adapter).adapter  # first: a built part is changed from here on
        self.config = config
        self.encoder = build(config.encoder, "encoder") if encoder is None else encoder
        self.decoder = build(config.decoder, "decoder") if decoder is None else decoder
        known = {id(parameter) for parameter in self.parameters()}
        give_cross(self.decoder, config.decoder)
        join(adapter, self.decoder)
        for part, own in ((self.encoder, config.encoder), (self.decoder, config.decoder)):
            part.config = own
            if hasattr(own, "pruned_heads"):
                apply_pruning(part)  # the layers of the adapter too
        self.bridge = adapter.bridge(self.encoder.hidden_size, self.decoder.memory_size)
        initialize(self.bridge, self.decoder.seam.initializer_range)
        weight = next(self.decoder.token_embedding.parameters())
        self.bridge.to(dtype=weight.dtype, device=weight.device)
        self.generation_config = GenerationConfig()
        self._twin = Twin()
        self._first_values: dict[str, dict[str, int]] = {}
        if encoder is not None and decoder is not None:
            self._started_from_chance(known)
        self._has_warned = False
        self._label_problems: set[str] = set()

    def _started_from_chance(self, known: set[int]) -> None:
        """All but the parameters of these ids: ``untrained`` is to name them until they have learned."""
        new = {name: parameter for name, parameter in self.named_parameters() if id(parameter) not in known}
        self._first_values = {name: checksums(parameter) for name, parameter in new.items()}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return next(self.parameters()).dtype

    @property
    def untrained(self) -> list[str]:
        """The names of the parameters that started random when the model was composed and still hold those values.

        A pooler, which no text depends on, is not among them.
        """
        unread = {id(p) for section in self.sections() for p in section.optional_parameters()}
        parameters = {name: parameter for name, parameter in self.named_parameters() if id(parameter) not in unread}
        first = self._first_values.items()
        return sorted(name for name, sums in first if name in parameters and is_unchanged(parameters[name], sums))

    def freeze(self, *patterns: str) -> list[str]:
        """Let no parameter that matches learn: ``freeze("encoder")``, ``freeze("decoder.blocks.*.attention*")``.

        A pattern is as in ``vedcore.parts``; returns the names of what it matched. Dropout stays as ``train()`` and
        ``eval()`` set it. ConfigError for a pattern that matches nothing, with the names that are near.
        """
        return set_trainable(self, patterns, False)

    def unfreeze(self, *patterns: str) -> list[str]:
        """Let the parameters that match learn again; without a pattern, all."""
        return set_trainable(self, patterns or ("*",), True)

    def resize_token_embeddings(self, new_num_tokens: int, *, seed: int | torch.Generator | None = None) -> nn.Module:
        """Give the decoder ``new_num_tokens`` tokens, in its config too; returns the embedding. What was tied stays tied.

        The first tokens keep their vectors; new ones start as the initializer makes them, from ``seed``. The tensors are new
        ones: make an optimiser afterwards. Raises ConfigError where an id of ``config`` would be beyond the end.
        """
        resize(self, new_num_tokens, seed)
        embedding: nn.Module = self.decoder.token_embedding
        return embedding

    def replace_tokenizer(
        self, old: Tokenizer, new: Tokenizer, *, seed: int | torch.Generator | None = None
    ) -> Replacement:
        """Give the decoder the vocabulary of ``new``; the vectors of pieces that ``old`` has too move over.

        Special tokens go by their role (padding, begin or class, end or separator, unknown, mask), others by their text;
        the head's biases go with them. Pieces of ``new`` alone start as the initializer makes them, from ``seed``. The ids
        of ``config``, of the decoder's config and of ``generation_config`` are those of ``new`` then; positions and ties
        stay. The tensors are new ones: make an optimiser afterwards. Returns how many pieces were kept, new and dropped.
        Raises ConfigError, with the model as it was: ``old`` is not the decoder's, an id has no counterpart in ``new``, or
        the decoder counts positions from a padding id that ``new`` has elsewhere (RoBERTa).
        """
        return replace_tokenizer(self, old, new, seed)

    def gradient_checkpointing_enable(self) -> None:
        """Keep the input of each block alone for the gradient, and compute the rest again: less memory, a forward pass more.

        Of each part that runs its blocks in ``vedcore.nn.Blocks``; ConfigError if none does. Values, gradients and random
        draws stay what they are.
        """
        self._set_checkpointing(True)

    def gradient_checkpointing_disable(self) -> None:
        """Keep all that the gradient needs."""
        self._set_checkpointing(False)

    def _set_checkpointing(self, checkpointing: bool) -> None:
        loops = [module for module in self.modules() if isinstance(module, Blocks)]
        if not loops:
            raise ConfigError(
                f"neither {type(self.encoder).__name__} nor {type(self.decoder).__name__} runs its blocks in "
                "vedcore.nn.Blocks, the loop that checkpoints gradients"
            )
        for loop in loops:
            loop.checkpointing = checkpointing

    def sections(self) -> list[Section]:
        """How the model stands in a checkpoint."""
        decoder, inserted = self.decoder, []
        without: tuple[str, ...] = ()
        if isinstance(decoder.cross, Inserted):
            inserted, without = [Section("cross_attention.", decoder.cross, KeyMap(rules=()))], ("cross",)
        return [
            *(replace(section, prefix=f"encoder.{section.prefix}") for section in self.encoder.sections()),
            *(replace(section, prefix=f"decoder.{section.prefix}", without=without) for section in decoder.sections()),
            *inserted,
            Section("", self.bridge, _BRIDGE),
        ]

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        config: VisionEncoderDecoderConfig | None = None,
        revision: str | None = None,
        allow_pickle: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Self:
        """The model of a folder or a hub id, in eval mode, its weights in the type in which they are stored.

        Every tensor that the config asks for is there with its shape, and no other, or CheckpointError names them all. All
        parameters are of one type in which torch computes; ``dtype`` brings them to one where they are not.
        Raises ConfigError for a ``dtype`` or a ``device`` that cannot be used, before anything is read.
        """
        _check_place(dtype, device)
        folder = resolve(name, revision=revision, allow_pickle=allow_pickle)
        config = VisionEncoderDecoderConfig.from_pretrained(folder) if config is None else config
        generation_config = GenerationConfig.from_pretrained(folder)
        # Sizes that no tensor can have are an error of torch's, and that no memory has are a shape that no file has.
        with foreign(ConfigError, f"{folder}: no {cls.__name__} can be built from config.json"), without_storage():
            model = cls(config)
        load_sections(model.sections(), folder, allow_pickle=allow_pickle, dtype=dtype)
        model.generation_config = model._settle_ids(generation_config)
        model._first_values = stored_checksums(folder)
        return model.to(device).eval() if device is not None else model.eval()

    @classmethod
    def from_encoder_decoder_pretrained(
        cls,
        encoder_pretrained_model_name_or_path: str | os.PathLike[str] | None = None,
        decoder_pretrained_model_name_or_path: str | os.PathLike[str] | None = None,
        *,
        encoder_model: Any = None,
        decoder_model: Any = None,
        encoder_config: Any = None,
        decoder_config: Any = None,
        encoder_revision: str | None = None,
        decoder_revision: str | None = None,
        adapter: str = "linear",
        seed: int | torch.Generator | None = None,
        allow_pickle: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        **config_fields: Any,
    ) -> Self:
        """A model in eval mode of two parts, each from a folder or a hub id, a built model, or a config (random weights).

        A folder holds a standalone checkpoint, of whatever class with whatever head, or a whole model, of which the part is
        taken. A config beside a folder stands for its config.json. ``encoder_x=``, ``decoder_x=`` set fields of the parts'
        configs, ``decoder_start_token_id=`` and the other ids those of the model, which else come from the decoder's
        folder. A built model becomes a part of this one and is changed with it: it is given cross-attention and ``dtype``.

        seed: what the new tensors follow from: cross-attention and head where the decoder has none, the bridge between
        unequal widths, all of a part that is built from a config. They are in ``untrained``. Without a seed one is drawn
        from torch's state.
        Raises TypeError (an unknown keyword), ConfigError (ids that contradict each other, parts that do not fit),
        CheckpointError, PluginNotFound.
        """
        encoder_fields, decoder_fields, ids = split(config_fields)
        _check_place(dtype, device)
        first = Asked(
            role="encoder",
            name=encoder_pretrained_model_name_or_path,
            revision=encoder_revision,
            model=encoder_model,
            config=encoder_config,
            fields=encoder_fields,
        )
        second = Asked(
            role="decoder",
            name=decoder_pretrained_model_name_or_path,
            revision=decoder_revision,
            model=decoder_model,
            config=decoder_config,
            fields=decoder_fields,
        )
        with seeded(seed):
            encoder = first.source(allow_pickle=allow_pickle, dtype=dtype)
            decoder = second.source(allow_pickle=allow_pickle, dtype=dtype)
            config = VisionEncoderDecoderConfig(
                encoder=encoder.module.config, decoder=decoder.module.config, adapter=adapter, **ids
            )
            found, generation_config = settle(decoder, config.decoder, ids)
            for name, value in found.items():
                setattr(config, name, value)
            if dtype is None and (encoder.module.dtype, encoder.module.device) != (
                decoder.module.dtype,
                decoder.module.device,
            ):
                raise ConfigError(
                    f"the encoder is {encoder.module.dtype} on {encoder.module.device}, the decoder "
                    f"{decoder.module.dtype} on {decoder.module.device}; pass dtype= to bring both to one type, and move "
                    "built models to one device",
                    field="dtype",
                )
            model = cls(config, encoder.module, decoder.module)
        if dtype is not None:
            cast(model, dtype)
        model._started_from_chance(encoder.known | decoder.known)
        model.generation_config = generation_config
        return model.to(device).eval() if device is not None else model.eval()

    def save_pretrained(self, folder: str | os.PathLike[str], *, max_shard_size: int | str = "50GB") -> None:
        """Write config.json, generation_config.json and the weights to ``folder``, for transformers too.

        Raises SaveError, with ``folder`` as it was, if the tensors are not those that the config describes (a replaced
        layer, a changed size) or if the disk does not take the files.
        """
        reference = reference_model(self)
        if reference is not None:
            check_loadable(self, reference, folder)
        tensors = tensors_to_write(self.sections())
        config = {**self.config.to_dict(), "dtype": str(self.dtype).removeprefix("torch.")}
        if isinstance(self.decoder.cross, Inserted):
            config = ours_alone(config)
        ids = {name: getattr(self.config, name) for name in ID_NAMES if getattr(self.generation_config, name) is None}
        untrained = {name: self._first_values[name] for name in self.untrained}
        with staged(folder, replaces=(*WEIGHT_FILES, OWN_FILE)) as stage:
            ours = {name: value for name, value in own_settings(Path(folder)).items() if name != "untrained"}
            ours |= {"untrained": untrained} if untrained else {}
            if ours:
                write_json(stage / OWN_FILE, ours)
            write_json(stage / "config.json", {**config, "architectures": ["VisionEncoderDecoderModel"]})
            self.generation_config.replace(**ids).write(stage)
            write_tensors(stage, tensors, max_shard_size)

    def _settle_ids(self, generation_config: GenerationConfig) -> GenerationConfig:
        """Ids live in ``config``; one on which the generation config agrees, or which only that has, moves there."""
        agreed: dict[str, None] = {}
        for name in ID_NAMES:
            ours, theirs = getattr(self.config, name), getattr(generation_config, name)
            if ours is None and theirs is not None:
                setattr(self.config, name, theirs)
            if ours is None or ours == theirs:
                agreed[name] = None
        return generation_config.replace(**agreed)

    def encode(
        self,
        pixel_values: Tensor,
        *,
        pixel_mask: Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        trace: Any = None,
    ) -> EncoderOutput:
        """(B, C, height, width) -> the encoder's states (B, S, D), before the bridge."""
        check_tensors(self.device, pixel_values=pixel_values, pixel_mask=pixel_mask)
        if pixel_values.shape[:1] == (0,):
            raise InputError("pixel_values holds no images")
        output: EncoderOutput = self.encoder(
            pixel_values,
            pixel_mask=pixel_mask,
            interpolate_pos_encoding=interpolate_pos_encoding,
            trace=trace,
        )
        return output

    def remember(self, output: EncoderOutput) -> Memory:
        """The keys and values of all cross-attentions, computed once an image."""
        output = encoder_output(output)
        device = next(self.decoder.parameters()).device
        check_tensors(device, encoder_outputs=output.states, **{"the mask of encoder_outputs": output.mask})
        check_decoder_dtype(self.decoder, "encoder_outputs hold states of", output.states.dtype)
        if output.states.shape[2] != self.encoder.hidden_size:
            raise InputError(
                f"encoder_outputs hold states of width {output.states.shape[2]}, but the encoder's hidden size is "
                f"{self.encoder.hidden_size}: pass what model.encode returns, before the bridge"
            )
        bridged = self.bridge(output)
        return Memory(tuple(layer.remember(bridged.states) for layer in self.decoder.cross), bridged.mask)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        pixel_mask: Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        decoder_position_ids: Tensor | None = None,
        decoder_token_type_ids: Tensor | None = None,
        label_smoothing: float = 0.0,
        num_items_in_batch: Tensor | float | None = None,
    ) -> VisionEncoderDecoderOutput | tuple[Any, ...]:
        """One pass: pixels (or ``encoder_outputs``, or a past) and decoder ids to logits (R, T, V), with labels to a loss.

        labels: (R, T) long, -100 where nothing is to be learned; without decoder ids they are shifted right by one behind
        the start token. The loss is the mean cross-entropy of the labels that count, not shifted again; 0 if none counts.
        num_items_in_batch: what the sum of the losses is divided by instead, where these rows are a part of a batch.
        label_smoothing: the share of each label that is spread over the vocabulary.
        past_key_values: of an earlier pass; then only the ids that follow it are given. use_cache: None means yes, except
        while gradients are recorded. decoder_attention_mask: (R, L) with the past, False or 0 for padding.
        Raises InputError for tensors that do not fit, ConfigError for a ``label_smoothing`` that is no share.
        """
        kinds = (
            *(("hidden",) if output_hidden_states else ()),
            *(("self", "cross") if output_attentions else ()),
        )
        encoder_trace, decoder_trace = (Recorder(*kinds) if kinds else None for _ in range(2))
        check_tensors(
            self.device,
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            decoder_inputs_embeds=decoder_inputs_embeds,
            labels=labels,
            decoder_position_ids=decoder_position_ids,
            decoder_token_type_ids=decoder_token_type_ids,
        )
        past = None if past_key_values is None else past_of(self.decoder, past_key_values)
        encoded = None
        if encoder_outputs is not None:
            encoded = encoder_output(encoder_outputs)
        elif past is None:
            if pixel_values is None:
                raise InputError("forward needs pixel_values, encoder_outputs or past_key_values")
            encoded = self.encode(
                pixel_values,
                pixel_mask=pixel_mask,
                interpolate_pos_encoding=interpolate_pos_encoding,
                trace=encoder_trace,
            )
        memory = self.remember(encoded) if past is None and encoded is not None else past.memory  # type: ignore[union-attr]

        if labels is not None:
            check_labels(labels, self.decoder.vocab_size)
            if decoder_input_ids is None and decoder_inputs_embeds is None:
                self._warn_of_labels(labels)
                start, pad = self.config.decoder_start_token_id, self.config.pad_token_id
                decoder_input_ids = shift_right(labels, start=start, pad=pad)
        given = decoder_input(self.decoder, decoder_input_ids, decoder_inputs_embeds)
        check_tokens(
            self.decoder, tuple(given.shape[:2]), decoder_input_ids, decoder_position_ids, decoder_token_type_ids
        )
        if labels is not None and labels.shape != given.shape[:2]:
            raise InputError(
                f"labels of shape {tuple(labels.shape)} for decoder tokens of shape {tuple(given.shape[:2])}"
            )
        step, cache = next_step(self.decoder, given, past, memory, decoder_attention_mask, use_cache)
        step.positions, step.token_types, step.trace = (
            decoder_position_ids,
            decoder_token_type_ids,
            decoder_trace,
        )
        hidden = self.decoder(decoder_input_ids, step, inputs_embeds=decoder_inputs_embeds)
        logits = self.decoder.lm_head(hidden)
        loss = None
        if labels is not None:
            total = token_loss(logits, labels, label_smoothing)
            loss = total.mean if num_items_in_batch is None else total.sum / num_items_in_batch

        output = VisionEncoderDecoderOutput(
            loss=loss,
            logits=logits,
            past_key_values=None if cache is None else PastKeyValues(cache, memory),
            encoder_last_hidden_state=None if encoded is None else encoded.states,
        )
        if decoder_trace is not None and encoder_trace is not None:
            states = decoder_trace.all("hidden")
            output.decoder_hidden_states = None if states is None else (*states[:-1], hidden)
            output.decoder_attentions = decoder_trace.all("self")
            output.cross_attentions = decoder_trace.all("cross")
            if encoder_outputs is None and past is None:
                output.encoder_hidden_states = encoder_trace.all("hidden")
                output.encoder_attentions = encoder_trace.all("self")
        return output.to_tuple() if return_dict is False else output

    def generate(
        self,
        pixel_values: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        *,
        encoder_outputs: Any = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        pixel_mask: Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        logits_processor: Sequence[Processor] | None = None,
        stopping_criteria: Sequence[StopRule] | None = None,
        generator: torch.Generator | None = None,
        seed: int | None = None,
        **generation_fields: Any,
    ) -> Any:
        """Read images: (B, C, height, width) pixels -> (B, T) ids, the start token first, padded behind the end token.

        ``generation_fields`` are fields of GenerationConfig (``num_beams=4, max_new_tokens=32``); a name that it does not
        have is a TypeError, one that the strategy does not read a ConfigError.
        decoder_input_ids: (B, P), a prompt that stands in the place of the start token. decoder_attention_mask: (B, P),
        0 for its padding, left or right: each row is continued as it would be alone, its padding is moved to the left.
        logits_processor: called with (R, T) ids and (R, V) scores, for new scores. stopping_criteria: called with the ids
        and the scores of their last tokens, for a bool or (R,) bool: which rows end. Of rows that have ended neither hears.
        generator, seed: what sampling draws from; a seed leaves torch's own state alone.
        With ``return_dict_in_generate=True`` a GenerationOutput: sequences, token_logprobs, stop_reasons, and what
        ``output_scores``, ``output_logits``, ``output_attentions`` and ``output_hidden_states`` ask for.
        """
        task, trace = self._task(
            self._asked(generation_config, generation_fields),
            pixel_values,
            encoder_outputs,
            {"pixel_mask": pixel_mask, "interpolate_pos_encoding": interpolate_pos_encoding},
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            custom=listed_functions(logits_processor, "logits_processor"),
            stops=listed_functions(stopping_criteria, "stopping_criteria"),
            generator=generator,
            seed=seed,
        )
        output = generate(task)
        if trace is not None and encoder_outputs is None:
            states, maps = trace.all("hidden"), trace.all("self")
            output = replace(output, encoder_hidden_states=states, encoder_attentions=maps)
        return output if task.settings.return_dict_in_generate else output.sequences

    def stream(
        self,
        pixel_values: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        *,
        encoder_outputs: Any = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        pixel_mask: Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        logits_processor: Sequence[Processor] | None = None,
        stopping_criteria: Sequence[StopRule] | None = None,
        generator: torch.Generator | None = None,
        seed: int | None = None,
        **generation_fields: Any,
    ) -> Iterator[StreamedTokens]:
        """The tokens that ``generate`` would write behind the prompt, of each row as they come.

        Arguments and errors are those of ``generate``, and errors come before the first token. A beam search yields, of
        each image, the tokens that all that can still become its text agree on; it returns one text an image.
        """
        for name in ("return_dict_in_generate", *OUTPUTS):
            if generation_fields.get(name):
                raise ConfigError(f"{name}=True is not read by stream, which yields tokens; call generate for it")
        config = self._asked(generation_config, generation_fields)
        task, _ = self._task(
            config.replace(return_dict_in_generate=False),
            pixel_values,
            encoder_outputs,
            {"pixel_mask": pixel_mask, "interpolate_pos_encoding": interpolate_pos_encoding},
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            custom=listed_functions(logits_processor, "logits_processor"),
            stops=listed_functions(stopping_criteria, "stopping_criteria"),
            generator=generator,
            seed=seed,
        )
        return stream(task)

    def _asked(self, generation_config: GenerationConfig | None, fields: dict[str, Any]) -> GenerationConfig:
        """How to write: what is given, the model's own where nothing is, and the ids that both leave unset."""
        if generation_config is not None and not isinstance(generation_config, GenerationConfig):
            raise ConfigError(
                f"generation_config must be a GenerationConfig, got {kind_of(generation_config)}: make one of fields "
                "with GenerationConfig(num_beams=4, ...), or pass them by themselves (num_beams=4)"
            )
        config = (self.generation_config if generation_config is None else generation_config).with_fields(**fields)
        own = {name: getattr(self.config, name) for name in ID_NAMES if getattr(config, name) is None}
        missing = {name: value for name, value in own.items() if value is not None}
        return config.replace(**missing) if missing else config

    def _task(
        self,
        config: GenerationConfig,
        pixel_values: Tensor | None,
        encoder_outputs: Any,
        of_pixels: dict[str, Any],
        *,
        decoder_input_ids: Tensor | None,
        decoder_attention_mask: Tensor | None,
        **given: Any,
    ) -> tuple[Task, Recorder | None]:
        """What is to be written of these images, encoded by ``of_pixels`` too or already, and what the encoder showed."""
        check_tensors(self.device, decoder_input_ids=decoder_input_ids, decoder_attention_mask=decoder_attention_mask)
        self._warn_if_untrained()
        kinds = (
            *(("hidden",) if config.output_hidden_states else ()),
            *(("self",) if config.output_attentions else ()),
        )
        trace = Recorder(*kinds) if kinds and config.return_dict_in_generate else None
        model = self._twin.of(self)
        with torch.inference_mode():
            if encoder_outputs is not None:
                encoded = encoder_output(encoder_outputs)
            elif pixel_values is not None:
                check_tensors(self.device, pixel_values=pixel_values, pixel_mask=of_pixels["pixel_mask"])
                encoded = encode_in_pieces(model.encode, pixel_values, trace=trace, **of_pixels)
            else:
                raise InputError("generation needs pixel_values or encoder_outputs")
            memory = model.remember(encoded)
        task = Task.of(
            model.decoder,
            memory,
            config,
            images=len(encoded.states),
            prompt=decoder_input_ids,
            prompt_mask=decoder_attention_mask,
            **given,
        )
        return task, trace

    def _warn_if_untrained(self) -> None:
        """Once a model, however often it writes."""
        if self._has_warned or not self._first_values:
            return
        self._has_warned = True
        if names := self.untrained:
            warnings.warn(
                f"{len(names)} tensors still hold the random values that they started from ({', '.join(names[:3])}"
                f"{', ...' if len(names) > 3 else ''}), so the text means little; train the model first. "
                "model.untrained names them all",
                UntrainedWarning,
                stacklevel=4,
            )

    def _warn_of_labels(self, labels: Tensor) -> None:
        """Once a model for each problem, in training."""
        if not self.training:
            return
        config = self.config
        found = label_problems(
            labels, start=config.decoder_start_token_id, end=config.eos_token_id, pad=config.pad_token_id
        )
        for problem in found.keys() - self._label_problems:
            warnings.warn(found[problem], LabelWarning, stacklevel=5)
        self._label_problems |= found.keys()
