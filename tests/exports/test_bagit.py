"""An archive as a bag: the bagit package finds it valid, and raw files are as they were read."""

import csv
import gzip
import os
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import bagit
import pytest

from palimpsest.exports.bagit import write_bag
from palimpsest.pipeline.index_upkeep import reindex
from palimpsest.pipeline.verify import verify
from palimpsest.records.errors import ContractError, SettingsError
from palimpsest.store.archive import StoredArchive
from palimpsest.store.digest import digest_archive
from tests.exports.archives import make_hostile, snapshot_of
from tests.pipeline.corpora import ingest, make_paragraph, write_articles
from tests.store.damage import copy_archive


def make_bag(archive_path: Path, target: Path, **options: Any) -> tuple[bagit.Bag, dict[str, Any]]:
    summary = write_bag(snapshot_of(archive_path), target, "press", **options)
    bag = bagit.Bag(str(target))
    bag.validate()
    return bag, summary


def raw_rows(bag: bagit.Bag) -> dict[str, dict[str, str]]:
    """Return the rows of the list of raw files by original file name."""
    with Path(bag.path, "data", "raw.csv").open(newline="", encoding="utf-8") as file:
        return {row["uri"].rpartition("/")[2]: row for row in csv.DictReader(file)}


def test_bag_contains_the_tables_unchanged(hostile_archive: Path, tmp_path: Path) -> None:
    bag, summary = make_bag(hostile_archive, tmp_path / "bag")
    snapshot = snapshot_of(hostile_archive)
    expected = {path.relative_to(snapshot.folder) for path in snapshot.folder.rglob("*.*")}
    payload = Path(bag.path, "data", "archive")
    files = [path for path in payload.rglob("*") if path.is_file()]
    assert {path.relative_to(payload) for path in files} == expected
    for path in files:
        assert path.read_bytes() == (snapshot.folder / path.relative_to(payload)).read_bytes()
        assert path.stat().st_ino == (snapshot.folder / path.relative_to(payload)).stat().st_ino
    assert summary == {"files": len(files), "bytes": sum(path.stat().st_size for path in files)}
    assert not Path(bag.path, "data", "raw").exists()


def test_bag_info_describes_the_bag(hostile_archive: Path, tmp_path: Path) -> None:
    info = [("Source-Organization", "Museum für Presse: 😀"), ("Contact-Name", "A. B.")]
    bag, summary = make_bag(hostile_archive, tmp_path / "bag", info=info)
    assert bag.version_info == (1, 0)
    assert set(bag.algorithms) == {"sha256", "sha512"}
    assert bag.info["Payload-Oxum"] == f"{summary['bytes']}.{summary['files']}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", bag.info["Bagging-Date"])
    assert bag.info["Bag-Software-Agent"].startswith("Palimpsest ")
    assert bag.info["External-Identifier"] == snapshot_of(hostile_archive).manifest.run_id
    assert {label: bag.info[label] for label, _ in info} == dict(info)


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("Payload-Oxum", "1.1"),
        ("Two words", "x"),
        ("Label", "a\nOther: b"),
        ("Label", " "),
        ("", "x"),
    ],
)
def test_labels_that_would_corrupt_the_bag_info_are_refused(
    label: str, value: str, hostile_archive: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="--bag-info"):
        write_bag(snapshot_of(hostile_archive), tmp_path / "bag", "press", [(label, value)])
    assert list(tmp_path.iterdir()) == []


def test_changed_byte_is_detected(hostile_archive: Path, tmp_path: Path) -> None:
    bag, _ = make_bag(copy_archive(hostile_archive, tmp_path / "press"), tmp_path / "bag")
    for path in ("data/archive/manifest.json", "bag-info.txt"):
        original = Path(bag.path, path).read_bytes()
        Path(bag.path, path).write_bytes(original.replace(b"1", b"2", 1))
        with pytest.raises(bagit.BagValidationError):
            bagit.Bag(bag.path).validate()
        Path(bag.path, path).write_bytes(original)


def test_raw_files_are_copied_to_the_bag_as_they_were_read(
    hostile_archive: Path, tmp_path: Path
) -> None:
    bag, summary = make_bag(hostile_archive, tmp_path / "bag", with_raw=True)
    sources = hostile_archive.parent / "in"
    raw = raw_rows(bag)
    rows = snapshot_of(hostile_archive).read("sources").to_pylist()
    assert summary["raw"] == {"as-read": len(rows)} == {"as-read": len(raw)}
    assert {row["uri"] for row in raw.values()} == {row["uri"] for row in rows}
    paths = {row["path"] for row in raw.values()}
    assert paths == {
        "data/raw/a b/first 100=25.txt",
        "data/raw/second, \"quoted\" 'é'.txt",
        "data/raw/lines.jsonl",
        "data/raw/pages.warc.gz",
    }
    originals = Counter(path.read_bytes() for path in sources.rglob("*.*") if path.stat().st_size)
    assert Counter(Path(bag.path, path).read_bytes() for path in paths) == originals
    for path in paths:
        assert Path(bag.path, path).stat().st_nlink == 1


