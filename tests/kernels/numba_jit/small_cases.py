"""Small integer cases of every kernel against the reference; run as a program of its own."""

import numpy as np

from fastscratch.kernels.numba_jit import conv2d, conv2d_winograd, dense, im2col, pool2d
from fastscratch.kernels.numpy_ref import conv2d as conv2d_ref
from fastscratch.kernels.numpy_ref import dense as dense_ref
from fastscratch.kernels.numpy_ref import im2col as im2col_ref
from fastscratch.kernels.numpy_ref import pool2d as pool2d_ref

# x, OC, kernel, stride, padding, dilation, groups, outputs
CONVOLUTIONS = [
    ((1, 3, 5, 6), 5, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, (5, 6)),
    ((2, 4, 7, 7), 6, (3, 2), (2, 3), (1, 0, 2, 1), (2, 1), 1, (2, 3)),
    ((1, 6, 4, 5), 6, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 6, (4, 5)),
    ((1, 16, 4, 3), 16, (2, 2), (2, 2), (0, 1, 0, 1), (1, 1), 16, (2, 2)),
    ((1, 2, 3, 3), 8, (2, 2), (1, 1), (3, 3, 3, 3), (1, 1), 1, (8, 8)),
    ((1, 5, 4, 1), 5, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 5, (4, 1)),
    ((2, 3, 8, 7), 3, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 3, (4, 4)),
]
# x, OC, padding, outputs
TRANSFORMED = [
    ((1, 3, 5, 6), 5, (1, 1, 1, 1), (5, 6)),
    ((2, 17, 7, 4), 33, (1, 0, 2, 1), (6, 5)),
]
# x, kernel, stride, padding, dilation, outputs
POOLINGS = [
    ((2, 1, 8, 10), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), (4, 5)),
    ((1, 2, 7, 12), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), (7, 12)),
    ((1, 1, 9, 11), (3, 2), (3, 2), (1, 1, 0, 0), (1, 1), (3, 5)),
    ((1, 1, 9, 24), (2, 3), (2, 4), (0, 0, 1, 1), (2, 1), (4, 6)),
]


class Transformed:
    """The kernels of minimal filtering, under the names of those that they stand in for."""

    conv2d_forward = conv2d_winograd.winograd2_forward
    conv2d_backward_input = conv2d_winograd.winograd2_backward_input
    conv2d_backward_weight = conv2d_winograd.winograd2_backward_weight


def filled(shape, dtype, rng):
    """Small integers, whose sums are exact."""
    return rng.integers(-3, 4, shape).astype(dtype)


def compare(op, modules, inputs, outputs, arguments):
    """Run a kernel and the reference, outputs full of garbage, and compare every bit."""
    results = []
    for module in modules:
        memory = [np.full(output.size + 64, 77, output.dtype) for output in outputs]
        arrays = [
            whole[: output.size].reshape(output.shape)
            for whole, output in zip(memory, outputs, strict=True)
        ]
        getattr(module, op)(*inputs, *arrays, *arguments)
        results.append(arrays)
        for whole, output in zip(memory, outputs, strict=True):
            assert (whole[output.size :] == 77).all(), f"{op} writes on behind its output"
    for out, ref in zip(*results, strict=True):
        np.testing.assert_array_equal(out, ref, err_msg=f"{op} {arguments}")


def main(dtype):
    rng = np.random.default_rng(0)
    for shape, OC, kernel, stride, padding, dilation, groups, outputs in CONVOLUTIONS:
        x = filled(shape, dtype, rng)
        weight = filled((OC, shape[1] // groups, *kernel), dtype, rng)
        bias = filled(OC, dtype, rng)
        y = filled((shape[0], OC, *outputs), dtype, rng)
        arguments = stride, padding, dilation, groups, 2
        both = conv2d, conv2d_ref
        compare("conv2d_forward", both, (x, weight, bias), (y,), arguments)
        compare("conv2d_backward_input", both, (y, weight), (x,), arguments)
        compare("conv2d_backward_weight", both, (y, x), (weight, bias), arguments)
    for shape, OC, padding, outputs in TRANSFORMED:
        x, weight = filled(shape, dtype, rng), filled((OC, shape[1], 3, 3), dtype, rng)
        bias, y = filled(OC, dtype, rng), filled((shape[0], OC, *outputs), dtype, rng)
        stepping = (1, 1), padding, (1, 1), 1, 2
        judged = Transformed, conv2d_ref
        compare("conv2d_forward", judged, (x, weight, bias), (y,), stepping)
        compare("conv2d_backward_input", judged, (y, weight), (x,), stepping)
        compare("conv2d_backward_weight", judged, (y, x), (weight, bias), stepping)
    for shape, kernel, stride, padding, dilation, outputs in POOLINGS:
        x = filled(shape, dtype, rng)
        x[0, 0, 2, 2:4] = np.nan
        x[0, 0, :2] = -np.inf
        y = filled((*shape[:2], *outputs), dtype, rng)
        argmax = np.zeros(y.shape, np.uint8)
        pool2d_ref.max_pool2d_forward(x, y, argmax, kernel, stride, padding, dilation, 1)
        both = pool2d, pool2d_ref
        window = kernel, stride, padding, dilation, 2
        compare("max_pool2d_forward", both, (x,), (y, argmax), window)
        dout = filled(y.shape, dtype, rng)
        compare("max_pool2d_backward", both, (dout, argmax), (x,), window)
        if dilation == (1, 1):
            x = 12 * filled(shape, dtype, rng)
            plain = kernel, stride, padding, True, 2
            compare("avg_pool2d_forward", both, (x,), (y,), plain)
            dout = kernel[0] * kernel[1] * filled(y.shape, dtype, rng)
            compare("avg_pool2d_backward", both, (dout,), (x,), plain)
        x = filled(shape, dtype, rng)
        rows = (
            shape[0] * im2col_ref.window_count(
                shape[2], kernel[0], stride[0], padding[0] + padding[1], dilation[0]
            ) * im2col_ref.window_count(
                shape[3], kernel[1], stride[1], padding[2] + padding[3], dilation[1]
            )
        )  # fmt: skip
        columns = filled((rows, shape[1] * kernel[0] * kernel[1]), dtype, rng)
        compare("im2col", (im2col, im2col_ref), (x,), (columns,), window)
        compare("col2im", (im2col, im2col_ref), (columns,), (x,), window)
    for B, inputs, classes in [(1, 7, 5), (7, 20, 18), (3, 1, 1)]:
        x, weight = filled((B, inputs), dtype, rng), filled((inputs, classes), dtype, rng)
        bias, y = filled(classes, dtype, rng), filled((B, classes), dtype, rng)
        both = dense, dense_ref
        compare("dense_forward", both, (x, weight, bias), (y,), (2,))
        compare("dense_backward_input", both, (y, weight), (x,), (2,))
        compare("dense_backward_weight", both, (y, x), (weight, bias), (2,))


if __name__ == "__main__":
    main(np.float32)
    main(np.float64)
    print("all equal")
