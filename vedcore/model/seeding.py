"""Random first values that follow from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vedcore.errors import ConfigError


@contextmanager
def seeded(seed: int | torch.Generator | None) -> Iterator[None]:
    """A context in which all random values follow from ``seed`` alone. torch's own state stays as it was.

    A generator, or torch's state if there is no seed, is drawn from once. Raises ConfigError for another kind of seed.
    """
    if seed is None or isinstance(seed, torch.Generator):
        device = "cpu" if seed is None else seed.device
        number = int(torch.randint(2**62, (), generator=seed, device=device))
    elif type(seed) is int and -(2**63) <= seed < 2**63:
        number = seed
    else:
        raise ConfigError(
            f"seed must be an int of 64 bits, a torch.Generator or None, got {seed!r}", field="seed", found=seed
        )
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(number)
        yield
