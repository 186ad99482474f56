"""Bad input to a pass: an InputError that names both sides and the fix, whatever the decoder; and never torch's own error."""

import pytest
import torch

from tests.parity import images
from tests.test_pairs import DECODERS, ENCODERS, VOCABULARY, composed, decoder_fields, small
from tests.test_reader import SHIPPED
from vedcore import EncoderOutput, ImageError, InputError, Processor, Reader, TokenizerError

META = torch.device("meta")
PIXELS, IDS = torch.zeros(2, 3, 12, 12), torch.full((2, 4), 5)
STATES = torch.zeros(2, 10, 32)
PLACES = torch.arange(4)[None]


@pytest.fixture(scope="module", params=DECODERS)
def model(request):
    return small("vit", request.param, 24, seed=1)


def beyond(name):
    return rf"{name} run from 5 to {VOCABULARY}; allowed are 0 to {VOCABULARY - 1}.*vocabulary.*tokenizer"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        # Beyond the vocabulary, or no ids at all.
        ({"labels": IDS.clone().fill_diagonal_(VOCABULARY)}, beyond("labels")),
        ({"decoder_input_ids": IDS.clone().fill_diagonal_(VOCABULARY)}, beyond("decoder_input_ids")),
        ({"decoder_input_ids": -IDS}, r"run from -5 to -5; allowed are 0 to 28"),
        ({"labels": IDS.float()}, "must be torch.int64, got torch.float32"),
        ({"labels": IDS.int()}, r"must be torch.int64, got torch.int32: pass labels\.long\(\)"),
        ({"decoder_input_ids": IDS.float()}, r"whole numbers \(torch.long\) of shape \(2, 4\), got torch.float32"),
        ({"decoder_input_ids": IDS.bool()}, r"whole numbers .* got torch.bool"),
        ({"decoder_input_ids": IDS + 0j}, r"whole numbers .* got torch.complex64"),
        # Shapes.
        ({"decoder_attention_mask": torch.ones(2, 5)}, r"shape \(2, 4\).*got \(2, 5\)"),
        ({"pixel_mask": torch.ones(2, 5, 5)}, r"shape \(2, 12, 12\).*got \(2, 5, 5\)"),
        ({"decoder_inputs_embeds": torch.zeros(2, 4, 7), "decoder_input_ids": None}, r"size 24.*got \(2, 4, 7\)"),
        ({"encoder_outputs": STATES[..., :31]}, "width 31.*hidden size is 32.*model.encode"),
        ({"decoder_position_ids": PLACES[:, :3]}, r"shape \(2, 4\), got torch.int64 of \(1, 3\)"),
        # Empty.
        ({"pixel_values": PIXELS[:0], "decoder_input_ids": IDS[:0]}, "no images"),
        ({"decoder_input_ids": IDS[:0]}, r"at least one of each, got \(0, 4\)"),
        ({"decoder_input_ids": IDS[:, :0]}, r"at least one of each, got \(2, 0\)"),
        ({"labels": IDS[:, :0], "decoder_input_ids": None}, r"\(rows, tokens\), got \(2, 0\)"),
        # Positions that the decoder does not have.
        ({"decoder_position_ids": PLACES + 17}, "decoder_position_ids run from 17 to 20; allowed are 0 to 19"),
        ({"decoder_position_ids": PLACES - 1}, "decoder_position_ids run from -1 to 2; allowed are 0 to 19"),
        ({"decoder_input_ids": IDS.repeat(1, 6)}, "24 decoder tokens.*positions for.*max_length"),
        # Two devices.
        ({"pixel_values": PIXELS.to(META)}, "pixel_values: on meta, but the model is on cpu"),
        ({"pixel_mask": torch.ones(2, 12, 12, device=META)}, "pixel_mask: on meta"),
        ({"decoder_input_ids": IDS.to(META)}, "decoder_input_ids: on meta"),
        ({"labels": IDS.to(META)}, "labels: on meta"),
        ({"decoder_attention_mask": IDS.to(META)}, "decoder_attention_mask: on meta"),
        ({"decoder_position_ids": PLACES.to(META)}, "decoder_position_ids: on meta"),
        ({"encoder_outputs": STATES.to(META)}, "encoder_outputs: on meta"),
        # No tensor.
        ({"pixel_values": [PIXELS]}, "pixel_values must be a tensor, got list"),
        ({"decoder_input_ids": IDS.tolist()}, "decoder_input_ids must be a tensor, got list"),
        # No dense tensor, or no batch.
        ({"pixel_values": PIXELS.to_sparse()}, r"pixel_values is a tensor of torch.sparse_coo; .*\.to_dense\(\)"),
        ({"pixel_mask": torch.ones(2, 12, 12).to_sparse()}, "pixel_mask is a tensor of torch.sparse_coo"),
        ({"pixel_values": torch.tensor(1.0)}, r"pixel_values of shape .*got \(\)"),
        ({"decoder_input_ids": IDS.to_sparse()}, "decoder_input_ids is a tensor of torch.sparse_coo"),
        ({"labels": IDS.to_sparse()}, "labels is a tensor of torch.sparse_coo"),
        ({"decoder_attention_mask": IDS.to_sparse()}, "decoder_attention_mask is a tensor of torch.sparse_coo"),
        ({"encoder_outputs": STATES.to_sparse()}, "encoder_outputs is a tensor of torch.sparse_coo"),
        # Another type than the weights'.
        ({"encoder_outputs": STATES.half()}, r"states of torch.float16, but the decoder's weights are torch.float32"),
        (
            {"decoder_inputs_embeds": torch.zeros(2, 4, 24).double(), "decoder_input_ids": None},
            "decoder_inputs_embeds are torch.float64, but the decoder's weights are torch.float32",
        ),
        ({"encoder_outputs": STATES.long()}, r"floating-point numbers, .* got torch.int64 of \(2, 10, 32\)"),
        ({"encoder_outputs": STATES[:, :0]}, r"one image and one token, got torch.float32 of \(2, 0, 32\)"),
    ],
)
def test_a_pass_refuses_bad_arguments_and_names_what_is_allowed(model, given, message):
    with pytest.raises(InputError, match=message):
        model(**{"pixel_values": PIXELS, "decoder_input_ids": IDS, **given})


