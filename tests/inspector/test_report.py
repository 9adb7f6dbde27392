"""A report has the values of the tables, as HTML or Markdown; articles add no markup to it."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from lxml.html import HtmlElement

from palimpsest.evidence.passages import document_pairs, passages_of
from palimpsest.ingest.text.normalise import normalise_text
from palimpsest.inspector.report import (
    PASSAGES,
    PLACES,
    build_document_report,
    build_report,
    format_of,
    render_document_report,
    render_report,
)
from palimpsest.records.errors import SettingsError
from palimpsest.store.archive import Snapshot
from palimpsest.store.rebuild import rebuild_document
from palimpsest.store.views import connect
from tests.inspector.hostile_archive import HOSTILE, catalogue_of, hostile_archive, snapshot_of
from tests.inspector.report_files import letters, parsed
from tests.pipeline.corpora import ingest, make_paragraph, make_words, write_articles

Report = dict[str, Any]


def report_of(archive: Path, folder: Path, name: str = "press") -> tuple[Snapshot, Report]:
    snapshot = snapshot_of(archive)
    return snapshot, build_report(name, catalogue_of(snapshot, folder))


@pytest.fixture(scope="module")
def examples_report(
    examples_archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Snapshot, Report]:
    return report_of(examples_archive, tmp_path_factory.mktemp("catalogue"))


@pytest.fixture(scope="module")
def hostile_report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Snapshot, Report]:
    place = tmp_path_factory.mktemp("hostile")
    return report_of(hostile_archive(place), place, "<script>window.ran=9</script>")


@pytest.fixture(params=["examples", "hostile"])
def reported(request: pytest.FixtureRequest) -> tuple[Snapshot, Report]:
    pair: tuple[Snapshot, Report] = request.getfixturevalue(f"{request.param}_report")
    return pair


def asked(snapshot: Snapshot, query: str, **given: Any) -> list[Any]:
    with connect(snapshot) as connection:
        return connection.execute(query, given or None).fetchall()


def text_of(root: HtmlElement, heading: str) -> str:
    """Return the text of a section, with single blanks."""
    [section] = root.xpath(f"//section[@aria-labelledby='{heading}']")
    return " ".join(section.text_content().split())


def test_counts_are_those_of_the_tables(reported: tuple[Snapshot, Report]) -> None:
    snapshot, report = reported
    root = parsed(render_report(report, "html"))
    [(places, texts, words, distinct)] = asked(
        snapshot,
        """SELECT count(*), count(DISTINCT text_id), sum(words),
            (SELECT sum(words) FROM folds) FROM occurrences JOIN folds USING (text_id)""",
    )
    rows = {name: snapshot.rows(name) for name in ("sources", "documents", "paragraphs")}
    folded = snapshot.rows("variants")
    lead = " ".join(root.xpath("//p[@class='lead']")[0].text_content().split())
    assert f"{rows['documents']} documents from {rows['sources']} sources" in lead
    new_text = text_of(root, "new")
    assert f"{distinct / words:.0%} of {words:,} words are new text" in new_text
    assert (
        f"{places} paragraphs seen = {rows['paragraphs']} kept + {folded} folded + "
        f"{places - texts} repeated word for word: nothing is missing." in new_text
    )
    found, new, known, rejected = asked(
        snapshot,
        "SELECT sum(sources_found), sum(sources_new), sum(sources_known), sum(sources_rejected)"
        " FROM runs",
    )[0]
    assert f"{found} sources found = {new} new + {known} known + {rejected} rejected" in new_text
    assert rejected == snapshot.rows("rejects") == 1
    assert "1" in text_of(root, "rejects")


def test_losses_show_in_the_balance(examples_report: tuple[Snapshot, Report]) -> None:
    _, report = examples_report
    sources, paragraphs = report["balances"]
    lacking = [sources, paragraphs | {"total": paragraphs["total"] + 3, "missing": 3}]
    for shown_as in ("html", "markdown"):
        page = render_report(report | {"balances": lacking}, shown_as)  # type: ignore[arg-type]
        assert page.count("does not balance") == 1
        assert page.count("nothing is missing") == 1


def test_reused_paragraphs_are_those_in_most_documents(reported: tuple[Snapshot, Report]) -> None:
    snapshot, report = reported
    expected = asked(
        snapshot,
        """SELECT p.paragraph_id, count(DISTINCT o.document_id), count(*)
            FROM paragraphs p JOIN folds f USING (paragraph_id)
            JOIN occurrences o ON o.text_id = f.text_id
            WHERE p.words >= 20 GROUP BY ALL HAVING count(DISTINCT o.document_id) > 1
            ORDER BY 2 DESC, any_value(p.words) DESC, 1 LIMIT 12""",
    )
    found = [(one["text_id"], one["documents"], one["places"]) for one in report["reused"]]
    assert found == expected
    assert found


def test_places_of_a_reused_paragraph_are_the_earliest(reported: tuple[Snapshot, Report]) -> None:
    snapshot, report = reported
    rows = asked(
        snapshot,
        """SELECT f.paragraph_id, d.document_id, o.ordinal
            FROM occurrences o JOIN folds f USING (text_id) JOIN documents d USING (document_id)
            JOIN (SELECT document_id, min(uri) AS uri FROM sources GROUP BY 1) s
                USING (document_id)
            ORDER BY d.published_at NULLS LAST, s.uri, o.ordinal""",
    )
    for one in report["reused"]:
        expected = [tuple(row[1:]) for row in rows if row[0] == one["text_id"]]
        found = [(row["document_id"], row["ordinal"]) for row in one["witnesses"]]
        assert found == expected[:PLACES]
        assert one["places"] == len(expected)


def test_text_in_two_variants_counts_a_document_once(tmp_path: Path) -> None:
    twice = [make_paragraph(1), make_paragraph(1, edit=3)]
    articles = {"a.txt": twice, "b.txt": [make_paragraph(1), make_paragraph(2)]}
    ingest(write_articles(tmp_path / "in", articles), tmp_path / "press")
    _, report = report_of(tmp_path / "press", tmp_path)
    [one] = report["reused"]
    assert (one["documents"], one["places"]) == (2, 3)


def test_pairs_have_the_longest_clear_passages_of_both(reported: tuple[Snapshot, Report]) -> None:
    snapshot, report = reported
    assert report["pairs"]
    root = parsed(render_report(report, "html"))
    blocks = root.xpath("//div[@class='shared']")
    pairs = [[pair[side]["document_id"] for side in ("left", "right")] for pair in report["pairs"]]
    table = pa.table(dict(zip(("one", "other"), zip(*pairs, strict=True), strict=True)))
    rows = [row for part in passages_of(snapshot, table) for row in part.to_pylist()]
    for ids, pair, block in zip(pairs, report["pairs"], blocks, strict=True):
        clear = sorted(
            (
                row
                for row in rows
                if row["is_clear"] and [row["left_document_id"], row["right_document_id"]] == ids
            ),
            key=lambda row: (row["is_recurring"], -row["matched_words"]),
        )
        assert pair["passages_found"] == len(clear)
        assert len(pair["passages"]) == min(PASSAGES, len(clear))
        figures = block.xpath(".//figure")
        for row, figure in zip(clear, figures, strict=False):
            assert f"{row['matched_words']:,} word" in figure.xpath("figcaption")[0].text_content()
            shown = figure.xpath(".//*[contains(@class, 'paragraph')]")
            for side, one in zip(("left", "right"), shown, strict=False):
                part = letters(one.text_content()).strip("…")
                assert part
                assert part in letters(row[f"{side}_passage"])


def test_different_words_are_marked_and_identical_text_is_shown_once(tmp_path: Path) -> None:
    same, long = make_paragraph(1), make_paragraph(2, 400)
    changed = long.split()
    changed[300] = "altered"
    articles = {"a.txt": [make_paragraph(9), long], "b.txt": [" ".join(changed)]}
    articles |= {"c.txt": [same, make_paragraph(7)], "d.txt": [make_paragraph(8), same]}
    ingest(write_articles(tmp_path / "in", articles), tmp_path / "press")
    _, report = report_of(tmp_path / "press", tmp_path)
    root = parsed(render_report(report, "html"))
    [edited] = root.xpath("//figure[div]")
    assert [one.text for one in edited.iter("del")] == [long.split()[300]]
    assert [one.text for one in edited.iter("ins")] == ["altered"]
    for shown in edited.xpath(".//p"):  # around the change, in whole words
        words = shown.text_content().split()
        assert (words[0], words[-1]) == ("…", "…")
        assert set(words[1:-1]) <= {*long.split(), "altered"}
    [once] = root.xpath("//figure[blockquote]")
    assert letters(once.xpath("blockquote")[0].text_content()) + "." == letters(same)
    assert "word for word" in once.xpath("figcaption")[0].text_content()


def test_markup_in_articles_and_names_is_text(hostile_report: tuple[Snapshot, Report]) -> None:
    _, report = hostile_report
    text = render_report(report, "html")
    root = parsed(text)
    assert not list(root.iter("script"))
    shown = letters(root.text_content())
    for one in HOSTILE:
        assert letters(normalise_text(one)) in shown
    for name in ("<script>window.ran=5<script>.txt", '"><img src=x onerror=window.ran=6>.txt'):
        assert letters(name) in shown
    assert letters(root.xpath("//h1")[0].text_content()) == "<script>window.ran=9</script>"
    assert root.xpath("//title")[0].text.startswith("<script>window.ran=9</script>, version 2")
    assert "20240505 \ufffd" in text  # bytes that are no UTF-8
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]", text)


def test_foreign_text_cannot_change_the_direction_of_its_line(
    hostile_report: tuple[Snapshot, Report],
) -> None:
    root = parsed(render_report(hostile_report[1], "html"))
    turned = [one for one in root.iter() if "\u202e" in (one.text or "")]
    assert turned
    for one in turned:
        around = [one, *one.iterancestors()]
        assert any(each.tag == "bdi" or each.get("dir") == "auto" for each in around)


def test_runs_and_dates_are_plotted(
    hostile_report: tuple[Snapshot, Report],
) -> None:
    snapshot, report = hostile_report
    root = parsed(render_report(report, "html"))
    growth, dates = (
        root.xpath(f"//section[@aria-labelledby='{one}']//svg") for one in ("growth", "dates")
    )
    for plots in (growth, dates):
        [plot] = plots
        assert plot.get("role") == "img"
        assert plot.get("aria-label")
    seen = [row[0] for row in asked(snapshot, "SELECT paragraphs_seen FROM runs ORDER BY run_id")]
    titles = [one.text for one in growth[0].iter("title")]
    assert [int(re.search(r": (\d+) paragraphs", one)[1]) for one in titles] == seen  # type: ignore[index]
    days = asked(
        snapshot,
        "SELECT strftime(published_at, '%Y-%m-%d'), count(*) FROM documents GROUP BY 1 ORDER BY 1",
    )
    bars = [one.text.split(" document")[0] for one in dates[0].iter("title")]
    assert [bar for bar in bars if not bar.endswith(": 0")] == [
        f"{day}: {count}" for day, count in days
    ]


def test_markdown_has_the_same_values(reported: tuple[Snapshot, Report]) -> None:
    snapshot, report = reported
    page = render_report(report, "markdown")
    rows = {name: snapshot.rows(name) for name in ("sources", "documents", "paragraphs")}
    assert f"{rows['sources']} sources, {rows['documents']} documents, 1 sources rejected" in page
    assert (
        f"- {report['counts']['occurrences']} paragraphs seen = {rows['paragraphs']} kept" in page
    )
    [reason] = snapshot.read("rejects").column("reason").to_pylist()
    assert f"| {reason} | 1 |" in page
    assert page.count("\n| run | started |") == 1
    for heading in ("Documents that share the most", "Most reused paragraphs", "Rejected sources"):
        [table] = re.findall(rf"## {heading}\n\n(.*?)\n\n", page + "\n", re.DOTALL)
        assert table.startswith("| ")


def test_most_reused_paragraph_comes_first_in_markdown(tmp_path: Path) -> None:
    twice, thrice = make_paragraph(1), make_paragraph(2)
    articles = {"a.txt": [twice, thrice], "b.txt": [thrice, twice], "c.txt": [thrice]}
    ingest(write_articles(tmp_path / "in", articles), tmp_path / "press")
    page = render_report(report_of(tmp_path / "press", tmp_path)[1], "markdown")
    assert page.index(f"| 3 | {thrice[:40]}") < page.index(f"| 2 | {twice[:40]}")


def test_article_text_and_file_names_are_not_markup_in_markdown(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> [here](javascript:x) | # **bold** `code` \x1b[31m"
    paragraph = f"{hostile} {' '.join(make_words(3, 30))}"
    articles = {"<b>|.txt": [paragraph], "c.txt": [paragraph, make_paragraph(4)]}
    ingest(write_articles(tmp_path / "in", articles), tmp_path / "press")
    _, report = report_of(tmp_path / "press", tmp_path, "<i>press</i>")
    page = render_report(report, "markdown")
    [line] = [line for line in page.splitlines() if "alert" in line]
    assert not any(mark in page for mark in ("<script", "<b>", "<i>", "\x1b", "**bold"))
    assert "\\[here\\](java" in line
    assert line.replace("\\|", "").count("|") == 4


@pytest.mark.parametrize("shown_as", ["html", "markdown"])
def test_empty_archive_has_a_report(shown_as: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_bytes(b"")
    ingest(tmp_path / "in", tmp_path / "press")
    page = render_report(report_of(tmp_path / "press", tmp_path)[1], shown_as)  # type: ignore[arg-type]
    assert "0 paragraphs seen = 0 kept" in page
    if shown_as == "html":
        assert text_of(parsed(page), "reused") == "Most reused paragraphs None."
    else:
        assert "## Most reused paragraphs\n\nNone." in page


def test_report_does_not_say_when_it_was_created(
    examples_report: tuple[Snapshot, Report],
) -> None:
    """So that it is the same again, and can be compared."""
    snapshot, report = examples_report
    page = render_report(report, "html")
    days = set(re.findall(r"20\d\d-\d\d-\d\d \d\d:\d\d", page))
    moments = {
        str(one)[:16] for row in asked(snapshot, "SELECT started_at FROM runs") for one in row
    }
    assert days <= moments | {snapshot.manifest.published_at[:16].replace("T", " ")}


def test_extension_chooses_the_format() -> None:
    assert [format_of(name, "--out") for name in ("a.html", "b.HTM", "c/d.md")] == [
        "html",
        "html",
        "markdown",
    ]
    for name in ("report", "report.pdf", "md"):
        with pytest.raises(SettingsError, match=r"--out .*ends in none of \.html, \.htm, \.md"):
            format_of(name, "--out")


def test_file_of_a_document_has_its_text_and_links_to_its_partners(
    examples_archive: Path, tmp_path: Path
) -> None:
    snapshot = snapshot_of(examples_archive)
    catalogue = catalogue_of(snapshot, tmp_path)
    pairs = document_pairs(snapshot).to_pylist()
    for document_id in sorted({one[side] for one in pairs for side in ("one", "other")})[:5]:
        document_report = build_document_report("press", catalogue, document_id)
        root = parsed(render_document_report(document_report))
        [article] = root.xpath("//article")
        shown = "".join(letters(p.text_content()) for p in article.xpath(".//p[@dir]"))
        assert shown == letters(rebuild_document(snapshot, document_id))
        mine = [one for one in pairs if document_id in (one["one"], one["other"])]
        others = {one[side] for one in mine for side in ("one", "other")} - {document_id}
        assert {one["document_id"] for one in document_report["partners"]} == others
        assert len(root.xpath("//h3")) == len(others)
        links = {one.get("href") for one in article.iter("a")}
        assert links
        assert links <= {f"#with{n + 1}" for n in range(len(others))}


def test_file_of_a_document_that_shares_nothing_says_so(
    examples_archive: Path, tmp_path: Path
) -> None:
    snapshot = snapshot_of(examples_archive)
    [alone] = [
        one["document_id"]
        for one in snapshot.read("sources").to_pylist()
        if "dunmere" in one["uri"]
    ]
    root = parsed(
        render_document_report(
            build_document_report("press", catalogue_of(snapshot, tmp_path), alone)
        )
    )
    assert text_of(root, "shares") == "Shares passages with No other document in this archive."
    assert not list(root.xpath("//article")[0].iter("a"))


def test_markup_in_the_file_of_a_document_is_text(
    hostile_report: tuple[Snapshot, Report], tmp_path: Path
) -> None:
    snapshot, report = hostile_report
    first = report["pairs"][0]["left"]["document_id"]
    document_report = build_document_report("</title><b>", catalogue_of(snapshot, tmp_path), first)
    root = parsed(render_document_report(document_report))
    assert document_report["partners"]
    shown = letters(root.text_content())
    for one in HOSTILE:
        assert letters(normalise_text(one)) in shown
    assert not list(root.iter("script", "b"))
