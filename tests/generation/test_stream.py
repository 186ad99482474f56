"""Streaming: each token is yielded once, and together they equal the result of generate."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.generation.toy import STRATEGIES, build, end_after, generated, never_end, rows_of
from tests.parity import assert_within, images
from vedcore import ConfigError, GenerationError, InputError
from vedcore.generation import StreamedTokens
from vedcore.generation.beams import BeamState
from vedcore_plugin_gpt2.testing import config_fields as gpt2_fields
from vedcore_plugin_vit.testing import config_fields as vit_fields


def gathered(stream):
    """For each row, everything that a stream yielded: tokens, log-probabilities, stop reason."""
    rows = {}
    for new in stream:
        assert isinstance(new, StreamedTokens)
        tokens, logprobs, reasons = rows.setdefault(new.row, ([], [], []))
        assert not reasons  # nothing comes after the end of a row
        assert new.tokens or new.stop_reason
        assert len(new.tokens) == len(new.logprobs)
        tokens.extend(new.tokens)
        logprobs.extend(new.logprobs)
        reasons.extend(filter(None, [new.stop_reason]))
    return rows


def assert_same(stream, found):
    rows = gathered(stream)
    assert sorted(rows) == list(range(len(found.sequences)))
    prompt = found.sequences.shape[1] - found.token_logprobs.shape[1]
    for row, ids in enumerate(rows_of(found)):
        tokens, logprobs, reasons = rows[row]
        assert tokens == ids[prompt:]
        assert_within(torch.tensor(logprobs), found.token_logprobs[row, : len(tokens)])
        assert reasons == [found.stop_reasons[row]]


@given(
    vit_fields(),
    gpt2_fields(),
    st.integers(1, 4),
    st.sampled_from([1, 2, 4]),
    st.booleans(),
    st.sampled_from([False, True, "never"]),
    st.sampled_from([-1.0, 0.0, 1.0, 2.0]),
    st.integers(0, 99),
)
def test_a_stream_gives_the_tokens_of_generate(vit, gpt2, batch, beams, sample, early_stopping, penalty, seed):
    model = build(vit, gpt2, seed)
    pixels = images(model, batch)
    options = {"max_new_tokens": 8, "logits_processor": [end_after(3, 5, 7)], "num_beams": beams, "do_sample": sample}
    options |= {"early_stopping": early_stopping, "length_penalty": penalty} if beams > 1 else {}
    assert_same(model.stream(pixels, seed=seed, **options), generated(model, pixels, seed=seed, **options))


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_a_stream_continues_prompts_of_unequal_length(model, options):
    prompt = torch.tensor([[0, 0, 1], [1, 4, 5], [0, 1, 7]])
    options = {**options, "decoder_input_ids": prompt, "decoder_attention_mask": prompt > 0, "seed": 3}
    options["logits_processor"] = [end_after(3, 5)]
    pixels = images(model, 3)
    assert_same(model.stream(pixels, **options), generated(model, pixels, **options))


def test_a_stream_uses_the_callers_criteria(model):
    pixels = images(model, 4)
    for options in STRATEGIES.values():
        given_ = {"stopping_criteria": [lambda ids, _: ids[:, -1] > 8], "seed": 2, **options}
        found = generated(model, pixels, **given_)
        assert "stopped" in found.stop_reasons
        assert_same(model.stream(pixels, **given_), found)


def test_several_sequences_of_an_image_are_rows(model):
    options = {"do_sample": True, "num_return_sequences": 3, "seed": 1, "max_new_tokens": 5}
    pixels = images(model, 2)
    assert_same(model.stream(pixels, **options), generated(model, pixels, **options))


def test_a_token_is_yielded_before_the_next_is_computed(model):
    passes = []
    model.decoder.register_forward_hook(lambda *_: passes.append(1))
    stream = model.stream(images(model, 2), max_new_tokens=5, logits_processor=[never_end])
    assert not passes
    counts = []
    for new in stream:
        counts.append((new.row, len(passes)))
    assert counts == [(row, step) for step in range(1, 6) for row in range(2)]


def test_the_tokens_that_all_beams_share_are_yielded_before_the_beams_end(model):
    passes = []
    model.decoder.register_forward_hook(lambda *_: passes.append(1))
    when = [
        (len(passes), len(new.tokens), new.stop_reason)
        for new in model.stream(images(model, 8), num_beams=2, max_new_tokens=12, logits_processor=[never_end])
    ]
    early = [count for count, _, _ in when if count < len(passes)]
    assert len(early) > 8
    assert all(a <= b for (a, _, _), (b, _, _) in pairwise(when))
    assert sum(reason is not None for _, _, reason in when) == 8


def test_every_token_that_is_certain_is_yielded_in_the_same_step(model, monkeypatch):
    """A token is certain when all running beams and the best finished one contain it."""
    pixels = images(model, 4)
    options = {"num_beams": 3, "max_new_tokens": 8, "logits_processor": [end_after(3, 5, 7)]}
    best = rows_of(generated(model, pixels, **options))
    steps, agreed = [[] for _ in pixels], BeamState.agreed

    def look(state):
        for place, image in enumerate(state.images.tolist()):
            ended, running = state.finished, state.running.tokens[place].tolist()
            first = [ended.tokens[place, 0, : int(ended.counts[place, 0])].tolist()] if ended.valid[place, 0] else []
            steps[image].append(first if state.done[place] else first + running)
        return agreed(state)

    monkeypatch.setattr(BeamState, "agreed", look)
    when = [[] for _ in pixels]
    for new in model.stream(pixels, **options):
        when[new.row] += [len(steps[new.row])] * len(new.tokens)
    assert any(step < len(seen) for steps_, seen in zip(when, steps, strict=True) for step in steps_)
    for image, ids in enumerate(best):
        tokens = ids[1:]  # without the start token
        for place in range(len(tokens)):
            beginning = tokens[: place + 1]
            certain = [all(row[: place + 1] == beginning for row in rows) for rows in steps[image]]
            assert when[image][place] == certain.index(True) + 1


# Errors.


def test_errors_come_before_the_first_token(model):
    pixels = images(model, 2)
    for wrong, error, message in (
        ({"num_beam": 2}, TypeError, "num_beams"),
        ({"temperature": 0.5}, ConfigError, "used only by sampling"),
        ({"num_beams": 3, "num_return_sequences": 2}, ConfigError, "stream the best text"),
        ({"return_dict_in_generate": True}, ConfigError, "return_dict_in_generate=True has no effect on stream"),
        ({"output_scores": True}, ConfigError, "output_scores=True has no effect on stream"),
        ({"decoder_input_ids": torch.full((2, 2), 13)}, InputError, "13"),
        ({"decoder_input_ids": torch.ones(2, 21, dtype=torch.long)}, InputError, "positions for 20"),
    ):
        with pytest.raises(error, match=message):
            model.stream(pixels, **wrong)
    with pytest.raises(InputError, match="no images: pass pixel_values or encoder_outputs"):
        model.stream()
    with pytest.raises(InputError, match="no images"):
        model.stream(pixels[:0])


def test_nan_scores_end_a_stream_at_the_step_where_they_occur(model):
    with torch.no_grad():
        model.decoder.positions.weight[2] = float("nan")
    stream = model.stream(images(model, 1), logits_processor=[never_end])
    assert [next(stream).row for _ in range(2)] == [0, 0]
    with pytest.raises(GenerationError, match="token 3 are not finite"):
        next(stream)
