"""Articles in any kind of file give the same paragraphs, each with a span of its raw bytes."""

import base64
import gzip
import hashlib
import html
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from palimpsest.evidence.passages import PassageFilter, top_passages
from palimpsest.pipeline.preview import preview
from palimpsest.pipeline.remove import remove
from palimpsest.pipeline.run import run_ingest
from palimpsest.pipeline.verify import verify
from palimpsest.records.settings import ReadSettings, Settings
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.digest import digest_archive
from tests.pipeline.corpora import ingest, make_paragraph

SPECIMENS = Path(__file__).parents[1] / "specimens"
PARAGRAPHS = [
    (
        "The ferry to the island left an hour late on Monday because the harbour master had mislaid "
        "the key to the swing bridge, and forty passengers waited in the rain."
    ),
    (
        "“We have a second key,” said Mrs Öztürk of Smith & Sons, “but it hangs in the house of the "
        "man who has the first one, and he was at sea.”"
    ),
    (
        "The company will pay each passenger two crowns and a warm drink, and has promised to keep "
        "the next key near the bridge itself."
    ),
]


def as_text(paragraphs: list[str] = PARAGRAPHS) -> bytes:
    return "\n\n".join(paragraphs).encode()


def as_page(paragraphs: list[str] = PARAGRAPHS, published: str = "2024-03-04") -> bytes:
    body = "\n".join(f"<p>{html.escape(one)}</p>" for one in paragraphs)
    body = body.replace("swing bridge", "<a href=/bridge>swing&nbsp;<b>bri</b>dge</a>")
    return (
        "<!doctype html><html><head><title>Ferry late</title><meta charset=utf-8>"
        f'<meta property="article:published_time" content="{published}"></head><body>'
        f"<nav><a href=/>Home</a></nav><article>{body}</article><footer>All rights reserved</footer>"
        "</body></html>"
    ).encode()


def as_warc(*pages: bytes) -> bytes:
    records = b""
    for number, page in enumerate(pages):
        block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page
        digest = base64.b32encode(hashlib.sha1(page).digest()).decode()
        head = (
            "WARC/1.1\r\nWARC-Type: response\r\n"
            f"WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-{number:012}>\r\n"
            f"WARC-Target-URI: https://example.org/{number}\r\nWARC-Date: 2024-05-06T07:08:09Z\r\n"
            f"WARC-Payload-Digest: sha1:{digest}\r\nContent-Type: application/http\r\n"
            f"Content-Length: {len(block)}\r\n\r\n"
        )
        records += gzip.compress(head.encode() + block + b"\r\n\r\n", mtime=0)
    return records


def as_zip(members: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 2, 3, 4, 6)), raw)
    return written.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, raw in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    return folder


def rows(archive: Path, name: str) -> list[dict]:
    return snapshot_of(archive).read(name).to_pylist()


def snapshot_of(archive: Path) -> Snapshot:
    return StoredArchive(archive).snapshot()


def assert_verified(archive: Path) -> dict:
    """Check that verification passes and leaves nothing unchecked; return its checks."""
    result = verify(StoredArchive(archive), snapshot_of(archive))
    checks = {check.name: check for check in result.checks}
    assert not result.failed, result.to_dict()
    assert checks["spans"].not_checked == 0
    return checks


def test_one_article_as_text_page_web_archive_and_zip_is_one_set_of_paragraphs(tmp_path) -> None:
    folder = write(
        tmp_path / "in",
        {
            "a.txt": as_text(),
            "b.html": as_page(),
            "c.warc.gz": as_warc(as_page(published="2024-03-05")),
            "d.zip": as_zip({"deep/down.txt": as_text() + b"\n"}),
        },
    )
    summary = ingest(folder, tmp_path / "press")
    assert (summary.sources_new, summary.paragraphs_kept) == (4, 3)
    sources = rows(tmp_path / "press", "sources")
    assert sorted(row["uri"].rpartition("/in/")[2] for row in sources) == [
        "a.txt",
        "b.html",
        "c.warc.gz#offset=0",
        "d.zip#member=deep/down.txt",
    ]
    kept = rows(tmp_path / "press", "paragraphs")
    assert {row["text"] for row in kept} == set(PARAGRAPHS)
    occurrences = rows(tmp_path / "press", "occurrences")
    assert len(occurrences) == 12
    checks = assert_verified(tmp_path / "press")
    assert (checks["fixity"].passed, checks["spans"].passed) == (4, 12)


