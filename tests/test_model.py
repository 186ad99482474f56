"""The composed model: what it is built from, what a pass takes and refuses, where ids live, what a folder must hold."""

import copy
import json
import os
import pickle
import shutil
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
import transformers
from hypothesis import given
from hypothesis import strategies as st

from tests.parity import assert_within, both, images, perturb
from vedcore import (
    CheckpointError,
    CheckpointNotFound,
    ConfigError,
    EncoderOutput,
    GenerationConfig,
    InputError,
    SaveError,
    Step,
    VedcoreError,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)
from vedcore.contract.types import causal_mask
from vedcore_plugin_distilbert import DistilBertConfig
from vedcore_plugin_gpt2 import GPT2Config, GPT2LMHeadModel
from vedcore_plugin_gpt2.testing import config_fields as gpt2_fields
from vedcore_plugin_vit import ViTConfig, ViTModel
from vedcore_plugin_vit.testing import config_fields as vit_fields

VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 17,
    "image_size": 8,
    "patch_size": 4,
}
GPT2 = {
    "vocab_size": 13,
    "n_positions": 12,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
IDS = {"decoder_start_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def parts(width=16):
    return ViTConfig(**VIT), GPT2Config(**{**GPT2, "n_embd": width}, add_cross_attention=True)


def build(width=16, **ids):
    encoder, decoder = parts(width)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder, **{**IDS, **ids})
    torch.manual_seed(0)
    model = VisionEncoderDecoderModel(config).eval()
    perturb(model, 0)
    return model


@pytest.fixture
def model():
    return build()


@pytest.fixture
def saved(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def pixels(model):
    return images(model, 2)


@pytest.fixture
def ids():
    return torch.randint(3, 13, (2, 5))


def edit(folder, name="config.json", **changes):
    path = folder / name
    data = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not ...}))


# What it is built from.


def test_a_model_of_parts_equals_one_of_their_config(pixels, ids):
    torch.manual_seed(3)
    by_config = VisionEncoderDecoderModel(VisionEncoderDecoderConfig(encoder=parts()[0], decoder=parts()[1])).eval()
    torch.manual_seed(3)
    encoder, decoder = ViTModel(parts()[0]), GPT2LMHeadModel(parts()[1])
    by_parts = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder).eval()
    assert by_parts.encoder is encoder
    assert by_parts.decoder is decoder
    assert by_parts.config == by_config.config
    outputs = [model(pixel_values=pixels, decoder_input_ids=ids).logits for model in (by_config, by_parts)]
    assert torch.equal(*outputs)
    assert by_config.device == torch.device("cpu")


def test_there_is_a_bridge_only_between_different_widths(pixels, ids):
    assert not list(build().bridge.parameters())
    model = build(width=24)
    assert [tuple(p.shape) for p in model.bridge.parameters()] == [(24, 16), (24,)]
    assert model(pixel_values=pixels, decoder_input_ids=ids).encoder_last_hidden_state.shape[-1] == 16
    output = EncoderOutput(torch.randn(1, 5, 16), torch.ones(1, 5, dtype=torch.bool), (2, 2), 1)
    bridged = model.bridge(output)
    assert bridged.states.shape == (1, 5, 24)
    assert (bridged.mask is output.mask, bridged.grid, bridged.extra) == (True, (2, 2), 1)


def test_neither_config_nor_both_parts_is_refused():
    for lone in ({}, {"encoder": ViTModel(parts()[0])}, {"decoder": GPT2LMHeadModel(parts()[1])}):
        with pytest.raises(ConfigError, match="needs a config, or an encoder and a decoder"):
            VisionEncoderDecoderModel(**lone)


def test_a_decoder_config_given_is_not_changed():
    config = GPT2Config(**GPT2)
    assert config.add_cross_attention is False
    joined = VisionEncoderDecoderConfig(encoder=parts()[0], decoder=config)
    assert joined.decoder.add_cross_attention is True
    assert config.add_cross_attention is False


@pytest.mark.parametrize("value", [5, None, "vit", {}, {"model_type": 3}, {"model_type": None}])
@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_a_part_needs_a_config_or_its_dict(role, value):
    encoder, decoder = parts()
    with pytest.raises(ConfigError, match=f"the config of the {role} (must be|has no model_type)"):
        VisionEncoderDecoderConfig(**{"encoder": encoder, "decoder": decoder, role: value})


def test_a_part_in_the_others_place_is_refused():
    _, decoder = parts()
    with pytest.raises(VedcoreError, match=r"no encoder named 'gpt2'.*supplies decoder gpt2"):
        VisionEncoderDecoderConfig(encoder=decoder.to_dict(), decoder=decoder)


