"""What containers are made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes


class Member(NamedTuple):
    """A document in a file.

    Attributes:
        inside: where in the file it is: a fragment without ``#``; empty if it is the file.
        raw: its bytes, decompressed.
        media_type: what its carrier says it is, without parameters.
        charset: what its carrier says it is encoded in.
        modified_ns: when it was modified, in nanoseconds since 1970, if its carrier says.
        captured_at: when it was taken from the web, in UTC.
        target_uri: from where.
    """

    inside: str
    raw: bytes
    media_type: str | None = None
    charset: str | None = None
    modified_ns: int | None = None
    captured_at: datetime | None = None
    target_uri: str | None = None


class RefusedMember(NamedTuple):
    """What is in a file and cannot be read, with the reason (``REJECT_REASONS``)."""

    inside: str
    size_bytes: int | None
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the reading of a container.

    Attributes:
        max_document_bytes: of a member.
        max_members: of a file.
        max_ratio: of decompressed bytes to compressed ones, once there are ``bomb_bytes`` of them.
        max_nesting: how many containers may stand in each other.
    """

    max_document_bytes: int
    max_members: int = 10_000_000
    max_ratio: int = 250
    bomb_bytes: int = 64 * 2**20
    max_nesting: int = 4

    @property
    def told(self) -> str:
        """What to say of a document that is too large."""
        return f"expected at most max_document_bytes = {self.max_document_bytes}"

    def is_bomb(self, compressed: int, decompressed: int) -> bool:
        """Tell whether so many bytes out of so few are no compressed text."""
        return decompressed > max(self.bomb_bytes, self.max_ratio * max(compressed, 1))


def quoted(name: bytes) -> str:
    """Return a name as it may stand in a fragment."""
    return quote_from_bytes(name, safe="/:@!$'()*+,;~-._")


def unquoted(name: str) -> bytes:
    """Return the name that was quoted."""
    return unquote_to_bytes(name)
