import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.candidates import Candidates, merge_candidates, pair_band, sort_buckets
from dedup.signatures import Windows, cut_windows, hash_bands
from records.settings import SignSettings
from tests import oracles
from tests.strategies import invent_words, replace_words, words_of


def windows_of(owners, contents):
    """Return windows made of the given shingles."""
    ends = np.cumsum([len(one) for one in contents], dtype=np.int64)
    starts = ends - [len(one) for one in contents]
    shingles = np.array([v for one in contents for v in one], dtype=np.uint32)
    return Windows(shingles, np.array(owners, dtype=np.int64), starts.astype(np.int64), ends)


def pairs_of(candidates):
    return list(zip(candidates.left.tolist(), candidates.right.tolist(), strict=True))


def pair(hashes, owners, contents, is_new=None, **more):
    news = np.ones(max(owners) + 1, dtype=np.bool_) if is_new is None else np.array(is_new)
    buckets = sort_buckets(np.array(hashes, dtype=np.uint32))
    return pair_band(buckets, windows_of(owners, contents), news, SignSettings(**more))


_ALIKE = [[1, 2, 3, 4, 5, 6]]


@st.composite
def bands(draw):
    """Draw windows of texts: hash, owner and shingles of each, and which texts are new."""
    owners = sorted(draw(st.lists(st.integers(0, 7), min_size=1, max_size=14)))
    one_hash = st.integers(0, 3).map(lambda n: n * 0x55555555)
    one_content = st.lists(st.integers(0, 12), min_size=1, max_size=9)
    hashes = draw(st.lists(one_hash, min_size=len(owners), max_size=len(owners)))
    contents = draw(st.lists(one_content, min_size=len(owners), max_size=len(owners)))
    return hashes, owners, contents, draw(st.lists(st.booleans(), min_size=8, max_size=8))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(bands(), st.integers(1, 4), st.sampled_from([0.1, 0.5, 1.0]))
def test_pairs_are_those_of_all_windows_compared(band, least, share):
    hashes, owners, contents, is_new = band
    found = pair(
        *band, min_shared_shingles=least, min_shared_share=share, max_bucket_windows=len(hashes) + 2
    )
    expected = oracles.pair_windows(
        hashes, owners, contents, lambda a, b: is_new[a] or is_new[b], least, share
    )
    assert pairs_of(found) == sorted(expected)
    assert found.capped == 0


def test_pair_of_texts_that_are_both_old_is_left_out():
    found = pair([7, 7, 7], [0, 1, 2], _ALIKE * 3, is_new=[False, False, True])
    assert pairs_of(found) == [(0, 2), (1, 2)]


def test_windows_of_one_text_are_no_pair():
    assert pairs_of(pair([7, 7], [0, 0], _ALIKE * 2)) == []


def test_windows_without_enough_in_common_are_no_pair():
    contents = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 9, 8]]
    assert pairs_of(pair([7, 7], [0, 1], contents, min_shared_shingles=5)) == []
    assert pairs_of(pair([7, 7], [0, 1], contents, min_shared_shingles=4)) == [(0, 1)]


def test_large_bucket_is_paired_with_its_first_windows_and_counted():
    size, most = 9, 3
    found = pair([7] * size + [8], range(size + 1), _ALIKE * (size + 1), max_bucket_windows=most)
    expected = [(i, j) for i in range(most) for j in range(i + 1, size)]
    assert pairs_of(found) == expected
    assert found.capped == 1


def test_bucket_of_just_the_most_windows_is_paired_in_full():
    found = pair([7] * 4, range(4), _ALIKE * 4, max_bucket_windows=4)
    assert len(found.left) == 6
    assert found.capped == 0


def test_room_for_pairs_grows():
    found = pair([7] * 80, range(80), _ALIKE * 80, max_bucket_windows=100)
    assert len(pairs_of(found)) == 80 * 79 // 2


def test_no_windows_make_no_pairs():
    windows = windows_of([], [])
    buckets = sort_buckets(np.empty(0, dtype=np.uint32))
    found = pair_band(buckets, windows, np.empty(0, dtype=np.bool_), SignSettings())
    assert pairs_of(found) == []


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 2**32 - 1), max_size=30))
def test_buckets_are_sorted_by_hash_then_by_window(hashes):
    buckets = sort_buckets(np.array(hashes, dtype=np.uint32))
    found = [(int(b) >> 32, int(b) & 0xFFFFFFFF) for b in buckets]
    assert found == sorted((hashed, number) for number, hashed in enumerate(hashes))


_some_pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(6, 9)), max_size=8)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.tuples(_some_pairs, st.integers(0, 3)), max_size=4))
def test_merged_candidates_are_each_pair_once_in_order(parts):
    made = []
    for pairs, capped in parts:
        kept = np.array(sorted(set(pairs)), dtype=np.int64).reshape(-1, 2)
        made.append(Candidates(kept[:, 0], kept[:, 1], capped))
    merged = merge_candidates(made)
    assert pairs_of(merged) == sorted({one for pairs, _ in parts for one in pairs})
    assert merged.capped == sum(capped for _, capped in parts)


def candidates_of(texts, sign):
    windows = cut_windows(words_of(texts), sign)
    hashes = hash_bands(windows, sign)
    is_new = np.ones(len(texts), dtype=np.bool_)
    parts = [
        pair_band(sort_buckets(hashes[:, band]), windows, is_new, sign)
        for band in range(sign.bands)
    ]
    return merge_candidates(parts)


@pytest.mark.parametrize("seed", [1, 2])
def test_planted_near_duplicates_become_candidates(seed):
    chance = random.Random(seed)
    texts = []
    for _ in range(100):
        words = invent_words(chance, 57)
        copy = replace_words(chance, words, 3)
        assert oracles.resemblance(words, copy) == pytest.approx(0.9)
        texts += [" ".join(words), " ".join(copy)]
    found = pairs_of(candidates_of(texts, SignSettings(seed=seed)))
    planted = {(2 * k, 2 * k + 1) for k in range(100)}
    assert len(planted & set(found)) >= 99
    assert set(found) <= planted
