"""Pages: the extracted text, its position in the bytes, and how bad pages are handled."""

from __future__ import annotations

import html
import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.ingest.pages.anchor import anchor, reproduces
from palimpsest.ingest.pages.extract_pool import Extractors
from palimpsest.ingest.pages.extract_worker import extract
from palimpsest.ingest.pages.page import NOWHERE, RawPage, decode_page, read_pages
from palimpsest.ingest.text.normalise import normalise_text
from palimpsest.records.errors import SourceError
from tests.strategies import max_examples

PARAGRAPHS = [
    (
        f"Paragraph {number} tells at some length that the ferry left late on day {number}, because "
        f"{number + 40} passengers had mislaid their tickets and nobody could find the key."
    )
    for number in range(6)
]


def page_of(paragraphs: list[str], head: str = "<title>Late</title>") -> bytes:
    body = "\n".join(f"<p>{html.escape(one)}</p>" for one in paragraphs)
    return f"<!doctype html><html><head>{head}</head><body><article>{body}</article></body></html>".encode()


@pytest.fixture(scope="module")
def extractors() -> Iterator[Extractors]:
    with Extractors(2, 30.0) as pool:
        yield pool


WORDS = st.text(st.characters(categories=["L", "Nd", "P", "Sm", "Sc"]), min_size=1, max_size=12)
MARKUP = st.sampled_from(
    ["", "", "", "<b>", "</b>", "<a href='x>y'>", "<br/>", "<!-- <p>no</p> -->"]
)


@max_examples(150)
@given(st.lists(st.tuples(WORDS, MARKUP, st.booleans()), min_size=1, max_size=40), st.randoms())
def test_words_between_any_markup_are_found(words, rng):
    def written(word: str, all_entities: bool) -> str:
        if all_entities:
            return "".join(rng.choice([f"&#{ord(c)};", f"&#x{ord(c):X};"]) for c in word)
        return html.escape(word)

    text = " ".join(word for word, _, _ in words)
    page = (
        "<title>No</title><script>var x = '"
        + text
        + "';</script><p>"
        + " ".join(markup + written(word, entities) for word, markup, entities in words)
    )
    found, anchors = anchor(page.encode(), [text])
    assert found == text
    assert (anchors.starts[~anchors.is_blank] >= 0).all()
    visible = np.flatnonzero(~anchors.is_blank)
    firsts = [k for k in visible.tolist() if k == visible[0] or not anchors.is_joined[k]]
    lasts = [int(visible[np.searchsorted(visible, k) - 1]) for k in firsts[1:]] + [visible[-1]]
    spans = [
        (int(anchors.starts[a]), int(anchors.ends[b])) for a, b in zip(firsts, lasts, strict=True)
    ]
    assert reproduces(page.encode(), spans, "utf-8", normalise_text(text))
    assert not reproduces(page.encode(), spans, "utf-8", normalise_text(text + "x"))
    assert not reproduces(page.encode(), spans[:-1], "utf-8", normalise_text(text))


def test_text_that_is_not_in_the_page_has_no_position():
    page = b"<article><p>The words that are there.</p></article>"
    _, anchors = anchor(page, ["The words that are there.", "Words of nobody."])
    assert (anchors.starts[:3] == [12, 13, 14]).all()
    assert (anchors.starts[27:32] == -1).all()


def test_page_of_only_entities_is_quickly_left_without_anchors():
    text, anchors = anchor(b"<p>" + b"&amp;" * 1_000_000, ["&" * 1_000_000])
    assert len(text) == 1_000_000
    assert (anchors.starts == -1).all()


def test_repeated_blocks_get_consecutive_positions():
    page = b"<h1>The news of the day in our town</h1><p>Share</p><p>A long first paragraph of news.</p>"
    page += b"<p>Share</p><p>A long second paragraph of news.</p>"
    blocks = ["A long first paragraph of news.", "Share", "A long second paragraph of news."]
    text, anchors = anchor(page, blocks)
    at = anchors.starts[text.index("Share")]
    assert page[at : at + 5] == b"Share"
    assert at > page.index(b"first paragraph")


