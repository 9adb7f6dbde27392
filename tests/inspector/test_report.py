"""The report tells what the tables hold, and nothing in it is markup of an article."""

from pathlib import Path

from inspector.report import render_report
from store.archive import Archive
from tests.flows.corpora import ingest, make_paragraph, make_words, write_articles


def test_counts_are_those_of_the_tables(examples_archive: Path) -> None:
    snapshot = Archive(examples_archive).snapshot()
    page = render_report("press", snapshot)
    rows = {name: snapshot.rows(name) for name in ("sources", "documents", "paragraphs")}
    assert f"{rows['sources']} sources, {rows['documents']} documents, 1 sources rejected" in page
    assert f"139 paragraphs seen = {rows['paragraphs']} kept + 22 folded + 30 repeated" in page
    assert "| empty | 1 |" in page
    assert page.count("\n| run | finished |") == 1


def test_most_reused_paragraph_comes_first(tmp_path: Path) -> None:
    twice, thrice = make_paragraph(1), make_paragraph(2)
    articles = {"a.txt": [twice, thrice], "b.txt": [thrice, twice], "c.txt": [thrice]}
    ingest(write_articles(tmp_path / "in", articles), tmp_path / "press")
    page = render_report("press", Archive(tmp_path / "press").snapshot())
    assert page.index(f"| 3 | {thrice[:40]}") < page.index(f"| 2 | {twice[:40]}")


def test_text_of_articles_and_names_of_files_are_no_markup(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> [here](javascript:x) | # **bold** `code` \x1b[31m"
    paragraph = f"{hostile} {' '.join(make_words(3, 30))}"
    articles = {"<b>|.txt": [paragraph], "c.txt": [paragraph, make_paragraph(4)]}
    ingest(write_articles(tmp_path / "in", articles), tmp_path / "press")
    page = render_report("<i>press</i>", Archive(tmp_path / "press").snapshot())
    [line] = [line for line in page.splitlines() if "alert" in line]
    assert not any(mark in page for mark in ("<script", "<b>", "<i>", "\x1b", "**bold"))
    assert "\\[here\\](java" in line
    assert line.replace("\\|", "").count("|") == 4


def test_empty_archive_has_a_report(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_bytes(b"")
    ingest(tmp_path / "in", tmp_path / "press")
    page = render_report("press", Archive(tmp_path / "press").snapshot())
    assert "0 paragraphs seen = 0 kept" in page
    assert "## Most reused paragraphs\n\nNone." in page
