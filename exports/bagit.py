"""An archive as a bag (BagIt, RFC 8493): its tables and, on request, the raw files, with digests.

::

    BAG/
        bagit.txt, bag-info.txt, manifest-*.txt, tagmanifest-*.txt
        data/archive/<table>/*.parquet, manifest.json    the version, as it is in the archive
        data/raw/...                                     raw files that have not changed since
        data/raw.csv                                     the file of each source, or why none

Tables are hard links where possible, since no file of an archive is ever changed. Raw files are
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
from palimpsest.records.errors import VERIFY_ADVICE, ContractError, SettingsError, SourceError
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
"""Status of the raw file of a source; if it cannot be read, the status is a reject reason."""

_CHUNK_BYTES = 2**20
_MAX_NAME_BYTES = 255
_REPORT_EVERY = 100
_OWN_LABELS = ("Bagging-Date", "Bag-Software-Agent", "Payload-Oxum", "Bag-Size")
# Names that every reader of manifests takes literally: without control characters, whitespace at
# the ends, and percent signs, which the standard encodes and some readers do not.
_PLAIN_NAME = re.compile(r"[^%\x00-\x1f\x7f-\x9f\u2028\u2029]+")

_FILES = """
    SELECT min(uri) AS first, max(uri) AS last FROM sources WHERE starts_with(uri, 'file:///')
"""
_SOURCES = """
    SELECT s.uri, s.document_id, d.sha256 FROM sources s JOIN documents d USING (document_id)
    ORDER BY s.uri, s.run_id, s.modified_at
"""


@dataclass(frozen=True, slots=True)
class _BagFile:
    """A file of a bag: its path in it, digests in the order of ``ALGORITHMS``, and size."""

    path: str
    digests: tuple[str, ...]
    size_bytes: int


class _Bag:
    """A bag that is being written."""

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

    def copy(self, file: BinaryIO, path: str) -> _BagFile:
        """Copy a file into the bag, without adding it to the manifests."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as copy:
            return _digested(file, path, copy)

    def link(self, source: Path, path: str) -> None:
        """Link a file that is never changed into the bag, and add it to the manifests."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        link_file(source, target)
        self.add(path)

    def add(self, entry: _BagFile | str) -> None:
        """Add a file of the payload to the manifests."""
        if isinstance(entry, str):
            with (self.folder / entry).open("rb") as file:
                entry = _digested(file, entry)
        for manifest, digest in zip(self._manifests, entry.digests, strict=True):
            manifest.write(f"{digest}  {entry.path}\n")
        self.size_bytes += entry.size_bytes
        self.files += 1


def _digested(file: BinaryIO, path: str, copy: BinaryIO | None = None) -> _BagFile:
    """Return the digests of a file, and write its bytes to ``copy`` if there is one."""
    hashes, size = [hashlib.new(name) for name in ALGORITHMS], 0
    while chunk := file.read(_CHUNK_BYTES):
        size += len(chunk)
        for digest in hashes:
            digest.update(chunk)
        if copy:
            copy.write(chunk)
    return _BagFile(path, tuple(digest.hexdigest() for digest in hashes), size)


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
        name: of the archive.
        info: more labels and values for ``bag-info.txt``, such as ``Source-Organization``.
        with_raw: include the raw files that have not changed since.
        report: called with the progress.

    Returns:
        ``files`` and ``bytes`` of the payload; ``raw``, the number of sources by status.

    Raises:
        SettingsError: a label cannot be used, or ``path`` exists or cannot be written.
        ContractError: a file of the archive is damaged.
    """
    _expect_labels(info)
    raw: dict[str, int] = {}
    with new_folder(path) as folder:
        with _Bag(folder) as bag:
            _put_tables(bag, snapshot, report)
            if with_raw:
                raw = _put_raw(bag, snapshot, path.absolute().parent, report)
        _write_tags(bag, snapshot, name, info)
    counts = {"files": bag.files, "bytes": bag.size_bytes}
    return counts | ({"raw": raw} if with_raw else {})


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
        sizes = {file["name"]: file["bytes"] for file in snapshot.manifest.files[name]}
        for path in snapshot.files(name):
            size = path.stat().st_size
            if size != sizes[path.name]:
                expected = f"expected {sizes[path.name]}, by the manifest"
                raise ContractError(f"{path}: {size} bytes; {expected}; {VERIFY_ADVICE}")
            bag.link(path, f"{TABLES_FOLDER}/{name}/{path.name}")
        report(READING_TABLES, number, len(TABLES))


