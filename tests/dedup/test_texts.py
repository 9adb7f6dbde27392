"""Texts in columns (dedup/texts.py): what matching takes from the parts of a run."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.dedup.alignment import score_parts, score_words
from palimpsest.dedup.texts import (
    TextSpans,
    distinct_texts,
    merge_texts,
    numbers_of,
    sign_texts,
    take_windows,
    texts_of,
)
from palimpsest.records.ids import text_id_of
from palimpsest.records.settings import Settings
from tests.strategies import max_examples, mixed_texts, pack_texts, varied_texts

_quick = max_examples(60)
_SETTINGS = Settings()

some_texts = st.lists(mixed_texts | varied_texts, max_size=6)
long_texts = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 45)).map(
        lambda drawn: " ".join(f"w{drawn[0]}x{k} the" for k in range(drawn[1]))
    ),
    max_size=5,
)
parts_of_texts = st.lists(some_texts | long_texts, min_size=1, max_size=4)


def digest_of(text):
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def digests_of(texts):
    joined = b"".join(map(digest_of, texts))
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, 16)


def texts_from(strings):
    return distinct_texts(digests_of(strings), *pack_texts(strings))


def run_in_order(strings):
    return sorted(set(strings), key=digest_of)


def assert_texts_are(texts, strings):
    assert texts.strings().to_pylist() == strings
    np.testing.assert_array_equal(texts.digests, digests_of(strings))


@_quick
@given(some_texts)
def test_distinct_texts_are_sorted_by_digest(strings):
    assert_texts_are(texts_from(strings + strings[::-1]), run_in_order(strings))


@_quick
@given(some_texts)
def test_texts_of_ids_and_strings_are_the_distinct_texts(strings):
    ids = pa.array([text_id_of(text) for text in strings], type=pa.string())
    texts = texts_of(ids, pa.array(strings, type=pa.string()))
    assert_texts_are(texts, run_in_order(strings))


def test_digests_that_differ_before_trailing_zeros_are_distinct():
    digests = np.zeros((3, 16), dtype=np.uint8)
    digests[0, :2], digests[1, 0] = (7, 1), 7
    texts = distinct_texts(digests, *pack_texts(["a", "b", "c"]))
    assert texts.strings().to_pylist() == ["c", "b", "a"]
    assert numbers_of(texts, digests).tolist() == [2, 1, 0]


@_quick
@given(parts_of_texts)
def test_merged_texts_are_distinct_and_traceable_to_their_parts(parts):
    merged, came_from = merge_texts([texts_from(part) for part in parts])
    assert_texts_are(merged, run_in_order(text for part in parts for text in part))
    all_texts = [text for part in parts for text in run_in_order(part)]
    assert [all_texts[number] for number in came_from] == merged.strings().to_pylist()
    assert [all_texts.index(all_texts[number]) for number in came_from] == came_from.tolist()


@_quick
@given(some_texts, st.data())
def test_texts_are_taken_by_number(strings, data):
    texts, ordered = texts_from(strings), run_in_order(strings)
    is_taken = st.lists(st.booleans(), min_size=len(ordered), max_size=len(ordered))
    numbers = np.flatnonzero(data.draw(is_taken)).astype(np.int64)
    expected = [ordered[number] for number in numbers]
    assert_texts_are(texts.take(numbers), expected)
    assert texts.strings(numbers).to_pylist() == expected


@_quick
@given(some_texts, some_texts)
def test_unknown_texts_have_the_number_minus_one(known, sought):
    ordered = run_in_order(known)
    found = numbers_of(texts_from(known), digests_of(sought))
    assert found.tolist() == [ordered.index(t) if t in ordered else -1 for t in sought]


def assert_taken_equals_marked(parts, numbers, expected):
    """Check that columns taken from marked parts are those of the texts marked anew."""
    words = [part.words for part in parts]
    places = TextSpans.of([one.offsets for one in words], numbers)
    for name in ("hashes", "starts", "ends", "kinds"):
        taken, offsets = places.take([getattr(one, name) for one in words])
        anew = getattr(expected.words, name)
        np.testing.assert_array_equal(offsets, expected.words.offsets)
        np.testing.assert_array_equal(taken, anew, err_msg=name)
        assert taken.dtype == anew.dtype
    ranked = score_parts(words, places, _SETTINGS.align)
    for name, anew in score_words(expected.words, _SETTINGS.align)._asdict().items():
        np.testing.assert_array_equal(getattr(ranked, name), anew, err_msg=name)
        assert getattr(ranked, name).dtype == anew.dtype
    windows, bands = take_windows(parts, numbers)
    np.testing.assert_array_equal(bands, expected.bands)
    np.testing.assert_array_equal(windows.texts, expected.windows.texts)
    for mine, theirs in zip(windows_of(windows), windows_of(expected.windows), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def windows_of(windows):
    return [windows.shingles[s:e] for s, e in zip(windows.starts, windows.ends, strict=True)]


@_quick
@given(parts_of_texts)
def test_columns_of_parts_equal_those_of_the_merged_texts(parts):
    texts = [texts_from(part) for part in parts]
    merged, came_from = merge_texts(texts)
    marked = [sign_texts(one, _SETTINGS) for one in texts]
    assert_taken_equals_marked(marked, came_from, sign_texts(merged, _SETTINGS))


@_quick
@given(long_texts, st.data())
def test_columns_of_some_texts_can_be_taken(strings, data):
    texts = texts_from(strings)
    is_taken = st.lists(st.booleans(), min_size=len(texts.digests), max_size=len(texts.digests))
    numbers = np.flatnonzero(data.draw(is_taken)).astype(np.int64)
    expected = sign_texts(texts.take(numbers), _SETTINGS)
    assert_taken_equals_marked([sign_texts(texts, _SETTINGS)], numbers, expected)


@pytest.mark.parametrize("strings", [[], [""], ["the of"]])
def test_texts_without_windows_can_be_signed(strings):
    marked = sign_texts(texts_from(strings), _SETTINGS)
    assert marked.bands.shape == (0, _SETTINGS.sign.bands)
    assert len(marked.words.offsets) == len(strings) + 1
