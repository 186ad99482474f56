"""Configs: exact types, checked when built and when assigned, and the same config.json on both sides."""

import copy
import json
import pickle
from typing import Any

import attrs
import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from vedcore.config import (
    MAX_HEADS,
    MAX_LAYERS,
    MAX_WIDTH,
    Config,
    Size,
    TokenIds,
    field,
    from_dict,
    model_config,
    pair,
    settings,
    strict,
)
from vedcore.errors import CheckpointNotFound, ConfigError
from vedcore.nn import ACTIVATIONS, CrossAttention, SelfAttention
from vedcore.registry import registry
from vedcore_plugin_gpt2 import GPT2Config
from vedcore_plugin_vit import ViTConfig

CONFIGS = (ViTConfig, GPT2Config)
THEIRS = {ViTConfig: transformers.ViTConfig, GPT2Config: transformers.GPT2Config}
DERIVED = {ViTConfig: {"pooler_output_size"}, GPT2Config: set()}
"""Fields that transformers works out when they are unset."""

at_least_one = st.integers(1, 99)
rates = st.floats(0, 1)
sizes = at_least_one | st.tuples(at_least_one, at_least_one)
acts = st.sampled_from(sorted(ACTIVATIONS))
ids = st.integers(0, 999)
extras = st.dictionaries(st.sampled_from(["note", "task_params", "_name"]), st.none() | st.text() | st.booleans())

VIT = st.fixed_dictionaries(
    {},
    optional={
        "hidden_size": at_least_one,
        "num_hidden_layers": at_least_one,
        "num_attention_heads": st.just(1),
        "intermediate_size": at_least_one,
        "hidden_act": acts,
        "hidden_dropout_prob": rates,
        "attention_probs_dropout_prob": rates,
        "initializer_range": st.floats(1e-6, 9),
        "layer_norm_eps": st.floats(1e-12, 1),
        "image_size": sizes,
        "patch_size": sizes,
        "num_channels": at_least_one,
        "qkv_bias": st.booleans(),
        "pooler_output_size": st.none() | at_least_one,
        "pooler_act": acts,
        "extra": extras,
    },
)
GPT2 = st.fixed_dictionaries(
    {},
    optional={
        "vocab_size": at_least_one,
        "n_positions": at_least_one,
        "n_embd": at_least_one,
        "n_layer": at_least_one,
        "n_head": st.just(1),
        "n_inner": st.none() | at_least_one,
        "activation_function": acts,
        "resid_pdrop": rates,
        "embd_pdrop": rates,
        "attn_pdrop": rates,
        "layer_norm_epsilon": st.floats(1e-12, 1),
        "initializer_range": st.floats(1e-6, 9),
        "scale_attn_weights": st.booleans(),
        "scale_attn_by_inverse_layer_idx": st.booleans(),
        "add_cross_attention": st.booleans(),
        "tie_word_embeddings": st.booleans(),
        "bos_token_id": st.none() | ids,
        "eos_token_id": st.none() | ids | st.lists(ids, min_size=1, max_size=3).map(tuple),
        "pad_token_id": st.none() | ids,
        "extra": extras,
    },
)
configs = VIT.map(lambda fields: ViTConfig(**fields)) | GPT2.map(lambda fields: GPT2Config(**fields))


@settings
class Everything(Config):
    """A field of each kind."""

    count: int = field.integer(2, at_least=2)
    maybe_count: int | None = field.integer(None)
    ratio: float = field.number(1.0, above=0.0, at_most=2.0)
    maybe_ratio: float | None = field.number(None)
    chance: float = field.rate(0.5)
    on: bool = field.flag(True)
    maybe_on: bool | None = field.flag(None)
    word: str = field.text("a")
    maybe_word: str | None = field.text(None)
    choice: str = field.text("x", one_of=("y", "x"))
    depths: tuple[int, ...] = field.integers((1, 2))
    maybe_depths: tuple[int, ...] | None = field.integers(None, at_least=0)
    pixels: Size = field.size(4)
    end: TokenIds = field.token_ids()


def as_json(value):
    return json.loads(json.dumps(value))


# Round trips.


@given(configs)
def test_dict_and_json_round_trips_are_equal(config):
    cls = type(config)
    assert cls.from_dict(config.to_dict()) == config
    assert cls.from_dict(as_json(config.to_dict())) == config
    assert config.to_dict()["model_type"] == cls.model_type


