"""How the minimal-filtering convolutions are cut: bounded memory, blocks that cover every tile."""

import ctypes
import ctypes.util

import numpy as np
import pytest

from fastscratch.kernels.catalogue import find_op
from fastscratch.kernels.numba_jit import scratch, winograd, winograd_weight
from fastscratch.kernels.numba_jit.compile import JIT
from fastscratch.kernels.numba_jit.vectors import lanes_of
from fastscratch.kernels.numba_jit.winograd_blocks import cut_tiles, find_block
from fastscratch.kernels.numba_jit.winograd_points import FILTERINGS
from fastscratch.kernels.problem import parse_problem
from fastscratch.testing.inputs import empty_outputs, make_inputs, run_kernel

EACH = 16 * 1024 * 1024


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("algorithm", "taps", "lines"), FILTERINGS)
@pytest.mark.parametrize(
    ("N", "C", "side", "dilation", "stride"),
    [
        (64, 64, 224, 1, 1), (64, 512, 7, 1, 1), (2, 4096, 14, 1, 1), (8, 512, 224, 8, 1),
        (2, 2048, 33, 8, 1), (64, 64, 224, 1, 2), (64, 512, 7, 1, 2), (2, 2048, 14, 1, 4),
        (8, 3, 448, 1, 4), (8, 512, 1001, 1, 3), (8, 64, 10007, 8, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("upright", [False, True])
def test_a_worker_takes_bounded_memory(
    N, C, side, dilation, stride, algorithm, taps, lines, upright, dtype
):
    """Windows as large as they are cut; of lines, at stride 1."""
    out, dtype, dilations = (N, C, side, side), np.dtype(dtype), (dilation, dilation)
    window, x, pieces = (stride * taps,) * 2, (N, C, stride * side, stride * side), stride**2
    if lines:
        length, stride, x = {2: 2, 3: 9, 4: 16}[taps], 1, out
        window, pieces = (length, 1) if upright else (1, length), length // taps
    given = (dilations, 1)
    forward = winograd.plan(
        algorithm, window, stride, x, out, (dilation, dilation), *given, False, dtype
    )
    back = winograd.plan(
        algorithm, window, stride, out, x, (dilation, dilation), *given, True, dtype
    )
    weight = winograd_weight.plan(algorithm, window, stride, out, x, (dilation,) * 4, *given, dtype)
    own = [
        plan.taps_size + plan.turned_size + plan.local_size + plan.sources_size
        + plan.products_size + plan.sums_size
        for plan in (forward, back)
    ]  # fmt: skip
    own.append(
        weight.turned_size + weight.local_size + weight.sources_size + weight.gradients_size
        + weight.sums_size + weight.line_size
    )  # fmt: skip
    assert max(own) * dtype.itemsize <= EACH
    points = FILTERINGS[algorithm, taps, lines].points
    most = max(winograd.ROUND_BYTES, winograd.ROUND_CHANNELS * points * C * pieces * 8)
    assert forward.packed_size * dtype.itemsize <= 1.1 * most


def test_rounds_cover_every_panel_once():
    x = (2, 512, 7, 7)
    plan = winograd.plan(
        "winograd4", (3, 3), 1, x, (2, 500, 7, 7), (1, 1), (1, 1), 1, False, np.dtype(np.float32)
    )
    rounds = [extents.values[0] for extents in plan.rounds]
    assert len(rounds) > 1
    ends = [e.first_panel + e.panels for e in rounds]
    assert [e.first_panel for e in rounds] == [0, *ends[:-1]]
    assert ends[-1] == -(-500 // (2 * lanes_of(np.dtype(np.float32))))


@pytest.mark.parametrize(("algorithm", "taps", "lines"), FILTERINGS)
@pytest.mark.parametrize(
    ("N", "OH", "OW", "dilation", "most"),
    [
        (5, 7, 7, (1, 1), 64),
        (1, 1, 1, (1, 1), 64),
        (3, 9, 301, (1, 1), 64),
        (7, 4, 3, (1, 1), 10),
        (5, 7, 9, (2, 3), 64),
        (3, 9, 301, (3, 2), 64),
        (2, 3, 5, (8, 8), 10),
    ],
)
@pytest.mark.parametrize("upright", [False, True])
def test_blocks_cover_every_tile_once(N, OH, OW, dilation, most, algorithm, taps, lines, upright):
    m = FILTERINGS[algorithm, taps, lines].step
    steps = (1 if lines and not upright else m, 1 if lines and upright else m)
    dilation_h, dilation_w = dilation
    b = cut_tiles(N, OH, OW, dilation, steps, most)
    images, (step_h, step_w) = N * dilation_h, (dilation_h * steps[0], dilation_w * steps[1])
    seen = np.zeros((images, -(-OH // step_h), -(-OW // step_w)), int)
    for index in range(b.blocks):
        find = getattr(find_block, "py_func", find_block)
        batch, top, left, height, across = find(
            index, OH, OW, step_h, step_w, b.blocks_h, b.blocks_w
        )
        assert height <= b.block_h
        assert across <= b.block_w
        n = batch * b.images
        count = min(b.images, images - n) * height * across * dilation_w
        assert count <= b.tiles <= max(most, dilation_w)
        seen[n : n + b.images, top : top + height, left : left + across] += 1
    assert (seen == 1).all()


def test_no_image_makes_no_block():
    assert cut_tiles(0, 8, 8, (1, 1), (2, 2), 64).batches == 0


FE_INVALID = 1
"""The flag of C's <fenv.h> on x86 and Arm: raised by arithmetic on a signalling NaN."""
SIGNALLING = {"f32": (np.uint32, 0x7FA00000), "f64": (np.uint64, 0x7FF4000000000000)}


@pytest.mark.skipif(not JIT, reason="plain Python gets fresh arrays")
@pytest.mark.parametrize("dtype", SIGNALLING)
@pytest.mark.parametrize(("algorithm", "taps", "lines"), FILTERINGS)
@pytest.mark.parametrize("op", ["forward", "backward_input", "backward_weight"])
@pytest.mark.parametrize("channels", ["c16h8w8:oc16", "c3h9w7:oc5", "c19h6w6:oc40", "c48h5w5:oc17"])
@pytest.mark.parametrize("stride", [1, 2])
def test_nothing_is_computed_on_what_memory_was_left_with(
    op, algorithm, taps, lines, stride, channels, dtype
):
    """Numbers too small for full speed, as whole numbers look, took up to 58 times as long."""
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    window = f"k{stride * taps - (stride > 1)}s{stride}p3floor"
    if lines:
        window = f"k1x{taps}p0x3" if stride == 1 else f"k{2 * taps - 1}x1p3x0"
    problem = parse_problem(f"conv2d_{op}:{dtype}:n3{channels}{window}")
    entries = find_op(problem.op).implementations
    kernel = next(entry for entry in entries if entry.name == f"numba:{algorithm}").load()
    inputs = make_inputs(problem)
    arrays = inputs | empty_outputs(problem, inputs)
    run_kernel(kernel, problem, arrays, 1)
    words, pattern = SIGNALLING[dtype]
    assert scratch._kept
    for block in scratch._kept:
        block.memory[: block.memory.size // 8 * 8].view(words)[:] = pattern
    libm.feclearexcept(FE_INVALID)
    run_kernel(kernel, problem, arrays, 1)
    assert not libm.fetestexcept(FE_INVALID)
