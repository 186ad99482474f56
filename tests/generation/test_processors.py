"""Each logits processor equals its class in transformers, and all together run in the same order."""

import math
from typing import Any

import pytest
import torch
import transformers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers.generation import logits_process as their

from tests.generation.test_config import VALUES, VOCABULARY, accepted, some_ids, their_config
from vedcore.errors import ConfigError
from vedcore.generation import processors as our
from vedcore.generation.config import GenerationConfig

NEVER = -math.inf
finite = st.floats(-9, 9, width=32) | st.integers(-3, 3).map(float)
anything = finite | st.sampled_from([math.nan, math.inf, NEVER])


@st.composite
def decodings(
    draw: Any, values: st.SearchStrategy[float] = finite, cut: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """(R, T) ids and (R, V) scores. With ``cut`` a few scores of each row are -inf, as after other processors."""
    rows, length = draw(st.integers(1, 4)), draw(st.integers(1, 8))
    ids = draw(st.lists(st.integers(0, VOCABULARY - 1), min_size=rows * length, max_size=rows * length))
    scores = draw(st.lists(values, min_size=rows * VOCABULARY, max_size=rows * VOCABULARY))
    table = torch.tensor(scores).view(rows, VOCABULARY)
    if cut:
        table[:, draw(st.lists(st.integers(0, VOCABULARY - 1), max_size=4))] = NEVER
    return torch.tensor(ids).view(rows, length), table


def assert_same(processor: our.Processor, reference: Any, ids: torch.Tensor, scores: torch.Tensor) -> None:
    """``processor`` equals ``reference``, does not modify its arguments, and treats every row alike."""
    expected = reference(ids.clone(), scores.clone())
    before = ids.clone(), scores.clone()
    processed = processor(ids, scores)
    assert torch.equal(ids, before[0])
    torch.testing.assert_close(scores, before[1], rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(processed, expected, rtol=1e-6, atol=1e-6, equal_nan=True)
    assert processed.dtype == torch.float32
    turned = processor(ids.flip(0), scores.flip(0))
    torch.testing.assert_close(turned, processed.flip(0), rtol=1e-6, atol=1e-6, equal_nan=True)


@given(decodings(), VALUES["sequence_bias"], st.integers(2, 4))
def test_sequence_bias_equals_transformers(decoding, biases, longest):
    # The end of the first row is biased too, so that a longer sequence matches.
    sequence = [*decoding[0][0, -longest:].tolist(), 3]
    biases = [pair for pair in biases if pair[0] != sequence] + [[sequence, 1.5]]
    pairs = GenerationConfig(sequence_bias=biases).sequence_bias
    assert_same(our.sequence_bias(pairs), their.SequenceBiasLogitsProcessor(biases), *decoding)


@given(decodings(), st.lists(some_ids, min_size=1, max_size=4), some_ids)
def test_bad_words_equal_transformers(decoding, words, ends):
    words = [*words, [*decoding[0][0, -2:].tolist(), 3]]  # the first row is about to complete this one
    pairs = GenerationConfig(bad_words_ids=words).bad_words_ids
    assert_same(our.bad_words(pairs, ends), their.NoBadWordsLogitsProcessor(words, ends), *decoding)


def test_bad_words_that_are_only_end_tokens_forbid_nothing():
    ids, scores = torch.tensor([[1]]), torch.zeros(1, 4)
    assert torch.equal(our.bad_words(((2,),), (2,))(ids, scores), scores)


@given(decodings(), VALUES["repetition_penalty"])
def test_repetition_penalty_equals_transformers(decoding, penalty):
    assert_same(our.repetition_penalty(penalty), their.RepetitionPenaltyLogitsProcessor(penalty), *decoding)


@given(decodings(), st.integers(1, 4))
def test_no_repeat_ngram_equals_transformers(decoding, size):
    ids, scores = decoding
    assert_same(our.no_repeat_ngram(size), their.NoRepeatNGramLogitsProcessor(size), ids % 3, scores)


@given(decodings(), st.integers(0, 9), some_ids, st.integers(1, 3))
def test_minimal_lengths_equal_transformers(decoding, length, ends, prompt):
    assert_same(our.min_length(length, ends), their.MinLengthLogitsProcessor(length, ends), *decoding)
    reference = their.MinNewTokensLengthLogitsProcessor(prompt, length, ends)
    assert_same(our.min_new_tokens(length, ends, prompt), reference, *decoding)


@given(decodings(), some_ids, st.integers(1, 9))
def test_forced_tokens_equal_transformers(decoding, ends, max_length):
    assert_same(our.forced_bos(ends[0]), their.ForcedBOSTokenLogitsProcessor(ends[0]), *decoding)
    assert_same(our.forced_eos(ends, max_length), their.ForcedEOSTokenLogitsProcessor(max_length, ends), *decoding)


@given(decodings(values=anything))
def test_remove_invalid_equals_transformers(decoding):
    assert_same(our.remove_invalid, their.InfNanRemoveLogitsProcessor(), *decoding)


@given(decodings(), st.integers(0, 5), st.floats(0.5, 2), some_ids, st.integers(1, 3))
def test_exponential_decay_equals_transformers(decoding, start, factor, ends, prompt):
    reference = their.ExponentialDecayLengthPenalty((start, factor), ends, prompt)
    assert_same(our.exponential_decay(start, factor, ends, prompt), reference, *decoding)


def test_a_decay_above_the_largest_float_raises_allowed_end_tokens_to_infinity():
    ids, scores = torch.zeros(1, 1200, dtype=torch.long), torch.tensor([[-2.0, 0.5, 0.0, NEVER, 9.0]])
    decayed = our.exponential_decay(0, 2.0, (0, 1, 2, 3), 1)(ids, scores)
    assert decayed.tolist() == [[math.inf, math.inf, 0.0, NEVER, 9.0]]


@given(decodings(), st.lists(st.integers(0, VOCABULARY - 1), max_size=3), st.integers(1, 4))
def test_suppressed_tokens_equal_transformers(decoding, tokens, begin):
    assert_same(our.suppress(tokens), their.SuppressTokensLogitsProcessor(tokens), *decoding)
    assert_same(our.begin_suppress(tokens, begin), their.SuppressTokensAtBeginLogitsProcessor(tokens, begin), *decoding)


@given(decodings(), VALUES["temperature"])
def test_temperature_and_renormalisation_equal_transformers(decoding, value):
    assert_same(our.temperature(value), their.TemperatureLogitsWarper(value), *decoding)
    assert_same(our.renormalize, their.LogitNormalization(), *decoding)


inner = st.floats(0, 1, exclude_min=True, exclude_max=True)
CUTS = {
    "top_k": (our.top_k, their.TopKLogitsWarper, st.integers(1, 14)),
    "top_p": (our.top_p, their.TopPLogitsWarper, VALUES["top_p"]),
    "min_p": (our.min_p, their.MinPLogitsWarper, VALUES["min_p"]),
    "typical": (our.typical, their.TypicalLogitsWarper, inner),
    "epsilon": (our.epsilon, their.EpsilonLogitsWarper, inner),
    "eta": (our.eta, their.EtaLogitsWarper, inner),
}


@pytest.mark.parametrize("name", CUTS)
@given(decodings(), st.integers(1, 12), st.data())
def test_the_tokens_that_a_cut_leaves_equal_those_of_transformers(name, decoding, keep, data):
    ours, theirs, values = CUTS[name]
    value = data.draw(values)
    assert_same(ours(value, keep), theirs(value, min_tokens_to_keep=keep), *decoding)


@pytest.mark.parametrize("name", CUTS)
@given(decodings(cut=False), st.integers(1, 12), st.data())
def test_a_cut_keeps_enough_tokens_and_does_not_change_their_scores(name, decoding, keep, data):
    ours, _, values = CUTS[name]
    processed = ours(data.draw(values), keep)(*decoding)
    left = processed > NEVER
    assert (left.sum(dim=-1) >= min(keep, VOCABULARY)).all()
    assert torch.equal(processed[left], decoding[1][left])


@pytest.mark.parametrize("name", ["top_p", "typical", "epsilon", "min_p"])
@pytest.mark.parametrize("value", [0.25, 0.5, 0.75])
def test_a_token_exactly_at_the_threshold_is_treated_as_in_transformers(name, value):
    ours, theirs, _ = CUTS[name]
    scores = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, NEVER, NEVER]])
    assert_same(ours(value), theirs(value), torch.tensor([[1], [1]]), scores)


