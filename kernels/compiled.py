"""How kernels are compiled: the one place that sets numba's options.

Kernels are compiled at their first call and cached on disk beside the source (or in
``NUMBA_CACHE_DIR``), so that each machine compiles them once. They release the GIL.
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
    """Compile a function that Python calls; for type checkers it stays the Python function."""
    compiled = numba.njit(cache=True, nogil=True)(function)
    _kernels.append(compiled)
    return cast(Kernel, compiled)


def inlined(function: Kernel) -> Kernel:
    """Compile a function into each call of it in a kernel.

    An ordinary call would count references to every array argument, which often takes longer than
    what the function does.

    It has no cache file of its own but is part of the kernel's, and numba checks only the module
    of the kernel for changes. So run ``make clean`` after changing such a function if kernels of
    another module call it.
    """
    return cast(Kernel, numba.njit(nogil=True, forceinline=True)(function))


def are_kernels_cached() -> bool:
    """Return whether every kernel imported so far has compiled code on disk."""
    return all(_is_cached(compiled) for compiled in _kernels)


def skip_scipy_linalg() -> None:
    """Keep numba from importing scipy's linear algebra, which no kernel uses.

    numba imports it before it loads the first kernel, to support ``numpy.cov`` and ``corrcoef``.
    They cannot be compiled in this process afterwards.
    """
    with hide_module("scipy.linalg"):
        importlib.import_module("numba.np.arraymath")


def cache_folder(compiled: Any) -> Path:
    """Return the folder of a kernel's compiled code, which is created if it does not exist."""
    folder = Path(compiled.stats.cache_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_cached(compiled: Any) -> bool:
    folder = Path(compiled.stats.cache_path)
    return any(folder.glob(f"*.{compiled.py_func.__name__}-*.nbi"))
