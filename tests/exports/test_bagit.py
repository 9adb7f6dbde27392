"""An archive as a bag: the bagit package finds it whole, and raw files are as they were read."""

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


def bag_of(archive: Path, target: Path, **more: Any) -> tuple[bagit.Bag, dict[str, Any]]:
    told = write_bag(snapshot_of(archive), target, "press", **more)
    bag = bagit.Bag(str(target))
    bag.validate()
    return bag, told


def raw_of(bag: bagit.Bag) -> dict[str, dict[str, str]]:
    """Return what the list tells of raw files, by their names where they were."""
    with Path(bag.path, "data", "raw.csv").open(newline="", encoding="utf-8") as lines:
        return {row["uri"].rpartition("/")[2]: row for row in csv.DictReader(lines)}


def test_bag_holds_the_tables_as_they_are(hostile: Path, tmp_path: Path) -> None:
    bag, told = bag_of(hostile, tmp_path / "bag")
    snapshot = snapshot_of(hostile)
    expected = {path.relative_to(snapshot.folder) for path in snapshot.folder.rglob("*.*")}
    payload = Path(bag.path, "data", "archive")
    files = [path for path in payload.rglob("*") if path.is_file()]
    assert {path.relative_to(payload) for path in files} == expected
    for path in files:
        assert path.read_bytes() == (snapshot.folder / path.relative_to(payload)).read_bytes()
        assert path.stat().st_ino == (snapshot.folder / path.relative_to(payload)).stat().st_ino
    assert told == {"files": len(files), "bytes": sum(path.stat().st_size for path in files)}
    assert not Path(bag.path, "data", "raw").exists()


def test_what_is_told_of_the_bag_is_so(hostile: Path, tmp_path: Path) -> None:
    info = [("Source-Organization", "Museum für Presse: 😀"), ("Contact-Name", "A. B.")]
    bag, told = bag_of(hostile, tmp_path / "bag", info=info)
    assert bag.version_info == (1, 0)
    assert set(bag.algorithms) == {"sha256", "sha512"}
    assert bag.info["Payload-Oxum"] == f"{told['bytes']}.{told['files']}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", bag.info["Bagging-Date"])
    assert bag.info["Bag-Software-Agent"].startswith("Palimpsest ")
    assert bag.info["External-Identifier"] == snapshot_of(hostile).manifest.run_id
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
def test_labels_that_would_make_another_bag_are_refused(
    label: str, value: str, hostile: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="--bag-info"):
        write_bag(snapshot_of(hostile), tmp_path / "bag", "press", [(label, value)])
    assert list(tmp_path.iterdir()) == []


def test_change_of_a_byte_is_found(hostile: Path, tmp_path: Path) -> None:
    bag, _ = bag_of(copy_archive(hostile, tmp_path / "press"), tmp_path / "bag")
    for path in ("data/archive/manifest.json", "bag-info.txt"):
        whole = Path(bag.path, path).read_bytes()
        Path(bag.path, path).write_bytes(whole.replace(b"1", b"2", 1))
        with pytest.raises(bagit.BagValidationError):
            bagit.Bag(bag.path).validate()
        Path(bag.path, path).write_bytes(whole)


def test_raw_files_are_in_the_bag_as_they_were_read(hostile: Path, tmp_path: Path) -> None:
    bag, told = bag_of(hostile, tmp_path / "bag", with_raw=True)
    sources = hostile.parent / "in"
    raw = raw_of(bag)
    rows = snapshot_of(hostile).read("sources").to_pylist()
    assert told["raw"] == {"as-read": len(rows)} == {"as-read": len(raw)}
    assert {row["uri"] for row in raw.values()} == {row["uri"] for row in rows}
    held = {row["path"] for row in raw.values()}
    assert held == {
        "data/raw/a b/first 100=25.txt",
        "data/raw/second, \"quoted\" 'é'.txt",
        "data/raw/lines.jsonl",
        "data/raw/pages.warc.gz",
    }
    originals = Counter(path.read_bytes() for path in sources.rglob("*.*") if path.stat().st_size)
    assert Counter(Path(bag.path, path).read_bytes() for path in held) == originals
    for path in held:
        assert Path(bag.path, path).stat().st_nlink == 1


