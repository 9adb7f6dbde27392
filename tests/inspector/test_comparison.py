"""Two documents side by side as one file: all of their text, all passages, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from lxml.html import HtmlElement

from palimpsest.evidence.compare import compare_files, read_and_compare
from palimpsest.evidence.passages import passages_of
from palimpsest.ingest.text.normalise import normalise_text
from palimpsest.inspector.comparison import (
    documents_side_by_side,
    files_side_by_side,
    render_comparison_file,
)
from palimpsest.records.errors import SettingsError
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.rebuild import rebuild_document
from tests.inspector.hostile_archive import HOSTILE, hostile_archive, snapshot_of
from tests.inspector.report_files import letters, parsed, words_of
from tests.pipeline.corpora import make_paragraph, write_articles

PAIRS = [
    ("tarn-wire/2024-11-12-lantern-bridge-closed.txt", "marrowick-tidings/2024-11-13-two-shores-one-queue.txt"),
    ("barid-al-buhayra/2024-05-14-safinat-al-kutub.txt", "sada-al-nawaris/2024-05-12-maktaba-aima.txt"),
    ("shiqiao-zhenbao/2024-04-09-shiqiao-chating.txt", "shanlu-wanbao/2024-04-12-chating-chongkai.txt"),
]  # fmt: skip


def sides_of(root: HtmlElement) -> list[HtmlElement]:
    sides = root.xpath("//article")
    assert [one.get("data-side") for one in sides] == ["L", "R"]
    return list(sides)


def passage_in(side: HtmlElement, number: int) -> str:
    """Return the text of a passage on a side, put together from its stretches."""
    stretches = [
        one for one in side.iter("a") if str(number) in one.get("data-passage", "").split()
    ]
    return "".join(words_of(one) for one in stretches)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].split("/")[0])
def test_file_of_two_files_has_all_passages_and_all_text(
    pair: tuple[str, str], examples: Path
) -> None:
    left, right = (str(examples / name) for name in pair)
    comparison = compare_files(left, right)
    assert comparison["passages"]
    root = parsed(render_comparison_file(files_side_by_side(read_and_compare(left, right))))
    for side, name, article in zip(("left", "right"), "LR", sides_of(root), strict=True):
        for number, one in enumerate(comparison["passages"], start=1):
            assert passage_in(article, number) == letters(one[side]["text"])
            assert root.xpath(f"//*[@id='{name}{number}']")
        paragraphs = "".join(words_of(one) for one in article.xpath("p[@class='paragraph']"))
        text = Path(comparison[side]["path"]).read_bytes().decode(comparison[side]["encoding"])
        assert paragraphs == letters(normalise_text(text))
        assert comparison[side]["sha256"] in article.text_content()
    chips = root.xpath("//ol[@class='chips']/li/a")
    assert [one.text for one in chips] == [str(n + 1) for n in range(len(comparison["passages"]))]


def test_words_that_differ_are_marked_on_both_sides(tmp_path: Path) -> None:
    articles = {"a.txt": [make_paragraph(1)], "b.txt": [make_paragraph(1, edit=2)]}
    folder = write_articles(tmp_path, articles)
    compared = read_and_compare(str(folder / "a.txt"), str(folder / "b.txt"))
    left, right = sides_of(parsed(render_comparison_file(files_side_by_side(compared))))
    plain = make_paragraph(1).split()
    edited = make_paragraph(1, edit=2).split()
    expected = [(one, other) for one, other in zip(plain, edited, strict=True) if one != other]
    for article, words in ((left, [one for one, _ in expected]), (right, [o for _, o in expected])):
        changed = article.xpath(".//a[contains(@class, 'changed')]")
        assert [words_of(one) for one in changed] == [word.strip(".") for word in words]


def test_file_compared_with_itself_is_one_passage_without_changes(examples: Path) -> None:
    path = str(examples / PAIRS[0][0])
    root = parsed(render_comparison_file(files_side_by_side(read_and_compare(path, path))))
    assert len(root.xpath("//ol[@class='chips']/li")) == 1
    assert not root.xpath("//*[contains(@class, 'changed')]")


def test_files_that_share_nothing_are_shown_and_say_so(tmp_path: Path) -> None:
    folder = write_articles(tmp_path, {"a.txt": [make_paragraph(1)], "b.txt": [make_paragraph(2)]})
    compared = read_and_compare(str(folder / "a.txt"), str(folder / "b.txt"))
    root = parsed(render_comparison_file(files_side_by_side(compared)))
    assert root.xpath("//h2[@id='found']")[0].text == "0 shared passages"
    assert letters(make_paragraph(2)) in words_of(sides_of(root)[1])


def document_ids(snapshot: Snapshot, *names: str) -> list[str]:
    rows = snapshot.read("sources", ["uri", "document_id"]).to_pylist()
    return [next(r["document_id"] for r in rows if r["uri"].endswith(name)) for name in names]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].split("/")[0])
@pytest.mark.parametrize("turned", [False, True])
def test_file_of_two_documents_has_the_passages_of_the_archive(
    pair: tuple[str, str], turned: bool, examples_archive: Path
) -> None:
    snapshot = StoredArchive(examples_archive).snapshot()
    ids = document_ids(snapshot, *(reversed(pair) if turned else pair))
    comparison = documents_side_by_side("press", snapshot, *ids)
    root = parsed(render_comparison_file(comparison))
    pairs = pa.table({"one": [ids[0]], "other": [ids[1]]})
    [rows] = [part.to_pylist() for part in passages_of(snapshot, pairs)]
    known_as = {row[f"{side}_document_id"]: side for row in rows for side in ("left", "right")}
    assert len(comparison["passages"]) == len(rows) > 0
    articles = sides_of(root)
    for document_id, article in zip(ids, articles, strict=True):
        side = known_as[document_id]
        mine = [passage_in(article, n + 1) for n in range(len(rows))]
        assert sorted(mine) == sorted(letters(row[f"{side}_passage"]) for row in rows)
        text = letters(rebuild_document(snapshot, document_id))
        assert "".join(words_of(one) for one in article.xpath("p")).endswith(text)
    starts = [one["left"]["start_char"] for one in comparison["passages"]]
    assert starts == sorted(starts)
    assert "From version 1 of press" in " ".join(root.text_content().split())


def test_document_is_not_compared_with_itself(examples_archive: Path) -> None:
    snapshot = StoredArchive(examples_archive).snapshot()
    [one] = document_ids(snapshot, PAIRS[0][0])
    with pytest.raises(SettingsError, match="both sides are the document"):
        documents_side_by_side("press", snapshot, one, one)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_archive(tmp_path_factory.mktemp("hostile"))


def _of_files(archive: Path) -> dict[str, Any]:
    left, right, *_ = sorted(one for one in (archive.parent / "in").iterdir() if "2024" in one.name)
    return files_side_by_side(read_and_compare(str(left), str(right)))


def _of_archive(archive: Path) -> dict[str, Any]:
    snapshot = snapshot_of(archive)
    ids = document_ids(snapshot, "5%3Cscript%3E.txt", "6%3E.txt")
    return documents_side_by_side(SCRIPT_NAME, snapshot, *ids)


SCRIPT_NAME = "</title><script>window.ran=8</script>"


@pytest.mark.parametrize("side_by_side_of", [_of_files, _of_archive])
def test_markup_in_articles_and_names_is_text(
    side_by_side_of: Callable[[Path], dict[str, Any]], hostile: Path
) -> None:
    root = parsed(render_comparison_file(side_by_side_of(hostile)))
    text = words_of(root)
    for one in HOSTILE:
        assert text.count(letters(normalise_text(one))) >= 3
    for name in ("<script>window.ran=5<script>.txt", '"><img src=x onerror=window.ran=6>.txt'):
        assert letters(name) in text