def test_provenance_of_a_page_is_the_bytes_between_its_tags(tmp_path) -> None:
    page = as_page()
    ingest(write(tmp_path / "in", {"b.html": page}), tmp_path / "press")
    first = min(rows(tmp_path / "press", "occurrences"), key=lambda row: row["ordinal"])
    start = first["start_byte"]
    pieces = [
        page[start + one : start + other]
        for one, other in zip(first["stretch_start"], first["stretch_end"], strict=True)
    ]
    assert pieces[1:3] == [b"swing&nbsp;", b"bri"] or pieces[1:3] == [b"swing", b"bri"]
    assert pieces[0].startswith(b"The ferry")
    assert page[: first["end_byte"]].endswith(b"waited in the rain.")
    document, source = (
        rows(tmp_path / "press", "documents")[0],
        rows(tmp_path / "press", "sources")[0],
    )
    assert (document["media_type"], document["extractor"]) == ("text/html", "trafilatura")
    assert (source["title"], source["language"]) == ("Ferry late", "en")
    assert source["published_at"] == datetime(2024, 3, 4, tzinfo=UTC)


def test_address_and_date_of_a_page_come_from_its_web_archive(tmp_path) -> None:
    ingest(write(tmp_path / "in", {"c.warc.gz": as_warc(as_page())}), tmp_path / "press")
    [source] = rows(tmp_path / "press", "sources")
    assert source["target_uri"] == "https://example.org/0"
    assert source["captured_at"] == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.mark.parametrize("order", [("early", "late"), ("late", "early"), ("both",)])
def test_earliest_of_two_dates_of_a_document_wins_and_both_are_kept(tmp_path, order) -> None:
    early, late = ({"date": date} for date in ("2024-03-04", "2024-03-09"))
    files = {
        name: {f"{name}.txt": as_text(), f"{name}.txt.json": json.dumps(facts).encode()}
        for name, facts in (("early", early), ("late", late))
    }
    files["both"] = files["early"] | files["late"]
    for name in order:
        ingest(write(tmp_path / name, files[name]), tmp_path / "press")
    [document] = rows(tmp_path / "press", "documents")
    assert document["published_at"] == datetime(2024, 3, 4, tzinfo=UTC)
    assert document["published_from"] == "sidecar"
    dates = {row["published_at"].day for row in rows(tmp_path / "press", "sources")}
    assert dates == {4, 9}
    assert {row["published_at"].day for row in rows(tmp_path / "press", "paragraphs")} == {4}
    assert_verified(tmp_path / "press")


def test_order_and_packing_do_not_change_the_tables(tmp_path) -> None:
    shared = [make_paragraph(number) for number in range(4)]
    texts = {
        f"{number}.txt": f"Date: 2024-03-0{number + 1}\n\n".encode()
        + as_text([shared[number], shared[(number + 1) % 4], make_paragraph(10 + number)])
        for number in range(4)
    }
    pages = [as_page([*shared[number : number + 2], make_paragraph(20)]) for number in range(2)]
    plain = write(tmp_path / "plain", texts | {"p0.html": pages[0], "p1.html": pages[1]})
    packed = write(tmp_path / "packed", {"all.zip": as_zip(texts), "web.warc.gz": as_warc(*pages)})
    ingest(plain, tmp_path / "one")
    ingest(packed, tmp_path / "one")
    for name in ("web.warc.gz", "all.zip"):
        ingest(packed / name, tmp_path / "other")
    for path in sorted(plain.iterdir(), reverse=True):
        ingest(path, tmp_path / "other")
    assert len({digest_archive(snapshot_of(tmp_path / name)) for name in ("one", "other")}) == 1
    again = ingest([plain, packed], tmp_path / "one")
    assert (again.version, again.sources_known) == (None, 12)


