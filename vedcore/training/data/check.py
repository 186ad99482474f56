"""Looking for bad samples before a run starts."""

from __future__ import annotations

from vedcore.errors import ImageError
from vedcore.training.data.label_encoder import LabelEncoder
from vedcore.training.data.problem import Fault, Problem
from vedcore.training.data.sample import Dataset, Sample
from vedcore.training.data.validated import sample_at
from vedcore.vision import load_image


def check_samples(
    data: Dataset, encode_label: LabelEncoder, *, limit: int | None = None
) -> tuple[list[Problem], list[int]]:
    """The problems of the first ``limit`` samples (None: all), and the indices of the good ones.

    Opens every image and encodes every label.
    """
    problems = list(getattr(data, "problems", ()))
    good: list[int] = []
    for index in range(len(data) if limit is None else min(limit, len(data))):
        sample = sample_at(data, index)
        problem = sample if isinstance(sample, Problem) else _problem_of(sample, encode_label)
        if problem is None:
            good.append(index)
        else:
            problems.append(problem)
    return problems, good


def _problem_of(sample: Sample, encode_label: LabelEncoder) -> Problem | None:
    ids = encode_label(sample.text, sample.source)
    return ids if isinstance(ids, Problem) else _image_problem(sample)


def _image_problem(sample: Sample) -> Problem | None:
    try:
        load_image(sample.image)
    except ImageError as error:
        return Problem(Fault.unreadable_image, sample.source, str(error))
    return None
