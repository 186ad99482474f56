"""``GenerationConfig``: the fields of generation_config.json, as transformers names them, and what they come to at call.

A field that is None is not set: it is not written, and ``resolved()`` gives it its default.
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
"""How many tokens are written where no length is set."""

MAX_BEAMS = 2**10
"""More beams than any search has use for: what asks for more would fill any memory."""

MAX_RETURNED = 2**16
"""More texts of one image than fit a memory at once."""

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
"""What an unset field comes to (``GenerationConfig._get_default_generation_params`` of transformers 5.23)."""

NOT_DONE: Mapping[str, tuple[Any, ...]] = {
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
"""Fields of transformers that change what is written and are not done here, each with the values (beside None) that ask
for nothing."""

SAMPLING = frozenset(("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"))
BEAMS = frozenset(("early_stopping", "length_penalty"))
OUTPUTS = ("output_attentions", "output_hidden_states", "output_scores", "output_logits")


def _checked(accepts: Callable[[Any], bool], wanted: str, prepare: Callable[[Any], Any] | None = None) -> Any:
    """A field that is unset or passes ``accepts``; ``prepare`` brings a value into its one form first."""

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None and not accepts(value):
            raise ConfigError(f"{type(instance).__name__}.{attribute.name} must be {wanted}, got {value!r}")

    return attrs.field(default=None, validator=validate, converter=prepare)


def _fraction(wanted: str, accepts: Callable[[float], bool]) -> Any:
    return _checked(lambda value: type(value) is float and accepts(value), wanted, as_float)


def _deep_tuple(value: Any) -> Any:
    return tuple(_deep_tuple(item) for item in value) if isinstance(value, (list, tuple)) else value


def _biases(value: Any) -> Any:
    """Pairs (ids, bias) of a mapping or a list."""
    items = _deep_tuple(list(value.items()) if isinstance(value, Mapping) else value)
    if not isinstance(items, tuple):
        return items
    return tuple((*i[:-1], as_float(i[-1])) if isinstance(i, tuple) and i else i for i in items)


def _decay(value: Any) -> Any:
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


# The fields' own checks say what these unions may hold.
for _union in (EarlyStopping, Sequences, Biases, Decay):
    converter.register_structure_hook(_union, lambda value, _: value)


@settings
class GenerationConfig(Config):
    """How text is written: the fields of generation_config.json, None where they are not set.

    sequence_bias: (ids, bias) pairs, as a list or a mapping. exponential_decay_length_penalty: (start, factor).
    Fields that are not ours stay in ``extra`` and are written back. Raises ConfigError for a value out of its range, when
    it is given and when it is assigned.
    """

    max_length: int | None = field.integer(None)
    max_new_tokens: int | None = field.integer(None)
    min_length: int | None = field.integer(None, at_least=0)
    min_new_tokens: int | None = field.integer(None, at_least=0)
    early_stopping: EarlyStopping = _checked(lambda v: type(v) is bool or v == "never", "true, false or 'never'")
    num_beams: int | None = field.integer(None, at_most=MAX_BEAMS)
    do_sample: bool | None = field.flag(None)
    use_cache: bool | None = field.flag(None)
    temperature: float | None = field.number(None, above=0.0)
    top_k: int | None = field.integer(None, at_least=0)
    top_p: float | None = field.number(None, above=0.0, at_most=1.0)
    min_p: float | None = _fraction("a number from 0 to 1", lambda v: 0 <= v <= 1)
    typical_p: float | None = field.number(None, above=0.0, at_most=1.0)
    epsilon_cutoff: float | None = _fraction("a number of at least 0, below 1", lambda v: 0 <= v < 1)
    eta_cutoff: float | None = _fraction("a number of at least 0, below 1", lambda v: 0 <= v < 1)
    repetition_penalty: float | None = field.number(None, above=0.0)
    length_penalty: float | None = field.number(None)
    no_repeat_ngram_size: int | None = field.integer(None, at_least=0)
    bad_words_ids: Sequences = _checked(_is_sequences, "a list of non-empty lists of token ids", _deep_tuple)
    sequence_bias: Biases = _checked(_is_biases, "a list of pairs [[token ids], finite bias]", _biases)
    renormalize_logits: bool | None = field.flag(None)
    remove_invalid_values: bool | None = field.flag(None)
    forced_bos_token_id: int | None = field.integer(None, at_least=0)
    forced_eos_token_id: TokenIds = field.token_ids(None)
    suppress_tokens: tuple[int, ...] | None = field.integers(None, at_least=0)
    begin_suppress_tokens: tuple[int, ...] | None = field.integers(None, at_least=0)
    exponential_decay_length_penalty: Decay = _checked(_is_decay, "a pair [start, factor above 0]", _decay)
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
        """The config of a folder or a hub id: its generation_config.json, or without one what its config.json says.

        Raises CheckpointNotFound when both are missing, ConfigError with the file, the field and the value.
        """
        folder = resolve(name, revision=revision, weights=False)
        path = folder / FILE
        if path.is_file():
            return cls.from_dict(read_json(path), str(path))
        path = folder / "config.json"
        return cls.from_dict(_of_model(read_json(path)), str(path))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write generation_config.json into ``folder``. SaveError leaves the folder as it was."""
        with staged(folder) as stage:
            self.write(stage)

    def write(self, folder: Path) -> None:
        """Write generation_config.json into a folder that is being staged; fields that are not set are left out."""
        fields = {name: value for name, value in self.to_dict().items() if value is not None or name in self.extra}
        write_json(folder / FILE, fields)

    @property
    def strategy(self) -> str:
        """``greedy``, ``sampling``, ``beam search`` or ``beam sampling``."""
        if (self.num_beams or 1) > 1:
            return "beam sampling" if self.do_sample else "beam search"
        return "sampling" if self.do_sample else "greedy"

    def with_fields(self, **fields: Any) -> Self:
        """A copy with these fields set; None unsets one.

        Raises TypeError for a name that is no field, ConfigError for a value out of its range and for a field that the
        strategy which results would not read: it would be ignored, and whoever gives it expects otherwise.
        """
        if not fields:
            return self
        known = _names()
        for name in fields:
            if name not in known:
                raise TypeError(_unknown(name, known))
        changed = self.replace(**fields)
        for name, value in fields.items():
            if value is not None:
                changed._refuse_unread(name, value)
        return changed

    def resolved(self) -> Self:
        """What decoding follows: each unset field at its default (max_length apart: see ``limit``), padding too.

        Raises ConfigError for fields that contradict each other and for what is not done here.
        """
        self.check_supported()
        changed = copy.copy(self)
        for name, value in {**DEFAULTS, "pad_token_id": next(iter(id_tuple(self.eos_token_id)), None)}.items():
            if getattr(changed, name) is None:
                object.__setattr__(changed, name, value)  # unchecked, since every call of generate passes here
        changed._refuse_contradictions()
        return changed

    def filling(self, positions: int | None) -> Self:
        """The same; where no length is set, texts that may fill the decoder's ``positions`` (None: no limit is known)."""
        if positions is None or self.max_length is not None or self.max_new_tokens is not None:
            return self
        return self.replace(max_length=positions)

    def limit(self, prompt_length: int) -> int:
        """How long a row may become, its prompt of ``prompt_length`` ids (the start token is one) included."""
        if self.max_new_tokens is not None:
            return prompt_length + self.max_new_tokens
        return prompt_length + DEFAULT_NEW_TOKENS if self.max_length is None else self.max_length

    def least(self, prompt_length: int) -> int:
        """How long a row must become before it may end, its prompt included."""
        return (self.min_length or 0) if self.min_new_tokens is None else prompt_length + self.min_new_tokens

    def check_supported(self) -> None:
        """Raise ConfigError if ``extra`` asks for something that would change the text and is not done here."""
        for name in filter(self.extra.__contains__, NOT_DONE):
            value = self.extra[name]
            if value is not None and value not in NOT_DONE[name]:
                raise ConfigError(
                    f"{name} is {value!r} in the generation config, which vedcore does not do; "
                    f"remove it (del config.extra[{name!r}]) to decode without it"
                )

    def _refuse_unread(self, name: str, value: Any) -> None:
        sampled, beams = bool(self.do_sample), (self.num_beams or 1) > 1
        state = f"this is {self.strategy} (do_sample={sampled}, num_beams={self.num_beams or 1})"
        if name in SAMPLING and not sampled:
            raise ConfigError(
                f"{name}={value!r} is read by sampling alone, and {state}; add do_sample=True or leave it out"
            )
        if name in BEAMS and not beams:
            raise ConfigError(
                f"{name}={value!r} is read by beams alone, and {state}; add num_beams=4, say, or leave it out"
            )
        if name in OUTPUTS and value and not self.return_dict_in_generate:
            raise ConfigError(
                f"{name}=True is not read without return_dict_in_generate=True, for ids alone have no place for it; add it"
            )
        if name == "num_return_sequences":
            self._refuse_count()
        for longest, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
            if name == longest and getattr(self, new) is not None:
                raise ConfigError(
                    f"{name}={value!r} is not read, since {new} is {getattr(self, new)} and comes first; "
                    f"give {new} instead, or unset it with {new}=None"
                )

    def _refuse_count(self) -> None:
        count, beams = self.num_return_sequences or 1, self.num_beams or 1
        if beams == 1 and count > 1 and not self.do_sample:
            raise ConfigError(
                f"num_return_sequences is {count}, but greedy decoding finds 1 text an image; "
                f"set num_beams to at least {count}, or do_sample=True"
            )
        if 1 < beams < count:
            raise ConfigError(f"num_return_sequences ({count}) must be at most num_beams ({beams})")

    def _refuse_contradictions(self) -> None:
        self._refuse_count()
        for name in ("forced_bos_token_id", "forced_eos_token_id"):
            forced = set(id_tuple(getattr(self, name)))
            if forced and forced <= set(self.suppress_tokens or ()):
                raise ConfigError(f"{name} ({sorted(forced)}) is among suppress_tokens: no token would be left")
        if self.exponential_decay_length_penalty is not None and self.eos_token_id is None:
            raise ConfigError(
                "exponential_decay_length_penalty "
                f"({list(self.exponential_decay_length_penalty)}) raises the end token's score, but eos_token_id is not set"
            )


