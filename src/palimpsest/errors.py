"""The errors that Palimpsest raises on purpose; each is an ``ArchiveError``.

``SettingsError`` has all faults of a call in ``faults``; ``SourceError`` has a ``reason`` and a
``detail``. After a ``TransientError`` the call may succeed later: try again.
"""

from palimpsest.records.errors import (
    ArchiveError,
    ContractError,
    OutrunError,
    SettingsError,
    SourceError,
    TransientError,
    UnsureError,
)

__all__ = [
    "ArchiveError",
    "ContractError",
    "OutrunError",
    "SettingsError",
    "SourceError",
    "TransientError",
    "UnsureError",
]
