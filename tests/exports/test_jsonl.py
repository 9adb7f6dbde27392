"""Documents as JSON Lines: texts are complete, and independent readers agree."""

import gzip
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest
import zstandard

from palimpsest.exports.jsonl import write_jsonl
from palimpsest.records.errors import ContractError
from palimpsest.records.ids import text_id_of
from palimpsest.store.rebuild import rebuild_document
from tests.exports.archives import TITLE, snapshot_of
from tests.pipeline.corpora import rebuilt_documents
from tests.store.damage import copy_archive, put, rewrite


def lines_of(archive_path: Path, target: Path, **options: Any) -> list[dict[str, Any]]:
    write_jsonl(snapshot_of(archive_path), target, "press", **options)
    return [json.loads(line) for line in target.read_bytes().split(b"\n")[:-1]]


def test_each_document_is_a_line_with_its_whole_text(hostile_archive: Path, tmp_path: Path) -> None:
    lines = lines_of(hostile_archive, tmp_path / "press.jsonl")
    assert {line["id"]: line["text"] for line in lines} == rebuilt_documents(
        snapshot_of(hostile_archive)
    )
    for line in lines:
        assert list(line) == ["id", "text", "source", "created", "metadata", "paragraphs"]
        assert line["source"] == "press"


def test_metadata_contains_the_facts_of_documents(hostile_archive: Path, tmp_path: Path) -> None:
    lines = {line["id"]: line for line in lines_of(hostile_archive, tmp_path / "press.jsonl")}
    snapshot = snapshot_of(hostile_archive)
    sources = snapshot.read("sources").to_pylist()
    for row in snapshot.read("documents").to_pylist():
        line = lines[row["document_id"]]
        metadata = line["metadata"]
        uris = sorted(
            source["uri"] for source in sources if source["document_id"] == row["document_id"]
        )
        assert (metadata["uri"], metadata["uris"]) == (uris[0], uris)
        for name in ("title", "author", "site", "series", "language", "published_from", "sha256"):
            assert metadata[name] == row[name]
        created = line["created"] and datetime.fromisoformat(line["created"])
        assert created == row["published_at"]
    assert TITLE.replace("\r\n", " ").replace("\u2028 ", "") in {
        line["metadata"]["title"] for line in lines.values()
    }


def test_paragraphs_give_their_spans_in_text_and_source(
    hostile_archive: Path, tmp_path: Path
) -> None:
    snapshot = snapshot_of(hostile_archive)
    occurrences = {
        (row["document_id"], row["ordinal"]): row
        for row in snapshot.read("occurrences").to_pylist()
    }
    representatives = {row["paragraph_id"]: row for row in snapshot.read("paragraphs").to_pylist()}
    representative_count = 0
    for line in lines_of(hostile_archive, tmp_path / "press.jsonl"):
        for paragraph in line["paragraphs"]:
            row = occurrences.pop((line["id"], paragraph["ordinal"]))
            assert (
                text_id_of(line["text"][paragraph["start"] : paragraph["end"]])
                == paragraph["text_id"]
            )
            for name in ("text_id", "start_char", "end_char", "start_byte", "end_byte"):
                assert paragraph[name] == row[name]
            is_at_representative = (line["id"], paragraph["ordinal"]) == (
                representatives[paragraph["paragraph_id"]]["document_id"],
                representatives[paragraph["paragraph_id"]]["ordinal"],
            )
            assert paragraph["is_representative"] == (
                is_at_representative and paragraph["text_id"] == paragraph["paragraph_id"]
            )
            representative_count += paragraph["is_representative"]
    assert not occurrences
    assert representative_count == len(representatives)


