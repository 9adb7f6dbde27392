"""Grow an archive of dated articles, and print what it contains: ``python -m tests.pipeline.time_zones``.

The test runs it in a process of its own, since DuckDB reads the time zone of the machine once.
"""

from __future__ import annotations

import csv
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from palimpsest import Archive as PublicArchive
from palimpsest.exports.csvw import write_csv
from palimpsest.exports.jsonl import write_jsonl
from palimpsest.exports.prov import write_prov
from palimpsest.inspector.catalogue.build import build_catalogue
from palimpsest.inspector.catalogue.read import open_catalogue
from palimpsest.records.settings import ReadSettings
from palimpsest.store.archive import StoredArchive
from palimpsest.store.views import connect
from tests.pipeline.corpora import ingest, make_paragraph, settings_of, write_articles

FIRST = {
    "2024-03-04/a.txt": [make_paragraph(1), make_paragraph(2)],
    "2024-03-05/b.txt": [make_paragraph(1, edit=2), make_paragraph(3)],
}
LATER = {"2024-03-06/c.txt": [make_paragraph(1, edit=3), make_paragraph(4)]}


def rewritten(archive: Path, folder: Path) -> list[str]:
    """Ingest two articles that share a paragraph, then one more.

    Returns:
        what the second run wrote again although it had not changed: rows and files.
    """
    settings = settings_of(read=ReadSettings(date_from_path="%Y-%m-%d"))
    first = ingest(write_articles(folder, FIRST), archive, settings)
    old = StoredArchive(archive).snapshot()
    ingest(write_articles(folder, LATER), archive, settings)
    new = StoredArchive(archive).snapshot()
    again = []
    for name, key in (("paragraphs", "paragraph_id"), ("variants", "text_id")):
        known = set(old.read(name).column(key).to_pylist())
        again += [
            f"{name}: {row[key]}"
            for row in new.read(name).to_pylist()
            if row[key] in known and row["run_id"] != first.run_id
        ]
        files = {path.name for path in new.files(name)}
        again += [f"{name}: {path.name}" for path in old.files(name) if path.name not in files]
    return again


def dates_shown(archive: Path, folder: Path) -> dict[str, list[Any]]:
    """Return the dates of the documents as each export, page and query shows them."""
    snapshot, public = StoredArchive(archive).snapshot(), PublicArchive(archive)
    write_jsonl(snapshot, folder / "press.jsonl", "press")
    write_prov(snapshot, folder / "prov.json")
    write_csv(snapshot, folder / "csv", None)
    build_catalogue(snapshot, folder / "catalogue")
    lines = (folder / "press.jsonl").read_text().splitlines()
    entities = json.loads((folder / "prov.json").read_text())["entity"].values()
    with (folder / "csv" / "documents.csv").open(newline="") as file:
        in_csv = [row["published_at"] for row in csv.DictReader(file)]
    with closing(open_catalogue(folder / "catalogue")) as catalogue:
        in_catalogue = [
            tuple(row) for row in catalogue.execute("SELECT published_at FROM documents")
        ]
    day = "date_trunc('day', published_at)"
    shown: dict[str, list[Any]] = {
        "jsonl": [json.loads(line)["created"] for line in lines],
        "prov": [one["dcterms:issued"]["$"] for one in entities if "dcterms:issued" in one],
        "csv": in_csv,
        "catalogue": in_catalogue,
        "sql": public.sql(f"SELECT {day}::VARCHAR FROM documents").column(0).to_pylist(),
        "passages": public.passages().column("left_published_at").to_pylist(),
        "since": public.documents(since="2024-03-05").column("published_at").to_pylist(),
    }
    with connect(snapshot) as connection:
        found = connection.sql(f"SELECT published_at, {day}::VARCHAR AS day FROM documents")
        table = found.to_arrow_table()
    shown["type"] = [str(table.schema.field("published_at").type)]
    shown["day"] = table.column("day").to_pylist()
    return {name: sorted(map(str, values)) for name, values in shown.items()}


def main(folder: Path) -> None:
    archive = folder / "press"
    again = rewritten(archive, folder / "in")
    print(json.dumps({"rewritten": again, "dates": dates_shown(archive, folder)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
