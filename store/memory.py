"""How a process keeps to little memory: what is freed goes back to the system at once."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

import pyarrow as pa

_MMAP_THRESHOLD = -3
"""The parameter of ``mallopt`` (3) for sizes that are mapped by themselves, M_MMAP_THRESHOLD."""
_MAPPED_BYTES = 2**20
_ARENA_MAX = -8
"""Its parameter for how many places are allocated from, M_ARENA_MAX; else one for each thread."""
_ARENAS = 2
_FLUSHED = ("allocator_flush_threshold", "allocator_bulk_deallocation_flush_threshold")
"""Settings of DuckDB: above which sizes it gives back what it has freed."""
_FOR_DUCKDB: dict[str, str] = {}


def reduce_memory_use() -> None:
    """Have large arrays mapped by themselves, for the rest of this process.

    Arrow's own pool keeps most of what it has freed, and is chosen as Arrow is imported: commands
    that are told ``--memory`` set ``ARROW_DEFAULT_MEMORY_POOL=system`` before, and whoever starts a
    worker for runs that hold little should, too.

    glibc raises the size above which it does so with each array that is freed, up to 32 MiB; arrays
    of that size then leave holes which nobody else can use, in each of many arenas.
    """
    _FOR_DUCKDB.update(dict.fromkeys(_FLUSHED, "1MB"))
    pa.set_memory_pool(pa.system_memory_pool())
    library = _glibc()
    if library is not None:
        library.mallopt(_MMAP_THRESHOLD, _MAPPED_BYTES)
        library.mallopt(_ARENA_MAX, _ARENAS)


def duckdb_memory_options() -> dict[str, str]:
    """Return how DuckDB is to be opened so that it holds as little."""
    return dict(_FOR_DUCKDB)


def release_freed_memory() -> None:
    """Give back what has been freed and is held for later."""
    pa.default_memory_pool().release_unused()
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> Any:
    """Return the C library if it is glibc, which alone has these functions, else None."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None
