"""Windows of a text compared by their shingles."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from palimpsest.kernels.compiled import inlined

Values = TypeVar("Values", bound=np.generic)


@inlined
def count_shared(left: npt.NDArray[Values], right: npt.NDArray[Values]) -> np.int64:
    """Return how many values on the left stand on the right too; for short arrays."""
    shared = np.int64(0)
    for i in range(len(left)):
        value = left[i]
        equal = np.uint8(0)
        for j in range(len(right)):
            equal |= np.uint8(value == right[j])
        shared += np.int64(equal)
    return shared
