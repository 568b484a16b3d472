"""The gradient of few filters' weights on shapes that the small cases leave out."""

import numpy as np
import pytest

from fastscratch.kernels.catalogue import OPS
from fastscratch.kernels.numba_jit import few_filters
from fastscratch.kernels.numba_jit.machine import ADDRESSED_ROWS
from fastscratch.kernels.problem import WindowProblem, parse_problem
from fastscratch.testing.inputs import (
    empty_outputs,
    make_inputs,
    reference_outputs,
    run_kernel,
)

MANY_ROWS = "n1c40h70w41:oc10k3p1"
"""Blocks of rows that do not fit the local image together, more filters than a tile has rows."""

MANY_CHANNELS = "n2c130h20w23:oc6k3p1"
"""Three ranges of channels, whose extents differ."""


def plan_of(text, dtype=np.float32):
    p = parse_problem(f"conv2d_backward_weight:f32:{text}")
    assert isinstance(p, WindowProblem)
    dout, dw = (p.N, p.OC, *p.outputs), (p.OC, p.C // p.groups, *p.kernel_size)
    x = (p.N, p.C, p.H, p.W)
    return few_filters.plan(dout, x, dw, p.stride, p.padding, p.dilation, p.groups, np.dtype(dtype))


def extents_of(plan):
    return plan.gathering.values[0]


def test_the_shapes_below_are_what_they_say(monkeypatch):
    monkeypatch.setattr(few_filters, "lanes_of", lambda dtype: 64 // dtype.itemsize)
    rows, channels = extents_of(plan_of(MANY_ROWS)), extents_of(plan_of(MANY_CHANNELS))
    assert rows.blocks_h > 1
    assert rows.slots > 1
    assert rows.OC > ADDRESSED_ROWS
    assert channels.ranges == 3


@pytest.mark.parametrize("num_threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("text", [MANY_ROWS, MANY_CHANNELS, "n3c24h64w32:oc10k3s2p1g2floor"])
def test_whole_numbers_are_exact(backend, text, dtype, num_threads):
    """Those of the bias, too."""
    problem = parse_problem(f"conv2d_backward_weight:{dtype}:{text}")
    inputs = make_inputs(problem, "integers")
    outputs = empty_outputs(problem, inputs)
    kernel = OPS[problem.op].direct(backend).load()
    run_kernel(kernel, problem, inputs | outputs, num_threads)
    ref = reference_outputs(problem, inputs)
    for name in ("dw", "db"):
        np.testing.assert_array_equal(outputs[name], ref[name])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
@pytest.mark.parametrize(
    "text",
    ["n1c64h1w200000:oc3k1x3p0x1", "n1c8h2000w2000:oc3k5p2", "n2c512h64w64:oc3k3p64d64x1"],
)
def test_a_worker_takes_bounded_memory(monkeypatch, vector_bytes, text, dtype):
    """Rows that are too long go another way."""
    monkeypatch.setattr(few_filters, "lanes_of", lambda dtype: vector_bytes // dtype.itemsize)
    plan = plan_of(text, dtype)
    most = few_filters.MOST_LOCAL + 4096
    assert plan is None or plan.local_size * np.dtype(dtype).itemsize <= most


def test_a_plan_follows_from_how_full_vectors_are(monkeypatch):
    monkeypatch.setattr(few_filters, "lanes_of", lambda dtype: 64 // dtype.itemsize)
    assert plan_of("n8c256h28w28:oc256k3p1g32")
    assert plan_of("n4c64h32w32:oc8k3p1")
    for text in (
        "n4c64h32w32:oc16k3p1",  # fill a vector
        "n4c64h32w7:oc8k3p1",  # rows are too short
        "n4c64h32w32:oc8k3p2d1x2",  # taps do not lie side by side
        "n4c64h32w32:oc1k1",  # moving x takes longer
    ):
        assert plan_of(text) is None