def test_grown_container_is_read_again_for_its_new_members(tmp_path) -> None:
    lines = [json.dumps({"text": make_paragraph(number)}) for number in range(3)]
    folder = write(tmp_path / "in", {"a.jsonl": "\n".join(lines[:2]).encode() + b"\n"})
    assert ingest(folder, tmp_path / "press").sources_new == 2
    write(folder, {"a.jsonl": "\n".join(lines).encode() + b"\n"})
    summary = ingest(folder, tmp_path / "press")
    assert (summary.sources_new, summary.sources_known, summary.documents_new) == (1, 2, 1)
    assert len(rows(tmp_path / "press", "sources")) == 3
    assert_verified(tmp_path / "press")


def test_removed_member_is_not_ingested_again_and_the_others_stay(tmp_path) -> None:
    members = {f"{number}.txt": make_paragraph(number).encode() for number in range(3)}
    folder = write(tmp_path / "in", {"a.zip": as_zip(members)})
    ingest(folder, tmp_path / "press")
    remove(tmp_path / "press", [(folder / "a.zip").as_uri() + "#member=1.txt"], "asked for")
    assert ingest(folder, tmp_path / "press").version is None
    left = {row["uri"].partition("#")[2] for row in rows(tmp_path / "press", "sources")}
    assert left == {"member=0.txt", "member=2.txt"}


def test_all_specimens_verify_down_to_their_bytes(tmp_path) -> None:
    summary = ingest(SPECIMENS, tmp_path / "press")
    assert summary.paragraphs_unanchored == 0
    assert summary.sources_found == summary.sources_new + summary.sources_rejected
    checks = assert_verified(tmp_path / "press")
    assert checks["spans"].passed > 100


def test_wrong_anchor_fails(tmp_path) -> None:
    folder = write(tmp_path / "in", {"b.html": as_page()})
    ingest(folder, tmp_path / "press")
    page = (folder / "b.html").read_bytes()
    write(folder, {"b.html": page.replace(b"an hour late", b"an hour soon")})
    result = verify(StoredArchive(tmp_path / "press"), snapshot_of(tmp_path / "press"))
    assert {check.name for check in result.checks if check.failed} >= {"fixity"}


def test_dates_and_series_come_from_paths_if_nothing_else_states_them(tmp_path) -> None:
    folder = write(
        tmp_path / "in",
        {
            "talbote/20240304/a.txt": make_paragraph(1).encode(),
            "umschau/20240305/b.txt": b"Date: 2024-01-01\n\n" + make_paragraph(1).encode(),
            "umschau/20240306/c.txt": make_paragraph(1).encode() + b"\n",
        },
    )
    read = ReadSettings(date_from_path="%Y%m%d", series="@folder")
    ingest(folder, tmp_path / "press", Settings(read=read))
    result = {row["uri"][-5:]: row for row in rows(tmp_path / "press", "sources")}
    assert [result[name]["published_from"] for name in ("a.txt", "b.txt")] == ["path", "header"]
    assert result["a.txt"]["published_at"] == datetime(2024, 3, 4, tzinfo=UTC)
    assert result["a.txt"]["series"] == "20240304"


def test_passages_within_a_series_can_be_left_out(tmp_path) -> None:
    masthead = make_paragraph(1)
    for series in ("talbote", "umschau"):
        files = {
            f"{number}.txt": as_text([masthead, make_paragraph(100 + number + 10 * len(series))])
            for number in range(2)
        }
        folder = write(tmp_path / series, files)
        ingest(folder, tmp_path / "press", Settings(read=ReadSettings(series=series)))
    ingest(
        write(tmp_path / "gazette", {"g.txt": as_text([masthead])}),
        tmp_path / "press",
        Settings(read=ReadSettings(series="gazette")),
    )
    snapshot = snapshot_of(tmp_path / "press")
    everything = top_passages(snapshot, PassageFilter(), 100)
    across = top_passages(snapshot, PassageFilter(across_series=True), 100)
    assert 0 < across.num_rows < everything.num_rows


def test_preview_shows_what_a_run_would_do_and_changes_nothing(tmp_path) -> None:
    folder = write(
        tmp_path / "in", {"a.txt": as_text(), "b.html": as_page(), "c.zip": as_zip({"x.txt": b""})}
    )
    result = preview([str(folder)], tmp_path / "press", Settings())
    assert not (tmp_path / "press").exists()
    summary = ingest(folder, tmp_path / "press")
    assert len(result["sources"]) == summary.sources_new == 2
    assert [row["reason"] for row in result["rejects"]] == ["empty"]
    assert {row["media_type"] for row in result["sources"]} == {"text/plain", "text/html"}
    before = digest_archive(snapshot_of(tmp_path / "press"))
    again = preview([str(folder)], tmp_path / "press", Settings())
    assert (again["known"], again["sources"]) == (3, [])
    assert digest_archive(snapshot_of(tmp_path / "press")) == before