def test_token_types_fit_the_decoder_or_are_refused(model):
    given = {"pixel_values": PIXELS, "decoder_input_ids": IDS}
    count = model.decoder.sizes.token_types
    if not count:
        with pytest.raises(InputError, match=r"decoder_token_type_ids: .* has no token types; leave the argument out"):
            model(**given, decoder_token_type_ids=torch.zeros_like(IDS))
        return
    model(**given, decoder_token_type_ids=torch.full_like(IDS, count - 1))
    for types, message in (
        (IDS[:, :3], r"shape \(2, 4\), got torch.int64 of \(2, 3\)"),
        (torch.full_like(IDS, count), rf"run from {count} to {count}; allowed are 0 to {count - 1}, the token types"),
        (IDS.to(META), "decoder_token_type_ids: on meta, but the model is on cpu"),
        (IDS.tolist(), "decoder_token_type_ids must be a tensor, got list"),
    ):
        with pytest.raises(InputError, match=message) as error:
            model(**given, decoder_token_type_ids=types)
        assert error.value.field == "decoder_token_type_ids"


SELF, CROSS = (0, 1), (2, 3)


@pytest.mark.parametrize(
    ("places", "change", "message"),
    [
        (SELF, lambda x: x[:1], "2 rows of decoder tokens, but past_key_values hold 1"),
        (
            SELF[1:],
            lambda x: x[:1],
            r"the self values of layer 0 have shape .* but the decoder needs .*pass what a forward pass",
        ),
        (
            SELF,
            lambda x: x[:, :1],
            r"the self keys of layer 0 have shape .* but the decoder needs .*pass what a forward pass",
        ),
        (
            SELF,
            lambda x: x[..., :1],
            r"the self keys of layer 0 have shape .* but the decoder needs .*pass what a forward pass",
        ),
        (SELF[1:], lambda x: x[:, :, :2], "of 2, 3 tokens"),
        (
            CROSS,
            lambda x: x[:, :1],
            r"the cross keys of layer 0 have shape .* but the decoder needs .*pass what a forward pass",
        ),
        (
            CROSS,
            lambda x: x[..., :1],
            r"the cross keys of layer 0 have shape .* but the decoder needs .*pass what a forward pass",
        ),
        (
            CROSS[1:],
            lambda x: x[:, :, :1],
            r"the cross values of layer 0 have shape .* but the decoder needs .*pass what a forward pass",
        ),
        (CROSS, lambda x: x[:0], "cross keys of 0 images"),
        (SELF, lambda x: x.double(), "past_key_values are torch.float64, but the decoder's weights are torch.float32"),
        (CROSS, lambda x: x.double(), "past_key_values are torch.float64, but the decoder's weights are torch.float32"),
        (SELF, lambda x: x.to(META), "the self keys of layer 0 have shape .* on meta, but .* on cpu"),
    ],
)
def test_a_past_that_does_not_fit_is_refused_with_the_shape_needed(model, places, change, message):
    with torch.no_grad():
        past = model(pixel_values=PIXELS, decoder_input_ids=IDS[:, :3]).past_key_values
    past = [[change(tensor) if place in places else tensor for place, tensor in enumerate(layer)] for layer in past]
    with pytest.raises(InputError, match=message) as error:
        model(past_key_values=past, decoder_input_ids=IDS[:, 3:])
    assert error.value.field == "past_key_values"


