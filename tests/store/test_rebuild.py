"""Documents are found by id, prefix or URI, and rebuilt from the tables alone."""

import hashlib
from pathlib import Path

import pytest

from palimpsest.ingest.finding.discover import uri_of
from palimpsest.records.errors import ContractError, SettingsError
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.find import find_documents, uris_of
from palimpsest.store.rebuild import rebuild_document
from tests.pipeline.corpora import ingest, make_paragraph, rebuilt_documents, write_articles
from tests.store.damage import Change, copy_archive, lose, put, rewrite
from tests.store.rows import make_row, make_rows, publish

ONE, ALIKE = "0123456789abcdef" * 2, "0123456789abcdff" * 2


@pytest.fixture
def examples_snapshot(examples_archive: Path) -> Snapshot:
    return StoredArchive(examples_archive).snapshot()


@pytest.fixture
def replaced(tmp_path: Path) -> tuple[Path, str]:
    """An archive in which two documents were found at one URI, one after the other."""
    archive, folder = tmp_path / "press", tmp_path / "in"
    for seed in (1, 2):
        write_articles(folder, {"a.txt": [make_paragraph(seed)]})
        ingest(folder, archive)
    return archive, uri_of(str(folder / "a.txt"))


def test_every_document_of_the_examples_is_rebuilt(examples_snapshot: Snapshot) -> None:
    expected = rebuilt_documents(examples_snapshot)
    documents = examples_snapshot.read("documents").to_pylist()
    assert len(documents) == 17
    for row in documents:
        text = rebuild_document(examples_snapshot, row["document_id"])
        assert text == expected[row["document_id"]]
        assert hashlib.sha256(text.encode()).hexdigest() == row["text_sha256"]


def test_document_is_found_by_id_prefix_and_uri(examples_snapshot: Snapshot) -> None:
    for row in examples_snapshot.read("sources").to_pylist():
        one = row["document_id"]
        for name in (one, one[:8], one[:20].upper(), row["uri"]):
            assert find_documents(examples_snapshot, [name]) == [one]
        assert row["uri"] in uris_of(examples_snapshot, one)


def test_documents_are_returned_once_in_the_order_of_their_names(
    examples_snapshot: Snapshot,
) -> None:
    ids = examples_snapshot.read("documents").column("document_id").to_pylist()[:3]
    names = [ids[2], ids[0][:9], ids[2][:8], ids[1], ids[0]]
    assert find_documents(examples_snapshot, names) == [ids[2], ids[0], ids[1]]
    assert find_documents(examples_snapshot, []) == []


def test_all_unknown_names_are_reported_at_once(examples_snapshot: Snapshot) -> None:
    one = examples_snapshot.read("documents").column("document_id").to_pylist()[0]
    names = [one[:7], "ffffffff", one, "file:///none.txt", one + "0", "", "%", "\udcff"]
    with pytest.raises(SettingsError) as raised:
        find_documents(examples_snapshot, names)
    assert len(raised.value.faults) == len(names) - 1
    assert all("not in the archive; expected" in fault for fault in raised.value.faults)


def test_prefix_of_several_ids_is_ambiguous(tmp_path: Path) -> None:
    rows = {"documents": make_rows("documents", 0, 0)}
    made = [make_row("documents", 0, document_id=one) for one in (ONE, ALIKE)]
    rows["documents"] = rows["documents"].from_pylist(made, schema=rows["documents"].schema)
    snapshot = publish(StoredArchive(tmp_path / "press"), "r1", rows)
    assert find_documents(snapshot, [ONE[:15]]) == [ONE]
    with pytest.raises(SettingsError) as raised:
        find_documents(snapshot, [ONE[:14]])
    [fault] = raised.value.faults
    assert ONE in fault
    assert ALIKE in fault


def test_uri_of_two_documents_returns_both_earlier_first(replaced: tuple[Path, str]) -> None:
    archive, uri = replaced
    snapshot = StoredArchive(archive).snapshot()
    rows = sorted(snapshot.read("sources").to_pylist(), key=lambda row: row["run_id"])
    ids = [row["document_id"] for row in rows]
    assert len(set(ids)) == 2
    assert find_documents(snapshot, [uri]) == ids
    with pytest.raises(SettingsError, match="refers to 2 documents") as raised:
        rebuild_document(snapshot, uri)
    assert all(one in str(raised.value) for one in ids)
    for seed, one in enumerate(ids, start=1):
        assert rebuild_document(snapshot, one) == make_paragraph(seed)


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("documents", put("text_sha256", "0" * 64), "expected 0000"),
        ("paragraphs", put("text", lambda text: text + "!"), "its SHA-256 is"),
        ("paragraphs", lose(), "no text for"),
        ("occurrences", lose(), "its SHA-256 is"),
    ],
    ids=["digest", "text", "lost text", "lost place"],
)
def test_damaged_document_is_an_error(
    tmp_path: Path, examples_archive: Path, table: str, change: Change, message: str
) -> None:
    archive = copy_archive(examples_archive, tmp_path / "press")
    one = StoredArchive(archive).snapshot().read(table).column("document_id")[0].as_py()
    rewrite(archive, table, change)
    with pytest.raises(ContractError, match=message) as error:
        rebuild_document(StoredArchive(archive).snapshot(), one)
    assert "palimpsest verify" in str(error.value)
