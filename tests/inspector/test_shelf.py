"""A catalogue is made when it is needed, once, and again when it is lost; the newest version is shown."""

import multiprocessing
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from inspector.catalogue import Catalogue, CatalogueError, catalogue_path, find_catalogue
from inspector.catalogue.find import _is_whole
from inspector.pages import shelf as shelves
from inspector.pages import views
from inspector.pages.shelf import Shelf
from records.errors import ArchiveError
from store.address import open_archive
from store.archive import Archive
from tests.flows.corpora import ingest, make_paragraph, write_articles
from tests.inspector.sample_archives import catalogue_of

pytestmark = pytest.mark.usefixtures("compiled_kernels")

SECONDS = 60.0


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test, told by a relative path that no address may have as it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PALIMPSEST_STATE", "my state?#%41")
    return tmp_path / "my state?#%41"


@pytest.fixture
def press(tmp_path: Path) -> Archive:
    """An archive of two articles."""
    add(tmp_path, "a", 1)
    return Archive(tmp_path / "press")


@pytest.fixture
def shelf_of(monkeypatch: pytest.MonkeyPatch, state: Path) -> Iterator[Callable[..., Shelf]]:
    """Return a function that makes shelves which look at their archive again and again."""
    monkeypatch.setattr(shelves, "LOOK_AGAIN_SECONDS", 0.02)
    made: list[Shelf] = []

    def shelf_of(archive: Archive, *rest: object) -> Shelf:
        made.append(Shelf(archive, *rest))
        return made[-1]

    assert state
    yield shelf_of
    for one in made:
        if one._looker:
            one._looker.join(SECONDS)


def add(folder: Path, name: str, number: int) -> None:
    """Add two articles that share a paragraph to the archive of a folder."""
    articles = {f"{one}.txt": [f"Title {one}{name}", make_paragraph(number)] for one in "xy"}
    ingest(write_articles(folder / name, articles), folder / "press")


def wait_for(what: Callable[[], object]) -> None:
    until = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def shown(shelf: Shelf) -> int | None:
    """Return the number of the version that is shown."""
    held = shelf.catalogue()
    return held and held.snapshot.manifest.version


def documents(catalogue: Catalogue | None) -> int:
    assert catalogue
    return views.overview(catalogue)["counts"]["documents"]


def test_catalogue_is_made_once_and_what_is_of_no_use_is_removed(
    press: Archive, state: Path
) -> None:
    steps: list[tuple[str, int, int]] = []
    folder = catalogue_path(press, press.manifest()).parent.absolute()
    assert folder.is_relative_to(state)
    folder.mkdir(parents=True)
    (folder / "00000007.sqlite").write_text("of a version that is gone")
    (folder / ".new-left").mkdir()
    (folder / ".new-left" / "catalogue").write_text("half of one, of a process that was killed")
    path = find_catalogue(press, None, lambda *told: steps.append(told))
    assert documents(Catalogue(path, press.snapshot())) == 2
    assert sorted(one.name for one in folder.iterdir()) == ["00000001.sqlite", "lock"]
    assert [done for _, done, _ in steps] == list(range(1, len(steps) + 1))
    assert {(name, total) for name, _, total in steps} == {("catalogue", len(steps))}
    before = path.stat().st_mtime_ns
    assert find_catalogue(press) == path
    assert path.stat().st_mtime_ns == before


