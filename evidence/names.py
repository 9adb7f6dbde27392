"""Translate document names given by users to names that the store knows."""

from __future__ import annotations

import os
from pathlib import Path

from palimpsest.ingest.finding.discover import uri_of


def uri_or_id(name: str | os.PathLike[str]) -> str:
    """Return a document's name for the store: the path of a file becomes its URI.

    The part after ``#`` is a place within the file, unless it belongs to the file's name. A
    ``Path`` is always a path; a string is one if it contains a separator or names a file.
    """
    if not isinstance(name, str):
        name = str(Path(name).absolute())
    path, _, fragment = name.partition("#")
    if fragment and Path(path).is_file() and not Path(name).exists():
        return f"{uri_or_id(path)}#{fragment}"
    is_path = "://" not in name and (os.sep in name or Path(name).is_file())
    return uri_of(os.path.normpath(Path(name).absolute())) if is_path else name
