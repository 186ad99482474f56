"""The loss is a sum and a count, so that parts of a batch give the gradient of the whole. Bad labels cause warnings."""

import math
import re
import warnings

import pytest
import torch
import torch.multiprocessing
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import accumulation
from tests.parity import assert_within, images
from tests.processes import batch, build, gradients, process
from vedcore import ConfigError
from vedcore.model.labels import LabelWarning, label_problems
from vedcore.model.loss import count_labels, token_loss


@pytest.fixture(scope="module")
def whole():
    """The gradient of the whole batch."""
    model = build()
    model(pixel_values=images(model, 8), labels=batch()).loss.backward()
    return gradients(model)


def test_the_loss_of_three_tokens_equals_one_computed_by_hand():
    logits = torch.tensor([[[0.0, 0.0], [math.log(3), 0.0], [0.0, math.log(9)]]])
    total = token_loss(logits, torch.tensor([[0, 0, 1]]))
    assert total.sum.item() == pytest.approx(math.log(2) + math.log(4 / 3) + math.log(10 / 9))
    assert total.mean.item() == pytest.approx(total.sum.item() / 3)
    smoothed = token_loss(logits[:, :1], torch.tensor([[0]]), label_smoothing=0.2)
    assert smoothed.sum.item() == pytest.approx(math.log(2))
    smoothed = token_loss(logits[:, 1:2], torch.tensor([[0]]), label_smoothing=0.2)
    assert smoothed.sum.item() == pytest.approx(0.9 * math.log(4 / 3) + 0.1 * math.log(4))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(2, 9), st.floats(0, 0.9), st.integers(0, 99))
def test_the_sum_is_the_sum_over_rows_and_ignored_labels_do_not_change_it(rows, length, vocabulary, smoothing, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, length, vocabulary, generator=generator)
    labels = torch.randint(0, vocabulary, (rows, length), generator=generator)
    ignored = torch.rand(rows, length, generator=generator) < 0.3
    labels = labels.masked_fill(ignored, -100)
    total = token_loss(logits, labels, smoothing)
    parts = [token_loss(logits[i : i + 1], labels[i : i + 1], smoothing) for i in range(rows)]
    assert total.count.item() == sum(part.count.item() for part in parts) == (~ignored).sum() == count_labels(labels)
    assert_within(total.sum, torch.stack([part.sum for part in parts]).sum())
    other = torch.where(ignored[..., None], torch.randn(logits.shape, generator=generator), logits)
    assert torch.equal(token_loss(other, labels, smoothing).sum, total.sum)


@pytest.mark.parametrize("share", [2.0, -0.1, float("nan"), "0.1"])
def test_a_label_smoothing_that_is_not_a_share_is_refused(share):
    with pytest.raises(ConfigError, match=re.escape(f"label_smoothing must be a number from 0 to 1, got {share!r}")):
        build()(pixel_values=images(build(), 8), labels=batch(), label_smoothing=share)


