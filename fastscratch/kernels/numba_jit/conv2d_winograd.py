"""Convolution by minimal filtering: 3x3 windows at stride 1, without dilation."""

from functools import lru_cache

import numpy as np

from fastscratch.kernels.numba_jit import correlate_weight, winograd, winograd_weight
from fastscratch.kernels.numba_jit.compile import usable_workers
from fastscratch.kernels.numba_jit.scratch import Scratch
from fastscratch.types import Array, Padding, Pair


def winograd2_forward(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    """y[n, oc, oh, ow] = bias[oc] + sum over c, kh, kw of x[n, c, ih, iw]*weight[oc, c, kh, kw]."""
    plan = _plan_forward(x.shape, y.shape, padding, groups, x.dtype)
    _run(plan, x, weight, bias, y, num_threads)


def winograd2_backward_input(
    dout: Array, weight: Array, dx: Array, stride: Pair, padding: Padding, dilation: Pair,
    groups: int, num_threads: int,
) -> None:  # fmt: skip
    """dx[n, c, ih, iw] = sum of dout[n, oc, oh, ow]*weight[oc, c, kh, kw] over its windows."""
    plan = _plan_backward_input(dout.shape, dx.shape, padding, groups, dout.dtype)
    _run(plan, dout, weight, np.zeros(dx.shape[1], dx.dtype), dx, num_threads)


def winograd2_backward_weight(
    dout: Array, x: Array, dw: Array, db: Array, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    """dw[oc, c, kh, kw] = sum over n, oh, ow of dout[n, oc, oh, ow]*x[n, c, ih, iw]; db."""
    plan = _plan_backward_weight(dout.shape, x.shape, dw.shape, padding, groups, x.dtype)
    workers = usable_workers(num_threads, plan.work)
    each = (
        plan.turned_size, plan.local_size, plan.sources_size, plan.gradients_size, plan.sums_size,
        plan.line_size,
    )  # fmt: skip
    sizes = [workers * size for size in each]
    with Scratch(x.dtype, plan.partial_size, plan.bias_sums_size, *sizes) as pieces:
        partial, bias_sums, *rest, _ = pieces
        winograd_weight.correlate_tiles(workers, dout, x, partial, bias_sums, *rest, plan.adding)
        correlate_weight.gather(workers, dw, db, partial, bias_sums, plan.gathering)


def _run(
    plan: winograd.Plan, source: Array, weight: Array, bias: Array, out: Array, num_threads: int
) -> None:
    workers = usable_workers(num_threads, plan.work)
    each = (
        plan.turned_size, plan.local_size, plan.sources_size, plan.products_size, plan.sums_size
    )  # fmt: skip
    sizes = [workers * size for size in (plan.taps_size, *each)]
    with Scratch(source.dtype, plan.packed_size, *sizes) as (packed, taps, *pieces, _):
        winograd.pack(workers, weight, packed, taps, plan.extents)
        winograd.convolve_tiles(workers, source, packed, bias, out, *pieces, plan.extents)


@lru_cache(maxsize=256)
def _plan_forward(
    x: tuple[int, ...], y: tuple[int, ...], padding: Padding, groups: int,
    dtype: np.dtype[np.floating],
) -> winograd.Plan:  # fmt: skip
    channels = x[1] // groups, y[1] // groups
    return winograd.plan(x, y, channels, groups, (-padding[0], -padding[2]), False, dtype)


@lru_cache(maxsize=256)
def _plan_backward_input(
    dout: tuple[int, ...], dx: tuple[int, ...], padding: Padding, groups: int,
    dtype: np.dtype[np.floating],
) -> winograd.Plan:  # fmt: skip
    channels = dout[1] // groups, dx[1] // groups
    origin = padding[0] - 2, padding[2] - 2
    return winograd.plan(dout, dx, channels, groups, origin, True, dtype)


@lru_cache(maxsize=256)
def _plan_backward_weight(
    dout: tuple[int, ...], x: tuple[int, ...], dw: tuple[int, ...], padding: Padding, groups: int,
    dtype: np.dtype[np.floating],
) -> winograd_weight.Plan:  # fmt: skip
    return winograd_weight.plan(dout, x, dw, padding, groups, dtype)
