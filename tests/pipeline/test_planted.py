"""The reuse planted in the examples is found, with exact spans, in an archive and without one."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from palimpsest.evidence.compare import compare_files
from palimpsest.evidence.passages import top_passages
from palimpsest.ingest.text.decode import decode, decode_span
from palimpsest.ingest.text.normalise import normalise_text
from palimpsest.store.archive import StoredArchive
from tests.store.rows import view_passages

PLANTED = json.loads(
    (Path(__file__).parents[2] / "examples" / "planted.json").read_text(encoding="utf-8")
)
PASSAGES: list[dict[str, Any]] = PLANTED["passages"]
PAIRS = sorted({(one["left"], one["right"]) for one in PASSAGES})
Span = tuple[int, int]

NOT_IN_ARCHIVE: set[int] = set()
"""Ids of planted passages that the passages of the archive miss; exactly these."""
NOT_IN_COMPARISON: set[int] = set()
"""The same for ``compare_files``."""


class _Article:
    """A decoded article, and the map from its characters to its text without whitespace."""

    def __init__(self, path: Path) -> None:
        self.raw = path.read_bytes()
        self.decoded = decode(self.raw)
        self.text = self.decoded.utf8.decode()
        visible = [not letter.isspace() for letter in self.text]
        self._squeezed = np.concatenate(([0], np.cumsum(visible))).tolist()
        self._letters = "".join(self.text.split())

    def locate(self, passage: str) -> Span:
        letters = "".join(passage.split())
        start = self._letters.index(letters)
        return start, start + len(letters)

    def squeeze(self, span: Span) -> Span:
        return self._squeezed[span[0]], self._squeezed[span[1]]


def _share(wanted: Span, found: Span) -> float:
    overlap = min(wanted[1], found[1]) - max(wanted[0], found[0])
    return max(0, overlap) / (wanted[1] - wanted[0])


def _missed(found: dict[tuple[str, str], list[tuple[Span, Span]]], root: Path) -> set[int]:
    """Return the ids of planted passages that no match covers to 80 % on both sides."""
    articles = {name: _Article(root / name) for pair in PAIRS for name in pair}
    missed = set()
    for one in PASSAGES:
        left, right = articles[one["left"]], articles[one["right"]]
        wanted = left.locate(one["left_text"]), right.locate(one["right_text"])
        shares = (
            min(_share(wanted[0], left.squeeze(here)), _share(wanted[1], right.squeeze(there)))
            for here, there in found[one["left"], one["right"]]
        )
        if max(shares, default=0.0) < 0.8:
            missed.add(one["id"])
    return missed


def _spans(row: dict[str, Any], sides: Iterable[str]) -> tuple[Span, ...]:
    return tuple((row[f"{side}_start_char"], row[f"{side}_end_char"]) for side in sides)


@pytest.fixture(scope="module", params=["texts", "documents"])
def all_passages(examples_archive: Path, request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Passages of single texts, and of whole documents."""
    snapshot = StoredArchive(examples_archive).snapshot()
    whole = request.param == "documents"
    rows = top_passages(snapshot, limit=100_000) if whole else view_passages(snapshot)
    found: list[dict[str, Any]] = rows.to_pylist()
    return found


@pytest.fixture(scope="module")
def compared(examples: Path) -> dict[tuple[str, str], dict[str, Any]]:
    folder = examples.parent
    return {
        (left, right): compare_files(str(folder / left), str(folder / right))
        for left, right in PAIRS
    }


def test_planted_passages_are_in_the_archive(
    examples_archive: Path, all_passages: list[dict[str, Any]], examples: Path
) -> None:
    document = {
        unquote(row["uri"]).rpartition("/examples/")[2]: row["document_id"]
        for row in StoredArchive(examples_archive).snapshot().read("sources").to_pylist()
    }
    found = {}
    for left, right in PAIRS:
        ids = (document[left], document[right])
        found[left, right] = [
            _spans(row, sides)
            for row in all_passages
            for sides in (("left", "right"), ("right", "left"))
            if tuple(row[f"{side}_document_id"] for side in sides) == ids
        ]
    assert _missed(found, examples.parent) == NOT_IN_ARCHIVE  # type: ignore[arg-type]


