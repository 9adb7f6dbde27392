"""Prefect flows that maintain an archive: verify, compact, clean, report.

Each is one call without tasks: it takes the archive's lock, or only reads.
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
    """Verify an archive: its files, keys and references, and its texts against the raw files.

    Args:
        archive: the archive's path or address.
        tables_only: skip the checks that need the raw files.

    Returns:
        How often each check passed, failed and was skipped.

    Raises:
        ContractError: a check failed, and so does the run; the archive is unchanged.
    """
    opened = open_archive(archive).require()
    result = palimpsest.pipeline.verify.verify(opened, opened.snapshot(), tables_only=tables_only)
    report_result("verify", archive, result.to_dict())
    if result.failed:
        names = ", ".join(f"{one.name} {one.failed}" for one in result.checks if one.failed)
        raise ContractError(
            f"archive {opened.name}, version {result.version}: {result.failed} failed ({names}); "
            f"palimpsest verify {opened.name} lists them"
        )
    return result.to_dict()


@flow(name="compact", persist_result=False, validate_parameters=True, timeout_seconds=time_limit())
def compact(archive: str) -> dict[str, Any]:
    """Rewrite an archive's rows into few files, unless they are few already.

    Args:
        archive: the archive's path or address.

    Returns:
        The version that readers see now, and the numbers of files before and after.
    """
    result = palimpsest.pipeline.compact.compact(archive, _WAIT_SECONDS)
    report_result("compact", archive, result)
    return result


@flow(name="clean", persist_result=False, validate_parameters=True, timeout_seconds=time_limit())
def clean(archive: str, keep: Annotated[int, Field(ge=1)] = 7) -> dict[str, Any]:
    """Delete old versions, and files that interrupted runs have left.

    Args:
        archive: the archive's path or address.
        keep: how many versions to keep, including the current one.

    Returns:
        The versions dropped and those still in use, and the bytes freed.
    """
    result = palimpsest.store.versions.clean(open_archive(archive), keep, _WAIT_SECONDS)
    report_result("clean", archive, result)
    return result


@flow(name="report", persist_result=False, validate_parameters=True, timeout_seconds=time_limit())
def report(archive: str, output: str | None = None) -> dict[str, Any]:
    """Report the contents of an archive and its last runs, as a page of Markdown.

    Args:
        archive: the archive's path or address.
        output: also write the report to this file; an existing one is replaced. Its ending chooses
            the format: .html is a page of its own with plots and passages, .md is the Markdown.

    Returns:
        The version reported, the page, and the file's path or null.

    Raises:
        SettingsError: the archive does not exist, or the file has another ending.
    """
    file_format = "markdown" if output is None else format_of(output, "output")
    opened = open_archive(archive).require()
    snapshot = opened.snapshot()
    with borrow_catalogue(opened, snapshot) as catalogue:
        content = build_report(opened.name.rpartition("/")[2], catalogue)
    page = render_report(content, "markdown")
    if output is not None:
        in_format = page if file_format == "markdown" else render_report(content, file_format)
        _replace(Path(output), in_format)
    description = None if output is None else f"Also written to {output}"
    create_markdown_artifact(page, ArchiveLabel.of(archive).key("report"), description)
    return {"version": snapshot.manifest.version, "page": page, "output": output}


def _replace(path: Path, text: str) -> None:
    """Write a file atomically: readers see all of the old one or all of the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)  # noqa: PTH105 - replaces an existing file
    finally:
        temporary.unlink(missing_ok=True)
