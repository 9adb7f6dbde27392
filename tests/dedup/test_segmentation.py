"""Words of scripts that are written without spaces."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from icu4py import icu_version

from palimpsest.dedup import segmentation
from palimpsest.dedup.segmentation import ICU_VERSION, find_breaks
from tests.strategies import max_examples, mixed_texts, pack_texts


def breaks_of(*texts):
    breaks, offsets = find_breaks(*pack_texts(list(texts)))
    return [breaks[first:last].tolist() for first, last in pairwise(offsets)]


def test_dictionaries_are_those_that_archives_are_made_with():
    assert icu_version.split(".")[0] == ICU_VERSION


def test_breaks_are_in_bytes_of_the_buffer():
    assert breaks_of("x 東京の橋 y", "", "𠀀東京", "plain") == [[8, 11], [], [20], []]


@max_examples(200)
@given(mixed_texts, mixed_texts, mixed_texts)
def test_breaks_of_a_text_do_not_depend_on_its_neighbours(before, text, behind):
    shift = len(before.encode())
    assert breaks_of(before, text, behind)[1] == [shift + at for at in breaks_of(text)[0]]


@pytest.mark.parametrize("portion", [1, 7, 40])
def test_breaks_do_not_depend_on_what_icu_takes_at_once(monkeypatch, portion):
    texts = ["東京の橋と川", "แม่น้ำสายใหญ่", "no such script", "我们的河流很长"] * 3
    expected = breaks_of(*texts)
    monkeypatch.setattr(segmentation, "_PORTION_BYTES", portion)
    assert breaks_of(*texts) == expected
    assert sum(map(len, expected)) > 9


def test_no_texts_have_no_breaks():
    breaks, offsets = find_breaks(*pack_texts([]))
    assert breaks.dtype == np.int64
    assert (len(breaks), offsets.tolist()) == (0, [0])
