"""``GenerationConfig``: the fields of generation_config.json under their names in transformers.

A field that is None is not set. It is not written to the file, and ``resolved()`` replaces it by its default.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

import attrs

from vedcore.config import Config, TokenIds, as_float, converter, field, id_tuple, settings
from vedcore.errors import ConfigError
from vedcore.storage.files import read_json, staged, write_json
from vedcore.storage.hub import resolve

FILE = "generation_config.json"

DEFAULT_NEW_TOKENS = 20
"""The number of new tokens if neither ``max_length`` nor ``max_new_tokens`` is set."""

MAX_BEAMS = 2**10
"""The largest ``num_beams``. A larger number is a mistake that would exhaust the memory."""

MAX_RETURNED = 2**16
"""The largest ``num_return_sequences``. A larger number would exhaust the memory."""

EarlyStopping = bool | str | None
Sequences = tuple[tuple[int, ...], ...] | None
Biases = tuple[tuple[tuple[int, ...], float], ...] | None
Decay = tuple[int, float] | None

DEFAULTS: Mapping[str, Any] = {
    "min_length": 0,
    "do_sample": False,
    "num_beams": 1,
    "num_return_sequences": 1,
    "early_stopping": False,
    "length_penalty": 1.0,
    "use_cache": True,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "remove_invalid_values": False,
    "output_scores": False,
    "return_dict_in_generate": False,
}
"""The defaults of unset fields (``GenerationConfig._get_default_generation_params`` of transformers 5.23)."""

UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "assistant_confidence_threshold": (0.4,),
    "assistant_early_exit": (),
    "assistant_ensemble_weight": (),
    "assistant_lookbehind": (10,),
    "constraints": (),
    "dola_layers": (),
    "encoder_no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1,),
    "force_words_ids": (),
    "guidance_scale": (1,),
    "is_assistant": (False,),
    "max_time": (),
    "num_assistant_tokens": (20,),
    "num_assistant_tokens_schedule": ("constant",),
    "num_beam_groups": (0, 1),
    "penalty_alpha": (0,),
    "prompt_lookup_num_tokens": (),
    "stop_strings": (),
    "target_lookbehind": (10,),
    "token_healing": (False,),
    "top_h": (),
    "use_mtp": (False,),
    "watermarking_config": (),
}
"""Fields of transformers that change the text and that vedcore does not implement.

