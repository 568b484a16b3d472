"""Small integer cases of every kernel against the reference; run as a program of its own."""

import numpy as np

from fastscratch.kernels.numba_jit import conv2d, dense, im2col, pool2d
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
]
# x, kernel, stride, padding, dilation, outputs
POOLINGS = [
    ((2, 1, 8, 10), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), (4, 5)),
    ((1, 2, 7, 12), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), (7, 12)),
    ((1, 1, 9, 11), (3, 2), (3, 2), (1, 1, 0, 0), (1, 1), (3, 5)),
    ((1, 1, 9, 24), (2, 3), (2, 4), (0, 0, 1, 1), (2, 1), (4, 6)),
]


def filled(shape, dtype, rng):
    """Small integers, whose sums are exact."""
    return rng.integers(-3, 4, shape).astype(dtype)


def compare(kernel, reference, inputs, outputs, arguments):
    """Run both, outputs full of garbage, and compare every bit."""
    results = []
    for function in (kernel, reference):
        arrays = [np.full_like(output, 77) for output in outputs]
        function(*inputs, *arrays, *arguments)
        results.append(arrays)
    for out, ref in zip(*results, strict=True):
        np.testing.assert_array_equal(out, ref, err_msg=f"{kernel.__name__} {arguments}")


def main(dtype):
    rng = np.random.default_rng(0)
    for shape, OC, kernel, stride, padding, dilation, groups, outputs in CONVOLUTIONS:
        x = filled(shape, dtype, rng)
        weight = filled((OC, shape[1] // groups, *kernel), dtype, rng)
        bias = filled(OC, dtype, rng)
        y = filled((shape[0], OC, *outputs), dtype, rng)
        arguments = stride, padding, dilation, groups, 2
        c, r = conv2d, conv2d_ref
        compare(c.conv2d_forward, r.conv2d_forward, (x, weight, bias), (y,), arguments)
        compare(c.conv2d_backward_input, r.conv2d_backward_input, (y, weight), (x,), arguments)
        compare(
            c.conv2d_backward_weight, r.conv2d_backward_weight, (y, x), (weight, bias), arguments
        )
    for shape, kernel, stride, padding, dilation, outputs in POOLINGS:
        x = filled(shape, dtype, rng)
        x[0, 0, 2, 2:4] = np.nan
        x[0, 0, :2] = -np.inf
        y = filled((*shape[:2], *outputs), dtype, rng)
        argmax = np.zeros(y.shape, np.uint8)
        pool2d_ref.max_pool2d_forward(x, y, argmax, kernel, stride, padding, dilation, 1)
        p, r = pool2d, pool2d_ref
        arguments = kernel, stride, padding, dilation, 2
        compare(p.max_pool2d_forward, r.max_pool2d_forward, (x,), (y, argmax), arguments)
        dout = filled(y.shape, dtype, rng)
        compare(p.max_pool2d_backward, r.max_pool2d_backward, (dout, argmax), (x,), arguments)
        if dilation == (1, 1):
            x = 12 * filled(shape, dtype, rng)
            arguments = kernel, stride, padding, True, 2
            compare(p.avg_pool2d_forward, r.avg_pool2d_forward, (x,), (y,), arguments)
            dout = kernel[0] * kernel[1] * filled(y.shape, dtype, rng)
            compare(p.avg_pool2d_backward, r.avg_pool2d_backward, (dout,), (x,), arguments)
        x = filled(shape, dtype, rng)
        rows = (
            shape[0] * im2col_ref.window_count(
                shape[2], kernel[0], stride[0], padding[0] + padding[1], dilation[0]
            ) * im2col_ref.window_count(
                shape[3], kernel[1], stride[1], padding[2] + padding[3], dilation[1]
            )
        )  # fmt: skip
        columns = filled((rows, shape[1] * kernel[0] * kernel[1]), dtype, rng)
        arguments = kernel, stride, padding, dilation, 2
        compare(im2col.im2col, im2col_ref.im2col, (x,), (columns,), arguments)
        compare(im2col.col2im, im2col_ref.col2im, (columns,), (x,), arguments)
    for B, inputs, outputs in [(1, 7, 5), (7, 20, 18), (3, 1, 1)]:
        x, weight = filled((B, inputs), dtype, rng), filled((inputs, outputs), dtype, rng)
        bias, y = filled(outputs, dtype, rng), filled((B, outputs), dtype, rng)
        d, r = dense, dense_ref
        compare(d.dense_forward, r.dense_forward, (x, weight, bias), (y,), (2,))
        compare(d.dense_backward_input, r.dense_backward_input, (y, weight), (x,), (2,))
        compare(d.dense_backward_weight, r.dense_backward_weight, (y, x), (weight, bias), (2,))


if __name__ == "__main__":
    main(np.float32)
    main(np.float64)
    print("all equal")
