"""Whole runs without Prefect, on small corpora: the invariants of the design."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import palimpsest.pipeline.run
from palimpsest.pipeline.fingerprint import STAGE_VERSIONS
from palimpsest.pipeline.steps import FOLD
from palimpsest.records.errors import SettingsError, TransientError
from palimpsest.records.settings import (
    AlignSettings,
    ReadSettings,
    RunSettings,
    Settings,
    SignSettings,
)
from palimpsest.store.archive import StoredArchive
from tests.pipeline.corpora import (
    assert_lossless,
    contents,
    hyphenated,
    ingest,
    kept_texts,
    listing,
    make_paragraph,
    make_words,
    reuse_articles,
    settings_of,
    write_articles,
)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_articles(tmp_path_factory.mktemp("corpus"), reuse_articles())


@pytest.fixture(scope="session")
def at_once(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """An archive of the corpus, made in one run; tests must not change it."""
    path = tmp_path_factory.mktemp("at-once") / "press"
    ingest(corpus, path)
    return path


def test_reuse_of_each_kind_is_recorded(at_once: Path) -> None:
    snapshot = StoredArchive(at_once).snapshot()
    relations = snapshot.read("overlaps", ["relation"]).column("relation").to_pylist()
    assert set(relations) == {"near", "contained"}
    assert snapshot.read("variants").num_rows == 2  # "café au lait" is a fact


def test_every_source_found_is_new_known_or_rejected(tmp_path: Path, fresh_archive: Path) -> None:
    folder = write_articles(tmp_path / "in", {"a.txt": [make_paragraph(1)], "b.txt": ["Words"]})
    ingest(folder, fresh_archive)
    write_articles(folder, {"c.txt": [make_paragraph(2)]})
    (folder / "empty.txt").write_bytes(b"")
    (folder / "blank.txt").write_bytes(b" \n\t\n")
    (folder / "binary.bin").write_bytes(bytes(range(256)) * 4)
    (folder / "gone.txt").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    summary = ingest(folder, fresh_archive)
    assert (summary.sources_found, summary.sources_new) == (8, 1)
    assert (summary.sources_known, summary.sources_rejected) == (2, 5)
    assert set(summary.rejects_by_reason) == {
        "empty", "no-text", "binary", "broken-link", "not-a-file",
    }  # fmt: skip
    assert StoredArchive(fresh_archive).snapshot().rows("rejects") == 5
    again = ingest(folder, fresh_archive)
    assert (again.sources_found, again.sources_known, again.sources_rejected) == (8, 3, 5)
    assert again.version is None


def test_every_paragraph_is_exactly_one_occurrence(at_once: Path) -> None:
    snapshot = StoredArchive(at_once).snapshot()
    documents = {
        row["document_id"]: row["paragraphs"] for row in snapshot.read("documents").to_pylist()
    }
    places = [
        (row["document_id"], row["ordinal"]) for row in snapshot.read("occurrences").to_pylist()
    ]
    expected = [(one, ordinal) for one, count in documents.items() for ordinal in range(count)]
    assert sorted(places) == sorted(expected)
    used = set(snapshot.read("occurrences").column("text_id").to_pylist())
    assert used == set(kept_texts(snapshot))


def test_documents_can_be_rebuilt_from_the_tables(at_once: Path, examples_archive: Path) -> None:
    assert_lossless(at_once)
    assert_lossless(examples_archive)
    assert StoredArchive(examples_archive).snapshot().rows("documents") == 17


def test_second_run_over_the_same_folder_changes_nothing(corpus: Path, fresh_archive: Path) -> None:
    ingest(corpus, fresh_archive)
    before = listing(fresh_archive)
    summary = ingest(corpus, fresh_archive)
    assert summary.version is None
    assert (summary.sources_new, summary.sources_known) == (0, 6)
    assert listing(fresh_archive) == before


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("batch_bytes", [1, 2**24])
def test_batches_and_workers_do_not_change_the_tables(
    corpus: Path, at_once: Path, fresh_archive: Path, workers: int, batch_bytes: int
) -> None:
    ingest(corpus, fresh_archive, settings_of(workers, batch_bytes))
    assert contents(fresh_archive) == contents(at_once)


def test_portions_are_separate_runs_and_do_not_change_the_tables(
    corpus: Path, at_once: Path, fresh_archive: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_bytes(b"")
    first = ingest(min(corpus.iterdir()), fresh_archive)
    summary = ingest([corpus, empty], fresh_archive, settings_of(portion_bytes=1))
    assert (summary.sources_found, summary.sources_new) == (7, 5)
    assert (summary.sources_known, summary.rejects_by_reason) == (1, {"empty": 1})
    assert summary.version == first.version + summary.portions
    assert summary.portions > 3
    snapshot = StoredArchive(fresh_archive).snapshot()
    rows = snapshot.read("runs", ["run_id", "sources_found"]).to_pylist()
    assert len({row["run_id"] for row in rows}) == len(rows) == 1 + summary.portions
    assert sum(row["sources_found"] for row in rows) == 1 + summary.sources_found
    whole = contents(at_once) | {"rejects": contents(fresh_archive)["rejects"]}
    assert contents(fresh_archive) == whole


def test_committed_portions_stay_if_a_later_one_fails(
    corpus: Path, at_once: Path, fresh_archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fold_twice(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 3:
            raise TransientError("no third time")
        return FOLD.function(*given)

    with monkeypatch.context() as patch:
        patch.setattr(palimpsest.pipeline.run, "FOLD", replace(FOLD, function=fold_twice))
        with pytest.raises(TransientError):
            ingest(corpus, fresh_archive, settings_of(portion_bytes=1))
    assert StoredArchive(fresh_archive).snapshot().manifest.version == 2
    summary = ingest(corpus, fresh_archive, settings_of(portion_bytes=1))
    assert summary.sources_known == 2
    assert summary.batches_taken_up == 1
    assert contents(fresh_archive) == contents(at_once)


@pytest.mark.parametrize("cuts", [(1,), (3,), (1, 2, 3, 4, 5)], ids=str)
def test_several_runs_give_what_one_run_gives(
    corpus: Path, at_once: Path, fresh_archive: Path, cuts: tuple[int, ...]
) -> None:
    files = sorted(corpus.iterdir())
    for first, last in zip((0, *cuts), (*cuts, len(files)), strict=True):
        ingest(files[first:last], fresh_archive)
    assert contents(fresh_archive) == contents(at_once)
    assert_lossless(fresh_archive)


def test_several_runs_over_the_examples_give_what_one_run_gives(
    examples: Path, examples_archive: Path, fresh_archive: Path
) -> None:
    folders = sorted(examples.iterdir())
    for first in range(0, len(folders), 6):
        ingest(folders[first : first + 6], fresh_archive)
    assert contents(fresh_archive) == contents(examples_archive)


def test_near_duplicate_of_a_later_run_is_folded(tmp_path: Path, fresh_archive: Path) -> None:
    folder = write_articles(tmp_path / "in", {"a.txt": [make_paragraph(1), make_paragraph(2)]})
    ingest(folder, fresh_archive)
    before = contents(fresh_archive)
    write_articles(folder, {"b.txt": [make_paragraph(1, edit=3)]})
    summary = ingest(folder, fresh_archive)
    after = contents(fresh_archive)
    assert (summary.paragraphs_kept, summary.paragraphs_folded) == (0, 1)
    assert after["paragraphs"] == before["paragraphs"]
    [variant] = map(json.loads, after["variants"])
    assert variant["text"] == make_paragraph(1, edit=3)
    assert kept_texts(StoredArchive(fresh_archive).snapshot())[
        variant["paragraph_id"]
    ] == make_paragraph(1)
    assert 0.8 < variant["resemblance"] < 1


def test_exact_copy_of_a_later_run_adds_only_an_occurrence(
    tmp_path: Path, fresh_archive: Path
) -> None:
    folder = write_articles(tmp_path / "in", {"a.txt": [make_paragraph(1), make_paragraph(2)]})
    ingest(folder, fresh_archive)
    before = contents(fresh_archive)
    write_articles(folder, {"b.txt": [make_paragraph(2)]})
    summary = ingest(folder, fresh_archive)
    after = contents(fresh_archive)
    assert summary.paragraphs_repeated == 1
    assert summary.candidates == 0
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"occurrences", "documents", "sources"}
    assert len(after["occurrences"]) == len(before["occurrences"]) + 1


def test_earlier_text_between_two_others_has_both_folded_into_it(
    tmp_path: Path, fresh_archive: Path
) -> None:
    words = make_words(1, 60)
    far_left = " ".join([*hyphenated(words[:5]), *words[5:]])
    far_right = " ".join([*words[:55], *hyphenated(words[55:])])
    folder = write_articles(tmp_path / "in", {"b.txt": [far_left], "c.txt": [far_right]})
    ingest(folder, fresh_archive)
    assert StoredArchive(fresh_archive).snapshot().rows("paragraphs") == 2
    write_articles(folder, {"a.txt": [" ".join(words)]})
    ingest(folder, fresh_archive)
    snapshot = StoredArchive(fresh_archive).snapshot()
    [kept] = snapshot.read("paragraphs").to_pylist()
    assert kept["text"] == " ".join(words)
    variants = snapshot.read("variants").to_pylist()
    assert {row["text"] for row in variants} == {far_left, far_right}
    assert {row["paragraph_id"] for row in variants} == {kept["paragraph_id"]}
    assert_lossless(fresh_archive)


def test_later_text_between_two_others_joins_only_the_earlier_one(
    tmp_path: Path, fresh_archive: Path
) -> None:
    words = make_words(1, 60)
    far_left = " ".join([*hyphenated(words[:5]), *words[5:]])
    far_right = " ".join([*words[:55], *hyphenated(words[55:])])
    articles = {"a.txt": [far_left], "b.txt": [far_right], "c.txt": [" ".join(words)]}
    ingest(write_articles(tmp_path / "in", articles), fresh_archive)
    snapshot = StoredArchive(fresh_archive).snapshot()
    assert set(snapshot.read("paragraphs")["text"].to_pylist()) == {far_left, far_right}
    assert snapshot.read("variants")["text"].to_pylist() == [" ".join(words)]
    assert_lossless(fresh_archive)


def test_texts_that_differ_in_a_number_are_both_kept(tmp_path: Path, fresh_archive: Path) -> None:
    words = make_words(1, 60)
    left, right = (" ".join([*words[:30], number, *words[30:]]) for number in ("1998", "1999"))
    ingest(write_articles(tmp_path / "in", {"a.txt": [left], "b.txt": [right]}), fresh_archive)
    snapshot = StoredArchive(fresh_archive).snapshot()
    assert set(snapshot.read("paragraphs")["text"].to_pylist()) == {left, right}
    [overlap] = snapshot.read("overlaps", ["relation", "says_same"]).to_pylist()
    assert overlap == {"relation": "near", "says_same": False}


def test_identical_paragraphs_are_never_aligned(tmp_path: Path, fresh_archive: Path) -> None:
    same = [make_paragraph(1), make_paragraph(2)]
    articles = {f"{n:02d}.txt": [f"Number {n}", *same] for n in range(40)}
    summary = ingest(write_articles(tmp_path / "in", articles), fresh_archive)
    assert summary.candidates == 0
    assert summary.overlaps_found == 0
    assert summary.documents_new == 40
    assert summary.paragraphs_repeated == 2 * 39


def test_identical_files_are_two_sources_of_one_document(
    tmp_path: Path, fresh_archive: Path
) -> None:
    same = [make_paragraph(1), make_paragraph(2)]
    folder = write_articles(tmp_path / "in", {"a.txt": same, "b.txt": same})
    summary = ingest(folder, fresh_archive)
    snapshot = StoredArchive(fresh_archive).snapshot()
    assert (summary.sources_new, summary.documents_new) == (2, 1)
    assert snapshot.rows("occurrences") == 2
    sources = snapshot.read("sources").to_pylist()
    assert len({row["document_id"] for row in sources}) == 1
    assert sorted(row["uri"].rpartition("/")[2] for row in sources) == ["a.txt", "b.txt"]


def test_identical_file_of_a_later_run_adds_only_a_source(
    tmp_path: Path, fresh_archive: Path
) -> None:
    folder = write_articles(tmp_path / "in", {"a.txt": [make_paragraph(1)]})
    ingest(folder, fresh_archive)
    before = contents(fresh_archive)
    write_articles(folder, {"b.txt": [make_paragraph(1)]})
    assert ingest(folder, fresh_archive).documents_new == 0
    after = contents(fresh_archive)
    assert {name for name in after if after[name] != before[name]} == {"sources"}


def test_paragraph_names_the_first_uri_whichever_run_ingests_it(
    tmp_path: Path, fresh_archive: Path
) -> None:
    folder = write_articles(tmp_path / "in", {"b.txt": [make_paragraph(1)]})
    ingest(folder, fresh_archive)
    write_articles(folder, {"a.txt": [make_paragraph(1)]})
    ingest(folder, fresh_archive)
    write_articles(folder, {"c.txt": [make_paragraph(1)]})
    ingest(folder, fresh_archive)
    [row] = StoredArchive(fresh_archive).snapshot().read("paragraphs").to_pylist()
    assert row["uri"].endswith("/a.txt")


def test_rejects_do_not_stop_a_run(tmp_path: Path, fresh_archive: Path) -> None:
    folder = write_articles(tmp_path / "in", {"b.txt": [make_paragraph(1)]})
    (folder / "a.txt").write_bytes(b"")
    (folder / "c.pdf").write_bytes(b"%PDF-1.7 and so on")
    summary = ingest(folder, fresh_archive)
    assert (summary.sources_new, summary.sources_rejected) == (1, 2)
    rows = StoredArchive(fresh_archive).snapshot().read("rejects").to_pylist()
    assert {row["reason"] for row in rows} == {"empty", "unsupported-format"}
    assert all(row["detail"] for row in rows)


def test_run_with_only_rejects_creates_an_archive_that_can_grow(
    tmp_path: Path, fresh_archive: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"")
    (folder / "link.txt").symlink_to("nowhere")
    assert ingest(folder, fresh_archive).version == 1
    assert ingest(folder, fresh_archive).version is None
    write_articles(folder, {"b.txt": [make_paragraph(1)]})
    assert ingest(folder, fresh_archive).version == 2
    assert StoredArchive(fresh_archive).snapshot().rows("paragraphs") == 1


def test_broken_link_alone_is_recorded_as_a_reject(tmp_path: Path, fresh_archive: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.txt").symlink_to("nowhere")
    summary = ingest(tmp_path / "in", fresh_archive)
    assert (summary.version, summary.sources_rejected) == (1, 1)


def test_empty_folder_commits_nothing(tmp_path: Path, fresh_archive: Path) -> None:
    (tmp_path / "in").mkdir()
    summary = ingest(tmp_path / "in", fresh_archive)
    assert (summary.version, summary.sources_found) == (None, 0)
    assert not StoredArchive(fresh_archive).exists()


def test_known_file_with_changed_bytes_is_a_new_source(tmp_path: Path, fresh_archive: Path) -> None:
    folder = write_articles(tmp_path / "in", {"a.txt": [make_paragraph(1)]})
    ingest(folder, fresh_archive)
    write_articles(folder, {"a.txt": [make_paragraph(1), make_paragraph(2)]})
    summary = ingest(folder, fresh_archive)
    assert (summary.sources_new, summary.documents_new) == (1, 1)
    snapshot = StoredArchive(fresh_archive).snapshot()
    rows = snapshot.read("sources").to_pylist()
    assert len({row["uri"] for row in rows}) == 1
    assert len({row["document_id"] for row in rows}) == 2
    assert_lossless(fresh_archive)


def test_touched_file_with_the_same_bytes_is_no_new_document(
    tmp_path: Path, fresh_archive: Path
) -> None:
    folder = write_articles(tmp_path / "in", {"a.txt": [make_paragraph(1)]})
    ingest(folder, fresh_archive)
    os.utime(folder / "a.txt", ns=(10**18, 10**18))
    assert ingest(folder, fresh_archive).documents_new == 0
    assert ingest(folder, fresh_archive).version is None
    assert StoredArchive(fresh_archive).snapshot().rows("occurrences") == 1


def test_run_row_records_counts_and_settings(tmp_path: Path, fresh_archive: Path) -> None:
    folder = write_articles(
        tmp_path / "in", {"a.txt": [make_paragraph(1)], "b.txt": [make_paragraph(1, edit=3)]}
    )
    (folder / "empty.txt").write_bytes(b"")
    settings = settings_of(align=AlignSettings(min_score=5.0))
    summary = ingest(folder, fresh_archive, settings)
    [row] = StoredArchive(fresh_archive).snapshot().read("runs").to_pylist()
    assert json.loads(row["settings"])["align"]["min_score"] == 5.0
    assert row["settings"] == settings.decisive()
    assert row["seal"] == settings.fingerprint(STAGE_VERSIONS)
    expected = {
        "run_id": summary.run_id, "flow_run_id": None, "sources_found": 3, "sources_new": 2,
        "sources_known": 0, "sources_rejected": 1, "documents_new": 2, "paragraphs_seen": 2,
        "texts_new": 2, "texts_folded": 1, "candidates": 1, "overlaps_found": 1,
        "bytes_read": sum(path.stat().st_size for path in folder.iterdir()),
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["started_at"] <= row["finished_at"]


def test_other_settings_are_refused_naming_each_difference(
    corpus: Path, fresh_archive: Path
) -> None:
    ingest(corpus, fresh_archive)
    before = listing(fresh_archive)
    other = Settings(
        read=ReadSettings(max_paragraph_chars=500),
        sign=SignSettings(bands=12, seed=7),
        align=AlignSettings(min_score=9.0),
    )
    with pytest.raises(SettingsError) as caught:
        ingest(corpus, fresh_archive, other)
    named = [fault.split(" = ")[0] for fault in caught.value.faults]
    assert named == [
        "settings align.min_score", "settings read.max_paragraph_chars",
        "settings sign.bands", "settings sign.seed",
    ]  # fmt: skip
    assert "9.0" in caught.value.faults[0]
    assert "4.5" in caught.value.faults[0]
    assert listing(fresh_archive) == before


def test_run_settings_may_differ(corpus: Path, fresh_archive: Path) -> None:
    ingest(corpus, fresh_archive)
    other = Settings(run=RunSettings(workers=2, batch_bytes=7))
    assert ingest(corpus, fresh_archive, other).version is None


def test_run_row_records_the_encoding_of_that_run(tmp_path: Path, fresh_archive: Path) -> None:
    folder = write_articles(tmp_path / "in", {"a.txt": [make_paragraph(1)]})
    ingest(folder, fresh_archive)
    (folder / "b.txt").write_bytes("Œuvre à cœur vaillant".encode("cp1252"))
    other_encoding = settings_of(read=ReadSettings(encoding="cp1252"))
    ingest(folder, fresh_archive, other_encoding)
    rows = StoredArchive(fresh_archive).snapshot().read("runs").sort_by("run_id").to_pylist()
    assert [json.loads(row["settings"])["read"]["encoding"] for row in rows] == [None, "cp1252"]


def test_file_of_unknown_encoding_is_read_once_the_encoding_is_named(
    tmp_path: Path, fresh_archive: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"\xff\xfd\xb4\xe2" * 3 + b" ok\n")
    first = ingest(folder, fresh_archive, settings_of(read=ReadSettings(encoding="ascii")))
    assert first.rejects_by_reason == {"encoding-mismatch": 1}
    other_encoding = settings_of(read=ReadSettings(encoding="cp1252"))
    assert ingest(folder, fresh_archive, other_encoding).sources_new == 1


def test_file_names_with_invalid_utf_8_are_read(tmp_path: Path, fresh_archive: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in (b"\xff\xfe.txt", "日本 é%.txt".encode(), b"line\nbreak\x1b[31m.txt", b"'q\".txt"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text(
            make_paragraph(len(name)), encoding="utf-8"
        )
    summary = ingest(folder, fresh_archive)
    assert (summary.sources_new, summary.sources_rejected) == (4, 0)
    assert ingest(folder, fresh_archive).version is None


def test_archive_path_with_a_quote_works(tmp_path: Path) -> None:
    folder = write_articles(tmp_path / "in", reuse_articles())
    archive = tmp_path / 'o\'hara "press" [red] ü'
    for part in ("a.txt", "b.txt"):
        ingest(folder / part, archive)
    assert StoredArchive(archive).snapshot().rows("documents") == 2
