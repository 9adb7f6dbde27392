"""An archive with text that is likely to trouble readers of exports."""

import json
from pathlib import Path
from typing import Any

from palimpsest.store.archive import Snapshot, StoredArchive
from tests.pipeline.corpora import ingest, make_paragraph, make_words
from tests.pipeline.test_sources import as_warc

QUOTES = f'He said "no", she said ""yes""; {make_paragraph(1)} \\"quoted\\" \'twice\''
FORMULA = f'=HYPERLINK("https://example.org"), {" ".join(make_words(2))}'
ASTRAL = f"😀 𝒜𠀀 e\u0301\u0323 {make_paragraph(3)} 👩‍👩‍👧 end"
RIGHT_TO_LEFT = f"\u202bשלום עולם\u202c مرحبا \u200f{make_paragraph(4)} سلام"
BROKEN = f"one\x01 two\x1b[31m\ufffd <b>&amp;</b> {make_paragraph(5)} \x7f end"
SHARED = [QUOTES, FORMULA, ASTRAL, RIGHT_TO_LEFT, BROKEN]
TITLE = 'A "title", with\r\na break, \x00 nothing, and a \u2028 line'
SEPARATORS = f"-1+1 tab\tand\x0b form feed\x0c file\x1c next\x85 {make_paragraph(6)}"


def make_hostile(folder: Path) -> Path:
    """Return the path of an archive of articles that share paragraphs, in several formats."""
    sources = folder / "in"
    (sources / "a b").mkdir(parents=True)
    all_paragraphs = "\n\n".join(["=cmd|' /C calc'!A0", *SHARED, SEPARATORS])
    (sources / "a b" / "first 100%.txt").write_bytes(b"2024-01-02\n\n" + all_paragraphs.encode())
    wrapped = "\r\n\r\n".join(paragraph.replace(" ", "\r\n", 3) for paragraph in SHARED[1:])
    (sources / "second, \"quoted\" 'é'.txt").write_bytes(wrapped.encode("utf-16"))
    edited = [paragraph.replace(" ", "  ", 9) + " and with the" for paragraph in SHARED]
    lines: list[dict[str, Any]] = [
        {"text": "\n\n".join(edited), "title": TITLE, "author": "@SUM(1+1)", "date": "2024-01-03"},
        {"text": f"Alone. {make_paragraph(7)}\n\n{make_paragraph(8)}", "title": "null"},
    ]
    json_lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (sources / "lines.jsonl").write_bytes(json_lines.encode())
    body = "".join(f"<p>{make_paragraph(seed)}</p>" for seed in (1, 3, 20, 21))
    page = (
        f"<!doctype html><html><head><title>P</title></head><body><article>{body}</article></body>"
    )
    (sources / "pages.warc.gz").write_bytes(as_warc(f"{page}</html>".encode()))
    (sources / "empty.txt").write_bytes(b"")
    ingest(sources, folder / "press")
    return folder / "press"


def snapshot_of(archive_path: Path) -> Snapshot:
    """Return the newest published version."""
    return StoredArchive(archive_path).snapshot()
