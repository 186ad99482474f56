"""GenerationConfig: reading and writing its file, the arguments of a call, and the defaults of unset fields."""

import json
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import transformers
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers import GenerationMixin

from vedcore.errors import CheckpointNotFound, ConfigError
from vedcore.generation.config import (
    BEAM_FIELDS,
    DEFAULTS,
    OUTPUT_FIELDS,
    SAMPLING_FIELDS,
    UNSUPPORTED,
    GenerationConfig,
)

VOCABULARY = 10
FIELDS = [field.name for field in attrs.fields(GenerationConfig) if field.name != "extra"]

ids = st.integers(0, VOCABULARY - 1)
some_ids = st.lists(ids, min_size=1, max_size=3)


def floats(low: float, high: float, **bounds: Any) -> st.SearchStrategy[float]:
    return st.floats(low, high, **bounds)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "max_length": st.integers(1, 40),
    "max_new_tokens": st.integers(1, 40),
    "min_length": st.integers(0, 9),
    "min_new_tokens": st.integers(0, 9),
    "early_stopping": st.sampled_from([True, False, "never"]),
    "num_beams": st.integers(1, 4),
    "do_sample": st.booleans(),
    "use_cache": st.booleans(),
    "temperature": floats(0.1, 3),
    "top_k": st.integers(0, 12),
    "top_p": floats(0, 1, exclude_min=True),
    "min_p": floats(0, 1),
    "typical_p": floats(0, 1, exclude_min=True),
    "epsilon_cutoff": floats(0, 1, exclude_max=True),
    "eta_cutoff": floats(0, 1, exclude_max=True),
    "repetition_penalty": floats(0.5, 3),
    "length_penalty": floats(-2, 2),
    "no_repeat_ngram_size": st.integers(0, 4),
    "bad_words_ids": st.lists(some_ids, min_size=1, max_size=3),
    "sequence_bias": st.lists(
        st.tuples(some_ids, floats(-5, 5)).map(list), min_size=1, max_size=3, unique_by=lambda pair: tuple(pair[0])
    ),
    "renormalize_logits": st.booleans(),
    "remove_invalid_values": st.booleans(),
    "forced_bos_token_id": ids,
    "forced_eos_token_id": ids | some_ids,
    "suppress_tokens": st.lists(ids, max_size=3),
    "begin_suppress_tokens": st.lists(ids, max_size=3),
    "exponential_decay_length_penalty": st.tuples(st.integers(0, 6), floats(0.5, 2)).map(list),
    "num_return_sequences": st.integers(1, 4),
    "output_scores": st.booleans(),
    "output_logits": st.booleans(),
    "output_attentions": st.booleans(),
    "output_hidden_states": st.booleans(),
    "return_dict_in_generate": st.booleans(),
    "pad_token_id": ids,
    "bos_token_id": ids,
    "eos_token_id": ids | st.lists(ids, min_size=1, max_size=3, unique=True),
    "decoder_start_token_id": ids,
}


@st.composite
def generation_fields(draw: Any) -> dict[str, Any]:
    """Some fields of a generation_config.json."""
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=14))
    return {name: draw(VALUES[name]) for name in names}


extras = st.dictionaries(
    st.sampled_from(["_from_model_config", "transformers_version", "diversity_penalty", "a_new_field"]),
    st.sampled_from([None, True, "4.57.1", 0.0, [1, {"a": 2}]]),
)


def known(config: GenerationConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in FIELDS}


def accepted(fields: dict[str, Any]) -> GenerationConfig:
    """The config of ``fields``. Rejects the example if the config cannot be resolved."""
    config = GenerationConfig.from_dict(fields)
    try:
        config.resolved()
    except ConfigError:
        assume(False)
    return config


def their_config(fields: dict[str, Any]) -> transformers.GenerationConfig:
    return transformers.GenerationConfig(**json.loads(json.dumps(fields)))


def test_the_hypothesis_strategies_cover_every_field():
    assert sorted(VALUES) == sorted(FIELDS)


@given(generation_fields(), extras)
def test_a_config_survives_its_dict_and_json(fields, extra):
    config = GenerationConfig.from_dict({**fields, **extra})
    assert config.extra == extra
    assert GenerationConfig.from_dict(config.to_dict()) == config
    assert GenerationConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert {name: value for name, value in config.to_dict().items() if name in fields} == fields