def _names() -> list[str]:
    return [a.name for a in attrs.fields(GenerationConfig) if a.name != "extra"]  # type: ignore[arg-type]


INSTEAD: Mapping[str, str] = {
    "attention_mask": "decoder_attention_mask is the mask of a prompt, pixel_mask that of images",
    "input_ids": "the images are pixel_values, and a prompt is decoder_input_ids",
    "inputs": "the images are pixel_values",
    "prefix_allowed_tokens_fn": "a function in logits_processor sees the ids so far, and may give every other token -inf",
    "streamer": "model.stream(...) yields the tokens as they come",
}
"""Arguments of transformers' ``generate`` that have another name here."""


def _unknown(name: str, known: list[str]) -> str:
    if name in NOT_DONE:
        return f"{name} is a generation field of transformers that vedcore does not do"
    if name in INSTEAD:
        return f"no generation field {name!r}: {INSTEAD[name]}"
    near = get_close_matches(name, known)
    return f"no generation field {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")


def _of_model(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config.json says on generation: at its top, then, for what is unset there, in its decoder's part.

    Source: ``GenerationConfig.from_model_config`` of transformers 5.23. Old BART configs force the begin token by a flag.
    """
    names = {*_names(), *NOT_DONE}
    top, below = dict(config), config.get("decoder")
    if top.get("force_bos_token_to_be_generated"):
        top["forced_bos_token_id"] = top.get("bos_token_id")
    asked: dict[str, Any] = {}
    for level in (below if isinstance(below, Mapping) else {}, top):
        asked |= {name: value for name, value in level.items() if value is not None and name in names}
    asked = {name: value for name, value in asked.items() if value not in NOT_DONE.get(name, ())}
    if any(asked.get(name) is True for name in OUTPUTS):
        asked["return_dict_in_generate"] = True
    return asked
