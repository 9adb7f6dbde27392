"""Passages of documents in an archive: spans, sides, relations."""

import itertools
import textwrap
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pytest

import palimpsest.evidence.passages
from palimpsest.evidence.passages import (
    PASSAGES,
    PassageFilter,
    document_pairs,
    iterate_passages,
    passages_of,
    top_passages,
)
from palimpsest.exports.passages import write_passages
from palimpsest.ingest.text.decode import decode
from palimpsest.ingest.text.normalise import normalise_text
from palimpsest.records.settings import PassageSettings
from palimpsest.store.archive import Snapshot, StoredArchive
from tests.pipeline.corpora import (
    documents_dated,
    ingest,
    make_paragraph,
    make_words,
    rebuilt_documents,
    reuse_articles,
    write_articles,
)
from tests.strategies import replace_words

Articles = dict[str, list[str]]
SIDES = ("left", "right")


def archive_of(place: Path, articles: Articles) -> Snapshot:
    """Return an archive of articles."""
    ingest(write_articles(place / "in", articles), place / "press")
    return StoredArchive(place / "press").snapshot()


def passage_rows(snapshot: Snapshot, **more: Any) -> list[dict[str, Any]]:
    """Return all passages of an archive."""
    return top_passages(snapshot, limit=1000, **more).to_pylist()


def name_of(row: dict[str, Any], side: str) -> str:
    return Path(unquote(row[f"{side}_uri"])).name


def ids_by_name(snapshot: Snapshot) -> dict[str, str]:
    rows = snapshot.read("sources", ["uri", "document_id"]).to_pylist()
    return {Path(unquote(row["uri"])).name: row["document_id"] for row in rows}


def cut(row: dict[str, Any], side: str) -> str:
    """Return the characters of the decoded file at which a passage stands."""
    raw = Path(unquote(row[f"{side}_uri"].removeprefix("file://"))).read_bytes()
    text = decode(raw).utf8.decode()
    return text[row[f"{side}_start_char"] : row[f"{side}_end_char"]]


def make_sentence(seed: int, count: int = 12, extra: str = "") -> str:
    return f"{' '.join(make_words(seed, count)).capitalize()}{extra}."


def make_prose(seed: int, extra: str = "") -> str:
    """Return a paragraph of three sentences."""
    return " ".join(make_sentence(10 * seed + k, extra=extra) for k in range(3))


def as_it_is(paragraph: str) -> str:
    return paragraph


def hard_wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, 64)


def wrapped_and_indented(paragraph: str) -> str:
    return textwrap.fill(paragraph, 64, initial_indent="    ").replace(" ", "  ", 5)


def decomposed_and_wrapped(paragraph: str) -> str:
    return hard_wrapped(unicodedata.normalize("NFD", paragraph))


CAFE, CYRILLIC = " dans un café très animé", " ещё короткая строка о Чайковском"
LAYOUTS = [as_it_is, hard_wrapped, wrapped_and_indented, decomposed_and_wrapped]


