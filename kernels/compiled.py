"""How kernels are compiled: the one place where numba and its options stand.

Kernels are compiled at their first call and kept on disk beside the source (or in
``NUMBA_CACHE_DIR``), so that the cost is paid once a machine. They release the GIL.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

from palimpsest.kernels.imports import hide_module

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_kernels: list[Any] = []


def kernel(function: Kernel) -> Kernel:
    """Compile a function over arrays; typed as the Python function that it was."""
    compiled = numba.njit(cache=True, nogil=True)(function)
    _kernels.append(compiled)
    return cast(Kernel, compiled)


def inlined(function: Kernel) -> Kernel:
    """Compile a small function into the kernels that call it.

    It stands there once for every call. Else all arrays that are handed over are counted each time,
    which takes longer than much that is done with them.

    It has no file of its own in the cache: a kernel's file holds it. That file goes stale with the
    kernel's module only, so after a change of such a function in another module: ``make clean``.
    """
    return cast(Kernel, numba.njit(nogil=True, forceinline=True)(function))


def are_kernels_cached() -> bool:
    """Tell whether each kernel imported so far has compiled code on disk already."""
    return all(_is_cached(compiled) for compiled in _kernels)


def skip_scipy_linalg() -> None:
    """Have numba look for scipy's algebra now and not find it, for a process that does none.

    It looks before the first kernel, for ``numpy.cov`` and ``corrcoef``, which it cannot compile
    from then on.
    """
    with hide_module("scipy.linalg"):
        importlib.import_module("numba.np.arraymath")


def cache_folder(compiled: Any) -> Path:
    """Return the folder that the compiled code of a kernel is kept in; it is there."""
    folder = Path(compiled.stats.cache_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_cached(compiled: Any) -> bool:
    folder = Path(compiled.stats.cache_path)
    return any(folder.glob(f"*.{compiled.py_func.__name__}-*.nbi"))
