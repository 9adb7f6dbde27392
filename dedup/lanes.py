"""The search for the best predecessor of a match: 16 matches at once, or in a plain loop.

``highest_of_lanes`` does what ``highest_in_loop`` does, written as LLVM vector instructions. LLVM
vectorises the loop only if it runs much longer than most columns of matches are. To align 5,600
pairs of newswire articles takes 42 ms with the instructions and 180 ms with the loop.
If the instructions cannot be generated, as with a version of llvmlite that builds them otherwise,
the loop is compiled in their place. ``tests/dedup/test_lanes.py`` compares the two.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from palimpsest.kernels.arrays import Integers

LANES = 16
"""Number of values that ``highest_of_lanes`` looks at."""


def highest_in_loop(
    down: Integers,
    across: Integers,
    reached: Integers,
    first: int,
    here: int,
    there: int,
    gap: int,
    farthest: int,
) -> int:
    """Return the highest ``reached - max(here - down, there - across) + gap``, at least 0.

    Considers the ``LANES`` values from ``first`` on for which both differences are above 0 and at
    most ``farthest``.

    Args:
        down, across, reached: signed integers of one dtype, contiguous, of the same length.
        first: position in these.
        here, there: position of the match, in the units of ``down`` and ``across``.
        gap, farthest: in the same units.
    """
    best = 0
    for k in range(first, first + LANES):
        above, passed = here - down[k], there - across[k]
        if 0 < above <= farthest and 0 < passed <= farthest:
            best = max(best, reached[k] - max(above, passed) + gap)
    return best


@intrinsic
def _highest_of_lanes(  # type: ignore[no-untyped-def]  # noqa: ANN202
    _, down, across, reached, first, here, there, gap, farthest  # noqa: ANN001, ARG001
):  # fmt: skip
    """Return what ``highest_in_loop`` returns, in the dtype of the arrays."""
    number, integer = down.dtype, numba.int64
    takes = (down, across, reached, integer, number, number, integer, integer)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        try:
            return _emit_vector_code(context, builder, signature, arguments)
        except (AttributeError, NotImplementedError, TypeError, ValueError):  # another llvmlite
            return context.compile_internal(builder, highest_in_loop, signature, arguments)

    return number(*takes), generate


def _emit_vector_code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit the vector instructions; return the LLVM value of the result.

    Both bounds of a difference d are one unsigned comparison, d - 1 < farthest.
    """
    number = signature.return_type
    scalar = context.get_value_type(number)
    lanes = ir.VectorType(scalar, LANES)
    ones, zeros = (ir.Constant(lanes, [value] * LANES) for value in (1, 0))

    def load(position: int) -> Any:
        array = context.make_array(signature.args[position])(context, builder, arguments[position])
        start = builder.gep(array.data, [arguments[3]])
        loaded = builder.load(builder.bitcast(start, lanes.as_pointer()))
        loaded.align = number.bitwidth // 8
        return loaded

    def spread(position: int) -> Any:
        value = context.cast(builder, arguments[position], signature.args[position], number)
        undefined = ir.Constant(lanes, ir.Undefined)
        lane = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(lane, undefined, mask)

    above, passed = builder.sub(spread(4), load(0)), builder.sub(spread(5), load(1))
    longer = builder.select(builder.icmp_signed(">", above, passed), above, passed)
    value = builder.add(builder.sub(load(2), longer), spread(6))
    limit = spread(7)
    is_near = builder.and_(
        builder.icmp_unsigned("<", builder.sub(above, ones), limit),
        builder.icmp_unsigned("<", builder.sub(passed, ones), limit),
    )
    name = f"llvm.vector.reduce.smax.v{LANES}i{number.bitwidth}"
    reduce = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, ir.FunctionType(scalar, [lanes]), name
    )
    return builder.call(reduce, [builder.select(is_near, value, zeros)])


highest_of_lanes: Any = _highest_of_lanes