def told(name: str, value: str) -> Callable[[Path], None]:
    """Return the change of a value that a catalogue tells of itself."""

    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE told SET value = ? WHERE name = ?", [value, name])
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
        told("run_id", '"another"'),
        told("format", "1"),
        told("format", "{"),
        told("format", ""),
    ],
    ids=["gone", "cut", "empty", "zeros", "head", "run", "format", "broken", "null"],
)
def test_damaged_catalogue_is_not_taken_for_whole(
    press: Archive, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = catalogue_of(press.path, tmp_path)._path
    manifest = press.manifest()
    assert _is_whole(path, manifest)
    damage(path)
    assert not _is_whole(path, manifest)


def test_two_that_want_a_catalogue_at_once_make_it_once(press: Archive, state: Path) -> None:
    assert state
    steps: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        tell = lambda _, done, __: steps.append(done)  # noqa: E731
        made = list(pool.map(lambda _: find_catalogue(press, None, tell), range(2)))
    assert made[0] == made[1]
    assert documents(Catalogue(made[0], press.snapshot())) == 2
    assert len(steps) == len(set(steps))


def test_killed_making_is_told_and_done_again(press: Archive, state: Path) -> None:
    assert state

    def kill(*_: object) -> None:
        for one in multiprocessing.active_children():
            one.kill()

    with pytest.raises(CatalogueError, match="its process was ended"):
        find_catalogue(press, None, kill)
    path = find_catalogue(press)
    assert documents(Catalogue(path, press.snapshot())) == 2
    assert {one.name for one in path.parent.iterdir()} == {"00000001.sqlite", "lock"}


def test_archive_that_comes_later_is_shown(tmp_path: Path, shelf_of: Callable[..., Shelf]) -> None:
    shelf = shelf_of(Archive(tmp_path / "press"))
    assert shelf.catalogue() is None
    wait_for(lambda: "there is none yet" in shelf.state())
    with pytest.raises(ArchiveError, match="there is none yet"):
        shelf.wait()
    add(tmp_path, "a", 1)
    wait_for(shelf.catalogue)
    assert shelf.state() == "version 1 is shown"
    assert documents(shelf.catalogue()) == 2


def test_published_version_is_picked_up_while_the_one_before_is_shown(
    press: Archive, tmp_path: Path, shelf_of: Callable[..., Shelf]
) -> None:
    seen: list[tuple[int | None, int | None]] = []
    shelf = shelf_of(press, None, lambda *_: seen.append((shown(shelf), shelf.newer())))
    shelf.wait()
    assert set(seen) == {(None, None)}
    pinned = shelf_of(press, 1)
    pinned.wait()
    seen.clear()
    add(tmp_path, "b", 2)
    wait_for(lambda: shown(shelf) == 2)
    assert set(seen) == {(1, 2)}
    assert shelf.newer() is None
    assert documents(shelf.catalogue()) == 4
    assert documents(pinned.catalogue()) == 2


def test_archive_that_is_gone_is_shown_no_more(
    press: Archive, shelf_of: Callable[..., Shelf]
) -> None:
    shelf = shelf_of(press)
    shelf.wait()
    shutil.rmtree(press.home)
    press.path.unlink()
    wait_for(lambda: shelf.catalogue() is None)
    assert "there is none yet" in shelf.state()


def test_archive_made_anew_between_two_looks_is_shown(
    press: Archive, tmp_path: Path, shelf_of: Callable[..., Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = shelf_of(press)
    shelf.wait()
    monkeypatch.setattr(shelves, "LOOK_AGAIN_SECONDS", 3600.0)
    shelf.catalogue()
    shutil.rmtree(press.home)
    press.path.unlink()
    ingest(write_articles(tmp_path / "b", {"z.txt": ["Another archive altogether"]}), press.path)
    monkeypatch.setattr(shelves, "LOOK_AGAIN_SECONDS", 0.02)
    shelf._look_at = 0.0
    wait_for(lambda: documents(shelf.catalogue()) == 1)


def test_what_cannot_be_made_is_told_and_tried_again_later(
    press: Archive, state: Path, shelf_of: Callable[..., Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelves, "TRY_AGAIN_SECONDS", 3600.0)
    state.write_text("a file in the way")
    shelf = shelf_of(press)
    with pytest.raises(ArchiveError, match="PALIMPSEST_STATE"):
        shelf.wait()
    state.unlink()
    time.sleep(0.05)
    assert shelf.catalogue() is None  # not at every look
    assert "version 1 cannot be shown" in shelf.state()
    shelf._look_at = 0.0
    wait_for(shelf.catalogue)


def test_damaged_catalogue_is_given_up_and_made_again(
    press: Archive, shelf_of: Callable[..., Shelf]
) -> None:
    shelf = shelf_of(press)
    shelf.wait()
    held = shelf.catalogue()
    assert held
    shelf.give_up(held)
    wait_for(shelf.catalogue)
    again = shelf.catalogue()
    assert again is not held
    shelf.give_up(held)  # somebody else noticed too
    assert shelf.catalogue() is again


def test_archive_of_an_object_store_is_shown(
    s3_archive: str, tmp_path: Path, shelf_of: Callable[..., Shelf]
) -> None:
    shelf = shelf_of(open_archive(s3_archive))
    wait_for(lambda: "there is none yet" in shelf.state())
    articles = {f"{one}.txt": [f"Title {one}", make_paragraph(1)] for one in "xy"}
    ingest(write_articles(tmp_path / "in", articles), s3_archive)
    wait_for(shelf.catalogue)
    held = shelf.catalogue()
    assert documents(held) == 2
    [pair] = views.overview(held)["pairs"]
    ids = [pair[side]["document_id"] for side in ("left", "right")]
    assert views.compare(held, *ids)["passages"]