class Web(SimpleHTTPRequestHandler):
    """Serves a folder; the status codes in ``answers`` are sent first, by path."""

    answers: ClassVar[dict[str, list[int]]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.answers.get(self.path):
            self.send_error(self.answers[self.path].pop(0))
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(tmp_path, monkeypatch) -> Iterator[str]:
    """The address of a web server that serves the folder ``web``."""
    (tmp_path / "web").mkdir()
    Web.answers, Web.asked = {}, []
    monkeypatch.setattr("palimpsest.ingest.finding.remote._pause", lambda _: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Web, directory=tmp_path / "web"))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_sources_on_the_web_are_read_as_files_are(tmp_path, web) -> None:
    write(tmp_path / "web", {"b.html": as_page(), "t.txt.gz": gzip.compress(as_text())})
    addresses = [f"{web}/{name}" for name in ("b.html", "t.txt.gz", "missing.txt")]
    summary = run_ingest(addresses, tmp_path / "press", Settings())
    assert (summary.sources_new, summary.sources_rejected) == (2, 1)
    assert {row["uri"] for row in rows(tmp_path / "press", "sources")} == {
        f"{web}/b.html",
        f"{web}/t.txt.gz",
    }
    [reject] = rows(tmp_path / "press", "rejects")
    assert reject["reason"] == "vanished"
    checks = assert_verified(tmp_path / "press")
    assert checks["spans"].passed == 6


def test_only_temporary_failures_are_retried(tmp_path, web) -> None:
    for name in ("slow", "closed", "broken"):
        write(tmp_path / "web", {f"{name}.txt": as_text([make_paragraph(len(name))])})
    Web.answers = {"/slow.txt": [503, 429], "/closed.txt": [403] * 9, "/broken.txt": [500] * 99}
    addresses = [f"{web}/{name}.txt" for name in ("slow", "closed", "broken")]
    summary = run_ingest(addresses, tmp_path / "press", Settings())
    assert (summary.sources_new, summary.sources_rejected) == (1, 2)
    result = {row["uri"][-10:]: row["reason"] for row in rows(tmp_path / "press", "rejects")}
    assert result == {"closed.txt": "no-permission", "broken.txt": "unreachable"}
    assert Web.asked.count("/closed.txt") == 1
    Web.answers = {}
    again = run_ingest(addresses, tmp_path / "press", Settings())
    assert again.sources_new == 2  # both may have passed by the next run


def test_sources_in_an_object_store_are_read_as_files_are(tmp_path, s3) -> None:
    import boto3

    client = boto3.client("s3", endpoint_url=s3.url)
    for name, raw in {"in/a.txt": as_text(), "in/b/c.html": as_page()}.items():
        client.put_object(Bucket=s3.bucket, Key=f"{tmp_path.name}/{name}", Body=raw)
    address = f"s3://{s3.bucket}/{tmp_path.name}/in"
    summary = run_ingest([address], tmp_path / "press", Settings())
    assert (summary.sources_new, summary.paragraphs_kept) == (2, 3)
    assert_verified(tmp_path / "press")


def test_tar_of_everything_nested_verifies(tmp_path) -> None:
    inner = as_zip({"x.warc.gz": as_warc(as_page()), "y.txt.gz": gzip.compress(as_text())})
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:xz") as archive:
        for name, raw in {"i.zip": inner, "l.jsonl": b'{"text": "A line alone."}\n'}.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    ingest(write(tmp_path / "in", {"all.tar.xz": written.getvalue()}), tmp_path / "press")
    assert sorted(row["uri"].partition("#")[2] for row in rows(tmp_path / "press", "sources")) == [
        "member=i.zip&member=x.warc.gz&offset=0",
        "member=i.zip&member=y.txt.gz",
        "member=l.jsonl&offset=0",
    ]
    assert_verified(tmp_path / "press")