def test_deduplicated_lines_have_each_paragraph_once(hostile_archive: Path, tmp_path: Path) -> None:
    lines = lines_of(hostile_archive, tmp_path / "press.jsonl", deduplicated=True)
    rows = snapshot_of(hostile_archive).read("paragraphs").to_pylist()
    exported = [
        (line["id"], paragraph["paragraph_id"], line["text"][paragraph["start"] : paragraph["end"]])
        for line in lines
        for paragraph in line["paragraphs"]
    ]
    expected = [(row["document_id"], row["paragraph_id"], row["text"]) for row in rows]
    assert sorted(exported) == sorted(expected)
    for line in lines:
        pieces = [
            line["text"][paragraph["start"] : paragraph["end"]] for paragraph in line["paragraphs"]
        ]
        assert "\n\n".join(pieces) == line["text"] != ""


def test_documents_are_sorted_by_date_with_undated_ones_last(
    hostile_archive: Path, tmp_path: Path
) -> None:
    lines = lines_of(hostile_archive, tmp_path / "press.jsonl")
    keys = [(line["created"] is None, line["created"], line["metadata"]["uri"]) for line in lines]
    assert keys == sorted(keys, key=lambda key: (key[0], key[1] or "", key[2]))
    assert {key[0] for key in keys} == {True, False}


def test_independent_readers_read_the_same_texts(hostile_archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "press.jsonl"
    texts = {line["id"]: line["text"] for line in lines_of(hostile_archive, path)}
    frame = pd.read_json(path, lines=True, dtype=False)
    assert dict(zip(frame["id"], frame["text"], strict=True)) == texts
    table = pl.read_ndjson(path)
    assert dict(table.select("id", "text").iter_rows()) == texts
    rows = duckdb.sql(f"SELECT id, text FROM read_json('{path}')").fetchall()
    assert dict(rows) == texts


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_compressed_files_are_reproducible_and_contain_the_same_lines(
    ending: str, hostile_archive: Path, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{name}.jsonl{ending}" for name in ("one", "other")]
    for path in (tmp_path / "plain.jsonl", *paths):
        write_jsonl(snapshot_of(hostile_archive), path, "press")
    compressed = paths[0].read_bytes()
    assert compressed == paths[1].read_bytes()
    decompressed = {
        ".gz": gzip.decompress,
        ".zst": lambda data: zstandard.ZstdDecompressor().stream_reader(data).read(),
    }[ending](compressed)
    assert decompressed == (tmp_path / "plain.jsonl").read_bytes()


def test_single_document_is_exported_as_the_same_line(
    hostile_archive: Path, tmp_path: Path
) -> None:
    lines = lines_of(hostile_archive, tmp_path / "all.jsonl")
    for number, line in enumerate(lines):
        single = lines_of(hostile_archive, tmp_path / f"{number}.jsonl", document_id=line["id"])
        assert single == [line]
        text = rebuild_document(snapshot_of(hostile_archive), line["id"])
        assert (
            hashlib.sha256(line["text"].encode()).digest() == hashlib.sha256(text.encode()).digest()
        )


def test_lines_are_complete_across_batches(
    hostile_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = lines_of(hostile_archive, tmp_path / "whole.jsonl")
    monkeypatch.setattr("palimpsest.exports.streams.BATCH_ROWS", 2)
    assert lines_of(hostile_archive, tmp_path / "by-two.jsonl") == expected


def test_damaged_text_is_refused_and_no_file_is_left(hostile_archive: Path, tmp_path: Path) -> None:
    archive_path = copy_archive(hostile_archive, tmp_path / "damaged" / "press")
    rewrite(archive_path, "paragraphs", put("text", lambda text: text + "!"))
    target = tmp_path / "out" / "press.jsonl"
    target.parent.mkdir()
    with pytest.raises(ContractError, match="verify the archive for a list of all damage"):
        write_jsonl(snapshot_of(archive_path), target, "press")
    assert list(target.parent.iterdir()) == []


def test_times_are_written_in_utc() -> None:
    from palimpsest.exports.streams import iso_time

    moment = datetime(1905, 1, 2, 3, 4, 5, 6, UTC)
    assert datetime.fromisoformat(iso_time(moment)) == moment
    assert iso_time(moment) == "1905-01-02T03:04:05.000006Z"
