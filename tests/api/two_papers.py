"""An archive of two papers, ingested in two runs, whose articles have dates and series."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from palimpsest.records.settings import parse_settings
from tests.pipeline.corpora import ingest, make_paragraph, write_articles

SETTINGS = parse_settings({"read": {"date_from_path": "%Y-%m-%d", "series": "@folder"}})


def articles() -> dict[str, dict[str, list[str]]]:
    """Return the articles of each paper: the second reuses text of the first and of its own."""
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


def make_archive(folder: Path) -> Path:
    """Return the path of the archive ``press`` of the articles in ``in``; it has two versions."""
    for paper, paper_articles in articles().items():
        write_articles(folder / "in", paper_articles)
        (folder / "in" / "tidings" / "empty.txt").write_bytes(b"")
        ingest(folder / "in" / paper, folder / "press", SETTINGS)
    return folder / "press"


def read_rows(archive_path: Path, table: str) -> list[dict[str, Any]]:
    """Return the rows of a table as pyarrow alone reads them from the Parquet files."""
    rows: list[dict[str, Any]] = pq.read_table(archive_path / table).to_pylist()
    return rows
