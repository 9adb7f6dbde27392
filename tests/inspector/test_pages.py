"""Every page and its JSON twin: their values, what they refuse, and their headers."""

import gzip
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from lxml import html
from starlette.testclient import TestClient

from palimpsest.inspector.catalogue.read import Catalogue, DocumentQuery
from palimpsest.inspector.pages import views
from palimpsest.inspector.pages.app import Options, create_app
from palimpsest.inspector.pages.current import CurrentCatalogue
from palimpsest.inspector.pages.guard import HEADERS
from palimpsest.store.archive import StoredArchive
from tests.inspector.sample_archives import catalogue_of
from tests.pipeline.corpora import ingest, make_paragraph, make_variants, write_articles
from tests.pipeline.test_sources import as_warc, as_zip


class FixedCatalogue(CurrentCatalogue):
    """A catalogue that never changes."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(StoredArchive("nowhere"), 1)
        self._shown = catalogue


def client_of(catalogue: Catalogue, **options: Any) -> TestClient:
    app = create_app(FixedCatalogue(catalogue), Options("press", **options))
    return TestClient(app, "http://127.0.0.1:8470", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client(mixed_catalogue: Catalogue) -> Iterator[TestClient]:
    with client_of(mixed_catalogue) as client:
        yield client


@pytest.fixture(scope="module")
def pair(mixed_catalogue: Catalogue) -> tuple[str, str]:
    """Two documents that share passages."""
    [first, *_] = mixed_catalogue.overview()["pairs"]
    return first["left"]["document_id"], first["right"]["document_id"]


def texts_that_overlap(catalogue: Catalogue) -> tuple[str, str]:
    row = catalogue.snapshot.read("overlaps").to_pylist()[0]
    return row["left_text_id"], row["right_text_id"]


def paths_of(catalogue: Catalogue, pair: tuple[str, str]) -> dict[str, Callable[[], Any]]:
    """Return the path of a page of each kind, and more of some, with what it tells."""
    left, right = pair
    texts = texts_that_overlap(catalogue)
    page = next(
        row["document_id"]
        for row in catalogue.search(DocumentQuery(), 1000)[1]
        if row["uri"].endswith(".html")
    )
    cluster = catalogue.overview()["reused"][0]["text_id"]
    asked = DocumentQuery(words="the bridge", order="relevance")
    return {
        "/": lambda: views.overview(catalogue),
        "/documents": lambda: views.documents(catalogue, DocumentQuery()),
        "/documents?page=2": lambda: views.documents(catalogue, DocumentQuery(), 2),
        "/documents?words=the+bridge": lambda: views.documents(catalogue, asked),
        "/documents?order=latest&since=2024&until=2024-11-13&reuse=1&origin=paper": lambda: (
            views.documents(
                catalogue, DocumentQuery("", "paper", "2024", "2024-11-13", 0.01, "latest")
            )
        ),
        f"/documents/{left}": lambda: views.document(catalogue, left),
        f"/documents/{page}": lambda: views.document(catalogue, page),
        f"/documents/{left}/bytes/1": lambda: views.excerpt(catalogue, left, 1),
        f"/documents/{page}/bytes/1": lambda: views.excerpt(catalogue, page, 1),
        f"/compare/{left}/{right}": lambda: views.compare(catalogue, left, right),
        f"/compare/{right}/{left}": lambda: views.compare(catalogue, right, left),
        f"/compare/{left}/{page}": lambda: views.compare(catalogue, left, page),
        f"/paragraphs/{cluster}": lambda: views.paragraph(catalogue, cluster),
        f"/paragraphs/{texts[1]}": lambda: views.paragraph(catalogue, texts[1]),
        f"/explain/documents/{left}/{right}": lambda: views.explain(
            catalogue, "document", left, right
        ),
        f"/explain/documents/{left}/{page}": lambda: views.explain(
            catalogue, "document", left, page
        ),
        f"/explain/texts/{texts[0]}/{texts[1]}": lambda: views.explain(catalogue, "text", *texts),
        "/rejects": lambda: views.rejects(catalogue),
        "/rejects?reason=empty": lambda: views.rejects(catalogue, "empty"),
    }


def twin_of(path: str) -> str:
    page, mark, query = path.partition("?")
    return ("/index.json" if page == "/" else f"{page}.json") + mark + query


def plain(values: Any) -> Any:
    """Return values as they come back from JSON."""
    return json.loads(json.dumps(values, default=str))


def test_every_page_has_a_twin_with_the_same_values(
    client: TestClient, mixed_catalogue: Catalogue, pair: tuple[str, str]
) -> None:
    for path, view in paths_of(mixed_catalogue, pair).items():
        page, twin = client.get(path), client.get(twin_of(path))
        assert (page.status_code, twin.status_code) == (200, 200), path
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert twin.headers["content-type"] == "application/json"
        values, expected = twin.json(), plain(view())
        assert values == {**values, **expected}, path
        assert set(values) - set(expected) <= {"origins", "origin_by"}
        [link] = html.fromstring(page.text).xpath('//footer//a[text()="This page as JSON"]')
        assert link.get("href") == twin_of(path)
        head = client.head(path)
        assert (head.status_code, head.content) == (200, b"")


def test_every_link_of_a_page_leads_somewhere(
    client: TestClient, mixed_catalogue: Catalogue, pair: tuple[str, str]
) -> None:
    followed: set[str] = set()
    for path in paths_of(mixed_catalogue, pair):
        page = html.fromstring(client.get(path).text)
        ids = set(page.xpath("//@id"))
        assert len(ids) == len(page.xpath("//@id")), path
        for link in page.xpath("//@href"):
            target, _, fragment = str(link).partition("#")
            assert target.startswith("/") or not target, link
            if fragment and target in ("", path):
                assert fragment in ids, (path, link)
            followed.add(target)
    followed.discard("")
    kinds: dict[str, list[str]] = {}
    for one in sorted(followed):
        kinds.setdefault(re.sub("[0-9a-f]{32}|[0-9]+", "N", one), []).append(one)
    assert len(kinds) > 10
    for some in kinds.values():
        for one in some[:3]:
            assert client.get(one).status_code == 200, one


def test_links_with_a_fragment_lead_to_an_existing_element(
    client: TestClient, pair: tuple[str, str]
) -> None:
    page = html.fromstring(client.get(f"/documents/{pair[0]}").text)
    links = {str(one) for one in page.xpath("//article//a/@href") if "/compare/" in str(one)}
    assert links
    for link in links:
        target, _, fragment = link.partition("#")
        assert html.fromstring(client.get(target).text).xpath("//*[@id=$id]", id=fragment), link


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/documents/0123456789abcdef0123456789abcdef",
        "/documents/'",
        "/documents/%00",
        "/documents/a%2Fb",
        "/documents/0123456789abcdef0123456789abcdef/bytes/0",
        "/documents/{left}/bytes/100000",
        "/documents/{left}/bytes/2147483647",
        "/documents/0123456789abcdef0123456789abcdef/raw",
        "/compare/{left}/0123456789abcdef0123456789abcdef",
        "/compare/x/{left}",
        "/paragraphs/{left}",
        "/paragraphs/x",
        "/explain/texts/{left}/x",
        "/explain/documents/{left}/x",
        "/explain/anything/{left}/x",
        "/documents/",
        "/static/",
        "/static/nothing.css",
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/..%5capp.py",
        "/static/%2fetc/passwd",
        "/static//etc/passwd",
        "/static/%00",
        "/documents/%2e%2e",
        "/documents/..%2f..%2f..%2fetc%2fpasswd",
        "/documents/..%2f..%2fetc%2fpasswd/raw",
        "/documents/file:%2f%2f%2fetc%2fpasswd/raw",
    ],
)
def test_unknown_addresses_are_404(client: TestClient, pair: tuple[str, str], path: str) -> None:
    path = path.replace("{left}", pair[0])
    answer = client.get(path)
    assert answer.status_code == 404
    page = html.fromstring(answer.text)
    assert page.xpath("string(//h1)") == "Not in this archive"
    assert page.xpath("string(//main/p)").strip()
    assert "root:" not in answer.text
    assert "import" not in answer.text


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/documents?page=0", "page '0': expected a whole number from 1"),
        ("/documents?page=-1", "page"),
        ("/documents?page=x", "page"),
        ("/documents?page=1e3", "page"),
        ("/documents?page=٣", "page"),
        (f"/documents?page={'9' * 5000}", "page"),
        ("/documents?reuse=101", "reuse"),
        ("/documents?reuse=abc", "reuse"),
        ("/documents?order=none", "order 'none': expected one of date, latest"),
        ("/documents?order=d.number;--", "order"),
        ("/documents?since=yesterday", "since 'yesterday': expected a day, month or year"),
        ("/documents?until=12.11.2024", "until"),
        ("/documents?until=2024-1", "until"),
        ("/rejects?page=zero", "page"),
        ("/compare/{left}/{left}", "both sides are the same document"),
        ("/explain/documents/{left}/{left}", "both sides are the same document"),
        ("/documents/{left}/bytes/x", "paragraph 'x': expected a whole number"),
        ("/documents/{left}/bytes/-1", "paragraph"),
        ("/documents/{left}/bytes/" + "9" * 5000, "paragraph"),
    ],
)
def test_invalid_requests_are_400_and_say_what_is_expected(
    client: TestClient, pair: tuple[str, str], path: str, fault: str
) -> None:
    path = path.replace("{left}", pair[0])
    page, twin = client.get(path), client.get(twin_of(path))
    assert (page.status_code, twin.status_code) == (400, 400)
    assert fault in html.fromstring(page.text).xpath("string(//main/p)")
    assert fault in twin.json()["error"]


def test_twins_of_missing_pages_say_so_in_json(client: TestClient) -> None:
    for path in ("/documents/x.json", "/paragraphs/x.json", "/compare/x/y.json"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "not in the archive" in answer.json()["error"]


def test_pages_are_read_only(client: TestClient, pair: tuple[str, str]) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"):
        for path in ("/", f"/documents/{pair[0]}", "/static/palimpsest.css", "/nothing"):
            answer = client.request(method, path)
            assert answer.status_code == 405
            assert answer.headers["allow"] == "GET, HEAD"


def assert_security_headers(answer: httpx.Response) -> None:
    for name, value in HEADERS.items():
        is_static = name == "Cache-Control" and "/static/" in str(answer.request.url)
        assert answer.headers.get_list(name) == ["no-cache" if is_static else value], name


def test_every_response_has_the_security_headers(
    client: TestClient,
    mixed_catalogue: Catalogue,
    pair: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = ["/", "/index.json", "/health", "/static/palimpsest.js", "/static/x", "/nothing"]
    for path in (
        *paths,
        "/documents?page=x",
        "/documents.json?page=x",
        f"/documents/{pair[0]}/raw",
    ):
        assert_security_headers(client.get(path))
        assert_security_headers(client.head(path))
    assert_security_headers(client.post("/"))
    assert_security_headers(client.get("/", headers={"host": "attacker.example"}))
    assert_security_headers(client_of(mixed_catalogue, token="words").get("/"))

    def fail(*_: object) -> None:
        raise RuntimeError("what nobody thought of, and its secret")

    monkeypatch.setattr(views, "rejects", fail)
    for path in ("/rejects", "/rejects.json"):
        answer = client.get(path)
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "unexpected RuntimeError" in answer.text
        assert_security_headers(answer)
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example",
        "127.0.0.1.attacker.example",
        "localhost.",
        "[",
        "a b",
        "",
        "127.0.0.1@x",
        "10.0.0.1:8470",
    ],
)
def test_another_host_is_refused(client: TestClient, host: str) -> None:
    for path in ("/", "/health", "/static/palimpsest.css", "/documents.json"):
        answer = client.get(path, headers={"host": host})
        assert answer.status_code == 400
        assert "press" not in answer.text


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:8470", "LOCALHOST", "[::1]:8470", "[::1]"]
)
def test_any_name_of_this_machine_is_accepted(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["news.example", "[", "a/b?c#d", "x" * 300, "é".encode()])
def test_any_host_is_accepted_if_other_machines_may_connect(
    mixed_catalogue: Catalogue, host: str | bytes
) -> None:
    client = client_of(mixed_catalogue, hosts=("*",), token="words")
    headers = {"host": host, "authorization": "Bearer words"}
    assert client.get("/", headers=headers).status_code == 200
    assert client.get("/nothing", headers=headers).status_code == 404


# The token.


@pytest.fixture(scope="module", params=["to be said by telephone", 'ключ; ="% \\x'])
def guarded(request: pytest.FixtureRequest, mixed_catalogue: Catalogue) -> tuple[str, TestClient]:
    return request.param, client_of(mixed_catalogue, hosts=("*",), token=request.param)


def test_nothing_is_shown_without_the_token(guarded: tuple[str, TestClient]) -> None:
    token, client = guarded
    client.cookies.clear()
    wrong: list[dict[str, str]] = [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic d29yZHM="},
        {"authorization": "Bearer "},
        {"authorization": "Bearer"},
        {"cookie": "palimpsest=wrong"},
        {"cookie": "a:b=c; ,;;=; palimpsest"},
        {"cookie": "palimpsest=" + token.encode().hex()},
    ]
    for headers in wrong:
        for path in (
            "/",
            "/index.json",
            "/static/palimpsest.css",
            "/nothing",
            "/?token=",
            "/?token=wrong",
        ):
            answer = client.get(path, headers=headers)
            assert (answer.status_code, "press" in answer.text) == (401, False)
            assert "set-cookie" not in answer.headers
    assert client.get("/health").text == "ready"
    assert client.post("/").status_code == 405


def test_token_is_stored_in_a_cookie_and_removed_from_the_address(
    guarded: tuple[str, TestClient],
) -> None:
    token, client = guarded
    client.cookies.clear()
    asked = f"/documents?words=bridge&token={quote(token)}&page=1"
    answer = client.get(asked, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/documents?words=bridge&page=1",
    )
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    assert not any(word in unquote(cookie) for word in re.findall(r"\w{4,}", token))
    assert client.get("/documents").status_code == 200
    assert client.get("/documents", headers={"cookie": "other=a, b; x"}).status_code in (200, 401)
    client.cookies.clear()
    name = cookie.partition(";")[0]
    others = f'broken="; a:b=c; {name}; [x]=1'
    assert client.get("/", headers={"cookie": others}).status_code == 200
    assert client.get("/").status_code == 401


def test_programs_send_the_token_as_a_bearer(guarded: tuple[str, TestClient]) -> None:
    token, client = guarded
    client.cookies.clear()
    for scheme in ("Bearer", "bearer"):
        headers = {"authorization": f"{scheme} {token}".encode(), "cookie": "palimpsest=old"}
        answer = client.get("/index.json", headers=headers)
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers


def test_two_servers_on_one_host_use_different_cookies(mixed_catalogue: Catalogue) -> None:
    names = {
        client_of(mixed_catalogue, token=token)
        .get(f"/?token={token}", follow_redirects=False)
        .headers["set-cookie"]
        .partition("=")[0]
        for token in ("one", "two")
    }
    assert len(names) == 2


def test_cookie_is_secure_over_https(mixed_catalogue: Catalogue) -> None:
    app = create_app(FixedCatalogue(mixed_catalogue), Options("press", token="words"))
    client = TestClient(app, "https://127.0.0.1")
    assert "Secure" in client.get("/?token=words", follow_redirects=False).headers["set-cookie"]


@pytest.mark.parametrize(
    "path",
    [
        "//attacker.example/",
        "///attacker.example",
        "/%2Fattacker.example/",
        "/%5Cattacker.example/",
        "/%09/attacker.example/",
        "/.%2F/attacker.example",
        "/https:%2F%2Fattacker.example",
        "/%0D%0ASet-Cookie:%20x=y",
        "/%3F/attacker.example",
    ],
)
def test_token_never_redirects_to_another_site(mixed_catalogue: Catalogue, path: str) -> None:
    client = client_of(mixed_catalogue, token="words")
    scope_path = f"http://127.0.0.1:8470{path}?token=words"
    answer = client.get(scope_path, follow_redirects=False)
    assert answer.status_code == 303
    location = answer.headers["location"]
    assert re.match(r"/[^/\\\t\r\n]|/$", location), location
    assert httpx.URL("http://127.0.0.1:8470/").join(location).host == "127.0.0.1"
    assert "x" not in answer.cookies


# Raw bytes.


def test_raw_bytes_are_those_that_were_read(client: TestClient, mixed_catalogue: Catalogue) -> None:
    for row in mixed_catalogue.search(DocumentQuery(), 1000)[1]:
        answer = client.get(f"/documents/{row['document_id']}/raw")
        raw = Path(unquote(row["uri"].removeprefix("file://"))).read_bytes()
        assert answer.content == raw
        assert answer.headers["content-type"] == "application/octet-stream"
        disposition = answer.headers["content-disposition"]
        assert disposition == f'attachment; filename="{row["document_id"]}.bin"'
        assert int(answer.headers["content-length"]) == len(raw)
        for ordinal in range(row["paragraphs"]):
            place = mixed_catalogue.place_of(row["number"], ordinal)
            excerpt = views.excerpt(mixed_catalogue, row["document_id"], ordinal)
            assert place
            shown = "".join(one["text"] for one in excerpt["pieces"] if one["is_paragraph"])
            start, end = place["start_byte"], place["end_byte"]
            stretches = list(zip(place["stretch_start"], place["stretch_end"], strict=True))
            whole = b"".join(
                raw[start + one : start + other] for one, other in stretches or [(0, end - start)]
            )
            assert shown.encode("ascii").decode("unicode_escape").encode("latin-1") == whole


def test_members_of_containers_are_downloaded_unchanged(tmp_path: Path) -> None:
    pages = [
        f"<html><head><title>{n}</title></head><body><article><p>{make_paragraph(n)}</p>"
        f"<p>{make_paragraph(n + 10)}</p></article></body></html>".encode()
        for n in (1, 2)
    ]
    text = f"{make_paragraph(3)}\n\n{make_paragraph(4)}\n".encode()
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "pages.warc.gz").write_bytes(as_warc(*pages))
    (folder / "some.zip").write_bytes(
        as_zip({"deep/ä b.txt": text, "x.txt.gz": gzip.compress(pages[1])})
    )
    (folder / "lines.jsonl").write_bytes(json.dumps({"text": make_paragraph(5)}).encode() + b"\n")
    ingest(folder, tmp_path / "press")
    catalogue = catalogue_of(tmp_path / "press", tmp_path)
    client = client_of(catalogue)
    found = {
        client.get(f"/documents/{row['document_id']}/raw").content
        for row in catalogue.search(DocumentQuery(), 9)[1]
    }
    assert {*pages, text} <= found
    assert len(found) == 4
    (folder / "some.zip").write_bytes(b"PK\x03\x04 no longer")
    [row] = [
        row
        for row in catalogue.search(DocumentQuery(), 9)[1]
        if "some.zip" in row["uri"] and "deep" in unquote(row["uri"])
    ]
    answer = client.get(f"/documents/{row['document_id']}/raw")
    assert answer.status_code == 404
    assert "some.zip" in answer.text


def test_changed_or_deleted_files_are_404_with_the_reason(tmp_path: Path) -> None:
    folder = write_articles(
        tmp_path / "in", {"a.txt": ["One"], "b.txt": ["Two"], "c.txt": ["Three"]}
    )
    ingest(folder, tmp_path / "press")
    catalogue = catalogue_of(tmp_path / "press", tmp_path)
    client = client_of(catalogue)
    ids = {row["uri"][-5:]: row["document_id"] for row in catalogue.search(DocumentQuery(), 9)[1]}
    (folder / "a.txt").write_text("Something else that nobody should be shown")
    (folder / "b.txt").unlink()
    (folder / "c.txt").unlink()
    (folder / "c.txt").symlink_to("/etc/passwd")
    for name, reason in (("a.txt", "changed"), ("b.txt", "vanished"), ("c.txt", "changed")):
        for path in (f"/documents/{ids[name]}/raw", f"/documents/{ids[name]}/bytes/0"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert reason in answer.text
            assert name in answer.text
            assert "root:" not in answer.text
            assert "Something else" not in answer.text
        assert client.get(f"/documents/{ids[name]}").status_code == 200


def test_damaged_catalogue_is_discarded(mixed_catalogue: Catalogue, tmp_path: Path) -> None:
    damaged = tmp_path / "catalogue.sqlite"
    content = mixed_catalogue._path.read_bytes()
    damaged.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    for path in ("/", "/documents.json"):
        answer = client_of(Catalogue(damaged, mixed_catalogue.snapshot)).get(path)
        assert answer.status_code == 503
        assert "is damaged" in answer.text


def test_pages_of_a_missing_archive_say_so_and_reload(tmp_path: Path) -> None:
    current = CurrentCatalogue(StoredArchive(tmp_path / "press"))
    client = TestClient(create_app(current, Options("press")), "http://127.0.0.1")
    answer = client.get("/")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert html.fromstring(answer.text).xpath("//meta[@http-equiv='refresh']")
    with pytest.raises(Exception, match="does not exist yet"):
        current.wait()
    assert "does not exist yet" in client.get("/documents/x/raw").text
    assert "does not exist yet" in client.get("/index.json").json()["error"]
    assert client.get("/health").text == "not ready yet"
    assert str(tmp_path) not in client.get("/health").text


# Values of pages.


def test_runs_link_to_prefect_if_its_page_is_known(mixed_catalogue: Catalogue) -> None:
    runs = views.overview(mixed_catalogue)["runs"]
    assert [run["run_id"] for run in runs] == sorted((run["run_id"] for run in runs), reverse=True)
    assert all(run["flow_run_id"] is None for run in runs)
    page = client_of(mixed_catalogue, prefect="http://127.0.0.1:4200").get("/")
    assert "/runs/flow-run/" not in page.text


def test_title_of_a_passage_counts_its_documents(
    client: TestClient, mixed_catalogue: Catalogue
) -> None:
    [row] = mixed_catalogue.search(DocumentQuery(words='"left of the two"'), 2)[1]
    document = views.document(mixed_catalogue, row["document_id"])
    numbered = dict(enumerate(document["passages"], start=1))
    page = html.fromstring(client.get(f"/documents/{row['document_id']}").text)
    links = page.xpath("//article//a[contains(@class, 'passage')]")
    segments = [s for p in document["paragraphs"] for s in p["segments"] if s["passages"]]
    assert len(links) == len(segments) > 0
    assert any(len(one["passages"]) > one["documents"] for one in segments)
    for link, segment in zip(links, segments, strict=True):
        others = {numbered[number]["document_id"] for number in segment["passages"]}
        count = len(others)
        assert link.get("title").startswith(f"in {count} other document")
        assert f"heat-{min(count, 6)}" in link.get("class")
        assert link.text_content() == segment["text"]
        first = numbered[segment["passages"][0]]
        assert f"/{first['document_id']}#L{first['number_in_pair']}" in link.get("href")


def test_document_page_shows_the_stored_text(
    client: TestClient, mixed_catalogue: Catalogue
) -> None:
    for row in mixed_catalogue.search(DocumentQuery(), 1000)[1]:
        page = html.fromstring(client.get(f"/documents/{row['document_id']}").text)
        shown = [one.text_content() for one in page.xpath("//p[@class='paragraph']")]
        assert shown == [one["text"] for one in mixed_catalogue.paragraphs_of(row["number"])]


def test_sides_are_in_the_requested_order(
    mixed_catalogue: Catalogue, pair: tuple[str, str]
) -> None:
    one, other = views.compare(mixed_catalogue, *pair), views.compare(mixed_catalogue, *pair[::-1])
    assert (
        one["left"]["document"]["document_id"]
        == pair[0]
        == other["right"]["document"]["document_id"]
    )
    spans = [(p["left"]["start_char"], p["right"]["start_char"]) for p in one["passages"]]
    assert sorted(spans) == sorted(
        (p["right"]["start_char"], p["left"]["start_char"]) for p in other["passages"]
    )
    assert spans == sorted(spans)


def test_hidden_variants_and_places_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = make_variants(1, 6)
    articles = {f"{n}.txt": [one, make_paragraph(1)] for n, one in enumerate(texts)}
    ingest(write_articles(tmp_path / "in", articles), tmp_path / "press")
    catalogue = catalogue_of(tmp_path / "press", tmp_path)
    monkeypatch.setattr(views, "VARIANTS", 2)
    monkeypatch.setattr(views, "WITNESSES", 4)
    monkeypatch.setattr(views, "PARTNERS", 3)
    [first] = catalogue.snapshot.read("paragraphs", ["paragraph_id"]).to_pylist()
    paragraph = views.paragraph(catalogue, first["paragraph_id"])
    assert (paragraph["variants_found"], len(paragraph["variants"])) == (6, 2)
    assert (paragraph["places"], len(paragraph["witnesses"])) == (12, 4)
    client = client_of(catalogue)
    page = client.get(f"/paragraphs/{first['paragraph_id']}").text
    assert "Showing 2 of 6" in page
    assert "Showing the first 4" in page
    row = catalogue.search(DocumentQuery(), 1)[1][0]
    assert (
        "Showing the 3 of 5 that share the most"
        in client.get(f"/documents/{row['document_id']}").text
    )


def test_no_link_leads_to_a_hidden_variant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = make_variants(1, 6)
    ingest(write_articles(tmp_path / "in", {"a.txt": texts}), tmp_path / "press")
    catalogue = catalogue_of(tmp_path / "press", tmp_path)
    monkeypatch.setattr(views, "VARIANTS", 2)
    [first] = catalogue.snapshot.read("paragraphs", ["paragraph_id"]).to_pylist()
    page = html.fromstring(client_of(catalogue).get(f"/paragraphs/{first['paragraph_id']}").text)
    ids = set(page.xpath("//@id"))
    assert {link[1:] for link in page.xpath("//@href") if link.startswith("#")} <= ids
