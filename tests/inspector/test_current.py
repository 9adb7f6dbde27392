"""A catalogue is built once when needed, rebuilt when lost, and that of the newest version is shown."""

import multiprocessing
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from palimpsest.inspector.catalogue import (
    Catalogue,
    CatalogueError,
    catalogue_path,
    ensure_catalogue,
)
from palimpsest.inspector.catalogue.files import _is_complete
from palimpsest.inspector.pages import current as current_module
from palimpsest.inspector.pages import views
from palimpsest.inspector.pages.current import CurrentCatalogue
from palimpsest.records.errors import ArchiveError
from palimpsest.records.progress import Step
from palimpsest.store.address import open_archive
from palimpsest.store.archive import StoredArchive
from tests.inspector.sample_archives import catalogue_of
from tests.pipeline.corpora import ingest, make_paragraph, write_articles

pytestmark = pytest.mark.usefixtures("compiled_kernels")

SECONDS = 60.0


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder given as a relative path with characters that URLs must escape."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PALIMPSEST_STATE", "my state?#%41")
    return tmp_path / "my state?#%41"


@pytest.fixture
def press(tmp_path: Path) -> StoredArchive:
    """An archive of two articles."""
    add(tmp_path, "a", 1)
    return StoredArchive(tmp_path / "press")


@pytest.fixture
def current_of(
    monkeypatch: pytest.MonkeyPatch, state: Path
) -> Iterator[Callable[..., CurrentCatalogue]]:
    """Return a function that creates current catalogues which check their archive often."""
    monkeypatch.setattr(current_module, "CHECK_INTERVAL_SECONDS", 0.02)
    created: list[CurrentCatalogue] = []

    def current_of(archive: StoredArchive, *arguments: object) -> CurrentCatalogue:
        created.append(CurrentCatalogue(archive, *arguments))
        return created[-1]

    assert state
    yield current_of
    for current in created:
        if current._checker:
            current._checker.join(SECONDS)


def add(folder: Path, name: str, number: int) -> None:
    """Add two articles that share a paragraph to the archive of a folder."""
    articles = {f"{one}.txt": [f"Title {one}{name}", make_paragraph(number)] for one in "xy"}
    ingest(write_articles(folder / name, articles), folder / "press")


def wait_for(what: Callable[[], object]) -> None:
    until = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def shown(current: CurrentCatalogue) -> int | None:
    """Return the number of the version that is shown."""
    damaged = current.catalogue()
    return damaged and damaged.snapshot.manifest.version


def documents(catalogue: Catalogue | None) -> int:
    assert catalogue
    return views.overview(catalogue)["counts"]["documents"]


def test_catalogue_is_built_once_and_leftovers_are_removed(
    press: StoredArchive, state: Path
) -> None:
    steps: list[tuple[Step, int, int]] = []
    folder = catalogue_path(press, press.manifest()).parent.absolute()
    assert folder.is_relative_to(state)
    folder.mkdir(parents=True)
    (folder / "00000007.sqlite").write_text("of a deleted version")
    (folder / ".new-left").mkdir()
    (folder / ".new-left" / "catalogue").write_text("unfinished, of a killed process")
    path = ensure_catalogue(press, None, lambda *progress: steps.append(progress))
    assert documents(Catalogue(path, press.snapshot())) == 2
    assert sorted(one.name for one in folder.iterdir()) == ["00000001.sqlite", "lock"]
    assert [done for _, done, _ in steps] == list(range(1, len(steps) + 1))
    assert {(step.name, total) for step, _, total in steps} == {("catalogue", len(steps))}
    before = path.stat().st_mtime_ns
    assert ensure_catalogue(press) == path
    assert path.stat().st_mtime_ns == before


