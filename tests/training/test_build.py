"""From the [model] table of a recipe to a reader."""

import importlib

import pytest
import torch

from tests.training.tiny import recipe
from vedcore.errors import ConfigError, TrainingError
from vedcore.reader import locate
from vedcore.training import build, train
from vedcore.training.build import build_reader
from vedcore.training.checkpoints import write_reader
from vedcore.training.data.label_encoder import LabelEncoder
from vedcore.training.recipe import ModelSettings

WHOLE = recipe().model


def changed(**fields):
    return ModelSettings(**{**recipe().to_dict()["model"], **fields})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint of random weights."""
    folder = tmp_path_factory.mktemp("built") / "model"
    write_reader(build_reader(changed(cut={"above": 8.0, "longest": 7.0}), 0), folder)
    return str(folder)


def weights(reader, part):
    return getattr(reader.model, part).state_dict()


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_equal_seeds_build_equal_models_and_leave_the_global_random_state_unchanged():
    torch.manual_seed(3)
    first = build_reader(WHOLE, 5)
    assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(3)))
    assert same(weights(first, "decoder"), weights(build_reader(WHOLE, 5), "decoder"))
    assert not same(weights(first, "decoder"), weights(build_reader(WHOLE, 6), "decoder"))


def test_token_ids_come_from_the_tokenizer_and_max_length_from_the_positions():
    model = build_reader(WHOLE, 0).model
    config = model.config
    assert (config.decoder_start_token_id, config.eos_token_id, config.pad_token_id) == (1, 2, 0)
    assert model.generation_config.max_length == 16


def test_the_recipe_sets_generation_fields_and_the_cut_rule():
    reader = build_reader(changed(generation={"max_length": 9}, cut={"above": 5.0, "longest": 4.0}), 0)
    assert reader.model.generation_config.max_length == 9
    assert (reader.cut_rule.above, reader.cut_rule.longest) == (5.0, 4.0)
    with pytest.raises(ConfigError, match=r"model\.cut: .*abov"):
        build_reader(changed(cut={"abov": 5.0}), 0)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"generation": {"foo": 1}}, r"^model\.generation: .*foo"),
        ({"generation": {"max_length": -1}}, r"^model\.generation: .*max_length must be"),
        ({"cut": {"above": "x"}}, r"^model\.cut: CutRule\.above must be"),
        ({"cut": {"above": 10**400}}, r"^model\.cut: "),
    ],
)
def test_an_error_in_a_table_of_the_model_starts_with_its_name(tables, message):
    with pytest.raises(ConfigError, match=message):
        build_reader(changed(**tables), 0)


def test_the_weights_of_a_part_come_from_the_named_checkpoint(folder):
    source = build_reader(ModelSettings(checkpoint=folder), 0)
    encoder = build_reader(changed(encoder=folder), 9)
    assert same(weights(encoder, "encoder"), weights(source, "encoder"))
    assert not same(weights(encoder, "decoder"), weights(source, "decoder"))
    decoder = build_reader(changed(decoder=folder), 9)
    assert same(weights(decoder, "decoder"), weights(source, "decoder"))
    assert decoder.model.config.eos_token_id == 2


def test_a_checkpoint_keeps_its_cut_rule_and_can_get_another_image_processor(folder):
    reader = build_reader(ModelSettings(checkpoint=folder), 0)
    assert reader.cut_rule.above == 8.0
    other = build_reader(ModelSettings(checkpoint=folder, image_processor="line-reader"), 0)
    assert (reader.processor.image_processor.output_size, other.processor.image_processor.output_size) == (
        (16, 64),
        (32, 256),
    )


def test_a_checkpoint_can_get_another_tokenizer(folder, tmp_path):
    settings = (locate("line-reader") / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(settings.replace('"Z": ', '"\u00c4": '))
    (tmp_path / "tokenizer_config.json").write_text((locate("line-reader") / "tokenizer_config.json").read_text())
    reader = build_reader(ModelSettings(checkpoint=folder, tokenizer=str(tmp_path)), 0)
    encode = LabelEncoder.for_reader(reader)
    assert isinstance(encode("\u00c4", "x"), list)
    assert not isinstance(encode("Z", "x"), list)


def test_a_model_without_an_end_token_is_refused():
    reader = build_reader(WHOLE, 0)
    reader.model.config.eos_token_id = None
    with pytest.raises(ConfigError, match="no eos_token_id, so it cannot learn to stop"):
        LabelEncoder.for_reader(reader)
    reader.model.config.eos_token_id = (2, 3)
    assert LabelEncoder.for_reader(reader).end == 2


def test_missing_optional_dependencies_are_named(monkeypatch):
    import vedcore.training as package

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"training needs accelerate and jiwer: pip install 'vedcore\[train\]'"):
        importlib.reload(package)
    assert (package.train, package.build) == (train, build)
