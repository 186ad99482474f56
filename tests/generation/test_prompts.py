"""Prompts of unequal length: each row continues as it would alone, for every padding and decoder."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.generation.toy import STRATEGIES, build, end_after, generated, never_end, pair, rows_of
from tests.parity import assert_within, images
from tests.test_pairs import DECODERS, ENCODERS, composed, decoder_fields, small
from vedcore import InputError
from vedcore_plugin_gpt2.testing import config_fields as gpt2_fields
from vedcore_plugin_vit.testing import config_fields as vit_fields

SIDES = ("left", "right", "both", "inside")


def padded(rows, side, width, pad=0):
    """Prompts as (B, width) ids and the mask of their tokens. The side "inside" puts padding between tokens."""
    ids, mask = torch.full((len(rows), width), pad), torch.zeros(len(rows), width, dtype=torch.long)
    for index, row in enumerate(rows):
        places = {
            "left": range(width - len(row), width),
            "right": range(len(row)),
            "both": range((width - len(row)) // 2, (width - len(row)) // 2 + len(row)),
            "inside": sorted((2 * place) % width if width % 2 else place for place in range(len(row))),
        }[side]
        ids[index, list(places)], mask[index, list(places)] = torch.tensor(row), 1
    return ids, mask


def assert_as_alone(model, pixels, rows, side, width, **options):
    """A padded batch of prompts gives the same results as each row alone without padding."""
    ids, mask = padded(rows, side, width)
    together = generated(model, pixels, decoder_input_ids=ids, decoder_attention_mask=mask, **options)
    each = options.get("num_return_sequences", 1)
    assert together.sequences.shape[0] == len(rows) * each
    for index, row in enumerate(rows):
        alone = generated(model, pixels[index][None], decoder_input_ids=torch.tensor([row]), **options)
        for place in range(each):
            at = index * each + place
            ours = together.sequences[at, width - len(row) : int(together.lengths[at])].tolist()
            assert ours == rows_of(alone)[place]
            assert together.sequences[at, : width - len(row)].tolist() == [0] * (width - len(row))
            new = alone.token_logprobs.shape[1]
            assert_within(together.token_logprobs[at, :new], alone.token_logprobs[place])
            assert_within(together.confidences[at], alone.confidences[place])
            assert together.stop_reasons[at] == alone.stop_reasons[place]
            if alone.sequences_scores is not None:
                assert_within(together.sequences_scores[at], alone.sequences_scores[place])


prompts = st.lists(st.lists(st.integers(3, 9), min_size=1, max_size=5), min_size=2, max_size=4)


@given(
    vit_fields(),
    gpt2_fields(),
    prompts,
    st.sampled_from(SIDES),
    st.integers(0, 2),
    st.sampled_from([{}, {"num_beams": 2}, {"num_beams": 3, "num_return_sequences": 2, "early_stopping": "never"}]),
    st.integers(0, 99),
)
def test_rows_with_prompts_of_unequal_length_continue_as_each_alone(vit, gpt2, rows, side, more, options, seed):
    model = build(vit, gpt2, seed).double()  # float64, because unscaled attention amplifies rounding
    width = max(map(len, rows)) + more
    never = {"max_new_tokens": 6, "logits_processor": [end_after(3, 5, 7)]}
    assert_as_alone(model, images(model, len(rows)).double(), rows, side, width, **never, **options)


# Processors do not count padding.
COUNTING = {
    "max_length": {"max_length": 9},
    "min_length": {"min_length": 6, "max_length": 9},
    "min_new_tokens": {"min_new_tokens": 2},
    "forced_eos": {"forced_eos_token_id": 2, "max_length": 7},
    "forced_bos": {"forced_bos_token_id": 9},
    "repetition": {"repetition_penalty": 3.0, "no_repeat_ngram_size": 2},
    "bias": {"sequence_bias": [[[4, 7], 8.0], [[6], -2.0]], "bad_words_ids": [[5, 9]]},
    "decay": {"exponential_decay_length_penalty": (1, 1.5)},
    "begin_suppress": {"begin_suppress_tokens": [4, 8, 9]},
    "renormalized": {"renormalize_logits": True, "suppress_tokens": [4]},
}
ROWS = [[1, 4, 5, 6], [4], [1, 9], [7, 3, 8, 4, 5]]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("options", COUNTING.values(), ids=COUNTING)
@pytest.mark.parametrize("beams", [{}, {"num_beams": 3}], ids=["greedy", "beams"])
def test_processors_treat_each_row_as_if_it_were_alone(model, options, beams, side):
    assert_as_alone(model, images(model, 4), ROWS, side, 7, **options, **beams)


@pytest.mark.parametrize("beams", [{}, {"num_beams": 2}], ids=["greedy", "beams"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_counts_positions_from_a_rows_first_token(decoder, beams):
    model = small("vit", decoder, seed=3)
    assert_as_alone(model, images(model, 4), ROWS, "left", 6, max_new_tokens=7, **beams)


def test_sinusoidal_positions_too():
    fields = decoder_fields("trocr", use_learned_position_embeddings=False)
    model = composed("vit", "trocr", ENCODERS["vit"], fields, seed=3)
    assert_as_alone(model, images(model, 4), ROWS, "right", 6, max_new_tokens=7)


@pytest.mark.parametrize("beams", [{}, {"num_beams": 3}], ids=["greedy", "beams"])
def test_each_row_can_use_all_positions_of_the_decoder(model, beams):
    pixels = images(model, 3)
    rows = [[1], [1, 4, 5], [1, *[4, 5, 6] * 6]]
    options = {"max_new_tokens": 50, "logits_processor": [never_end], **beams}
    assert_as_alone(model, pixels, rows, "left", 19, **options)
    ids, mask = padded(rows, "right", 25)
    found = generated(model, pixels, decoder_input_ids=ids, decoder_attention_mask=mask, **options)
    assert (found.lengths - (25 - torch.tensor([1, 3, 19]))).tolist() == [21] * 3
    assert found.stop_reasons == ("length",) * 3


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_draws_have_the_probabilities_of_the_row_alone(model, options):
    pixels = images(model, 4)
    ids, mask = padded(ROWS, "left", 5)
    found = generated(
        model,
        pixels,
        decoder_input_ids=ids,
        decoder_attention_mask=mask,
        max_new_tokens=5,
        seed=3,
        logits_processor=[end_after(3)],
        **options,
    )
    for index, row in enumerate(ROWS):
        own = found.sequences[index, 5 - len(row) : int(found.lengths[index])][None]
        with torch.no_grad():
            logits = model(pixel_values=pixels[index][None], decoder_input_ids=own[:, :-1]).logits
        expected = logits.log_softmax(dim=-1).gather(2, own[:, 1:, None])[0, len(row) - 1 :, 0]
        assert_within(found.token_logprobs[index, : len(expected)], expected)


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
@pytest.mark.parametrize("given_as", [torch.long, torch.bool, torch.float32])
def test_a_mask_without_padding_changes_nothing(model, options, given_as):
    pixels, prompt = images(model, 2), torch.tensor([[1, 4], [1, 7]])
    plain = generated(model, pixels, decoder_input_ids=prompt, seed=1, **options)
    mask = torch.ones(2, 2, dtype=given_as)
    masked = generated(model, pixels, decoder_input_ids=prompt, decoder_attention_mask=mask, seed=1, **options)
    assert torch.equal(masked.sequences, plain.sequences)
    assert torch.equal(masked.token_logprobs, plain.token_logprobs)


def test_padding_that_all_prompts_share_does_not_count(model):
    assert_as_alone(model, images(model, 2), [[1, 4], [1, 7]], "left", 5, max_length=6)


def test_left_padding_stays_and_other_padding_moves_to_the_left(model):
    pixels = images(model, 2)
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    prompt = torch.tensor([[11, 12, 1, 4], [1, 5, 6, 7]])
    found = model.generate(pixels, decoder_input_ids=prompt, decoder_attention_mask=mask, max_new_tokens=3)
    assert torch.equal(found[:, :4], prompt)
    turned = torch.tensor([[1, 4, 11, 12], [1, 5, 6, 7]])
    other = model.generate(pixels, decoder_input_ids=turned, decoder_attention_mask=mask.flip(1), max_new_tokens=3)
    assert torch.equal(other, found)


def test_rows_end_and_leave_one_by_one(model):
    seen = []
    model.decoder.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    ids, mask = padded(ROWS * 2, "left", 5)
    found = generated(
        model,
        images(model, 8),
        decoder_input_ids=ids,
        decoder_attention_mask=mask,
        max_new_tokens=9,
        logits_processor=[end_after(3, 5, 9, 11)],
    )
    new = found.lengths - 5
    assert seen == [int((new > step).sum()) for step in range(int(new.max()))]
    assert len(set(seen)) > 2


@given(prompts, st.integers(0, 9), st.sampled_from([1, 3]))
def test_tokens_equal_those_of_transformers_with_explicit_positions(rows, seed, beams):
    """Without explicit positions, transformers counts padding in an encoder-decoder."""
    reference, model = pair(seed)
    rows = [[1, *row] for row in rows]
    ids, mask = padded(rows, "left", max(map(len, rows)))
    pixels = images(model, len(rows))
    arguments = {"decoder_input_ids": ids, "decoder_attention_mask": mask, "max_new_tokens": 6, "num_beams": beams}
    arguments |= {"return_dict_in_generate": True}
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    theirs = reference.generate(pixels, decoder_position_ids=positions, output_scores=True, **arguments)
    ours = model.generate(pixels, **arguments)
    for index, length in enumerate(ours.lengths.tolist()):
        assert ours.sequences[index, :length].tolist() == theirs.sequences[index, :length].tolist()
    if beams > 1:
        assert_within(ours.sequences_scores, theirs.sequences_scores)


# Prompts and masks that do not fit.


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(2, 2), r"shape of decoder_input_ids, \(2, 3\), got \(2, 2\)"),
        (torch.ones(3), r"\(2, 3\), got \(3,\)"),
        (torch.tensor([[1, 1, 1], [0, 0, 0]]), "no token in row 1 of 2"),
        (torch.zeros(2, 3), "no token in row 0, 1 of 2"),
        (torch.ones(2, 3, device="meta"), r"decoder_attention_mask: on meta, but the model is on cpu"),
    ],
    ids=["shape", "one axis", "an empty row", "all empty", "another device"],
)
def test_a_mask_that_does_not_fit_is_refused(model, mask, message):
    prompt = torch.tensor([[1, 4, 5], [1, 6, 7]])
    with pytest.raises(InputError, match=message):
        model.generate(images(model, 2), decoder_input_ids=prompt, decoder_attention_mask=mask)


@pytest.mark.parametrize("prompt", [[[1, 4, 0], [1, 6, 7]], [[0, 1, 4], [1, 6, 7]]], ids=["right", "left"])
def test_a_padded_prompt_without_a_mask_causes_a_warning(model, prompt):
    prompt, pixels = torch.tensor(prompt), images(model, 2)
    for write in (model.generate, model.stream):
        with pytest.warns(UserWarning, match="padding id 0, and there is no decoder_attention_mask") as caught:
            write(pixels, decoder_input_ids=prompt, pad_token_id=0, max_new_tokens=1)
        assert [warning.filename for warning in caught] == [__file__]
    model.generate(
        pixels, decoder_input_ids=prompt, decoder_attention_mask=prompt != 0, pad_token_id=0, max_new_tokens=1
    )


def test_a_mask_without_a_prompt_is_refused(model):
    with pytest.raises(InputError, match="without decoder_input_ids"):
        model.generate(images(model, 2), decoder_attention_mask=torch.ones(2, 1))


def test_a_tensor_on_another_device_is_an_error_that_names_both_devices(model):
    pixels = images(model, 2)
    prompt = torch.ones(2, 1, dtype=torch.long)
    for arguments, name in (
        ({"pixel_values": pixels.to("meta")}, "pixel_values"),
        ({"encoder_outputs": (torch.zeros(2, 5, 16, device="meta"),)}, "encoder_outputs"),
        ({"pixel_values": pixels, "decoder_input_ids": prompt.to("meta")}, "decoder_input_ids"),
    ):
        for call in (model.generate, model.stream):
            with pytest.raises(InputError, match=rf"{name}.*meta.*cpu"):
                call(**arguments)


def test_the_length_of_a_prompt_is_checked_without_its_padding(model):
    ids, mask = padded([[1, 4], [1] * 21], "left", 24)
    with pytest.raises(InputError, match="21 tokens, but the decoder has positions for 20"):
        model.generate(images(model, 2), decoder_input_ids=ids, decoder_attention_mask=mask)
    ids, mask = padded([[1, 4], [1] * 20], "left", 24)
    found = generated(model, images(model, 2), decoder_input_ids=ids, decoder_attention_mask=mask)
    assert int(found.lengths[1]) == 25


def test_a_prompt_after_which_nothing_can_follow_is_an_error_with_both_numbers(model):
    with pytest.raises(InputError, match="3 tokens and the length limit is 3"):
        model.generate(images(model, 1), decoder_input_ids=torch.tensor([[1, 4, 5]]), max_length=3)
