"""Segments: what was written is read again, merged ones are as if written at once."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.dedup.candidates import sort_buckets
from palimpsest.dedup.index.search import segments_to_merge
from palimpsest.dedup.index.segments import (
    Segment,
    check_segment,
    empty_keys,
    keys_only,
    merge_segments,
    open_segment,
    pack_band,
    size_bytes,
    write_segment,
)
from palimpsest.dedup.signatures import BAND_HASH_BITS
from palimpsest.records.errors import ContractError
from tests.dedup.index.signed import (
    MADE_WITH,
    Signed,
    collections,
    digests,
    enter,
    key_sets,
    keys_of,
    scratch,
    segment_of,
)
from tests.strategies import max_examples

_EDGES = [0, 1, 2, 15, 16, 17, 31, 32, 33, 65_535, 65_536, 65_537, 70_000]


@max_examples(80)
@given(
    st.sampled_from(_EDGES) | st.integers(0, 70_000),
    st.sampled_from([1, 3, 2**12, 2**BAND_HASH_BITS]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_packed_band_unpacks_to_its_buckets(windows, hashes, is_high, seed):
    drawn = np.random.default_rng(seed).integers(0, hashes, windows, dtype=np.uint32)
    if is_high:
        drawn = (np.uint32(2**BAND_HASH_BITS - 1) - drawn).astype(np.uint32)
    buckets = sort_buckets(drawn)
    slots, entries = pack_band(buckets)
    assert (slots.dtype, entries.dtype) == (np.uint32, np.uint32)
    assert len(slots) - 1 <= max(1, windows)
    segment = keys_only(empty_keys(), empty_keys())._replace(
        window_texts=np.zeros(windows, np.uint32), slots=slots[None], entries=entries[None]
    )
    np.testing.assert_array_equal(segment.buckets(0), buckets)


def write(folder: Path, texts: dict[bytes, Signed], documents=(), sources=()) -> Segment:
    segment = segment_of(texts, documents, sources)
    bands = enter(texts).bands
    write_segment(folder, segment, bands, len(bands), MADE_WITH)
    return open_segment(folder, MADE_WITH)


def assert_same(found: Segment, expected: Segment) -> None:
    for name in Segment._fields:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
        assert getattr(found, name).dtype == getattr(expected, name).dtype


@max_examples(30)
@given(collections(6), key_sets, key_sets)
def test_segment_is_read_as_it_was_written(texts, documents, sources):
    with scratch() as folder:
        written = write(folder / "s", texts, documents, sources)
        check_segment(folder / "s", MADE_WITH)
        assert_same(written, segment_of(texts, documents, sources))
        assert size_bytes(folder / "s") == sum(p.stat().st_size for p in folder.rglob("*.*"))


def _merged(folder: Path, parts: list[Segment], to_remove=None) -> Segment:
    path = folder / f"m{sum(1 for _ in folder.iterdir())}"
    merge_segments(path, parts, MADE_WITH, to_remove)
    return open_segment(path, MADE_WITH)


@st.composite
def split_collections(draw):
    """Draw texts, documents and sources, and the part that each is in; some parts are empty."""
    texts, documents, sources = draw(collections(12)), draw(key_sets), draw(key_sets)
    parts = draw(st.integers(1, 4))
    place = {key: draw(st.integers(0, parts - 1)) for key in [*texts, *documents, *sources]}
    split = [
        (
            {key: text for key, text in texts.items() if place[key] == part},
            {key for key in documents if place[key] == part},
            {key for key in sources if place[key] == part},
        )
        for part in range(parts)
    ]
    return (texts, documents, sources), draw(st.permutations(split))


@max_examples(40)
@given(split_collections(), st.data())
def test_merged_segments_equal_one_written_without_removed_keys(split, data):
    (texts, documents, sources), parts = split
    keys = sorted({*texts, *documents, *sources})
    some = st.sets(digests | st.sampled_from(keys) if keys else digests, max_size=5)
    to_remove = data.draw(st.none() | st.fixed_dictionaries(
        {}, optional={"texts": some, "documents": some, "sources": some}
    ))  # fmt: skip
    removed = to_remove or {}
    kept = (
        {key: text for key, text in texts.items() if key not in removed.get("texts", ())},
        documents - removed.get("documents", set()),
        sources - removed.get("sources", set()),
    )
    with scratch() as folder:
        segments = [segment_of(*part) for part in parts]
        first = data.draw(st.integers(0, len(segments)))
        nested = [_merged(folder, segments[:first]), *segments[first:]]
        packed = (
            None if to_remove is None else {name: keys_of(keys) for name, keys in to_remove.items()}
        )
        flat = _merged(folder, segments, packed)
        assert_same(_merged(folder, nested, packed), flat)
        if texts:
            assert_same(flat, segment_of(*kept))
        check_segment(folder / "m0", MADE_WITH)


def test_merged_segments_of_keys_have_no_texts(tmp_path: Path) -> None:
    parts = [keys_only(keys_of([bytes([n]) * 16]), empty_keys()) for n in (2, 1)]
    merge_segments(tmp_path / "m", parts, MADE_WITH)
    merged = open_segment(tmp_path / "m", MADE_WITH)
    assert merged.documents[:, 0].tolist() == [1, 2]
    assert len(merged.texts) == len(merged.window_texts) == 0


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A segment in which no file is without values."""
    texts = {bytes([n]) * 16: Signed((n, 2, 3, 4, 5), ((n, 9), (7, n))) for n in range(3)}
    write(tmp_path / "s1", texts, {b"d" * 16}, {b"s" * 16})
    return tmp_path / "s1"


