"""Labelled images: where they come from, what is wrong with them, and how they become batches.

A data set is anything with ``len(data)`` and ``data[index] -> Sample``. ``data[index]`` must be a pure function of the index
and may run in a worker process (a map-style data set of torch).
"""

from vedcore.training.data.archive import Archive
from vedcore.training.data.folder import Folder
from vedcore.training.data.problem import Fault, Problem
from vedcore.training.data.sample import Dataset, Sample
from vedcore.training.data.validated import ValidatedDataset

__all__ = ["Archive", "Dataset", "Fault", "Folder", "Problem", "Sample", "ValidatedDataset"]
