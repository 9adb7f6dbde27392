"""Removing documents deletes what only they contain and keeps what others contain too."""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from palimpsest.ingest.finding.discover import uri_of
from palimpsest.pipeline.remove import Removal, remove
from palimpsest.pipeline.verify import verify
from palimpsest.records.errors import SettingsError
from palimpsest.records.schemas import TABLES
from palimpsest.records.settings import SignSettings
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.digest import digest_tables
from palimpsest.store.versions import clean
from tests.pipeline.corpora import (
    assert_lossless,
    hyphenated,
    ingest,
    listing,
    make_paragraph,
    make_words,
    settings_of,
    write_articles,
)

SECRETS = ["quizzelbrantford", "mirtavolkhendra", "ostrumplekinsey"]
"""Words that occur only in the title, the paragraph and the passage of ``gone.txt``."""


def take_down(archive: Path, *names: object, reason: str = "asked for") -> Removal:
    """Remove files by their paths, or documents by their ids; check that the archive is intact."""
    values = [uri_of(str(name)) if isinstance(name, Path) else str(name) for name in names]
    removal = remove(archive, values, reason)
    assert_intact(archive)
    return removal


def assert_intact(archive: Path) -> None:
    place = StoredArchive(archive)
    failed = [check for check in verify(place, place.snapshot()).checks if check.failed]
    assert not failed
    assert_lossless(archive)


def snapshot_of(archive: Path) -> Snapshot:
    return StoredArchive(archive).snapshot()


def ids_of(archive: Path, path: Path) -> list[str]:
    rows = snapshot_of(archive).read("sources").to_pylist()
    return [row["document_id"] for row in rows if row["uri"] == uri_of(str(path))]