def test_raw_files_that_are_gone_or_changed_are_told_and_left_out(tmp_path: Path) -> None:
    sources = tmp_path / "in"
    names = ("stays", "changes", "goes", "is-replaced")
    write_articles(sources, {f"{one}.txt": [make_paragraph(at)] for at, one in enumerate(names)})
    (sources / "packed.txt.gz").write_bytes(gzip.compress(make_paragraph(9).encode()))
    os.mkfifo(tmp_path / "pipe")
    write_articles(sources, {"becomes-a-pipe.txt": [make_paragraph(8)]})
    ingest(sources, tmp_path / "press")
    write_articles(sources, {"is-replaced.txt": [make_paragraph(10)]})
    ingest(sources, tmp_path / "press")
    write_articles(sources, {"changes.txt": [make_paragraph(11)]})
    (sources / "goes.txt").unlink()
    (tmp_path / "pipe").replace(sources / "becomes-a-pipe.txt")
    bag, told = bag_of(tmp_path / "press", tmp_path / "bag", with_raw=True)
    with Path(bag.path, "data", "raw.csv").open(newline="", encoding="utf-8") as lines:
        rows = [
            (row["uri"].rpartition("/")[2], row["status"], row["path"].rpartition("/")[2])
            for row in csv.DictReader(lines)
        ]
    assert sorted(rows) == [
        ("becomes-a-pipe.txt", "not-a-file", ""),
        ("changes.txt", "changed", ""),
        ("goes.txt", "vanished", ""),
        ("is-replaced.txt", "as-read", "is-replaced.txt"),
        ("is-replaced.txt", "replaced", ""),
        ("packed.txt.gz", "as-read", "packed.txt.gz"),
        ("stays.txt", "as-read", "stays.txt"),
    ]
    assert told["raw"] == Counter(status for _, status, _ in rows)
    held = {path.name for path in Path(bag.path, "data", "raw").rglob("*")}
    assert held == {"is-replaced.txt", "packed.txt.gz", "stays.txt"}


def test_container_is_kept_while_something_in_it_is_as_it_was(tmp_path: Path) -> None:
    archive = make_hostile(tmp_path)
    path = tmp_path / "in" / "lines.jsonl"
    first, second, _ = path.read_text(encoding="utf-8").split("\n")
    path.write_text(f"{first}\n{second}\n".replace("Alone", "Aline"), encoding="utf-8")
    bag, _ = bag_of(archive, tmp_path / "bag", with_raw=True)
    statuses = {name: row["status"] for name, row in raw_of(bag).items() if "jsonl" in name}
    assert statuses == {
        "lines.jsonl#offset=0": "as-read",
        f"lines.jsonl#offset={len(first.encode()) + 1}": "changed",
    }
    assert Path(bag.path, "data", "raw", "lines.jsonl").read_bytes() == path.read_bytes()
    path.write_text("{}\n", encoding="utf-8")
    bag, _ = bag_of(archive, tmp_path / "other", with_raw=True)
    assert not Path(bag.path, "data", "raw", "lines.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "held"),
    [
        (b"line\nbreak.txt", "line=0Abreak.txt"),
        (b"100%41.txt", "100=2541.txt"),
        (b"not utf-8 \xff.txt", "not utf-8 =FF.txt"),
        (b"ends in a blank ", "ends in a blank"),
        (b"~tilde and * and # and ?.txt", "~tilde and * and # and ?.txt"),
    ],
)
def test_names_that_readers_of_bags_get_wrong_are_changed(
    name: bytes, held: str, tmp_path: Path
) -> None:
    sources = tmp_path / "in"
    sources.mkdir()
    (sources / os.fsdecode(name)).write_bytes(make_paragraph(1).encode())
    ingest(sources, tmp_path / "press")
    bag, told = bag_of(tmp_path / "press", tmp_path / "bag", with_raw=True)
    assert told["raw"] == {"as-read": 1}
    assert Path(bag.path, "data", "raw", held).read_bytes() == make_paragraph(1).encode()


def test_archive_is_made_of_a_bag_again(hostile: Path, tmp_path: Path) -> None:
    bag, _ = bag_of(hostile, tmp_path / "bag")
    version = f"{snapshot_of(hostile).manifest.version:08d}"
    home = tmp_path / ".again.store" / "versions"
    home.mkdir(parents=True)
    shutil.copytree(Path(bag.path, "data", "archive"), home / version)
    (tmp_path / "again").symlink_to(Path(".again.store") / "versions" / version)
    reindex(str(tmp_path / "again"), 10)
    place = StoredArchive(tmp_path / "again")
    assert verify(place, place.snapshot(), tables_only=True).failed == 0
    assert digest_archive(place.snapshot()) == digest_archive(snapshot_of(hostile))


def test_archive_that_is_damaged_is_refused(hostile: Path, tmp_path: Path) -> None:
    archive = copy_archive(hostile, tmp_path / "press")
    [path, *_] = snapshot_of(archive).files("documents")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ContractError, match="by the manifest; the archive is damaged"):
        write_bag(snapshot_of(archive), tmp_path / "out", "press")
    assert not [path for path in tmp_path.iterdir() if path.name not in {"press", ".press.store"}]
