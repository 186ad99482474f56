"""The outputs of generate equal those of transformers up to the end of each row, and are kept only if requested."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.generation.test_prompts import ROWS, padded
from tests.generation.toy import STRATEGIES, end_after, generated, never_end, pair
from tests.parity import assert_within, images
from vedcore import ConfigError

ALL = dict.fromkeys(("output_scores", "output_logits", "output_attentions", "output_hidden_states"), True)
FIELDS = ("scores", "logits", "decoder_attentions", "cross_attentions", "decoder_hidden_states")
ENCODER = ("encoder_attentions", "encoder_hidden_states")


def assert_close(ours, theirs):
    """Equal within 1e-5, and minus infinity in the same places."""
    assert ours.shape == theirs.shape
    assert torch.equal(ours.isinf(), theirs.isinf())
    assert_within(ours.masked_fill(ours.isinf(), 0.0), theirs.masked_fill(theirs.isinf(), 0.0))


def layers(step):
    return step if isinstance(step, tuple) else (step,)


@given(
    st.integers(0, 4),
    st.integers(1, 3),
    st.sampled_from([1, 2, 3]),
    st.integers(1, 3),
    st.sampled_from([{}, {"repetition_penalty": 1.5, "suppress_tokens": [4]}, {"min_new_tokens": 3}]),
    st.booleans(),
)
def test_every_field_equals_that_of_transformers_up_to_a_rows_end(seed, batch, beams, length, options, use_cache):
    reference, model = pair(seed)
    reference.set_attn_implementation("eager")
    pixels = images(model, batch, seed)
    prompt = torch.tensor([[1, 4, 7], [1, 5, 9], [1, 3, 8]])[:batch, :length]
    arguments = {"decoder_input_ids": prompt, "max_new_tokens": 6, "num_beams": beams, **options, **ALL}
    arguments["use_cache"] = use_cache
    theirs = reference.generate(pixels, return_dict_in_generate=True, **arguments)
    ours = generated(model, pixels, **arguments)
    rows = torch.arange(batch * beams) // beams
    new = ours.lengths - length
    assert len(ours.scores) >= int(new.max())
    for name in FIELDS:
        steps, expected = getattr(ours, name), getattr(theirs, name)
        assert len(steps) <= len(expected)
        for step, (mine, other) in enumerate(zip(steps, expected, strict=False)):
            under_way = new[rows] > step  # in a beam search the image runs at least as long as its text
            for a, b in zip(layers(mine), layers(other), strict=True):
                assert_close(a[under_way], b[under_way])
    for name in ENCODER:
        for a, b in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert_close(a, b)
    if beams > 1:
        assert torch.equal(ours.beam_indices, theirs.beam_indices.long())
        assert_within(ours.sequences_scores, theirs.sequences_scores, 1e-4)
    else:
        assert ours.beam_indices is None


@given(st.integers(0, 4), st.sampled_from([1, 2, 3]))
def test_transformers_computes_the_transition_scores_of_our_output(seed, beams):
    reference, model = pair(seed)
    pixels = images(model, 3, seed)
    given_ = {"max_new_tokens": 6, "num_beams": beams, "num_return_sequences": beams, "output_scores": True}
    found = generated(model, pixels, logits_processor=[end_after(5, 9)], **given_)
    scores = reference.compute_transition_scores(
        found.sequences, found.scores, found.beam_indices, normalize_logits=beams == 1
    )
    padding = torch.arange(1, found.sequences.shape[1]) >= found.lengths[:, None]
    if beams > 1:
        sums = scores.masked_fill(padding, 0.0).sum(dim=1) / (found.lengths - 1)
        real = found.sequences_scores > -1e8
        assert_within(sums[real], found.sequences_scores[real], 1e-4)
        return
    plain = generated(model, pixels, max_new_tokens=6, output_logits=True)
    scores = reference.compute_transition_scores(plain.sequences, plain.logits, normalize_logits=True)
    padding = torch.arange(1, plain.sequences.shape[1]) >= plain.lengths[:, None]
    assert_within(scores.masked_fill(padding, 0.0), plain.token_logprobs)


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_outputs_after_the_end_of_a_row_are_zeros(model, options):
    arguments = {"max_new_tokens": 8, "logits_processor": [end_after(3, 5, 7, 9, 11)], "seed": 1, **options}
    seen = []
    model.decoder.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    found = generated(model, images(model, 8), **arguments, **ALL)
    beams = options.get("num_beams", 1)
    counts = [8 * beams, *seen[1:]]
    assert min(counts) < max(counts)
    for name in FIELDS:
        for count, step in zip(counts, getattr(found, name), strict=True):
            for layer in layers(step):
                assert layer.shape[0] == 8 * beams
                assert int(layer.flatten(1).abs().amax(dim=1).gt(0).sum()) == count


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_outputs_do_not_change_the_tokens(model, options):
    pixels = images(model, 3)
    plain, shown = (generated(model, pixels, seed=4, **options, **more) for more in ({}, ALL))
    assert torch.equal(plain.sequences, shown.sequences)
    assert torch.equal(plain.token_logprobs, shown.token_logprobs)
    assert plain.stop_reasons == shown.stop_reasons


def test_outputs_that_are_not_requested_are_not_kept(model, monkeypatch):
    steps = []
    model.decoder.register_forward_hook(lambda _, given, __: steps.append(given[1].trace))
    pixels = images(model, 2)
    found = generated(model, pixels)
    assert all(getattr(found, name) is None for name in (*FIELDS, *ENCODER, "beam_indices"))
    for name in ALL:
        setattr(model.generation_config, name, True)  # without return_dict_in_generate, as a file may
    monkeypatch.setattr("vedcore.generation.run.StepRecorder", None)
    assert isinstance(model.generate(pixels), torch.Tensor)
    assert len(list(model.stream(pixels))) > 0
    assert set(steps) == {None}


@pytest.mark.parametrize("name", ALL)
def test_each_output_can_be_requested_alone(model, name):
    found = generated(model, images(model, 2), num_beams=2, **{name: True})
    fields = {
        "output_scores": {"scores", "beam_indices"},
        "output_logits": {"logits"},
        "output_attentions": {"decoder_attentions", "cross_attentions", "encoder_attentions"},
        "output_hidden_states": {"decoder_hidden_states", "encoder_hidden_states"},
    }[name]
    assert {field for field in (*FIELDS, *ENCODER, "beam_indices") if field in found} == fields
    with pytest.raises(ConfigError, match=f"{name}=True needs return_dict_in_generate"):
        model.generate(images(model, 2), **{name: True})


def test_given_encoder_outputs_are_not_returned_again(model):
    with torch.no_grad():
        encoded = model.encode(images(model, 2))
    found = generated(model, None, encoder_outputs=encoded, **ALL)
    assert found.encoder_attentions is None
    assert found.encoder_hidden_states is None
    assert found.cross_attentions is not None


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    "options",
    [{}, {"num_beams": 2}, {"use_cache": False}, {"num_beams": 2, "use_cache": False}],
    ids=["greedy", "beams", "greedy without a cache", "beams without a cache"],
)
def test_the_outputs_of_a_padded_prompt_equal_those_without_padding(model, options, side):
    pixels = images(model, 4)
    ids, mask = padded(ROWS, side, 6)
    arguments = {"max_new_tokens": 4, "logits_processor": [never_end], **options, **ALL}
    together = generated(model, pixels, decoder_input_ids=ids, decoder_attention_mask=mask, **arguments)
    beams = options.get("num_beams", 1)
    for index, row in enumerate(ROWS):
        alone = generated(model, pixels[index][None], decoder_input_ids=torch.tensor([row]), **arguments)
        rows, front = slice(index * beams, (index + 1) * beams), 6 - len(row)
        for step in range(4):
            has_front = step == 0 or "use_cache" in options
            tokens = slice(front, None) if has_front else slice(None)
            for name, cut in {
                "scores": (),
                "logits": (),
                "decoder_attentions": (slice(None), tokens, slice(front, None)),
                "cross_attentions": (slice(None), tokens),
                "decoder_hidden_states": (tokens,),
            }.items():
                shown, expected = layers(together[name][step]), layers(alone[name][step])
                for a, b in zip(shown, expected, strict=True):
                    assert_close(a[rows][(slice(None), *cut)], b)
                    assert_within(a[rows].abs().sum(), a[rows][(slice(None), *cut)].abs().sum()) if cut else None
        if beams > 1:
            assert torch.equal(together.beam_indices[index] - index * beams, alone.beam_indices[0])
