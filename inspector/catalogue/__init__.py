"""A catalogue of one version of an archive: what pages look up, with indexes, in one SQLite file.

Parquet is read by scans, and a page must not wait for one. So the rows that pages ask for are
copied once a version into a file of the state folder, with an index of words. It is derived: what
is lost is made again. ``build`` makes it, ``Catalogue`` reads it.
"""

from inspector.catalogue.build import CatalogueError, build_catalogue
from inspector.catalogue.files import borrow_catalogue, catalogue_path, ensure_catalogue
from inspector.catalogue.read import Catalogue

__all__ = [
    "Catalogue",
    "CatalogueError",
    "borrow_catalogue",
    "build_catalogue",
    "catalogue_path",
    "ensure_catalogue",
]
