"""Fit the calibration of a reader: a logistic regression on the logarithm of the doubt of labelled lines.

Other features of the log-probabilities (the lowest one, their number, the distance to the second choice, the number of pieces)
were tried on 15,000 lines of two readers. Beside the doubt they changed no figure by more than chance, and the figures of
lines that are longer than those of the fit became worse.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vedcore.errors import TrainingError
from vedcore.reader import Calibration
from vedcore.reader.calibration import log_doubt
from vedcore.training.evaluation import Comparison, calibration_error

LEAST_LINES = 100
LEAST_OF_EACH = 10
"""A regression on fewer lines that are right, or that are wrong, fits their chance."""

WRONG_COUNTS = 2.0
"""The weight of a wrong line. A wrong text that passes for right costs more than a right one that is checked again, and lines
that are read later may be harder than those of the fit. So the probability is cautious: it halves the odds."""

_LEAST_EFFECT = 0.1  # on the logarithm of the odds, of the spread of the doubts; less is chance
_FOLDS = 5
_RIDGE = 1.0  # keeps the coefficient finite where the doubt separates right and wrong lines
_STEPS = 50


def fit_calibration(compared: Comparison, weights: Mapping[str, int]) -> Calibration:
    """The mapping for the lines that were compared. weights: the checksums of the model's weights, for the mapping to keep.

    Raises TrainingError if the lines are too few, too few of them are right or wrong, or if doubt does not tell them apart.
    """
    exact = compared.exact
    ended = np.array([reading.stop_reason == "eos" for reading in compared.readings])
    right, wrong = int((exact & ended).sum()), int((~exact & ended).sum())
    if len(exact) < LEAST_LINES or min(right, wrong) < LEAST_OF_EACH:
        raise TrainingError(
            f"a calibration needs at least {LEAST_LINES} labelled lines, of which {LEAST_OF_EACH} are read right and "
            f"{LEAST_OF_EACH} wrong; of these {len(exact)} lines, {right} are right and {wrong} wrong. Add lines"
            + (", also harder ones" if wrong < LEAST_OF_EACH <= right else ""),
            expected=LEAST_LINES,
            found=len(exact),
        )
    doubts = np.array([log_doubt(reading.token_logprobs) for reading in compared.readings])
    constant, slope = _fit(doubts[ended], exact[ended])
    if slope * doubts[ended].std() > -_LEAST_EFFECT:
        raise TrainingError(
            f"the model is not less sure of the {wrong} lines that it reads wrong than of the {right} others, so a "
            "calibration would say nothing. Check the labels, or train the model first",
            found=slope,
        )
    unseen = np.zeros(len(exact))  # the probability of each line, from a fit without it
    for fold in range(_FOLDS):
        held_out = np.arange(len(exact)) % _FOLDS == fold
        fitted = _fit(doubts[ended & ~held_out], exact[ended & ~held_out])
        unseen[held_out & ended] = _probability(fitted, doubts[held_out & ended])
    confidences = np.array([reading.confidence for reading in compared.readings])
    return Calibration(
        constant=constant,
        log_doubt=slope,
        lines=len(exact),
        wrong=int((~exact).sum()),
        confidence_error=calibration_error(confidences, exact),
        probability_error=calibration_error(unseen, exact),
        weights=dict(weights),
    )


def _fit(values: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[float, float]:
    """The constant and the slope of the logistic regression of ``right`` (N,) on ``values`` (N,), by Newton's method."""
    middle, spread = values.mean(), max(values.std(), 1e-6)
    inputs = np.stack([np.ones(len(values)), (values - middle) / spread], axis=1)
    weights = np.where(right, 1.0, WRONG_COUNTS)
    ridge = np.diag([1e-6, _RIDGE])
    coefficients = np.zeros(2)
    for _ in range(_STEPS):
        expected = _probability((0.0, 1.0), inputs @ coefficients)
        gradient = inputs.T @ (weights * (right - expected)) - ridge @ coefficients
        curvature = (inputs * (weights * expected * (1 - expected))[:, None]).T @ inputs + ridge
        step = np.linalg.solve(curvature, gradient)
        coefficients += step
        if np.abs(step).max() < 1e-9:
            break
    slope = coefficients[1] / spread
    return float(coefficients[0] - slope * middle), float(slope)


def _probability(fitted: tuple[float, float], values: NDArray[np.float64]) -> NDArray[np.float64]:
    constant, slope = fitted
    return 1 / (1 + np.exp(-np.clip(constant + slope * values, -700, 700)))
