"""A catalogue of one version of an archive: an SQLite file with indexes for what pages look up.

Parquet is read by scans, and a page must not wait for one. So once for each version, the rows that
pages need are copied to a file in the state folder, with a full-text index. The file is derived
data and is rebuilt if lost. ``build_catalogue`` writes it, ``Catalogue`` reads it.
"""

from palimpsest.inspector.catalogue.build import CatalogueError, build_catalogue
from palimpsest.inspector.catalogue.files import borrow_catalogue, catalogue_path, ensure_catalogue
from palimpsest.inspector.catalogue.read import Catalogue

__all__ = [
    "Catalogue",
    "CatalogueError",
    "borrow_catalogue",
    "build_catalogue",
    "catalogue_path",
    "ensure_catalogue",
]
