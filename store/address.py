"""Open an archive by its path on this machine or its address on an object store."""

from __future__ import annotations

from pathlib import Path

from palimpsest.records.errors import SettingsError
from palimpsest.store.archive import StoredArchive
from palimpsest.store.objects import SCHEME
from palimpsest.store.remote import RemoteArchive


def open_archive(address: str | Path) -> StoredArchive:
    """Return the archive at a path or an address ``s3://BUCKET/NAME``; it need not exist yet.

    Raises:
        SettingsError: the address is of another kind, or the store cannot be reached as configured.
    """
    if isinstance(address, Path) or not _is_address(address):
        return StoredArchive(address)
    return RemoteArchive(address)


def absolute(address: str) -> str:
    """Return an archive's path or address independent of the current folder.

    Example:
        >>> absolute("s3://news/press")
        's3://news/press'
    """
    return address if _is_address(address) else str(Path(address).absolute())


def _is_address(address: str) -> bool:
    if "://" in address and not address.startswith(SCHEME):
        fault = f"archive {address}: unsupported address; expected a folder or s3://BUCKET/NAME"
        raise SettingsError([fault])
    return address.startswith(SCHEME)
