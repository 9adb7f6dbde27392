from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.kernels.digest import digest_spans
from palimpsest.records.ids import hex_strings, text_id_of
from tests.strategies import max_examples


def _digests(pieces: list[bytes]) -> list[bytes]:
    buffer = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    starts = ends - np.array([len(piece) for piece in pieces], dtype=np.int64)
    return [row.tobytes() for row in digest_spans(buffer, starts, ends)]


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 127, 128, 129, 255, 256, 257, 1000])
def test_digests_equal_hashlib_around_the_blocks(length):
    piece = bytes(at * 37 % 251 for at in range(length))
    assert _digests([piece]) == [hashlib.blake2b(piece, digest_size=16).digest()]


@max_examples(60)
@given(st.lists(st.binary(max_size=1000), min_size=1, max_size=5))
def test_digests_equal_hashlib(pieces):
    expected = [hashlib.blake2b(piece, digest_size=16).digest() for piece in pieces]
    assert _digests(pieces) == expected


def test_single_and_batched_texts_have_the_same_ids():
    texts = ["the same words", "", "漢字かな"]
    rows = np.frombuffer(b"".join(_digests([t.encode() for t in texts])), np.uint8).reshape(-1, 16)
    assert hex_strings(rows).to_pylist() == [text_id_of(text) for text in texts]
