"""Facts of documents are listed once, and every place that shows them knows all of them."""

import re
from pathlib import Path

import pytest

from palimpsest import Archive
from palimpsest.inspector.catalogue import read
from palimpsest.inspector.catalogue.build import _schema
from palimpsest.records.document_facts import FACT_NAMES, NO_FACTS, DocumentFacts
from palimpsest.records.schemas import TABLES

SHOWN_ON_NO_PAGE = {"language"}


@pytest.mark.parametrize("name", FACT_NAMES)
def test_every_table_docstring_and_query_has_each_fact(name):
    places = {
        "TABLES['documents']": TABLES["documents"].names,
        "TABLES['sources']": TABLES["sources"].names,
        "docstring of Archive.documents": Archive.documents.__doc__,
        "docstring of Archive.sources": Archive.sources.__doc__,
        "table documents of the catalogue": _schema(),
        "queries of the catalogue": read._DOCUMENT_COLUMNS,
    }
    missing = [place for place, text in places.items() if name not in text]
    assert not missing, f"{name} is missing in: {missing}"


@pytest.mark.parametrize("name", FACT_NAMES)
def test_each_fact_is_on_a_page_or_known_to_be_on_none(name, root: Path):
    folder = root / "inspector/pages"
    files = [*folder.glob("templates/*.html"), folder / "views.py"]
    pages = "".join(path.read_text(encoding="utf-8") for path in files)
    is_shown = re.search(rf'(\.|"){name}\b', pages) is not None
    assert is_shown != (name in SHOWN_ON_NO_PAGE), f"show {name} in a template, or list it above"


def test_no_fact_is_known_unless_it_is_given():
    assert [value for value in NO_FACTS if value is not None] == ["none"]


def test_facts_are_completed_by_those_of_another_but_a_date_keeps_its_origin():
    own = DocumentFacts(title="Late", published_from="none")
    other = DocumentFacts(title="Later", author="Ines Varga", language="en")
    assert own.or_else(other) == DocumentFacts(title="Late", author="Ines Varga", language="en")
    assert NO_FACTS.or_else(own) is own
