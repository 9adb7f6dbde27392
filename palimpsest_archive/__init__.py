"""Read an archive from Python: a line from its path to a data frame.

``Archive`` shows one version of an archive; ``compare`` two files without an archive. Errors are
those that all of Palimpsest raises, and ``ArchiveError`` is each of them.

This room is for notebooks and scripts of others. It reads and never writes; what it offers is what
``__all__`` names, and modules that begin with ``_`` may change at any time.
"""

from palimpsest_archive._archive import Archive
from palimpsest_archive._compare import compare
from records.errors import (
    ArchiveError,
    ContractError,
    OutrunError,
    SettingsError,
    SourceError,
    TransientError,
)

__all__ = [
    "Archive",
    "ArchiveError",
    "ContractError",
    "OutrunError",
    "SettingsError",
    "SourceError",
    "TransientError",
    "compare",
]