def _put_raw(bag: _Bag, snapshot: Snapshot, beside: Path, report: Report) -> dict[str, int]:
    """Copy the files of sources and list their status; return the number of sources by status."""
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
    bag.add(RAW_LIST)
    return counts


def _folder_of(first: str | None, last: str | None) -> str:
    """Return the folder that contains all files, from the first and last of their URIs."""
    if first is None or last is None:
        return ""
    paths = [file_uri_of(uri).removeprefix("file://") for uri in (first, last)]
    return "file://" + os.path.commonpath([os.path.dirname(path) for path in paths]).rstrip("/")


def _sources(
    connection: Connection,
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each URI with id and SHA-256 of a document found there, the earliest first."""
    for row in rows_of(connection, _SOURCES):
        yield row["uri"], (row["document_id"], row["sha256"])


def _put_file(
    bag: _Bag, uris: dict[str, list[tuple[str, str]]], root: str, settings: ReadSettings
) -> Iterator[tuple[str, str, str, str, str]]:
    """Copy a file if a source in it has not changed; yield a line of the list for each source."""
    uri = file_uri_of(next(iter(uris)))
    copied, found = None, {}
    if uri.startswith("file:///"):
        try:
            name = _free_name(bag.folder, _name_of(uri.removeprefix(f"{root}/")))
            try:
                with reopen(uri) as file:
                    copied = bag.copy(file, name)
            except SourceError:
                (bag.folder / name).unlink(missing_ok=True)
                raise
            found = _found_in(bag, copied, uris, settings)
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
    if copied and is_kept:
        bag.add(copied)
    elif copied:
        (bag.folder / copied.path).unlink()
    for line in lines:
        yield *line, copied.path if copied and line[3] == AS_READ else ""


def _found_in(
    bag: _Bag, copied: _BagFile, uris: dict[str, list[tuple[str, str]]], settings: ReadSettings
) -> dict[str, str]:
    """Return the SHA-256 of the document of each source in a copied file, or why there is none.

    The digest of a file that is one document is known; compressed files and containers are read.
    """
    [sha256, _] = copied.digests
    [first, *more] = uris
    if not more and first == file_uri_of(first) and sha256 in {digest for _, digest in uris[first]}:
        return {first: sha256}
    path = str((bag.folder / copied.path).absolute())
    originals = {uri_of_copy(uri, path): uri for uri in uris}
    found = {}
    for uri, raw, fault in reread_documents(list(originals), settings):
        found[originals[uri]] = fault.reason if fault else hashlib.sha256(raw).hexdigest()
    return found


def _status(found: str, sha256: str, versions: list[tuple[str, str]]) -> str:
    """Return the status of a document that was found under a URI.

    Args:
        found: the SHA-256 of what is there now, or why there is nothing.
        sha256: of the document.
        versions: all documents that were found there.
    """
    if found == sha256:
        return AS_READ
    if len(found) != len(sha256):
        return found
    return REPLACED if found in {digest for _, digest in versions} else CHANGED


def _name_of(tail: str) -> str:
    """Return the path of a raw file in the bag, from its URI below the common folder.

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
    """Write the files that describe the bag, and the manifests of their digests."""
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
    entries = []
    for tag in tags:
        with (bag.folder / tag).open("rb") as written:
            entries.append(_digested(written, tag))
    for number, algorithm in enumerate(ALGORITHMS):
        lines = "".join(f"{entry.digests[number]}  {entry.path}\n" for entry in entries)
        tagged = bag.folder / f"tagmanifest-{algorithm}.txt"
        tagged.write_text(lines, encoding="utf-8", newline="\n")
