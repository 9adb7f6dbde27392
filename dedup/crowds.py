"""The rule for crowds: which texts of a large bucket are paired with all others."""

from __future__ import annotations

import numpy as np

from palimpsest.kernels.compiled import inlined


@inlined
def head_limit(texts: int, crowd_texts: int, crowd_heads: int) -> np.uint64:
    """Return below which upper half of its digest a text is a head of a crowd.

    A crowd of ``crowd_texts`` texts has about ``crowd_heads`` heads, and one of four times as many
    texts four times as many; from there on the limit is a fourth, and so on. So a text that joins
    takes nobody's place, but for the few that take a crowd over such a step.

    Args:
        texts: of the crowd, more than ``crowd_texts``.
        crowd_texts, crowd_heads: as in the settings.
    """
    step = np.uint64(crowd_texts)
    while step * np.uint64(4) < np.uint64(texts):
        step *= np.uint64(4)
    return np.uint64(0xFFFFFFFFFFFFFFFF) // step * np.uint64(crowd_heads)
