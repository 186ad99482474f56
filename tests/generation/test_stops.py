"""A caller's own stopping criteria, and the seed of sampling."""

from types import SimpleNamespace

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from tests.generation.toy import STRATEGIES, end_after, generated, never_end, pair, rows_of
from tests.parity import assert_within, images
from vedcore import ConfigError, InputError


def stop_after(*tokens):
    """A stopping criterion of transformers that ends a row after any of these tokens."""

    class StopAfter(transformers.StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            return torch.isin(input_ids[:, -1], torch.tensor(tokens))

    return StopAfter()


def stopped(model, pixels, *criteria, **options):
    return generated(model, pixels, stopping_criteria=list(criteria), **options)


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_a_criterion_ends_its_row_and_no_other(model, options):
    found = stopped(model, images(model, 8), stop_after(4, 9, 11), max_new_tokens=7, seed=5, **options)
    assert "stopped" in found.stop_reasons
    for ids, reason in zip(rows_of(found), found.stop_reasons, strict=True):
        assert not set(ids[1:-1]) & {2, 4, 9, 11}
        assert reason == ("eos" if ids[-1] == 2 else "length" if len(ids) == 8 else "stopped")
        assert reason != "stopped" or ids[-1] in (4, 9, 11)


def test_an_end_token_and_the_length_take_precedence_over_a_criterion(model):
    pixels = images(model, 4)
    ended = stopped(model, pixels, lambda ids, scores: True, logits_processor=[end_after(*range(13))])
    assert (ended.stop_reasons, ended.sequences.shape) == (("eos",) * 4, (4, 2))
    short = stopped(model, pixels, lambda ids, scores: True, max_new_tokens=1, logits_processor=[never_end])
    assert short.stop_reasons == ("length",) * 4
    first = stopped(model, pixels, lambda ids, scores: True, logits_processor=[never_end])
    assert (first.stop_reasons, first.sequences.shape) == (("stopped",) * 4, (4, 2))


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_one_bool_applies_to_all_rows(model, options):
    found = stopped(
        model, images(model, 3), lambda ids, _: ids.shape[1] == 4, seed=1, logits_processor=[never_end], **options
    )
    assert found.lengths.tolist() == [4] * 3
    assert found.stop_reasons == ("stopped",) * 3
    theirs = transformers.MaxLengthCriteria(4)
    again = stopped(model, images(model, 3), theirs, seed=1, logits_processor=[never_end], **options)
    assert torch.equal(again.sequences, found.sequences)


def test_a_criterion_gets_the_running_rows_and_the_scores_of_their_last_tokens(model):
    seen = []

    def look(ids, scores):
        seen.append((len(ids), torch.equal(scores.argmax(dim=-1), ids[:, -1]), scores[:, 4].tolist()))
        return False

    options = {"max_new_tokens": 9, "suppress_tokens": [4], "logits_processor": [end_after(3, 5, 7, 9, 11)]}
    found = stopped(model, images(model, 8), look, **options)
    new = found.lengths - 1
    # All rows end at the ninth step.
    assert [count for count, _, _ in seen] == [int((new > step).sum()) for step in range(8)]
    assert all(chosen for _, chosen, _ in seen)
    assert {value for _, _, values in seen for value in values} == {float("-inf")}
    assert torch.equal(found.sequences, generated(model, images(model, 8), **options).sequences)


def test_a_criterion_gets_the_scores_by_which_a_beam_was_extended(model):
    seen = []

    def look(ids, scores):
        seen.append((ids, scores))
        return torch.zeros(len(ids), dtype=torch.bool)

    pixels = images(model, 2)
    stopped(model, pixels, look, num_beams=2, max_new_tokens=4)
    assert [ids.shape for ids, _ in seen] == [(8, 2), (8, 3), (8, 4)]  # there are twice as many candidates as beams
    for ids, scores in seen:
        with torch.no_grad():
            logits = model(pixel_values=pixels.repeat_interleave(4, dim=0), decoder_input_ids=ids[:, :-1]).logits
        assert_within(scores, logits[:, -1].log_softmax(dim=-1))


@pytest.mark.parametrize("options", [{}, {"num_beams": 2}], ids=["greedy", "beams"])
def test_a_criterion_with_a_result_of_another_shape_is_refused(model, options):
    with pytest.raises(InputError, match=r"returned 5 values for \d+ rows"):
        stopped(model, images(model, 3), lambda *_: torch.zeros(5, dtype=torch.bool), **options)


@given(st.integers(0, 4), st.lists(st.integers(3, 12), min_size=1, max_size=4), st.sampled_from([1, 2, 4]))
def test_rows_end_at_the_same_tokens_as_in_transformers(seed, tokens, beams):
    reference, model = pair(seed)
    pixels = images(model, 3, seed)
    options = {"max_new_tokens": 7, "num_beams": beams, "stopping_criteria": [stop_after(*tokens)]}
    options["return_dict_in_generate"] = True
    theirs = reference.generate(
        pixels,
        output_scores=True,
        **{**options, "stopping_criteria": transformers.StoppingCriteriaList(options["stopping_criteria"])},
    )
    ours = model.generate(pixels, **options)
    for ids, expected in zip(rows_of(ours), theirs.sequences.tolist(), strict=True):
        assert ids == expected[: len(ids)]
        assert set(expected[len(ids) :]) <= {0, 2}
    if beams > 1:
        assert_within(ours.sequences_scores, theirs.sequences_scores)


# The seed.

DRAWS = {name: options for name, options in STRATEGIES.items() if "do_sample" in options}


@pytest.mark.parametrize("options", DRAWS.values(), ids=DRAWS)
def test_a_seed_equals_a_generator_and_does_not_change_the_global_state_of_torch(model, options):
    pixels = images(model, 4)
    state = torch.get_rng_state()
    first, again, other = (model.generate(pixels, seed=seed, **options).tolist() for seed in (7, 7, 8))
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), state)
    assert model.generate(pixels, generator=torch.Generator().manual_seed(7), **options).tolist() == first
    assert torch.equal(torch.get_rng_state(), state)
    model.generate(pixels, **options)
    assert not torch.equal(torch.get_rng_state(), state)


def test_a_seed_with_a_generator_is_refused(model):
    for call in (model.generate, model.stream):
        with pytest.raises(ConfigError, match="seed=1 and a generator are both given"):
            call(images(model, 1), do_sample=True, seed=1, generator=torch.Generator())


def test_a_generator_of_another_device_is_refused(model):
    elsewhere = SimpleNamespace(device=torch.device("cuda"))
    with pytest.raises(InputError, match="generator is on cuda, the model on cpu"):
        model.generate(images(model, 1), do_sample=True, generator=elsewhere)
