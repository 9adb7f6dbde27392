"""Dates, headers, fields, sidecars, paths and languages."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from palimpsest.ingest.metadata.dates import parse_date
from palimpsest.ingest.metadata.facts import (
    header_facts,
    json_facts,
    path_date,
    sidecar_facts,
    sidecars_among,
)
from palimpsest.ingest.text.language import languages_of
from palimpsest.records.document_facts import DocumentFacts
from palimpsest.records.errors import SourceError


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Sat Oct 21, 2006 8:11pm EDT", at(2006, 10, 22, 0, 11)),
        ("Wed Feb 1, 2006 8:11am EST", at(2006, 2, 1, 13, 11)),
        ("Dec 31, 1999 11:59pm PST", at(2000, 1, 1, 7, 59)),
        ("Thu Mar 31, 2011 12:05am EDT", at(2011, 3, 31, 4, 5)),
        ("2006-10-21", at(2006, 10, 21)),
        ("20061021", at(2006, 10, 21)),
        ("20061021201100", at(2006, 10, 21, 20, 11)),
        ("2006-10-21T20:11:00-04:00", at(2006, 10, 22, 0, 11)),
        ("2006-10-21 20:11:00 EDT", at(2006, 10, 22, 0, 11)),
        ("Sat, 21 Oct 2006 20:11:00 +0100", at(2006, 10, 21, 19, 11)),
        ("21 October 2006", at(2006, 10, 21)),
        ("1st April 2020 at 5:30 p.m. GMT+2", at(2020, 4, 1, 15, 30)),
        ("21.10.2006", at(2006, 10, 21)),
        ("2006/10/21", at(2006, 10, 21)),
        ("21 октября 2006", at(2006, 10, 21)),
        ("3 Juli 2011", at(2011, 7, 3)),
        ("03/04/2006", None),
        ("yesterday", None),
        ("May 2006", None),
        ("Feb 30, 2006", None),
        ("2006", None),
        ("Oct 21, 2006 8:11pm XYZT", None),
        ("World Cup 2010 fever fuels growth", None),
        ("Oct 21, 0006", None),
    ],
)
def test_unambiguous_date_is_parsed(text, moment):
    assert parse_date(text) == moment


def test_title_author_and_date_are_read_from_the_lines_above_newswire():
    header = "-- Ferry late again\n-- By  Ines Varga\n-- Sat Oct 21, 2006 8:11pm EDT\n-- http://example.org/1\n\n"
    facts = header_facts(header + " MARROW (Pool) - The ferry left late.\n")
    assert facts == DocumentFacts(
        "Ferry late again",
        "Ines Varga",
        published_at=at(2006, 10, 22, 0, 11),
        published_from="header",
    )


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (
            "Title: Late\nDate: 2024-03-04\nSource: Courier\n\nText.",
            ("Late", None, "Courier", at(2024, 3, 4)),
        ),
        (
            "Ferry late\nBy Ines Varga\nMarch 4, 2024\n\nThe ferry left.",
            (None, "Ines Varga", None, at(2024, 3, 4)),
        ),
        (
            "The ferry left late.\n\nOn it were forty people.\n\nMarch 4, 2024",
            (None, None, None, None),
        ),
        ("By noon the ferry had left.\n\nNobody minded.", (None, None, None, None)),
        ("Note: this is text.\n\nDate palms grow here.", (None, None, None, None)),
        ("", (None, None, None, None)),
    ],
)
def test_header_ends_where_the_text_begins(text, facts):
    found = header_facts(text)
    assert (found.title, found.author, found.site, found.published_at) == facts


def test_fields_have_usual_names_or_those_of_the_setting():
    fields = {
        "Headline": "Late",
        "byline": ["A", "B"],
        "publisher": {"name": "Courier"},
        "pubDate": 1709540100,
    }
    facts = json_facts(fields)
    assert (facts.title, facts.author, facts.site) == ("Late", "A, B", "Courier")
    assert (facts.published_at, facts.published_from) == (at(2024, 3, 4, 8, 15), "metadata")
    named = json_facts({"kopf": "Spät", "title": "Late", "lang": "de-AT"}, ["title=kopf"])
    assert (named.title, named.language) == ("Spät", "de")
    within = {"meta": {"timestamp": "2024-03-04", "by": {"name": "Ada"}}, "meta.by": "Flat"}
    paths = ["published_at=meta.timestamp", "author=meta.by", "title=meta.by.name.first"]
    nested = json_facts(within, paths)
    assert (nested.published_at, nested.author, nested.title) == (
        datetime(2024, 3, 4, tzinfo=UTC), "Flat", None,
    )  # fmt: skip
    assert (
        json_facts({"date": True, "title": 5, "author": None, "lang": "German!"}) == DocumentFacts()
    )


def test_facts_are_read_from_the_sidecar_of_a_file(tmp_path):
    (tmp_path / "a.txt").write_text("A")
    (tmp_path / "a.meta.json").write_text(json.dumps({"title": "Late", "date": "2024-03-04"}))
    facts = sidecar_facts(str(tmp_path / "a.txt"))
    assert (facts.title, facts.published_from) == ("Late", "sidecar")
    names = [str(tmp_path / name) for name in ("a.txt", "a.meta.json", "b.json", "c.txt.json")]
    assert sidecars_among(names) == {names[1]}
    (tmp_path / "a.meta.json").write_text("[1]")
    with pytest.raises(SourceError, match=r"a\.meta\.json.*expected an object"):
        sidecar_facts(str(tmp_path / "a.txt"))


@pytest.mark.parametrize(
    ("path", "pattern", "moment"),
    [
        ("/press/2006/20061021/a.txt", "%Y%m%d", at(2006, 10, 21)),
        ("/press/2006/10/21/a.txt", "%Y/%m/%d", at(2006, 10, 21)),
        ("/press/20061399/20061021-a.txt", "%Y%m%d", at(2006, 10, 21)),
        ("/press/21-Oct-2006.txt", "%d-%b-%Y", at(2006, 10, 21)),
        ("/press/120061021/a.txt", "%Y%m%d", None),
        ("/press/a.txt", "%Y%m%d", None),
    ],
)
def test_last_date_in_a_path_that_matches_the_pattern_counts(path, pattern, moment):
    assert path_date(path, pattern) == moment


def test_languages_of_many_scripts_are_detected():
    texts = {
        "ru": "Рыбаки вернулись в порт на рассвете, и город снова зажил своей жизнью.",
        "kk": "Балықшылар таң ата портқа оралып, қала қайтадан өмір сүре бастады.",
        "ar": "عاد الصيادون إلى الميناء عند الفجر وعادت المدينة إلى الحياة",
        "fa": "ماهیگیران سپیده‌دم به بندر بازگشتند و شهر دوباره جان گرفت",
        "he": "הדייגים חזרו לנמל עם שחר והעיר שבה לחיים",
        "hi": "मछुआरे भोर में बंदरगाह लौट आए और शहर फिर से जीवित हो गया",
        "th": "ชาวประมงกลับมาที่ท่าเรือตอนรุ่งสางและเมืองก็กลับมามีชีวิตชีวา",
        "zh": "渔民们在黎明时分回到港口，城市又恢复了生机。",
        "ja": "漁師たちは夜明けに港に戻り、町は再び活気を取り戻した。",
        "ko": "어부들은 새벽에 항구로 돌아왔고 도시는 다시 살아났다.",
        "de": "Die Fischer kehrten im Morgengrauen in den Hafen zurück.",
    }
    assert dict(
        zip(texts, languages_of([one.encode() for one in texts.values()]), strict=True)
    ) == {one: one for one in texts}
    assert languages_of([b"", b"12345 67 890 1234 5555 12345", b"ok"]) == [None, None, None]


def test_languages_are_those_that_the_library_detects():
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    library = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    texts = [
        "The fishermen came back to the port at dawn.",
        "Les pêcheurs sont rentrés au port.",
        "ОБЪЯВЛЕНИЕ О ПРОДАЖЕ",
    ]
    assert languages_of([one.encode() for one in texts]) == [
        library.classify(text)[0] for text in texts
    ]