Each has the values that change nothing and are accepted; None is always accepted.
"""

SAMPLING_FIELDS = frozenset(("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"))
"""Fields that only sampling uses."""

BEAM_FIELDS = frozenset(("early_stopping", "length_penalty"))
"""Fields that only beam search uses."""

OUTPUT_FIELDS = ("output_attentions", "output_hidden_states", "output_scores", "output_logits")
"""Fields that add an output. They need ``return_dict_in_generate``."""


def _optional(accepts: Callable[[Any], bool], expected: str, convert: Callable[[Any], Any] | None = None) -> Any:
    """A field that is None or a value for which ``accepts`` is true. ``convert`` is applied to the value first."""

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None and not accepts(value):
            raise ConfigError(
                f"{type(instance).__name__}.{attribute.name} must be {expected}, got {value!r}",
                field=attribute.name,
                expected=expected,
                found=value,
            )

    return attrs.field(default=None, validator=validate, converter=convert)


def _optional_number(expected: str, accepts: Callable[[float], bool]) -> Any:
    return _optional(lambda value: type(value) is float and accepts(value), expected, as_float)


def _deep_tuple(value: Any) -> Any:
    return tuple(_deep_tuple(item) for item in value) if isinstance(value, (list, tuple)) else value


def _as_biases(value: Any) -> Any:
    """A mapping or a list of pairs as a tuple of pairs (ids, bias). Anything else is returned for the validator to refuse."""
    items = _deep_tuple(list(value.items()) if isinstance(value, Mapping) else value)
    if not isinstance(items, tuple):
        return items
    return tuple((*i[:-1], as_float(i[-1])) if isinstance(i, tuple) and i else i for i in items)


def _as_decay(value: Any) -> Any:
    value = _deep_tuple(value)
    return (value[0], as_float(value[1])) if isinstance(value, tuple) and len(value) == 2 else value


def _is_id(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_ids(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(map(_is_id, value))


def _is_sequences(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(map(_is_ids, value))


def _is_number(value: Any) -> bool:
    return type(value) is float and abs(value) < float("inf")


def _is_biases(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and bool(value)
        and all(isinstance(v, tuple) and len(v) == 2 and _is_ids(v[0]) and _is_number(v[1]) for v in value)
    )


def _is_decay(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and _is_id(value[0]) and _is_number(value[1]) and value[1] > 0


# The validators of the fields check these types.
for _union in (EarlyStopping, Sequences, Biases, Decay):
    converter.register_structure_hook(_union, lambda value, _: value)


@settings
class GenerationConfig(Config):
    """How ``generate`` decodes: the fields of generation_config.json. A field that is not set is None.

    sequence_bias: pairs (ids, bias), as a list or a mapping. exponential_decay_length_penalty: (start, factor).
    The other fields are those of transformers. Unknown fields of a file are kept in ``extra`` and written back.

    Raises ConfigError for a value out of range, both in the constructor and when a field is assigned.
    """

    max_length: int | None = field.integer(None)
    max_new_tokens: int | None = field.integer(None)
    min_length: int | None = field.integer(None, at_least=0)
    min_new_tokens: int | None = field.integer(None, at_least=0)
    early_stopping: EarlyStopping = _optional(lambda v: type(v) is bool or v == "never", "true, false or 'never'")
    num_beams: int | None = field.integer(None, at_most=MAX_BEAMS)
    do_sample: bool | None = field.flag(None)
    use_cache: bool | None = field.flag(None)
    temperature: float | None = field.number(None, above=0.0)
    top_k: int | None = field.integer(None, at_least=0)
    top_p: float | None = field.number(None, above=0.0, at_most=1.0)
    min_p: float | None = _optional_number("a number from 0 to 1", lambda v: 0 <= v <= 1)
    typical_p: float | None = field.number(None, above=0.0, at_most=1.0)
    epsilon_cutoff: float | None = _optional_number("a number of at least 0 and below 1", lambda v: 0 <= v < 1)
    eta_cutoff: float | None = _optional_number("a number of at least 0 and below 1", lambda v: 0 <= v < 1)
    repetition_penalty: float | None = field.number(None, above=0.0)
    length_penalty: float | None = field.number(None)
    no_repeat_ngram_size: int | None = field.integer(None, at_least=0)
    bad_words_ids: Sequences = _optional(_is_sequences, "a list of non-empty lists of token ids", _deep_tuple)
    sequence_bias: Biases = _optional(_is_biases, "a list of pairs [[token ids], finite bias]", _as_biases)
    renormalize_logits: bool | None = field.flag(None)
    remove_invalid_values: bool | None = field.flag(None)
    forced_bos_token_id: int | None = field.integer(None, at_least=0)
    forced_eos_token_id: TokenIds = field.token_ids(None)
    suppress_tokens: tuple[int, ...] | None = field.integers(None, at_least=0)
    begin_suppress_tokens: tuple[int, ...] | None = field.integers(None, at_least=0)
    exponential_decay_length_penalty: Decay = _optional(_is_decay, "a pair [start, factor above 0]", _as_decay)
    num_return_sequences: int | None = field.integer(None, at_most=MAX_RETURNED)
    output_scores: bool | None = field.flag(None)
    output_logits: bool | None = field.flag(None)
    output_attentions: bool | None = field.flag(None)
    output_hidden_states: bool | None = field.flag(None)
    return_dict_in_generate: bool | None = field.flag(None)
    pad_token_id: int | None = field.integer(None, at_least=0)
    bos_token_id: int | None = field.integer(None, at_least=0)
    eos_token_id: TokenIds = field.token_ids(None)
    decoder_start_token_id: int | None = field.integer(None, at_least=0)

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], *, revision: str | None = None) -> Self:
        """The generation config of a folder or a hub id.

        It is read from generation_config.json or, if there is no such file, from the generation fields of config.json.
        Raises CheckpointNotFound if both files are missing, and ConfigError for a field with a wrong value.
        """
        folder = resolve(name, revision=revision, weights=False)
        path = folder / FILE
        if path.is_file():
            return cls.from_dict(read_json(path), str(path))
        path = folder / "config.json"
        return cls.from_dict(_generation_fields(read_json(path)), str(path))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write generation_config.json to ``folder``. Raises SaveError, and then leaves the folder unchanged."""
        with staged(folder) as stage:
            self.write(stage)

    def write(self, folder: Path) -> None:
        """Write generation_config.json to ``folder``, which is being staged. Fields that are not set are omitted."""
        fields = {name: value for name, value in self.to_dict().items() if value is not None or name in self.extra}
        write_json(folder / FILE, fields)

    @property
    def strategy(self) -> str:
        """``greedy``, ``sampling``, ``beam search`` or ``beam sampling``."""
        if (self.num_beams or 1) > 1:
            return "beam sampling" if self.do_sample else "beam search"
        return "sampling" if self.do_sample else "greedy"

    def with_fields(self, **fields: Any) -> Self:
        """A copy with these fields. None unsets a field.

        Raises TypeError for an unknown field. Raises ConfigError for a value out of range, and for a field that the
        resulting strategy would ignore.
        """
        if not fields:
            return self
        known = _field_names()
        for name in fields:
            if name not in known:
                raise TypeError(_unknown_field_message(name, known))
        changed = self.replace(**fields)
        for name, value in fields.items():
            if value is not None:
                changed._refuse_ignored(name, value)
        return changed

    def resolved(self) -> Self:
        """A copy whose unset fields have their defaults.

        The padding token defaults to the first end token. ``max_length`` stays unset, because its default depends on the
        prompt (see ``limit``). Raises ConfigError for fields that contradict each other or are not supported.
        """
        self.check_supported()
        changed = copy.copy(self)
        for name, value in {**DEFAULTS, "pad_token_id": next(iter(id_tuple(self.eos_token_id)), None)}.items():
            if getattr(changed, name) is None:
                object.__setattr__(changed, name, value)  # without validation, because every call of generate does this
        changed._refuse_contradictions()
        return changed

    def with_default_length(self, max_length: int | None) -> Self:
        """A copy with ``max_length``, or this config if a length is set already or ``max_length`` is None."""
        if max_length is None or self.max_length is not None or self.max_new_tokens is not None:
            return self
        return self.replace(max_length=max_length)

    def limit(self, prompt_length: int) -> int:
        """The largest length of a row. It includes the prompt, whose ``prompt_length`` ids include the start token."""
        if self.max_new_tokens is not None:
            return prompt_length + self.max_new_tokens
        return prompt_length + DEFAULT_NEW_TOKENS if self.max_length is None else self.max_length

    def minimum_length(self, prompt_length: int) -> int:
        """The length, prompt included, that a row must have before it may end."""
        return (self.min_length or 0) if self.min_new_tokens is None else prompt_length + self.min_new_tokens

    def check_supported(self) -> None:
        """Raise ConfigError if ``extra`` has a field that would change the text and that vedcore does not support."""
        for name in filter(self.extra.__contains__, UNSUPPORTED):
            value = self.extra[name]
            if value is not None and value not in UNSUPPORTED[name]:
                raise ConfigError(
                    f"{name} is {value!r} in the generation config, which vedcore does not support; "
                    f"remove it (del config.extra[{name!r}]) to decode without it",
                    field=name,
                    expected=(None, *UNSUPPORTED[name]),
                    found=value,
                )

    def _refuse_ignored(self, name: str, value: Any) -> None:
        """Raise ConfigError if decoding would ignore the argument ``name``."""
        sampled, beams = bool(self.do_sample), (self.num_beams or 1) > 1
        state = f"this is {self.strategy} (do_sample={sampled}, num_beams={self.num_beams or 1})"
        if name in SAMPLING_FIELDS and not sampled:
            raise ConfigError(
                f"{name}={value!r} is used only by sampling, and {state}; add do_sample=True or remove {name}",
                field=name,
                expected="do_sample=True",
                found=value,
            )
        if name in BEAM_FIELDS and not beams:
            raise ConfigError(
                f"{name}={value!r} is used only by beam search, and {state}; add num_beams (num_beams=4) or remove {name}",
                field=name,
                expected="num_beams above 1",
                found=value,
            )
        if name in OUTPUT_FIELDS and value and not self.return_dict_in_generate:
            raise ConfigError(
                f"{name}=True needs return_dict_in_generate=True, because plain token ids cannot hold this output; add it",
                field=name,
                expected="return_dict_in_generate=True",
                found=value,
            )
        if name == "num_return_sequences":
            self._refuse_count()
        for longest, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
            if name == longest and getattr(self, new) is not None:
                raise ConfigError(
                    f"{name}={value!r} would be ignored, because {new} is {getattr(self, new)} and takes precedence; "
                    f"pass {new} instead, or unset it with {new}=None",
                    field=name,
                    expected=f"{new}=None",
                    found=value,
                )

    def _refuse_count(self) -> None:
        count, beams = self.num_return_sequences or 1, self.num_beams or 1
        if beams == 1 and count > 1 and not self.do_sample:
            raise ConfigError(
                f"num_return_sequences is {count}, but greedy decoding returns 1 text per image; "
                f"set num_beams to at least {count}, or do_sample=True",
                field="num_return_sequences",
                expected=1,
                found=count,
            )
        if 1 < beams < count:
            raise ConfigError(
                f"num_return_sequences ({count}) must be at most num_beams ({beams})",
                field="num_return_sequences",
                expected=f"at most {beams}",
                found=count,
            )

    def _refuse_contradictions(self) -> None:
        self._refuse_count()
        for name in ("forced_bos_token_id", "forced_eos_token_id"):
            forced = set(id_tuple(getattr(self, name)))
            if forced and forced <= set(self.suppress_tokens or ()):
                raise ConfigError(
                    f"{name} ({sorted(forced)}) is also in suppress_tokens, so no token would be allowed; "
                    "remove it from one of the two",
                    field=name,
                    expected="a token that suppress_tokens does not contain",
                    found=sorted(forced),
                )
        if self.exponential_decay_length_penalty is not None and self.eos_token_id is None:
            raise ConfigError(
                "exponential_decay_length_penalty "
                f"({list(self.exponential_decay_length_penalty)}) raises the end token's score, but eos_token_id is not set; "
                "set it",
                field="eos_token_id",
                expected="a token id",
            )


