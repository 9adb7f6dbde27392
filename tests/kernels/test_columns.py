from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.kernels.columns import (
    bytes_of,
    count_characters,
    digests_of,
    string_array,
    take_spans,
)
from palimpsest.records.ids import document_id_of, hex_strings, text_id_of
from tests.strategies import max_examples

heavy = max_examples(60)

TEXTS = st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=12), max_size=12)
DIGESTS = st.lists(
    st.one_of(
        st.binary(min_size=16, max_size=16),
        st.sampled_from([b"\0" * 16, b"\xff" * 16, b"a" + b"\0" * 15, b"\0" * 15 + b"\x01"]),
    ),
    max_size=20,
)


def _joined(texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    raw = [text.encode() for text in texts]
    ends = np.cumsum([len(piece) for piece in raw], dtype=np.int64)
    starts = ends - np.array([len(piece) for piece in raw], dtype=np.int64)
    return np.frombuffer(b"".join(raw), dtype=np.uint8), starts, ends


def _rows(digests: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 16)


@heavy
@given(st.data(), st.lists(st.integers(-100, 100), max_size=40))
def test_spans_are_taken_in_the_given_order(data, values):
    bound = st.integers(0, len(values))
    pairs = data.draw(st.lists(st.tuples(bound, bound).map(sorted), max_size=8))
    starts = np.array([start for start, _ in pairs], dtype=np.int64)
    ends = np.array([end for _, end in pairs], dtype=np.int64)
    taken, offsets = take_spans(np.array(values, dtype=np.int64), starts, ends)
    pieces = [values[start:end] for start, end in pairs]
    assert taken.tolist() == [value for piece in pieces for value in piece]
    assert offsets.tolist() == np.cumsum([0, *map(len, pieces)]).tolist()


@heavy
@given(TEXTS)
def test_characters_are_counted_as_python_does(texts):
    assert count_characters(*_joined(texts)).tolist() == [len(text) for text in texts]


@heavy
@given(TEXTS)
def test_spans_and_strings_convert_both_ways(texts):
    strings = string_array(*_joined(texts))
    assert strings.to_pylist() == texts
    buffer, offsets = bytes_of(strings)
    assert [buffer[begin:end].tobytes().decode() for begin, end in pairwise(offsets)] == texts


@heavy
@given(st.data(), TEXTS)
def test_a_slice_of_strings_has_the_bytes_of_the_slice(data, texts):
    begin = data.draw(st.integers(0, len(texts)))
    for strings in (pa.array(texts, pa.string()), pa.chunked_array([texts, texts], pa.string())):
        expected = strings.to_pylist()[begin:]
        buffer, offsets = bytes_of(strings.slice(begin))
        assert [
            buffer[start:end].tobytes().decode() for start, end in pairwise(offsets)
        ] == expected


@pytest.mark.parametrize(
    "strings",
    [
        pa.array([], pa.string()),
        pa.array([], pa.large_string()),
        pa.chunked_array([], pa.string()),
        pa.array(["a"]).slice(1),
        pa.nulls(0, pa.string()),
    ],
)
def test_no_strings_have_no_bytes(strings):
    buffer, offsets = bytes_of(strings)
    assert offsets[-1] - offsets[0] == 0
    assert len(offsets) == 1
    assert buffer[offsets[0] : offsets[-1]].tobytes() == b""
    assert digests_of(strings).shape == (0, 16)


@heavy
@given(DIGESTS)
def test_ids_in_hex_go_there_and_back(digests):
    ids = hex_strings(_rows(digests))
    assert ids.to_pylist() == [digest.hex() for digest in digests]
    assert digests_of(ids).tobytes() == b"".join(digests)
    assert digests_of(ids.slice(1)).tobytes() == b"".join(digests[1:])


def test_ids_are_as_long_as_their_digest():
    assert document_id_of("ab" * 32) == "ab" * 16
    assert len(text_id_of("")) == 32
