"""Sessions: rows join while others run, beside beams, and write what they write alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.generation.toy import build, end_after, never_end
from tests.parity import assert_within, images
from vedcore import Step
from vedcore.generation import Session, TorchLoop
from vedcore.generation.beams import BeamSearch
from vedcore.generation.one_text import OneText
from vedcore.generation.rules import Rules
from vedcore.generation.strategy import Draw, best


def greedy(prompt, processors=(), select=best):
    rules = Rules(frozenset({2}), prompt.shape[1], prompt.shape[1] + 9, processors)
    return OneText(prompt, rules, select)


def beams(prompt, processors=(), num_beams=3):
    rules = Rules(frozenset({2}), prompt.shape[1], prompt.shape[1] + 9, processors)
    return BeamSearch(prompt, rules, best, num_beams=num_beams, num_return=2)


def memory_of(model, pixels):
    with torch.inference_mode():
        return model.remember(model.encode(pixels))


def alone(model, memory, strategy):
    session = Session(TorchLoop(model.decoder))
    with torch.inference_mode():
        session.admit(memory, strategy)
        while session.running:
            session.step()
    return strategy.result(0)


def assert_same(found, wanted):
    assert found.counts.tolist() == wanted.counts.tolist()
    assert found.tokens.tolist() == wanted.tokens.tolist()
    assert_within(found.logprobs, wanted.logprobs)
    if wanted.scores is not None:
        assert_within(found.scores, wanted.scores)


REQUESTS = {  # images, prompt, strategy
    "three greedy": (3, [[1], [1], [1]], greedy),
    "two greedy with a prompt": (2, [[1, 5, 7], [1, 9, 4]], greedy),
    "beams of two": (2, [[1], [1]], beams),
    "beams with a prompt": (1, [[1, 4]], beams),
}


@given(
    st.lists(st.tuples(st.sampled_from(sorted(REQUESTS)), st.integers(0, 4)), min_size=2, max_size=4),
    st.sampled_from([(), (end_after(3, 5, 7),), (never_end,)]),
    st.booleans(),
    st.integers(0, 20),
)
def test_rows_that_join_while_others_run_equal_separate_runs(requests, processors, use_cache, seed):
    model = build(seed=seed).double()
    wanted, waiting = [], []
    for number, (name, steps) in enumerate(requests):
        count, prompt, make = REQUESTS[name]
        pixels, ids = images(model, count, seed=number).double(), torch.tensor(prompt)
        wanted.append(alone(model, memory_of(model, pixels), make(ids, processors)))
        waiting.append((steps, memory_of(model, pixels), make(ids, processors)))
    session = Session(TorchLoop(model.decoder), use_cache=use_cache)
    with torch.inference_mode():
        for steps, memory, strategy in waiting:
            for _ in range(steps):
                if session.running:
                    session.step()
            session.admit(memory, strategy)
        while session.running:
            session.step()
    for (_, _, strategy), expected in zip(waiting, wanted, strict=True):
        assert_same(strategy.result(0), expected)


def test_rows_of_one_generator_draw_in_the_order_of_the_rows(model):
    pixels = images(model, 4)
    together = greedy(torch.ones(4, 1, dtype=torch.long), select=Draw(torch.Generator().manual_seed(0)))
    whole = alone(model, memory_of(model, pixels), together)
    generator = torch.Generator().manual_seed(0)
    first, second = (greedy(torch.ones(2, 1, dtype=torch.long), select=Draw(generator)) for _ in range(2))
    session = Session(TorchLoop(model.decoder))
    with torch.inference_mode():
        session.admit(memory_of(model, pixels[:2]), first)
        session.admit(memory_of(model, pixels[2:]), second)
        while session.running:
            session.step()
    parts = [first.result(0), second.result(0)]
    step = [row[0] for part in parts for row in part.tokens.tolist()]
    assert step == whole.tokens[:, 0].tolist()  # until a row ends, the draws are the same


def test_a_session_drops_repeats_and_reorders_rows(model):
    pixels = images(model, 3)
    session = Session(TorchLoop(model.decoder))
    prompt = torch.ones(3, 1, dtype=torch.long)
    with torch.inference_mode():
        session.admit(memory_of(model, pixels), greedy(prompt, (never_end,)))
        session.step()
        session.select(torch.tensor([2, 2, 0]))
        assert session.images.tolist() == [0, 0, 1] or session.memory.rows is not None
        assert session.memory.images == 2
        assert session.cache.lengths.tolist() == [1, 1, 1]
        scores = session.loop.advance(
            torch.tensor([[5], [5], [5]]),
            _step_after(session),
        )
        other = Session(TorchLoop(model.decoder))
        other.admit(memory_of(model, pixels), greedy(prompt, (never_end,)))
        other.step()
        every = other.loop.advance(torch.tensor([[5], [5], [5]]), _step_after(other))
    assert_within(scores, every[[2, 2, 0]])


def _step_after(session):
    session.cache.reserve(2)
    return Step(slots=torch.tensor([[1]]), extent=2, memory=session.memory, cache=session.cache)


def test_a_session_whose_rows_have_all_ended_takes_new_rows(model):
    prompt = torch.ones(1, 1, dtype=torch.long)
    memory = memory_of(model, images(model, 1))
    wanted = alone(model, memory, greedy(prompt))
    session = Session(TorchLoop(model.decoder))
    assert not session.running
    for _ in range(2):
        strategy = greedy(prompt)
        with torch.inference_mode():
            session.admit(memory_of(model, images(model, 1)), strategy)
            assert session.running
            while session.running:
                session.step()
        assert session.memory is None
        assert_same(strategy.result(0), wanted)


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_step_feeds_one_token_per_row_with_a_cache_and_all_without(model, use_cache):
    fed = []
    model.decoder.register_forward_hook(lambda _, given, __: fed.append(given[0].shape[1]))
    model.generate(images(model, 2), max_new_tokens=4, logits_processor=[never_end], use_cache=use_cache)
    assert fed == ([1, 1, 1, 1] if use_cache else [1, 2, 3, 4])