# All processors of a config.


@pytest.fixture(scope="module")
def model():
    sizes = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=4, n_layer=1, n_head=1, bos_token_id=None, eos_token_id=None
    )
    return transformers.GPT2LMHeadModel(sizes)


def their_processors(model: Any, config: GenerationConfig, prompt_length: int, custom: Any) -> Any:
    theirs = their_config(config.to_dict())
    theirs.max_length = config.limit(prompt_length)
    theirs.min_length = config.minimum_length(prompt_length)
    model._prepare_special_tokens(theirs, device="cpu")
    return model._get_logits_processor(
        theirs, prompt_length, logits_processor=transformers.LogitsProcessorList([custom]), device="cpu"
    )


class Custom(transformers.LogitsProcessor):
    """A caller's processor that is not linear, so the result shows at which position of the list it ran."""

    def __call__(self, input_ids, scores):
        return torch.tanh(scores.clamp(min=-50) / 4) * 3


LENGTHS = ("max_length", "max_new_tokens")
SILENT = ("num_return_sequences", "use_cache", "early_stopping", "length_penalty")  # no processor reads them


@st.composite
def crowded_fields(draw: Any) -> dict[str, Any]:
    """Many fields that enable processors."""
    names = [name for name in VALUES if name not in (*LENGTHS, *SILENT) and not name.startswith("output")]
    names = draw(st.lists(st.sampled_from(names), unique=True, min_size=6))
    sample = draw(st.sampled_from([True, True, False]))
    return {name: draw(VALUES[name]) for name in [*names, "eos_token_id", "num_beams"]} | {"do_sample": sample}


