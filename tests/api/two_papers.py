"""An archive of two papers, made in two runs, whose articles have dates and series."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from palimpsest.records.settings import parse_settings
from tests.pipeline.corpora import ingest, make_paragraph, write_articles

SETTINGS = parse_settings({"read": {"date_from_path": "%Y-%m-%d", "series": "@folder"}})


def articles() -> dict[str, dict[str, list[str]]]:
    """Return the articles of each paper: the second takes from the first, and from itself."""
    notice = make_paragraph(90, 30)
    return {
        "tidings": {
            "tidings/2024-11-12-bridge.txt": [
                "The Bridge", make_paragraph(1), make_paragraph(2), notice,
            ],
            "tidings/2024-11-13-pier.txt": [
                "The Pier", make_paragraph(3), make_paragraph(1, edit=3), notice,
            ],
            "tidings/no-day.txt": ["A note", make_paragraph(4)],
            "tidings/empty.txt": [],
        },
        "echo": {
            "echo/2024-11-14-column.txt": [
                "Column", make_paragraph(1, edit=5), make_paragraph(5), notice,
            ],
            "echo/2024-11-15-letter.txt": ["Letter", make_paragraph(5), make_paragraph(6)],
        },
    }  # fmt: skip


def make_shelf(place: Path) -> Path:
    """Return the archive ``press`` in a folder, made of the articles in ``in``; two versions."""
    for paper, written in articles().items():
        write_articles(place / "in", written)
        (place / "in" / "tidings" / "empty.txt").write_bytes(b"")
        ingest(place / "in" / paper, place / "press", SETTINGS)
    return place / "press"


def plain(archive: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows of a table as any reader sees them, who knows nothing of us."""
    rows: list[dict[str, Any]] = pq.read_table(archive / name).to_pylist()
    return rows
