"""Feed damaged bytes to every reader: ``python -m tests.fuzz``.

Inputs are specimens and small made-up files, cut, spliced and flipped at random from a seed. A reader
returns documents or refuses with a known reason; it must not raise anything else, take seconds or
leak memory. Spans of the documents must give their texts again.
"""

from __future__ import annotations

import io
import json
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from palimpsest.ingest.containers import Limits, Member, is_packed, read_member, walk
from palimpsest.ingest.json_line import read_line, unescape
from palimpsest.ingest.metadata.dates import parse_date
from palimpsest.ingest.metadata.facts import header_facts, json_facts, path_date
from palimpsest.ingest.pages.anchor import anchor, reproduces
from palimpsest.ingest.pages.extract_pool import Extractors
from palimpsest.ingest.pages.page import NOWHERE, RawPage, decode_page, read_pages
from palimpsest.ingest.text.decode import decode, decode_label, decode_span
from palimpsest.ingest.text.language import languages_of
from palimpsest.ingest.text.normalise import normalise_text
from palimpsest.records.errors import SourceError
from palimpsest.records.schemas import REJECT_REASONS

SPECIMENS = Path(__file__).parents[1] / "specimens"
SECONDS = 5.0
"""Time limit for one of these small inputs."""
LIMITS = Limits(max_document_bytes=2**20, max_members=2000, bomb_bytes=2**20)
_MAX_SEED_BYTES = 64 * 1024
_ALPHABET = [
    *(bytes((byte,)) for byte in range(256)),
    b"\r\n", b"\r\n\r\n", b"WARC/1.0\r\n", b"Content-Length: 9\r\n", b"\x1f\x8b\x08", b"PK\x03\x04",
    b"<p>", b"</p>", b"<!--", b"-->", b"<script>", b"&amp;", b"&#x110000;", b"&#0;", b"<", b'="',
    b'{"text":"', b'"}', b"\\ud83d", b"\\u0000", b"\xef\xbb\xbf", b"\xff\xfe", b"\xf0\x9f\x94\x91",
    b"\x1b$B", b"ustar", b"0\r\n\r\n", b"2024-02-30", b"Sat Oct 21, 2006 8:11pm EDT", b"%Y%m%d",
]  # fmt: skip


@dataclass
class CampaignResult:
    """Counts and faults of a campaign."""

    inputs: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)


def _count_reject(error: SourceError, result: CampaignResult) -> None:
    assert error.reason in REJECT_REASONS, error.reason
    assert error.detail
    result.reasons[error.reason] += 1


def of_bytes(raw: bytes, rng: random.Random, result: CampaignResult) -> None:
    """Decode, and cut at random."""
    try:
        label = rng.choice(
            [None, "utf-8", "gb2312", "iso-2022-jp", "utf-16", "x-unknown", "cp1252"]
        )
        found = (decode_label(raw, label, "http") if label else None) or decode(raw)
    except SourceError as error:
        _count_reject(error, result)
        return
    text = found.utf8.decode()
    chars = np.sort(np.array([rng.randrange(len(text) + 1) for _ in range(4)], np.int64))
    utf8 = np.array([len(text[:char].encode()) for char in chars], np.int64)
    at = found.to_bytes(utf8, chars)
    assert (np.diff(at) >= 0).all()
    assert at[0] >= 0
    assert at[-1] <= len(raw)
    if found.is_exact:
        for (a, b), (one, other) in zip(
            np.stack((at[:-1], at[1:]), 1), pairwise(chars), strict=True
        ):
            assert decode_span(raw[a:b], found.encoding) == text[one:other]


def of_json(raw: bytes, rng: random.Random, result: CampaignResult) -> None:  # noqa: ARG001
    """Read a line, and map every character back to its bytes."""
    try:
        line = read_line(raw, ("text", "body"))
    except SourceError as error:
        _count_reject(error, result)
        return
    json_facts(line.fields, ("title=text",))
    at = line.to_bytes(np.arange(len(line.text) + 1))
    assert (np.diff(at) > 0).all()
    middle = len(line.text) // 2
    for start, end in ((0, middle), (middle, len(line.text))):
        assert unescape(raw[at[start] : at[end]]) == line.text[start:end]
    json.loads(raw)