def _field_names() -> list[str]:
    return [a.name for a in attrs.fields(GenerationConfig) if a.name != "extra"]  # type: ignore[arg-type]


REPLACED_ARGUMENTS: Mapping[str, str] = {
    "attention_mask": "decoder_attention_mask is the mask of a prompt, pixel_mask is the mask of images",
    "input_ids": "pass images as pixel_values, and a prompt as decoder_input_ids",
    "inputs": "pass images as pixel_values",
    "prefix_allowed_tokens_fn": "a function in logits_processor gets the ids so far and can set all other scores to -inf",
    "streamer": "model.stream(...) yields the tokens as they are generated",
}
"""Arguments of transformers' ``generate`` that vedcore does not have, each with what to use instead."""


def _unknown_field_message(name: str, known: list[str]) -> str:
    if name in UNSUPPORTED:
        return f"{name} is a generation field of transformers that vedcore does not support"
    if name in REPLACED_ARGUMENTS:
        return f"no generation field {name!r}: {REPLACED_ARGUMENTS[name]}"
    near = get_close_matches(name, known)
    return f"no generation field {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")


def _generation_fields(model_config: Mapping[str, Any]) -> dict[str, Any]:
    """The generation fields of a config.json: those at its top level, then those of its decoder.

    Source: ``GenerationConfig.from_model_config`` of transformers 5.23. Old BART configs force the begin token by a flag.
    """
    names = {*_field_names(), *UNSUPPORTED}
    top, decoder = dict(model_config), model_config.get("decoder")
    if top.get("force_bos_token_to_be_generated"):
        top["forced_bos_token_id"] = top.get("bos_token_id")
    fields: dict[str, Any] = {}
    for level in (decoder if isinstance(decoder, Mapping) else {}, top):
        fields |= {name: value for name, value in level.items() if value is not None and name in names}
    fields = {name: value for name, value in fields.items() if value not in UNSUPPORTED.get(name, ())}
    if any(fields.get(name) is True for name in OUTPUT_FIELDS):
        fields["return_dict_in_generate"] = True
    return fields
