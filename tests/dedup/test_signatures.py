import random

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.dedup.signatures import (
    SCHEME,
    Windows,
    cut_windows,
    estimate_resemblance,
    hash_bands,
    permutations_of,
    shingle,
    shingle_words,
    sign_sets,
)
from palimpsest.dedup.words import hash_words
from palimpsest.records.settings import SENSITIVITIES, Settings, SignSettings
from tests import oracles
from tests.strategies import max_examples, shingle_sets, words_of

_SHAPES = [(20, 10), (12, 4), (6, 6), (8, 2)]


def flat(sets):
    offsets = np.cumsum([0, *map(len, sets)], dtype=np.int64)
    return np.array([v for one in sets for v in one], dtype=np.uint32), offsets


def shape(window, stride, **more):
    return SignSettings(window_words=window, stride_words=stride, **more)


@max_examples(60)
@given(
    st.lists(shingle_sets, min_size=1, max_size=4),
    st.sampled_from([1, 4, 31, 128]),
    st.sampled_from([0, 1, 7, 2**32 - 1]),
)
def test_signatures_equal_datasketch_bit_for_bit(sets, count, seed):
    signatures = sign_sets(*flat(sets), count, seed)
    expected = np.stack([oracles.sign_set(one, count, seed) for one in sets])
    assert signatures.dtype == np.uint32
    np.testing.assert_array_equal(signatures, expected)


def test_empty_set_is_signed_as_datasketch_does():
    np.testing.assert_array_equal(sign_sets(*flat([[]]), 16, 1)[0], oracles.sign_set([], 16, 1))


def test_order_and_repeats_of_shingles_change_nothing():
    signatures = sign_sets(*flat([[5, 9, 2], [2, 9, 5, 5, 9]]), 64, 3)
    np.testing.assert_array_equal(*signatures)


def test_words_of_shingles_are_those_that_they_are_hashed_from():
    words = words_of(
        ["The 3 red foxes 山 川 x 川 。山", "山 slept", "", "and", "川 in 1999 woke 东京都"]
    )
    shingles, offsets = shingle(words)
    firsts, lasts = shingle_words(words)
    np.testing.assert_array_equal(np.searchsorted(firsts, words.offsets), offsets)
    for value, first, last in zip(shingles, firsts, lasts, strict=True):
        expected = int(words.hashes[first])
        if last - first == 2:
            expected = expected * 0x9E3779B1 % 2**32 ^ int(words.hashes[first + 1])
        assert value == expected
    assert set(lasts - firsts) == {1, 2}


@pytest.mark.parametrize("level", SENSITIVITIES)
def test_permutations_that_are_kept_are_those_of_datasketch(level):
    sign = Settings.model_validate({"sensitivity": level}).sign
    expected = MinHash(num_perm=sign.permutations, seed=sign.seed, scheme=SCHEME).permutations
    np.testing.assert_array_equal(permutations_of(sign.permutations, sign.seed), expected)


def test_seeds_give_different_signatures():
    assert np.any(sign_sets(*flat([[1, 2, 3]]), 8, 1) != sign_sets(*flat([[1, 2, 3]]), 8, 2))


@pytest.mark.parametrize("shared", [0, 10, 50, 90, 100])
def test_estimate_is_within_five_standard_errors_of_exact_resemblance(shared):
    chance = random.Random(shared)
    values = chance.sample(range(2**32), 200 - shared)
    left, right = values[:100], values[100 - shared :]
    exact = oracles.resemblance(left, right)
    estimate = estimate_resemblance(*sign_sets(*flat([left, right]), 512, 1))
    assert abs(estimate - exact) <= 5 * (exact * (1 - exact) / 512) ** 0.5 + 1e-9


def test_estimates_are_right_on_average():
    chance = random.Random(11)
    errors = []
    for _ in range(200):
        values = chance.sample(range(2**32), 75)
        left, right = values[:50], values[25:]
        errors.append(estimate_resemblance(*sign_sets(*flat([left, right]), 128, 1)) - 1 / 3)
    assert abs(np.mean(errors)) <= 5 * (2 / 9 / 128 / 200) ** 0.5


def test_shingles_are_content_words_and_pairs_of_characters():
    texts = ["The river of 1914 river", "山 川 山 川、山", "", "山 … 川 a山"]
    shingles, offsets = shingle(words_of(texts))
    assert np.diff(offsets).tolist() == [2, 4, 0, 0]
    assert shingles[:2].tolist() == hash_words(["river", "river"]).tolist()
    assert shingles[2] == shingles[4] != shingles[3] == shingles[5]


@max_examples(60)
@given(st.lists(st.integers(0, 70), min_size=1, max_size=5), st.sampled_from(_SHAPES))
def test_windows_begin_at_strides_until_one_reaches_the_end(sizes, lengths):
    texts = [" ".join(f"w{k}" for k in range(size)) for size in sizes]
    windows = cut_windows(words_of(texts), shape(*lengths))
    found = list(zip(windows.texts, windows.starts, windows.ends, strict=True))
    expected = []
    shift = 0
    for text, size in enumerate(sizes):
        spans = oracles.cut_windows(size, *lengths)
        expected += [(text, shift + start, shift + end) for start, end in spans]
        shift += size
    assert found == expected


@pytest.mark.parametrize(("size", "windows"), [(4, 0), (5, 1), (20, 1), (21, 2), (30, 2), (31, 3)])
def test_number_of_windows(size, windows):
    text = " ".join(f"w{k}" for k in range(size))
    assert len(cut_windows(words_of([text]), SignSettings()).texts) == windows


@max_examples(40)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=4), st.sampled_from(_SHAPES), st.data())
def test_bands_are_those_of_the_signature_of_each_window(sizes, lengths, data):
    bands, rows = data.draw(st.sampled_from([(8, 4), (16, 2), (3, 5)]))
    sign = shape(*lengths, permutations=32, bands=bands, rows=rows, seed=5)
    chance = random.Random(repr((sizes, lengths)))
    texts = [" ".join(f"w{chance.randrange(40)}" for _ in range(size)) for size in sizes]
    windows = cut_windows(words_of(texts), sign)
    found = hash_bands(windows, sign)
    assert found.shape == (len(windows.texts), bands)
    for window, (start, end) in enumerate(zip(windows.starts, windows.ends, strict=True)):
        signature = oracles.sign_set(windows.shingles[start:end], 32, 5)
        parts = [signature[b * rows : (b + 1) * rows] for b in range(bands)]
        assert found[window].tolist() == [oracles.hash_band(part) for part in parts]


def test_windows_of_some_texts_only_are_signed_alike():
    texts = [" ".join(f"w{k}" for k in range(first, first + 45)) for first in (0, 100, 200)]
    windows = cut_windows(words_of(texts), SignSettings())
    bands = hash_bands(windows, SignSettings())
    mine = windows.texts != 1
    part = Windows(windows.shingles, windows.texts[mine], windows.starts[mine], windows.ends[mine])
    np.testing.assert_array_equal(hash_bands(part, SignSettings()), bands[mine])
