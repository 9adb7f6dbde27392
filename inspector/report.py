"""Reports of an archive: the overview with passages and places included.

A reader of a report has no server to browse, so it includes some of what pages link to. The HTML
file and the Markdown for Prefect's page are rendered from the same values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from palimpsest.inspector.catalogue.read import Catalogue
from palimpsest.inspector.markdown import render_markdown
from palimpsest.inspector.pages import views
from palimpsest.inspector.pages.rendering import render_file
from palimpsest.records.errors import SettingsError

PASSAGES = 3
"""Number of passages shown for each pair of documents: the longest."""
PLACES = 5
"""Number of places shown for each reused paragraph: the earliest."""

Format = Literal["html", "markdown"]
_ENDINGS: dict[str, Format] = {".html": "html", ".htm": "html", ".md": "markdown"}


def format_of(path: str, option: str) -> Format:
    """Return the format of a file by its extension.

    Args:
        path: path of the file.
        option: the option that gave the path, for the message.

    Raises:
        SettingsError: the extension is unknown.
    """
    for ending, known in _ENDINGS.items():
        if path.lower().endswith(ending):
            return known
    fault = f"{option} {path}: ends in none of {', '.join(_ENDINGS)}"
    raise SettingsError([f"{fault}; the extension chooses between HTML and Markdown"])


def build_report(archive: str, catalogue: Catalogue) -> dict[str, Any]:
    """Return the values of a report.

    Args:
        archive: name of the archive.
        catalogue: catalogue of the version.

    Returns:
        The values of ``views.overview`` with ``archive``. Each of ``pairs`` also has ``passages``,
        as in ``views.longest_passages``, and ``passages_found``; each of ``reused`` also has
        ``places``, their number, and ``witnesses``, the earliest of them.
    """
    report = views.overview(catalogue)
    for pair in report["pairs"]:
        left, right = (pair[side]["document_id"] for side in views.SIDES)
        count, longest = views.longest_passages(catalogue, left, right, PASSAGES)
        pair |= {"passages_found": count, "passages": longest}
    for row in report["reused"]:
        row["places"], row["witnesses"] = views.places_of(catalogue, row["text_id"], PLACES)
    return {"archive": archive, **report}


def build_document_report(archive: str, catalogue: Catalogue, document_id: str) -> dict[str, Any]:
    """Return the values of a report on one document and what it shares with others.

    Args:
        archive: name of the archive.
        catalogue: catalogue of the version.
        document_id: an existing document.

    Returns:
        The values of ``views.document`` with ``archive`` and ``version``. Each of ``partners`` also
        has ``beside``, passages as in ``views.longest_passages``, and ``passages_found``;
        ``partner_numbers`` maps ids of partners to their numbers from 1.
    """
    report = views.document(catalogue, document_id)
    for partner in report["partners"]:
        other_id = partner["document_id"]
        count, longest = views.longest_passages(catalogue, document_id, other_id, PASSAGES)
        partner |= {"passages_found": count, "beside": longest}
    ids = (partner["document_id"] for partner in report["partners"])
    numbers = {partner_id: number for number, partner_id in enumerate(ids, start=1)}
    version = catalogue.snapshot.manifest.version
    return {"archive": archive, "version": version, "partner_numbers": numbers, **report}


def render_document_report(report: Mapping[str, Any]) -> str:
    """Return a report on one document as an HTML file."""
    return render_file("document_file.html", report, with_script=False)


def render_report(report: Mapping[str, Any], output_format: Format) -> str:
    """Return a report as a file, HTML or Markdown."""
    if output_format == "markdown":
        return render_markdown(report)
    return render_file("report.html", report, with_script=False)
