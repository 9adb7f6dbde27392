"""Documents as JSON Lines: the text is the document's, and readers of others agree."""

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


def lines_of(archive: Path, target: Path, **more: Any) -> list[dict[str, Any]]:
    write_jsonl(snapshot_of(archive), target, "press", **more)
    return [json.loads(line) for line in target.read_bytes().split(b"\n")[:-1]]


def test_each_document_is_a_line_with_its_whole_text(hostile: Path, tmp_path: Path) -> None:
    lines = lines_of(hostile, tmp_path / "press.jsonl")
    assert {line["id"]: line["text"] for line in lines} == rebuilt_documents(snapshot_of(hostile))
    for line in lines:
        assert list(line) == ["id", "text", "source", "created", "metadata", "paragraphs"]
        assert line["source"] == "press"


def test_facts_of_documents_are_in_the_metadata(hostile: Path, tmp_path: Path) -> None:
    lines = {line["id"]: line for line in lines_of(hostile, tmp_path / "press.jsonl")}
    snapshot = snapshot_of(hostile)
    sources = snapshot.read("sources").to_pylist()
    for row in snapshot.read("documents").to_pylist():
        line = lines[row["document_id"]]
        told = line["metadata"]
        uris = sorted(one["uri"] for one in sources if one["document_id"] == row["document_id"])
        assert (told["uri"], told["uris"]) == (uris[0], uris)
        for name in ("title", "author", "site", "series", "language", "published_from", "sha256"):
            assert told[name] == row[name]
        created = line["created"] and datetime.fromisoformat(line["created"])
        assert created == row["published_at"]
    assert TITLE.replace("\r\n", " ").replace("\u2028 ", "") in {
        line["metadata"]["title"] for line in lines.values()
    }


def test_paragraphs_tell_where_they_are_in_text_and_document(hostile: Path, tmp_path: Path) -> None:
    snapshot = snapshot_of(hostile)
    places = {
        (row["document_id"], row["ordinal"]): row
        for row in snapshot.read("occurrences").to_pylist()
    }
    kept = {row["paragraph_id"]: row for row in snapshot.read("paragraphs").to_pylist()}
    representatives = 0
    for line in lines_of(hostile, tmp_path / "press.jsonl"):
        for one in line["paragraphs"]:
            row = places.pop((line["id"], one["ordinal"]))
            assert text_id_of(line["text"][one["start"] : one["end"]]) == one["text_id"]
            for name in ("text_id", "start_char", "end_char", "start_byte", "end_byte"):
                assert one[name] == row[name]
            is_there = (line["id"], one["ordinal"]) == (
                kept[one["paragraph_id"]]["document_id"],
                kept[one["paragraph_id"]]["ordinal"],
            )
            assert one["is_representative"] == (is_there and one["text_id"] == one["paragraph_id"])
            representatives += one["is_representative"]
    assert not places
    assert representatives == len(kept)


def test_deduplicated_lines_have_each_paragraph_once(hostile: Path, tmp_path: Path) -> None:
    lines = lines_of(hostile, tmp_path / "press.jsonl", deduplicated=True)
    rows = snapshot_of(hostile).read("paragraphs").to_pylist()
    told = [
        (line["id"], one["paragraph_id"], line["text"][one["start"] : one["end"]])
        for line in lines
        for one in line["paragraphs"]
    ]
    kept = [(row["document_id"], row["paragraph_id"], row["text"]) for row in rows]
    assert sorted(told) == sorted(kept)
    for line in lines:
        pieces = [line["text"][one["start"] : one["end"]] for one in line["paragraphs"]]
        assert "\n\n".join(pieces) == line["text"] != ""


def test_documents_come_by_date_and_undated_ones_last(hostile: Path, tmp_path: Path) -> None:
    lines = lines_of(hostile, tmp_path / "press.jsonl")
    keys = [(one["created"] is None, one["created"], one["metadata"]["uri"]) for one in lines]
    assert keys == sorted(keys, key=lambda key: (key[0], key[1] or "", key[2]))
    assert {key[0] for key in keys} == {True, False}


def test_other_readers_read_the_same(hostile: Path, tmp_path: Path) -> None:
    path = tmp_path / "press.jsonl"
    texts = {line["id"]: line["text"] for line in lines_of(hostile, path)}
    frame = pd.read_json(path, lines=True, dtype=False)
    assert dict(zip(frame["id"], frame["text"], strict=True)) == texts
    table = pl.read_ndjson(path)
    assert dict(table.select("id", "text").iter_rows()) == texts
    rows = duckdb.sql(f"SELECT id, text FROM read_json('{path}')").fetchall()
    assert dict(rows) == texts


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_compressed_lines_are_the_same_and_the_same_each_time(
    ending: str, hostile: Path, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{name}.jsonl{ending}" for name in ("one", "other")]
    for path in (tmp_path / "plain.jsonl", *paths):
        write_jsonl(snapshot_of(hostile), path, "press")
    packed = paths[0].read_bytes()
    assert packed == paths[1].read_bytes()
    unpacked = {
        ".gz": gzip.decompress,
        ".zst": lambda held: zstandard.ZstdDecompressor().stream_reader(held).read(),
    }[ending](packed)
    assert unpacked == (tmp_path / "plain.jsonl").read_bytes()


def test_one_document_alone_is_the_line_that_it_is_among_all(hostile: Path, tmp_path: Path) -> None:
    lines = lines_of(hostile, tmp_path / "all.jsonl")
    for number, line in enumerate(lines):
        alone = lines_of(hostile, tmp_path / f"{number}.jsonl", document_id=line["id"])
        assert alone == [line]
        text = rebuild_document(snapshot_of(hostile), line["id"])
        assert (
            hashlib.sha256(line["text"].encode()).digest() == hashlib.sha256(text.encode()).digest()
        )


def test_more_lines_than_a_batch_of_rows_are_whole(
    hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lines_of(hostile, tmp_path / "whole.jsonl")
    monkeypatch.setattr("palimpsest.exports.streams.BATCH_ROWS", 2)
    assert lines_of(hostile, tmp_path / "by-two.jsonl") == whole


def test_damaged_text_is_refused_and_nothing_is_left(hostile: Path, tmp_path: Path) -> None:
    archive = copy_archive(hostile, tmp_path / "damaged" / "press")
    rewrite(archive, "paragraphs", put("text", lambda text: text + "!"))
    target = tmp_path / "out" / "press.jsonl"
    target.parent.mkdir()
    with pytest.raises(ContractError, match="verify the archive for a list of all damage"):
        write_jsonl(snapshot_of(archive), target, "press")
    assert list(target.parent.iterdir()) == []


def test_moments_are_told_in_utc() -> None:
    from palimpsest.exports.streams import iso_time

    moment = datetime(1905, 1, 2, 3, 4, 5, 6, UTC)
    assert datetime.fromisoformat(iso_time(moment)) == moment
    assert iso_time(moment) == "1905-01-02T03:04:05.000006Z"