@given(configs)
def test_a_config_comes_back_from_the_class_of_transformers(config):
    cls = type(config)
    theirs = THEIRS[cls].from_dict(as_json(config.to_dict()))
    back = cls.from_dict(as_json(theirs.to_dict()))
    for attribute in attrs.fields(cls):
        if attribute.name in {"extra"} | DERIVED[cls]:
            continue
        assert getattr(back, attribute.name) == getattr(config, attribute.name), attribute.name
    for name, value in config.extra.items():
        assert back.extra.get(name, value) == value


@pytest.mark.parametrize("cls", CONFIGS)
def test_the_defaults_are_those_of_transformers(cls):
    ours, theirs = cls().to_dict(), as_json(THEIRS[cls]().to_dict())
    for name in ours.keys() - DERIVED[cls]:
        assert ours[name] == theirs[name], name


@given(configs)
def test_copies_are_equal_and_independent(config):
    config.extra["list"] = [1]
    for other in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert other == config
        assert type(other) is type(config)
        other.extra["list"].append(2)
        assert config.extra["list"] == [1]
        with pytest.raises(ConfigError):
            other.initializer_range = "no"


def test_a_replaced_field_is_checked_and_the_original_stays():
    config = GPT2Config(n_embd=8, extra={"note": "x"})
    changed = config.replace(n_embd=16, eos_token_id=[1, 2])
    assert (changed.n_embd, changed.eos_token_id, changed.extra) == (16, (1, 2), {"note": "x"})
    changed.extra["note"] = "y"
    assert config == GPT2Config(n_embd=8, extra={"note": "x"})
    with pytest.raises(ConfigError, match=r"GPT2Config\.n_embd"):
        config.replace(n_embd=0)
    for name in ("width", "hidden_size", "to_dict"):
        with pytest.raises(TypeError, match=f"GPT2Config has no field '{name}'"):
            config.replace(**{name: 3})


def test_a_config_is_read_from_its_folder(tmp_path):
    config = GPT2Config(n_layer=3, extra={"note": "x"})
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_dict()))
    assert GPT2Config.from_pretrained(tmp_path) == config
    assert GPT2Config.from_pretrained(str(tmp_path)) == config
    path.write_text('{"n_layer": "3"}')
    with pytest.raises(ConfigError) as error:
        GPT2Config.from_pretrained(tmp_path)
    assert str(path) in str(error.value)
    assert "expected int, got '3'" in str(error.value)
    assert "n_layer" in str(error.value)
    with pytest.raises(CheckpointNotFound):
        GPT2Config.from_pretrained(tmp_path / "absent")


# Strictness.

LAYERS = [
    ("encoder", ("vit", "deit", "beit"), "num_hidden_layers"),
    ("encoder", ("swin", "donut-swin"), "depths"),
    ("decoder", ("bert", "roberta", "xlm-roberta"), "num_hidden_layers"),
    ("decoder", ("distilbert",), "n_layers"),
    ("decoder", ("gpt2",), "n_layer"),
    ("decoder", ("bart", "mbart", "trocr"), "decoder_layers"),
]
LAYERS = [(name, role, field) for role, names, field in LAYERS for name in names]


@pytest.mark.parametrize(("model_type", "role", "field"), LAYERS)
def test_a_config_that_asks_for_a_billion_layers_is_refused_before_one_is_built(model_type, role, field):
    count, config = 10**9, registry().backbone(model_type, role).model.config_class()
    with pytest.raises(ConfigError, match=f"{field} .* from 1 to {MAX_LAYERS}"):
        setattr(config, field, (count,) if field == "depths" else count)


HEADS = [
    ("encoder", ("vit", "deit", "beit"), "num_attention_heads"),
    ("encoder", ("swin", "donut-swin"), "num_heads"),
    ("decoder", ("bert", "roberta", "xlm-roberta"), "num_attention_heads"),
    ("decoder", ("distilbert",), "n_heads"),
    ("decoder", ("gpt2",), "n_head"),
    ("decoder", ("bart", "mbart", "trocr"), "decoder_attention_heads"),
]
HEADS = [(name, role, field) for role, names, field in HEADS for name in names]


@pytest.mark.parametrize(("model_type", "role", "field"), HEADS)
def test_a_config_that_asks_for_a_billion_heads_is_refused_before_they_are_counted(model_type, role, field):
    count, config = 10**9, registry().backbone(model_type, role).model.config_class()
    with pytest.raises(ConfigError, match=f"{field} .* from 1 to {MAX_HEADS}"):
        setattr(config, field, (count,) if field == "num_heads" else count)


