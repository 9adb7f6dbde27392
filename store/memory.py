"""Reduce the memory of a process: return freed memory to the system at once."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

import pyarrow as pa

_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of ``mallopt`` (3): the size from which allocations get their own mapping."""
_MAPPED_BYTES = 2**20
_ARENA_MAX = -8
"""M_ARENA_MAX of ``mallopt`` (3): the maximum number of arenas; by default one for each thread."""
_ARENAS = 2
_FLUSHED = ("allocator_flush_threshold", "allocator_bulk_deallocation_flush_threshold")
"""Settings of DuckDB: sizes above which it returns freed memory."""
_FOR_DUCKDB: dict[str, str] = {}


def reduce_memory_use() -> None:
    """Give large arrays a memory mapping of their own, for the rest of this process.

    Arrow's own pool keeps most of the memory that it has freed, and is chosen when Arrow is
    imported: commands with ``--memory`` set ``ARROW_DEFAULT_MEMORY_POOL=system`` before that, and
    workers for runs with a memory limit should be started with it, too.

    glibc raises the size from which arrays get a mapping with each array that is freed, up to
    32 MiB; smaller arrays then leave holes that cannot be reused, in each of many arenas.
    """
    _FOR_DUCKDB.update(dict.fromkeys(_FLUSHED, "1MB"))
    pa.set_memory_pool(pa.system_memory_pool())
    library = _glibc()
    if library is not None:
        library.mallopt(_MMAP_THRESHOLD, _MAPPED_BYTES)
        library.mallopt(_ARENA_MAX, _ARENAS)


def duckdb_memory_options() -> dict[str, str]:
    """Return settings for DuckDB to keep little memory, if ``reduce_memory_use`` was called."""
    return dict(_FOR_DUCKDB)


def release_freed_memory() -> None:
    """Return freed memory to the system that Arrow and glibc keep for later."""
    pa.default_memory_pool().release_unused()
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> Any:
    """Return the C library if it is glibc, the only one with these functions, else None."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None
