"""An archive as a bag (BagIt, RFC 8493): its tables, and if asked for the raw files, with digests.

::

    BAG/
        bagit.txt, bag-info.txt, manifest-*.txt, tagmanifest-*.txt
        data/archive/<table>/*.parquet, manifest.json    the version, as it is in the archive
        data/raw/...                                     raw files that are as they were read
        data/raw.csv                                     which source is which of them, or why not

Tables are hard links where that is possible: no file of an archive is ever changed. Raw files are
copied, since their owners may change them.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self
from urllib.parse import quote, unquote_to_bytes

from palimpsest.evidence.raw import (
    file_uri_of,
    group_by_file,
    reopen,
    reread_documents,
    uri_of_copy,
)
from palimpsest.exports.streams import rows_of
from palimpsest.records import __version__
from palimpsest.records.errors import ContractError, SettingsError, SourceError
from palimpsest.records.progress import READING_RAW_FILES, READING_TABLES, Report, silent
from palimpsest.records.schemas import TABLES
from palimpsest.records.settings import ReadSettings
from palimpsest.store.archive import MANIFEST, Snapshot
from palimpsest.store.files import link_file, new_folder
from palimpsest.store.views import connect_bounded

if TYPE_CHECKING:
    from palimpsest.store.views import Connection

ALGORITHMS = ("sha256", "sha512")
TABLES_FOLDER, RAW_FOLDER, RAW_LIST = "data/archive", "data/raw", "data/raw.csv"
AS_READ, REPLACED, CHANGED, AT_ADDRESS = "as-read", "replaced", "changed", "at-address"
"""What became of the raw file of a source; or a reason for a reject, if it cannot be read."""

_CHUNK_BYTES = 2**20
_MAX_NAME_BYTES = 255
_REPORT_EVERY = 100
_OWN_LABELS = ("Bagging-Date", "Bag-Software-Agent", "Payload-Oxum", "Bag-Size")
# Names that every reader of manifests takes as they are: no controls and no blanks at their ends,
# and no percent sign, which the standard has encoded and some readers take literally.
_PLAIN_NAME = re.compile(r"[^%\x00-\x1f\x7f-\x9f\u2028\u2029]+")

_FILES = """
    SELECT min(uri) AS first, max(uri) AS last FROM sources WHERE starts_with(uri, 'file:///')
"""
_SOURCES = """
    SELECT s.uri, s.document_id, d.sha256 FROM sources s JOIN documents d USING (document_id)
    ORDER BY s.uri, s.run_id, s.modified_at
