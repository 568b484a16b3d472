"""Elementary functions that LLVM turns into vector code: no branches, no calls, no tables.

Their twin is ``src_kernels/elementary.h``, which says how they work. A call of the C library keeps
a loop from being vectorised: tanh took 17 ns an element and takes 0.6. In float64 it is called.
"""

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastscratch.kernels.numba_jit.compile import JIT, intrinsic

_WORD, _FLOAT = ir.IntType(32), ir.FloatType()


class _Formulas:
    """Emits float32 formulas, in the order in which they are written.

    An instruction with flags of its own is not given those of `FASTMATH`, under which a rounding by
    adding and subtracting a large number would be no rounding.
    """

    _FLAGS = ("contract",)

    def __init__(self, builder: Any):
        self.builder = builder

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b, flags=self._FLAGS)

    def multiply(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b, flags=self._FLAGS)

    def polynomial(self, x: Any, *coefficients: float) -> Any:
        """The highest power's first."""
        total = _FLOAT(coefficients[0])
        for coefficient in coefficients[1:]:
            total = self.add(self.multiply(total, x), _FLOAT(coefficient))
        return total

    def falling_exp(self, x: Any) -> Any:
        builder = self.builder
        shift = 12582912.0  # 1.5 * 2**23: adding it rounds, and leaves k in the low bits
        shifted = self.add(self.multiply(x, _FLOAT(1.44269504)), _FLOAT(shift))
        k = self.add(shifted, _FLOAT(-shift))
        r = self.add(x, self.multiply(k, _FLOAT(-0.693359375)))
        r = self.add(r, self.multiply(k, _FLOAT(2.12194440e-4)))
        p = self.polynomial(
            r, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2,
            1.6666665459e-1, 5.0000001201e-1,
        )  # fmt: skip
        p = self.multiply(self.multiply(p, r), r)
        p = self.add(self.add(p, r), _FLOAT(1.0))
        is_tiny = builder.fcmp_ordered("<", x, _FLOAT(-87.0), flags=self._FLAGS)
        exponent = builder.add(
            builder.bitcast(shifted, _WORD), builder.select(is_tiny, _WORD(64), _WORD(0))
        )
        exponent = builder.shl(exponent, _WORD(23))
        y = builder.bitcast(builder.add(builder.bitcast(p, _WORD), exponent), _FLOAT)
        y = self.multiply(y, builder.select(is_tiny, _FLOAT(2.0**-64), _FLOAT(1.0)))
        is_zero = builder.fcmp_ordered("<", x, _FLOAT(-104.0), flags=self._FLAGS)
        y = builder.select(is_zero, _FLOAT(0.0), y)
        return builder.select(builder.fcmp_unordered("uno", x, x, flags=self._FLAGS), x, y)

    def tanh(self, x: Any) -> Any:
        builder = self.builder
        sign = builder.and_(builder.bitcast(x, _WORD), _WORD(-(2**31)))
        size = builder.bitcast(builder.xor(builder.bitcast(x, _WORD), sign), _FLOAT)
        z = self.multiply(x, x)
        p = self.polynomial(
            z, -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1,
            -3.33332819422e-1,
        )  # fmt: skip
        near = self.add(self.multiply(self.multiply(p, z), x), x)
        e = self.falling_exp(self.multiply(size, _FLOAT(-2.0)))
        e = builder.fneg(e, flags=self._FLAGS)
        one = _FLOAT(1.0)
        below = builder.fsub(one, e, flags=self._FLAGS)
        far = builder.fdiv(self.add(one, e), below, flags=self._FLAGS)
        far = builder.bitcast(builder.or_(builder.bitcast(far, _WORD), sign), _FLOAT)
        is_near = builder.fcmp_ordered("<", size, _FLOAT(0.625), flags=self._FLAGS)
        return builder.select(is_near, near, far)


def _function(single: Callable[[_Formulas, Any], Any], double: Callable[[float], float]) -> Any:
    """A function for compiled code: a formula in float32, the C library's in float64."""

    def define(typing_context: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            if x == types.float32:
                return single(_Formulas(builder), values[0])
            return context.get_function(double, types.float64(x))(builder, values)

        return x(x), generate

    return intrinsic(define)


@intrinsic
def _add_up(typing_context, total, value):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        wide = context.cast(builder, values[1], value, types.float64)
        return builder.fadd(values[0], wide, flags=("reassoc", "contract"))

    return types.float64(types.float64, value), generate


@intrinsic
def _larger(typing_context, a, b):  # type: ignore[no-untyped-def]
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        scalar = values[0].type
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(scalar, [scalar] * 2), f"llvm.maxnum.f{a.bitwidth}"
        )
        return builder.call(function, values)

    return a(a, a), generate


def plain_add_up(total: float, value: float) -> float:
    """total + value, where the value was chosen from 0 and another.

    LLVM makes a choice between two totals of it, and no vectors, unless a zero's sign counts: a
    sum along planes took 2.6 times as long.
    """
    return total + value


def plain_larger(a: float, b: float) -> float:
    """The larger of two numbers; a NaN loses, which lets LLVM find the largest of many by vectors.

    A softmax of 1000 classes took 2.4 times as long.
    """
    return max(a, b)


if JIT:
    add_up, larger = _add_up, _larger
    falling_exp = _function(_Formulas.falling_exp, math.exp)
    hyperbolic_tangent = _function(_Formulas.tanh, math.tanh)
else:
    add_up, larger = plain_add_up, plain_larger
    falling_exp, hyperbolic_tangent = math.exp, math.tanh
