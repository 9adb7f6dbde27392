"""The tables of a version answer what passages and explanations ask."""

from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pytest

from palimpsest.evidence.lookup import TableLookup
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.find import DOCUMENT, TEXT, NameMatch


@pytest.fixture(scope="module")
def made(examples_archive: Path) -> Snapshot:
    return StoredArchive(examples_archive).snapshot()


def test_documents_and_places_are_sorted(made: Snapshot) -> None:
    rows = made.read("occurrences").to_pylist()
    ids = sorted({row["document_id"] for row in rows})[:5]
    loaded = TableLookup(made).documents(pa.array(ids[::-1]), 2)
    assert loaded.facts.column("document_id").to_pylist() == ids
    expected = sorted(
        (row["document_id"], row["ordinal"], row["text_id"])
        for row in rows
        if row["document_id"] in ids
    )
    places = loaded.places.to_pylist()
    assert [(row["document_id"], row["text_id"]) for row in places] == [
        (document, text) for document, _, text in expected
    ]
    mine = {text for _, _, text in expected}
    assert sorted(loaded.texts.column("text_id").to_pylist()) == sorted(mine)
    standing = defaultdict(set)
    for row in rows:
        standing[row["text_id"]].add(row["document_id"])
    often = {text for text in mine if len(standing[text]) > 1}
    assert often <= set(loaded.recurring["text_id"].to_pylist()) <= mine


def test_pairs_of_texts_come_with_most_shared_words_first(made: Snapshot) -> None:
    overlaps = made.read("overlaps").to_pylist()
    words: dict[tuple[str, str], int] = defaultdict(int)
    for row in overlaps:
        for one, other in (("left", "right"), ("right", "left")):
            words[row[f"{one}_text_id"], row[f"{other}_text_id"]] += row["matched_words"]
    text = overlaps[0]["left_text_id"]
    found = TableLookup(made).text_pairs(NameMatch(TEXT, text), None)
    assert {one for one, _ in found} == {text}
    assert [words[pair] for pair in found] == sorted((words[pair] for pair in found), reverse=True)
    assert set(found) == {pair for pair in words if pair[0] == text}
    document = made.read("occurrences").to_pylist()[0]["document_id"]
    same = TableLookup(made).text_pairs(
        NameMatch(DOCUMENT, document), NameMatch(DOCUMENT, document)
    )
    assert all(one == other or (one, other) in words for one, other in same)