"""


@dataclass(frozen=True, slots=True)
class _Held:
    """A file of a bag: its path there, digests in the order of ``ALGORITHMS``, and size."""

    path: str
    digests: tuple[str, ...]
    size_bytes: int


class _Bag:
    """A bag that is being filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.size_bytes = 0
        self.files = 0
        self._manifests = [
            (folder / f"manifest-{name}.txt").open("x", encoding="utf-8", newline="\n")
            for name in ALGORITHMS
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for manifest in self._manifests:
            manifest.close()

    def copy(self, file: BinaryIO, path: str) -> _Held:
        """Write a file's bytes to a new place, which is not told yet."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as copy:
            return _digested(file, path, copy)

    def link(self, source: Path, path: str) -> None:
        """Let a file that is never changed stand in a place too."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        link_file(source, target)
        self.tell(path)

    def tell(self, held: _Held | str) -> None:
        """Put a file of the payload into the manifests."""
        if isinstance(held, str):
            with (self.folder / held).open("rb") as file:
                held = _digested(file, held)
        for manifest, digest in zip(self._manifests, held.digests, strict=True):
            manifest.write(f"{digest}  {held.path}\n")
        self.size_bytes += held.size_bytes
        self.files += 1


def _digested(file: BinaryIO, path: str, copy: BinaryIO | None = None) -> _Held:
    """Return the digests of a file, and write its bytes to another if there is one."""
    hashes, size = [hashlib.new(name) for name in ALGORITHMS], 0
    while chunk := file.read(_CHUNK_BYTES):
        size += len(chunk)
        for one in hashes:
            one.update(chunk)
        if copy:
            copy.write(chunk)
    return _Held(path, tuple(one.hexdigest() for one in hashes), size)


def write_bag(
    snapshot: Snapshot,
    path: Path,
    name: str,
    info: Sequence[tuple[str, str]] = (),
    *,
    with_raw: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Write a version of an archive as a new bag.

    Args:
        snapshot: the version to write.
        path: of the new folder.
        name: what the archive is called.
        info: more labels and values for ``bag-info.txt``, such as ``Source-Organization``.
        with_raw: put in the raw files that are as they were read.
        report: told how far it is.

    Returns:
        ``files`` and ``bytes`` of the payload; ``raw``, how many sources there are of each status.

    Raises:
        SettingsError: a label cannot be used, something is there already, or nothing can be
            written there.
        ContractError: a file of the archive is not as it was written.
    """
    _expect_labels(info)
    raw: dict[str, int] = {}
    with new_folder(path) as folder:
        with _Bag(folder) as bag:
            _put_tables(bag, snapshot, report)
            if with_raw:
                raw = _put_raw(bag, snapshot, path.absolute().parent, report)
        _write_tags(bag, snapshot, name, info)
    told = {"files": bag.files, "bytes": bag.size_bytes}
    return told | ({"raw": raw} if with_raw else {})


def _expect_labels(info: Sequence[tuple[str, str]]) -> None:
    faults = []
    for label, value in info:
        if (
            not re.fullmatch(r"[\w-]+", label, re.ASCII)
            or not value.strip()
            or len(value.splitlines()) != 1
        ):
            expected = "LABEL=VALUE on one line, as in Source-Organization=Press Museum"
            faults.append(f"--bag-info {label}={value}: expected {expected}")
        elif label in _OWN_LABELS:
            faults.append(f"--bag-info {label}: is written by Palimpsest; leave it out")
    if faults:
        raise SettingsError(faults)


def _put_tables(bag: _Bag, snapshot: Snapshot, report: Report) -> None:
    bag.link(snapshot.folder / MANIFEST, f"{TABLES_FOLDER}/{MANIFEST}")
    for number, name in enumerate(TABLES, start=1):
        told = {file["name"]: file["bytes"] for file in snapshot.manifest.files[name]}
        for path in snapshot.files(name):
            size = path.stat().st_size
            if size != told[path.name]:
                advice = "the archive is damaged; palimpsest verify tells all that is wrong"
                raise ContractError(
                    f"{path}: {size} bytes; expected {told[path.name]}, by the manifest; {advice}"
                )
            bag.link(path, f"{TABLES_FOLDER}/{name}/{path.name}")
        report(READING_TABLES, number, len(TABLES))


def _put_raw(bag: _Bag, snapshot: Snapshot, beside: Path, report: Report) -> dict[str, int]:
    """Copy the files of sources, and list what became of each; return how many of each status."""
    counts: dict[str, int] = {}
    total = snapshot.rows("sources")
    with (
        connect_bounded(snapshot, beside) as connection,
        (bag.folder / RAW_LIST).open("x", encoding="utf-8", newline="") as listing,
    ):
        [files] = rows_of(connection, _FILES)
        root = _folder_of(files["first"], files["last"])
        lines = csv.writer(listing)
        lines.writerow(["uri", "document_id", "sha256", "status", "path"])
        for uris in group_by_file(_sources(connection)):
            for row in _put_file(bag, uris, root, snapshot.settings().read):
                lines.writerow(row)
                counts[row[3]] = counts.get(row[3], 0) + 1
            done = sum(counts.values())
            if done % _REPORT_EVERY == 0 or done == total:
                report(READING_RAW_FILES, done, total)
    bag.tell(RAW_LIST)
    return counts


def _folder_of(first: str | None, last: str | None) -> str:
    """Return the folder in which all files are, by the first and last of their URIs."""
    if first is None or last is None:
        return ""
    paths = [file_uri_of(uri).removeprefix("file://") for uri in (first, last)]
    return "file://" + os.path.commonpath([os.path.dirname(path) for path in paths]).rstrip("/")


def _sources(
    connection: Connection,
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each URI with id and SHA-256 of a document that stood there, the earliest first."""
    for row in rows_of(connection, _SOURCES):
        yield row["uri"], (row["document_id"], row["sha256"])


def _put_file(
    bag: _Bag, uris: dict[str, list[tuple[str, str]]], root: str, settings: ReadSettings
) -> Iterator[tuple[str, str, str, str, str]]:
    """Copy a file if a source in it is as it was read; yield a line of the list for each source."""
    uri = file_uri_of(next(iter(uris)))
    held, found = None, {}
    if uri.startswith("file:///"):
        try:
            name = _free_name(bag.folder, _name_of(uri.removeprefix(f"{root}/")))
            try:
                with reopen(uri) as file:
                    held = bag.copy(file, name)
            except SourceError:
                (bag.folder / name).unlink(missing_ok=True)
                raise
            found = _found_in(bag, held, uris, settings)
        except SourceError as error:
            found = dict.fromkeys(uris, error.reason)
    else:
        found = dict.fromkeys(uris, AT_ADDRESS)
    lines = [
        (one, document_id, sha256, _status(found[one], sha256, versions))
        for one, versions in uris.items()
        for document_id, sha256 in versions
    ]
    is_kept = any(line[3] == AS_READ for line in lines)
    if held and is_kept:
        bag.tell(held)
    elif held:
        (bag.folder / held.path).unlink()
    for line in lines:
        yield *line, held.path if held and line[3] == AS_READ else ""


def _found_in(
    bag: _Bag, held: _Held, uris: dict[str, list[tuple[str, str]]], settings: ReadSettings
) -> dict[str, str]:
    """Return for each source in a copied file the SHA-256 of its document; else why there is none.

    A file that is one document needs no other look; what is compressed, or a container, does.
    """
    [sha256, _] = held.digests
    [first, *more] = uris
    if not more and first == file_uri_of(first) and sha256 in {told for _, told in uris[first]}:
        return {first: sha256}
    path = str((bag.folder / held.path).absolute())
    copied = {uri_of_copy(uri, path): uri for uri in uris}
    found = {}
    for uri, raw, fault in reread_documents(list(copied), settings):
        found[copied[uri]] = fault.reason if fault else hashlib.sha256(raw).hexdigest()
    return found


def _status(found: str, sha256: str, versions: list[tuple[str, str]]) -> str:
    """Return what became of a document that stood under a URI.

    Args:
        found: the SHA-256 of what is there now, or why there is nothing.
        sha256: of the document.
        versions: all documents that stood there.
    """
    if found == sha256:
        return AS_READ
    if len(found) != len(sha256):
        return found
    return REPLACED if found in {told for _, told in versions} else CHANGED


def _name_of(tail: str) -> str:
    """Return where a raw file is put, by its URI from the folder on in which all of them are.

    Example:
        >>> _name_of("march/a%20b.txt"), _name_of("march/100%25.txt")
        ('data/raw/march/a b.txt', 'data/raw/march/100=25.txt')
    """
    try:
        name = unquote_to_bytes(tail).decode()
    except UnicodeDecodeError:
        name = ""
    if not _PLAIN_NAME.fullmatch(name) or name != name.strip():
        name = quote(unquote_to_bytes(tail), safe="/ ").strip().replace("%", "=")
    parts = name.split("/")
    if {"", ".", ".."} & set(parts) or max(len(part.encode()) for part in parts) > _MAX_NAME_BYTES:
        raise SourceError("unsafe-name", "its name is too long once escaped, or leads elsewhere")
    return f"{RAW_FOLDER}/{name}"


def _free_name(folder: Path, name: str) -> str:
    while os.path.lexists(folder / name):
        name += "_"
    return name


def _write_tags(bag: _Bag, snapshot: Snapshot, name: str, info: Sequence[tuple[str, str]]) -> None:
    """Write what tells of the bag, and the digests of that."""
    manifest = snapshot.manifest
    counts = ", ".join(f"{snapshot.rows(table)} {table}" for table in ("documents", "paragraphs"))
    facts = [
        *info,
        ("External-Description", f"Version {manifest.version} of the archive {name}: {counts}"),
        ("External-Identifier", manifest.run_id),
        ("Bagging-Date", datetime.now(UTC).date().isoformat()),
        ("Bag-Size", f"{bag.size_bytes / 1e6:.1f} MB"),
        ("Payload-Oxum", f"{bag.size_bytes}.{bag.files}"),
        ("Bag-Software-Agent", f"Palimpsest {__version__}"),
    ]
    texts = {
        "bagit.txt": "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": "".join(f"{label}: {value.strip()}\n" for label, value in facts),
    }
    for file, text in texts.items():
        (bag.folder / file).write_text(text, encoding="utf-8", newline="\n")
    tags = [*texts, *(f"manifest-{algorithm}.txt" for algorithm in ALGORITHMS)]
    held = []
    for tag in tags:
        with (bag.folder / tag).open("rb") as written:
            held.append(_digested(written, tag))
    for number, algorithm in enumerate(ALGORITHMS):
        lines = "".join(f"{one.digests[number]}  {one.path}\n" for one in held)
        tagged = bag.folder / f"tagmanifest-{algorithm}.txt"
        tagged.write_text(lines, encoding="utf-8", newline="\n")