WIDTHS = [
    ("encoder", ("vit", "deit", "beit"), "hidden_size"),
    ("encoder", ("swin", "donut-swin"), "embed_dim"),
    ("decoder", ("bert", "roberta", "xlm-roberta"), "hidden_size"),
    ("decoder", ("distilbert",), "dim"),
    ("decoder", ("gpt2",), "n_embd"),
    ("decoder", ("bart", "mbart", "trocr"), "d_model"),
]
WIDTHS = [(name, role, field) for role, names, field in WIDTHS for name in names]


@pytest.mark.parametrize(("model_type", "role", "field"), WIDTHS)
def test_a_config_that_asks_for_states_of_a_billion_numbers_is_refused(model_type, role, field):
    config = registry().backbone(model_type, role).model.config_class()
    with pytest.raises(ConfigError, match=f"{field} .* from 1 to {MAX_WIDTH}"):
        setattr(config, field, 10**9)


@pytest.mark.parametrize("attention", [SelfAttention, CrossAttention])
def test_an_attention_refuses_more_heads_than_it_has_places_before_they_are_counted(attention):
    with pytest.raises(ConfigError, match=r"hidden size \(8\) must be a multiple of the number of heads"):
        attention(8, 10**18)  # so many numbers would fill any memory


WRONG = [
    ("count", "3"),
    ("count", 3.0),
    ("count", True),
    ("count", None),
    ("count", 1),
    ("count", [3]),
    ("maybe_count", 0),
    ("maybe_count", "x"),
    ("maybe_count", False),
    ("ratio", "1.0"),
    ("ratio", True),
    ("ratio", 0),
    ("ratio", 0.0),
    ("ratio", 2.5),
    ("ratio", None),
    ("ratio", float("nan")),
    ("ratio", 10**400),
    ("maybe_ratio", float("inf")),
    ("maybe_ratio", "x"),
    ("chance", -0.1),
    ("chance", 1.5),
    ("chance", 2),
    ("chance", False),
    ("chance", float("nan")),
    ("on", "false"),
    ("on", 0),
    ("on", 1.0),
    ("on", None),
    ("maybe_on", "true"),
    ("maybe_on", 1),
    ("word", 3),
    ("word", None),
    ("word", ["a"]),
    ("maybe_word", 3),
    ("choice", "z"),
    ("choice", ""),
    ("choice", ["x"]),
    ("depths", [1, "2"]),
    ("depths", [1, 0]),
    ("depths", [True]),
    ("depths", 3),
    ("depths", "12"),
    ("depths", ""),
    ("depths", {}),
    ("depths", None),
    ("maybe_depths", [-1]),
    ("maybe_depths", {}),
    ("maybe_depths", ""),
    ("pixels", 0),
    ("pixels", "4"),
    ("pixels", 4.0),
    ("pixels", [4]),
    ("pixels", [4, 4, 4]),
    ("pixels", [4, 0]),
    ("pixels", [4, True]),
    ("pixels", {"height": 4, "width": 4}),
    ("pixels", None),
    ("end", -1),
    ("end", []),
    ("end", [1, -1]),
    ("end", "2"),
    ("end", True),
    ("end", 2.0),
]
STATED = [
    ("count", 5, 5),
    ("maybe_count", None, None),
    ("maybe_count", 1, 1),
    ("ratio", 2, 2.0),
    ("maybe_ratio", None, None),
    ("maybe_ratio", -3, -3.0),
    ("chance", 1, 1.0),
    ("on", False, False),
    ("maybe_on", None, None),
    ("maybe_on", False, False),
    ("word", "", ""),
    ("maybe_word", None, None),
    ("choice", "y", "y"),
    ("depths", [3], (3,)),
    ("maybe_depths", None, None),
    ("maybe_depths", [0], (0,)),
    ("pixels", 7, 7),
    ("pixels", [7, 8], (7, 8)),
    ("end", None, None),
    ("end", 0, 0),
    ("end", [1, 2], (1, 2)),
]


def short(value):
    return repr(value)[:20]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=short)
