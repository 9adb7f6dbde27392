"""Freed memory is returned to the system, and a run with a memory limit has the same result."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from palimpsest.store.memory import reduce_memory_use, release_freed_memory
from tests.pipeline.processes import SPAWN


def _anonymous_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [line] = [one for one in status.splitlines() if one.startswith("RssAnon")]
    return int(line.split()[1]) * 1024


def _memory_after(holds_little: bool) -> int:
    """Return the growth of a process after it has freed every second of many arrays."""
    if holds_little:
        reduce_memory_use()
    np.ones(2**22)  # raises glibc's threshold, unless that is fixed
    before = _anonymous_bytes()
    arrays = [np.ones(2**18 if number % 2 else 2**5) for number in range(200)]  # 2 MiB each
    del arrays[1::2]
    if holds_little:
        release_freed_memory()
    growth = _anonymous_bytes() - before
    assert len(arrays) == 100
    return growth


def test_freed_arrays_are_returned_to_the_system() -> None:
    with SPAWN.Pool(1) as pool:
        assert pool.apply(_memory_after, (True,)) < 20 * 2**20


def test_arrow_uses_the_system_pool_after_memory_use_is_reduced() -> None:
    with SPAWN.Pool(1) as pool:
        assert pool.apply(_arrow_before_and_after)


def _arrow_before_and_after() -> bool:
    before = pa.array(range(10**5))
    reduce_memory_use()
    after = pa.array(range(10**5))
    equal = before.equals(after)
    del before
    release_freed_memory()
    return bool(equal and after.sum().as_py() == sum(range(10**5)))
