"""Errors, named by what the caller must do.

ArchiveError
├── SettingsError    stop before any work; carries every fault at once
├── SourceError      this source only: write a reject row, go on with the next
├── ContractError    data break a schema or an invariant: stop, write nothing
└── TransientError   may pass by itself: a flow may try again
    ├── OutrunError  another machine has published meanwhile: do it again on what there is now
    └── UnsureError  no answer came to what was published: look, or do it again

What an error is made of is what ``args`` holds, so that it can be pickled from worker to worker.
"""

from __future__ import annotations

from collections.abc import Sequence


class ArchiveError(Exception):
    """Anything that Palimpsest raises on purpose."""


class SettingsError(ArchiveError):
    """Raised when settings or arguments cannot be used; holds all faults, not the first only."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        return "\n".join(self.faults)


class SourceError(ArchiveError):
    """Raised when one source cannot become a document.

    Attributes:
        reason: a code of ``records.schemas.REJECT_REASONS``.
        detail: what was found, what was expected, what to do next.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(reason, detail)

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class ContractError(ArchiveError):
    """Raised when rows break a schema, a reference or an invariant; nothing has been written."""


class TransientError(ArchiveError):
    """Raised when something outside stands in the way for now, such as another run at work."""


class OutrunError(TransientError):
    """Raised when another machine has published before; nothing of this has been published."""


class UnsureError(TransientError):
    """Raised when a version was sent to be published and no answer came: it may be there or not.

    Doing the same again is right in both cases.
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
    _error.__module__ = "palimpsest.errors"  # the public name, which tracebacks show