@pytest.mark.parametrize(
    ("raw", "charset", "expected"),
    [
        (page_of(["Grüße"]), "iso-8859-1", ("utf-8", "utf-8")),
        ("<p>Grüße".encode("cp1252"), "iso-8859-1", ("cp1252", "http")),
        ("<meta charset=windows-1251><p>Паром".encode("cp1251"), "iso-8859-1", ("cp1251", "html")),
        ("\ufeff<p>Grüße".encode("utf-16-le"), None, ("utf-16-le", "bom")),
        ("<meta charset=utf-16><p>Grüße".encode(), None, ("utf-8", "utf-8")),
        ("<meta charset=iso-2022-jp><p>鍵".encode("iso2022_jp"), None, ("iso2022_jp", "html")),
        (b"<meta charset=nonsense><p>plain", "none-such", ("utf-8", "utf-8")),
    ],
)
def test_encoding_is_that_of_the_bytes_then_the_page_then_http(raw, charset, expected):
    found = decode_page(RawPage(raw, None, charset))
    assert (found.encoding, found.encoding_from) == expected


def test_pages_are_read_independently_of_earlier_ones(extractors):
    pages = [RawPage(page_of([PARAGRAPHS[0], PARAGRAPHS[number]])) for number in (1, 2, 3)]
    alone = [read_pages([page], extractors)[0].text for page in pages]
    for order in ([0, 1, 2] * 3, [2, 1, 0] * 3):
        found = read_pages([pages[number] for number in order], extractors)
        assert [one.text for one in found] == [alone[number] for number in order]
    assert all(PARAGRAPHS[0] in text for text in alone)


def test_facts_of_a_page():
    article = extract(
        page_of(
            PARAGRAPHS,
            "<title>Late again</title><meta name=author content='Ines Varga'>"
            "<meta property='og:site_name' content='Marrow Courier'>"
            "<meta property='article:published_time' content='2024-11-12T23:40:00-04:00'>",
        ).decode()
    )
    assert article["blocks"] == PARAGRAPHS
    assert (article["title"], article["author"], article["site"]) == (
        "Late again",
        "Ines Varga",
        "Marrow Courier",
    )
    assert article["published_at"] == "2024-11-13T03:40:00+00:00"


def test_date_in_the_text_is_not_when_a_page_was_published():
    article = extract(
        page_of(["On 3 May 2019 the ferry sank, and nobody was hurt at all.", *PARAGRAPHS]).decode()
    )
    assert article["published_at"] is None


def test_page_that_takes_too_long_affects_only_itself():
    with Extractors(1, 0.001) as hasty:
        [late] = read_pages([RawPage(page_of(PARAGRAPHS * 50))], hasty)
        assert isinstance(late, SourceError)
        assert late.reason == "parser-timeout"
        hasty._seconds = 30.0
        [page] = read_pages([RawPage(page_of(PARAGRAPHS))], hasty)
    assert page.text.count("\n\n") == 5


def test_page_that_takes_too_much_memory_affects_only_itself():
    with Extractors(1, 60.0, memory_bytes=600 * 2**20) as small:
        huge = b"<html><body><article>" + b"<p><b>word</b> <i>word</i></p>" * 1_000_000
        [refused, page] = read_pages([RawPage(huge), RawPage(page_of(PARAGRAPHS))], small)
    assert isinstance(refused, SourceError)
    assert refused.reason in {"parser-memory", "parser-crashed", "no-article"}
    assert page.text.count("\n\n") == 5


def test_pages_are_read_where_pipes_cannot_be_widened(monkeypatch):
    monkeypatch.setattr("palimpsest.ingest.pages.extract_pool._widened", lambda _: 0)
    with Extractors(1, 30.0) as pool:
        pages = [RawPage(page_of(PARAGRAPHS * many)) for many in (1, 400)]
        found = read_pages(pages, pool)
    assert [page.text.count("\n\n") for page in found] == [5, 6 * 400 - 1]


def test_killed_process_does_not_affect_later_pages():
    with Extractors(1, 30.0) as pool:
        read_pages([RawPage(page_of(PARAGRAPHS))], pool)
        process = pool._idle.get()
        os.kill(process._process.pid, signal.SIGKILL)
        process._process.wait()
        pool._idle.put(process)
        [page] = read_pages([RawPage(page_of(PARAGRAPHS))], pool)
    assert page.text.count("\n\n") == 5


def test_text_without_a_position_is_marked(extractors):
    [page] = read_pages(
        [RawPage(page_of(PARAGRAPHS).replace(b"ferry", b"fe<i></i>rry"))], extractors
    )
    assert (page.raw_start != NOWHERE).all()
    assert not page.is_joined[page.text.index("ferry") + 2]
