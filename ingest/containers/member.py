"""Members of containers, and the limits for reading them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes


class Member(NamedTuple):
    """A document in a file.

    Attributes:
        inside: its place in the file, as a URI fragment without ``#``; empty for the file itself.
        raw: its bytes, decompressed.
        media_type, charset: as declared by the container, without parameters.
        modified_ns: modification time in nanoseconds since 1970, if the container has it.
        captured_at: when it was captured from the web, in UTC.
        target_uri: the address that it was captured from.
    """

    inside: str
    raw: bytes
    media_type: str | None = None
    charset: str | None = None
    modified_ns: int | None = None
    captured_at: datetime | None = None
    target_uri: str | None = None


class RefusedMember(NamedTuple):
    """A member that is rejected, with the reason (``REJECT_REASONS``)."""

    inside: str
    size_bytes: int | None
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for reading a container.

    Attributes:
        max_document_bytes: of a member.
        max_members: of a file.
        max_ratio: of decompressed to compressed bytes; applies above ``bomb_bytes``.
        max_nesting: depth of containers within containers.
    """

    max_document_bytes: int
    max_members: int = 10_000_000
    max_ratio: int = 250
    bomb_bytes: int = 64 * 2**20
    max_nesting: int = 4

    @property
    def size_detail(self) -> str:
        """The limit that a document exceeds that is too large, as a detail of its reject."""
        return f"expected at most max_document_bytes = {self.max_document_bytes}"

    def is_bomb(self, compressed: int, decompressed: int) -> bool:
        """Return whether the expansion ratio is implausible for text."""
        return decompressed > max(self.bomb_bytes, self.max_ratio * max(compressed, 1))


def quoted(name: bytes) -> str:
    """Return a name, quoted for a URI fragment."""
    return quote_from_bytes(name, safe="/:@!$'()*+,;~-._")


def unquoted(name: str) -> bytes:
    """Return the name of a quoted one."""
    return unquote_to_bytes(name)
