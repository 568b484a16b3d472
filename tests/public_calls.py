"""A call of each public function, with arguments that pose a problem and the reference's answer."""

import inspect

import numpy as np

from fastscratch import ops
from fastscratch.kernels.problem import WindowProblem
from fastscratch.testing import find_case, make_inputs, reference_outputs

OF_OTHER_FORM = (
    "sigmoid_forward", "tanh_forward",  # round small integers
    "softmax_cross_entropy_forward", "softmax_cross_entropy_backward",  # take class numbers
    "sgd_update", "momentum_update", "nesterov_update", "adagrad_update", "rmsprop_update",
    "adam_update",  # write to what they are given
    "squared_norm", "batch_norm_forward", "batch_norm_inference", "batch_norm_backward",
    "batch_norm_relu_forward", "batch_norm_relu_backward",
    "dropout_forward", "dropout_backward",
    "leaky_relu_forward", "leaky_relu_backward", "elu_forward", "elu_backward",  # take a number
    "prelu_forward", "prelu_backward",
    "fractional_max_pool2d_forward", "fractional_max_pool2d_backward",  # take tables
)  # fmt: skip
"""Operations whose public functions do not fit these tests, and have their own in tests/ops."""

SAMPLES = {
    "conv2d_forward": "asymmetric_strided",
    "conv2d_backward_input": "grouped_dilated",
    "conv2d_backward_weight": "strided_uneven",
    "conv2d_relu_max_pool2d_forward": "stride_gt_kernel",
    "conv2d_relu_max_pool2d_backward_weight": "ceil_overhang",
    "max_pool2d_forward": "dilated_strided",
    "max_pool2d_backward": "ceil_overhang_padded",
    "avg_pool2d_forward": "nopad_ceil",
    "avg_pool2d_backward": "nopad_floor",
    "dense_forward": "small",
    "dense_backward_input": "small",
    "dense_backward_weight": "small",
    "im2col": "asymmetric",
    "col2im": "dilated_strided",
    "relu_forward": "image",
    "relu_backward": "image",
    "add_forward": "image",
    "add_relu_forward": "image",
    "sigmoid_backward": "image",
    "tanh_backward": "image",
}


class Call:
    """A public function with arguments that pose a problem."""

    def __init__(self, op, dtype="f64", case=None):
        self.function = getattr(ops, op)
        self.problem = find_case(op, case or SAMPLES[op], dtype)
        self.arrays = make_inputs(self.problem, "integers")
        self.ref = reference_outputs(self.problem, self.arrays)

    def __call__(self, arrays=None, **options):
        """Call with other arrays or options; the results as a tuple."""
        arguments = dict(arrays or self.arrays)
        p = self.problem
        parameters = inspect.signature(self.function).parameters
        given = {}
        if isinstance(p, WindowProblem):
            given = {
                "input_shape": (p.N, p.C, p.H, p.W), "kernel_size": p.kernel_size,
                "stride": p.stride, "padding": p.padding, "dilation": p.dilation,
                "groups": p.groups, "rounding": p.rounding, "pool": p.pool,
                "count_include_pad": p.count_include_pad,
            }  # fmt: skip
        arguments |= {name: value for name, value in given.items() if name in parameters}
        result = self.function(**(arguments | options))
        return result if isinstance(result, tuple) else (result,)

    def outputs(self):
        """The reference's outputs that the function returns, in order."""
        return [array for name, array in self.ref.items() if name != "db"]

    def check(self, results):
        for result, ref in zip(results, self.outputs(), strict=True):
            np.testing.assert_array_equal(result, ref)
            assert result.dtype == ref.dtype