@pytest.mark.parametrize("extra", [CAFE, CYRILLIC], ids=["latin", "cyrillic"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_spans_reproduce_the_passages(
    layout: Callable[[str], str], extra: str, tmp_path: Path
) -> None:
    shared = [make_prose(seed, extra) for seed in (1, 2, 3)]
    begun, ended = make_sentence(901, extra=extra), make_sentence(902, extra=extra)
    articles = {
        "a.txt": [make_prose(4), f"{make_sentence(903)} {begun}", *shared, make_prose(5)],
        "b.txt": [make_prose(6), begun, *shared, f"{ended} {make_sentence(904)}"],
        "c.txt": [make_prose(7), *shared[:2], ended, make_prose(8, extra)],
    }
    set_out = {
        name: [layout(one) if name != "b.txt" else one for one in paragraphs]
        for name, paragraphs in articles.items()
    }
    rows = passage_rows(archive_of(tmp_path, set_out))
    assert {(name_of(row, "left"), name_of(row, "right")) for row in rows} == {
        ("a.txt", "b.txt"),
        ("a.txt", "c.txt"),
        ("b.txt", "c.txt"),
    }
    for row in rows:
        for side in SIDES:
            text, passage = cut(row, side), row[f"{side}_passage"]
            assert normalise_text(text) == normalise_text(passage)
            assert text == text.strip()
            assert len(passage.split()) == row[f"{side}_words"]
    whole = next(row for row in rows if name_of(row, "right") == "b.txt")
    expected = "\n\n".join([begun, *shared]).rstrip(".")
    assert whole["left_passage"] == whole["right_passage"] == expected
    assert whole["relation"] == "exact"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1251"])
def test_spans_reproduce_the_passages_in_other_encodings(encoding: str, tmp_path: Path) -> None:
    shared = (
        "Чайковский написал ещё одну симфонию о зимней дороге и старом мосте через реку. "
        "Пианист, которому она была посвящена, сыграл её впервые поздней осенью в большом зале."
    )
    articles = {
        "a.txt": "Утренняя газета напечатала вчера подробный отчёт о новом сезоне.",
        "b.txt": "В столице говорят только об этом вечере, билетов давно уже нет.",
    }
    folder = tmp_path / "in"
    folder.mkdir()
    for name, beginning in articles.items():
        text = f"{beginning}\r\n\r\n{shared}\r\n"
        (folder / name).write_bytes(text.encode(encoding))
    ingest(folder, tmp_path / "press")
    [row] = passage_rows(StoredArchive(tmp_path / "press").snapshot())
    for side in SIDES:
        assert row[f"{side}_passage"] == cut(row, side) == shared.rstrip(".")


def test_spans_in_scripts_without_spaces_reproduce_the_passages(tmp_path: Path) -> None:
    signs = [chr(code) for code in Random(1).sample(range(0x4E00, 0x9000), 400)]
    shared = ["".join(signs[:60]) + "。", "".join(signs[60:130]) + "。"]
    articles = {
        "a.txt": ["".join(signs[130:190]) + "。", *shared],
        "b.txt": [*(textwrap.fill(one, 32) for one in shared), "".join(signs[190:260]) + "。"],
    }
    [row] = passage_rows(archive_of(tmp_path, articles))
    for side in SIDES:
        assert normalise_text(cut(row, side)) == normalise_text(row[f"{side}_passage"])
        assert row[f"{side}_words"] == 130


def test_paragraphs_make_no_difference(tmp_path: Path) -> None:
    articles = {
        "a.txt": [make_prose(1), make_prose(2), make_prose(3), make_prose(4)],
        "b.txt": [make_prose(5), make_paragraph(9), make_prose(2), make_prose(3), make_prose(6)],
        "c.txt": [make_prose(7), make_prose(3), make_sentence(8), make_paragraph(9, edit=4)],
    }
    flat = articles | {"b.txt": ["  ".join(articles["b.txt"])]}  # as long as with line breaks
    found = []
    for place, written in (("cut", articles), ("flat", flat)):
        rows = passage_rows(archive_of(tmp_path / place, written))
        for row, side in itertools.product(rows, SIDES):
            row[f"{side}_name"] = name_of(row, side)
            row[f"{side}_passage"] = row[f"{side}_passage"].replace("\n\n", " ")
            del row[f"{side}_document_id"], row[f"{side}_uri"]
        rows.sort(
            key=lambda row: [row[name] for name in ("left_name", "right_name", "left_start_char")]
        )
        found.append(rows)
    assert found[0] == found[1]
    assert len(found[0]) >= 3


@pytest.fixture(scope="module")
def reused(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return archive_of(tmp_path_factory.mktemp("reused"), reuse_articles())


def test_passages_of_a_document_have_it_on_one_side(reused: Snapshot) -> None:
    everything = passage_rows(reused)
    assert everything
    for document in ids_by_name(reused).values():
        rows = passage_rows(reused, selection=PassageFilter(document))
        assert rows == [
            row for row in everything if document in {row[f"{side}_document_id"] for side in SIDES}
        ]
    assert passage_rows(reused, selection=PassageFilter("no such document")) == []


def test_passages_with_most_matching_words_come_first_up_to_the_limit(reused: Snapshot) -> None:
    everything = passage_rows(reused)
    for limit in (1, 3, len(everything) - 1, 1000):
        rows = top_passages(reused, limit=limit).to_pylist()
        assert len(rows) == min(limit, len(everything))
        sizes = [row["matched_words"] for row in rows]
        assert sizes == sorted(sizes, reverse=True)
        assert all(row in everything for row in rows)
    assert top_passages(reused, limit=0).num_rows == 0


def test_pairs_of_documents_share_something(reused: Snapshot) -> None:
    names = {document: name[0] for name, document in ids_by_name(reused).items()}
    pairs = document_pairs(reused).to_pylist()
    sizes = [row["matched"] for row in pairs]
    assert sizes == sorted(sizes, reverse=True)
    assert all(row["one"] < row["other"] for row in pairs)
    found = {"".join(sorted(names[row[side]] for side in ("one", "other"))) for row in pairs}
    assert found == {"ab", "ac", "ad", "ae", "af", "bc", "be", "bf", "ce", "ef"}
    [document] = [document for document, name in names.items() if name == "d"]
    assert [
        {names[row["one"]], names[row["other"]]}
        for row in document_pairs(reused, document).to_pylist()
    ] == [{"a", "d"}]


def all_rows(snapshot: Snapshot, workers: int = 1) -> list[dict[str, Any]]:
    tables = list(passages_of(snapshot, document_pairs(snapshot), workers=workers))
    assert all(table.schema == PASSAGES for table in tables)
    return pa.concat_tables(tables).to_pylist()


def test_chunks_and_workers_make_no_difference(
    reused: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = all_rows(reused)
    assert len(whole) >= 10
    assert all_rows(reused, workers=3) == whole
    for size, workers in ((1, 1), (5, 20)):
        monkeypatch.setattr(palimpsest.evidence.passages, "PAIRS_AT_ONCE", size)
        assert all_rows(reused, workers) == whole


def test_archive_without_overlaps_has_no_passages(tmp_path: Path) -> None:
    snapshot = archive_of(tmp_path, {"a.txt": [make_prose(1)], "b.txt": [make_prose(2)]})
    assert document_pairs(snapshot).num_rows == 0
    for found in (
        top_passages(snapshot),
        top_passages(snapshot, PassageFilter("no such document")),
    ):
        assert found.schema == PASSAGES
        assert found.num_rows == 0
    one, other = sorted(ids_by_name(snapshot).values())
    [found] = passages_of(snapshot, pa.table({"one": [one], "other": [other]}))
    assert found.schema == PASSAGES
    assert found.num_rows == 0


EARLY, LATE = datetime(1999, 5, 1, tzinfo=UTC), datetime(2001, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("date_of_a", "date_of_b", "left", "direction"),
    [
        (EARLY, LATE, "a.txt", "by-date"),
        (LATE, EARLY, "b.txt", "by-date"),
        (None, LATE, "b.txt", "undated"),
        (LATE, None, "a.txt", "undated"),
        (None, None, "a.txt", "undated"),
        (EARLY, EARLY, "a.txt", "same-date"),
    ],
)
def test_left_is_the_earlier_then_the_dated_then_the_first_uri(
    tmp_path: Path,
    date_of_a: datetime | None,
    date_of_b: datetime | None,
    left: str,
    direction: str,
) -> None:
    place = write_articles(
        tmp_path / "in",
        {"a.txt": [make_prose(1), make_prose(2)], "b.txt": [make_prose(2), make_prose(3)]},
    )
    digests = {name: sha256((place / name).read_bytes()).hexdigest() for name in ("a.txt", "b.txt")}
    dates = {digests["a.txt"]: date_of_a, digests["b.txt"]: date_of_b}
    with documents_dated(dates.get):
        ingest(place, tmp_path / "press")
    snapshot = StoredArchive(tmp_path / "press").snapshot()
    [row] = passage_rows(snapshot)
    assert name_of(row, "left") == left
    assert row["direction"] == direction
    ids = ids_by_name(snapshot)
    for side in SIDES:
        name = name_of(row, side)
        assert row[f"{side}_document_id"] == ids[name]
        assert row[f"{side}_published_at"] == dates[digests[name]]


def test_text_in_many_documents_is_recurring(tmp_path: Path) -> None:
    notice = make_words(1, 40)
    articles = {
        "a.txt": [" ".join(notice), make_prose(2), make_prose(3)],
        "b.txt": [
            make_prose(4),
            " ".join(notice),
            make_prose(5),
            make_prose(7),
            make_prose(8),
            make_prose(2),
        ],
        "c.txt": [make_prose(6), " ".join(replace_words(Random(1), notice, 2))],
    }
    snapshot = archive_of(tmp_path, articles)
    for least, expected in ((3, True), (4, False)):
        rows = passage_rows(snapshot, settings=PassageSettings(recurring_documents=least))
        notices = [row for row in rows if notice[0] in row["left_passage"]]
        others = [row for row in rows if notice[0] not in row["left_passage"]]
        assert len(notices) == 3
        assert [row["is_recurring"] for row in notices] == [expected] * 3
        assert [row["is_recurring"] for row in others] == [False]
    assert not any(row["is_recurring"] for row in passage_rows(snapshot))


def test_passage_is_recurring_if_half_of_its_words_are(tmp_path: Path) -> None:
    notice = make_paragraph(1, 30)
    articles = {
        "a.txt": [make_prose(2), notice, make_prose(3)],
        "b.txt": [make_prose(4), make_prose(2), notice],
        "c.txt": [make_prose(5), notice, make_prose(6)],
    }
    rows = passage_rows(
        archive_of(tmp_path, articles), settings=PassageSettings(recurring_documents=3)
    )
    found = {(row["left_words"], row["is_recurring"]) for row in rows}
    assert found == {(66, False), (30, True)}


def test_long_passage_with_a_notice_in_it_is_not_recurring(tmp_path: Path) -> None:
    notice, story = make_paragraph(1, 20), make_paragraph(2, 80)
    article = f"{story} {notice}"  # one paragraph, a fifth of which is in many articles
    articles = {"a.txt": [article], "b.txt": [make_prose(3), article]}
    articles |= {
        f"c{n}.txt": [make_prose(4 + n), f"{make_paragraph(9 + n, 40)} {notice}"] for n in range(3)
    }
    rows = passage_rows(
        archive_of(tmp_path, articles), settings=PassageSettings(recurring_documents=4)
    )
    found = {(row["left_words"], row["is_recurring"]) for row in rows}
    assert found == {(100, False), (20, True)}


def test_relation_depends_on_the_words_of_the_passage(tmp_path: Path) -> None:
    words, new = make_words(1, 60), make_words(2, 60)
    copies = {
        "exact": words,
        "near": replace_words(Random(1), words, 5),
        "contained": [*words[:30], *new[:25], *words[30:]],
        "partial": replace_words(Random(2), words, 18),
    }
    for relation, copy in copies.items():
        snapshot = archive_of(
            tmp_path / relation,
            {
                "a.txt": [make_prose(3), " ".join(words), make_prose(4)],
                "b.txt": [make_prose(5), " ".join(copy), make_prose(6)],
            },
        )
        [row] = passage_rows(snapshot)
        assert row["relation"] == relation
        assert row["is_clear"]
        matched = {"near": 55, "partial": 42}.get(relation, 60)
        assert row["matched_words"] == matched
        together = row["left_words"] + row["right_words"] - matched
        assert row["resemblance"] == pytest.approx(matched / together)


def test_summary_is_found_between_documents_that_share_something(tmp_path: Path) -> None:
    chance = Random(1)
    long = [make_words(seed, 80) for seed in range(10)]
    shared_words = chance.sample([word for one in long for word in one], 60)
    quotation = make_words(90, 16)
    articles = {
        "long.txt": [*(" ".join(one) for one in long), " ".join(quotation)],
        "short.txt": [make_paragraph(50, 90), " ".join(quotation), make_paragraph(51, 90)],
        "sum.txt": [make_paragraph(52, 90), " ".join(shared_words), make_paragraph(53, 90)],
    }
    articles["sum.txt"].append(" ".join(quotation))
    archive = archive_of(tmp_path, articles)
    assert not any(row["relation"] == "summary" for row in passage_rows(archive))
    rows = passage_rows(archive, settings=PassageSettings(strong_score=30.0))
    relations = {(name_of(r, "left"), name_of(r, "right"), r["relation"]) for r in rows}
    assert relations == {
        ("long.txt", "short.txt", "exact"),
        ("long.txt", "sum.txt", "exact"),
        ("long.txt", "sum.txt", "summary"),
        ("short.txt", "sum.txt", "exact"),
    }
    [summary] = [row for row in rows if row["relation"] == "summary"]
    assert summary["is_clear"]
    assert summary["left_words"] >= 700
    assert set(shared_words) >= set(summary["right_passage"].lower().split())
    assert summary["matched_words"] >= 55


def test_failed_write_leaves_no_file(
    reused: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError("no more room")

    monkeypatch.setattr(PassageFilter, "select", fail)
    with pytest.raises(OSError, match="no more room"):
        write_passages(reused, tmp_path / "passages.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_quoted_passages_are_in_the_rebuilt_text(
    layout: Callable[[str], str], tmp_path: Path
) -> None:
    shared = [make_prose(seed, CAFE) for seed in (1, 2, 3)]
    begun, ended = make_sentence(901), make_sentence(902)
    articles = {
        "a.txt": ["Short.", f"{make_sentence(903)} {begun}", *shared, make_prose(5)],
        "b.txt": [begun, *shared, f"{ended} {make_sentence(904)}", "End."],
    }
    set_out = {name: [layout(one) for one in paragraphs] for name, paragraphs in articles.items()}
    snapshot = archive_of(tmp_path, set_out)
    texts = rebuilt_documents(snapshot)
    [rows] = [part.to_pylist() for part in iterate_passages(snapshot, around_chars=50, workers=1)]
    assert rows
    for row in rows:
        for side in SIDES:
            text, start = texts[row[f"{side}_document_id"]], row[f"{side}_text_start"]
            end = start + len(row[f"{side}_passage"])
            assert text[start:end] == row[f"{side}_passage"]
            assert text[max(0, start - 50) : start] == row[f"{side}_before"]
            assert text[end : end + 50] == row[f"{side}_after"]


def document_scores(place: Path, articles: Articles) -> dict[tuple[str, str], set[float]]:
    """Return the resemblances of documents that the passages of each pair give, by names."""
    scores: dict[tuple[str, str], set[float]] = {}
    for row in passage_rows(archive_of(place, articles)):
        pair = name_of(row, "left"), name_of(row, "right")
        scores.setdefault(pair, set()).add(round(row["document_resemblance"], 4))
    return scores


def test_resemblance_of_documents_counts_matched_words_of_both(tmp_path: Path) -> None:
    shared, more = make_paragraph(1), make_paragraph(2)
    articles = {
        "a.txt": [shared, make_paragraph(3)],
        "b.txt": [make_paragraph(4), shared, make_paragraph(5)],
        "c.txt": [more, make_paragraph(6), make_paragraph(7), make_paragraph(8)],
        "d.txt": [make_paragraph(9), more],
        "e.txt": [make_paragraph(10), make_paragraph(11)],
        "f.txt": [make_paragraph(11), make_paragraph(10)],
    }
    sizes = {name: len(" ".join(texts).split()) for name, texts in articles.items()}
    words = len(shared.split())
    assert words == len(more.split())
    expected = {
        pair: {round(words / (sizes[pair[0]] + sizes[pair[1]] - words), 4)}
        for pair in (("a.txt", "b.txt"), ("c.txt", "d.txt"))
    }
    assert document_scores(tmp_path, articles) == expected | {("e.txt", "f.txt"): {1.0}}


def test_headers_do_not_count_for_the_resemblance_of_documents(tmp_path: Path) -> None:
    body = [make_paragraph(1), make_paragraph(2)]
    articles = {
        "a.txt": ["-- By Tove Larson", *body],
        "b.txt": ["-- By Arvid Holm, in the harbour office", *body],
    }
    assert document_scores(tmp_path, articles) == {("a.txt", "b.txt"): {1.0}}


def test_text_that_one_document_repeats_counts_once(tmp_path: Path) -> None:
    shared = make_paragraph(1)
    articles = {"a.txt": [shared, make_paragraph(2), shared], "b.txt": [shared, make_paragraph(3)]}
    words = len(shared.split())
    [(pair, [score])] = document_scores(tmp_path, articles).items()
    assert pair == ("a.txt", "b.txt")
    assert score == round(words / (5 * words - words), 4)


def test_chance_passages_do_not_make_documents_alike(tmp_path: Path) -> None:
    quoted = make_words(1, 9)
    articles = {
        "a.txt": [" ".join([*make_words(2, 40), *quoted, *make_words(3, 40)])],
        "b.txt": [" ".join([*make_words(4, 40), *quoted, *make_words(5, 40)])],
    }
    assert document_scores(tmp_path, articles) == {("a.txt", "b.txt"): {0.0}}