@given(vit_fields(), gpt2_fields(), st.sampled_from([None, 0, 7]), st.sampled_from([None, 2, (2, 3)]))
def test_a_config_survives_json(vit, gpt2, start, eos):
    config = VisionEncoderDecoderConfig(
        encoder=ViTConfig(**vit, extra={"encoder_stride": 16}),
        decoder=GPT2Config(**gpt2, extra={"summary_type": "mean"}),
        decoder_start_token_id=start,
        eos_token_id=eos,
        extra={"note": [1, {"a": None}]},
    )
    again = VisionEncoderDecoderConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again.to_dict() == config.to_dict()
    assert again.extra["note"] == [1, {"a": None}]
    assert again.encoder == config.encoder
    assert again.decoder.extra["summary_type"] == "mean"
    theirs = transformers.VisionEncoderDecoderConfig.from_dict(config.to_dict())
    assert theirs.encoder.hidden_size == vit["hidden_size"]
    assert theirs.decoder.add_cross_attention
    assert theirs.note == [1, {"a": None}]


def test_a_config_is_saved_and_read_alone(tmp_path):
    config = VisionEncoderDecoderConfig(encoder=parts()[0], decoder=parts()[1], **IDS)
    config.save_pretrained(tmp_path / "config")
    assert os.listdir(tmp_path / "config") == ["config.json"]
    assert VisionEncoderDecoderConfig.from_pretrained(tmp_path / "config").to_dict() == config.to_dict()
    assert "adapter" not in config.to_dict()


# Labels.


def test_the_loss_is_the_cross_entropy_of_labels_shifted_right(model, pixels, ids):
    labels = ids.clone()
    labels[1, 3:] = -100
    shifted = torch.tensor([[1, *ids[0, :-1].tolist()], [1, *ids[1, :3].tolist(), 0]])
    output = model(pixel_values=pixels, labels=labels)
    logits = model(pixel_values=pixels, decoder_input_ids=shifted).logits
    assert torch.equal(output.logits, logits)
    logprobs = logits.log_softmax(dim=-1)
    counted = [logprobs[row, at, ids[row, at]] for row, length in ((0, 5), (1, 3)) for at in range(length)]
    assert_within(output.loss.detach(), -torch.stack(counted).mean().detach())
    assert torch.equal(labels[:, :3], ids[:, :3])


def test_labels_given_with_ids_are_not_shifted(model, pixels, ids):
    labels = torch.randint(3, 13, ids.shape)
    output = model(pixel_values=pixels, decoder_input_ids=ids, labels=labels)
    assert torch.equal(output.logits, model(pixel_values=pixels, decoder_input_ids=ids).logits)
    expected = F.cross_entropy(output.logits.flatten(0, 1), labels.flatten())
    assert_within(output.loss.detach(), expected.detach())


def test_a_loss_trains_every_tensor_but_the_pooler(model, pixels, ids):
    model.train()
    labels = torch.cat([ids, ids.new_full((len(ids), 1), 2)], dim=1)
    model(pixel_values=pixels, labels=labels).loss.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert all("pooler" in name for name in without)


@pytest.mark.parametrize("field", ["decoder_start_token_id", "bos_token_id", "pad_token_id"])
def test_only_end_tokens_may_be_a_list_in_either_config(model, field):
    for config in (model.config, GenerationConfig()):
        for several in ([3, 4], (3,), []):
            with pytest.raises(ConfigError, match=rf"{field} must be an int of at least 0"):
                setattr(config, field, several)
        with pytest.raises(ConfigError, match=rf"expected int, got \[3, 4\] .*{field}"):
            type(config).from_dict({**config.to_dict(), field: [3, 4]})


