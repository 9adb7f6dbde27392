"""The crowd rule: which texts of a large bucket are paired with all the others.

A bucket of more than ``crowd_texts`` texts is a *crowd*: a weather report or a masthead of which
thousands of texts have a copy with other numbers. To pair all of its texts would cost the square of
their number. Instead only some of them, its *heads*, are paired with every text in it.

Which texts are heads must follow from the set of texts in the bucket alone, so that the order in
which they were ingested makes no difference, and must change as little as possible when a text is
added. So the heads are the texts whose digests are below a limit. Digests are uniformly
distributed, which makes this a random sample that any two versions of the bucket agree on. The
limit falls by steps of four as the crowd grows, so within a step no text stops being a head. This
is adaptive sampling (Wegman; analysed by Flajolet, On adaptive sampling, 1990), where the limit is
halved at each step; the factor of four, and to pair a crowd by such a sample, are ours. The text
with the lowest digest is a head too, so that a crowd has at least one.
"""

from __future__ import annotations

import numpy as np

from palimpsest.kernels.arrays import Flags, Keys, Positions
from palimpsest.kernels.compiled import inlined, kernel


@inlined
def head_limit(texts: int, crowd_texts: int, crowd_heads: int) -> np.uint64:
    """Return the limit below which the upper half of a head's digest is: uint64.

    A crowd of just over ``crowd_texts`` texts has ``crowd_heads`` heads on average, and one of four
    times as many texts has four times as many; beyond that the limit is a fourth, and so on.

    Args:
        texts: in the crowd, more than ``crowd_texts``.
        crowd_texts, crowd_heads: as in the settings. Without heads the limit is 0, and no text is
            one: a bucket of fingerprints that becomes a crowd pairs none.
    """
    step = np.uint64(crowd_texts)
    while step * np.uint64(4) < np.uint64(texts):
        step *= np.uint64(4)
    return np.uint64(0xFFFFFFFFFFFFFFFF) // step * np.uint64(crowd_heads)


@inlined
def is_head(upper: np.uint64, is_first: bool, limit: np.uint64) -> bool:
    """Return whether a text is a head of its crowd.

    Args:
        upper: upper half of its digest.
        is_first: no text in the crowd has a lower digest.
        limit: of the crowd, as ``head_limit`` returns it.
    """
    return bool(upper < limit or (is_first and limit > 0))


@kernel
def head_limits(texts: Positions, crowd_texts: int, crowd_heads: int) -> Keys:
    """Return ``head_limit`` of several crowds; it means nothing for a bucket that is no crowd."""
    limits = np.empty(len(texts), dtype=np.uint64)
    for k in range(len(texts)):
        limits[k] = head_limit(texts[k], crowd_texts, crowd_heads)
    return limits


@kernel
def are_heads(upper: Keys, is_first: Flags, limits: Keys) -> Flags:
    """Return ``is_head`` of several texts, each with the limit of its own crowd."""
    result = np.empty(len(upper), dtype=np.bool_)
    for k in range(len(upper)):
        result[k] = is_head(upper[k], is_first[k], limits[k])
    return result