def test_a_past_of_another_decoder_is_refused(model):
    other = small("vit", "gpt2", 24).double()
    with torch.no_grad():
        past = other(pixel_values=PIXELS.double(), decoder_input_ids=IDS[:, :3]).past_key_values
    with pytest.raises(InputError, match="past_key_values"):
        model(past_key_values=past, decoder_input_ids=IDS[:, 3:])


def test_a_mask_that_is_not_of_the_states_is_not_remembered(model):
    for mask in (torch.ones(2, 9, dtype=torch.bool), torch.ones(2, 10)):
        with pytest.raises(InputError, match=r"mask of encoder_outputs must be bools of \(2, 10\)"):
            model.remember(EncoderOutput(STATES, mask))


def test_all_that_is_allowed_is_taken(model):
    """The first and the last of what the messages allow."""
    pixels = images(model, 2)
    for ids in (torch.zeros(2, 3).long(), torch.full((2, 3), VOCABULARY - 1)):
        model(pixel_values=pixels, decoder_input_ids=ids.int(), labels=ids)
        for positions in (torch.zeros(1, 3).long(), torch.full((2, 3), 19)):
            model(pixel_values=pixels, decoder_input_ids=ids, decoder_position_ids=positions)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pixel_values": PIXELS.to(META)}, "pixel_values: on meta, but the model is on cpu"),
        ({"pixel_values": PIXELS, "decoder_input_ids": IDS.to(META)}, "decoder_input_ids: on meta"),
        ({"encoder_outputs": STATES.to(META)}, "encoder_outputs: on meta"),
        ({"encoder_outputs": STATES[..., :31]}, "width 31.*hidden size is 32"),
        ({"pixel_values": PIXELS[:0]}, "no images"),
        (
            {"pixel_values": PIXELS, "decoder_input_ids": IDS + VOCABULARY},
            "decoder_input_ids run from 34 to 34; allowed are 0 to 28, the decoder's vocabulary.*tokenizer",
        ),
        ({"pixel_values": PIXELS, "decoder_input_ids": IDS.repeat(1, 6)}, "24 tokens.*positions for"),
        ({"pixel_values": PIXELS.to_sparse()}, "pixel_values is a tensor of torch.sparse_coo"),
        ({"pixel_values": torch.zeros(3, 1024, 1024)}, r"got \(3, 1024, 1024\)"),
        ({"pixel_values": PIXELS.repeat(800, 1, 1, 1).to_sparse()}, "pixel_values is a tensor of torch.sparse_coo"),
        (
            {"pixel_values": PIXELS, "decoder_input_ids": IDS.to_sparse()},
            "decoder_input_ids is a tensor of torch.sparse_coo",
        ),
        ({"encoder_outputs": STATES.half()}, "states of torch.float16, but the decoder's weights are torch.float32"),
    ],
)
def test_generation_refuses_the_same(model, given, message):
    with pytest.raises(InputError, match=message):
        model.generate(**given)


def test_under_autocast_states_may_be_of_another_type_than_the_weights():
    model = small("vit", "gpt2", 24)
    with torch.autocast("cpu", torch.bfloat16):
        model(encoder_outputs=STATES.bfloat16(), decoder_input_ids=IDS)
        model(pixel_values=PIXELS, decoder_input_ids=IDS)


def test_parts_on_two_devices_are_refused():
    model = small("vit", "gpt2", 24)
    model.decoder.to(META)
    with pytest.raises(InputError, match="encoder_outputs: on cpu, but the model is on meta"):
        model(pixel_values=PIXELS, decoder_input_ids=IDS)


def test_a_tokenizer_of_another_model_is_refused_with_both_sizes(tmp_path):
    processor = Processor.from_pretrained(SHIPPED)
    largest = max(processor.tokenizer.get_vocab().values())
    for name, size in (("fits", largest + 1), ("too-small", largest)):
        fields = decoder_fields("bert", 24, vocab_size=size)
        composed("vit", "bert", ENCODERS["vit"], fields).save_pretrained(tmp_path / name)
        processor.save_pretrained(tmp_path / name)
    Reader.load(tmp_path / "fits")
    with pytest.raises(TokenizerError, match=rf"ids up to {largest}, .*vocabulary has {largest} tokens.*one folder"):
        Reader.load(tmp_path / "too-small")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, InputError, "needs images, a text, or both"),
        ({"images": []}, ImageError, "at least one image, found an empty list"),
        ({"text": []}, TokenizerError, "found an empty list"),
        ({"images": [PIXELS[0], PIXELS[1] - 1]}, ImageError, r"images\[1\]"),
    ],
)
def test_a_processor_refuses_empty_lists_and_other_objects_than_images(given, error, message):
    with pytest.raises(error, match=message):
        Processor.from_pretrained(SHIPPED)(**given)
