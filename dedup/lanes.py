"""The search for the best predecessor of a match, over vectors of values: an LLVM intrinsic.

It is written in LLVM's own instructions because its compiler turns a loop into vector code only if
the loop runs much longer than most columns of matches are.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

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
