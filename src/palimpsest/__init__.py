"""Palimpsest from Python: what the ``palimpsest`` command does, as functions.

>>> import palimpsest  # doctest: +SKIP
>>> palimpsest.ingest("articles/", "press")  # doctest: +SKIP
>>> archive = palimpsest.Archive("press")  # doctest: +SKIP
>>> archive.passages(clear=True, min_words=100).to_pandas()  # doctest: +SKIP

``ingest`` adds articles to an archive; an ``Archive`` reads one version of an archive, and verifies
and maintains it; ``compare`` compares two files without an archive. All errors are in
``palimpsest.errors``, and each is an ``ArchiveError``. The public API is what ``__all__`` lists;
everything else may change at any time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import palimpsest.ingest as _room
from palimpsest._ingest import CallablePackage

if TYPE_CHECKING:
    from palimpsest import errors
    from palimpsest._archive import Archive
    from palimpsest._compare import compare
    from palimpsest._ingest import ingest
    from palimpsest.errors import (
        ArchiveError,
        ContractError,
        OutrunError,
        SettingsError,
        SourceError,
        TransientError,
        UnsureError,
    )

__all__ = [
    "Archive",
    "ArchiveError",
    "ContractError",
    "OutrunError",
    "SettingsError",
    "SourceError",
    "TransientError",
    "UnsureError",
    "compare",
    "errors",
    "ingest",
]

CallablePackage.convert(_room)

_MODULES = {"Archive": "palimpsest._archive", "compare": "palimpsest._compare"}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that commands start quickly."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "errors":
        return import_module("palimpsest.errors")
    return getattr(import_module(_MODULES.get(name, "palimpsest.errors")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