def test_a_wrong_value_is_refused_by_name_wherever_it_comes_from(name, value):
    config = Everything()
    with pytest.raises(ConfigError) as built:
        Everything(**{name: value})
    with pytest.raises(ConfigError) as assigned:
        setattr(config, name, value)
    with pytest.raises(ConfigError) as read:
        Everything.from_dict({name: value}, "some/config.json")
    assert config == Everything()
    for error in (built, assigned, read):
        message = str(error.value)
        assert "Everything" in message
        assert name in message
        assert repr(value) in message or repr(tuple(value)) in message or repr(float(value)) in message
        assert error.value.field == name
        assert error.value.expected in message
        assert repr(error.value.found) in message
    assert str(read.value).startswith("some/config.json: ")
    assert read.value.file == "some/config.json"


@pytest.mark.parametrize(("name", "value", "kept"), STATED, ids=short)
def test_a_right_value_is_kept_with_its_exact_type(name, value, kept):
    assigned = Everything()
    setattr(assigned, name, value)
    for config in (Everything(**{name: value}), Everything.from_dict({name: value}), assigned):
        assert getattr(config, name) == kept
        assert type(getattr(config, name)) is type(kept)
        assert config.to_dict()[name] == (list(kept) if isinstance(kept, tuple) else kept)


def test_every_wrong_field_is_named_in_one_error_and_the_first_is_its_data():
    with pytest.raises(ConfigError) as error:
        GPT2Config.from_dict({"n_layer": "2", "n_embd": 12.9, "scale_attn_weights": "false"})
    for told in ("n_layer", "'2'", "n_embd", "12.9", "scale_attn_weights", "'false'", "GPT2Config"):
        assert told in str(error.value)
    assert (error.value.file, error.value.field) == (None, "n_embd")
    assert (error.value.expected, error.value.found) == ("int", 12.9)


@strict
class Leaf:
    word: str = field.text("a")


@strict
class Tree:
    leaf: Leaf
    leaves: tuple[Leaf, ...] = ()
    words: tuple[str, ...] = ()
    rates: dict[str, float] = attrs.field(factory=dict)
    options: dict[str, Any] = attrs.field(factory=dict)


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("leaf", "abc", "a table of fields"),
        ("leaf", [], "a table of fields"),
        ("leaf", None, "a table of fields"),
        ("leaves", "abc", "a list of tables"),
        ("leaves", {"word": "a"}, "a list of tables"),
        ("words", "abc", "a list"),
        ("words", {"a": 1}, "a list"),
        ("words", 3, "a list"),
        ("rates", "abc", "a table"),
        ("rates", [1.0], "a table"),
        ("options", "ab", "a table"),
        ("options", [["a", 1]], "a table"),
    ],
    ids=short,
)
def test_the_error_for_a_value_of_another_form_names_the_expected_form(field, value, wanted):
    with pytest.raises(ConfigError) as error:
        from_dict(Tree, {"leaf": {}, field: value}, "here")
    assert str(error.value) == f"here: expected {wanted}, got {value!r} in Tree.{field}"


def test_a_value_of_the_right_form_is_accepted_and_its_parts_are_checked():
    fields = {"leaf": {"word": "x"}, "leaves": [{}, {"word": "y"}], "words": ["ab"], "rates": {"a": 1}}
    assert from_dict(Tree, fields) == Tree(
        leaf=Leaf(word="x"), leaves=(Leaf(), Leaf(word="y")), words=("ab",), rates={"a": 1.0}
    )
    with pytest.raises(ConfigError, match=r"expected str, got 3 in Tree\.leaves\[1\]\.word") as error:
        from_dict(Tree, {"leaf": {}, "leaves": [{}, {"word": 3}]})
    assert (error.value.field, error.value.expected, error.value.found) == ("leaves[1].word", "str", 3)


def test_the_error_for_a_missing_field_says_that_it_is_missing():
    with pytest.raises(ConfigError, match=r"^here: the field is missing and has no default in Tree\.leaf$") as error:
        from_dict(Tree, {}, "here")
    assert error.value.field == "leaf"


def test_an_unknown_field_of_a_strict_class_is_the_field_of_the_error():
    with pytest.raises(ConfigError, match="Leaf has no field 'wrod'; did you mean 'word'") as error:
        from_dict(Tree, {"leaf": {"wrod": "a"}}, "recipe.toml")
    assert (error.value.file, error.value.field) == ("recipe.toml", "leaf.wrod")


@pytest.mark.parametrize("data", [3, "abc", None, []])
def test_a_config_is_read_only_from_a_table(data):
    with pytest.raises(ConfigError, match="here: expected a table of fields, got"):
        GPT2Config.from_dict(data, "here")