def test_missing_or_changed_raw_files_are_listed_but_not_copied(tmp_path: Path) -> None:
    sources = tmp_path / "in"
    names = ("stays", "changes", "vanishes", "is-replaced")
    write_articles(
        sources, {f"{name}.txt": [make_paragraph(seed)] for seed, name in enumerate(names)}
    )
    (sources / "packed.txt.gz").write_bytes(gzip.compress(make_paragraph(9).encode()))
    os.mkfifo(tmp_path / "pipe")
    write_articles(sources, {"becomes-a-pipe.txt": [make_paragraph(8)]})
    ingest(sources, tmp_path / "press")
    write_articles(sources, {"is-replaced.txt": [make_paragraph(10)]})
    ingest(sources, tmp_path / "press")
    write_articles(sources, {"changes.txt": [make_paragraph(11)]})
    (sources / "vanishes.txt").unlink()
    (tmp_path / "pipe").replace(sources / "becomes-a-pipe.txt")
    bag, summary = make_bag(tmp_path / "press", tmp_path / "bag", with_raw=True)
    with Path(bag.path, "data", "raw.csv").open(newline="", encoding="utf-8") as file:
        rows = [
            (row["uri"].rpartition("/")[2], row["status"], row["path"].rpartition("/")[2])
            for row in csv.DictReader(file)
        ]
    assert sorted(rows) == [
        ("becomes-a-pipe.txt", "not-a-file", ""),
        ("changes.txt", "changed", ""),
        ("is-replaced.txt", "as-read", "is-replaced.txt"),
        ("is-replaced.txt", "replaced", ""),
        ("packed.txt.gz", "as-read", "packed.txt.gz"),
        ("stays.txt", "as-read", "stays.txt"),
        ("vanishes.txt", "vanished", ""),
    ]
    assert summary["raw"] == Counter(status for _, status, _ in rows)
    copied = {path.name for path in Path(bag.path, "data", "raw").rglob("*")}
    assert copied == {"is-replaced.txt", "packed.txt.gz", "stays.txt"}


def test_container_is_copied_while_any_member_is_unchanged(tmp_path: Path) -> None:
    archive_path = make_hostile(tmp_path)
    path = tmp_path / "in" / "lines.jsonl"
    first, second, _ = path.read_text(encoding="utf-8").split("\n")
    path.write_text(f"{first}\n{second}\n".replace("Alone", "Aline"), encoding="utf-8")
    bag, _ = make_bag(archive_path, tmp_path / "bag", with_raw=True)
    statuses = {name: row["status"] for name, row in raw_rows(bag).items() if "jsonl" in name}
    assert statuses == {
        "lines.jsonl#offset=0": "as-read",
        f"lines.jsonl#offset={len(first.encode()) + 1}": "changed",
    }
    assert Path(bag.path, "data", "raw", "lines.jsonl").read_bytes() == path.read_bytes()
    path.write_text("{}\n", encoding="utf-8")
    bag, _ = make_bag(archive_path, tmp_path / "other", with_raw=True)
    assert not Path(bag.path, "data", "raw", "lines.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "bag_name"),
    [
        (b"line\nbreak.txt", "line=0Abreak.txt"),
        (b"100%41.txt", "100=2541.txt"),
        (b"not utf-8 \xff.txt", "not utf-8 =FF.txt"),
        (b"ends in a space ", "ends in a space"),
        (b"~tilde and * and # and ?.txt", "~tilde and * and # and ?.txt"),
    ],
)
def test_file_names_that_bag_readers_misread_are_escaped(
    name: bytes, bag_name: str, tmp_path: Path
) -> None:
    sources = tmp_path / "in"
    sources.mkdir()
    (sources / os.fsdecode(name)).write_bytes(make_paragraph(1).encode())
    ingest(sources, tmp_path / "press")
    bag, summary = make_bag(tmp_path / "press", tmp_path / "bag", with_raw=True)
    assert summary["raw"] == {"as-read": 1}
    assert Path(bag.path, "data", "raw", bag_name).read_bytes() == make_paragraph(1).encode()


def test_archive_can_be_restored_from_a_bag(hostile_archive: Path, tmp_path: Path) -> None:
    bag, _ = make_bag(hostile_archive, tmp_path / "bag")
    version = f"{snapshot_of(hostile_archive).manifest.version:08d}"
    versions = tmp_path / ".again.store" / "versions"
    versions.mkdir(parents=True)
    shutil.copytree(Path(bag.path, "data", "archive"), versions / version)
    (tmp_path / "again").symlink_to(Path(".again.store") / "versions" / version)
    reindex(str(tmp_path / "again"), 10)
    restored = StoredArchive(tmp_path / "again")
    assert verify(restored, restored.snapshot(), tables_only=True).failed == 0
    assert digest_archive(restored.snapshot()) == digest_archive(snapshot_of(hostile_archive))


def test_damaged_archive_is_refused(hostile_archive: Path, tmp_path: Path) -> None:
    archive_path = copy_archive(hostile_archive, tmp_path / "press")
    [path, *_] = snapshot_of(archive_path).files("documents")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ContractError, match="by the manifest; verify the archive"):
        write_bag(snapshot_of(archive_path), tmp_path / "out", "press")
    assert not [path for path in tmp_path.iterdir() if path.name not in {"press", ".press.store"}]
