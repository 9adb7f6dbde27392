"""A line of JSON: whatever its text holds, each piece of it can be cut out of the line's bytes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.ingest.json_line import read_line, unescape
from palimpsest.records.errors import SourceError
from tests.strategies import max_examples

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@max_examples(300)
@given(TEXTS, TEXTS, st.booleans(), st.booleans(), st.data())
def test_any_span_of_the_text_maps_to_its_bytes(text, other, is_ascii, is_first, data):
    fields = {"text": text, "title": other, "n": [1, {"text": "not this"}]}
    if not is_first:
        fields = dict(reversed(fields.items()))
    raw = json.dumps(fields, ensure_ascii=is_ascii).encode()
    line = read_line(raw, ("body", "text"))
    assert line.text == text
    assert line.fields == {"title": other, "n": [1, {"text": "not this"}]}
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    first, last = line.to_bytes(np.array([start, end]))
    assert unescape(raw[first:last]) == text[start:end]


def test_half_a_surrogate_pair_is_one_replacement_character():
    raw = rb'{"text": "a \ud83d b \ude00\ud83d c \ud83d\ude00 d"}'
    line = read_line(raw, ("text",))
    assert line.text == "a \ufffd b \ufffd\ufffd c 😀 d"
    first, last = line.to_bytes(np.array([2, 3]))
    assert raw[first:last] == rb"\ud83d"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not-json"),
        (b"[1]", "not-json"),
        (b'{"text": "cut', "not-json"),
        (b'{"text": "a"} more', "not-json"),
        (b'{"text": "a\nb"}', "not-json"),
        (b'{"text": "\xff"}', "not-json"),
        (b"{" * 100_000, "not-json"),
        (b'{"text": [[[' + b"[" * 100_000, "not-json"),
        (b'{"title": "a"}', "no-text-field"),
        (b'{"text": null, "body": 5}', "no-text-field"),
    ],
)
def test_line_without_a_text_is_refused_with_a_reason(raw, reason):
    with pytest.raises(SourceError) as refused:
        read_line(raw, ("text", "body"))
    assert refused.value.reason == reason
