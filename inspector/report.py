"""What a report tells of an archive: the overview, with passages and places in it.

Whoever gets a report has no server to look further, so some of what pages lead to is in it. The
values are told once; a file for a browser and Markdown for Prefect's page show the same ones.
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
"""So many passages of each pair of documents are shown, the longest."""
PLACES = 5
"""So many places of each reused paragraph are told, the earliest."""

Format = Literal["html", "markdown"]
_ENDINGS: dict[str, Format] = {".html": "html", ".htm": "html", ".md": "markdown"}


def format_of(path: str, option: str) -> Format:
    """Return as what a file is written, by the ending of its name.

    Args:
        path: of the file.
        option: how the path was given, for the message.

    Raises:
        SettingsError: the ending tells nothing.
    """
    for ending, known in _ENDINGS.items():
        if path.lower().endswith(ending):
            return known
    told = f"{option} {path}: ends in none of {', '.join(_ENDINGS)}"
    raise SettingsError([f"{told}; its ending tells whether HTML or Markdown is written"])


def build_report(archive: str, catalogue: Catalogue) -> dict[str, Any]:
    """Return what a report tells.

    Args:
        archive: what the archive is called.
        catalogue: of the version.

    Returns:
        As ``views.overview`` does, with ``archive``; each of ``pairs`` has ``passages`` as
        ``views.passages_beside`` gives them, and ``passages_found``; each of ``reused`` has
        ``places``, how many, and ``witnesses``, some of them.
    """
    told = views.overview(catalogue)
    for pair in told["pairs"]:
        left, right = (pair[side]["document_id"] for side in views.SIDES)
        found, longest = views.passages_beside(catalogue, left, right, PASSAGES)
        pair |= {"passages_found": found, "passages": longest}
    for row in told["reused"]:
        row["places"], row["witnesses"] = views.places_of(catalogue, row["text_id"], PLACES)
    return {"archive": archive, **told}


def build_document_report(archive: str, catalogue: Catalogue, document_id: str) -> dict[str, Any]:
    """Return what a document shares with others.

    Args:
        archive: what the archive is called.
        catalogue: of the version.
        document_id: which must be there.

    Returns:
        As ``views.document`` does, with ``archive`` and ``version``; each of ``partners`` has
        ``beside``, passages as ``views.passages_beside`` gives them, and ``passages_found``;
        ``partner_numbers`` says which one a document is.
    """
    told = views.document(catalogue, document_id)
    ids = [one["document_id"] for one in told["partners"]]
    for other, partner in zip(ids, told["partners"], strict=True):
        found, longest = views.passages_beside(catalogue, document_id, other, PASSAGES)
        partner |= {"passages_found": found, "beside": longest}
    numbers = {one: number for number, one in enumerate(ids, start=1)}
    version = catalogue.snapshot.manifest.version
    return {"archive": archive, "version": version, "partner_numbers": numbers, **told}


def render_document_report(told: Mapping[str, Any]) -> str:
    """Return what a document shares as one HTML file."""
    return render_file("document_file.html", told, with_script=False)


def render_report(told: Mapping[str, Any], shown_as: Format) -> str:
    """Return a report as one file, HTML or Markdown."""
    if shown_as == "markdown":
        return render_markdown(told)
    return render_file("report.html", told, with_script=False)
