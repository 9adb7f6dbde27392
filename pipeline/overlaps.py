"""The rows of overlaps: passages with their spans and texts, built where they are aligned."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from palimpsest.dedup.alignment import Passages
from palimpsest.dedup.clusters import Links
from palimpsest.pipeline.run_texts import RunTexts
from palimpsest.pipeline.staging import load_array, put_in_place
from palimpsest.records.ids import hex_strings
from palimpsest.records.schemas import TABLES
from palimpsest.store.commit import write_rows, written_files

PAIRS_IN_CHUNK = 100_000


def overlap_rows(texts: RunTexts, links: Links, passages: Passages, run_id: str) -> pa.Table:
    """Return the rows of overlaps.

    Args:
        texts: of the whole run.
        links: of their numbers.
        passages: their ``pair`` numbers ``links``.
        run_id: of the run.
    """
    left, right = links.left[passages.pair], links.right[passages.pair]
    columns: dict[str, Any] = {
        "left_text_id": hex_strings(texts.digests[left]),
        "right_text_id": hex_strings(texts.digests[right]),
    }
    for side, number, first, last in (
        ("left", left, passages.left_first, passages.left_last),
        ("right", right, passages.right_first, passages.right_last),
    ):
        start, end = texts.spans(number, first, last)
        columns[f"{side}_start_char"] = texts.as_characters(number, start)
        columns[f"{side}_end_char"] = texts.as_characters(number, end)
        columns[f"{side}_passage"] = texts.passages(number, start, end)
        columns[f"{side}_words"] = (last - first).astype(np.int32)
    together = columns["left_words"] + columns["right_words"] - passages.matched
    columns |= {
        "matched_words": passages.matched.astype(np.int32),
        "resemblance": (passages.matched / together).astype(np.float32),
        "score": passages.score,
        "relation": pa.array(links.relation).take(pa.array(passages.pair)),
        "says_same": links.says_same[passages.pair],
        "left_share": links.left_share[passages.pair].astype(np.float32),
        "right_share": links.right_share[passages.pair].astype(np.float32),
        "run_id": pa.repeat(run_id, len(passages.pair)),
    }
    schema = TABLES["overlaps"]
    return pa.table({name: columns[name] for name in schema.names}).cast(schema)


def staged_chunks(folder: Path) -> range:
    """Return the numbers of the chunks that a run's candidates were aligned in."""
    pairs = folder / "pairs.npy"
    return range(chunks_of(len(load_array(pairs))) if pairs.exists() else 0)


def chunks_of(candidates: int) -> int:
    """Return the number of chunks for a number of candidates."""
    return -(-candidates // PAIRS_IN_CHUNK)


def stage_overlaps(rows: pa.Table, folder: Path, chunk: int) -> None:
    """Write the overlaps of a chunk as files of the archive, all of them or nothing."""
    target = _overlaps_folder(folder, chunk)
    building = target.with_suffix(f".{secrets.token_hex(3)}.part")  # unique to this attempt
    write_rows(rows, "overlaps", building)
    put_in_place(building, target)


def staged_overlaps(folder: Path, rows: Sequence[int]) -> list[Path]:
    """Return the files of the overlaps of all chunks.

    Args:
        folder: the run's.
        rows: number of overlaps of each chunk.
    """
    return [
        path
        for chunk, count in enumerate(rows)
        for path in written_files(_overlaps_folder(folder, chunk), count)
    ]


def _overlaps_folder(folder: Path, chunk: int) -> Path:
    return folder / f"overlaps-{chunk:05d}"


def links_path(folder: Path, chunk: int) -> Path:
    """Return where the links of a chunk are staged."""
    return folder / f"links-{chunk:05d}"
