"""Errors, named for what the caller must do.

ArchiveError
├── SettingsError    stop before any work; contains all faults at once
├── SourceError      affects one source: write a reject row and continue with the next
├── ContractError    data violate a schema or an invariant: stop, write nothing
└── TransientError   may resolve itself: a flow may retry
    ├── OutrunError  another machine published first: repeat on the version that it published
    └── UnsureError  the store did not confirm a publication: check, or repeat

``args`` contains the arguments of the constructor, so that errors can be pickled between workers.
"""

from __future__ import annotations

from collections.abc import Sequence

VERIFY_ADVICE = "verify the archive for a list of all damage (palimpsest verify)"
"""What to do next about a damaged archive."""


class ArchiveError(Exception):
    """Base class of all errors that Palimpsest raises deliberately."""


class SettingsError(ArchiveError):
    """Raised for invalid settings or arguments; ``faults`` lists all that are wrong."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        return "\n".join(self.faults)


class SourceError(ArchiveError):
    """Raised when a source cannot be read as a document.

    Attributes:
        reason: a code of ``records.schemas.REJECT_REASONS``.
        detail: what was found, what was expected and what to do next.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(reason, detail)

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class ContractError(ArchiveError):
    """Raised when rows violate a schema, a reference or an invariant; nothing has been written."""


class TransientError(ArchiveError):
    """Raised for a temporary external cause, such as another run that is still working."""


class OutrunError(TransientError):
    """Raised when another machine published first; nothing of this run has been published."""


class UnsureError(TransientError):
    """Raised when the store did not confirm a version, which may or may not have been published.

    Repeating the operation is safe in both cases.
    """


for _error in (
    ArchiveError,
    SettingsError,
    SourceError,
    ContractError,
    TransientError,
    OutrunError,
    UnsureError,
):
    _error.__module__ = "palimpsest.errors"  # the public name, for tracebacks