def test_a_loss_in_half_precision_is_summed_in_float32():
    logits = torch.randn(4, 300, 30, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    labels = torch.full((4, 300), 3)
    assert token_loss(logits, labels).sum.dtype == torch.float32
    assert_within(token_loss(logits, labels).sum, token_loss(logits.float(), labels).sum)


def test_labels_are_shifted_once():
    """A model that copies its input into its logits is right about labels that follow one another."""
    model = build()
    labels = batch()
    output = model(pixel_values=images(model, 8), labels=labels)
    ids = torch.cat([torch.ones(8, 1, dtype=torch.long), labels[:, :-1].clamp(min=0)], dim=1)
    logits = model(pixel_values=images(model, 8), decoder_input_ids=ids).logits
    picked = torch.log_softmax(logits, -1).gather(2, labels.clamp(min=0)[..., None])[..., 0]
    assert_within(output.loss.detach(), -picked[labels != -100].mean().detach())
    smooth = model(pixel_values=images(model, 8), labels=labels, label_smoothing=0.3).loss
    assert_within(smooth.detach(), token_loss(output.logits, labels, 0.3).mean.detach())
    part = model(pixel_values=images(model, 8), labels=labels, num_items_in_batch=7).loss
    assert_within(part.detach(), token_loss(output.logits, labels).sum.detach() / 7)


def test_if_all_labels_are_ignored_the_loss_and_its_gradient_are_zero():
    model = build()
    with pytest.warns(LabelWarning, match="8 of 8 rows of labels are -100 from end to end"):
        loss = model(pixel_values=images(model, 8), labels=torch.full((8, 3), -100)).loss
    loss.backward()
    assert loss == 0
    assert not gradients(model).any()


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_accumulated_steps_give_the_gradient_of_the_whole_batch(whole, steps):
    model, labels = build(), batch()
    pixels, count = images(model, 8), count_labels(labels)
    for part in torch.arange(8).chunk(steps):
        model(pixel_values=pixels[part], labels=labels[part], num_items_in_batch=count).loss.backward()
    assert float((gradients(model) - whole).abs().max()) <= 1e-6


def test_two_processes_give_the_gradient_of_the_whole_batch(whole, tmp_path):
    torch.multiprocessing.spawn(process, (tmp_path,), nprocs=2)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert float((found - whole).abs().max()) <= 1e-6


@pytest.mark.filterwarnings("ignore")  # the Trainer's own
@pytest.mark.parametrize("steps", [1, 4])
def test_the_trainer_of_transformers_takes_the_gradient_of_the_whole_batch(steps):
    expected = accumulation.whole(build())
    found = accumulation.step(accumulation.Learner(build()), steps)
    assert float((found - expected).abs().max()) <= 1e-6


@pytest.mark.parametrize(
    ("labels", "problems"),
    [
        ([[5, 6, 2], [5, 2, -100]], {}),
        ([[1, 6, 2], [1, 2, -100]], {"double start": r"begin with the start token 1.*labels\[:, 1:\]"}),
        ([[1, 6, 2], [5, 2, -100]], {}),
        ([[5, 6, 7], [5, 4, -100]], {"missing end": r"none of the 2 rows.*end token \(2\)"}),
        ([[5, 6, 7], [5, 2, -100]], {}),
        ([[5, 6, 2], [5, 2, 0]], {"learned padding": r"1 of 2 rows.*padding token 0.*masked_fill"}),
        ([[5, 6, 2], [-100, -100, -100]], {"all ignored": "1 of 2 rows.*-100 from end to end"}),
        ([[1, 6, 0], [1, 7, 0]], {"double start": "", "missing end": "", "learned padding": ""}),
    ],
)
def test_each_problem_of_labels_is_one_warning_with_the_fix(labels, problems):
    labels, model = torch.tensor(labels), build()
    pixels = images(model, 2)
    found = label_problems(labels, start=1, end=2, pad=0)
    assert found.keys() == problems.keys()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.eval()(pixel_values=pixels, labels=labels)
        model(pixel_values=pixels, labels=labels, decoder_input_ids=labels.clamp(min=0))
        assert not caught
        for _ in range(2):
            model.train()(pixel_values=pixels, labels=labels)
    assert sorted(str(warning.message) for warning in caught) == sorted(found.values())
    assert all((warning.category, warning.filename) == (LabelWarning, __file__) for warning in caught)
    assert all(re.search(message, found[problem]) for problem, message in problems.items())


def test_labels_that_end_with_a_padding_token_that_is_also_the_end_token_are_accepted():
    assert label_problems(torch.tensor([[5, 2]]), start=1, end=(2, 3), pad=2) == {}
    assert label_problems(torch.tensor([[5, 7]]), start=None, end=None, pad=None) == {}
    assert label_problems(torch.empty(0, 3, dtype=torch.long), start=1, end=2, pad=0) == {}


def test_a_batch_without_labels_that_count_has_no_loss_whatever_it_is_divided_by():
    model = build()
    with pytest.warns(LabelWarning):
        loss = model(
            pixel_values=images(model, 8), labels=torch.full((8, 3), -100), num_items_in_batch=torch.tensor(0)
        ).loss
    assert loss.item() == 0.0
