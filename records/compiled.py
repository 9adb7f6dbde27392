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
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from records.imports import hidden

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


def leave_out_algebra() -> None:
    """Have numba look for scipy's algebra now and not find it, for a process that does none.

    It looks before the first kernel, for ``numpy.cov`` and ``corrcoef``, which it cannot compile
    from then on.
    """
    with hidden("scipy.linalg"):
        importlib.import_module("numba.np.arraymath")


def cache_folder(compiled: Any) -> Path:
    """Return the folder that the compiled code of a kernel is kept in; it is there."""
    folder = Path(compiled.stats.cache_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_cached(compiled: Any) -> bool:
    folder = Path(compiled.stats.cache_path)
    return any(folder.glob(f"*.{compiled.py_func.__name__}-*.nbi"))


LANES = 16
"""How many values ``highest_of_lanes`` looks at."""


@intrinsic
def _highest_of_lanes(  # type: ignore[no-untyped-def]  # noqa: ANN202
    _, down, across, reached, first, here, there, gap, farthest  # noqa: ANN001, ARG001
):  # fmt: skip
    """Return the best of ``reached - max(here - down, there - across) + gap``, at least 0.

    Among ``LANES`` values from ``first`` on, those alone for which both differences are above 0
    and at most ``farthest``. Written in LLVM's own words, since its compiler makes vectors of a
    loop only where it goes round much more often.

    Args:
        down, across, reached: signed integers of one kind, one behind the other.
        first: a place in these.
        here, there: of that kind.
        gap, farthest: integers.
    """
    kind, integer = down.dtype, numba.int64
    takes = (down, across, reached, integer, kind, kind, integer, integer)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = context.get_value_type(kind)
        lanes = ir.VectorType(number, LANES)

        def load(position: int) -> Any:
            array = context.make_array(signature.args[position])(
                context, builder, arguments[position]
            )
            start = builder.gep(array.data, [arguments[3]])
            loaded = builder.load(builder.bitcast(start, lanes.as_pointer()))
            loaded.align = kind.bitwidth // 8
            return loaded

        def spread(position: int) -> Any:
            value = context.cast(builder, arguments[position], signature.args[position], kind)
            one = builder.insert_element(
                ir.Constant(lanes, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
            )
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
            return builder.shuffle_vector(one, ir.Constant(lanes, ir.Undefined), zeros)

        above = builder.sub(spread(4), load(0))
        passed = builder.sub(spread(5), load(1))
        longer = builder.select(builder.icmp_signed(">", above, passed), above, passed)
        value = builder.add(builder.sub(load(2), longer), spread(6))
        limit = spread(7)
        ones = ir.Constant(lanes, [1] * LANES)
        is_near = builder.and_(
            builder.icmp_unsigned("<", builder.sub(above, ones), limit),
            builder.icmp_unsigned("<", builder.sub(passed, ones), limit),
        )
        zeros = ir.Constant(lanes, [0] * LANES)
        value = builder.select(is_near, value, zeros)
        name = f"llvm.vector.reduce.smax.v{LANES}i{kind.bitwidth}"
        reduce = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, ir.FunctionType(number, [lanes]), name
        )
        return builder.call(reduce, [value])

    return kind(*takes), generate


highest_of_lanes: Any = _highest_of_lanes
