"""Nothing that an archive holds is markup of a page, whatever it says."""

import re
from collections import Counter
from typing import Any

import pytest
from lxml import etree
from starlette.testclient import TestClient

from palimpsest.inspector.catalogue.read import Catalogue, DocumentQuery
from tests.inspector.sample_archives import HOSTILE, catalogue_of, make_hostile
from tests.inspector.test_pages import client_of, twin_of

UNKNOWN_TAG = 801
"""libxml2 knows no element of HTML 5, and says so of each."""
ELEMENTS = {
    *("html", "head", "meta", "title", "link", "script", "body", "a", "header", "nav", "form"),
    *("label", "input", "button", "main", "footer", "h1", "h2", "h3", "p", "section", "strong"),
    *("meter", "table", "thead", "tbody", "tr", "th", "td", "span", "div", "details", "summary"),
    *("ol", "ul", "li", "article", "aside", "dl", "dt", "dd", "code", "kbd", "pre", "mark", "del"),
    *("ins", "blockquote", "select", "option", "svg", "g", "rect", "text", "circle", "path", "bdi"),
}
OVERRIDES = re.compile("[\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    folder = tmp_path_factory.mktemp("hostile")
    return catalogue_of(make_hostile(folder), folder)


@pytest.fixture(scope="module")
def client(hostile: Catalogue) -> TestClient:
    return client_of(hostile, prefect="http://127.0.0.1:4200")


@pytest.fixture(scope="module")
def pages(client: TestClient, hostile: Catalogue) -> dict[str, str]:
    """The source of every page, by its path."""
    return {path: client.get(path).text for path in paths_of(hostile)}


def paths_of(catalogue: Catalogue) -> list[str]:
    """Return the path of every page that the archive has, but for pairs: of these some."""
    paths = ["/", "/documents", "/documents?page=2", "/rejects", "/rejects?reason=empty"]
    paths += [f"/documents?words={one}" for one in ("script", "__ran", "onerror", "7")]
    paths += [
        "/documents?words=%3Cscript%3E__ran",
        "/documents?origin=%22%3E%3Cimg%20src%3Dx%3E__ran",
    ]
    paths += [
        "/rejects?reason=%3Cscript%3E__ran",
        "/documents?order=%3Cscript%3E__ran",
        "/%3Cscript%3E__ran",
    ]
    paths += [
        "/documents/%3Cscript%3E__ran",
        "/explain/%3Cscript%3E__ran/a/b",
        "/documents?page=%3Cb%3E__ran",
    ]
    for row in catalogue.search(DocumentQuery(), 1000)[1]:
        paths.append(f"/documents/{row['document_id']}")
        paths.append(f"/documents/{row['document_id']}/bytes/0")
        paths += [f"/paragraphs/{one['text_id']}" for one in catalogue.paragraphs_of(row["number"])]
        for other in catalogue.partners_of(row["number"], 1):
            pair = f"{row['document_id']}/{other['document_id']}"
            paths += [f"/compare/{pair}", f"/explain/documents/{pair}"]
    for row in catalogue.snapshot.read("overlaps").to_pylist()[:10]:
        paths.append(f"/explain/texts/{row['left_text_id']}/{row['right_text_id']}")
    return list(dict.fromkeys(paths))


def test_archive_text_is_never_markup(pages: dict[str, str]) -> None:
    counts: Counter[str] = Counter()
    for path, source in pages.items():
        parser = etree.HTMLParser()
        page = etree.fromstring(source.encode(), parser)
        faults = [fault for fault in parser.error_log if fault.type != UNKNOWN_TAG]
        assert not faults, (path, faults[0])
        assert_only_our_markup(path, page)
        shown = "".join(page.itertext()) + "".join(
            v for e in page.iter() for v in e.attrib.values()
        )
        assert shown.count("__ran") >= source.count("__ran"), path
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", source), path
        counts.update(attack for attack in HOSTILE if attack in shown)
    assert all(counts[attack] > 3 for attack in HOSTILE), counts


def assert_only_our_markup(path: str, page: Any) -> None:
    """Expect only elements, attributes and addresses that templates write."""
    for one in page.iter():
        assert isinstance(one.tag, str), (path, one)
        assert one.tag in ELEMENTS, (path, one.tag)
        if one.tag == "script":
            assert (one.get("src"), one.text) == ("/static/palimpsest.js", None)
        for name, value in one.attrib.items():
            assert not name.startswith("on"), (path, name)
            assert name != "style", path
            assert "__ran" not in name
            if name in {"href", "src", "action"}:
                assert re.match(r"/[^/]|/$|#|http://127\.0\.0\.1:4200/", value), (path, value)


def test_text_direction_of_articles_does_not_affect_our_text(pages: dict[str, str]) -> None:
    seen = 0
    for path, source in pages.items():
        page = etree.fromstring(source.encode(), etree.HTMLParser())
        for text in page.xpath("//body//text()[not(ancestor::title)]"):
            if OVERRIDES.search(text):
                seen += 1
                holder = text.getparent() if text.is_text else text.getparent().getparent()
                around = [holder, *holder.iterancestors()]
                isolated = [
                    e for e in around if e.get("dir") == "auto" or e.tag in ("bdi", "pre", "option")
                ]
                assert isolated, (path, holder.tag, text)
    assert seen > 20


def test_twins_are_valid_json(client: TestClient, pages: dict[str, str]) -> None:
    for path in list(pages)[:30]:
        answer = client.get(twin_of(path))
        assert answer.headers["content-type"].startswith(("application/json", "text/html"))
        if answer.status_code == 200:
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["x-content-type-options"] == "nosniff"
            answer.json()


def test_texts_appear_on_their_pages_unchanged(client: TestClient, hostile: Catalogue) -> None:
    for row in hostile.search(DocumentQuery(), 1000)[1]:
        page = etree.fromstring(
            client.get(f"/documents/{row['document_id']}").text.encode(), etree.HTMLParser()
        )
        shown = ["".join(one.itertext()) for one in page.xpath("//p[@class='paragraph']")]
        kept = [one["text"] for one in hostile.paragraphs_of(row["number"])]
        assert shown == [
            re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", "\ufffd", one) for one in kept
        ]


def test_undecodable_file_names_lead_to_their_bytes(client: TestClient, hostile: Catalogue) -> None:
    [row] = [row for row in hostile.search(DocumentQuery(), 1000)[1] if "%FF%FE" in row["uri"]]
    raw = client.get(f"/documents/{row['document_id']}/raw")
    assert raw.status_code == 200
    assert "\x9b".encode() in raw.content
