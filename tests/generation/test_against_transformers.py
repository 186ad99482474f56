"""Tokens equal those of transformers for every combination of strategies and processors."""

import functools
import json

import pytest
import torch
import transformers
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.generation.test_config import VALUES, VOCABULARY
from tests.generation.toy import generated, pair, rows_of
from tests.parity import assert_within, images
from vedcore import ConfigError, GenerationError
from vedcore.generation import GenerationConfig

PROCESSORS = (
    "min_length", "min_new_tokens", "repetition_penalty", "no_repeat_ngram_size", "bad_words_ids", "sequence_bias",
    "renormalize_logits", "remove_invalid_values", "forced_bos_token_id", "forced_eos_token_id", "suppress_tokens",
    "begin_suppress_tokens", "exponential_decay_length_penalty", "eos_token_id", "pad_token_id", "decoder_start_token_id",
)  # fmt: skip
SEARCH = ("early_stopping", "length_penalty")
LOST = 1e8
"""A score of larger magnitude contains a forbidden token. No allowed token was left, so the choice is arbitrary."""

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")


@functools.cache
def model_of(seed):
    return pair(seed, vocab_size=VOCABULARY)


@st.composite
def requested_fields(draw, beams):
    """Fields that both libraries support, with a length and few or many processors."""
    names = draw(st.lists(st.sampled_from(PROCESSORS), unique=True, max_size=len(PROCESSORS)))
    names += draw(st.lists(st.sampled_from(SEARCH), unique=True)) if beams > 1 else []
    fields = {name: draw(VALUES[name]) for name in names}
    length = draw(st.sampled_from(["max_length", "max_new_tokens"]))
    return {**fields, length: draw(st.integers(4, 9)), "num_beams": beams}


def both_of(seed, count, prompt, fields):
    """The texts of both models with their scores. Rejects a combination that one of them refuses."""
    reference, model = model_of(seed)
    pixels = images(model, count, seed)
    options = {} if prompt is None else {"decoder_input_ids": torch.tensor([prompt] * count)}
    ids = {"eos_token_id": 2, "pad_token_id": 0, "decoder_start_token_id": 1}
    fields = json.loads(json.dumps({**ids, **fields}))
    if prompt is not None:
        fields["decoder_start_token_id"] = prompt[0]  # transformers would insert it
    ours = None
    try:
        ours = generated(model, pixels, generation_config=GenerationConfig.from_dict(fields), **options)
    except ConfigError:
        assume(False)
    except GenerationError:
        pass  # no token is left, or a score is NaN; the same must be true of transformers
    shown = {"output_scores": True, "return_dict_in_generate": True}
    try:
        theirs = reference.generate(
            pixels, generation_config=transformers.GenerationConfig(**fields, **shown), **options
        )
    except ValueError:  # bad words that are only end tokens
        assume(False)
    if ours is None:
        assert not all(bool((scores.amax(dim=1) > -LOST).all()) for scores in theirs.scores)
    assume(ours is not None)
    return ours, theirs


@pytest.mark.filterwarnings("ignore:decoder_input_ids begin or end with the padding id")  # any id may be padding
@given(
    st.integers(0, 4),
    st.integers(1, 3),
    st.none() | st.lists(st.integers(3, 9), min_size=1, max_size=3),
    requested_fields(1),
)
def test_greedy_tokens_equal_those_of_transformers(seed, count, prompt, fields):
    ours, theirs = both_of(seed, count, prompt, fields)
    start = 1 if prompt is None else len(prompt)
    for row, ids in enumerate(rows_of(ours)):
        expected = theirs.sequences[row].tolist()
        for place in range(start, len(ids)):
            if ids[place] != expected[place]:
                best = theirs.scores[place - start][row].topk(2).values
                assert best[0] == best[1] or float(best[0] - best[1]) <= 1e-5, (row, ids, expected)
                break
        else:
            # transformers has only padding after the end of a row.
            pad = ours.sequences[row, len(ids) :].tolist() or [0]
            assert ours.stop_reasons[row] == "eos" or len(expected) == len(ids)
            assert set(expected[len(ids) :]) <= set(pad) | {fields.get("pad_token_id", 0)}


@pytest.mark.filterwarnings("ignore:decoder_input_ids begin or end with the padding id")  # any id may be padding
@pytest.mark.parametrize("beams", [2, 4])
@given(st.data())
def test_beams_and_their_scores_equal_those_of_transformers(beams, data):
    seed, count = data.draw(st.integers(0, 4)), data.draw(st.integers(1, 3))
    prompt = data.draw(st.none() | st.lists(st.integers(3, 9), min_size=1, max_size=3))
    returned = data.draw(st.integers(1, beams))
    ours, theirs = both_of(
        seed, count, prompt, {**data.draw(requested_fields(beams)), "num_return_sequences": returned}
    )
    real = theirs.sequences_scores.abs() < LOST
    assert torch.equal(real, ours.sequences_scores.abs() < LOST)
    assert_within(ours.sequences_scores[real], theirs.sequences_scores[real], 1e-4)
    for row, ids in enumerate(rows_of(ours)):
        if real[row] and ids != theirs.sequences[row, : len(ids)].tolist():
            assert abs(float(ours.sequences_scores[row] - theirs.sequences_scores[row])) <= 1e-5
            others = theirs.sequences_scores.view(count, returned)[row // returned]
            # Hypotheses with equal scores may have any order, and the last of them may be missing.
            near = (others - ours.sequences_scores[row]).abs() <= 1e-5
            assert int(near.sum()) > 1 or row % returned == returned - 1, (ids, theirs.sequences[row].tolist())
