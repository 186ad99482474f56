"""The order of samples, augmentation and batches."""

import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.training.tiny import Lines
from vedcore.training import Fault, Problem
from vedcore.training.data.batches import ExampleDataset, collate
from vedcore.training.data.sampler import LARGEST_SHUFFLE, BatchSampler, sample_order
from vedcore.vision import Augmentation


@given(
    length=st.integers(1, 40),
    seed=st.tuples(st.integers(0, 2**32)),
    start=st.integers(0, 200),
    count=st.integers(0, 90),
)
def test_the_order_depends_only_on_the_position_and_has_each_sample_once_per_epoch(length, seed, start, count):
    whole = sample_order(length, seed, 0, start + count)
    assert sample_order(length, seed, start, count) == whole[start:]
    for epoch in range(len(whole) // length):
        assert sorted(whole[epoch * length : (epoch + 1) * length]) == list(range(length))


def test_a_very_large_data_set_is_not_shuffled():
    length = LARGEST_SHUFFLE + 1
    assert sample_order(length, (0,), length - 1, 3) == [length - 1, 0, 1]


@given(accumulation=st.sampled_from([1, 2, 4]), world=st.sampled_from([1, 2, 3]), start=st.integers(0, 5))
def test_a_step_has_the_same_samples_for_each_accumulation_and_number_of_processes(accumulation, world, start):
    def keys(accumulation, world):
        sizes = {"length": 30, "seed": (1,), "start": start, "steps": 7, "size": 24, "accumulation": accumulation}
        passes = [list(BatchSampler(**sizes, rank=rank, world=world)) for rank in range(world)]
        for first in range(0, (7 - start) * accumulation, accumulation):
            found = [key for own in passes for batch in own[first : first + accumulation] for key in batch]
            yield sorted(found, key=lambda key: key[1])

    assert list(keys(accumulation, world)) == list(keys(1, 1))


def test_an_example_depends_only_on_its_key(reader, encode):
    examples = ExampleDataset(Lines(), reader.processor.image_processor, encode, Augmentation.usual(), (1, 0))
    again = pickle.loads(pickle.dumps(examples))  # as another process has it
    first, same, other = examples[2, 9], again[2, 9], examples[2, 10]
    assert np.array_equal(first.pixels, same.pixels)
    assert not np.array_equal(first.pixels, other.pixels)
    assert reader.processor.tokenizer.decode(first.ids) == "three</s>"


def test_a_batch_pads_labels_with_the_ignored_label(reader, encode):
    examples = ExampleDataset(Lines(), reader.processor.image_processor, encode, Augmentation(), (0,))
    batch = collate([examples[0, 0], Problem(Fault.too_long, "x", "y"), examples[2, 1]])
    assert batch.pixels.shape == (2, 3, 16, 64)
    assert batch.labels.tolist() == [[*examples[0, 0].ids, -100, -100], examples[2, 0].ids]
    assert ([problem.source for problem in batch.problems], batch.sources) == (["x"], ["line 0", "line 2"])
    assert collate([batch.problems[0]]).labels.shape == (0, 0)
