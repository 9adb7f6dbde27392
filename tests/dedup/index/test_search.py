"""The index against slow, obvious versions of itself."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from palimpsest.dedup.candidates import Crowds, PairedTexts, pair_band, unpack_pairs
from palimpsest.dedup.index.search import Index
from palimpsest.dedup.index.segments import keys_only
from palimpsest.dedup.signatures import Windows
from palimpsest.dedup.windows import sketch_windows
from palimpsest.kernels.sorting import halves_of
from palimpsest.records.errors import ContractError
from palimpsest.records.settings import SignSettings
from tests import oracles
from tests.dedup.index.signed import (
    BANDS,
    MADE_WITH,
    Signed,
    collections,
    digests,
    enter,
    key_sets,
    keys_of,
    rows_of,
    segment_of,
)
from tests.strategies import crowd_limits, max_examples


def _text(shingles, hashes):
    return Signed(tuple(shingles), tuple(hashes))


@st.composite
def archives(draw):
    """Draw known texts in some segments, and new texts."""
    texts = draw(collections(24))
    place = {key: draw(st.integers(-1, 2)) for key in texts}
    new = {key: text for key, text in texts.items() if place[key] < 0}
    parts = [{k: t for k, t in texts.items() if place[k] == part} for part in range(3)]
    return parts, new


class _Buckets:
    """All texts by number, in the order of their digests, and the windows of each bucket."""

    def __init__(self, texts):
        self.digests = sorted(texts)
        self.uppers = [int.from_bytes(digest[:8], "big") for digest in self.digests]
        self.windows = {}
        for number, digest in enumerate(self.digests):
            one = texts[digest]
            for (start, end), hashes in zip(one.windows(), one.hashes, strict=True):
                for band, value in enumerate(hashes):
                    window = number, one.shingles[start:end]
                    self.windows.setdefault((band, value), []).append(window)

    def heads(self, texts, sign):
        return oracles.heads_of(texts, self.uppers, sign)


def _alike(windows, number, new_texts, sign):
    """Return whether a window of a text is alike enough to one of a new text."""
    mine = [content for owner, content in windows if owner == number]
    others = [(owner, content) for owner, content in windows if owner in new_texts]
    return any(
        oracles.shares_enough(*((one, other) if number < owner else (other, one)), sign)
        for one in mine
        for owner, other in others
    )


def _expected(buckets, new, sign):
    """Return known texts that must match, those that may, and the crowds of each band."""
    needed, allowed, crowds = set(), set(), [{} for _ in range(BANDS)]
    for (band, value), windows in buckets.windows.items():
        owners = {owner for owner, _ in windows}
        new_texts = {owner for owner in owners if buckets.digests[owner] in new}
        old = owners - new_texts
        if not new_texts:
            continue
        allowed |= old
        if len(owners) <= sign.crowd_texts:
            needed |= {one for one in old if _alike(windows, one, new_texts, sign)}
        elif len(old) > sign.crowd_texts:
            crowds[band][value] = len(old)
            before, after = buckets.heads(old, sign), buckets.heads(owners, sign)
            needed |= before if before <= after else old
            needed |= {one for one in old if _alike(windows, one, new_texts & after, sign)}
        else:
            needed |= old
    return needed, allowed, [sorted(one.items()) for one in crowds]


@max_examples(250)
@given(archives(), crowd_limits())
def test_matches_are_the_texts_that_new_ones_may_pair_with(drawn, sign):
    parts, new = drawn
    texts = new | parts[0] | parts[1] | parts[2]
    index = Index([segment_of(part) for part in parts])
    sharing = index.find_matches(enter(new), sign)
    buckets = _Buckets(texts)
    needed, allowed, crowds = _expected(buckets, new, sign)
    found = rows_of(sharing.texts)
    assert found == sorted(set(found))
    assert {buckets.digests[one] for one in needed} <= set(found)
    assert set(found) <= {buckets.digests[one] for one in allowed}
    if any(any(text.hashes for text in part.values()) for part in parts):
        found_crowds = [list(zip(h.tolist(), n.tolist(), strict=True)) for h, n in sharing.crowds]
        assert found_crowds == crowds


def candidates_of(texts, new, crowds, sign):
    """Return the candidates and lost pairs of each band, as pairs of digests."""
    entered, digests_in_order = enter(texts), sorted(texts)
    shingles = [value for digest in digests_in_order for value in texts[digest].shingles]
    columns = entered.window_texts, entered.starts, entered.ends
    windows = Windows(np.array(shingles, dtype=np.uint32), *columns)
    is_new = np.array([digest in new for digest in digests_in_order], dtype=np.bool_)
    paired = PairedTexts(is_new, halves_of(entered.texts)[0])
    sketches, result = sketch_windows(windows), []
    for buckets, in_band in zip(entered.bands, crowds, strict=True):
        found = pair_band(buckets, windows, sketches, paired, Crowds(*in_band), sign)
        for packed in (found.pairs, found.lost):
            sides = (side.tolist() for side in unpack_pairs(packed))
            result.append(
                [(digests_in_order[a], digests_in_order[b]) for a, b in zip(*sides, strict=True)]
            )
    return result


@max_examples(100)
@given(archives(), crowd_limits())
def test_matches_of_the_index_give_the_candidates_that_all_texts_give(drawn, sign):
    parts, new = drawn
    texts = new | parts[0] | parts[1] | parts[2]
    index = Index([segment_of(part) for part in parts])
    matches = index.find_matches(enter(new), sign)
    found = {digest: texts[digest] for digest in rows_of(matches.texts)}
    everything = candidates_of(texts, new, [Crowds.none()] * BANDS, sign)
    assert candidates_of(new | found, new, matches.crowds, sign) == everything


def test_dissimilar_windows_in_one_bucket_are_no_match():
    old, new = b"a" * 16, b"b" * 16
    hashes = ((5, 5),)
    index = Index([segment_of({old: _text(range(4), hashes)})])
    sign = SignSettings(min_shared_shingles=2)
    alike, unlike = _text(range(4), hashes), _text(range(10, 14), hashes)
    assert rows_of(index.find_matches(enter({new: alike}), sign).texts) == [old]
    assert rows_of(index.find_matches(enter({new: unlike}), sign).texts) == []


def test_buckets_of_different_bands_do_not_match():
    index = Index([segment_of({b"a" * 16: _text(range(4), ((1, 2),))})])
    sign = SignSettings(min_shared_shingles=2)
    for hashes, count in (((1, 9), 1), ((9, 2), 1), ((2, 1), 0)):
        sharing = index.find_matches(enter({b"b" * 16: _text(range(4), (hashes,))}), sign)
        assert len(sharing.texts) == count


def test_only_heads_of_a_crowd_that_keeps_them_match():
    evenly = [(k * 2**64 // 8).to_bytes(8, "big") + b"\0" * 8 for k in range(8)]
    known = {digest: _text(range(4), ((5, 5),)) for digest in evenly}
    index = Index([segment_of(dict(list(known.items())[n::2])) for n in (0, 1)])
    sign = SignSettings(crowd_texts=4, crowd_heads=1, min_shared_shingles=2)
    head, other = b"\1" * 16, b"\xf0" * 16
    sharing = index.find_matches(enter({other: _text(range(4), ((5, 5),))}), sign)
    assert rows_of(sharing.texts) == evenly[:2]
    assert [(h.tolist(), n.tolist()) for h, n in sharing.crowds] == [([5], [8])] * 2
    sharing = index.find_matches(enter({head: _text(range(4), ((5, 5),))}), sign)
    assert rows_of(sharing.texts) == evenly


@max_examples(200)
@given(archives(), crowd_limits())
def test_index_knows_the_heads_of_each_bucket(drawn, sign):
    parts, new = drawn
    index = Index([segment_of(part) for part in (*parts, new)])
    buckets = _Buckets(new | parts[0] | parts[1] | parts[2])
    asked = [
        (band, value, text)
        for (band, value), windows in buckets.windows.items()
        for text in sorted({owner for owner, _ in windows})
    ]
    assume(asked)
    heads = {
        place: buckets.heads({owner for owner, _ in windows}, sign)
        for place, windows in buckets.windows.items()
    }
    found = index.are_heads(
        np.array([band for band, _, _ in asked], dtype=np.int64),
        np.array([value for _, value, _ in asked], dtype=np.uint32),
        np.frombuffer(b"".join(buckets.digests[t] for *_, t in asked), np.uint8).reshape(-1, 16),
        sign,
    )
    assert found.tolist() == [text in heads[band, value] for band, value, text in asked]


@max_examples(100)
@given(st.lists(st.tuples(key_sets, key_sets, key_sets), max_size=3), key_sets, st.data())
def test_index_contains_the_keys_of_any_segment(parts, others, data):
    segments = [
        keys_only(keys_of(documents), keys_of(sources))._replace(texts=keys_of(texts))
        for texts, documents, sources in parts
    ]
    index = Index(segments)
    for column, kind in enumerate(("texts", "documents", "sources")):
        stored = set().union(*(part[column] for part in parts))
        keys = data.draw(st.permutations([*stored, *others, *stored]))
        packed = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16)
        assert index.contains(kind, packed).tolist() == [key in stored for key in keys]


@max_examples(20)
@given(digests)
def test_keys_that_differ_before_trailing_zeros_are_distinct(digest):
    keys = sorted({digest[:n] + b"\0" * (16 - n) for n in range(17)})
    index = Index([keys_only(keys_of(keys[::2]), keys_of([]))])
    assert index.contains("documents", keys_of(keys)).tolist() == [
        n % 2 == 0 for n in range(len(keys))
    ]


def test_empty_index_contains_and_matches_nothing():
    index = Index([])
    assert index.contains("texts", np.ones((3, 16), dtype=np.uint8)).tolist() == [False] * 3
    sharing = index.find_matches(enter({b"b" * 16: _text(range(4), ((1, 2),))}), SignSettings())
    assert sharing.texts.shape == (0, 16)
    assert [len(hashes) for hashes, _ in sharing.crowds] == [0] * BANDS


def test_lost_segment_is_reported_with_the_command_to_run(tmp_path):
    with pytest.raises(ContractError, match="palimpsest reindex"):
        Index.open([tmp_path / "lost"], MADE_WITH)
