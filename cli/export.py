"""The command that writes what an archive holds in the standards of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from palimpsest.cli.help import Command
from palimpsest.cli.options import (
    DONE,
    SOME_FAILED,
    archive_argument,
    force_option,
    json_option,
    make_ready,
    output_option,
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
_ABOUT_PASSAGES = ("clear", "without_recurring", "across_series", "min_words", "assignments")
_MEANT_FOR = {
    "document": (JSONL, ANNOTATIONS, PROV),
    **dict.fromkeys(_ABOUT_PASSAGES, (CSV, ANNOTATIONS)),
    "without_passages": (CSV,),
    "deduplicated": (JSONL,),
    "with_raw": (BAGIT,),
    "bag_info": (BAGIT,),
    "force": (JSONL, ANNOTATIONS, PROV),
}
"""Which formats an option is for."""
_ENDINGS = {
    form: tuple(bare + packed for packed in ("", ".gz", ".zst"))
    for form, bare in ((JSONL, ".jsonl"), (PROV, ".json"))
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What somebody wants to have exported; see the options of the command."""

    snapshot: Snapshot
    output: Path
    name: str
    wanted: PassageFilter
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
@click.option(
    "--clear",
    is_flag=True,
    help="csv, annotations: only passages too long or too alike to be chance.",
)
@click.option(
    "--without-recurring",
    is_flag=True,
    help="csv, annotations: leave out text that is in many documents.",
)
@click.option(
    "--across-series",
    is_flag=True,
    help="csv, annotations: leave out passages within one series.",
)
@click.option(
    "--min-words",
    default=0,
    type=click.IntRange(min=0),
    metavar="N",
    help="csv, annotations: passages of at least N matched words.",
)
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

    jsonl has a document a line, csv all tables and the passages, annotations the passages as W3C
    Web Annotations, prov the provenance of all rows, bagit the archive itself with digests. A file
    is replaced only with --force, a folder never; the output appears once it is complete.

    \b
    Example:
      palimpsest export press --as jsonl --deduplicated --output press.jsonl.gz
      palimpsest export press --as csv --output press-tables
      palimpsest export press --as annotations --clear --without-recurring --output shared.jsonld
      palimpsest export press --as prov --document articles/monday.txt --output monday.json
      palimpsest export press --as bagit --with-raw --output press-bag
    """
    _expect_meant(form, options)
    if form in _ENDINGS:
        expect_ending(output, _ENDINGS[form])
    settings_of(options["assignments"])  # what is wrong with them, before anything is read
    from palimpsest.evidence.passages import PassageFilter
    from palimpsest.store.address import absolute, open_archive
    from palimpsest.store.rebuild import find_document

    place = open_archive(archive)
    snapshot = place.snapshot(version)
    if place.home.resolve() in output.absolute().parent.resolve().parents:
        fault = "is inside the archive, which nothing else writes to; name another place"
        raise SettingsError([f"--output {output}: {fault}"])
    level = snapshot.settings().sensitivity
    settings = settings_of(options["assignments"], sensitivity=level).passages
    named = options["document"]
    document_id = find_document(snapshot, uri_or_id(named)) if named else None
    filters = {name: options[name] for name in _ABOUT_PASSAGES[:-1]}
    if form == ANNOTATIONS or (form == CSV and not options["without_passages"]):
        make_ready()
    name = absolute(archive).rstrip("/").rpartition("/")[2]
    with progress(as_json) as report:
        wanted = PassageFilter(document_id, **filters)
        asked = _Asked(snapshot, output, name, wanted, settings, options, report)
        counts = _WRITERS[form](asked)
    told = {"output": str(output.absolute()), "format": form, "version": snapshot.manifest.version}
    if as_json:
        print_json({**told, **counts})
    else:
        click.echo(_summary(form, counts, output))
    is_short = any(status != "as-read" for status in counts.get("raw", ()))
    raise click.exceptions.Exit(SOME_FAILED if is_short else DONE)


def _expect_meant(form: str, options: dict[str, Any]) -> None:
    """Refuse options that the format has no use for, all at once."""
    faults = [
        f"{_option(name)}: is for {', '.join(forms)}, not for {form}; leave it out"
        for name, forms in _MEANT_FOR.items()
        if options[name] and form not in forms
    ]
    if options["without_passages"]:
        faults += [
            f"{_option(name)}: --without-passages leaves nothing for it; leave one of them out"
            for name in _ABOUT_PASSAGES
            if options[name] and form == CSV
        ]
    if faults:
        raise SettingsError(faults)


def _option(name: str) -> str:
    return "--set" if name == "assignments" else f"--{name.replace('_', '-')}"


def _as_jsonl(asked: _Asked) -> dict[str, Any]:
    from palimpsest.exports.jsonl import write_jsonl

    return write_jsonl(
        asked.snapshot,
        asked.output,
        asked.name,
        asked.wanted.document_id,
        deduplicated=asked.options["deduplicated"],
        replace=asked.options["force"],
        report=asked.report,
    )


def _as_csv(asked: _Asked) -> dict[str, Any]:
    from palimpsest.exports.csvw import write_csv

    wanted = None if asked.options["without_passages"] else asked.wanted
    return write_csv(asked.snapshot, asked.output, wanted, asked.settings, report=asked.report)


def _as_annotations(asked: _Asked) -> dict[str, Any]:
    from palimpsest.exports.annotations import write_annotations

    return write_annotations(
        asked.snapshot,
        asked.output,
        asked.wanted,
        asked.settings,
        replace=asked.options["force"],
        report=asked.report,
    )


def _as_prov(asked: _Asked) -> dict[str, Any]:
    from palimpsest.exports.prov import write_prov

    return write_prov(
        asked.snapshot,
        asked.output,
        asked.wanted.document_id,
        replace=asked.options["force"],
        report=asked.report,
    )


def _as_bag(asked: _Asked) -> dict[str, Any]:
    from palimpsest.exports.bagit import write_bag

    parted = [one.partition("=")[::2] for one in asked.options["bag_info"]]
    with_raw = asked.options["with_raw"]
    return write_bag(
        asked.snapshot, asked.output, asked.name, parted, with_raw=with_raw, report=asked.report
    )


_WRITERS: dict[str, Callable[[_Asked], dict[str, Any]]] = {
    JSONL: _as_jsonl,
    CSV: _as_csv,
    ANNOTATIONS: _as_annotations,
    PROV: _as_prov,
    BAGIT: _as_bag,
}


def _summary(form: str, counts: dict[str, Any], output: Path) -> str:
    """Return what was written, as a line for people; of a bag with raw files two."""
    counts = dict(counts)
    raw = counts.pop("raw", None)
    if form == CSV:
        counts = {"tables": len(counts["rows"]), "rows": sum(counts["rows"].values())}
    if form == PROV:
        counts = {"records": sum(counts["records"].values())}
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items())
    lines = [f"{told} written to {output}"]
    if raw is not None:
        each = ", ".join(f"{count:,} {status}" for status, count in sorted(raw.items()))
        lines.append(f"raw files of sources: {each or 'none'}; data/raw.csv tells of each")
    return "\n".join(lines)
