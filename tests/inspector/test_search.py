"""Documents are found by their words, in any script, and by date, origin and reuse."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.inspector.catalogue import Catalogue
from palimpsest.inspector.catalogue.read import DocumentQuery
from palimpsest.inspector.catalogue.words import (
    as_indexed,
    find_term,
    match_expression,
    search_terms,
)
from palimpsest.inspector.pages.views import documents
from tests.inspector.sample_archives import NOON, catalogue_of, files_dated
from tests.pipeline.corpora import ingest, write_articles
from tests.strategies import max_examples

ARTICLES = {
    "north/storm.txt": "The storm shut the Lantern Bridge. A bridge of lanterns it is not.",
    "north/cafe.txt": "Café Müller opens in Straßburg; its naïve façade — co-operative.",
    "north/numbers.txt": "Flight AB1234 carried 1,500 crowns on 3\u00bd carts.",
    "south/chinese.txt": "石桥镇的茶亭重新开放，许多居民来喝茶。",
    "south/japanese.txt": "カフェで新聞を読む人がいた。",
    "south/thai.txt": "ร้านน้ำชาที่สะพานหินเปิดอีกครั้ง",
    "south/arabic.txt": "افتُتِحَت مَكْتَبَة عائمة في البحيـــرة.",
    "south/hebrew.txt": "הַסִּפְרִיָּה נפתחה",
    "east/russian.txt": "Узкоколейный поезд шёл мимо ёлки в тайгу.",
    "east/hindi.txt": "पुस्तकालय हिन्दी में है",
    "east/korean.txt": "새 다리가 열렸다",
    "east/syntax.txt": 'He wrote NEAR(storm) OR text:gale* NOT -wind "unclosed ^caret {brace} AND',
}
DATES = {
    name: None if name == "east/syntax.txt" else NOON + timedelta(days=40 * number)
    for number, name in enumerate(ARTICLES)
}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    folder = tmp_path_factory.mktemp("searched")
    source = write_articles(folder / "in", {name: [text] for name, text in ARTICLES.items()})
    with files_dated(source, DATES):
        ingest(source, folder / "press")
    return catalogue_of(folder / "press", folder)


@pytest.fixture(scope="module")
def found(catalogue: Catalogue) -> Callable[..., list[str]]:
    """Return the names of the files that are found, in their order."""

    def find(words: str = "", **asked: Any) -> list[str]:
        total, rows = catalogue.search(DocumentQuery(words=words, **asked), 100)
        assert total == len(rows)
        return [row["uri"].rpartition("/")[2].removesuffix(".txt") for row in rows]

    return find


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("storm", {"storm", "syntax"}),
        ("STORM bridge", {"storm"}),
        ('"lantern bridge"', {"storm"}),
        ('"bridge lantern"', set()),
        ("lantern bridge", {"storm"}),
        ('lantern "a bridge of"', {"storm"}),
        ("cafe muller", {"cafe"}),
        ("café", {"cafe"}),
        ("cafe\u0301", {"cafe"}),
        ("NAÏVE", {"cafe"}),
        ("co-operative", {"cafe"}),
        ("operative", {"cafe"}),
        ("caf", set()),
        ("ab1234", {"numbers"}),
        ("1,500", {"numbers"}),
        ("茶亭", {"chinese"}),
        ("茶", {"chinese"}),
        ("亭茶", set()),
        ("喝茶 石桥", {"chinese"}),
        ("カフェ", {"japanese"}),
        ("新聞", {"japanese"}),
        ("น้ำชา", {"thai"}),
        ("สะพาน", {"thai"}),
        ("مكتبة", {"arabic"}),
        ("مَكْتَبَة", {"arabic"}),
        ("البحيرة", {"arabic"}),
        ("הספריה", {"hebrew"}),
        ("поезд", {"russian"}),
        ("ПОЕЗД шел", {"russian"}),
        ("елки", {"russian"}),
        ("узкоколейный", {"russian"}),
        ("узкоколе\u0438\u0306ный", {"russian"}),
        ("узкоколеиныи", set()),
        ("हिन्दी", {"hindi"}),
        ("हिन", set()),
        ("다리가", {"korean"}),
        ("storm zebra", set()),
    ],
)
def test_words_and_phrases_of_many_scripts_are_found(
    found: Callable[..., list[str]], words: str, names: set[str]
) -> None:
    assert set(found(words)) == names


@pytest.mark.parametrize(
    "words",
    [
        "NEAR(storm)",
        "NEAR(storm gale, 2)",
        "text:gale",
        "bodies:gale",
        "{text}:gale",
        "gale*",
        "gal*",
        "-wind",
        "^caret",
        "NOT wind",
        "unclosed OR nothing-of-the-kind",
        '"unclosed',
        'un"closed',
        '""unclosed""',
        "gale + wind",
        "a AND",
        "(",
        ")",
        "'; DROP TABLE documents; --",
        "gale\x00",
        "\x00",
        "\ud800gale".encode("utf-8", "replace").decode(),
        "gale" * 100,
        "é" * 5000,
        " ".join(["storm"] * 1000),
        "%",
        "\u202e",
        "…",
    ],
)
def test_syntax_of_the_index_is_only_words(found: Callable[..., list[str]], words: str) -> None:
    names = found(words)
    if search_terms(words):
        assert set(names) <= {"syntax", "storm"}
    wanted = {"NEAR(storm)": True, "text:gale": True, "gale*": True, "gal*": False, "-wind": True}
    if words in wanted:
        assert ("syntax" in names) == wanted[words]


@max_examples(60)
@given(
    st.text(
        st.one_of(
            st.sampled_from(" \"*():-^+{}'\x00~storm茶ёน้"),
            st.characters(exclude_categories=("Cs",)),
        ),
        max_size=30,
    )
)
def test_whatever_is_typed_is_looked_for(catalogue: Catalogue, words: str) -> None:
    total, rows = catalogue.search(DocumentQuery(words=words), 5)
    assert 0 <= len(rows) <= total <= len(ARTICLES)
    assert match_expression(search_terms(words)).count('"') % 2 == 0


@max_examples(60)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=40), st.integers(0, 40))
def test_a_word_of_a_text_is_found_in_it_where_it_stands(text: str, number: int) -> None:
    words = search_terms(text.replace('"', " "))
    if words:
        word = words[number % len(words)]
        place = find_term(text, word)
        if place is not None:
            start, end = place
            assert 0 <= start < end <= len(text)
    assert as_indexed(as_indexed(text)).split() == as_indexed(text).split()


@pytest.mark.parametrize(
    ("text", "term", "expected"),
    [
        ("No start but art.", "art", "art"),
        ("Straße and İstanbul: cafe", "cafe", "cafe"),
        ("A Café!", "cafe", "Café"),
        ("the lantern, bridge", "lantern bridge", "lantern, bridge"),
        ("喝茶的茶亭", "茶亭", "茶亭"),
        ("Новый ёж", "еж", "ёж"),
        ("nothing", "thing", None),
        ("nothing", "...", None),
        ("हिन्दी में", "हिन्दी", "हिन्दी"),
    ],
)
def test_terms_are_marked_as_they_stand(text: str, term: str, expected: str | None) -> None:
    place = find_term(text, term)
    assert (None if place is None else text[slice(*place)]) == expected


def test_documents_are_found_by_the_days_between_which_they_were_published(
    found: Callable[..., list[str]],
) -> None:
    dated = [(f"{date:%Y-%m-%d}", name) for name, date in DATES.items() if date]
    for since in ("", "2024", "2025-03", "2025-06-10", "2030"):
        for until in ("", "2024-12", "2025", "2025-06-10"):
            expected = {
                name.rpartition("/")[2].removesuffix(".txt")
                for day, name in dated
                if day >= since and (not until or day[: len(until)] <= until)
            }
            if since or until:
                assert set(found(since=since, until=until)) == expected


def test_documents_are_found_by_where_they_come_from_and_all_at_once(
    found: Callable[..., list[str]], catalogue: Catalogue
) -> None:
    assert catalogue.origins() == ["east", "north", "south"]
    assert set(found(origin="north")) == {"storm", "cafe", "numbers"}
    assert found("storm", origin="east") == ["syntax"]
    assert found("storm", origin="north", since="2024-11-12", until="2024-11-12") == ["storm"]
    assert found("storm", origin="nowhere") == []
    assert found(least_reuse=0.5) == []


def test_orders_are_what_they_are_called(catalogue: Catalogue, mixed_catalogue: Catalogue) -> None:
    def rows(catalogue: Catalogue, order: str, words: str = "") -> list[dict[str, Any]]:
        return catalogue.search(DocumentQuery(words=words, order=order), 100)[1]

    dates = [row["published_at"] for row in rows(catalogue, "date")]
    assert dates == [*sorted(filter(None, dates)), None]
    latest = [row["published_at"] for row in rows(catalogue, "latest")]
    assert latest == [*sorted(filter(None, dates), reverse=True), None]
    words = [row["words"] for row in rows(mixed_catalogue, "words")]
    assert words == sorted(words, reverse=True)
    shares = [row["reused_words"] / row["words"] for row in rows(mixed_catalogue, "reuse")]
    assert shares == sorted(shares, reverse=True)
    assert [row["uri"] for row in rows(catalogue, "relevance")] == [
        row["uri"] for row in rows(catalogue, "date")
    ]
    best = rows(catalogue, "relevance", "bridge")
    assert "storm.txt" in best[0]["uri"]


def test_pages_of_a_list_have_each_document_once(mixed_catalogue: Catalogue) -> None:
    for asked in (
        DocumentQuery(),
        DocumentQuery(words="a", order="relevance"),
        DocumentQuery(order="reuse"),
    ):
        total, every = mixed_catalogue.search(asked, 1000)
        pages = [mixed_catalogue.search(asked, 3, at) for at in range(0, total + 6, 3)]
        assert {number for number, _ in pages} == {total}
        assert [row for _, rows in pages for row in rows] == every


def test_a_document_that_reuses_enough_is_found(mixed_catalogue: Catalogue) -> None:
    _, every = mixed_catalogue.search(DocumentQuery(), 1000)
    for least in (0.1, 0.5, 1.0):
        expected = [
            row for row in every if row["words"] and row["reused_words"] >= least * row["words"]
        ]
        assert mixed_catalogue.search(DocumentQuery(least_reuse=least), 1000)[1] == expected
        assert expected


def test_ids_and_uris_are_found_by_how_they_begin(mixed_catalogue: Catalogue) -> None:
    row = mixed_catalogue.search(DocumentQuery(), 1)[1][0]
    expected = [("document", row["document_id"])]
    assert mixed_catalogue.find_by_prefix(row["document_id"][:8]) == expected
    assert mixed_catalogue.find_by_prefix(row["uri"]) == expected
    text = mixed_catalogue.paragraphs_of(1)[0]["text_id"]
    assert ("text", text) in mixed_catalogue.find_by_prefix(text)
    assert mixed_catalogue.find_by_prefix("zzzzzzzz") == []
    for typed in (text, row["document_id"][:9].upper(), f" {row['uri']} "):
        named = documents(mixed_catalogue, DocumentQuery(words=typed))["ids"]
        assert [one["id"] for one in named] in ([text], [row["document_id"]])
    assert documents(mixed_catalogue, DocumentQuery(words="a"))["ids"] == []
    assert documents(mixed_catalogue, DocumentQuery(words="abcdef"))["ids"] == []
