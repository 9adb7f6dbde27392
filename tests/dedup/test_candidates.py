import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.dedup.candidates import (
    Candidates,
    Crowds,
    PairedTexts,
    common_buckets,
    merge_candidates,
    pack_pairs,
    pair_band,
    shared_buckets,
    sort_buckets,
    unpack_pairs,
)
from palimpsest.dedup.signatures import Windows, cut_windows, hash_bands
from palimpsest.dedup.windows import sketch_windows
from palimpsest.records.settings import SignSettings
from tests import oracles
from tests.strategies import crowd_limits, invent_words, max_examples, replace_words, words_of

_TOP = 2**64 - 1


def windows_of(owners, contents):
    """Return windows made of shingles by these numbers, which are spread as hashes are."""
    ends = np.cumsum([len(one) for one in contents], dtype=np.int64)
    starts = ends - [len(one) for one in contents]
    numbers = np.array([v for one in contents for v in one], dtype=np.uint32)
    shingles = numbers * np.uint32(0x9E3779B1)
    return Windows(shingles, np.array(owners, dtype=np.int64), starts.astype(np.int64), ends)


def pairs_of(packed):
    left, right = unpack_pairs(packed)
    return list(zip(left.tolist(), right.tolist(), strict=True))


def crowds_of(sizes):
    """Return crowds from how many texts are in each."""
    hashes = sorted(sizes)
    counts = np.array([sizes[value] for value in hashes], dtype=np.int64)
    return Crowds(np.array(hashes, dtype=np.uint32), counts)


def pair(hashes, owners, contents, is_new=None, uppers=None, crowds=None, **more):
    texts = max(owners, default=-1) + 1
    flags = np.ones(texts, dtype=np.bool_) if is_new is None else np.array(is_new)
    halves = range(texts) if uppers is None else uppers
    windows = windows_of(owners, contents)
    return pair_band(
        shared_buckets(sort_buckets(np.array(hashes, dtype=np.uint32))),
        windows,
        sketch_windows(windows),
        PairedTexts(flags, np.array(halves, dtype=np.uint64)),
        crowds or Crowds.none(),
        SignSettings(**more),
    )


_ALIKE = [[1, 2, 3, 4, 5, 6]]
_TEXTS = 24


@st.composite
def bands(draw):
    """Draw windows of texts, sorted as their digests: hash, owner and shingles of each."""
    owners = sorted(draw(st.lists(st.integers(0, _TEXTS - 1), min_size=1, max_size=40)))
    one_hash = st.integers(0, draw(st.integers(0, 3))).map(lambda n: n * 0x5555555)
    one_content = st.lists(st.integers(0, 5), min_size=1, max_size=6)
    hashes = draw(st.lists(one_hash, min_size=len(owners), max_size=len(owners)))
    contents = draw(st.lists(one_content, min_size=len(owners), max_size=len(owners)))
    return hashes, owners, contents


