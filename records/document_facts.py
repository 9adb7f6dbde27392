"""The facts of a document besides its text, as one list that all rooms use.

A field of ``DocumentFacts`` is one fact: its type, its description and the metadata fields that it
is read from. The tables ``documents`` and ``sources``, staging, new rows, the exports and the
catalogue take their columns from here. A new fact is a new field here, listed in the docstrings of
``Archive.documents`` and ``Archive.sources``; it changes tables, so ``SCHEMA_VERSION`` is raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, NamedTuple, get_args, get_type_hints


@dataclass(frozen=True, slots=True)
class _FactField:
    """What the type of a field does not say.

    Attributes:
        description: of the column.
        field_names: names of fields in JSON lines, sidecars and headers that give the fact, the
            first one that exists counts. Empty for facts that no field gives.
    """

    description: str
    field_names: tuple[str, ...] = ()


_TITLES = ("title", "headline")
_AUTHORS = ("author", "authors", "byline", "creator")
_SITES = ("site", "sitename", "site_name", "publisher", "publication", "source", "newspaper")
_DATES = (
    "published_at", "published", "date_published", "datepublished", "publication_date",
    "publish_date", "pubdate", "pub_date", "date", "datetime", "issued", "timestamp",
    "created_at", "created",
)  # fmt: skip

_Text = str | None
_Time = datetime | None


class DocumentFacts(NamedTuple):
    """The facts of a source or document; None where unknown. Times are in UTC."""

    title: Annotated[_Text, _FactField("title of the document, if any", _TITLES)] = None
    author: Annotated[_Text, _FactField("author, if known", _AUTHORS)] = None
    site: Annotated[_Text, _FactField("site or masthead, if known", _SITES)] = None
    published_at: Annotated[
        _Time, _FactField("publication date of the document, if known", _DATES)
    ] = None
    published_from: Annotated[
        str, _FactField("origin of the date: metadata, header, sidecar, path or none")
    ] = "none"
    series: Annotated[
        _Text,
        _FactField("documents among which reuse is ignored, such as one masthead", ("series",)),
    ] = None
    language: Annotated[_Text, _FactField("ISO 639-1 code, if known", ("language", "lang"))] = None

    def or_else(self, other: DocumentFacts) -> DocumentFacts:
        """Return these facts, with those of ``other`` where they are unknown."""
        if self == NO_FACTS:
            return other
        dated = self if self.published_at is not None else other
        both = zip(self, other, strict=True)
        known = DocumentFacts._make(right if left is None else left for left, right in both)
        return known._replace(published_at=dated.published_at, published_from=dated.published_from)


NO_FACTS = DocumentFacts()


class DocumentFact(NamedTuple):
    """One fact, as the columns of tables need it.

    Attributes:
        is_time: whether its values are times, not text.
        field_names: as in ``_FactField``.
    """

    name: str
    description: str
    is_time: bool
    is_nullable: bool
    field_names: tuple[str, ...]


def _facts() -> tuple[DocumentFact, ...]:
    facts = []
    for name, hint in get_type_hints(DocumentFacts, include_extras=True).items():
        kind, field = get_args(hint)
        facts.append(
            DocumentFact(
                name=name,
                description=field.description,
                is_time=datetime in get_args(kind),
                is_nullable=type(None) in get_args(kind),
                field_names=field.field_names,
            )
        )
    return tuple(facts)


DOCUMENT_FACTS = _facts()
"""All facts, in the order of the tables' columns."""
FACT_NAMES = tuple(fact.name for fact in DOCUMENT_FACTS)
READABLE_FACTS = tuple(fact.name for fact in DOCUMENT_FACTS if fact.field_names)
"""Facts that metadata fields can give, and that ``metadata_fields`` can name."""
