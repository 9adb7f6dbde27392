"""Articles that try to break out of a page, and an archive of them."""

import os
from pathlib import Path

from palimpsest.inspector.catalogue import Catalogue, build_catalogue
from palimpsest.records.settings import ReadSettings
from palimpsest.store.archive import Snapshot, StoredArchive
from tests.pipeline.corpora import ingest, make_paragraph, settings_of, write_articles

SCRIPT = "<script>window.ran = 1</script>"
IMAGE = '"><img src=x onerror="window.ran=2">'
END = "</style></script><script>window.ran = 3</script>"
COMMENT = "<!-- <iframe src=//example.org> {{ 7 * 7 }} {% raw %} --!> ]]> &lt;b&gt;"
RTL = "\u202e\u0643\u062a\u0628 <b onclick=window.ran=4> \u0639\u0644\u0649"
HOSTILE = (SCRIPT, IMAGE, END, COMMENT, RTL)
TITLE = f"Title {SCRIPT} {IMAGE}"


def hostile_articles(folder: Path) -> Path:
    """Write dated articles whose names, titles and texts are markup, and which share passages."""
    texts = [f"{one} {make_paragraph(number)} {one}" for number, one in enumerate(HOSTILE)]
    edited = [f"{one} {make_paragraph(n, edit=4)} {one}" for n, one in enumerate(HOSTILE)]
    articles = {
        "20240501 <script>window.ran=5<script>.txt": [TITLE, *texts, make_paragraph(20)],
        '20240502 "><img src=x onerror=window.ran=6>.txt': [TITLE, make_paragraph(21), *edited],
        "20240503 &amp;'.txt": [TITLE, make_paragraph(22), *texts[:2], make_paragraph(23)],
        "20240504.txt": [make_paragraph(24), texts[0], texts[3]],
        '<svg onload="window.ran=7">.txt': [],
    }
    write_articles(folder, articles)
    (folder / "20240504.txt").rename(
        folder / os.fsdecode(b"20240505 \xff \xed\xa0\x80 \xe2\x80\xa8.txt")
    )
    return folder


def hostile_archive(place: Path) -> Path:
    """Return an archive of these articles, made in two runs; one source is rejected."""
    folder = hostile_articles(place / "in")
    settings = settings_of(read=ReadSettings(date_from_path="%Y%m%d"))
    archive = place / "press"
    ingest(sorted(folder.iterdir())[:2], archive, settings)
    ingest(folder, archive, settings)
    return archive


def catalogue_of(snapshot: Snapshot, folder: Path) -> Catalogue:
    """Return a catalogue of a version, made in a folder."""
    path = folder / f"{snapshot.manifest.version}.sqlite"
    build_catalogue(snapshot, path)
    return Catalogue(path, snapshot)


def snapshot_of(archive: Path) -> Snapshot:
    return StoredArchive(archive).snapshot()