@settings(max_examples=80)
@given(crowded_fields(), decodings(cut=False), st.integers(1, 3), st.integers(1, 3))
def test_the_processors_of_a_config_equal_those_of_transformers(model, fields, decoding, prompt_length, left):
    ids, scores = decoding
    assume(prompt_length <= ids.shape[1])
    limit = ids.shape[1] + left
    config = accepted({**fields, "max_length": limit}).resolved()
    about = {"prompt_length": prompt_length, "max_length": limit, "vocab_size": VOCABULARY}
    first = our.score_processors(config, **about)
    second = our.sampling_processors(config)
    try:
        reference = their_processors(model, config, prompt_length, Custom())
    except ValueError:
        # transformers refuses bad words that are only end tokens.
        assert all(len(word) == 1 for word in config.bad_words_ids)
        return
    expected = reference(ids.clone(), scores.clone())
    processed = scores
    for processor in (*first, Custom(), *second):
        processed = processor(ids, processed)
    torch.testing.assert_close(processed, expected, rtol=1e-5, atol=1e-5, equal_nan=True)
    # transformers has two processors for two minimum lengths; one of them has no effect.
    doubled = bool(config.min_new_tokens) and config.eos_token_id is not None
    empty = sum(value == () for value in (config.suppress_tokens, config.begin_suppress_tokens))
    assert len(first) + 1 + len(second) == len(reference) - doubled - empty


ABOUT = {"prompt_length": 1, "max_length": 9, "vocab_size": VOCABULARY}


def test_a_default_config_has_no_processors():
    config = GenerationConfig(eos_token_id=2).resolved()
    assert our.score_processors(config, **ABOUT) == our.sampling_processors(config) == []


def test_without_sampling_only_renormalisation_runs_after_the_callers_processors():
    config = GenerationConfig(top_p=0.5, temperature=0.5, renormalize_logits=True).resolved()
    assert our.score_processors(config, **ABOUT) == []
    assert our.sampling_processors(config) == [our.renormalize]


@pytest.mark.parametrize(("ends", "kept"), [(None, 2), (1, 2), ((1, 2), 3)])
def test_beam_sampling_keeps_a_token_that_is_not_an_end_token(ends, kept):
    config = GenerationConfig(do_sample=True, num_beams=2, eos_token_id=ends, top_k=1).resolved()
    (cut,) = our.sampling_processors(config)
    scores = torch.arange(float(VOCABULARY))[None]
    assert int((cut(torch.tensor([[1]]), scores) > NEVER).sum()) == kept


@pytest.mark.parametrize(
    "fields",
    [
        {"bad_words_ids": [[1, 11]]},
        {"sequence_bias": [[[1, 11], 1.0]]},
        {"eos_token_id": [1, 11]},
        {"forced_bos_token_id": 11},
        {"forced_eos_token_id": [1, 11]},
        {"suppress_tokens": [1, 11]},
        {"begin_suppress_tokens": [11]},
    ],
)
def test_an_id_outside_the_vocabulary_is_an_error_with_both_numbers(fields):
    config = GenerationConfig.from_dict(fields).resolved()
    (name,) = fields
    with pytest.raises(ConfigError, match=rf"{name} has token id 11.*{VOCABULARY} tokens") as error:
        our.score_processors(config, **ABOUT)
    assert (error.value.field, error.value.found) == (name, 11)
