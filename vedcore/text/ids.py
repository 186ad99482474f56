"""Token ids that a caller passes, in any of their types, as a list of ints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vedcore.errors import TokenizerError

Ids = int | Sequence[int] | torch.Tensor | np.ndarray[Any, Any]
"""The tokens of one text."""

LARGEST_ID = 2**24
"""Ids must be below this: a few bytes of a damaged file must not allocate a table of 2**32 rows."""


def as_id_list(ids: Ids, bound: int, vocab_size: int) -> list[int]:
    """The ids as ints. Raises TokenizerError for another type, or for an id that is not in 0 to ``bound`` - 1.

    ``vocab_size`` is the number of tokens, for the message. It is below ``bound`` if the ids have gaps.
    """
    plain: Any = ids.tolist() if isinstance(ids, (torch.Tensor, np.ndarray, np.generic)) else ids
    if isinstance(plain, int):
        plain = [plain]
    if not isinstance(plain, (list, tuple)):
        found = type(ids).__name__
        raise TokenizerError(f"expected token ids, found {found}", expected="token ids", found=found)
    numbers: list[Any] = [item.item() if isinstance(item, (torch.Tensor, np.generic)) else item for item in plain]
    for number in numbers:
        if type(number) is not int:
            raise TokenizerError(
                f"expected token ids (ints), found {type(number).__name__}: {str(number)[:40]}",
                expected="int",
                found=type(number).__name__,
            )
        if not 0 <= number < bound:
            raise TokenizerError(
                f"token id {number} is outside the vocabulary of {vocab_size} tokens (0 to {bound - 1})",
                expected=f"0 to {bound - 1}",
                found=number,
            )
    return numbers
