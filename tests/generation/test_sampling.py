"""Sampling: the distribution equals that of transformers, and the draws follow it."""

import functools
import json

import pytest
import torch
import transformers
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.generation.test_against_transformers import PROCESSORS
from tests.generation.test_config import VALUES, VOCABULARY
from tests.generation.toy import generated, pair
from tests.parity import assert_within, images
from vedcore import ConfigError, GenerationError
from vedcore.generation import GenerationConfig
from vedcore.generation.config import SAMPLING_FIELDS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")

IDS = {"eos_token_id": 2, "pad_token_id": 0, "decoder_start_token_id": 1}


@functools.cache
def model_of(seed):
    return pair(seed, vocab_size=VOCABULARY)


def first_scores(seed, fields, count=2):
    """The processed scores of the first token, here and in transformers: (rows, V) each."""
    reference, model = model_of(seed)
    pixels = images(model, count, seed)
    fields = json.loads(json.dumps({**IDS, **fields, "do_sample": True}))
    shown = {"output_scores": True, "return_dict_in_generate": True}
    try:
        ours = generated(model, pixels, generation_config=GenerationConfig.from_dict(fields), output_scores=True)
    except (ConfigError, GenerationError):  # no token is left
        assume(False)
    try:
        theirs = reference.generate(pixels, generation_config=transformers.GenerationConfig(**fields, **shown))
    except (ValueError, RuntimeError):
        assume(False)
    return ours.scores[0], theirs.scores[0]


def assert_alike(ours, theirs, temperature):
    """Equal distributions. A low temperature amplifies differences of rounding in the logits."""
    assert_within(ours.softmax(dim=-1), theirs.softmax(dim=-1), 1e-6 / min(1.0, temperature))


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("name", sorted(SAMPLING_FIELDS))
@given(st.data())
def test_the_distribution_of_each_warper_equals_that_of_transformers(name, beams, data):
    value = data.draw(VALUES[name])
    ours, theirs = first_scores(
        data.draw(st.integers(0, 4)), {name: value, "num_beams": beams, "max_new_tokens": data.draw(st.integers(1, 2))}
    )
    assert_alike(ours, theirs, value if name == "temperature" else 1.0)


@pytest.mark.parametrize("beams", [1, 3])
@given(st.data())
def test_the_distribution_of_warpers_and_processors_equals_that_of_transformers(beams, data):
    names = data.draw(st.lists(st.sampled_from(sorted(SAMPLING_FIELDS)), unique=True, min_size=2))
    names += data.draw(st.lists(st.sampled_from(PROCESSORS), unique=True, max_size=4))
    fields = {name: data.draw(VALUES[name]) for name in names}
    ours, theirs = first_scores(data.draw(st.integers(0, 4)), {**fields, "num_beams": beams, "max_new_tokens": 5})
    assert_alike(ours, theirs, fields.get("temperature", 1.0))


# The draws.

DRAWS = 4000


def assert_drawn_from(tokens, probabilities):
    """Pearson's chi-square test at the 0.1 % level, with Wilson and Hilferty's approximation of the quantile."""
    counts = torch.bincount(tokens, minlength=len(probabilities)).double()
    expected = probabilities.double() * len(tokens)
    assert not counts[expected == 0].any()
    common = expected >= 5
    seen = torch.cat([counts[common], counts[~common].sum()[None]])
    wanted = torch.cat([expected[common], expected[~common].sum()[None]])
    seen, wanted = seen[wanted > 0], wanted[wanted > 0]
    freedom = len(wanted) - 1
    assert freedom > 0
    spread = 2 / (9 * freedom)
    bound = freedom * (1 - spread + 3.0902 * spread**0.5) ** 3
    assert float(((seen - wanted) ** 2 / wanted).sum()) < bound


WARPED = {
    "plain": {"top_k": 0},
    "temperature": {"top_k": 0, "temperature": 0.6},
    "top_k": {"top_k": 4},
    "top_p": {"top_k": 0, "top_p": 0.8},
    "min_p": {"top_k": 0, "min_p": 0.2},
    "typical": {"top_k": 0, "typical_p": 0.7},
    "epsilon": {"top_k": 0, "epsilon_cutoff": 0.05},
    "eta": {"top_k": 0, "eta_cutoff": 0.1},
    "together": {"top_k": 6, "temperature": 1.5, "top_p": 0.95, "repetition_penalty": 1.3},
}


@pytest.mark.parametrize("options", WARPED.values(), ids=WARPED)
def test_draws_follow_the_distribution_of_transformers(options):
    reference, model = model_of(1)
    pixels = images(model, 1)
    shown = {"output_scores": True, "return_dict_in_generate": True}
    theirs = reference.generate(pixels, do_sample=True, max_new_tokens=1, **options, **shown)
    drawn = model.generate(pixels, do_sample=True, max_new_tokens=1, num_return_sequences=DRAWS, seed=11, **options)
    assert_drawn_from(drawn[:, 1], theirs.scores[0][0].softmax(dim=-1))


def test_the_second_token_is_drawn_given_the_first():
    reference, model = model_of(1)
    pixels = images(model, 1)
    drawn = model.generate(pixels, do_sample=True, top_k=0, max_new_tokens=2, num_return_sequences=DRAWS, seed=5)
    first = int(drawn[:, 1][drawn[:, 1] != 2].mode().values)
    with torch.no_grad():
        logits = reference(pixel_values=pixels, decoder_input_ids=torch.tensor([[1, first]])).logits[0, -1]
    assert_drawn_from(drawn[drawn[:, 1] == first][:, 2], logits.softmax(dim=-1))


@pytest.mark.parametrize("options", [{"top_k": 0}, {"top_k": 5}, {"top_k": 0, "temperature": 1.7}])
def test_beam_sampling_returns_the_likelier_of_the_drawn_tokens(options):
    """Two beams, one token: two tokens are drawn without replacement, and the likelier one is the text."""
    reference, model = model_of(1)
    pixels = images(model, 1)
    fields = {"do_sample": True, "num_beams": 2, "max_new_tokens": 1, **options}
    theirs = reference.generate(pixels, **fields, output_scores=True, return_dict_in_generate=True)
    scores = theirs.scores[0][0]
    p = scores.softmax(dim=-1).double()
    pairs = p[:, None] * p[None, :] * (1 / (1 - p[:, None]) + 1 / (1 - p[None, :]))  # in either order
    likelier = scores[:, None] > scores[None, :]
    expected = torch.where(likelier, pairs, 0.0).sum(dim=1)
    assert_within(expected.sum(), torch.tensor(1.0, dtype=torch.double), 1e-6)
    drawn = model.generate(pixels.expand(DRAWS, -1, -1, -1), **fields, seed=3)
    assert_drawn_from(drawn[:, 1], expected)