def of_facts(raw: bytes, rng: random.Random, result: CampaignResult) -> None:  # noqa: ARG001
    """Look for dates, headers and languages."""
    text = raw.decode("utf-8", "replace")
    header_facts(text)
    for line in text.split("\n")[:8]:
        parse_date(line)
    path_date("/press/" + text[:100], rng.choice(["%Y%m%d", "%d-%b-%Y", "%Y/%j", "%y"]))
    if rng.random() < 0.1:
        languages_of([text.encode("utf-8", "replace")])


def of_pages(raw: bytes, rng: random.Random, result: CampaignResult) -> None:
    """Scan a page and search it for blocks, of which some do not occur."""
    try:
        page = decode_page(RawPage(raw, None, rng.choice([None, "utf-8", "shift_jis"]), None))
    except SourceError as error:
        _count_reject(error, result)
        return
    html = page.utf8.decode()
    blocks = [" ".join(html[at : at + rng.randrange(200)].split()) for at in _places(html, rng, 4)]
    text, anchors = anchor(page.utf8, [*blocks, "made up by the extractor"])
    assert len(text) == len(anchors.starts) == len(anchors.ends)
    found = anchors.starts >= 0
    assert (anchors.ends[found] > anchors.starts[found]).all()
    assert (anchors.ends[found] <= len(page.utf8)).all()
    runs = np.flatnonzero(found & ~anchors.is_joined)
    for run in runs[:20].tolist():
        stop = run + 1
        while stop < len(text) and (anchors.is_joined[stop] or anchors.is_blank[stop]):
            stop += 1
        while anchors.is_blank[stop - 1]:
            stop -= 1
        span = page.utf8[anchors.starts[run] : anchors.ends[stop - 1]]
        assert reproduces(span, [(0, len(span))], "utf-8", normalise_text(text[run:stop])) or (
            b"&" in span  # half of an entity that stands for two characters
        )


def _places(text: str, rng: random.Random, count: int) -> Iterator[int]:
    return (rng.randrange(len(text) + 1) for _ in range(count))


@cache
def _extractors() -> Extractors:
    return Extractors(1, SECONDS)


def of_articles(raw: bytes, rng: random.Random, result: CampaignResult) -> None:  # noqa: ARG001
    """Extract the article of a page, and read its anchors back."""
    [page] = read_pages([RawPage(raw)], _extractors())
    if isinstance(page, SourceError):
        _count_reject(page, result)
        return
    at = 0
    for block in page.text.split("\n\n"):
        starts, ends = (column[at : at + len(block)] for column in (page.raw_start, page.raw_end))
        is_joined, visible = page.is_joined[at : at + len(block)], np.flatnonzero(starts >= 0)
        at += len(block) + 2
        if not len(visible) or (starts == NOWHERE).any():
            continue
        firsts = [k for k in visible.tolist() if k == visible[0] or not is_joined[k]]
        lasts = [int(visible[np.searchsorted(visible, k) - 1]) for k in firsts[1:]] + [visible[-1]]
        spans = [(int(starts[a]), int(ends[b])) for a, b in zip(firsts, lasts, strict=True)]
        if reproduces(raw, spans, page.encoding, normalise_text(block)):
            result.reasons["(anchored)"] += 1
        else:
            assert b"&" in raw, (block, spans)  # half of an entity that stands for two characters


