"""Exact on whole numbers where a kernel's ways part: extents around vectors, tiles and blocks."""

import numpy as np
import pytest

from fastscratch.kernels.catalogue import OPS
from fastscratch.kernels.problem import parse_problem
from fastscratch.testing import make_inputs
from fastscratch.testing.inputs import empty_outputs, run_kernel

WINDOWS = (
    # rows of pixels around a tile's rows, and of channels around a vector
    *(
        f"n1c3h3w{w}:oc{oc}k2"
        for w, oc in ((6, 33), (7, 34), (8, 47), (15, 48), (16, 18), (30, 49))
    ),
    # phases of the columns of a stride
    *(f"n2c5h13w{w}:oc36k3s2p1floor" for w in (5, 13, 31, 33, 34, 66)),
    "n1c3h20w23:oc40k4s3p2d2floor",
    # planes of depthwise convolutions around a vector's width, and too low for a block of rows
    *(f"n2c3h{h}w{w}:oc3k3p1g3" for h, w in ((7, 7), (6, 7), (8, 1), (15, 15), (13, 16), (9, 17))),
    "n1c2h9w10:oc2k5p3g2",
    "n1c2h9w10:oc4k5p0x4x1x2g2",
    "n1c2h9w12:oc2k3p2d1x3g2",
    # narrow ones at stride 2: rows of one vector and a half, of one, and short twice; few rows
    *(
        f"n2c3h{h}w{w}:oc{3 * filters}k{k}s2p{k // 2}g3floor"
        for h, w in ((14, 14), (9, 31), (9, 33), (15, 17), (8, 8), (5, 16), (4, 2), (1, 5), (2, 2))
        for k, filters in ((3, 1), (3, 2), (5, 1))
    ),
    "n3c5h6w6:oc5k3s2p0g5floor",
    "n2c3h13w13:oc3k3s2p2d2g3floor",
    "n2c3h13w12:oc3k3x5s2p3x0x1x4g3floor",
    "n2c3h9w16:oc3k3x9s2p1x1x4x4g3floor",
    "n2c3h9w9:oc3k2s2p0g3floor",
    # planes that are one row: a vector and less, up to all bits of a word
    *(
        f"n3c5h{h}w{w}:oc{5 * filters}k3p1g5"
        for h, w in (
            *((side, side) for side in (2, 4, 5, 6, 7, 8)),
            (3, 16),
            (16, 4),
            (1, 9),
            (5, 1),
        )
        for filters in (1, 2)
    ),
    "n2c3h5w5:oc3k3p2d2g3",
    "n2c3h5w5:oc3k3p0x4x2x0g3",
    "n2c3h6w5:oc3k1x3p0x0x1x1g3",
    # pointwise: whole steps of pixels and what is left, in several groups of them and of panels
    *(f"n1c{c}h1w{w}:oc43k1" for c, w in ((3, 31), (3, 32), (5, 65), (300, 261), (70, 1100))),
    "n2c4h9w11:oc50k1s2floor",
)
DENSE = (
    *("n1i784:o100", "n2i37:o5", "n15i1030:o67", "n130i513:o290", "n3i33:o1100"),
    # gradients of few rows, from four rows of weights at a time and what is left
    *("n1i3:o16", "n2i7:o41", "n3i9:o67", "n1i1030:o513"),
    # gradients of weights of up to four examples
    *("n0i3:o70", "n2i5:o64", "n3i1031:o130", "n4i7:o129", "n4i3:o127"),
    # gradients of weights whose last columns are few, in one and in several chunks of the sum
    *("n7i197:o34", "n33i211:o23", "n530i213:o21", "n1030i193:o71"),
)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("op", ["forward", "backward_input", "backward_weight"])
@pytest.mark.parametrize("case", WINDOWS + DENSE)
def test_whole_numbers_are_exact(case, op, dtype, require_backend):
    require_backend("cython")
    kind = "dense" if case in DENSE else "conv2d"
    problem = parse_problem(f"{kind}_{op}:{dtype}:{case}")
    inputs = make_inputs(problem, "integers")

    def run(name):
        kernel = next(entry for entry in OPS[problem.op].implementations if entry.name == name)
        outputs = empty_outputs(problem, inputs)
        run_kernel(kernel.load(), problem, inputs | outputs, 2)
        return outputs

    found = run("cython:direct" if kind == "conv2d" else "cython")
    for key, expected in run("numpy").items():
        np.testing.assert_array_equal(found[key], expected, err_msg=key)
