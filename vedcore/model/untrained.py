"""The parameters of a model that still hold the random values they were initialised with."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from vedcore.storage.own import checksums, is_unchanged


class UntrainedWarning(UserWarning):
    """A text is generated with weights that still hold their random first values."""


@dataclass(slots=True)
class FirstValues:
    """Checksums of random first values by the names of the parameters. ``vedcore.json`` stores them."""

    sums: dict[str, dict[str, int]] = field(default_factory=dict)
    has_warned: bool = False

    def add(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """These parameters are random now."""
        self.sums |= {name: checksums(parameter) for name, parameter in parameters.items()}

    def unchanged(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """The names of those that still hold their first values."""
        known = {name: sums for name, sums in self.sums.items() if name in parameters}
        return sorted(name for name, sums in known.items() if is_unchanged(parameters[name], sums))

    def warn_once(self, names: list[str], stacklevel: int) -> None:
        """Warn the caller that a text means little with ``names`` untrained."""
        self.has_warned = True
        if names:
            warnings.warn(
                f"{len(names)} tensors still hold their random first values ({', '.join(names[:3])}"
                f"{', ...' if len(names) > 3 else ''}), so the text means little; train the model first. "
                "model.untrained lists them all",
                UntrainedWarning,
                stacklevel=stacklevel + 1,
            )