def with_fact(name: str, value: str) -> Callable[[Path], None]:
    """Return a function that changes a fact that a catalogue stores about itself."""

    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE facts SET value = ? WHERE name = ?", [value, name])
            connection.commit()

    return change


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: path.write_bytes(path.read_bytes()[:-5000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(bytes(9000)),
        lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(9000)),
        with_fact("run_id", '"another"'),
        with_fact("format", "1"),
        with_fact("format", "{"),
        with_fact("format", ""),
    ],
    ids=["deleted", "cut", "empty", "zeros", "header", "run", "format", "broken", "null"],
)
def test_damaged_catalogue_is_not_considered_complete(
    press: StoredArchive, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = catalogue_of(press.path, tmp_path)._path
    manifest = press.manifest()
    assert _is_complete(path, manifest)
    damage(path)
    assert not _is_complete(path, manifest)


def test_concurrent_callers_build_a_catalogue_once(press: StoredArchive, state: Path) -> None:
    assert state
    steps: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        report = lambda _, done, __: steps.append(done)  # noqa: E731
        paths = list(pool.map(lambda _: ensure_catalogue(press, None, report), range(2)))
    assert paths[0] == paths[1]
    assert documents(Catalogue(paths[0], press.snapshot())) == 2
    assert len(steps) == len(set(steps))


def test_killed_build_is_reported_and_can_be_repeated(press: StoredArchive, state: Path) -> None:
    assert state

    def kill(*_: object) -> None:
        for one in multiprocessing.active_children():
            one.kill()

    with pytest.raises(CatalogueError, match="its process was killed"):
        ensure_catalogue(press, None, kill)
    path = ensure_catalogue(press)
    assert documents(Catalogue(path, press.snapshot())) == 2
    assert {one.name for one in path.parent.iterdir()} == {"00000001.sqlite", "lock"}


def test_archive_created_later_is_shown(
    tmp_path: Path, current_of: Callable[..., CurrentCatalogue]
) -> None:
    current = current_of(StoredArchive(tmp_path / "press"))
    assert current.catalogue() is None
    wait_for(lambda: "does not exist yet" in current.status())
    with pytest.raises(ArchiveError, match="does not exist yet"):
        current.wait()
    add(tmp_path, "a", 1)
    wait_for(current.catalogue)
    assert current.status() == "showing version 1"
    assert documents(current.catalogue()) == 2


def test_new_version_is_picked_up_while_the_previous_one_is_shown(
    press: StoredArchive, tmp_path: Path, current_of: Callable[..., CurrentCatalogue]
) -> None:
    seen: list[tuple[int | None, int | None]] = []
    current = current_of(
        press, None, lambda *_: seen.append((shown(current), current.pending_version()))
    )
    current.wait()
    assert set(seen) == {(None, None)}
    pinned = current_of(press, 1)
    pinned.wait()
    seen.clear()
    add(tmp_path, "b", 2)
    wait_for(lambda: shown(current) == 2)
    assert set(seen) == {(1, 2)}
    assert current.pending_version() is None
    assert documents(current.catalogue()) == 4
    assert documents(pinned.catalogue()) == 2


def test_deleted_archive_is_no_longer_shown(
    press: StoredArchive, current_of: Callable[..., CurrentCatalogue]
) -> None:
    current = current_of(press)
    current.wait()
    shutil.rmtree(press.home)
    press.path.unlink()
    wait_for(lambda: current.catalogue() is None)
    assert "does not exist yet" in current.status()


def test_archive_recreated_between_two_checks_is_shown(
    press: StoredArchive,
    tmp_path: Path,
    current_of: Callable[..., CurrentCatalogue],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    current = current_of(press)
    current.wait()
    monkeypatch.setattr(current_module, "CHECK_INTERVAL_SECONDS", 3600.0)
    current.catalogue()
    shutil.rmtree(press.home)
    press.path.unlink()
    ingest(write_articles(tmp_path / "b", {"z.txt": ["Another archive altogether"]}), press.path)
    monkeypatch.setattr(current_module, "CHECK_INTERVAL_SECONDS", 0.02)
    current._next_check = 0.0
    wait_for(lambda: documents(current.catalogue()) == 1)


def test_failed_build_is_reported_and_retried_later(
    press: StoredArchive,
    state: Path,
    current_of: Callable[..., CurrentCatalogue],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(current_module, "RETRY_SECONDS", 3600.0)
    state.write_text("a file in the way")
    current = current_of(press)
    with pytest.raises(ArchiveError, match="PALIMPSEST_STATE"):
        current.wait()
    state.unlink()
    time.sleep(0.05)
    assert current.catalogue() is None  # not retried at every check
    assert "version 1 cannot be shown" in current.status()
    current._next_check = 0.0
    wait_for(current.catalogue)


def test_discarded_catalogue_is_rebuilt(
    press: StoredArchive, current_of: Callable[..., CurrentCatalogue]
) -> None:
    current = current_of(press)
    current.wait()
    damaged = current.catalogue()
    assert damaged
    current.discard(damaged)
    wait_for(current.catalogue)
    again = current.catalogue()
    assert again is not damaged
    current.discard(damaged)  # a second request noticed the damage too
    assert current.catalogue() is again


def test_archive_of_an_object_store_is_shown(
    s3_archive: str, tmp_path: Path, current_of: Callable[..., CurrentCatalogue]
) -> None:
    current = current_of(open_archive(s3_archive))
    wait_for(lambda: "does not exist yet" in current.status())
    articles = {f"{one}.txt": [f"Title {one}", make_paragraph(1)] for one in "xy"}
    ingest(write_articles(tmp_path / "in", articles), s3_archive)
    wait_for(current.catalogue)
    damaged = current.catalogue()
    assert documents(damaged) == 2
    [pair] = views.overview(damaged)["pairs"]
    ids = [pair[side]["document_id"] for side in ("left", "right")]
    assert views.compare(damaged, *ids)["passages"]