def test_planted_passages_are_in_the_comparison(
    compared: dict[tuple[str, str], dict[str, Any]], examples: Path
) -> None:
    found = {
        pair: [
            tuple((row[side]["start_char"], row[side]["end_char"]) for side in ("left", "right"))
            for row in result["passages"]
        ]
        for pair, result in compared.items()
    }
    assert _missed(found, examples.parent) == NOT_IN_COMPARISON  # type: ignore[arg-type]


def test_spans_of_a_comparison_are_exact_in_characters_and_bytes(
    compared: dict[tuple[str, str], dict[str, Any]], examples: Path
) -> None:
    checked = set()
    for pair, result in compared.items():
        assert result["passages"]
        for side, name in zip(("left", "right"), pair, strict=True):
            article = _Article(examples.parent / name)
            encoding = result[side]["encoding"]
            checked.add(encoding)
            for row in result["passages"]:
                span = row[side]
                raw = article.raw[span["start_byte"] : span["end_byte"]]
                assert normalise_text(decode_span(raw, encoding)) == span["text"]
                cut = article.text[span["start_char"] : span["end_char"]]
                assert normalise_text(cut) == span["text"]
                assert cut == decode_span(raw, encoding)
    assert checked == {"utf-8", "cp1252", "cp1251", "utf-16-le"}


def test_spans_of_the_archive_point_at_the_passages(all_passages: list[dict[str, Any]]) -> None:
    merged = 0
    for row in all_passages:
        for side in ("left", "right"):
            article = _Article(Path(unquote(row[f"{side}_uri"].removeprefix("file://"))))
            [(start, end)] = _spans(row, [side])
            passage = row[f"{side}_passage"].replace("\n\n", " ")
            text = normalise_text(article.text[start:end])
            if text == passage:
                continue
            merged += 1  # text between its pieces is in the span, not in the passage
            assert text.startswith(passage[:30])
            assert text.endswith(passage[-30:])
            rest = iter(re.findall(r"\w+", text))
            assert all(word in rest for word in re.findall(r"\w+", passage)), (passage, text)
    assert merged < len(all_passages)


def test_spans_of_paragraphs_reproduce_their_texts(examples_archive: Path) -> None:
    snapshot = StoredArchive(examples_archive).snapshot()
    encodings = {
        row["document_id"]: row["encoding"] for row in snapshot.read("documents").to_pylist()
    }
    rows = snapshot.read("paragraphs").to_pylist()
    assert len(rows) > 50
    for row in rows:
        article = _Article(Path(unquote(row["uri"].removeprefix("file://"))))
        raw = article.raw[row["start_byte"] : row["end_byte"]]
        assert normalise_text(decode_span(raw, encodings[row["document_id"]])) == row["text"]
        assert normalise_text(article.text[row["start_char"] : row["end_char"]]) == row["text"]


def test_identical_and_rejected_files_are_recorded(examples_archive: Path) -> None:
    snapshot = StoredArchive(examples_archive).snapshot()
    [reject] = snapshot.read("rejects").to_pylist()
    assert reject["uri"].endswith(PLANTED["rejected"][0]["file"])
    assert reject["reason"] == "empty"
    [group] = PLANTED["identical_files"]
    same = [
        row["document_id"]
        for row in snapshot.read("sources").to_pylist()
        if any(row["uri"].endswith(name) for name in group)
    ]
    assert len(same) == 2
    assert len(set(same)) == 1


def test_article_without_reuse_has_no_passage(all_passages: list[dict[str, Any]]) -> None:
    uris = {row[f"{side}_uri"] for row in all_passages for side in ("left", "right")}
    assert not [uri for uri in uris if "dunmere-field-notes" in uri]
    assert [uri for uri in uris if "tarn-wire" in uri or "brackwater" in uri]


def test_comparison_of_a_file_with_itself_is_one_exact_passage(examples: Path) -> None:
    path = examples / "dunmere-field-notes" / "2024-03-20-the-bean-cabinet.txt"
    [row] = compare_files(str(path), str(path))["passages"]
    assert row["relation"] == "exact"
    assert row["resemblance"] == 1.0
    assert row["left"] == row["right"]


def test_comparison_with_swapped_sides_finds_the_same_passages(examples: Path) -> None:
    left, right = (str(examples.parent / name) for name in PAIRS[0])
    one, other = compare_files(left, right)["passages"], compare_files(right, left)["passages"]
    assert one
    spans = {(row["left"]["start_byte"], row["right"]["start_byte"]) for row in one}
    assert spans == {(row["right"]["start_byte"], row["left"]["start_byte"]) for row in other}