@st.composite
def some_uppers(draw):
    """Draw upper halves of digests, evenly, or so that there are hardly any heads, or many."""
    least, most = draw(st.sampled_from([(0, _TOP), (0, _TOP // 8), (_TOP // 2, _TOP)]))
    one = st.integers(least, most)
    return sorted(draw(st.lists(one, min_size=_TEXTS, max_size=_TEXTS)))


@st.composite
def new_flags(draw):
    """Draw which texts are new: any, or few of those that sort last, which are seldom heads."""
    if draw(st.booleans()):
        return draw(st.lists(st.booleans(), min_size=_TEXTS, max_size=_TEXTS))
    late = draw(st.sets(st.integers(_TEXTS // 2, _TEXTS - 1), min_size=1, max_size=4))
    return [text in late for text in range(_TEXTS)]


def expected_of(band, uppers, is_new, sign):
    """Return what the rule gives: pairs with a new text, and those that buckets give up."""
    after = oracles.give_pairs(*band, uppers, range(_TEXTS), sign)
    old = [text for text in range(_TEXTS) if not is_new[text]]
    before = oracles.give_pairs(*band, uppers, old, sign)
    pairs = {(left, right) for _, left, right in after if is_new[left] or is_new[right]}
    return sorted(pairs), sorted({(left, right) for _, left, right in before - after})


def buckets_of(hashes, owners, is_new):
    """Return for each bucket its old and its new texts."""
    texts_of_bucket = {value: (set(), set()) for value in hashes}
    for value, owner in zip(hashes, owners, strict=True):
        texts_of_bucket[value][is_new[owner]].add(owner)
    return texts_of_bucket


@max_examples(250)
@given(bands(), some_uppers(), new_flags(), crowd_limits())
def test_candidates_follow_the_rule_applied_to_all_texts(band, uppers, is_new, sign):
    texts = max(band[1]) + 1
    hashes = np.array(band[0], dtype=np.uint32)
    shared = shared_buckets(sort_buckets(hashes))
    numbers = (shared & np.uint64(0xFFFFFFFF)).astype(np.int64)
    assert sorted(numbers.tolist()) == [
        n for n, one in enumerate(band[0]) if band[0].count(one) > 1
    ]
    np.testing.assert_array_equal(shared, np.sort(shared))
    found = pair(*band, is_new[:texts], uppers[:texts], **sign.model_dump())
    assert (pairs_of(found.pairs), pairs_of(found.lost)) == expected_of(band, uppers, is_new, sign)
    texts_of_bucket = buckets_of(*band[:2], is_new).values()
    assert found.crowds == sum(
        len(old | new) > sign.crowd_texts for old, new in texts_of_bucket if new
    )


@max_examples(250)
@given(
    bands(),
    some_uppers(),
    new_flags(),
    crowd_limits(),
    st.sets(st.integers(0, _TEXTS - 1), max_size=4),
)
def test_old_heads_are_enough_if_a_crowd_keeps_them(band, uppers, is_new, sign, also):
    needed, crowds = set(also), {}
    for value, (old, new) in buckets_of(*band[:2], is_new).items():
        before, after = (oracles.heads_of(some, uppers, sign) for some in (old, old | new))
        is_crowd = len(old) > sign.crowd_texts
        if new and is_crowd:
            crowds[value] = len(old)
        if new:
            needed |= new | (before if is_crowd and before == after else old)
    rows = [row for row in zip(*band, strict=True) if row[1] in needed]
    at_hand = sorted({owner for _, owner, _ in rows})
    number = {text: n for n, text in enumerate(at_hand)}
    found = pair(
        [value for value, _, _ in rows],
        [number[owner] for _, owner, _ in rows],
        [content for _, _, content in rows],
        np.array([is_new[text] for text in at_hand], dtype=np.bool_),
        [uppers[text] for text in at_hand],
        crowds_of(crowds),
        **sign.model_dump(),
    )
    named = [
        [(at_hand[left], at_hand[right]) for left, right in pairs_of(side)]
        for side in (found.pairs, found.lost)
    ]
    assert tuple(named) == expected_of(band, uppers, is_new, sign)


def test_two_old_texts_are_not_paired():
    found = pair([7, 7, 7], [0, 1, 2], _ALIKE * 3, is_new=[False, False, True])
    assert pairs_of(found.pairs) == [(0, 2), (1, 2)]
    assert pairs_of(found.lost) == []


def test_windows_of_one_text_are_not_paired():
    assert pairs_of(pair([7, 7], [0, 0], _ALIKE * 2).pairs) == []


def test_windows_with_too_few_common_shingles_are_not_paired():
    contents = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 9, 8]]
    assert pairs_of(pair([7, 7], [0, 1], contents, min_shared_shingles=5).pairs) == []
    assert pairs_of(pair([7, 7], [0, 1], contents, min_shared_shingles=4).pairs) == [(0, 1)]


def test_crowd_is_paired_with_its_heads_and_counted():
    evenly = [k * 2**64 // 9 for k in range(9)]
    found = pair(
        [7] * 9 + [8], range(10), _ALIKE * 10, None, [*evenly, _TOP], crowd_texts=3, crowd_heads=1
    )
    assert pairs_of(found.pairs) == [(i, j) for i in range(3) for j in range(i + 1, 9)]
    assert found.crowds == 1


def test_first_text_of_a_crowd_is_always_a_head():
    found = pair([7] * 5, range(5), _ALIKE * 5, None, [_TOP] * 5, crowd_texts=4, crowd_heads=1)
    assert pairs_of(found.pairs) == [(0, j) for j in range(1, 5)]


def test_many_windows_of_few_texts_are_not_a_crowd():
    found = pair([7] * 12, [0] * 6 + [1] * 6, _ALIKE * 12, crowd_texts=2, crowd_heads=1)
    assert found.crowds == 0


def test_bucket_that_becomes_a_crowd_loses_pairs_of_old_texts():
    is_new, uppers = [False, False, False, True], [0, 2**63, 2**63 + 1, _TOP]
    found = pair([7] * 4, range(4), _ALIKE * 4, is_new, uppers, crowd_texts=3, crowd_heads=1)
    assert pairs_of(found.pairs) == [(0, 3)]
    assert pairs_of(found.lost) == [(1, 2)]


def test_bucket_of_exactly_the_limit_is_paired_completely():
    found = pair([7] * 4, range(4), _ALIKE * 4, None, [_TOP] * 4, crowd_texts=4, crowd_heads=1)
    assert len(found.pairs) == 6
    assert found.crowds == 0


def test_array_of_pairs_grows():
    found = pair([7] * 80, range(80), _ALIKE * 80)
    assert pairs_of(found.pairs) == [(i, j) for i in range(80) for j in range(i + 1, 80)]


def test_array_of_lost_pairs_grows():
    is_new, uppers = [False] * 40 + [True], [_TOP] * 41
    found = pair([7] * 41, range(41), _ALIKE * 41, is_new, uppers, crowd_texts=40, crowd_heads=1)
    assert pairs_of(found.lost) == [(i, j) for i in range(1, 40) for j in range(i + 1, 40)]


def test_no_windows_make_no_pairs():
    found = pair([], [], [])
    assert (pairs_of(found.pairs), pairs_of(found.lost), found.crowds) == ([], [], 0)


@max_examples(50)
@given(st.lists(st.integers(0, 2**32 - 1), max_size=30))
def test_buckets_are_sorted_by_hash_then_by_window(hashes):
    buckets = sort_buckets(np.array(hashes, dtype=np.uint32))
    found = [(int(b) >> 32, int(b) & 0xFFFFFFFF) for b in buckets]
    assert found == sorted((hashed, number) for number, hashed in enumerate(hashes))


_one_side = st.integers(0, 2**32 - 1)


@max_examples(50)
@given(st.lists(st.tuples(_one_side, _one_side), max_size=8))
def test_packed_pairs_sort_as_pairs_and_are_unpacked_again(pairs):
    sides = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    packed = pack_pairs(sides[:, 0], sides[:, 1])
    assert pairs_of(packed) == pairs
    assert pairs_of(np.sort(packed)) == sorted(pairs)


_some_pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(6, 9)), max_size=8)


@max_examples(50)
@given(
    st.lists(st.tuples(_some_pairs, _some_pairs, st.integers(0, 3)), max_size=4),
    st.sampled_from([1, 4, 2**22]),
)
def test_merged_candidates_are_sorted_and_distinct(parts, at_once):
    def packed(pairs):
        kept = np.array(sorted(set(pairs)), dtype=np.int64).reshape(-1, 2)
        return pack_pairs(kept[:, 0], kept[:, 1])

    made = [Candidates(packed(pairs), packed(lost), crowds) for pairs, lost, crowds in parts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("palimpsest.dedup.candidates._MERGED_AT_ONCE", at_once)
        merged = merge_candidates(made)
    assert pairs_of(merged.pairs) == sorted({one for pairs, _, _ in parts for one in pairs})
    assert pairs_of(merged.lost) == sorted({one for _, lost, _ in parts for one in lost})
    assert merged.crowds == sum(crowds for _, _, crowds in parts)


@max_examples(100)
@given(bands(), st.sets(st.tuples(st.integers(0, 11), st.integers(12, _TEXTS - 1)), max_size=30))
def test_common_buckets_are_those_where_windows_are_similar(band, pairs):
    hashes, owners, contents = band
    sign = SignSettings(min_shared_shingles=2, min_shared_share=0.5)
    columns = np.array([[value, value % 2, 7] for value in hashes], dtype=np.uint32)
    sides = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    found = common_buckets(
        columns, windows_of(owners, contents), pack_pairs(sides[:, 0], sides[:, 1]), sign
    )
    expected = {
        (number, column, int(columns[i, column]))
        for number, (left, right) in enumerate(sides.tolist())
        for i in range(len(owners))
        for j in range(len(owners))
        for column in range(3)
        if (owners[i], owners[j]) == (left, right)
        and columns[i, column] == columns[j, column]
        and oracles.shares_enough(contents[i], contents[j], sign)
    }
    assert set(zip(*(side.tolist() for side in found), strict=True)) == expected


def test_array_of_common_buckets_grows():
    pairs = pack_pairs(np.array([0]), np.array([1]))
    columns = np.full((40, 2), 7, dtype=np.uint32)
    windows = windows_of([0] * 20 + [1] * 20, _ALIKE * 40)
    _, columns_met, hashes = common_buckets(columns, windows, pairs, SignSettings())
    is_band = columns_met < SignSettings().bands  # the others are fingerprints
    assert np.count_nonzero(is_band) == 20 * 20 * 2
    assert set(columns_met[is_band].tolist()) == {0, 1}
    assert set(hashes[is_band].tolist()) == {7}


def candidates_of(texts, sign):
    windows = cut_windows(words_of(texts), sign)
    hashes = hash_bands(windows, sign)
    paired = PairedTexts(np.ones(len(texts), np.bool_), np.arange(len(texts), dtype=np.uint64))
    sketches = sketch_windows(windows)
    parts = [
        pair_band(sort_buckets(hashes[:, band]), windows, sketches, paired, Crowds.none(), sign)
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
    found = pairs_of(candidates_of(texts, SignSettings(seed=seed)).pairs)
    planted = {(2 * k, 2 * k + 1) for k in range(100)}
    assert len(planted & set(found)) >= 99
    assert set(found) <= planted
