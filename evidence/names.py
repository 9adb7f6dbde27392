"""What people call a document, as the store knows it."""

from __future__ import annotations

import os
from pathlib import Path

from palimpsest.ingest.finding.discover import uri_of


def uri_or_id(name: str | os.PathLike[str]) -> str:
    """Return a document's name as the store knows it: the path of a file becomes its URI.

    What stands behind ``#`` tells where in the file, unless the file's name has it. A ``Path`` is a
    path even if there is no such file; a string is one if it has a separator or names a file.
    """
    if not isinstance(name, str):
        name = str(Path(name).absolute())
    path, _, inside = name.partition("#")
    if inside and Path(path).is_file() and not Path(name).exists():
        return f"{uri_or_id(path)}#{inside}"
    is_path = "://" not in name and (os.sep in name or Path(name).is_file())
    return uri_of(os.path.normpath(Path(name).absolute())) if is_path else name
