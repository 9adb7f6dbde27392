"""Nested mappings as one list of names and values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each plain value with its name; names in nested mappings are joined with a dot.

    Example:
        >>> dict(flatten({"sign": {"bands": 16}, "level": "edited"}))
        {'sign.bands': 16, 'level': 'edited'}
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
