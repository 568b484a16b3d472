"""Convolution by minimal filtering: square windows, or a single row or column, and one stride."""

from functools import lru_cache

import numpy as np

from fastscratch.kernels.numba_jit import correlate_weight, winograd, winograd_weight
from fastscratch.kernels.numba_jit.compile import movers, usable_workers
from fastscratch.kernels.numba_jit.dense import no_bias
from fastscratch.kernels.numba_jit.scratch import Scratch
from fastscratch.types import Array, Padding, Pair


def winograd2_forward(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    """y[n, oc, oh, ow] = bias[oc] + sum over c, kh, kw of x[n, c, ih, iw]*weight[oc, c, kh, kw]."""
    _forward("winograd2", x, weight, bias, y, stride, padding, dilation, groups, num_threads)


def winograd2_backward_input(
    dout: Array, weight: Array, dx: Array, stride: Pair, padding: Padding, dilation: Pair,
    groups: int, num_threads: int,
) -> None:  # fmt: skip
    """dx[n, c, ih, iw] = sum of dout[n, oc, oh, ow]*weight[oc, c, kh, kw] over its windows."""
    _backward_input("winograd2", dout, weight, dx, stride, padding, dilation, groups, num_threads)


def winograd2_backward_weight(
    dout: Array, x: Array, dw: Array, db: Array, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    """dw[oc, c, kh, kw] = sum over n, oh, ow of dout[n, oc, oh, ow]*x[n, c, ih, iw]; db."""
    _backward_weight("winograd2", dout, x, dw, db, stride, padding, dilation, groups, num_threads)


def winograd4_forward(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    """The same from tiles of 4x4 outputs: fewer products still, of which more digits are lost."""
    _forward("winograd4", x, weight, bias, y, stride, padding, dilation, groups, num_threads)


def winograd4_backward_input(
    dout: Array, weight: Array, dx: Array, stride: Pair, padding: Padding, dilation: Pair,
    groups: int, num_threads: int,
) -> None:  # fmt: skip
    """The same, to tiles of 4x4 of dx."""
    _backward_input("winograd4", dout, weight, dx, stride, padding, dilation, groups, num_threads)


def winograd4_backward_weight(
    dout: Array, x: Array, dw: Array, db: Array, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    """The same, from tiles of 4x4 of dout."""
    _backward_weight("winograd4", dout, x, dw, db, stride, padding, dilation, groups, num_threads)


def gauss_forward(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    """The same from larger tiles: as exact as the first."""
    _forward("gauss", x, weight, bias, y, stride, padding, dilation, groups, num_threads)


def gauss_backward_input(
    dout: Array, weight: Array, dx: Array, stride: Pair, padding: Padding, dilation: Pair,
    groups: int, num_threads: int,
) -> None:  # fmt: skip
    """The same, to larger tiles of dx."""
    _backward_input("gauss", dout, weight, dx, stride, padding, dilation, groups, num_threads)


def gauss_backward_weight(
    dout: Array, x: Array, dw: Array, db: Array, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    """The same, from larger tiles of dout."""
    _backward_weight("gauss", dout, x, dw, db, stride, padding, dilation, groups, num_threads)


def _forward(
    algorithm: str, x: Array, weight: Array, bias: Array, y: Array, stride: Pair,
    padding: Padding, dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    plan = _plan_correlation(
        algorithm, weight.shape[2:], stride[0], x.shape, y.shape, (padding[0], padding[2]),
        dilation, groups, False, x.dtype,
    )  # fmt: skip
    _run(plan, x, weight, bias, y, num_threads)


def _backward_input(
    algorithm: str, dout: Array, weight: Array, dx: Array, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    plan = _plan_correlation(
        algorithm, weight.shape[2:], stride[0], dout.shape, dx.shape, (padding[0], padding[2]),
        dilation, groups, True, dout.dtype,
    )  # fmt: skip
    _run(plan, dout, weight, no_bias(dx.shape[1], dx.dtype), dx, num_threads)


def _run(
    plan: winograd.Plan, source: Array, weight: Array, bias: Array, out: Array, num_threads: int
) -> None:  # fmt: skip
    workers = usable_workers(num_threads, plan.work)
    each = (
        plan.turned_size, plan.local_size, plan.sources_size, plan.products_size, plan.sums_size
    )  # fmt: skip
    sizes = [workers * size for size in (plan.taps_size, *each)]
    packers = movers(workers, plan.packed_size)
    pack, convolve_tiles = winograd.drivers(*plan.filtering, plan.vectors)
    with Scratch(source.dtype, plan.packed_size, *sizes) as (packed, taps, *pieces, _):
        for extents in plan.rounds:
            pack(packers, weight, packed, taps, extents)
            convolve_tiles(workers, source, packed, bias, out, *pieces, extents)


def _backward_weight(
    algorithm: str, dout: Array, x: Array, dw: Array, db: Array, stride: Pair,
    padding: Padding, dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    plan = _plan_weight(
        algorithm, dw.shape[2:], stride[0], dout.shape, x.shape, padding, dilation, groups, x.dtype
    )
    workers = usable_workers(num_threads, plan.work)
    each = (
        plan.turned_size, plan.local_size, plan.sources_size, plan.gradients_size, plan.sums_size,
        plan.line_size,
    )  # fmt: skip
    sizes = [workers * size for size in each]
    correlate_tiles = winograd_weight.correlate_tiles(*plan.filtering, plan.vectors)
    with Scratch(x.dtype, plan.partial_size, plan.bias_sums_size, *sizes) as pieces:
        partial, bias_sums, *rest, _ = pieces
        correlate_tiles(workers, dout, x, partial, bias_sums, *rest, plan.adding)
        gatherers = movers(workers, plan.partial_size)
        correlate_weight.gather(gatherers, dw, db, partial, bias_sums, plan.gathering)


@lru_cache(maxsize=256)
def _plan_correlation(
    algorithm: str, window: Pair, stride: int, source: tuple[int, ...], out: tuple[int, ...],
    before: Pair, dilation: Pair, groups: int, flipped: bool, dtype: np.dtype[np.floating],
) -> winograd.Plan:  # fmt: skip
    return winograd.plan(
        algorithm, window, stride, source, out, before, dilation, groups, flipped, dtype
    )


@lru_cache(maxsize=256)
def _plan_weight(
    algorithm: str, window: Pair, stride: int, dout: tuple[int, ...], x: tuple[int, ...],
    padding: Padding, dilation: Pair, groups: int, dtype: np.dtype[np.floating],
) -> winograd_weight.Plan:  # fmt: skip
    return winograd_weight.plan(
        algorithm, window, stride, dout, x, padding, dilation, groups, dtype
    )