_FILES = [*(f"{name}.npy" for name in Segment._fields), "segment.json"]


@pytest.mark.parametrize("name", _FILES)
def test_lost_file_is_reported_with_the_command_to_run(written: Path, name: str) -> None:
    (written / name).unlink()
    for read in (open_segment, check_segment):
        with pytest.raises(ContractError, match=rf"s1: {name}.*palimpsest reindex"):
            read(written, MADE_WITH)


@pytest.mark.parametrize("name", _FILES)
@pytest.mark.parametrize("kept", [0, -1])
def test_truncated_file_is_reported(written: Path, name: str, kept: int) -> None:
    (written / name).write_bytes((written / name).read_bytes()[:kept])
    with pytest.raises(ContractError, match=rf"s1: {name}.*palimpsest reindex"):
        open_segment(written, MADE_WITH)


@pytest.mark.parametrize("name", _FILES)
def test_flipped_bit_is_detected_or_harmless(written: Path, name: str) -> None:
    before = Segment(*(np.array(values) for values in open_segment(written, MADE_WITH)))
    content = (written / name).read_bytes()
    detected = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        (written / name).write_bytes(changed)
        try:
            check_segment(written, MADE_WITH)
        except ContractError:
            detected += 1
        else:
            assert_same(open_segment(written, MADE_WITH), before)
    assert detected >= len(content) - 3


def test_segment_of_other_settings_is_reported_with_both(written: Path) -> None:
    with pytest.raises(ContractError, match=r"'seed': 1.*'seed': 2.*palimpsest reindex"):
        open_segment(written, {"seed": 2})


def test_lost_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="palimpsest reindex"):
        open_segment(tmp_path / "nothing", MADE_WITH)


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_segments_stay_few_and_entries_are_rarely_rewritten(tmp_path: Path, spread: float) -> None:
    chance = random.Random(7)
    names: list[str] = []
    written: dict[str, list[int]] = {}  # by segment: how often each run's entries were written

    def add(name: str, size: int, times: list[int]) -> None:
        (tmp_path / name).mkdir()
        with (tmp_path / name / "entries.npy").open("wb") as file:
            file.truncate(size)
        names.append(name)
        written[name] = times

    for run in range(1, 201):
        add(f"r{run}", int(10_000 * (1 + spread * chance.uniform(-1, 1))), [1])
        merged = segments_to_merge(tmp_path, names)
        if merged:
            size = sum(size_bytes(tmp_path / name) for name in merged)
            times = [1 + one for name in merged for one in written.pop(name)]
            names[:] = [name for name in names if name not in merged]
            add(f"m{run}", size, times)
        assert len(names) <= 4 * max(1, math.log(run, 4))
        most = max(one for times in written.values() for one in times)
        assert most <= math.log(run, 4) + 2  # once when it came
    assert sum(map(len, written.values())) == 200


def test_few_segments_are_left_as_they_are(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"x" * 100)
    assert segments_to_merge(tmp_path, list("abc")) == []
