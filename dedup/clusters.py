"""Relate texts, and choose which near-duplicates are folded into which.

Two texts are linked if they are near-duplicates that say the same. A text without an earlier linked
text is a representative; another one is folded into the earliest representative that it is linked
to, or kept if there is none. So each cluster is a star, and what becomes of a text depends only on
the texts within two links of it. A text is as early as its earliest occurrence: by date of
publication, undated after dated; then by URI, document and position in the document. The time of
ingestion makes no difference.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from palimpsest.dedup.alignment import Passages
from palimpsest.dedup.words import HashedWords
from palimpsest.kernels.arrays import Flags, Labels, Positions, Shares
from palimpsest.kernels.compiled import kernel
from palimpsest.kernels.sorting import distinct

EXACT, NEAR, CONTAINED, PARTIAL = "exact", "near", "contained", "partial"


def aligned_words(passages: Passages, pairs: int) -> Positions:
    """Return the number of aligned words of each pair over all of its passages: int64."""
    counts = np.bincount(passages.pair, weights=passages.matched, minlength=pairs)
    return counts.astype(np.int64)


def relate(left_share: Shares, right_share: Shares, fold_share: float) -> Labels:
    """Return the relation of two texts: near, contained or partial.

    Args:
        left_share, right_share: shares of the words of each text that are aligned, in [0, 1].
        fold_share: near if both reach it, contained if one does, else partial.
    """
    left, right = left_share >= fold_share, right_share >= fold_share
    return np.where(left & right, NEAR, np.where(left | right, CONTAINED, PARTIAL))


def relate_passages(
    matched: Positions, left_words: Positions, right_words: Positions, fold_share: float
) -> Labels:
    """Return the relation of the two sides of each passage.

    Args:
        matched: number of words aligned with an equal one.
        left_words, right_words: number of words of each side.
        fold_share: near if this share of both sides is matched, contained if of one side.

    Returns:
        exact if all words of both sides are matched, else near, contained or partial.

    Example:
        >>> left, right = np.array([9, 9, 9, 20]), np.array([9, 10, 30, 20])
        >>> relate_passages(np.array([9, 9, 9, 9]), left, right, fold_share=0.8)
        array(['exact', 'near', 'contained', 'partial'], dtype='<U9')
    """
    shares = matched / np.maximum(1, left_words), matched / np.maximum(1, right_words)
    is_exact = (matched == left_words) & (matched == right_words)
    return np.where(is_exact, EXACT, relate(*shares, fold_share))


class Links(NamedTuple):
    """Pairs of texts that share a passage.

    Attributes:
        left, right: int64, shape (pairs,), numbers of texts.
        left_share, right_share: float64, shape (pairs,): share of each text's words aligned, in
            [0, 1].
        relation: shape (pairs,): near, contained or partial.
        says_same: bool, shape (pairs,): near, and without a difference in what they say.
    """

    left: Positions
    right: Positions
    left_share: Shares
    right_share: Shares
    relation: Labels
    says_same: Flags


def link_pairs(
    words: HashedWords, left: Positions, right: Positions, passages: Passages, fold_share: float
) -> tuple[Links, Passages]:
    """Return the pairs that have a passage, and the passages with their pairs renumbered.

    ``says_same`` is false for all pairs: it depends on the texts, not only on the hashes of words.
    """
    pairs = distinct(passages.pair)
    renumbered = passages._replace(pair=np.searchsorted(pairs, passages.pair))
    left, right = left[pairs], right[pairs]
    sizes = np.diff(words.offsets)
    aligned = aligned_words(renumbered, len(pairs))
    left_share, right_share = aligned / sizes[left], aligned / sizes[right]
    relation = relate(left_share, right_share, fold_share)
    says_same = np.zeros(len(left), dtype=np.bool_)
    return Links(left, right, left_share, right_share, relation, says_same), renumbered


@kernel
def choose_representatives(rank: Positions, left: Positions, right: Positions) -> Positions:
    """Return the member that each member is folded into, or itself: int64, shape (members,).

    Args:
        rank: int64, shape (members,), distinct; the earliest member has the lowest.
        left, right: int64, shape (links,), two different members each.
    """
    is_first = np.ones(len(rank), dtype=np.bool_)
    for link in range(len(left)):
        a, b = left[link], right[link]
        is_first[b if rank[a] < rank[b] else a] = False
    into = np.arange(len(rank))
    for link in range(len(left)):
        a, b = left[link], right[link]
        if rank[b] < rank[a]:
            a, b = b, a
        if is_first[a] and (into[b] == b or rank[a] < rank[into[b]]):
            into[b] = a
    return into


def first_occurrences(text: Positions, published_us: Positions, rank: Positions) -> Positions:
    """Return the row of the earliest occurrence of each text, in the order of texts.

    Args:
        text: int64, shape (occurrences,).
        published_us: microseconds since 1970; the largest int64 if there is no date.
        rank: rank by URI, document and ordinal, distinct.
    """
    order = np.lexsort((rank, published_us, text))
    ordered = text[order]
    is_first = np.ones(len(ordered), dtype=np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return order[is_first]
