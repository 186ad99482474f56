"""VisionEncoderDecoderModel: the core with the documented arguments and outputs of transformers' class of the same name.

The calls that compute are those of ``vedcore.model.core``; this class checks arguments, loads, saves and edits.
Shapes: B images, R rows, P ids of a prompt, T tokens, L tokens with the past, S encoder states, D hidden size, V vocabulary
size.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from vedcore.contract.types import EncoderOutput, Memory
from vedcore.errors import ConfigError
from vedcore.generation import (
    OUTPUT_FIELDS,
    GenerationConfig,
    PastKeyValues,
    Processor,
    Request,
    StopRule,
    StreamedTokens,
    generate,
    stream,
)
from vedcore.model.adapters import give_own_cross, join
from vedcore.model.checks import (
    NewTokens,
    check_encoder_output,
    check_generation_config,
    check_images,
    check_new_tokens,
    check_place,
    check_prompt,
    check_tensors,
    encoder_output,
    listed_functions,
    past_of,
    required_images,
)
from vedcore.model.chunks import encode_in_chunks
from vedcore.model.compose import compose
from vedcore.model.config import VisionEncoderDecoderConfig
from vedcore.model.core import EncoderDecoder
from vedcore.model.editing import EditableModel
from vedcore.model.files import load, save
from vedcore.model.labels import check_labels, shift_right, warn_of_labels
from vedcore.model.loss import label_loss
from vedcore.model.output import VisionEncoderDecoderOutput
from vedcore.model.part_config import build
from vedcore.model.part_spec import PartSpec
from vedcore.model.passes import Traces, next_step
from vedcore.model.prepare import inference_core
from vedcore.model.token_ids import ID_NAMES, move_ids
from vedcore.model.untrained import FirstValues
from vedcore.nn import initialize
from vedcore.nn.pruning import apply_pruning
from vedcore.registry import registry
from vedcore.storage.hub import resolve
from vedcore.storage.own import stored_checksums

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _same_arguments(source: Callable[..., Any]) -> Callable[[_Method], _Method]:
    """Show the arguments of ``source`` as those of a method that passes all of its own to it."""

    def decorate(method: _Method) -> _Method:
        method.__signature__ = inspect.signature(source)  # type: ignore[attr-defined]
        return method

    return decorate


class VisionEncoderDecoderModel(EditableModel):
    """Images in, text out: any encoder and any decoder that a plugin supplies."""

    def __init__(
        self, config: VisionEncoderDecoderConfig | None = None, encoder: Any = None, decoder: Any = None
    ) -> None:
        """From a config (random weights), or from built parts. Raises ConfigError if neither is given, or if they do not fit.

        If you pass modules, the layers that join them are new and listed in ``untrained``: the bridge, and cross-attention for
        a decoder without.
        """
        if config is None:
            if encoder is None or decoder is None:
                raise ConfigError(
                    "VisionEncoderDecoderModel needs a config, or an encoder and a decoder", field="config"
                )
            config = VisionEncoderDecoderConfig(encoder=encoder.config, decoder=decoder.config)
        adapter = registry().adapter(config.adapter).adapter  # first, because built parts are changed from here on
        are_built = encoder is not None and decoder is not None
        encoder = build(config.encoder, "encoder") if encoder is None else encoder
        decoder = build(config.decoder, "decoder") if decoder is None else decoder
        known = {id(parameter) for part in (encoder, decoder) for parameter in part.parameters()}
        give_own_cross(decoder)
        join(adapter, decoder)
        for part, own in ((encoder, config.encoder), (decoder, config.decoder)):
            part.config = own
            if hasattr(own, "pruned_heads"):
                apply_pruning(part)  # the layers of the adapter too
        weight = next(decoder.token_embedding.parameters())
        bridge = adapter.bridge(encoder.hidden_size, decoder.sizes.memory_size)
        initialize(bridge, decoder.sizes.seam.initializer_range)
        super().__init__(encoder, decoder, bridge.to(dtype=weight.dtype, device=weight.device))
        self.config = config
        if are_built:
            self._mark_untrained(known)
        self._label_problems: set[str] = set()

    # The form that computes.

    def prepare(self) -> Self:
        """Build the inference form, with which ``generate`` and ``forward`` without gradients are faster on a CPU.

        Sets eval mode. Methods that change weights or mode discard the form: ``to``, ``load_state_dict``, ``train``,
        ``prune_heads``, ``resize_token_embeddings``, ``replace_tokenizer``, ``freeze`` and ``unfreeze``, on the model or on a
        part. In-place changes of a prepared model (a tensor, a submodule, a hook) are not noticed: call ``prepare`` again.
        """
        self.eval()
        self.discard_prepared()
        if self.device.type == "cpu":
            self.set_inference_form(inference_core(self), [self.encoder, self.decoder, self.bridge])
        return self

    def _core(self, *, traced: bool = False) -> EncoderDecoder:
        """What computes now: the inference form if there is one and it may be used, else this model."""
        form = self.inference_form
        if form is None or traced or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
            return self
        return self if torch.compiler.is_compiling() else form

    # Files.

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

        Raises CheckpointError, with all names, unless the file holds exactly the tensors that the config asks for. All
        parameters must have one type in which torch computes; ``dtype`` converts them. Raises ConfigError for a ``dtype`` or
        a ``device`` that cannot be used, before anything is read.
        """
        check_place(dtype, device)
        folder = resolve(name, revision=revision, allow_pickle=allow_pickle)
        model, generation_config = load(cls, folder, config, allow_pickle=allow_pickle, dtype=dtype)
        model.generation_config = move_ids(generation_config, model.config)
        model._first_values = FirstValues(stored_checksums(folder))
        return model.to(device).eval() if device is not None else model.eval()  # type: ignore[no-any-return]

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
        """A model in eval mode from two parts, each from a folder or a hub id, a built model, or a config (random weights).

        A folder holds a standalone checkpoint, of any class and with any head, or a whole model, whose part is taken. A
        config given with a folder replaces its config.json. ``encoder_x=`` and ``decoder_x=`` set fields of the parts'
        configs, ``decoder_start_token_id=`` and the other ids those of the model, which otherwise come from the decoder's
        folder. A built model becomes a part of this one and is changed with it: it gets cross-attention and ``dtype``.

        seed: determines the new tensors: cross-attention and head if the decoder has none, the bridge between different
        widths, all of a part that is built from a config. ``untrained`` lists them. Without a seed one is drawn from torch's
        state.
        Raises TypeError (an unknown keyword), ConfigError (ids that contradict each other, parts that do not fit),
        CheckpointError, PluginNotFound.
        """
        check_place(dtype, device)
        model, known, model_generation_config = compose(
            cls,
            PartSpec("encoder", encoder_pretrained_model_name_or_path, encoder_revision, encoder_model, encoder_config),
            PartSpec("decoder", decoder_pretrained_model_name_or_path, decoder_revision, decoder_model, decoder_config),
            config_fields,
            adapter=adapter,
            seed=seed,
            allow_pickle=allow_pickle,
            dtype=dtype,
        )
        model._mark_untrained(known)
        model.generation_config = model_generation_config
        return model.to(device).eval() if device is not None else model.eval()  # type: ignore[no-any-return]

    def save_pretrained(self, folder: str | os.PathLike[str], *, max_shard_size: int | str = "50GB") -> None:
        """Write config.json, generation_config.json and the weights to ``folder``, for transformers too.

        Raises SaveError, with ``folder`` as it was, if the tensors are not those that the config describes (a replaced
        layer, a changed size) or if the disk does not take the files.
        """
        untrained = {name: self._first_values.sums[name] for name in self.untrained}
        save(self, folder, untrained, max_shard_size)

    # Passes.

    def encode(
        self,
        pixel_values: Tensor,
        *,
        pixel_mask: Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        trace: Any = None,
    ) -> EncoderOutput:
        """(B, C, height, width) -> states (B, S, D), before the bridge. Raises InputError for images that do not fit."""
        check_tensors(self.device, pixel_values=pixel_values, pixel_mask=pixel_mask)
        check_images(pixel_values)
        core = self._core(traced=trace is not None)
        return EncoderDecoder.encode(
            core,
            pixel_values,
            pixel_mask=pixel_mask,
            interpolate_pos_encoding=interpolate_pos_encoding,
            trace=trace,
        )

    def remember(self, output: EncoderOutput) -> Memory:
        """The keys and values of all cross-attentions, computed once per image. Raises InputError for other states."""
        output = encoder_output(output)
        check_encoder_output(output, self.decoder, self.encoder.hidden_size)
        return EncoderDecoder.remember(self._core(), output)

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
        """Pixels (or ``encoder_outputs``, or a past) and decoder ids -> logits (R, T, V), and with labels a loss.

        labels: (R, T) long, -100 where nothing is learned; without decoder ids they are shifted right by one, after the start
        token. The loss is the mean cross-entropy of the labels that count, not shifted again; 0 if none counts.
        num_items_in_batch: the number of labels in the whole batch, if these rows are a part of it. The sum of the losses is
        divided by it, and not by the number of labels in these rows.
        label_smoothing: the share of each label that is spread over the vocabulary.
        past_key_values: of an earlier pass; then only the ids after it are given. use_cache: None means yes unless gradients
        are recorded. decoder_attention_mask: (R, L), False or 0 for padding.
        Raises InputError for tensors that do not fit, ConfigError for a ``label_smoothing`` outside 0 to 1.
        """
        traces = Traces.of(output_attentions, output_hidden_states)
        core = self._core(traced=traces.decoder is not None)
        ids = self._decoder_ids(decoder_input_ids, decoder_inputs_embeds, labels)
        tokens = NewTokens(
            ids, decoder_inputs_embeds, decoder_position_ids, decoder_token_type_ids, decoder_attention_mask
        )
        past = past_of(self.decoder, past_key_values)
        encoded = None if encoder_outputs is None else encoder_output(encoder_outputs)
        if encoded is None and past is None:
            encoded = self.encode(
                required_images(pixel_values),
                pixel_mask=pixel_mask,
                interpolate_pos_encoding=interpolate_pos_encoding,
                trace=traces.encoder,
            )
        memory = past.memory if past is not None else self.remember(encoded)  # type: ignore[arg-type]
        check_new_tokens(self.decoder, tokens, past, memory, labels)
        step, cache = next_step(self.decoder, tokens, past, memory, use_cache, traces.decoder)
        logits = core.logits(hidden := core.step(ids, step, inputs_embeds=decoder_inputs_embeds))
        output = VisionEncoderDecoderOutput(
            loss=label_loss(logits, labels, label_smoothing, num_items_in_batch),
            logits=logits,
            past_key_values=None if cache is None else PastKeyValues(cache, memory),
            encoder_last_hidden_state=None if encoded is None else encoded.states,
            **traces.fields(hidden, encoded=encoder_outputs is None and past is None),
        )
        return output.to_tuple() if return_dict is False else output

    def _decoder_ids(self, ids: Tensor | None, embeds: Tensor | None, labels: Tensor | None) -> Tensor | None:
        """The ids of the decoder: those given, or the labels shifted right."""
        check_tensors(self.device, decoder_input_ids=ids, decoder_inputs_embeds=embeds, labels=labels)
        if labels is None:
            return ids
        check_labels(labels, self.decoder.sizes.vocab_size)
        if ids is not None or embeds is not None:
            return ids
        if self.training:
            warn_of_labels(labels, self.config, self._label_problems, stacklevel=5)
        return shift_right(labels, start=self.config.decoder_start_token_id, pad=self.config.pad_token_id)

    # Generation.

    def _request(
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
    ) -> Request:
        """The arguments of ``generate`` and ``stream``, checked; the images are encoded."""
        config = self._generation_config(generation_config, generation_fields)
        if self._first_values.sums and not self._first_values.has_warned:
            self._first_values.warn_once(self.untrained, stacklevel=3)
        check_tensors(self.device, decoder_input_ids=decoder_input_ids, decoder_attention_mask=decoder_attention_mask)
        shown = bool(config.return_dict_in_generate)
        traces = Traces.of(shown and config.output_attentions, shown and config.output_hidden_states)
        with torch.inference_mode():
            core = self._core(traced=traces.decoder is not None)
            if encoder_outputs is not None:
                encoded, traces.encoder = encoder_output(encoder_outputs), None
            else:
                pixel_values = required_images(pixel_values)
                check_tensors(self.device, pixel_values=pixel_values, pixel_mask=pixel_mask)
                encoded = encode_in_chunks(
                    self.encode,
                    pixel_values,
                    pixel_mask=pixel_mask,
                    interpolate_pos_encoding=interpolate_pos_encoding,
                    trace=traces.encoder,
                )
            check_prompt(self.decoder, decoder_input_ids, len(encoded.states))
            memory = self.remember(encoded)
        return Request.of(
            core.decoder,
            memory,
            config,
            prompt=decoder_input_ids,
            prompt_mask=decoder_attention_mask,
            custom=listed_functions(logits_processor, "logits_processor"),
            stops=listed_functions(stopping_criteria, "stopping_criteria"),
            generator=generator,
            seed=seed,
            encoder_trace=traces.encoder,
        )

    @_same_arguments(_request)
    def generate(self, *arguments: Any, **options: Any) -> Any:
        """Generate text for images: (B, C, height, width) pixels -> (R, T) ids, the start token first, padded after the end.

        R is B times ``num_return_sequences``.

        ``generation_fields`` are fields of GenerationConfig (``num_beams=4, max_new_tokens=32``). Raises TypeError for an
        unknown name, ConfigError for a field that the strategy does not read.
        decoder_input_ids: (B, P), a prompt in place of the start token. decoder_attention_mask: (B, P), 0 for its padding, on
        any side: each row is continued as it would be alone; in the output its padding comes first.
        logits_processor: functions of (R, T) ids and (R, V) scores that return new scores. stopping_criteria: functions of
        (R, T) ids and (R, V) scores that return a bool or (R,) bools, True for rows that end. Rows that have ended are not
        passed. generator, seed: what sampling draws from; a seed leaves torch's own state alone.
        With ``return_dict_in_generate=True`` a GenerationOutput: sequences, token_logprobs, stop_reasons, and what
        ``output_scores``, ``output_logits``, ``output_attentions`` and ``output_hidden_states`` request.
        """
        request = self._request(*arguments, **options)
        output = generate(request)
        return output if request.settings.return_dict_in_generate else output.sequences

    @_same_arguments(_request)
    def stream(self, *arguments: Any, **options: Any) -> Iterator[StreamedTokens]:
        """The tokens that ``generate`` would write after the prompt, row by row as they are chosen.

        Arguments and errors are those of ``generate``; errors are raised before the first token. A beam search yields a
        token as soon as every hypothesis that can still become the text of its image contains it.
        """
        for name in ("return_dict_in_generate", *OUTPUT_FIELDS):
            if options.get(name):
                raise ConfigError(
                    f"{name}=True has no effect on stream, which yields tokens; call generate for it", field=name
                )
        return stream(self._request(*arguments, **options))

    def _generation_config(self, given: GenerationConfig | None, fields: dict[str, Any]) -> GenerationConfig:
        """The given config or the model's own, with ``fields``, and with the ids of ``config`` that both leave unset."""
        check_generation_config(given)
        config = (self.generation_config if given is None else given).with_fields(**fields)
        own = {name: getattr(self.config, name) for name in ID_NAMES if getattr(config, name) is None}
        missing = {name: value for name, value in own.items() if value is not None}
        return config.replace(**missing) if missing else config