def of_containers(raw: bytes, rng: random.Random, result: CampaignResult) -> None:
    """Walk, and read a member again by its place."""
    name = rng.choice(["a.bin", "a.jsonl", "a.tar", "a.warc.gz", "a.zip"])
    is_packed(raw[:65536], name)
    members: list[Member] = []
    try:
        for one in walk(io.BytesIO(raw), name, LIMITS):
            if isinstance(one, Member):
                members.append(one)
                assert len(one.raw) <= LIMITS.max_document_bytes
            else:
                assert one.reason in REJECT_REASONS
                result.reasons[one.reason] += 1
    except SourceError as error:
        _count_reject(error, result)
    places = [one.inside for one in members]
    assert len(set(places)) == len(places)
    if members and rng.random() < 0.2:
        member = rng.choice(members)
        again = read_member(io.BytesIO(raw), name, member.inside, LIMITS)
        assert again.raw == member.raw


Reader = Callable[[bytes, random.Random, CampaignResult], None]
READERS: dict[str, tuple[Reader, float, tuple[str, ...]]] = {
    "bytes": (of_bytes, 0.2, (".txt", ".bin")),
    "json": (of_json, 0.3, (".jsonl",)),
    "facts": (of_facts, 0.2, (".txt",)),
    "pages": (of_pages, 0.1, (".html",)),
    "articles": (of_articles, 0.02, (".html",)),
    "containers": (of_containers, 0.18, (".gz", ".warc", ".zip", ".tar", ".xz", ".jsonl", ".docx")),
}
"""By name: the reader, its share of inputs, and the suffixes of its specimens."""


def mutated(raw: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Return a damaged copy of bytes."""
    damaged = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(damaged) + 1)
        kind = rng.randrange(6)
        if kind == 0:
            damaged[at : at + rng.randrange(1, 64)] = b""
        elif kind == 1:
            damaged[at:at] = rng.choice(_ALPHABET) * rng.choice((1, 1, 1, 2, 50))
        elif kind == 2 and at < len(damaged):
            damaged[at] ^= 1 << rng.randrange(8)
        elif kind == 3:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            damaged[at:at] = other[start : start + rng.randrange(512)]
        elif kind == 4:
            del damaged[at + rng.randrange(64) :]
        elif damaged:
            start = rng.randrange(len(damaged))
            damaged[at:at] = damaged[start : start + rng.randrange(256)]
    return bytes(damaged[: 4 * _MAX_SEED_BYTES])


def seeds_of(suffixes: tuple[str, ...]) -> list[bytes]:
    """Return the specimens for a reader, without the large ones."""
    paths = [path for path in sorted(SPECIMENS.iterdir()) if path.suffix in suffixes]
    lines = [
        line for path in paths if path.suffix == ".jsonl" for line in path.read_bytes().split(b"\n")
    ]
    return [
        raw
        for raw in (*(path.read_bytes() for path in paths), *lines)
        if len(raw) <= _MAX_SEED_BYTES
    ]


def campaign(inputs: int, seed: int) -> CampaignResult:
    """Give inputs to the readers, each its share, and return the counts and faults.

    A fault names the reader and the seed of the input, from which ``one_input`` recreates it.
    """
    result = CampaignResult()
    for name, (reader, share, suffixes) in READERS.items():
        seeds = seeds_of(suffixes)
        for number in range(round(inputs * share)):
            raw, rng = one_input(seeds, seed, number)
            began = time.perf_counter()
            try:
                reader(raw, rng, result)
            except Exception as error:
                result.faults.append(
                    f"{name} {seed} {number}: {type(error).__name__}: {error}"[:300]
                )
            took = time.perf_counter() - began
            if took > SECONDS:
                result.faults.append(f"{name} {seed} {number}: took {took:.1f} s")
            result.slowest = max(result.slowest, took)
            result.inputs[name] += 1
    return result


def one_input(seeds: list[bytes], seed: int, number: int) -> tuple[bytes, random.Random]:
    """Return the input of a number, and the random generator for the reader."""
    rng = random.Random(f"{seed} {number}")
    return mutated(rng.choice(seeds), rng, seeds), rng


def resident_mebibytes() -> int:
    """Return the peak memory of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
