"""Decoding: caches, batches and rows that leave do not change a token, and a failure is an error that leaves no state."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.generation.toy import GPT2, STRATEGIES, build, end_after, generated, never_end, rows_of
from tests.parity import assert_within, images
from vedcore import (
    AttentionSizes,
    ConfigError,
    EncoderOutput,
    GenerationError,
    InputError,
    Memory,
    Step,
)
from vedcore.contract.types import causal_mask, take
from vedcore.generation import PastKeyValues
from vedcore.generation.cache import SelfCache
from vedcore_plugin_gpt2.testing import config_fields as gpt2_fields
from vedcore_plugin_vit.testing import config_fields as vit_fields


def greedy_without_cache(model, pixels, count):
    ids = torch.ones(len(pixels), 1, dtype=torch.long)
    done = torch.zeros(len(pixels), dtype=torch.bool)
    for _ in range(count):
        with torch.no_grad():
            logits = model(pixel_values=pixels, decoder_input_ids=ids, use_cache=False).logits
        token = logits[:, -1].argmax(dim=-1).masked_fill(done, model.config.pad_token_id)
        ids, done = torch.cat([ids, token[:, None]], dim=1), done | (token == 2)
        if done.all():
            break
    return ids


# Tokens do not depend on caches, batches or threads.


@given(vit_fields(), gpt2_fields(), st.integers(1, 5), st.integers(0, 99))
def test_cached_decoding_equals_uncached(vit, gpt2, batch, seed):
    model = build(vit, gpt2, seed)
    pixels = images(model, batch)
    assert model.generate(pixels, max_new_tokens=10).tolist() == greedy_without_cache(model, pixels, 10).tolist()


@given(
    vit_fields(),
    gpt2_fields(),
    st.integers(1, 4),
    st.sampled_from(sorted(STRATEGIES)),
    st.sampled_from([None, [3, 3], [1, 3], [2, 0]]),
    st.integers(0, 99),
)
def test_generation_without_a_cache_feeds_all_ids_and_writes_the_same(vit, gpt2, batch, strategy, padding, seed):
    model = build(vit, gpt2, seed).double()  # attention that is not scaled makes rounding large
    pixels = images(model, batch).double()
    options = {**STRATEGIES[strategy], "max_new_tokens": 7, "logits_processor": [end_after(3, 5, 7)]}
    options |= {"seed": seed} if "do_sample" in options else {}
    prompts = torch.ones(batch, dtype=torch.long)
    if padding is not None:
        mask = torch.arange(4) >= torch.tensor((padding * 2)[:batch])[:, None]
        prompts = mask.sum(dim=1)
        options |= {"decoder_input_ids": torch.arange(4 * batch).view(batch, 4) % 8 + 3, "decoder_attention_mask": mask}
    cached = generated(model, pixels, **options)
    fed = []
    model.decoder.register_forward_hook(lambda _, given, __: fed.append((given[0].shape[1], given[1].cache)))
    found = generated(model, pixels, **options, use_cache=False)
    assert found.sequences.tolist() == cached.sequences.tolist()
    assert found.stop_reasons == cached.stop_reasons
    assert_within(found.token_logprobs, cached.token_logprobs)
    assert all(cache is None for _, cache in fed)
    widths = [width for width, _ in fed]
    assert widths[0] == int(prompts.max())
    if "num_beams" not in options:  # the rows of a beam search run longer than their best text
        new = found.lengths - (found.sequences.shape[1] - found.token_logprobs.shape[1])
        assert widths == [int((prompts[new > step] + step).max()) for step in range(int(new.max()))]
    elif padding is None:
        assert widths == [1 + step for step in range(len(fed))]


@given(
    vit_fields(),
    gpt2_fields(),
    st.integers(2, 5),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([False, True, "never"]),
    st.integers(0, 99),
)
def test_a_batch_equals_its_images_one_by_one(vit, gpt2, batch, beams, early_stopping, seed):
    model = build(vit, gpt2, seed).double()  # float64, because unscaled attention amplifies rounding
    pixels = images(model, batch).double()
    options = {"max_new_tokens": 9, "logits_processor": [end_after(3, 5, 7, 9, 11)]}
    options |= {"num_beams": beams, "early_stopping": early_stopping} if beams > 1 else {}
    together = generated(model, pixels, **options)
    alone = [generated(model, image[None], **options) for image in pixels]
    assert rows_of(together) == [rows_of(one)[0] for one in alone]
    assert together.stop_reasons == tuple(one.stop_reasons[0] for one in alone)
    for row, one in enumerate(alone):
        assert_within(together.token_logprobs[row, : one.token_logprobs.shape[1]], one.token_logprobs[0])
        assert_within(together.confidences[row], one.confidences[0])


def test_a_hook_is_called_in_every_step_of_generate(model):
    calls = []
    model.decoder.blocks[1].mlp.register_forward_hook(lambda *_: calls.append(1))
    before = model.generate(images(model, 2), max_new_tokens=5, logits_processor=[never_end])
    assert before.shape[1] - 1 == len(calls) == 5


def test_threads_equal_serial(model):
    options = [STRATEGIES["greedy"], STRATEGIES["beams"]] * 5
    batches = [images(model, 1 + index % 4, seed=index) for index in range(10)]

    def work(_):
        return [
            model.generate(pixels, max_new_tokens=6, **chosen).tolist()
            for pixels, chosen in zip(batches, options, strict=True)
        ]

    expected = work(0)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [expected] * 4


# The cost of a step.


def test_rows_that_end_leave_the_batch(model):
    seen = []
    model.decoder.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    found = generated(model, images(model, 8), max_new_tokens=9, logits_processor=[end_after(3, 5, 7, 9, 11)])
    new = found.lengths - 1
    assert seen == [int((new > step).sum()) for step in range(int(new.max()))]
    assert len(set(seen)) > 2  # rows left at more than one step


def test_images_whose_beams_are_done_leave_the_batch(model):
    seen = []
    model.decoder.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    model.generate(
        images(model, 8),
        max_new_tokens=9,
        num_beams=2,
        early_stopping=True,
        logits_processor=[end_after(*range(3, 13, 2))],
    )
    assert seen[:2] == [8, 16]  # the beams of an image are one row in the first step
    assert seen == [8, *sorted(seen[1:], reverse=True)]
    assert seen[-1] < 16
    assert all(rows % 2 == 0 for rows in seen)


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_the_head_runs_only_on_the_last_position(model, options):
    shapes = []
    model.decoder.lm_head.register_forward_hook(lambda _, given, __: shapes.append(given[0].shape[1:]))
    prompt = torch.tensor([[1, 4, 5], [1, 6, 7]])
    model.generate(images(model, 2), decoder_input_ids=prompt, max_new_tokens=4, **options)
    assert shapes
    assert set(shapes) == {(16,)}


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_cross_attention_keys_are_computed_once_per_image_and_shared(model, options, monkeypatch):
    remembered, rows = [], []
    kind = type(model.decoder.cross[0])
    remember = kind.remember
    monkeypatch.setattr(
        kind, "remember", lambda self, states: (remembered.append(len(states)), remember(self, states))[1]
    )
    model.decoder.register_forward_hook(
        lambda _, given, __: rows.append((len(given[0]), len(given[1].memory.layers[0][0])))
    )
    model.generate(images(model, 3), max_new_tokens=4, logits_processor=[never_end], **options)
    assert remembered == [3, 3]  # one call per layer
    beams = options.get("num_beams", 1)
    assert rows == [(3, 3)] + [(3 * beams, 3)] * 3


def test_sequences_sampled_from_one_image_share_its_keys_even_after_some_have_left(model):
    rows = []
    model.decoder.register_forward_hook(
        lambda _, given, __: rows.append((len(given[0]), len(given[1].memory.layers[0][0])))
    )
    pixels = images(model, 2)
    options = {"do_sample": True, "num_return_sequences": 6, "max_new_tokens": 8}
    found = generated(
        model, pixels, generator=torch.Generator().manual_seed(1), logits_processor=[end_after(3, 5, 7)], **options
    )
    assert found.sequences.shape[0] == 12
    assert {images for _, images in rows} <= {1, 2}  # an image whose rows have all ended leaves
    assert len({count for count, _ in rows}) > 1
    # Each row's log-probabilities are those of its own image.
    assert_logprobs(model, pixels.repeat_interleave(6, dim=0), found)


# The output.


def assert_logprobs(model, pixels, found):
    with torch.no_grad():
        logits = model(pixel_values=pixels, decoder_input_ids=found.sequences[:, :-1]).logits
    prompt = found.sequences.shape[1] - found.token_logprobs.shape[1]
    expected = logits.log_softmax(dim=-1).gather(2, found.sequences[:, 1:, None])[:, prompt - 1 :, 0]
    padding = torch.arange(prompt, found.sequences.shape[1]) >= found.lengths[:, None]
    assert_within(found.token_logprobs, expected.masked_fill(padding, 0.0))
    means = [row[: n - prompt].mean() for row, n in zip(found.token_logprobs, found.lengths, strict=True)]
    assert_within(found.confidences, torch.stack(means).exp())


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
@pytest.mark.parametrize("prompt", [None, [[1, 4, 5]] * 5], ids=["start", "prompt"])
def test_log_probabilities_are_those_of_the_unprocessed_scores(model, options, prompt):
    pixels = images(model, 5)
    found = generated(
        model,
        pixels,
        max_new_tokens=8,
        decoder_input_ids=None if prompt is None else torch.tensor(prompt),
        repetition_penalty=1.7,
        suppress_tokens=[4],
        logits_processor=[end_after(3, 5, 7)],
        **options,
    )
    assert_logprobs(model, pixels, found)


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_every_row_has_a_stop_reason_and_padding_after_its_end(model, options):
    found = generated(model, images(model, 8), max_new_tokens=6, logits_processor=[end_after(3, 5)], **options)
    assert found["sequences"] is found.sequences
    assert (found.sequences_scores is not None) == ("num_beams" in options)
    assert len(found.stop_reasons) == 8
    for ids, length, reason in zip(found.sequences.tolist(), found.lengths.tolist(), found.stop_reasons, strict=True):
        assert reason == ("eos" if ids[length - 1] == 2 else "length")
        assert 2 not in ids[: length - 1]
        assert set(ids[length:]) <= {0}
        assert reason == "eos" or length == 7
    assert "eos" in found.stop_reasons


@pytest.mark.parametrize("pad", [0, 2, 12])
@pytest.mark.parametrize("options", [{}, {"num_beams": 2}], ids=["greedy", "beams"])
def test_rows_are_padded_with_any_pad_token(model, pad, options):
    found = generated(model, images(model, 8), pad_token_id=pad, logits_processor=[end_after(3, 5)], **options)
    padding = torch.arange(found.sequences.shape[1]) >= found.lengths[:, None]
    assert padding.any()
    assert set(found.sequences[padding].tolist()) == {pad}


def test_without_a_pad_token_rows_are_padded_with_the_end_token(model):
    model.config.pad_token_id = None
    found = generated(model, images(model, 8), logits_processor=[end_after(3, 5)])
    padding = torch.arange(found.sequences.shape[1]) >= found.lengths[:, None]
    assert set(found.sequences[padding].tolist()) == {2}
    model.config.eos_token_id = None
    assert generated(model, images(model, 2), max_new_tokens=3).stop_reasons == ("length", "length")


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_one_new_token(model, options):
    found = generated(model, images(model, 3), max_new_tokens=1, **options)
    assert found.sequences.shape == (3, 2)
    assert found.token_logprobs.shape == (3, 1)


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_a_limit_above_the_number_of_positions_is_reduced_to_it(model, options):
    found = generated(model, images(model, 2), max_new_tokens=500, logits_processor=[never_end], **options)
    assert found.sequences.shape == (2, 21)  # the last token is not an input
    assert found.stop_reasons == ("length", "length")


def test_a_text_longer_than_the_first_cache_equals_uncached_decoding():
    model = build(gpt2={**GPT2, "n_positions": 150, "n_layer": 1})
    pixels = images(model, 2)
    model.config.eos_token_id = None
    with torch.no_grad():
        ids = model.generate(pixels, max_new_tokens=140)
        logits = model(pixel_values=pixels, decoder_input_ids=ids[:, :-1], use_cache=False).logits
    assert torch.equal(logits.argmax(dim=-1), ids[:, 1:])


@pytest.mark.parametrize("options", [{}, {"num_beams": 2}], ids=["greedy", "beams"])
def test_any_of_several_end_tokens_ends_a_row(model, options):
    found = generated(model, images(model, 8), eos_token_id=[2, 5, 7, 9], max_new_tokens=8, **options)
    ends = [ids[-1] for ids in rows_of(found)]
    assert set(ends) & {5, 7, 9}
    for ids, reason in zip(rows_of(found), found.stop_reasons, strict=True):
        assert (reason == "eos") == (ids[-1] in (2, 5, 7, 9))
        assert not set(ids[1:-1]) & {2, 5, 7, 9}


def test_the_best_beams_of_an_image_are_returned_best_first(model):
    pixels = images(model, 3)
    found = generated(model, pixels, num_beams=4, num_return_sequences=3, max_new_tokens=6)
    assert found.sequences.shape[0] == len(found.stop_reasons) == 9
    scores = found.sequences_scores.view(3, 3)
    assert torch.equal(scores, scores.sort(dim=1, descending=True).values)
    best = generated(model, pixels, num_beams=4, max_new_tokens=6)
    assert [rows_of(found)[row] for row in (0, 3, 6)] == rows_of(best)
    assert all(len({tuple(ids) for ids in rows_of(found)[row : row + 3]}) == 3 for row in (0, 3, 6))
    assert_logprobs(model, pixels.repeat_interleave(3, dim=0), found)
    new = found.lengths - 1
    assert_within(found.sequences_scores, found.token_logprobs.sum(dim=1) / new)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_infinite_decay_ends_a_text_and_cannot_be_drawn_from(model, strategy):
    options = {**STRATEGIES[strategy], "min_new_tokens": 4, "max_new_tokens": 9}
    options["exponential_decay_length_penalty"] = (0, 1e200)
    if options.get("do_sample"):
        with pytest.raises(GenerationError, match="token 5 are not finite"):
            generated(model, images(model, 2), **options)
        return
    found = generated(model, images(model, 2), **options)
    assert found.stop_reasons == ("eos",) * 2
    assert found.lengths.tolist() == [6] * 2


@pytest.mark.parametrize("allowed", [(4,), (4, 6)])
def test_if_fewer_texts_are_possible_than_requested_the_rest_are_none(model, allowed):
    others = [token for token in range(GPT2["vocab_size"]) if token not in allowed]
    options = {"num_beams": 4, "num_return_sequences": 4, "max_new_tokens": 1}
    found = generated(model, images(model, 2), suppress_tokens=others, **options)
    count, beyond = len(allowed), 4 - len(allowed)
    assert found.stop_reasons == (("length",) * count + ("none",) * beyond) * 2
    missing = torch.tensor([reason == "none" for reason in found.stop_reasons])
    assert {tuple(row) for row in found.sequences[~missing].tolist()} == {(1, token) for token in allowed}
    assert found.sequences[missing].tolist() == [[1, 0]] * beyond * 2
    assert (found.lengths[missing] == 1).all()
    assert (found.sequences_scores[missing] < -1e8).all()
    assert (found.token_logprobs[missing] == 0).all()
    assert (found.confidences[missing] == 0).all()
    assert (found.confidences[~missing] > 0).all()


@pytest.mark.parametrize("sampled", [{}, {"do_sample": True, "seed": 0}], ids=["search", "sampling"])
def test_if_every_token_ends_the_text_the_beams_are_the_best_tokens(model, sampled):
    pixels = images(model, 2)
    options = {"num_beams": 3, "num_return_sequences": 3, "max_new_tokens": 3, **sampled}
    found = generated(model, pixels, eos_token_id=list(range(GPT2["vocab_size"])), **options)
    assert found.stop_reasons == ("eos",) * 6
    assert (found.lengths == 2).all()
    assert_logprobs(model, pixels.repeat_interleave(3, dim=0), found)
    if not sampled:
        best = generated(model, pixels, **{**options, "max_new_tokens": 1})
        assert torch.equal(found.sequences, best.sequences)
        assert torch.equal(found.sequences_scores, best.sequences_scores)


@pytest.mark.parametrize("beams", [{}, {"num_beams": 3}], ids=["sampling", "beam sampling"])
def test_sampling_uses_the_given_generator(model, beams):
    pixels = images(model, 4)
    drawn = [
        model.generate(pixels, do_sample=True, generator=torch.Generator().manual_seed(seed), **beams).tolist()
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_sampling_only_the_best_token_equals_greedy(model):
    pixels = images(model, 4)
    greedy = model.generate(pixels)
    assert torch.equal(model.generate(pixels, do_sample=True, top_k=1), greedy)
    several = model.generate(pixels, do_sample=True, top_k=1, num_return_sequences=3)
    assert torch.equal(several, greedy.repeat_interleave(3, dim=0))


# Prompts.


@pytest.mark.filterwarnings(
    "ignore:decoder_input_ids begin or end with the padding id"
)  # a random model also generates that token
@given(vit_fields(), gpt2_fields(), st.integers(1, 4), st.integers(1, 5), st.sampled_from([1, 2]), st.integers(0, 99))
def test_a_text_continues_equally_from_a_prompt_of_its_own_beginning(vit, gpt2, batch, length, beams, seed):
    model = build(vit, gpt2, seed)
    pixels = images(model, batch)
    never = {"logits_processor": [never_end], "max_length": 11}
    options = {"num_beams": beams} if beams > 1 else {}
    whole = model.generate(pixels, **never, **options)
    continued = model.generate(pixels, decoder_input_ids=whole[:, :length], **never, **options)
    assert continued.shape == (batch, 11)
    assert torch.equal(continued[:, :length], whole[:, :length])
    if beams == 1:
        assert torch.equal(continued, whole)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (torch.ones(3, 2, dtype=torch.long), r"shape \(2, tokens\)"),
        (torch.ones(2, dtype=torch.long), r"shape \(2, tokens\)"),
        (torch.ones(2, 0, dtype=torch.long), r"shape \(2, tokens\)"),
        (torch.ones(2, 21, dtype=torch.long), "21 tokens, but the decoder has positions for 20"),
        (torch.ones(2, 2), r"\(torch.long\) of shape \(2, 2\), got torch.float32"),
        (torch.full((2, 2), 13), "13"),
        (torch.full((2, 2), -1), "-1"),
    ],
    ids=["rows", "one axis", "empty", "too long", "not ids", "beyond the vocabulary", "negative"],
)
def test_a_prompt_that_does_not_fit_is_refused(model, prompt, message):
    with pytest.raises(InputError, match=message):
        model.generate(images(model, 2), decoder_input_ids=prompt)


def test_a_missing_start_token_missing_images_and_unknown_tokens_are_refused(model):
    pixels = images(model, 1)
    with pytest.raises(InputError, match="no images"):
        model.generate(pixels[:0])
    with pytest.raises(ConfigError, match=r"eos_token_id is 13, but the decoder's vocabulary has 13"):
        model.generate(pixels, eos_token_id=13)
    with pytest.raises(ConfigError, match=r"start_token_id.* 13"):
        model.generate(pixels, decoder_start_token_id=13)
    model.config.decoder_start_token_id = None
    with pytest.raises(ConfigError, match=r"model\.config\.decoder_start_token_id"):
        model.generate(pixels)
    model.config.bos_token_id = 4
    assert model.generate(pixels)[0, 0] == 4


# The caller's processors.


def test_the_callers_processor_runs_after_those_of_the_config_and_before_the_cuts_of_sampling(model):
    seen = []

    def spy(ids, scores):
        seen.append((ids.clone(), scores.clone()))
        return scores

    pixels = images(model, 2)
    options = {"suppress_tokens": [4], "do_sample": True, "top_k": 2, "temperature": 0.5, "max_new_tokens": 2}
    model.generate(pixels, logits_processor=[spy], **options)
    ids, scores = seen[0]
    assert ids.tolist() == [[1], [1]]
    assert bool((scores[:, 4] == float("-inf")).all())
    assert int(scores.isfinite().sum()) == 24  # the two cuts have not been applied
    with torch.no_grad():
        raw = model(pixel_values=pixels, decoder_input_ids=ids).logits[:, -1]
    assert_within(scores[:, 5:], raw[:, 5:])  # nor has the temperature been
    assert [len(row) for row, _ in seen] == [2, 2]


def test_the_result_of_the_callers_processor_is_used(model):
    def only_nine(ids, scores):
        return torch.full_like(scores, float("-inf")).index_fill(1, torch.tensor([9]), 0.0)

    pixels = images(model, 2)
    for options in STRATEGIES.values():
        found = model.generate(pixels, logits_processor=[only_nine], max_new_tokens=2, **options)
        assert found[:, 1].tolist() == [9, 9]


# Scores that are NaN.


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_nan_scores_are_an_error_with_the_step_and_the_next_call_works(model, options, value):
    pixels = images(model, 3)
    options = {"max_new_tokens": 6, "logits_processor": [never_end], **options}
    before = model.generate(pixels, generator=torch.Generator().manual_seed(0), **options)
    good = model.decoder.positions.weight[3].detach().clone()
    with torch.no_grad():
        model.decoder.positions.weight[3] = value
    with pytest.raises(GenerationError, match="token 4 are not finite"):
        model.generate(pixels, generator=torch.Generator().manual_seed(0), **options)
    with torch.no_grad():
        model.decoder.positions.weight[3] = good
    assert torch.equal(model.generate(pixels, generator=torch.Generator().manual_seed(0), **options), before)


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_nan_scores_of_one_image_are_enough_for_an_error(model, options):
    pixels = images(model, 3)
    pixels[1] = float("nan")
    with pytest.raises(GenerationError, match="token 1 are not finite"):
        model.generate(pixels, **options)


LEAVES_NOTHING = {
    "never": {"logits_processor": [lambda _, scores: torch.full_like(scores, float("-inf"))]},
    "not numbers": {"logits_processor": [lambda _, scores: torch.full_like(scores, float("nan"))]},
    "one no number": {"logits_processor": [lambda _, scores: scores.index_fill(1, torch.tensor([3]), float("nan"))]},
    "suppressed": {"suppress_tokens": list(range(GPT2["vocab_size"]))},
}


@pytest.mark.parametrize("fields", LEAVES_NOTHING.values(), ids=LEAVES_NOTHING)
@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
@pytest.mark.parametrize("padded", [False, True], ids=["alike", "mixed"])
def test_it_is_an_error_if_no_token_is_allowed(model, options, fields, padded):
    mixed = {
        "decoder_input_ids": torch.tensor([[1, 4], [0, 1]]),
        "decoder_attention_mask": torch.tensor([[1, 1], [0, 1]]),
    }
    with pytest.raises(GenerationError, match=r"token \d are not finite.* or a processor leaves no token"):
        model.generate(images(model, 2), **options, **fields, **(mixed if padded else {}))


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_one_image_without_an_allowed_token_is_enough_for_an_error(model, options):
    def second(ids, scores):
        return torch.where(torch.arange(len(ids))[:, None] >= len(ids) // 2, float("-inf"), scores)

    with pytest.raises(GenerationError, match="token 1 are not finite"):
        model.generate(images(model, 2), logits_processor=[second], **options)


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_no_allowed_token_after_some_tokens_is_an_error_with_the_step(model, options):
    def end(ids, scores):
        return scores - (float("inf") if ids.shape[1] == 4 else 0.0)

    with pytest.raises(GenerationError, match="token 4 are not finite"):
        model.generate(images(model, 2), logits_processor=[never_end, end], **options)


def test_a_beam_may_have_no_allowed_token_while_another_continues(model):
    def one_of_four(ids, scores):
        return torch.where(torch.arange(len(ids))[:, None] % 4 > 0, float("-inf"), scores)

    found = generated(model, images(model, 3), num_beams=4, max_new_tokens=5, logits_processor=[never_end, one_of_four])
    assert found.lengths.tolist() == [6] * 3
    assert (found.sequences_scores > -1e8).all()


def test_all_beams_may_have_no_allowed_token_after_a_text_is_finished(model):
    def two_or_nothing(ids, scores):
        kept = torch.full_like(scores, float("-inf"))
        kept[:, [2, 5]] = scores[:, [2, 5]] if ids.shape[1] == 1 else kept[:, [2, 5]]
        return kept

    found = generated(model, images(model, 3), num_beams=3, max_new_tokens=5, logits_processor=[two_or_nothing])
    assert found.sequences.tolist() == [[1, 2]] * 3
    assert (found.sequences_scores > -1e8).all()


def test_an_infinite_score_is_the_best_of_its_row(model):
    def nine(ids, scores):
        return scores.index_fill(1, torch.tensor([9]), float("inf"))

    assert model.generate(images(model, 2), logits_processor=[nine], max_new_tokens=2)[:, 1:].tolist() == [[9, 9]] * 2


def no_scores(ids, scores):
    return None


def few_scores(ids, scores):
    return scores[:, :5]


def one_row(ids, scores):
    return scores[:1]


def whole_scores(ids, scores):
    return scores.long()


@pytest.mark.parametrize("processor", [no_scores, few_scores, one_row, whole_scores])
@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_a_processor_that_does_not_return_scores_is_named(model, options, processor):
    with pytest.raises(InputError, match=rf"processor {processor.__name__} returned .* scores of shape \(\d, 13\)"):
        model.generate(images(model, 2), logits_processor=[processor], **options)


# Values that are too large for the memory or a float.


@pytest.mark.parametrize("penalty", [1e308, -1e308, 100.0])
def test_a_length_penalty_that_overflows_is_refused(model, penalty):
    with pytest.raises(ConfigError, match="length_penalty is "):
        model.generate(images(model, 2), num_beams=2, length_penalty=penalty, max_new_tokens=9)
    assert model.generate(images(model, 2), num_beams=2, length_penalty=9.0, max_new_tokens=9).shape[0] == 2


@pytest.mark.parametrize("seed", ["x", 1.5, 10**30, -(10**30)])
def test_a_seed_outside_the_range_of_torch_is_refused(model, seed):
    with pytest.raises(
        ConfigError, match=r"seed must be an int from -9223372036854775808 to 18446744073709551615, got"
    ):
        model.generate(images(model, 2), do_sample=True, seed=seed)


def test_a_generator_that_is_not_a_torch_generator_is_refused(model):
    with pytest.raises(ConfigError, match=r"generator must be a torch\.Generator, got 3"):
        model.generate(images(model, 2), do_sample=True, generator=3)


# The cache.


def filled(rows, lengths, seed=0, capacity=6):
    """A cache of two layers with random keys in each row up to its length, and these keys."""
    generator = torch.Generator().manual_seed(seed)
    cache = SelfCache([AttentionSizes(2, 2, 3), AttentionSizes(4, 1, 4)], rows, capacity)
    content = [
        (
            torch.randn(rows, h, max(lengths), d, generator=generator),
            torch.randn(rows, h, max(lengths), d, generator=generator),
        )
        for h, d in ((2, 3), (1, 4))
    ]
    step = Step(slots=torch.arange(max(lengths))[None], extent=max(lengths))
    for layer, (keys, values) in enumerate(content):
        cache.write(layer, keys, values, step)
    cache.set_lengths(torch.tensor(lengths))
    return cache, content


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(1, 3), st.integers(0, 9))
def test_a_write_into_unequal_slots_equals_writes_row_by_row(lengths, count, seed):
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths) + count
    keys, values = (torch.randn(len(lengths), 2, count, 3, generator=generator) for _ in range(2))
    starts = torch.tensor(lengths)
    together = SelfCache([AttentionSizes(2, 2, 3)], len(lengths), longest)
    step = Step(slots=starts[:, None] + torch.arange(count), extent=longest)
    all_keys, all_values = together.write(0, keys, values, step)
    assert all_keys.shape == (len(lengths), 2, longest, 3)
    for row, start in enumerate(lengths):
        alone = SelfCache([AttentionSizes(2, 2, 3)], 1, longest)
        slots = torch.arange(start, start + count)[None]
        one = alone.write(0, keys[row : row + 1], values[row : row + 1], Step(slots=slots, extent=longest))
        assert torch.equal(one[0][0], all_keys[row])
        assert torch.equal(one[1][0], all_values[row])


def test_a_write_without_slots_is_refused():
    with pytest.raises(InputError, match="slots"):
        SelfCache([AttentionSizes(1, 1, 1)], 1, 1).write(0, torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), Step())


@given(vit_fields(), gpt2_fields(), st.lists(st.integers(1, 6), min_size=2, max_size=4), st.integers(0, 99))
def test_rows_of_unequal_length_decode_as_each_alone(vit, gpt2, lengths, seed):
    model = build(vit, gpt2, seed).double()  # float64, because unscaled attention amplifies rounding
    decoder, pixels = model.decoder, images(model, len(lengths)).double()
    ids = torch.randint(0, gpt2["vocab_size"], (len(lengths), max(lengths) + 1))
    with torch.no_grad():
        memory = model.remember(model.encode(pixels))
        caches, last = [], []
        for row, length in enumerate(lengths):
            own = Memory(tuple((k[row : row + 1], v[row : row + 1]) for k, v in memory.layers))
            cache = SelfCache(decoder.sizes.layers, 1, length, dtype=model.dtype)
            slots = torch.arange(length)[None]
            step = Step(slots=slots, mask=causal_mask(slots, length), extent=length, memory=own, cache=cache)
            decoder(ids[row : row + 1, :length], step)
            cache.set_lengths(torch.tensor([length]))
            caches.append(cache.copy(length))
            last.append(
                model(pixel_values=pixels[row : row + 1], decoder_input_ids=ids[row : row + 1, : length + 1]).logits
            )
        joined = caches[0]
        for cache in caches[1:]:
            joined = joined.join(cache)
        assert joined.lengths.tolist() == lengths
        extent = max(lengths) + 1
        joined.reserve(extent)
        slots = joined.lengths[:, None]
        tokens = ids.gather(1, slots)
        step = Step(slots=slots, mask=causal_mask(slots, extent), extent=extent, memory=memory, cache=joined)
        logits = decoder.lm_head(decoder(tokens, step))
    for row, expected in enumerate(last):
        assert_within(logits[row, -1], expected[0, -1])


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("rows", [[0, 1, 2], [2], [2, 1], [1, 1, 0], [2, 0, 1, 1, 0], []])
def test_select_keeps_the_given_rows_in_the_given_order(rows, inference):
    with torch.inference_mode(inference):
        cache, content = filled(3, [4, 2, 3])
        chosen = cache.select(torch.tensor(rows, dtype=torch.long))
    assert chosen.lengths.tolist() == [[4, 2, 3][row] for row in rows]
    if rows:
        longest = int(chosen.lengths.max())
        for layer, (keys, values) in enumerate(content):
            assert torch.equal(chosen.read(layer)[0], keys[rows][:, :, :longest])
            assert torch.equal(chosen.read(layer)[1], values[rows][:, :, :longest])


@pytest.mark.parametrize("capacities", [(6, 6), (4, 9), (9, 4)])
def test_join_has_the_rows_of_both_caches(capacities):
    (one, first), (two, second) = (
        filled(n, [3] * n, seed=n, capacity=c) for n, c in zip((1, 2), capacities, strict=True)
    )
    both = one.join(two)
    assert both.lengths.tolist() == [3, 3, 3]
    assert both.capacity >= max(capacities)
    for layer in range(2):
        for part in range(2):
            assert torch.equal(both.read(layer)[part], torch.cat([first[layer][part], second[layer][part]]))


def test_the_capacity_grows_by_doubling_and_keeps_the_content():
    cache, content = filled(2, [4, 4], capacity=5)
    cache.reserve(3)
    assert cache.capacity == 5
    cache.reserve(6)
    assert cache.capacity == 10
    cache.reserve(50)
    assert cache.capacity == 50
    assert torch.equal(cache.read(1)[0], content[1][0])
    empty = SelfCache((), 2, 9)
    empty.reserve(20)
    assert empty.capacity == 0


def test_a_copy_is_independent_and_has_the_requested_capacity():
    cache, content = filled(2, [4, 3])
    copy = cache.copy(9)
    assert copy.capacity == 9
    assert cache.copy(1).capacity == 4
    copy.write(0, torch.zeros(2, 2, 4, 3), torch.zeros(2, 2, 4, 3), Step(slots=torch.arange(4)[None], extent=4))
    copy.set_lengths(torch.tensor([1, 1]))
    assert cache.lengths.tolist() == [4, 3]
    assert torch.equal(cache.read(0)[0], content[0][0])


def test_lengths_can_be_rolled_back():
    cache, content = filled(2, [4, 4])
    cache.set_lengths(torch.tensor([2, 1]))
    assert torch.equal(cache.read(0)[0], content[0][0][:, :, :2])


# The memory.


def memory_of(images, states, mask=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    layers = tuple(
        (torch.randn(images, 2, states, 3, generator=generator), torch.randn(images, 2, states, 3, generator=generator))
        for _ in range(2)
    )
    return Memory(layers, mask)


def copied(memory):
    return Memory(
        tuple((k.clone(), v.clone()) for k, v in memory.layers), None if memory.mask is None else memory.mask.clone()
    )


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_a_selected_memory_contains_only_the_selected_images(inference, masked):
    mask = torch.tensor([[True] * 4, [True, False, True, False], [False, True, True, True]]) if masked else None
    whole = memory_of(3, 4, mask)
    before = copied(whole)
    with torch.inference_mode(inference):
        part = whole.select(torch.tensor([2, 0]))
    for (keys, values), (all_keys, all_values) in zip(part.layers, before.layers, strict=True):
        assert torch.equal(keys, all_keys[[2, 0]])
        assert torch.equal(values, all_values[[2, 0]])
    assert part.rows is None
    assert (part.mask is None) == (mask is None)
    if masked:
        assert torch.equal(part.mask, before.mask[[2, 0]])


@pytest.mark.parametrize("sizes", [(4, 4), (4, 6), (6, 4)])
@pytest.mark.parametrize("masked", [(False, False), (True, False), (False, True), (True, True)])
def test_joined_memories_mask_the_padding_of_the_shorter(sizes, masked):
    one, two = (
        memory_of(n, size, torch.arange(size).expand(n, -1) > 0 if has else None, seed=n)
        for n, size, has in zip((1, 2), sizes, masked, strict=True)
    )
    both = one.join(two)
    longest = max(sizes)
    if sizes[0] == sizes[1] and not any(masked):
        assert both.mask is None
    else:
        expected = torch.stack(
            [
                (torch.arange(longest) < sizes[n > 0]) & ((torch.arange(longest) > 0) | (not masked[n > 0]))
                for n in range(3)
            ]
        )
        assert torch.equal(both.mask, expected)
    for layer in range(2):
        for part in range(2):
            joined = both.layers[layer][part]
            assert joined.shape == (3, 2, longest, 3)
            assert torch.equal(joined[:1, :, : sizes[0]], one.layers[layer][part])
            assert torch.equal(joined[1:, :, : sizes[1]], two.layers[layer][part])
            assert not joined[:1, :, sizes[0] :].any()
            assert not joined[1:, :, sizes[1] :].any()


def test_joined_memories_keep_the_image_of_each_row(model):
    one = Memory(memory_of(2, 3).layers, rows=torch.tensor([0, 1, 1]))
    both = one.join(memory_of(2, 3))
    assert both.rows.tolist() == [0, 1, 1, 2, 3]
    both = memory_of(2, 3).join(one)
    assert both.rows.tolist() == [0, 1, 2, 3, 3]


@given(st.integers(1, 4), st.integers(1, 3), st.lists(st.integers(0, 3), min_size=1, max_size=9))
def test_the_memory_for_rows_is_the_memory_of_their_images(images, states, rows):
    rows = [row % images for row in rows]
    memory = memory_of(images, states)
    expected = [tensor[rows] for layer in memory.layers for tensor in layer]
    found = memory.for_rows(torch.tensor(rows))
    assert found.images == len(set(rows))
    index = (
        torch.arange(found.images).repeat_interleave(len(rows) // found.images) if found.rows is None else found.rows
    )
    for tensor, wanted in zip([t for layer in found.layers for t in layer], expected, strict=True):
        assert torch.equal(tensor[index], wanted)


def test_explicit_rows_equal_the_memory_repeated(model):
    pixels = images(model, 2)
    order = torch.tensor([1, 0, 1])
    ids = torch.randint(3, 13, (3, 4))
    mask = torch.tensor([[True] * 5, [True, True, False, True, False]])
    with torch.no_grad():
        states = model.encode(pixels).states
        shared = model.remember(EncoderOutput(states, mask))
        shared.rows = order
        alone = model.remember(EncoderOutput(states[order], mask[order]))
        slots = torch.arange(4)[None]
        hidden = [
            model.decoder(ids, Step(slots=slots, mask=causal_mask(slots, 4), extent=4, memory=memory))
            for memory in (shared, alone)
        ]
    assert_within(*hidden)


@pytest.mark.parametrize("options", STRATEGIES.values(), ids=STRATEGIES)
def test_the_callers_arguments_are_not_modified(model, options):
    with torch.no_grad():
        states = model.encode(images(model, 6)).states
    mask = torch.rand(6, 5, generator=torch.Generator().manual_seed(3)) > 0.4
    mask[:, 0] = True
    prompt = torch.ones(6, 2, dtype=torch.long)
    before = states.clone(), mask.clone(), prompt.clone()
    given = {"encoder_outputs": EncoderOutput(states, mask), "decoder_input_ids": prompt}
    given |= {"logits_processor": [end_after(3, 5, 7)], "max_new_tokens": 8, **options}
    model.generate(**given)
    assert torch.equal(states, before[0])
    assert torch.equal(mask, before[1])
    assert torch.equal(prompt, before[2])


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [3], [1, 0], [0, 3, 2], [3, 3, 0, 1], [0, 1, 2, 3, 0], []])
def test_take_equals_indexing_inside_and_outside_inference_mode(rows):
    content = torch.arange(12.0).view(4, 3)
    places = torch.tensor(rows, dtype=torch.long)
    outside = content.clone()
    assert torch.equal(take(outside, places), content[rows])
    assert torch.equal(outside, content)
    with torch.inference_mode():
        buffer = content.clone()
        taken = take(buffer, places)
        assert torch.equal(taken, content[rows])
        if 0 < len(rows) <= 4:
            assert taken.data_ptr() == buffer.data_ptr()


def table(mask):
    return ["".join(".x"[cell] for cell in row) for row in mask.int().tolist()]


def test_a_token_attends_to_itself_and_to_earlier_tokens():
    assert causal_mask(torch.tensor([[4]]), 5) is None
    assert table(causal_mask(torch.arange(3)[None], 3)[0, 0]) == ["x..", "xx.", "xxx"]
    assert table(causal_mask(torch.tensor([[2, 3]]), 4)[0, 0]) == ["xxx.", "xxxx"]
    unequal = causal_mask(torch.tensor([[2], [0]]), 3)
    assert unequal.shape == (2, 1, 1, 3)
    assert table(unequal[:, 0, 0]) == ["xxx", "x.."]


def test_padding_is_attended_to_only_by_itself():
    keys = torch.tensor([[False, True, True], [True, True, False]])
    mask = causal_mask(torch.arange(3)[None], 3, keys)
    assert mask.shape == (2, 1, 3, 3)
    assert table(mask[0, 0]) == ["x..", ".x.", ".xx"]
    assert table(mask[1, 0]) == ["x..", "xx.", "xxx"]
    assert table(causal_mask(torch.tensor([[2]]), 3, keys)[:, 0, 0]) == [".xx", "xxx"]


# The past of a forward pass.


@pytest.fixture
def passed(model):
    pixels, ids = images(model, 2), torch.randint(3, 13, (2, 6))
    with torch.no_grad():
        return pixels, ids, model(pixel_values=pixels, decoder_input_ids=ids[:, :4])


def test_a_past_has_the_documented_interface(passed):
    _, _, output = passed
    past = output.past_key_values
    assert isinstance(past, PastKeyValues)
    assert len(past) == len(list(past)) == 2
    assert past.length == 4
    for layer in past:
        assert [tuple(tensor.shape) for tensor in layer] == [(2, 2, 4, 8)] * 2 + [(2, 2, 5, 8)] * 2
    assert len(past[:1]) == 1
    assert torch.equal(past[-1][0], past[1][0])
    with pytest.raises(IndexError):
        past[2]


@pytest.mark.parametrize("form", ["ours", "tuples", "lists"])
def test_a_step_with_a_past_equals_the_whole_pass_even_if_repeated(model, passed, form):
    pixels, ids, output = passed
    past = output.past_key_values
    given = {"ours": past, "tuples": tuple(past), "lists": [list(layer) for layer in past]}[form]
    with torch.no_grad():
        whole = model(pixel_values=pixels, decoder_input_ids=ids).logits
        first, second = (model(decoder_input_ids=ids[:, 4:], past_key_values=given) for _ in range(2))
        third = model(
            decoder_input_ids=ids[:, 5:],
            past_key_values=model(decoder_input_ids=ids[:, 4:5], past_key_values=past).past_key_values,
        )
    assert_within(first.logits, whole[:, 4:])
    assert torch.equal(first.logits, second.logits)
    assert_within(third.logits, whole[:, 5:])
    assert first.past_key_values.length == 6
    assert past.length == 4


@pytest.mark.parametrize(
    "past", [(), ((torch.zeros(1, 1, 1, 1),) * 2,), 5, [5], ((1, 2, 3, 4),), ((torch.zeros(2),) * 4,)]
)
def test_a_value_that_is_not_a_past_is_refused(model, past):
    with pytest.raises(InputError, match="four tensors per layer"):
        model(decoder_input_ids=torch.ones(1, 1, dtype=torch.long), past_key_values=past)


def test_a_past_of_another_decoder_is_refused(model, passed):
    _, ids, output = passed
    with pytest.raises(InputError, match=r"1 layers.* 2"):
        model(decoder_input_ids=ids[:, 4:], past_key_values=output.past_key_values[:1])