@given(generation_fields())
def test_a_config_survives_transformers(fields):
    config = accepted(fields)
    theirs = their_config(config.to_dict())
    assert known(GenerationConfig.from_dict(theirs.to_dict())) == known(config)
    assert known(GenerationConfig.from_dict(json.loads(theirs.to_json_string()))) == known(config)


@given(generation_fields(), extras)
def test_a_saved_config_loads_here_and_in_transformers(fields, extra):
    config = accepted({**fields, **extra})
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        written = json.loads((Path(folder) / "generation_config.json").read_text())
        assert written == {**fields, **extra}
        assert GenerationConfig.from_pretrained(folder) == config
        theirs = transformers.GenerationConfig.from_pretrained(folder)
    assert known(GenerationConfig.from_dict(theirs.to_dict())) == known(config)


@given(generation_fields(), generation_fields(), st.booleans())
def test_without_generation_config_json_the_fields_equal_those_transformers_reads_from_config_json(top, below, forced):
    top |= {"force_bos_token_to_be_generated": True} if forced else {}
    data = {"model_type": "vision-encoder-decoder", "hidden_size": 3, "top_h": None, **top}
    data["decoder"] = {"vocab_size": 9, "num_beam_groups": 1, "temperature": None, **below}
    try:
        theirs = transformers.GenerationConfig.from_model_config(json.loads(json.dumps(data)))
    except ValueError:
        assume(False)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(data))
        config = GenerationConfig.from_pretrained(folder)
    assert known(config) == known(GenerationConfig.from_dict(theirs.to_dict()))
    assert config.extra == {}


def test_an_unsupported_field_of_config_json_is_kept_and_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"decoder": {"num_beam_groups": 2, "num_beams": 4}}')
    config = GenerationConfig.from_pretrained(tmp_path)
    assert config.extra == {"num_beam_groups": 2}
    with pytest.raises(ConfigError, match="num_beam_groups is 2") as error:
        config.resolved()
    assert (error.value.field, error.value.found) == ("num_beam_groups", 2)


def test_a_folder_without_any_config_is_an_error_that_names_the_missing_file(tmp_path):
    with pytest.raises(CheckpointNotFound, match=r"config\.json"):
        GenerationConfig.from_pretrained(tmp_path)


