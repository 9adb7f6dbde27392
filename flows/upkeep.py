"""The Prefect flows that look after an archive."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows import compact as compacting
from flows import verify as verifying
from records.schemas import TABLES
from store import versions
from store.archive import Archive


@flow(name="verify", persist_result=False)
def verify(archive: str, sample: int | None = None) -> dict[str, Any]:
    """Prove an archive, from its files to the raw bytes.

    Args:
        archive: the archive's path.
        sample: how many raw files to read; all if left out.
    """
    del sample
    place = Archive(archive).require()
    return verifying.verify(place, place.snapshot()).to_dict()


@flow(name="compact", persist_result=False)
def compact(archive: str) -> dict[str, Any]:
    """Write an archive's rows into few files.

    Args:
        archive: the archive's path.
    """
    return compacting.compact(archive)


@flow(name="clean", persist_result=False)
def clean(archive: str, keep: int = 7) -> dict[str, Any]:
    """Drop old versions, and what runs that ended too early have left.

    Args:
        archive: the archive's path.
        keep: how many of the last versions stay.
    """
    return versions.clean(Archive(archive), keep)


@flow(name="report", persist_result=False)
def report(archive: str, output: str | None = None) -> dict[str, Any]:
    """Tell how many rows an archive has.

    Args:
        archive: the archive's path.
        output: the file to write.
    """
    del output
    snapshot = Archive(archive).require().snapshot()
    return {name: snapshot.rows(name) for name in TABLES}
