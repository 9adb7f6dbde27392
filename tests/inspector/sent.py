"""Articles that try to break out of a page, and files that are sent, as a parser takes them."""

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from lxml import html
from lxml.html import HtmlElement

from inspector.catalogue import Catalogue, build_catalogue
from records.settings import ReadSettings
from store.archive import Archive, Snapshot
from tests.flows.corpora import ingest, make_paragraph, settings_of, write_articles

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
    edited = [f"{one} {make_paragraph(number, edit=4)}" for number, one in enumerate(HOSTILE)]
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
    return Archive(archive).snapshot()


def parsed(text: str) -> HtmlElement:
    """Return a file as a parser has it, after checking that it is whole, and safe to open."""
    root = html.document_fromstring(text.encode())
    _expect_nothing_from_elsewhere(root)
    _expect_its_own_policy(text, root)
    ids = [one.get("id") for one in root.iter() if one.get("id")]
    assert len(ids) == len(set(ids))
    for link in root.iter("a"):
        target = link.get("href")
        assert target is None or target.removeprefix("#") in ids, target
    return root


_LOADING = {"base", "link", "img", "image", "iframe", "object", "embed", "form", "source", "use"}
_LOADING |= {"audio", "video", "track", "portal", "frame", "template", "input", "button"}


def _expect_nothing_from_elsewhere(root: HtmlElement) -> None:
    for one in _elements(root):
        assert one.tag not in _LOADING, html.tostring(one)
        for name, value in one.attrib.items():
            told = f"{one.tag} {name}={value!r}"
            assert name not in {"src", "srcset", "style", "action", "ping", "background"}, told
            assert not name.startswith("on"), told
            assert name not in {"href", "xlink:href"} or value.startswith("#"), told
    equivalents = [one.get("http-equiv") for one in root.iter("meta") if one.get("http-equiv")]
    assert equivalents == ["Content-Security-Policy"]


def _expect_its_own_policy(text: str, root: HtmlElement) -> None:
    [policy] = root.xpath("//meta[@http-equiv]/@content")
    allowed = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert allowed.pop("default-src") == ["'none'"]
    assert allowed.pop("base-uri") == allowed.pop("form-action") == ["'none'"]
    for tag in ("style", "script"):
        found = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(found) == len(list(root.iter(tag))) <= 1
        digests = [hashlib.sha256(one.encode()).digest() for one in found]
        told = [f"'sha256-{base64.b64encode(one).decode()}'" for one in digests]
        assert allowed.pop(f"{tag}-src", []) == told
    [style] = root.xpath("//style/text()")
    assert "url(" not in style
    assert "@import" not in style
    assert allowed == {}


def _elements(root: HtmlElement) -> Iterator[HtmlElement]:
    return (one for one in root.iter() if isinstance(one.tag, str))


def letters(text: str) -> str:
    """Return a text without blanks, which pages may lay out as they like."""
    return "".join(text.split())


def words_of(element: HtmlElement) -> str:
    """Return the text of an element without the numbers of passages in it, and without blanks."""
    pieces = element.xpath(
        ".//text()[not(ancestor::*[contains(concat(' ', @class, ' '), ' number ')])]"
    )
    return letters("".join(pieces))