@pytest.mark.parametrize("field", ["decoder_start_token_id", "pad_token_id"])
def test_labels_without_their_ids_name_the_field(pixels, ids, field):
    model = build(**{field: None})
    with pytest.raises(ConfigError, match=rf"model\.config\.{field}, which is not set") as error:
        model(pixel_values=pixels, labels=ids)
    assert error.value.field == field


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.full((2, 5), 13), "allowed are 0 to 12"),
        (torch.full((2, 5), -1), "-100 for what is not to be learned"),
        (torch.full((5,), 3), r"shape \(rows, tokens\), got \(5,\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(model, pixels, labels, message):
    with pytest.raises(InputError, match=message) as error:
        model(pixel_values=pixels, labels=labels)
    assert error.value.field == "labels"


def test_labels_of_another_shape_than_the_ids_are_refused(model, pixels, ids):
    with pytest.raises(InputError, match=r"labels of shape \(2, 4\).* \(2, 5\)") as error:
        model(pixel_values=pixels, decoder_input_ids=ids, labels=ids[:, :4])
    assert (error.value.field, error.value.expected, error.value.found) == ("labels", (2, 5), (2, 4))


# What a pass takes.


def test_encoder_outputs_in_any_form_equal_pixels(model, pixels, ids):
    with torch.no_grad():
        expected = model(pixel_values=pixels, decoder_input_ids=ids)
        encoded = model.encode(pixels)
        states = encoded.states
        forms = (encoded, (states,), [states, None], states, SimpleNamespace(last_hidden_state=states))
        for form in forms:
            output = model(encoder_outputs=form, decoder_input_ids=ids)
            assert torch.equal(output.logits, expected.logits)
            assert output.encoder_last_hidden_state is states
            assert torch.equal(model.generate(encoder_outputs=form), model.generate(pixels))


STATES = torch.zeros(2, 5, 16)


@pytest.mark.parametrize(
    "form",
    [
        None, 5, (), ("x",), SimpleNamespace(), torch.zeros(2, 16),
        torch.zeros(0, 5, 16), torch.zeros(2, 0, 16), STATES.long(), STATES.bool(), STATES.half(), STATES.double(),
        STATES.to(torch.complex64), STATES.to_sparse(),
        EncoderOutput(None), EncoderOutput(torch.zeros(2, 16)), EncoderOutput(STATES[:, :0]), EncoderOutput(STATES.long()),
        EncoderOutput(STATES, torch.ones(2, 5)), EncoderOutput(STATES, torch.ones(2, 4).bool()), EncoderOutput(STATES, "all"),
    ],
    ids=lambda value: str(value)[:20].replace("\n", "") if not hasattr(value, "dtype") else f"{value.dtype}-{value.layout}",
)  # fmt: skip
def test_other_objects_than_encoder_outputs_are_refused(model, ids, form):
    with pytest.raises(InputError):
        model(encoder_outputs=form, decoder_input_ids=ids)
    with pytest.raises(InputError):
        model.generate(encoder_outputs=form)


def test_an_output_is_a_mapping_of_its_fields_that_are_set(model, pixels, ids):
    output = model(pixel_values=pixels, decoder_input_ids=ids, use_cache=False)
    names = ["logits", "encoder_last_hidden_state"]
    assert list(output) == list(output.keys()) == list(dict(output)) == list(dict(**output)) == names
    assert [id(output[name]) for name in output] == [id(value) for value in output.values()]
    assert ("logits" in output, "loss" in output, "shapes" in output, len(output)) == (True, False, False, 2)
    with pytest.raises(KeyError, match="'loss'; here are logits, encoder_last_hidden_state"):
        output["loss"]


def test_a_past_goes_on_under_autocast(model, pixels, ids):
    usual = model(pixel_values=pixels, decoder_input_ids=ids).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        past = model(pixel_values=pixels, decoder_input_ids=ids[:, :2], use_cache=True).past_key_values
        rest = model(past_key_values=past, decoder_input_ids=ids[:, 2:]).logits
    torch.testing.assert_close(rest.float(), usual[:, 2:], atol=0.1, rtol=0.1)


@pytest.mark.parametrize("options", [{}, {"num_beams": 2}], ids=str)
def test_text_is_written_under_autocast(model, pixels, options):
    asked = {"max_new_tokens": 4, "return_dict_in_generate": True, **options}
    usual = model.generate(pixels, **asked).token_logprobs
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model.generate(pixels, **asked).token_logprobs
    torch.testing.assert_close(found, usual, atol=0.1, rtol=0.1)


def test_the_tuple_form_holds_the_same_in_order(model, pixels, ids):
    asked = {"pixel_values": pixels, "labels": ids, "output_attentions": True, "output_hidden_states": True}
    with torch.no_grad():
        output, as_tuple = model(**asked), model(**asked, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert len(as_tuple) == len(output.to_tuple()) == len(output) == 9
    assert torch.equal(as_tuple[0], output.loss)
    assert torch.equal(as_tuple[1], output["logits"])
    assert output[1] is output.logits
    assert [len(group) for group in as_tuple[3:6]] == [3, 2, 2]
    plain = model(pixel_values=pixels, decoder_input_ids=ids, use_cache=False)
    assert [id(value) for value in plain.values()] == [id(plain.logits), id(plain.encoder_last_hidden_state)]


def test_traces_of_a_pass_with_a_past_or_states_hold_no_encoder(model, pixels, ids):
    asked = {"output_attentions": True, "decoder_input_ids": ids}
    with torch.no_grad():
        output = model(encoder_outputs=model.encode(pixels), **asked)
        assert output.encoder_attentions is None
        assert output.decoder_hidden_states is None
        assert [tuple(seen.shape) for seen in output.cross_attentions] == [(2, 2, 5, 5)] * 2
        later = model(past_key_values=output.past_key_values, decoder_input_ids=ids[:, :1], output_attentions=True)
    assert later.encoder_attentions is None
    assert [tuple(seen.shape) for seen in later.decoder_attentions] == [(2, 2, 1, 6)] * 2


def test_embeddings_of_ids_equal_the_ids(model, pixels, ids):
    embeds = model.decoder.token_embedding(ids)
    expected = model(pixel_values=pixels, decoder_input_ids=ids)
    assert torch.equal(model(pixel_values=pixels, decoder_inputs_embeds=embeds).logits, expected.logits)
    with_labels = model(pixel_values=pixels, decoder_inputs_embeds=embeds, labels=ids)
    assert torch.equal(with_labels.logits, expected.logits)


def test_position_ids_replace_the_slots(model, pixels, ids):
    expected = model(pixel_values=pixels, decoder_input_ids=ids).logits
    same = model(pixel_values=pixels, decoder_input_ids=ids, decoder_position_ids=torch.arange(5)[None]).logits
    other = model(pixel_values=pixels, decoder_input_ids=ids, decoder_position_ids=torch.arange(5)[None] + 3).logits
    assert torch.equal(same, expected)
    assert not torch.allclose(other, expected)


def test_several_rows_an_image_equal_the_image_repeated(model, pixels):
    ids = torch.randint(3, 13, (6, 4))
    with torch.no_grad():
        shared = model(pixel_values=pixels, decoder_input_ids=ids, output_attentions=True)
        repeated = model(pixel_values=pixels.repeat_interleave(3, 0), decoder_input_ids=ids, output_attentions=True)
    assert_within(shared.logits, repeated.logits)
    for mine, other in zip(shared.cross_attentions, repeated.cross_attentions, strict=True):
        assert_within(mine, other)


def test_left_padding_equals_transformers_at_real_positions(tmp_path):
    vit = transformers.ViTConfig(**VIT)
    reference, model = both(tmp_path / "x", vit, transformers.GPT2Config(**GPT2))
    pixels, ids = images(model, 2), torch.randint(3, 13, (2, 5))
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    ids[0, :2] = 0
    given = {"pixel_values": pixels, "decoder_input_ids": ids, "decoder_attention_mask": mask}
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        ours = model(**given, decoder_position_ids=positions).logits
        theirs = reference(**given, decoder_position_ids=positions).logits
        alone = model(pixel_values=pixels[:1], decoder_input_ids=ids[:1, 2:]).logits
    assert ours.isfinite().all()
    assert_within(ours[mask.bool()], theirs[mask.bool()])
    assert_within(ours[:1, 2:], alone)


def test_a_mask_with_a_past_covers_both(model, pixels, ids):
    mask = torch.tensor([[False, True, True, True, True], [True] * 5])
    with torch.no_grad():
        whole = model(pixel_values=pixels, decoder_input_ids=ids, decoder_attention_mask=mask).logits
        past = model(pixel_values=pixels, decoder_input_ids=ids[:, :3], decoder_attention_mask=mask[:, :3])
        step = {"past_key_values": past.past_key_values, "decoder_input_ids": ids[:, 3:]}
        assert_within(model(**step, decoder_attention_mask=mask).logits, whole[:, 3:])
        with pytest.raises(InputError, match=r"shape \(2, 5\)"):
            model(**step, decoder_attention_mask=mask[:, 3:])


def test_masked_pixels_change_nothing(model, ids):
    pixels = images(model, 2)
    mask = torch.ones(2, 8, 8, dtype=torch.bool)
    mask[:, :, 4:] = False
    changed = pixels.clone()
    changed[..., 4:] = 7.0
    asked = {"decoder_input_ids": ids, "pixel_mask": mask}
    with torch.no_grad():
        seen = model(pixel_values=pixels, **asked).logits
        assert_within(model(pixel_values=changed, **asked).logits, seen)
        assert not torch.allclose(model(pixel_values=changed, decoder_input_ids=ids).logits, seen)
    assert torch.equal(model.generate(changed, pixel_mask=mask), model.generate(pixels, pixel_mask=mask))


@pytest.mark.parametrize("masked", [False, True])
def test_a_batch_encoded_in_chunks_equals_one_encoded_at_once(model, monkeypatch, masked):
    pixels, mask = torch.randn(7, 3, 8, 8), torch.ones(7, 8, 8)
    mask[3:, :, 4:] = 0
    asked = {"pixel_mask": mask if masked else None, "return_dict_in_generate": True, "max_new_tokens": 6}
    at_once = model.generate(pixels, **asked)
    sizes, usual = [], type(model.encoder).forward
    forward = lambda self, pixels, **options: sizes.append(len(pixels)) or usual(self, pixels, **options)  # noqa: E731
    monkeypatch.setattr(type(model.encoder), "forward", forward)
    monkeypatch.setattr("vedcore.model.chunks.CHUNK", 3 * pixels[0].numel())
    in_chunks = model.generate(pixels, **asked)
    assert sizes == [3, 3, 1]
    assert torch.equal(in_chunks.sequences, at_once.sequences)
    torch.testing.assert_close(in_chunks.token_logprobs, at_once.token_logprobs)
    seen = model.generate(pixels, **asked, output_hidden_states=True)
    assert sizes[3:] == [7]
    assert len(seen.encoder_hidden_states[0]) == 7
    with pytest.raises(InputError, match="pixel_mask"):
        model.generate(pixels, pixel_mask=mask[:4])


def test_a_past_is_kept_unless_gradients_are_recorded_or_use_cache_is_false(model, pixels, ids):
    asked = {"pixel_values": pixels, "decoder_input_ids": ids}
    assert model(**asked).past_key_values is None
    kept = model(**asked, use_cache=True).past_key_values
    assert kept is not None
    with torch.no_grad():
        assert model(**asked).past_key_values is not None
        assert model(**asked, use_cache=False).past_key_values is None
        later = model(past_key_values=kept, decoder_input_ids=ids[:, :1], use_cache=False)
    assert later.past_key_values is None


# What a pass refuses.


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no images: pass pixel_values or encoder_outputs, or past_key_values to forward"),
        ({"pixel_values": torch.zeros(2, 3, 8, 8)}, "decoder_input_ids, decoder_inputs_embeds or labels"),
        (
            {
                "pixel_values": torch.zeros(2, 3, 8, 8),
                "decoder_input_ids": torch.ones(2, 1, dtype=torch.long),
                "decoder_inputs_embeds": torch.zeros(2, 1, 16),
            },
            "only one of the first two",
        ),
        ({"pixel_values": torch.zeros(0, 3, 8, 8), "decoder_input_ids": torch.ones(0, 1).long()}, "no images"),
        ({"pixel_values": torch.zeros(2, 8, 8), "decoder_input_ids": torch.ones(2, 1).long()}, "pixel_values"),
        ({"pixel_values": torch.zeros(2, 3, 8, 9), "decoder_input_ids": torch.ones(2, 1).long()}, "8 x 8.*8 x 9"),
        ({"pixel_values": torch.zeros(2, 3, 8, 8), "decoder_input_ids": torch.ones(3, 1).long()}, "3 rows.* 2 images"),
        ({"pixel_values": torch.zeros(2, 3, 8, 8), "decoder_input_ids": torch.ones(2).long()}, r"got \(2,\)"),
        ({"pixel_values": torch.zeros(2, 3, 8, 8), "decoder_inputs_embeds": torch.ones(2, 1)}, r"got \(2, 1\)"),
        ({"pixel_values": torch.zeros(1, 3, 8, 8), "decoder_input_ids": torch.ones(1, 13).long()}, "13.* for 12"),
        (
            {
                "pixel_values": torch.zeros(2, 3, 8, 8),
                "decoder_input_ids": torch.ones(2, 3).long(),
                "decoder_attention_mask": torch.ones(2, 4),
            },
            r"shape \(2, 3\).*got \(2, 4\)",
        ),
        (
            {
                "pixel_values": torch.zeros(2, 3, 8, 8),
                "decoder_input_ids": torch.ones(2, 1).long(),
                "pixel_mask": torch.ones(2, 8),
            },
            "pixel_mask of shape",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(model, given, message):
    with pytest.raises(InputError, match=message):
        model(**given)


def test_a_keyword_that_does_not_exist_is_a_type_error(model, pixels, ids):
    with pytest.raises(TypeError, match="pixel_value"):
        model(pixel_value=pixels, decoder_input_ids=ids)
    with pytest.raises(TypeError, match=r"max_new_token.*did you mean max_new_tokens"):
        model.generate(pixels, max_new_token=3)
    with pytest.raises(TypeError, match="penalty_alpha"):
        model.generate(pixels, penalty_alpha=0.5)


def test_a_keyword_that_the_strategy_does_not_read_is_refused(model, pixels):
    for fields in ({"temperature": 0.5}, {"length_penalty": 2.0}, {"num_return_sequences": 2}, {"num_beams": 0}):
        with pytest.raises(ConfigError, match=next(iter(fields))):
            model.generate(pixels, **fields)
    model.generation_config.temperature = 0.5  # in a file it is no error
    model.generate(pixels)


@pytest.mark.parametrize("given", [{}, {"num_beams": 2}, "beams", 5])
def test_another_object_than_a_generation_config_is_refused_with_the_line_to_write(model, pixels, given):
    for write in (model.generate, model.stream):
        with pytest.raises(
            ConfigError, match=rf"must be a GenerationConfig, got {type(given).__name__}: .*num_beams=4"
        ):
            write(pixels, generation_config=given)


def test_a_generation_config_of_another_library_is_refused_by_its_full_name(model, pixels):
    theirs = transformers.GenerationConfig(max_length=5)
    with pytest.raises(ConfigError, match=r"must be a GenerationConfig, got transformers\.GenerationConfig"):
        model.generate(pixels, generation_config=theirs)


@pytest.mark.parametrize("name", ["logits_processor", "stopping_criteria"])
@pytest.mark.parametrize("given", [lambda ids, scores: scores, ["sharp"]])
def test_processors_and_criteria_must_be_lists_of_functions(model, pixels, name, given):
    for write in (model.generate, model.stream):
        with pytest.raises(InputError, match=rf"{name} must be a list of functions, got .*{name}=\[\.\.\.\]"):
            write(pixels, **{name: given})


def test_generate_needs_an_image(model):
    with pytest.raises(InputError, match="no images: pass pixel_values or encoder_outputs"):
        model.generate()


# Where ids live.


def test_an_id_set_in_the_config_is_what_generation_starts_with(saved):
    model = VisionEncoderDecoderModel.from_pretrained(saved)
    pixels = images(model, 2)
    assert model.generate(pixels)[0, 0] == 1
    model.config.decoder_start_token_id = 7
    assert model.generate(pixels)[0, 0] == 7
    assert model.generate(pixels, decoder_start_token_id=5)[0, 0] == 5
    assert model.generate(pixels, GenerationConfig(decoder_start_token_id=4))[0, 0] == 4


def test_ids_on_which_both_files_agree_are_kept_in_the_config_and_written_to_both(saved, tmp_path):
    model = VisionEncoderDecoderModel.from_pretrained(saved)
    assert model.generation_config.eos_token_id is None
    model.config.decoder_start_token_id = 7
    model.save_pretrained(tmp_path / "b")
    for name in ("config.json", "generation_config.json"):
        data = json.loads((tmp_path / "b" / name).read_text())
        assert [data[field] for field in IDS] == [7, 2, 0]


def test_an_id_that_differs_stays_with_generation_and_one_that_only_it_has_moves(saved, tmp_path):
    edit(saved, "generation_config.json", eos_token_id=[2, 5], bos_token_id=9, max_length=7)
    model = VisionEncoderDecoderModel.from_pretrained(saved)
    assert (model.config.eos_token_id, model.generation_config.eos_token_id) == (2, (2, 5))
    assert (model.config.bos_token_id, model.generation_config.bos_token_id) == (9, None)
    model.save_pretrained(tmp_path / "b")
    data = json.loads((tmp_path / "b/generation_config.json").read_text())
    assert (data["eos_token_id"], data["bos_token_id"], data["max_length"]) == ([2, 5], 9, 7)
    assert json.loads((tmp_path / "b/config.json").read_text())["eos_token_id"] == 2


def test_a_folder_without_a_generation_config_takes_its_ids_from_the_config(saved):
    (saved / "generation_config.json").unlink()
    model = VisionEncoderDecoderModel.from_pretrained(saved)
    assert [getattr(model.config, field) for field in IDS] == [1, 2, 0]
    assert model.generate(images(model, 1))[0, 0] == 1


# Loading and saving.


def test_a_saved_model_is_the_same_model(model, saved, pixels, ids):
    again = VisionEncoderDecoderModel.from_pretrained(saved, device="cpu")
    assert not again.training
    assert again.config.to_dict().items() >= model.config.to_dict().items()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert torch.equal(again.generate(pixels), model.generate(pixels))


def test_half_precision_loads_and_generates(saved, pixels):
    model = VisionEncoderDecoderModel.from_pretrained(saved, dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    for options in ({}, {"num_beams": 2}):
        found = model.generate(pixels, return_dict_in_generate=True, max_new_tokens=4, **options)
        assert found.token_logprobs.dtype == torch.float32
        assert bool(((found.confidences > 0) & (found.confidences <= 1)).all())


@pytest.mark.parametrize(
    "given",
    [
        *(
            {"dtype": value}
            for value in ("float32", torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn, float, 5)
        ),
        *({"device": value} for value in ("no-such", "meta:x", -1, True, [], 1.5)),
    ],
    ids=str,
)
def test_an_impossible_dtype_or_device_is_refused_before_anything_is_read(saved, given):
    [(name, value)] = given.items()
    (saved / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=f"{name}.*") as raised:
        VisionEncoderDecoderModel.from_pretrained(saved, **given)
    assert repr(value) in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match=f"{name}.*"):
        VisionEncoderDecoderModel.from_encoder_decoder_pretrained(saved, saved, **given)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_gpu_that_is_not_there_is_refused(saved):
    with pytest.raises(ConfigError, match="device='cuda' cannot be used here; pass device='cpu'"):
        VisionEncoderDecoderModel.from_pretrained(saved, device="cuda")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "\ud800", None, 5], ids=["long", "zero", "surrogate", "None", "5"])
def test_an_impossible_folder_name_is_refused_by_saving_and_loading(model, tmp_path, name):
    folder = tmp_path / name if isinstance(name, str) else name
    for saves in (model, model.decoder, model.config):
        with pytest.raises(SaveError, match="not saved"):
            saves.save_pretrained(folder)
    for loads in (type(model), type(model.decoder), type(model.config)):
        with pytest.raises(CheckpointNotFound):
            loads.from_pretrained(folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_parts_of_two_types_in_one_file_are_refused_unless_brought_to_one(model, tmp_path, pixels, part):
    getattr(model, part).half()
    model.save_pretrained(tmp_path)
    with pytest.raises(
        CheckpointError, match=rf"of torch.float16 \({part}\.|of torch.float32 \(.*pass dtype= "
    ) as raised:
        VisionEncoderDecoderModel.from_pretrained(tmp_path)
    assert "torch.float16" in str(raised.value)
    again = VisionEncoderDecoderModel.from_pretrained(tmp_path, dtype=torch.float32)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    again.generate(pixels)


def test_a_given_config_replaces_the_one_in_the_folder(saved):
    config = VisionEncoderDecoderConfig.from_pretrained(saved)
    config.decoder_start_token_id = 9
    model = VisionEncoderDecoderModel.from_pretrained(saved, config=config)
    assert model.config is config


def test_saving_to_the_folder_it_came_from(saved, pixels):
    model = VisionEncoderDecoderModel.from_pretrained(saved)
    with torch.no_grad():
        model.decoder.token_embedding.weight.add_(1.0)
    expected = model.generate(pixels)
    model.save_pretrained(saved)
    assert torch.equal(model.generate(pixels), expected)
    assert torch.equal(VisionEncoderDecoderModel.from_pretrained(saved).generate(pixels), expected)


def test_a_save_that_fails_leaves_the_folder_as_it_was(model, saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vedcore.storage.tensors.save_file", full)
    model.config.decoder_start_token_id = 7
    with pytest.raises(SaveError, match=r"as it was.*No space left"):
        model.save_pretrained(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (shutil.rmtree, CheckpointNotFound, "no such folder"),
        (lambda f: (f / "config.json").unlink(), CheckpointNotFound, r"config\.json: no such file"),
        (lambda f: (f / "model.safetensors").unlink(), CheckpointNotFound, r"model\.safetensors"),
        (
            lambda f: edit(f, encoder={"model_type": "donut-swim"}),
            VedcoreError,
            "no encoder named 'donut-swim'.*(did you mean|pip install vedcore-plugin-swin)",
        ),
        (lambda f: edit(f, encoder={"model_type": "convnext"}), VedcoreError, "no encoder named 'convnext'.*installed"),
        (lambda f: edit(f, model_type="bert"), ConfigError, "model_type is 'bert'.*vision-encoder-decoder"),
        (lambda f: edit(f, encoder=...), ConfigError, "encoder"),
        (lambda f: edit(f, encoder=5), ConfigError, "the config of the encoder must be"),
        (lambda f: edit(f, decoder={}), ConfigError, "the config of the decoder has no model_type"),
        (lambda f: edit(f, decoder={"model_type": "gpt2", "n_embd": "wide"}), ConfigError, "n_embd"),
        (lambda f: edit(f, decoder={**GPT2, "model_type": "gpt2", "n_embd": 2**62}), VedcoreError, "config|shape"),
        (lambda f: edit(f, decoder={**GPT2, "model_type": "gpt2", "vocab_size": 2**62}), VedcoreError, "config|shape"),
        (lambda f: edit(f, decoder={**GPT2, "model_type": "gpt2", "n_embd": 12}), CheckpointError, "another shape"),
        (lambda f: edit(f, decoder={**GPT2, "model_type": "gpt2", "n_layer": 1}), CheckpointError, "unexpected"),
        (lambda f: edit(f, adapter="no-such"), VedcoreError, "no-such"),
        (lambda f: (f / "config.json").write_text("{"), ConfigError, "not valid JSON"),
        (lambda f: edit(f, "generation_config.json", num_beams=0), ConfigError, "num_beams"),
    ],
    ids=lambda value: None if callable(value) else str(value)[:30],
)
def test_a_folder_that_does_not_fit_is_refused_with_what_is_wrong(saved, spoil, error, message):
    spoil(saved)
    with pytest.raises(error, match=f"(?i){message}") as raised:
        VisionEncoderDecoderModel.from_pretrained(saved)
    assert "\n" not in str(raised.value)


def test_a_part_whose_plugin_is_not_installed_says_what_to_install(monkeypatch, saved):
    from vedcore.registry import Registry, registry

    without = Registry([plugin for plugin in registry()._plugins if plugin.name != "vit"])
    monkeypatch.setattr("vedcore.model.config.registry", lambda: without)
    with pytest.raises(VedcoreError, match="pip install vedcore-plugin-vit"):
        VisionEncoderDecoderModel.from_pretrained(saved)


# Subclasses.


def test_generation_calls_the_methods_of_a_subclass(model, pixels):
    calls = []

    class Brighter(VisionEncoderDecoderModel):
        def encode(self, pixel_values, **options):
            calls.append("encode")
            return super().encode(pixel_values + 1, **options)

        def remember(self, output):
            calls.append("remember")
            return super().remember(output)

    asked = {"max_new_tokens": 4, "return_dict_in_generate": True}
    brighter = Brighter(model.config, model.encoder, model.decoder).eval()
    assert model.untrained == []
    for form in (brighter, brighter.prepare()):
        found, expected = form.generate(pixels, **asked), model.generate(pixels + 1, **asked)
        assert_within(found.token_logprobs, expected.token_logprobs)
        assert torch.equal(found.sequences, expected.sequences)
    assert calls == ["encode", "remember"] * 2


# Compiled, exported, copied.


@pytest.mark.parametrize("mode", ["eval", "train", "no gradients"])
@pytest.mark.parametrize("by", ["ids", "ids and mask", "embeddings and positions", "labels"])
def test_a_pass_compiles_to_one_graph(pixels, ids, by, mode):
    encoder, decoder = parts()
    decoder = decoder.replace(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    model = VisionEncoderDecoderModel(VisionEncoderDecoderConfig(encoder=encoder, decoder=decoder, **IDS))
    asked = {
        "ids": {"decoder_input_ids": ids},
        "ids and mask": {"decoder_input_ids": ids, "decoder_attention_mask": torch.tensor([[0, 0, 1, 1, 1], [1] * 5])},
        "embeddings and positions": {
            "decoder_inputs_embeds": torch.randn(2, 5, 16),
            "decoder_position_ids": torch.arange(5)[None],
        },
        "labels": {"labels": torch.cat([ids, torch.tensor([[2], [-100]])], dim=1)},
    }[by]
    asked["pixel_values"] = pixels
    model.train(mode == "train")
    torch.compiler.reset()
    with torch.set_grad_enabled(mode != "no gradients"):
        expected = model(**asked)
        found = torch.compile(model, fullgraph=True, backend="eager")(**asked)
    assert_within(found.logits.detach(), expected.logits.detach())
    if by == "labels":
        assert_within(found.loss.detach(), expected.loss.detach())
    if mode == "train" and by == "labels":
        found.loss.backward()
        assert model.decoder.token_embedding.weight.grad is not None


def test_a_pass_is_exported(model, pixels, ids):
    class Logits(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, pixel_values, ids):
            return self.model(pixel_values=pixel_values, decoder_input_ids=ids, use_cache=False).logits

    with torch.no_grad():
        exported = torch.export.export(Logits(model), (pixels, ids))
        expected = model(pixel_values=pixels, decoder_input_ids=ids).logits
        assert_within(exported.module()(pixels, ids), expected)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
def test_a_model_compiled_in_place_is_prepared_copied_and_pickled(model, pixels, copied):
    expected = model.generate(pixels)
    calls = []

    def backend(graph, _):
        calls.append(1)
        return graph.forward

    torch.compiler.reset()
    model.decoder.compile(backend=backend)
    for form in (model, model.prepare(), copied(model), copied(model).prepare()):
        assert torch.equal(form.generate(pixels), expected)
    assert calls
    calls.clear()
    torch.compiler.reset()
    model.prepare().generate(pixels)
    assert calls  # the compiled decoder is a part of the inference form too


# Adapters.


def adapted(adapter, decoder):
    torch.manual_seed(0)
    config = VisionEncoderDecoderConfig(encoder=parts()[0], decoder=decoder, adapter=adapter, **IDS)
    return VisionEncoderDecoderModel(config).eval()


def test_a_closed_gate_leaves_the_decoder_the_language_model_that_it_was(pixels, ids):
    model = adapted("gated", parts()[1])
    slots = torch.arange(5)[None]
    with torch.no_grad():
        logits = model(pixel_values=pixels, decoder_input_ids=ids).logits
        step = Step(slots=slots, mask=causal_mask(slots, 5), extent=5)
        assert torch.equal(logits, model.decoder.lm_head(model.decoder(ids, step)))
        for layer in model.decoder.cross:
            layer.gate.fill_(0.7)
        assert not torch.allclose(model(pixel_values=pixels, decoder_input_ids=ids).logits, logits)


@pytest.mark.parametrize(
    ("adapter", "decoder"),
    [
        ("gated", GPT2Config(**GPT2)),
        ("linear", DistilBertConfig(vocab_size=13, dim=16, n_layers=2, n_heads=2, hidden_dim=20)),
    ],
    ids=["gated", "born without"],
)
def test_layers_that_an_adapter_made_are_saved_and_loaded(tmp_path, pixels, ids, adapter, decoder):
    model = adapted(adapter, decoder)
    perturb(model, 1)
    model.save_pretrained(tmp_path / "a")
    again = VisionEncoderDecoderModel.from_pretrained(tmp_path / "a")
    with torch.no_grad():
        expected = model(pixel_values=pixels, decoder_input_ids=ids).logits
        assert torch.equal(again(pixel_values=pixels, decoder_input_ids=ids).logits, expected)
    assert torch.equal(again.generate(pixels), model.generate(pixels))
    # transformers must refuse the folder, since it would make the layers up.
    assert json.loads((tmp_path / "a/config.json").read_text())["model_type"] == "vedcore"