def test_a_bad_value_in_a_file_is_an_error_that_names_the_file_and_the_field(tmp_path):
    (tmp_path / "generation_config.json").write_text('{"num_beams": "4"}')
    with pytest.raises(ConfigError, match=r"generation_config\.json.*'4'.*num_beams"):
        GenerationConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_length", 0),
        ("max_new_tokens", 0),
        ("min_length", -1),
        ("num_beams", 0),
        ("num_beams", True),
        ("num_beams", 10**9),
        ("do_sample", 1),
        ("temperature", 0.0),
        ("temperature", float("nan")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("min_p", 1.5),
        ("typical_p", 0.0),
        ("epsilon_cutoff", 1.0),
        ("eta_cutoff", -0.5),
        ("repetition_penalty", 0.0),
        ("early_stopping", "always"),
        ("bad_words_ids", []),
        ("bad_words_ids", [[]]),
        ("bad_words_ids", 3),
        ("sequence_bias", [[[1], "2"]]),
        ("sequence_bias", {(1,): float("-inf")}),
        ("sequence_bias", [3]),
        ("sequence_bias", 3),
        ("exponential_decay_length_penalty", [3]),
        ("exponential_decay_length_penalty", [3, 0.0]),
        ("eos_token_id", [1, -1]),
        ("forced_bos_token_id", -1),
        ("num_return_sequences", 0),
        ("num_return_sequences", 10**9),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_constructor_and_on_assignment(name, value):
    with pytest.raises(ConfigError, match=name) as error:
        GenerationConfig(**{name: value})
    assert error.value.field == name
    assert error.value.expected
    with pytest.raises(ConfigError, match=name):
        setattr(GenerationConfig(), name, value)
    with pytest.raises(ConfigError, match=name):
        GenerationConfig().with_fields(**{name: value})


def test_biases_may_be_a_mapping_and_floats_may_be_given_as_ints():
    config = GenerationConfig(sequence_bias={(1, 2): 3, (4,): -1.0}, exponential_decay_length_penalty=[5, 2])
    assert config.sequence_bias == (((1, 2), 3.0), ((4,), -1.0))
    assert config.exponential_decay_length_penalty == (5, 2.0)


def test_unset_fields_have_the_defaults_of_transformers():
    theirs = transformers.GenerationConfig._get_default_generation_params()
    expected = {name: value for name, value in theirs.items() if name in FIELDS and value is not None}
    del expected["max_length"]  # its default is 20 new tokens, which depends on the prompt
    assert expected == DEFAULTS
    assert known(GenerationConfig().resolved()) == {**dict.fromkeys(FIELDS), **DEFAULTS}


def test_the_accepted_values_of_unsupported_fields_include_the_defaults_of_transformers():
    theirs = transformers.GenerationConfig._get_default_generation_params()
    for name, neutral in UNSUPPORTED.items():
        assert theirs.get(name) is None or theirs[name] in neutral
        GenerationConfig(extra={name: theirs.get(name)}).resolved()


@given(generation_fields())
def test_resolving_keeps_set_fields_and_is_idempotent(fields):
    config = accepted(fields)
    before = config.to_dict()
    resolved = config.resolved()
    assert config.to_dict() == before
    assert {name: resolved.to_dict()[name] for name in fields} == fields
    assert resolved.resolved() == resolved
    assert all(getattr(resolved, name) is not None for name in DEFAULTS)


@pytest.mark.parametrize(("eos", "pad"), [(None, None), (7, 7), ([8, 7], 8)])
def test_the_padding_token_defaults_to_the_first_end_token(eos, pad):
    assert GenerationConfig(eos_token_id=eos).resolved().pad_token_id == pad
    assert GenerationConfig(eos_token_id=eos, pad_token_id=0).resolved().pad_token_id == 0


@given(generation_fields(), st.integers(1, 9))
def test_lengths_equal_those_of_transformers(fields, prompt_length):
    lengths = {name: fields[name] for name in fields if name.endswith(("_length", "_new_tokens"))}
    config = GenerationConfig.from_dict(lengths)
    theirs = transformers.GenerationConfig(**lengths)
    unset = {"has_default_max_length": theirs.max_length is None, "has_default_min_length": theirs.min_length is None}
    theirs.update(**theirs._get_default_generation_params(), defaults_only=True)
    model = SimpleNamespace(config=SimpleNamespace(is_encoder_decoder=True))
    prepared = GenerationMixin._prepare_generated_length(
        model, theirs, **unset, model_input_name="pixel_values", input_ids_length=prompt_length, inputs_tensor=None
    )
    assert config.limit(prompt_length) == config.resolved().limit(prompt_length) == prepared.max_length
    assert (
        config.minimum_length(prompt_length) == config.resolved().minimum_length(prompt_length) == prepared.min_length
    )


STRATEGIES = {
    "greedy": {},
    "sampling": {"do_sample": True},
    "beam search": {"num_beams": 3},
    "beam sampling": {"do_sample": True, "num_beams": 3},
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(st.data())
def test_an_argument_is_refused_exactly_if_the_strategy_ignores_it(strategy, data):
    name = data.draw(st.sampled_from(sorted(set(FIELDS) - {"do_sample", "num_beams"})))
    value = 2 if name == "num_return_sequences" else getattr(GenerationConfig(**{name: data.draw(VALUES[name])}), name)
    config = GenerationConfig(**STRATEGIES[strategy])
    assert config.strategy == strategy
    ignored = (
        (name in SAMPLING_FIELDS and "sampling" not in strategy)
        or (name in BEAM_FIELDS and "beam" not in strategy)
        or (name == "num_return_sequences" and strategy == "greedy")
        or (name in OUTPUT_FIELDS and value)
    )
    if ignored:
        with pytest.raises(ConfigError, match=name) as error:
            config.with_fields(**{name: value})
        assert error.value.field == name
    else:
        changed = config.with_fields(**{name: value})
        assert getattr(changed, name) == value
        assert getattr(config, name) is None


def test_a_file_may_have_fields_that_the_strategy_ignores():
    fields = {"temperature": 0.5, "top_p": 0.5, "length_penalty": 2.0, "early_stopping": True}
    assert GenerationConfig.from_dict(fields).resolved().strategy == "greedy"


def test_arguments_are_checked_against_the_resulting_strategy():
    config = GenerationConfig(do_sample=True, num_beams=4)
    assert config.with_fields(temperature=0.5, length_penalty=2).length_penalty == 2.0
    with pytest.raises(ConfigError, match=r"temperature=0\.5 is used only by sampling.*beam search.*num_beams=4"):
        config.with_fields(temperature=0.5, do_sample=False)
    assert GenerationConfig().with_fields(temperature=0.5, do_sample=True).temperature == 0.5


@pytest.mark.parametrize("name", OUTPUT_FIELDS)
def test_outputs_need_return_dict_in_generate(name):
    with pytest.raises(ConfigError, match=f"{name}=True needs return_dict_in_generate=True"):
        GenerationConfig().with_fields(**{name: True})
    config = GenerationConfig().with_fields(**{name: True}, return_dict_in_generate=True)
    assert getattr(config, name)
    assert getattr(GenerationConfig(return_dict_in_generate=True).with_fields(**{name: True}), name)


def test_a_length_argument_that_another_field_overrides_is_refused():
    config = GenerationConfig(max_new_tokens=5, min_new_tokens=2, max_length=30)
    with pytest.raises(ConfigError, match="max_length=9 would be ignored, because max_new_tokens is 5"):
        config.with_fields(max_length=9)
    with pytest.raises(ConfigError, match="min_length=9 would be ignored, because min_new_tokens is 2"):
        config.with_fields(min_length=9)
    assert config.with_fields(max_length=9, max_new_tokens=None).limit(3) == 9


def test_a_default_length_is_used_only_if_no_length_is_set():
    assert GenerationConfig().with_default_length(9).limit(1) == 9
    for config in (GenerationConfig(max_length=5), GenerationConfig(max_new_tokens=5)):
        assert config.with_default_length(9) == config
    assert GenerationConfig().with_default_length(None).limit(1) == 21


def test_none_unsets_a_field_under_any_strategy():
    assert GenerationConfig(temperature=0.5).with_fields(temperature=None).temperature is None


def test_an_unknown_argument_is_a_type_error_with_a_suggestion():
    for name, suggestion in (("num_beam", "num_beams"), ("max_new_token", "max_new_tokens")):
        with pytest.raises(TypeError, match=f"{name!r}; did you mean .*{suggestion}"):
            GenerationConfig().with_fields(**{name: 4})
    with pytest.raises(TypeError, match=r"no generation field 'streamer': model\.stream"):
        GenerationConfig().with_fields(streamer=print)
    with pytest.raises(TypeError, match=r"no generation field 'zzz'$"):
        GenerationConfig().with_fields(zzz=4)
    with pytest.raises(TypeError, match="vedcore does not support"):
        GenerationConfig().with_fields(num_beam_groups=2)
    with pytest.raises(TypeError, match="no generation field 'extra'"):
        GenerationConfig().with_fields(extra={})


def test_a_copy_shares_no_state_with_its_original():
    config = GenerationConfig(extra={"a": 1})
    config.with_fields(num_beams=2).extra["a"] = 2
    assert config.extra == {"a": 1}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_return_sequences": 2}, "num_return_sequences is 2"),
        ({"num_return_sequences": 5, "num_beams": 4}, r"num_return_sequences \(5\) must be at most num_beams \(4\)"),
        ({"forced_eos_token_id": [1, 2], "suppress_tokens": [2, 3, 1]}, r"forced_eos_token_id \(\[1, 2\]\)"),
        ({"forced_bos_token_id": 2, "suppress_tokens": [2]}, r"forced_bos_token_id \(\[2\]\)"),
        ({"exponential_decay_length_penalty": [1, 1.5]}, "eos_token_id is not set"),
    ],
)
def test_resolving_refuses_contradictions(fields, message):
    config = GenerationConfig.from_dict(fields)
    with pytest.raises(ConfigError, match=message):
        config.resolved()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_beam_groups", 2),
        ("penalty_alpha", 0.6),
        ("dola_layers", "high"),
        ("constraints", [1]),
        ("force_words_ids", [[1]]),
        ("guidance_scale", 1.5),
        ("watermarking_config", {"bias": 2.0}),
        ("prompt_lookup_num_tokens", 3),
        ("assistant_early_exit", 2),
        ("encoder_repetition_penalty", 1.2),
        ("stop_strings", ["a"]),
    ],
)
def test_an_unsupported_field_that_would_change_the_text_is_refused_by_name(name, value):
    config = GenerationConfig.from_dict({name: value})
    with pytest.raises(ConfigError, match=name):
        config.resolved()


def test_unsupported_fields_with_neutral_values_are_accepted():
    extra = {"num_beam_groups": 1, "diversity_penalty": 0.0, "guidance_scale": 1, "penalty_alpha": None}
    assert GenerationConfig.from_dict(extra).resolved().extra == extra