def assert_as_if_never_ingested(
    archive: Path, files: Sequence[Path], place: Path, **stages: Any
) -> None:
    """Check that the tables equal those of an archive of these files alone."""
    ingest(list(files), place, settings_of(**stages))
    found, expected = digest_tables(snapshot_of(archive)), digest_tables(snapshot_of(place))
    for name in found.keys() - {"removals", "rejects"}:
        assert found[name] == expected[name], name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four articles: the first, an exact and a near copy of parts of it, and an unrelated one."""
    articles = {
        "a.txt": [make_paragraph(1), make_paragraph(2)],
        "b.txt": [make_paragraph(1, edit=3), make_paragraph(3)],
        "c.txt": [make_paragraph(1), make_paragraph(4)],
        "d.txt": [make_paragraph(5)],
    }
    return write_articles(tmp_path / "in", articles)


@pytest.fixture
def archive(folder: Path, fresh_archive: Path) -> Path:
    """An archive of the four articles, of two runs."""
    files = sorted(folder.iterdir())
    ingest(files[:2], fresh_archive)
    ingest(files[2:], fresh_archive)
    return fresh_archive


def test_shared_text_is_kept_under_another_representative(
    folder: Path, archive: Path, tmp_path: Path
) -> None:
    removal = take_down(archive, folder / "a.txt")
    assert (removal.version, removal.paragraphs, removal.texts) == (3, 2, 1)
    snapshot = snapshot_of(archive)
    assert snapshot.manifest.operation == "remove"
    rows = {row["text"]: row for row in snapshot.read("paragraphs").to_pylist()}
    assert make_paragraph(2) not in rows
    assert make_paragraph(1) not in rows
    assert rows[make_paragraph(1, edit=3)]["uri"] == uri_of(str(folder / "b.txt"))
    [folded] = snapshot.read("variants").to_pylist()
    assert folded["text"] == make_paragraph(1)
    assert folded["paragraph_id"] == rows[make_paragraph(1, edit=3)]["paragraph_id"]
    stay = [folder / name for name in ("b.txt", "c.txt", "d.txt")]
    assert_as_if_never_ingested(archive, stay, tmp_path / "whole")


@pytest.mark.parametrize("letters", [8, 12, 32])
def test_document_is_found_by_its_id_or_a_prefix_of_it(
    folder: Path, archive: Path, letters: int
) -> None:
    [document] = ids_of(archive, folder / "d.txt")
    assert take_down(archive, document[:letters]).documents == [document]
    assert document not in snapshot_of(archive).read("documents")["document_id"].to_pylist()


def test_document_named_twice_is_removed_once(folder: Path, archive: Path) -> None:
    [document] = ids_of(archive, folder / "d.txt")
    assert take_down(archive, document, folder / "d.txt").documents == [document]
    assert snapshot_of(archive).rows("removals") == 1


def test_removing_a_document_removes_both_of_its_uris(folder: Path, archive: Path) -> None:
    copy = folder / "z.txt"
    copy.write_bytes((folder / "d.txt").read_bytes())
    ingest(copy, archive)
    take_down(archive, copy)
    uris = snapshot_of(archive).read("sources")["uri"].to_pylist()
    assert sorted(uri.rpartition("/")[2] for uri in uris) == ["a.txt", "b.txt", "c.txt"]


def test_uri_of_two_successive_documents_removes_both(folder: Path, archive: Path) -> None:
    write_articles(folder, {"d.txt": [make_paragraph(6), make_paragraph(7)]})
    ingest(folder / "d.txt", archive)
    documents = ids_of(archive, folder / "d.txt")
    assert len(set(documents)) == 2
    assert take_down(archive, folder / "d.txt").documents == sorted(documents)
    assert snapshot_of(archive).rows("documents") == 3


def test_unknown_names_are_refused_all_at_once(folder: Path, archive: Path) -> None:
    before = listing(archive)
    names = ["0" * 32, uri_of(str(folder / "a.txt")), "nobody", "file:///nowhere.txt"]
    with pytest.raises(SettingsError) as caught:
        remove(archive, names, "asked for")
    assert [fault.split("'")[1] for fault in caught.value.faults] == [names[0], *names[2:]]
    assert listing(archive) == before


@pytest.mark.parametrize("reason", ["", " \n"])
def test_reason_must_not_be_empty(folder: Path, archive: Path, reason: str) -> None:
    before = listing(archive)
    with pytest.raises(SettingsError, match="reason"):
        remove(archive, [uri_of(str(folder / "a.txt"))], reason)
    assert listing(archive) == before


def test_removal_is_recorded_and_its_files_are_rejected_later(folder: Path, archive: Path) -> None:
    removal = take_down(archive, folder / "a.txt", reason="licence ended")
    [row] = snapshot_of(archive).read("removals").to_pylist()
    values = [row[name] for name in ("document_id", "reason", "run_id")]
    assert values == [*removal.documents, "licence ended", removal.run_id]
    runs = snapshot_of(archive).read("runs").to_pylist()
    assert removal.run_id in {run["run_id"] for run in runs}
    summary = ingest(folder, archive)
    assert summary.rejects_by_reason == {"removed": 1}
    assert (summary.sources_new, summary.sources_known) == (0, 3)
    [reject] = snapshot_of(archive).read("rejects").to_pylist()
    assert (reject["uri"], reject["reason"]) == (uri_of(str(folder / "a.txt")), "removed")
    assert reject["detail"] == f"taken down on {row['removed_at']:%Y-%m-%d}: licence ended"
    assert "a.txt" not in str(snapshot_of(archive).read("sources")["uri"].to_pylist())
    before = listing(archive)
    for found in (folder, folder / "a.txt"):
        again = ingest(found, archive)
        assert (again.version, again.sources_rejected) == (None, 1)
    assert listing(archive) == before
    assert_intact(archive)


def test_removed_document_is_recognised_by_its_bytes_under_another_name(
    folder: Path, archive: Path
) -> None:
    take_down(archive, folder / "d.txt")
    (folder / "renamed.txt").write_bytes((folder / "d.txt").read_bytes())
    summary = ingest(folder / "renamed.txt", archive)
    assert summary.rejects_by_reason == {"removed": 1}
    assert snapshot_of(archive).rows("documents") == 3


def test_documents_can_be_removed_one_after_another(
    folder: Path, archive: Path, tmp_path: Path
) -> None:
    take_down(archive, folder / "c.txt")
    take_down(archive, folder / "a.txt", folder / "d.txt")
    assert snapshot_of(archive).rows("removals") == 3
    assert_as_if_never_ingested(archive, [folder / "b.txt"], tmp_path / "whole")


def _files_with_words(archive: Path, words: Sequence[str]) -> list[str]:
    """Return the files under an archive that contain one of the words, compressed or not."""
    place = StoredArchive(archive)
    found = []
    for path in sorted(place.home.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if path.suffix == ".parquet":
            rows = pq.read_table(path, partitioning=None)
            content += repr(rows.to_pydict()).encode() + repr(rows.schema.metadata).encode()
        if any(word.encode() in content.lower() for word in words):
            found.append(str(path.relative_to(place.home)))
    return found


def test_no_word_of_a_removed_text_is_left_after_cleaning(folder: Path, archive: Path) -> None:
    title, own, within = SECRETS
    passage = [*make_words(1)[:20], within, *make_words(1)[20:]]
    paragraphs = [title, f"{make_paragraph(8)} {own}.", " ".join(passage)]
    removed_file = write_articles(folder, {"gone.txt": paragraphs}) / "gone.txt"
    ingest(removed_file, archive)
    ingest(write_articles(folder, {"e.txt": [f"{make_paragraph(8)} And more."]}), archive)
    for word in SECRETS:
        assert _files_with_words(archive, [word]), word
    assert any(within in row["left_passage"] + row["right_passage"] for row in _overlaps(archive))
    take_down(archive, removed_file)
    assert _files_with_words(archive, SECRETS)  # in earlier versions
    clean(StoredArchive(archive))
    assert _files_with_words(archive, SECRETS) == []
    ingest(folder, archive)
    assert _files_with_words(archive, SECRETS) == []
    assert_intact(archive)


def _overlaps(archive: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = snapshot_of(archive).read("overlaps").to_pylist()
    return rows


def test_cleaning_deletes_what_a_killed_run_left_of_a_removed_text(
    folder: Path, archive: Path
) -> None:
    removed_file = (
        write_articles(folder, {"gone.txt": [f"{SECRETS[0]} {make_paragraph(8)}"]}) / "gone.txt"
    )
    ingest(removed_file, archive)
    left = StoredArchive(archive).staging / "20200101T000000000000-abcdef" / "batch-00000"
    left.mkdir(parents=True)
    (left / "texts.arrow").write_text(SECRETS[0])
    take_down(archive, removed_file)
    clean(StoredArchive(archive))
    assert _files_with_words(archive, SECRETS) == []


def test_overlaps_of_a_removed_document_are_removed(folder: Path, archive: Path) -> None:
    ids = [row["text_id"] for row in snapshot_of(archive).read("variants").to_pylist()]
    assert _overlaps(archive)
    removal = take_down(archive, folder / "b.txt")
    assert removal.overlaps == 1
    assert _overlaps(archive) == []
    assert len(ids) == 1
    assert snapshot_of(archive).rows("variants") == 0


def test_cluster_splits_when_its_representative_is_removed(
    tmp_path: Path, fresh_archive: Path
) -> None:
    words = make_words(1, 60)
    far_left = " ".join([*hyphenated(words[:5]), *words[5:]])
    far_right = " ".join([*words[:55], *hyphenated(words[55:])])
    articles = {"a.txt": [" ".join(words)], "b.txt": [far_left], "c.txt": [far_right]}
    folder = write_articles(tmp_path / "in", articles)
    ingest(folder, fresh_archive)
    assert snapshot_of(fresh_archive).rows("paragraphs") == 1
    take_down(fresh_archive, folder / "a.txt")
    kept = snapshot_of(fresh_archive).read("paragraphs")["text"].to_pylist()
    assert set(kept) == {far_left, far_right}
    assert snapshot_of(fresh_archive).rows("variants") == 0
    assert_as_if_never_ingested(
        fresh_archive, [folder / "b.txt", folder / "c.txt"], tmp_path / "whole"
    )


def test_removal_restores_pairs_that_a_crowd_had_dropped(
    tmp_path: Path, fresh_archive: Path
) -> None:
    sign = SignSettings(crowd_texts=4, crowd_heads=1, fingerprint_texts=4)
    articles = {
        f"{n:02d}.txt": [f"{make_paragraph(1)} {make_words(50 + n, 1)[0]}"] for n in range(9)
    }
    folder = write_articles(tmp_path / "in", articles)
    files = sorted(folder.iterdir())
    summary = ingest(files, fresh_archive, settings_of(sign=sign))
    assert summary.crowds > 0
    before = {(row["left_text_id"], row["right_text_id"]) for row in _overlaps(fresh_archive)}
    take_down(fresh_archive, *files[4:])
    after = {(row["left_text_id"], row["right_text_id"]) for row in _overlaps(fresh_archive)}
    assert len(after) == 4 * 3 // 2
    assert after - before
    assert_as_if_never_ingested(fresh_archive, files[:4], tmp_path / "whole", sign=sign)


def test_archive_can_be_emptied_and_filled_again(
    folder: Path, archive: Path, tmp_path: Path
) -> None:
    take_down(archive, *sorted(folder.iterdir()))
    for name in TABLES:
        if name not in {"runs", "removals"}:
            assert snapshot_of(archive).rows(name) == 0
        assert glob.glob(f"{archive}/{name}/*.parquet")
        with duckdb.connect() as connection:
            query = f"SELECT count(*) FROM read_parquet('{archive}/{name}/*.parquet')"
            assert connection.sql(query).fetchall() == [(snapshot_of(archive).rows(name),)]
    other = write_articles(tmp_path / "other", {"x.txt": [make_paragraph(1), make_paragraph(9)]})
    assert ingest(other, archive).documents_new == 1
    assert_as_if_never_ingested(archive, [other], tmp_path / "whole")
    assert_intact(archive)
