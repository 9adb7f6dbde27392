"""The pairs do not depend on how texts are split into runs, nor on the crowds they form."""

from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.dedup.candidates import (
    Crowds,
    PairedTexts,
    buckets_of,
    common_buckets,
    merge_candidates,
    pair_band,
    unpack_pairs,
)
from palimpsest.dedup.index.search import Index
from palimpsest.dedup.index.segments import merge_segments, open_segment
from palimpsest.dedup.signatures import Windows
from palimpsest.dedup.windows import sketch_windows
from palimpsest.kernels.sorting import halves_of
from palimpsest.records.settings import SignSettings
from tests import oracles
from tests.dedup.index.signed import (
    BANDS,
    MADE_WITH,
    Signed,
    collections,
    enter,
    keys_of,
    rows_of,
    scratch,
    segment_of,
)
from tests.strategies import max_examples

Texts = dict[bytes, Signed]


class _Laid(NamedTuple):
    """Texts in the form that matching reads."""

    digests: list[bytes]
    windows: Windows
    bands: np.ndarray


def _lay_out(texts: Texts) -> _Laid:
    digests = sorted(texts)
    entering = enter(texts)
    shingles = np.array([v for one in digests for v in texts[one].shingles], dtype=np.uint32)
    hashes = [row for one in digests for row in texts[one].hashes]
    bands = np.array(hashes, dtype=np.uint32).reshape(-1, BANDS)
    windows = Windows(shingles, entering.window_texts, entering.starts, entering.ends)
    return _Laid(digests, windows, bands)


def _bring(
    found_pairs: set, known: Texts, new: Texts, index: Index, after: Index, sign: SignSettings
):
    """Update the pairs of an archive as a run with new texts does."""
    sharing = index.find_matches(enter(new, sign), sign)
    laid = _lay_out(new | {digest: known[digest] for digest in rows_of(sharing.texts)})
    upper, _ = halves_of(keys_of(laid.digests))
    paired = PairedTexts(np.array([one in new for one in laid.digests], dtype=np.bool_), upper)
    found = merge_candidates(
        pair_band(
            buckets_of(laid.bands, laid.windows, band, sign),
            laid.windows,
            sketch_windows(laid.windows),
            paired,
            Crowds(*sharing.crowds[band]),
            sign.of_band(band),
        )
        for band in range(sign.all_bands)
    )

    pairs, lost = (
        [
            (laid.digests[left], laid.digests[right])
            for left, right in zip(*unpack_pairs(packed), strict=True)
        ]
        for packed in (found.pairs, found.lost)
    )
    number, band, value = common_buckets(laid.bands, laid.windows, found.lost, sign)
    lefts = b"".join(lost[one][0] for one in number)
    gives = after.are_heads(band, value, np.frombuffer(lefts, np.uint8).reshape(-1, 16), sign)
    found_pairs |= set(pairs)
    found_pairs -= {pair for n, pair in enumerate(lost) if n not in number[gives]}


def _expected(texts: Texts, sign: SignSettings) -> set[tuple[bytes, bytes]]:
    """Return the pairs that the rule gives for all texts at once."""
    digests = sorted(texts)
    uppers = [int.from_bytes(digest[:8], "big") for digest in digests]
    windows = [
        (number, texts[digest].shingles[start:end], hashes)
        for number, digest in enumerate(digests)
        for (start, end), hashes in zip(texts[digest].windows(), texts[digest].hashes, strict=True)
    ]
    owners, contents = [one for one, _, _ in windows], [one for _, one, _ in windows]
    given = set()
    for band in range(BANDS):
        hashes = [one[band] for _, _, one in windows]
        given |= oracles.give_pairs(hashes, owners, contents, uppers, range(len(digests)), sign)
    prints = [
        (number, one, texts[digest].shingles[slice(*texts[digest].windows()[window])])
        for number, digest in enumerate(digests)
        for one, window in oracles.find_fingerprints(texts[digest].shingles, sign)
    ]
    owners, hashes, contents = ([one[n] for one in prints] for n in range(3))
    last = sign.of_band(sign.bands)
    given |= oracles.give_pairs(hashes, owners, contents, uppers, range(len(digests)), last)
    return {(digests[left], digests[right]) for _, left, right in given}


@st.composite
def growing(draw):
    """Draw texts in runs, and limits so low that crowds occur."""
    texts = draw(collections(30))
    runs = draw(st.integers(1, 5))
    place = {digest: draw(st.integers(0, runs - 1)) for digest in texts}
    crowd_texts = draw(st.integers(1, 6))
    sign = SignSettings(
        crowd_texts=crowd_texts,
        crowd_heads=draw(st.integers(1, min(2, crowd_texts))),
        min_shared_shingles=draw(st.integers(1, 3)),
        min_shared_share=draw(st.sampled_from([0.1, 0.6])),
        bands=BANDS,
        window_words=4,
        stride_words=2,
        fingerprint_shingles=draw(st.integers(1, 3)),
        fingerprint_window=draw(st.integers(1, 3)),
        fingerprint_texts=draw(st.integers(2, 5)),
        fingerprint_shared=draw(st.integers(1, 3)),
    )
    return [{d: t for d, t in texts.items() if place[d] == run} for run in range(runs)], sign


@max_examples(200)
@given(growing(), st.integers(0, 4))
def test_pairs_do_not_depend_on_how_texts_are_split_into_runs(drawn, merged_after):
    runs, sign = drawn
    found_pairs: set[tuple[bytes, bytes]] = set()
    known: Texts = {}
    segments = []
    for number, new in enumerate(runs):
        before = list(segments)
        segments.append(segment_of(new, sign=sign))
        _bring(found_pairs, known, new, Index(before), Index(segments), sign)
        known |= new
        assert found_pairs == _expected(known, sign)
        if number == merged_after:
            with scratch() as folder:
                merge_segments(folder / "m", segments, MADE_WITH)
                one = open_segment(folder / "m", MADE_WITH)
                segments = [type(one)(*(np.array(values) for values in one))]