@pytest.mark.parametrize("cls", CONFIGS)
def test_every_field_refuses_an_object_of_no_known_type(cls):
    strange = object()
    for attribute in attrs.fields(cls):
        with pytest.raises(ConfigError) as error:
            cls(**{attribute.name: strange})
        assert attribute.name in str(error.value)
        assert cls.__name__ in str(error.value)


@pytest.mark.parametrize("cls", CONFIGS)
def test_an_unknown_argument_or_attribute_is_refused(cls):
    with pytest.raises(TypeError, match="hiden_size"):
        cls(hiden_size=3)
    with pytest.raises(TypeError):
        cls(3)
    with pytest.raises(AttributeError, match="hiden_size"):
        cls().hiden_size = 3


def test_another_model_type_is_refused():
    with pytest.raises(ConfigError, match="here: model_type is 'beit', but ViTConfig is for 'vit'"):
        ViTConfig.from_dict({"model_type": "beit"}, "here")
    assert ViTConfig.from_dict({"model_type": "vit"}) == ViTConfig.from_dict({}) == ViTConfig()


# Unknown fields.


def test_unknown_fields_are_kept_and_written_back():
    data = {"n_layer": 2, "transformers_version": "4.1", "task": {"a": [1, {"b": None}]}, "extra": 5}
    config = GPT2Config.from_dict(data)
    assert config.extra == {key: value for key, value in data.items() if key != "n_layer"}
    written = config.to_dict()
    assert {key: written[key] for key in data} == data
    assert GPT2Config.from_dict(written) == config


def test_extra_never_overrides_a_field():
    assert GPT2Config(extra={"n_layer": 99, "model_type": "vit"}).to_dict()["n_layer"] == 12
    assert GPT2Config(extra={"n_layer": 99, "model_type": "vit"}).to_dict()["model_type"] == "gpt2"


def test_a_class_may_bring_methods_of_its_own():
    @model_config("own")
    class Own(Config):
        width: int = field.integer(1)

        def to_dict(self):
            return {"mine": self.width}

        @classmethod
        def from_dict(cls, data, where="config"):
            return cls(width=data["mine"])

        @classmethod
        def from_pretrained(cls, folder):
            return cls(width=7)

    assert Own.from_dict(Own(width=3).to_dict()) == Own(width=3)
    assert Own.from_pretrained("x").width == 7
    assert Own.model_type == "own"


def test_a_group_of_settings_has_no_model_type():
    assert "model_type" not in Everything().to_dict()
    assert Everything.from_dict({"model_type": "any"}) == Everything()


def test_an_error_without_a_message_still_names_its_kind():
    @settings
    class Silent(Config):
        word: str = attrs.field(default="a")

        def __attrs_post_init__(self):
            raise ValueError

    with pytest.raises(ConfigError, match="ValueError"):
        Silent.from_dict({})


def test_a_pair_is_one_number_twice_or_itself():
    assert pair(3) == (3, 3)
    assert pair((3, 4)) == (3, 4)


# The architectures' own rules.


def test_what_follows_from_the_fields_of_gpt2():
    config = GPT2Config(n_embd=16, n_head=4, scale_attn_by_inverse_layer_idx=True)
    assert (config.hidden_size, config.mlp_width) == (16, 64)
    assert GPT2Config(n_inner=5).mlp_width == 5
    assert config.attention_scale(1) == 0.25
    assert GPT2Config(scale_attn_weights=False).attention_scale(3) == 1.0


@model_config("inner", inside={"outer": "vision_config"})
class InnerConfig(Config):
    """A config that files of a larger model contain."""

    width: int = field.integer(3)


def test_a_nested_config_is_read_from_the_file_of_the_larger_model():
    assert InnerConfig.from_dict({"model_type": "outer", "width": 9, "vision_config": {"width": 5}}).width == 5
    assert InnerConfig.from_dict({"model_type": "inner", "width": 9, "vision_config": {"width": 5}}).width == 9
    assert InnerConfig.from_dict({"model_type": "outer", "vision_config": {}}).to_dict()["model_type"] == "inner"


def test_the_file_of_a_larger_model_without_the_nested_config_is_an_error_that_names_the_key():
    with pytest.raises(ConfigError, match=r"f\.json: the file of a 'outer' model needs vision_config") as raised:
        InnerConfig.from_dict({"model_type": "outer", "width": 9}, "f.json")
    assert raised.value.field == "vision_config"
    with pytest.raises(ConfigError, match="model_type is 'other'"):
        InnerConfig.from_dict({"model_type": "other", "vision_config": {}})
