"""Every error that Palimpsest raises on purpose; each is an ``ArchiveError``.

``SettingsError`` carries all faults of a call in ``faults``; ``SourceError`` a ``reason`` and a
``detail``. ``TransientError`` may pass by itself: try again later.
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
