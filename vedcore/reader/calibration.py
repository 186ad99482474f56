"""How likely a text is exactly right: a mapping from the log-probabilities of its tokens, fitted on labelled lines.

The probability is 1 / (1 + exp(-(constant + log_doubt * x))), where x is the logarithm of the doubt, and the doubt is minus
the sum of the log-probabilities. ``vedcore eval --calibrate`` fits the two numbers and stores them in the vedcore.json of the
checkpoint under "calibration", with checksums of the weights: the mapping of other weights means nothing.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import attrs
from torch import Tensor

from vedcore.config import field, from_dict, strict
from vedcore.errors import ConfigError
from vedcore.reader.reading import Reading
from vedcore.storage.files import write_json
from vedcore.storage.own import OWN_FILE, has_weights, own_settings
from vedcore.storage.whole_file import whole_file

KEY = "calibration"
"""The key of the mapping in vedcore.json."""

_REQUIRED: Any = attrs.NOTHING
_LEAST_DOUBT = 1e-5  # below it, the sum consists of rounding errors


class CalibrationWarning(UserWarning):
    """The calibration of a checkpoint was fitted with other weights and is not used."""


class ReadText(Protocol):
    """What was read, such as a ``Reading`` or a ``Line``."""

    @property
    def token_logprobs(self) -> tuple[float, ...]:
        """The log-probability of each token, including the end token."""

    @property
    def stop_reason(self) -> str:
        """Why generation stopped."""


@strict
class Calibration:
    """The mapping, and what is known about it.

    constant, log_doubt: the coefficients; more doubt makes no text more probable. lines, wrong: the lines that it was fitted
    on, and how many of them the model read wrong. confidence_error, probability_error: the calibration error of the confidence
    on these lines, and that of the probability in a cross-validation. weights: checksums of the model's weights by their type.
    """

    constant: float = field.number(_REQUIRED)
    log_doubt: float = field.number(_REQUIRED, at_most=0.0)
    lines: int = field.integer(_REQUIRED)
    wrong: int = field.integer(_REQUIRED, at_least=0)
    confidence_error: float = field.rate(_REQUIRED)
    probability_error: float = field.rate(_REQUIRED)
    weights: dict[str, int]

    def probability(self, read: ReadText) -> float:
        """The probability that a text is exactly right; 0 for one that did not come to its end."""
        if read.stop_reason != "eos":
            return 0.0
        return 1 / (1 + math.exp(min(-self.constant - self.log_doubt * log_doubt(read.token_logprobs), 700.0)))

    def to_dict(self) -> dict[str, Any]:
        """What vedcore.json has under the key."""
        return attrs.asdict(self)  # type: ignore[arg-type]


def log_doubt(token_logprobs: Iterable[float]) -> float:
    """The logarithm of minus the sum of the log-probabilities."""
    return math.log(max(-math.fsum(token_logprobs), _LEAST_DOUBT))


def with_probability(reading: Reading, calibration: Calibration | None) -> Reading:
    """The reading with the probabilities of its lines and its own: on a page their mean, or None without lines."""
    if calibration is None:
        return reading
    blocks = tuple(
        replace(
            block,
            lines=tuple(replace(line, probability=calibration.probability(line)) for line in block.lines),
        )
        for block in reading.blocks
    )
    if reading.layout != "page":
        return replace(reading, blocks=blocks, probability=calibration.probability(reading))
    of_lines = [calibration.probability(line) for line in reading.lines]
    return replace(reading, blocks=blocks, probability=sum(of_lines) / len(of_lines) if of_lines else None)


def read_calibration(folder: Path) -> Calibration | None:
    """The mapping in the checkpoint's vedcore.json, or None. Raises ConfigError, which names the field, if it is not valid."""
    found, path = own_settings(folder).get(KEY), folder / OWN_FILE
    if found is None:
        return None
    try:
        return from_dict(Calibration, found, KEY)
    except ConfigError as error:
        name = KEY if error.field is None else f"{KEY}.{error.field}"
        raise ConfigError(
            f"{path}: {error}; remove the key, or run vedcore eval with --calibrate again",
            file=path,
            field=name,
            expected=error.expected,
            found=error.found,
        ) from error


def calibration_for(weights: Iterable[Tensor], folder: Path) -> Calibration | None:
    """The mapping in ``folder`` if it was fitted with these weights; otherwise None, with a CalibrationWarning."""
    calibration = read_calibration(folder)
    if calibration is None or has_weights(weights, calibration.weights):
        return calibration
    warnings.warn(
        f"{folder / OWN_FILE}: the calibration was fitted with other weights and is not used, so there are no probabilities; "
        "run vedcore eval with --calibrate",
        CalibrationWarning,
        stacklevel=3,
    )
    return None


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Store the mapping in the checkpoint's vedcore.json, which keeps its other content. Raises SaveError."""
    own = {**own_settings(folder), KEY: calibration.to_dict()}
    with whole_file(folder / OWN_FILE) as aside:
        write_json(aside, own)
