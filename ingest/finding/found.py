"""Files and rejects as they are found, before anything is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class FoundFile(NamedTuple):
    """A file as it was found, by its path or its URL."""

    path: str
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class FoundReject:
    """A name that was found, but leads to no file that can be read."""

    path: str
    reason: str
    detail: str
