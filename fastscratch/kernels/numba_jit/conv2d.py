"""Convolution by register tiles on local images: the matrix of columns is not made.

Some gradients of inputs go by columns of a few channels at a time: ``input_columns``.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from fastscratch.kernels.numba_jit import (
    columns,
    correlate,
    correlate_weight,
    correlate_wide,
    depthwise,
    few_filters,
    input_columns,
    input_gradient,
    planes,
    planes_abreast,
    pointwise_weight,
)
from fastscratch.kernels.numba_jit.compile import movers, run_both, usable_workers
from fastscratch.kernels.numba_jit.dense import no_bias
from fastscratch.kernels.numba_jit.phases import (
    Correlation,
    backward_correlation,
    forward_correlation,
)
from fastscratch.kernels.numba_jit.scratch import Scratch
from fastscratch.kernels.numba_jit.tile import PIXEL_ROWS
from fastscratch.types import Array, Padding, Pair

AnyPlan = (
    columns.Plan
    | correlate.Plan
    | correlate_wide.Plan
    | planes.Plan
    | planes_abreast.Plan
    | depthwise.Plan
)
"""Of forward and backward input."""


def conv2d_forward(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    """y[n, oc, oh, ow] = bias[oc] + sum over c, kh, kw of x[n, c, ih, iw]*weight[oc, c, kh, kw]."""
    plan = plan_forward(x.shape, weight.shape, y.shape, stride, padding, dilation, groups, x.dtype)
    run(plan, x, weight, bias, y, num_threads)


def conv2d_backward_input(
    dout: Array, weight: Array, dx: Array, stride: Pair, padding: Padding, dilation: Pair,
    groups: int, num_threads: int,
) -> None:  # fmt: skip
    """dx[n, c, ih, iw] = sum of dout[n, oc, oh, ow]*weight[oc, c, kh, kw] over its windows."""
    plan = _plan_backward_input(
        dout.shape, weight.shape, dx.shape, stride, padding, dilation, groups, dout.dtype
    )
    if isinstance(plan, input_columns.Plan):
        workers = usable_workers(num_threads, plan.work)
        with Scratch(
            dx.dtype, plan.packed_size, workers * plan.fetched_size, workers * plan.made_size
        ) as (packed, fetched, made, _):
            run_both(
                (movers(workers, plan.packed_size), workers),
                input_columns.pack, (weight, packed, plan.packing),
                input_columns.add_columns, (dout, packed, dx, fetched, made, plan.computing),
            )  # fmt: skip
        return
    if isinstance(plan, input_gradient.Plan):
        workers = usable_workers(num_threads, plan.work)
        with Scratch(
            dx.dtype, plan.packed_size, workers * plan.local_size, workers * plan.sums_size
        ) as (packed, local, sums, _):
            run_both(
                (movers(workers, plan.packed_size), workers),
                input_gradient.pack, (weight, packed, plan.packing),
                input_gradient.shift_and_add, (dout, packed, dx, local, sums, plan.computing),
            )  # fmt: skip
        return
    run(plan, dout, weight, no_bias(dx.shape[1], dx.dtype), dx, num_threads)


def conv2d_backward_weight(
    dout: Array, x: Array, dw: Array, db: Array, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    """dw[oc, c, kh, kw] = sum over n, oh, ow of dout[n, oc, oh, ow]*x[n, c, ih, iw]; db."""
    plan = _plan_backward_weight(
        dout.shape, x.shape, dw.shape, stride, padding, dilation, groups, x.dtype
    )
    dtype = x.dtype
    workers = usable_workers(num_threads, plan.work)
    if isinstance(plan, depthwise.Plan):
        with Scratch(dtype, workers * plan.copy_size, workers * plan.buffer_size) as pieces:
            copy, sums, _ = pieces
            depthwise.correlate_planes_weight(workers, dout, x, dw, db, copy, sums, plan.computing)
        return
    both = workers, movers(workers, plan.partial_size)
    if isinstance(plan, few_filters.Plan):
        with Scratch(dtype, plan.partial_size, workers * plan.local_size) as (partial, local, _):
            run_both(
                both, few_filters.correlate_weight, (dout, x, partial, local, plan.adding),
                few_filters.gather, (dw, db, partial, plan.gathering),
            )  # fmt: skip
        return
    if plan.pointwise:
        with Scratch(dtype, plan.partial_size, plan.bias_sums_size, workers * plan.turned_size) as (
            partial,
            bias_sums,
            turned,
            _,
        ):
            run_both(
                both, pointwise_weight.multiply_pixels,
                (dout, x, partial, bias_sums, turned, plan.adding),
                correlate_weight.gather, (dw, db, partial, bias_sums, plan.gathering),
            )  # fmt: skip
        return
    with Scratch(
        dtype, plan.partial_size, plan.bias_sums_size, workers * plan.local_size,
        workers * plan.turned_size, offsets=workers * plan.pixels_size,
    ) as pieces:  # fmt: skip
        partial, bias_sums, *rest = pieces
        run_both(
            both, correlate_weight.correlate_weight,
            (dout, x, partial, bias_sums, *rest, plan.adding),
            correlate_weight.gather, (dw, db, partial, bias_sums, plan.gathering),
        )  # fmt: skip


def run(
    plan: AnyPlan, source: Array, weight: Array, bias: Array, out: Any, num_threads: int
) -> None:
    """Forward and backward input: the driver that the plan is made for, with its scratch."""
    dtype = source.dtype
    workers = usable_workers(num_threads, plan.work)
    if isinstance(plan, planes_abreast.Plan):
        with Scratch(dtype, workers * plan.local_size) as (local, _):
            plan.correlate(workers, source, weight, bias, out, local, plan.computing)
        return
    both = movers(workers, plan.packed_size), workers
    if isinstance(plan, depthwise.Plan):
        with Scratch(
            dtype, plan.packed_size, workers * plan.copy_size, workers * plan.buffer_size
        ) as (packed, copy, buffer, _):
            run_both(
                both, depthwise.pack, (weight, packed, plan.packing), depthwise.correlate_planes,
                (source, packed, bias, out, copy, buffer, plan.computing),
            )  # fmt: skip
        return
    if isinstance(plan, columns.Plan):
        with Scratch(
            dtype,
            plan.packed_size,
            workers * plan.local_size,
            workers * plan.columns_size,
            workers * plan.edge_size,
        ) as (packed, *pieces, _):
            run_both(
                both, columns.pack, (weight, packed, bias, plan.packing),
                columns.correlate_columns,
                (source, weight, packed, out, *pieces, plan.computing),
            )  # fmt: skip
        return
    if isinstance(plan, correlate_wide.Plan):
        with Scratch(
            dtype, plan.packed_size, workers * plan.local_size, workers * plan.sums_size
        ) as (packed, local, sums, _):
            run_both(
                both, correlate_wide.pack, (weight, packed, plan.packing),
                correlate_wide.correlate_wide,
                (source, packed, bias, out, local, sums, plan.computing),
            )  # fmt: skip
        return
    sizes = plan.packed_size, workers * plan.local_size, workers * plan.sums_size
    if isinstance(plan, planes.Plan):
        with Scratch(dtype, *sizes) as (packed, local, sums, _):
            run_both(
                both, planes.pack, (weight, packed, plan.packing), planes.correlate_planes,
                (source, packed, bias, out, local, sums, plan.computing),
            )  # fmt: skip
        return
    with Scratch(dtype, *sizes, offsets=workers * plan.pixels_size) as (packed, *pieces):
        run_both(
            both, correlate.pack, (weight, packed, plan.packing),
            correlate.correlate, (source, packed, bias, out, *pieces, plan.computing),
        )  # fmt: skip


@lru_cache(maxsize=256)
def plan_forward(
    x: tuple[int, ...], weight: tuple[int, ...], y: tuple[int, ...], stride: Pair,
    padding: Padding, dilation: Pair, groups: int, dtype: np.dtype[np.floating],
) -> AnyPlan:  # fmt: skip
    correlation = forward_correlation(x, weight, y, stride, padding, dilation, groups)
    return _plan_planes(correlation, weight, dtype) or _plan_groups(correlation, dtype)


@lru_cache(maxsize=256)
def _plan_backward_input(
    dout: tuple[int, ...], weight: tuple[int, ...], dx: tuple[int, ...], stride: Pair,
    padding: Padding, dilation: Pair, groups: int, dtype: np.dtype[np.floating],
) -> AnyPlan | input_gradient.Plan | input_columns.Plan:  # fmt: skip
    """With few input channels, rows of taps are summed first and shifted afterwards."""
    problem = dout, weight, dx, stride, padding, dilation, groups
    correlation = backward_correlation(*problem)
    found = _plan_planes(correlation, weight, dtype)
    if found:
        return found
    few = input_gradient.plan(*problem, dtype)
    return (
        input_columns.plan(correlation, weight, stride, padding, dilation, few is not None, dtype)
        or few
        or _plan_groups(correlation, dtype)
    )


def _plan_planes(
    c: Correlation, weight: tuple[int, ...], dtype: np.dtype[np.floating]
) -> planes_abreast.Plan | depthwise.Plan | None:
    """With filters for single channels, a channel goes through the cache on its own."""
    return planes_abreast.plan(c, (weight[2], weight[3]), dtype) or depthwise.plan(c, dtype)


def _plan_groups(c: Correlation, dtype: np.dtype[np.floating]) -> AnyPlan:
    """With few output or source channels in a group, vectors run along pixels instead."""
    found = columns.plan(c, dtype) or correlate_wide.plan(c, dtype)
    return found or (planes if c.channels[1] <= PIXEL_ROWS else correlate).plan(c, dtype)


@lru_cache(maxsize=256)
def _plan_backward_weight(
    dout: tuple[int, ...], x: tuple[int, ...], dw: tuple[int, ...], stride: Pair,
    padding: Padding, dilation: Pair, groups: int, dtype: np.dtype[np.floating],
) -> correlate_weight.Plan | few_filters.Plan | depthwise.Plan:  # fmt: skip
    """The windows are those of the forward pass."""
    problem = dout, x, dw, stride, padding, dilation, groups, dtype
    forward = forward_correlation(x, dw, dout, stride, padding, dilation, groups)
    return (
        depthwise.plan(forward, dtype, weights=True)
        or few_filters.plan(*problem)
        or correlate_weight.plan(*problem)
    )
