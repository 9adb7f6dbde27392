"""Where an archive is: in a folder of this machine, or on an object store."""

from __future__ import annotations

from pathlib import Path

from palimpsest.records.errors import SettingsError
from palimpsest.store.archive import StoredArchive
from palimpsest.store.objects import SCHEME
from palimpsest.store.remote import RemoteArchive


def open_archive(address: str | Path) -> StoredArchive:
    """Return the archive at a path, or at an address ``s3://BUCKET/NAME``; it need not exist.

    Raises:
        SettingsError: it is an address of another kind, or cannot be reached with what is set.
    """
    if isinstance(address, Path) or not _is_address(address):
        return StoredArchive(address)
    return RemoteArchive(address)


def absolute(address: str) -> str:
    """Return an archive's path or address so that it is the same from every folder.

    Example:
        >>> absolute("s3://news/press")
        's3://news/press'
    """
    return address if _is_address(address) else str(Path(address).absolute())


def _is_address(address: str) -> bool:
    if "://" in address and not address.startswith(SCHEME):
        told = f"archive {address}: found an address of another kind"
        raise SettingsError([f"{told}; expected a folder, or s3://BUCKET/NAME"])
    return address.startswith(SCHEME)
