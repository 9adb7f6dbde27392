"""Prefect flows that look after an archive: verify, compact, clean, report.

Each is one call without tasks: it holds the archive's lock, or only reads.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

import palimpsest.pipeline.compact
import palimpsest.pipeline.verify
import palimpsest.store.versions
from palimpsest.flows.prefect_environment import time_limit
from palimpsest.flows.telemetry.messages import ArchiveLabel
from palimpsest.flows.telemetry.run_reporter import report_result
from palimpsest.inspector.catalogue import borrow_catalogue
from palimpsest.inspector.report import build_report, format_of, render_report
from palimpsest.records.errors import ContractError
from palimpsest.store.address import open_archive

_WAIT_SECONDS = 3600.0


@flow(name="verify", persist_result=False, validate_parameters=True, timeout_seconds=time_limit())
def verify(archive: str, tables_only: bool = False) -> dict[str, Any]:
    """Prove an archive: its files, keys and references, and its texts against the raw files.

    Args:
        archive: the archive's path or address.
        tables_only: leave out what needs the raw files.

    Returns:
        What each check passed, failed and left out.

    Raises:
        ContractError: something failed; the run is told as failed, and the archive is as it was.
    """
    place = open_archive(archive).require()
    found = palimpsest.pipeline.verify.verify(place, place.snapshot(), tables_only=tables_only)
    report_result("verify", archive, found.to_dict())
    if found.failed:
        names = ", ".join(f"{one.name} {one.failed}" for one in found.checks if one.failed)
        raise ContractError(
            f"archive {place.name}, version {found.version}: {found.failed} failed ({names}); "
            f"palimpsest verify {place.name} tells each"
        )
    return found.to_dict()


@flow(name="compact", persist_result=False, validate_parameters=True, timeout_seconds=time_limit())
def compact(archive: str) -> dict[str, Any]:
    """Write an archive's rows into few files, unless there are few already.

    Args:
        archive: the archive's path or address.

    Returns:
        The version that readers see now, and files before and after.
    """
    done = palimpsest.pipeline.compact.compact(archive, _WAIT_SECONDS)
    report_result("compact", archive, done)
    return done


@flow(name="clean", persist_result=False, validate_parameters=True, timeout_seconds=time_limit())
def clean(archive: str, keep: Annotated[int, Field(ge=1)] = 7) -> dict[str, Any]:
    """Drop old versions, and what runs that ended too early have left.

    Args:
        archive: the archive's path or address.
        keep: how many of the last versions stay, with the current one.

    Returns:
        Versions dropped and those still in use, and the bytes that were freed.
    """
    done = palimpsest.store.versions.clean(open_archive(archive), keep, _WAIT_SECONDS)
    report_result("clean", archive, done)
    return done


@flow(name="report", persist_result=False, validate_parameters=True, timeout_seconds=time_limit())
def report(archive: str, output: str | None = None) -> dict[str, Any]:
    """Tell what an archive holds and what its last runs did, as a page of Markdown.

    Args:
        archive: the archive's path or address.
        output: a file to write the report to as well; one that is there is replaced. Its ending
            tells as what: .html is a page of its own with plots and passages, .md the Markdown.

    Returns:
        The version told of, the page, and the file's path or null.

    Raises:
        SettingsError: there is no archive, or the file's ending is another.
    """
    shown_as = "markdown" if output is None else format_of(output, "output")
    place = open_archive(archive).require()
    snapshot = place.snapshot()
    with borrow_catalogue(place, snapshot) as catalogue:
        told = build_report(place.name.rpartition("/")[2], catalogue)
    page = render_report(told, "markdown")
    if output is not None:
        _replace(Path(output), page if shown_as == "markdown" else render_report(told, shown_as))
    written = None if output is None else f"Also written to {output}"
    create_markdown_artifact(page, ArchiveLabel.of(archive).key("report"), written)
    return {"version": snapshot.manifest.version, "page": page, "output": output}


def _replace(path: Path, text: str) -> None:
    """Write a file; who reads it meanwhile sees the old one whole, or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)  # noqa: PTH105 - over what is there
    finally:
        beside.unlink(missing_ok=True)
