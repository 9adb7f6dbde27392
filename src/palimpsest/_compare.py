"""Compare two files, without an archive."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from palimpsest import _repr
from palimpsest._types import Name
from palimpsest.records.settings import parse_settings


def compare(
    left: Name,
    right: Name,
    *,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the passages that two files share, in the order of the left one.

    Args:
        left, right: paths of files that contain one document each.
        settings: those of ``palimpsest compare``, by stage, as in ``{"sensitivity": "reworded"}``
            or ``{"read": {"encoding": "cp1251"}, "align": {"min_score": 6}}``.

    Returns:
        ``left`` and ``right``: ``path``, ``uri``, ``document_id``, ``sha256``, ``encoding``,
        ``encoding_from``, ``title``, ``characters``, ``bytes`` and ``paragraphs`` of each file.
        ``passages``: for each its ``left`` and ``right`` span (``start_char``, ``end_char``,
        ``start_byte``, ``end_byte``, ``text``), ``matched_words``, ``resemblance`` and
        ``relation``.

    Raises:
        SettingsError: a file cannot be read or contains several documents; a setting cannot be
            used.
    """
    from palimpsest.evidence.compare import compare_files

    chosen = parse_settings(settings or {})
    _repr.warn_if_compiling()
    return compare_files(os.fspath(left), os.fspath(right), chosen)
