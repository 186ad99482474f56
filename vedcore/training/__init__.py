"""Training: labelled images in, a reader out.

train(Recipe.from_toml("recipe.toml"), "out", "folder-of-lines")

``loop`` is the algorithm and the place to start reading. It uses ``recipe`` (the settings), ``datasets`` and ``data`` (samples
and batches), ``long_lines`` and ``cutting`` (their pieces), ``build`` (the model), ``learner`` (one step), ``objective`` (the
losses), ``optimizer``, ``schedule``, ``evaluation``, ``checkpoints`` with ``state`` and ``optimizer_state`` (saving and
resuming), ``log`` and ``report``.
``calibrating`` fits the probabilities of a trained reader.
"""

from importlib.util import find_spec

from vedcore.errors import TrainingError

if missing := [name for name in ("accelerate", "jiwer") if find_spec(name) is None]:
    raise TrainingError(f"training needs {' and '.join(missing)}: pip install 'vedcore[train]'", found=missing)

from vedcore.training.calibrating import fit_calibration
from vedcore.training.data import Archive, Dataset, Fault, Folder, Problem, Sample
from vedcore.training.datasets import check_data, open_data
from vedcore.training.evaluation import Comparison, Score, compare, evaluate
from vedcore.training.loop import train
from vedcore.training.recipe import Recipe
from vedcore.training.result import Result

__all__ = [
    "Archive",
    "Comparison",
    "Dataset",
    "Fault",
    "Folder",
    "Problem",
    "Recipe",
    "Result",
    "Sample",
    "Score",
    "check_data",
    "compare",
    "evaluate",
    "fit_calibration",
    "open_data",
    "train",
]
