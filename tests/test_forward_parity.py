"""Every field of a forward pass, for every pair that transformers builds, beside transformers' eager attention."""

from itertools import product

import pytest
import torch

from tests.parity import assert_within, images
from tests.test_pairs import (
    ENCODERS,
    VOCABULARY,
    WINDOWED,
    TheirDecoders,
    TheirEncoders,
    decoder_fields,
    reference_of,
)
from vedcore import VisionEncoderDecoderModel

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")

TOWERS = {**ENCODERS, "donut-swin": {**WINDOWED, "image_size": [24, 18]}}
NAMESAKES = {"mbart": "bart", "xlm-roberta": "roberta"}
"""Decoders whose configs have the fields of another."""
FIELDS = (
    "loss",
    "logits",
    "past_key_values",
    "decoder_hidden_states",
    "decoder_attentions",
    "cross_attentions",
    "encoder_last_hidden_state",
    "encoder_hidden_states",
    "encoder_attentions",
)


def pair_of(encoder, decoder, folder):
    """Their random model, and ours of its files. The widths differ, so that the bridge counts too."""
    reference = reference_of(encoder, decoder, TOWERS[encoder], decoder_fields(NAMESAKES.get(decoder, decoder), 24))
    if encoder == "donut-swin":  # without a norm on top its states would grow until they saturate the softmax
        with torch.no_grad():
            for parameter in reference.encoder.parameters():
                parameter.mul_(0.5)
    reference.save_pretrained(folder)
    return reference, VisionEncoderDecoderModel.from_pretrained(folder)


@pytest.fixture(scope="module", params=product(TheirEncoders, TheirDecoders), ids="-".join)
def pair(request, tmp_path_factory):
    reference, model = pair_of(*request.param, tmp_path_factory.mktemp("pair"))
    reference.set_attn_implementation("eager")
    return reference, model


def past_of(theirs):
    """Their cache as the documented tuple: four tensors a layer."""
    cached, crossed = theirs.self_attention_cache.layers, theirs.cross_attention_cache.layers
    return tuple((a.keys, a.values, b.keys, b.values) for a, b in zip(cached, crossed, strict=True))


def leaves(value):
    """The tensors of a field, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if hasattr(value, "self_attention_cache"):
        value = past_of(value)
    return [leaf for part in value for leaf in leaves(part)]


def assert_alike(ours, theirs, what):
    mine, other = leaves(ours), leaves(theirs)
    assert len(mine) == len(other), what
    for a, b in zip(mine, other, strict=True):
        assert_within(a, b)


def labels_of(rows):
    """Random labels, each row with its end token, the second with padding after it."""
    labels = torch.randint(3, VOCABULARY, (rows, 6), generator=torch.Generator().manual_seed(2))
    labels[:, 5] = 2
    labels[1, 3:] = torch.tensor([2, -100, -100])
    return labels


def asked(model):
    told = {"output_attentions": True, "output_hidden_states": True, "use_cache": True}
    return {"pixel_values": images(model, 3), "labels": labels_of(3), **told}


@torch.no_grad()
def test_every_field_equals_transformers_eager(pair):
    reference, model = pair
    given = asked(model)
    ours, theirs = model(**given), reference(**given)
    for name in FIELDS:
        assert_alike(getattr(ours, name), getattr(theirs, name), name)
    assert list(ours) == list(theirs)
    with torch.enable_grad():
        assert_within(model(**given).logits.detach(), theirs.logits)


@torch.no_grad()
def test_the_tuple_form_is_the_documented_one(pair):
    """Theirs holds besides, undocumented, what an encoder pools (and of Swin the states once more, as maps)."""
    reference, model = pair
    given = asked(model)
    ours, theirs = model(**given, return_dict=False), reference(**given, return_dict=False)
    documented = reference(**given).to_tuple()
    assert torch.equal(model(**given, return_dict=None).logits, ours[1])  # unsaid it is the form with names
    assert len(ours) == len(documented) == len(FIELDS)
    pooled = 7
    for name, mine, *others in zip(FIELDS, ours, documented, (*theirs[:pooled], *theirs[pooled + 1 :]), strict=False):
        for other in others:
            assert_alike(mine, other, name)


@torch.no_grad()
def test_a_past_passed_back_continues_as_transformers_does(pair):
    reference, model = pair
    pixels = images(model, 3)
    ids = torch.randint(3, VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(3))
    whole = reference(pixel_values=pixels, decoder_input_ids=ids).logits
    ours = model(pixel_values=pixels, decoder_input_ids=ids[:, :3]).past_key_values
    theirs = reference(pixel_values=pixels, decoder_input_ids=ids[:, :3], use_cache=True)
    states = (theirs.encoder_last_hidden_state,)
    theirs = theirs.past_key_values
    plain = tuple(tuple(layer) for layer in ours)
    for first, last in ((3, 4), (4, 7)):
        new = ids[:, first:last]
        given = {"past_key_values": theirs, "encoder_outputs": states, "use_cache": True}
        expected = reference(decoder_input_ids=new, **given)
        outputs = [model(past_key_values=past, decoder_input_ids=new) for past in (ours, plain)]
        for output in outputs:
            assert_within(output.logits, expected.logits)
            assert_within(output.logits, whole[:, first:last])
            assert_alike(output.past_key_values, expected.past_key_values, "past_key_values")
        ours, theirs = outputs[0].past_key_values, expected.past_key_values
        plain = tuple(tuple(layer) for layer in ours)
