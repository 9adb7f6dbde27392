"""The command that exports an archive in standard formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from palimpsest.cli.help import Command
from palimpsest.cli.options import (
    DONE,
    PASSAGE_FILTERS,
    SOME_FAILED,
    archive_argument,
    force_option,
    json_option,
    make_ready,
    output_option,
    passage_filters,
    print_json,
    progress,
    set_option,
    settings_of,
    uri_or_id,
    version_option,
)
from palimpsest.records.errors import SettingsError
from palimpsest.store.files import expect_ending

if TYPE_CHECKING:
    from palimpsest.evidence.passages import PassageFilter
    from palimpsest.records.progress import Report
    from palimpsest.records.settings import PassageSettings
    from palimpsest.store.archive import Snapshot

JSONL, CSV, ANNOTATIONS, PROV, BAGIT = FORMATS = ("jsonl", "csv", "annotations", "prov", "bagit")
_PASSAGE_OPTIONS = (*PASSAGE_FILTERS, "assignments")
_FORMATS_OF_OPTIONS = {
    "document": (JSONL, ANNOTATIONS, PROV),
    **dict.fromkeys(_PASSAGE_OPTIONS, (CSV, ANNOTATIONS)),
    "without_passages": (CSV,),
    "deduplicated": (JSONL,),
    "with_raw": (BAGIT,),
    "bag_info": (BAGIT,),
    "force": (JSONL, ANNOTATIONS, PROV),
}
"""The formats that an option applies to."""
_ENDINGS = {
    form: tuple(bare + packed for packed in ("", ".gz", ".zst"))
    for form, bare in ((JSONL, ".jsonl"), (PROV, ".json"))
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Export:
    """An export to be written; see the options of the command."""

    snapshot: Snapshot
    output: Path
    name: str
    selection: PassageFilter
    settings: PassageSettings
    options: dict[str, Any]
    report: Report


@click.command(cls=Command)
@archive_argument
@click.option(
    "--as",
    "form",
    required=True,
    type=click.Choice(FORMATS),
    help="JSON Lines, CSV on the Web, Web Annotations, PROV-JSON, or a bag.",
)
@output_option(
    "The file, compressed if it ends in .gz or .zst; for csv and bagit a new folder.",
    required=True,
    metavar="PATH",
)
@force_option
@click.option(
    "--document",
    metavar="ID",
    help="jsonl, annotations, prov: only this document, by its id, URI or path.",
)
@click.option("--deduplicated", is_flag=True, help="jsonl: each paragraph of the archive once.")
@passage_filters("csv, annotations")
@click.option("--without-passages", is_flag=True, help="csv: only the tables, which is fast.")
@click.option(
    "--with-raw", is_flag=True, help="bagit: include the raw files that have not changed."
)
@click.option(
    "--bag-info",
    multiple=True,
    metavar="LABEL=VALUE",
    help="bagit: metadata of the bag, such as Source-Organization; may be repeated.",
)
@version_option
@set_option
@json_option
def export(
    archive: str, form: str, output: Path, version: int | None, as_json: bool, **options: Any
) -> None:
    """Export an archive as JSON Lines, CSV, annotations, PROV or a bag.

    jsonl has one document per line; csv has all tables and the passages; annotations has the
    passages as W3C Web Annotations; prov has the provenance of all rows; bagit has the archive
    itself with digests. A file is replaced only with --force, a folder never; the output appears
    once it is complete.

    \b
    Example:
      palimpsest export press --as jsonl --deduplicated --output press.jsonl.gz
      palimpsest export press --as csv --output press-tables
      palimpsest export press --as annotations --clear --without-recurring --output shared.jsonld
      palimpsest export press --as prov --document articles/monday.txt --output monday.json
      palimpsest export press --as bagit --with-raw --output press-bag
    """
    _expect_options_of_format(form, options)
    if form in _ENDINGS:
        expect_ending(output, _ENDINGS[form])
    settings_of(options["assignments"])  # refuses wrong ones before anything is read
    from palimpsest.evidence.passages import PassageFilter
    from palimpsest.store.address import absolute, open_archive
    from palimpsest.store.rebuild import find_document

    place = open_archive(archive)
    snapshot = place.snapshot(version)
    if place.home.resolve() in output.absolute().parent.resolve().parents:
        fault = "is inside the archive, where only Palimpsest writes; choose another folder"
        raise SettingsError([f"--output {output}: {fault}"])
    level = snapshot.settings().sensitivity
    settings = settings_of(options["assignments"], sensitivity=level).passages
    document = options["document"]
    document_id = find_document(snapshot, uri_or_id(document)) if document else None
    filters = {name: options[name] for name in PASSAGE_FILTERS}
    if form == ANNOTATIONS or (form == CSV and not options["without_passages"]):
        make_ready()
    name = absolute(archive).rstrip("/").rpartition("/")[2]
    with progress(as_json) as report:
        counts = _WRITERS[form](
            _Export(
                snapshot=snapshot,
                output=output,
                name=name,
                selection=PassageFilter(document_id=document_id, **filters),
                settings=settings,
                options=options,
                report=report,
            )
        )
    if as_json:
        version = snapshot.manifest.version
        print_json({"output": str(output.absolute()), "format": form, "version": version, **counts})
    else:
        click.echo(_summary(form, counts, output))
    lacks_raw_files = any(status != "as-read" for status in counts.get("raw", ()))
    raise click.exceptions.Exit(SOME_FAILED if lacks_raw_files else DONE)


def _expect_options_of_format(form: str, options: dict[str, Any]) -> None:
    """Refuse options that do not apply to the format, all at once."""
    faults = [
        f"{_option(name)}: is for {', '.join(forms)}, not for {form}; leave it out"
        for name, forms in _FORMATS_OF_OPTIONS.items()
        if options[name] and form not in forms
    ]
    if options["without_passages"]:
        faults += [
            f"{_option(name)}: has no effect with --without-passages; leave one of them out"
            for name in _PASSAGE_OPTIONS
            if options[name] and form == CSV
        ]
    if faults:
        raise SettingsError(faults)


def _option(name: str) -> str:
    return "--set" if name == "assignments" else f"--{name.replace('_', '-')}"


def _as_jsonl(job: _Export) -> dict[str, Any]:
    from palimpsest.exports.jsonl import write_jsonl

    return write_jsonl(
        job.snapshot,
        job.output,
        job.name,
        job.selection.document_id,
        deduplicated=job.options["deduplicated"],
        replace=job.options["force"],
        report=job.report,
    )


def _as_csv(job: _Export) -> dict[str, Any]:
    from palimpsest.exports.csvw import write_csv

    selection = None if job.options["without_passages"] else job.selection
    return write_csv(job.snapshot, job.output, selection, job.settings, report=job.report)


def _as_annotations(job: _Export) -> dict[str, Any]:
    from palimpsest.exports.annotations import write_annotations

    return write_annotations(
        job.snapshot,
        job.output,
        job.selection,
        job.settings,
        replace=job.options["force"],
        report=job.report,
    )


def _as_prov(job: _Export) -> dict[str, Any]:
    from palimpsest.exports.prov import write_prov

    return write_prov(
        job.snapshot,
        job.output,
        job.selection.document_id,
        replace=job.options["force"],
        report=job.report,
    )


def _as_bag(job: _Export) -> dict[str, Any]:
    from palimpsest.exports.bagit import write_bag

    return write_bag(
        job.snapshot,
        job.output,
        job.name,
        [assignment.partition("=")[::2] for assignment in job.options["bag_info"]],
        with_raw=job.options["with_raw"],
        report=job.report,
    )


_WRITERS: dict[str, Callable[[_Export], dict[str, Any]]] = {
    JSONL: _as_jsonl,
    CSV: _as_csv,
    ANNOTATIONS: _as_annotations,
    PROV: _as_prov,
    BAGIT: _as_bag,
}


def _summary(form: str, counts: dict[str, Any], output: Path) -> str:
    """Return a line that says what was written, and a second one on raw files in a bag."""
    counts = dict(counts)
    raw = counts.pop("raw", None)
    if form == CSV:
        counts = {"tables": len(counts["rows"]), "rows": sum(counts["rows"].values())}
    if form == PROV:
        counts = {"records": sum(counts["records"].values())}
    contents = ", ".join(f"{count:,} {what}" for what, count in counts.items())
    lines = [f"{contents} written to {output}"]
    if raw is not None:
        statuses = ", ".join(f"{count:,} {status}" for status, count in sorted(raw.items()))
        lines.append(f"raw files of sources: {statuses or 'none'}; data/raw.csv lists them")
    return "\n".join(lines)
