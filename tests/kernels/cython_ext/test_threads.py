"""The same bits whatever the number of threads, on shapes with many jobs of uneven size."""

import pytest

from fastscratch.kernels.catalogue import OPS
from fastscratch.kernels.problem import parse_problem
from fastscratch.testing import make_inputs
from fastscratch.testing.inputs import empty_outputs, run_kernel

PROBLEMS = (
    "conv2d_forward:f32:n3c40h19w23:oc37k3p1",
    "conv2d_forward:f32:n5c3h37w41:oc10k5s2p2",
    "conv2d_forward:f64:n2c24h13w17:oc24k3p1g24",
    "conv2d_forward:f32:n7c96h7w7:oc33k1",
    "conv2d_forward:f32:n1c48h17w17:oc96k3p1",
    "conv2d_forward:f32:n1c130h15w15:oc130k3p1",
    "conv2d_forward:f32:n2c20h25w27:oc70k3s2p1",
    "conv2d_backward_weight:f32:n1c48h17w17:oc96k3p1",
    "conv2d_backward_input:f32:n3c40h19w23:oc37k3p1",
    "conv2d_backward_input:f32:n2c3h40w40:oc20k7s2p3floor",
    "conv2d_backward_weight:f32:n6c20h19w23:oc37k3p1",
    "conv2d_backward_weight:f32:n9c1h28w28:oc30k5",
    "conv2d_backward_weight:f64:n4c24h13w17:oc24k3p1g24",
    "dense_forward:f32:n100i1000:o70",
    "dense_backward_input:f64:n100i1000:o70",
    "dense_backward_weight:f32:n100i1000:o70",
    "dense_backward_weight:f32:n70i1030:o37",
    "dense_backward_input:f32:n3i2071:o150",
    "dense_backward_input:f32:n1i2047:o201",
    "dense_forward:f32:n45i600:o401",
    "dense_backward_weight:f32:n300i1100:o201",
    "dense_backward_weight:f32:n20i2100:o40",
    "max_pool2d_forward:f32:n3c5h31w29:k3s2p1",
    "avg_pool2d_backward:f32:n3c5h31w29:k3s2p1",
    "tanh_forward:f32:n100003",
    "softmax_cross_entropy_forward:f32:n301c13",
    "adam_update:f32:n100003",
    "squared_norm:f64:n100003",
    "batch_norm_forward:f32:n7c11s601",
    "batch_norm_backward:f32:n301c331",
    "dropout_forward:f32:n100003",
    "elu_forward:f32:n100003",
    "prelu_backward:f32:n7c11s601",
    "prelu_backward:f32:n301c331",
    "fractional_max_pool2d_forward:f32:n3c5h31w29:oh21ow20",
    "rmsprop_update:f32:n100003",
)


@pytest.mark.parametrize("text", PROBLEMS)
def test_threads_do_not_change_a_bit(text, require_backend):
    require_backend("cython")
    problem = parse_problem(text)
    spec = OPS[problem.op]

    def run(kernel, threads):
        inputs = make_inputs(problem, "normal")
        outputs = empty_outputs(problem, inputs)
        run_kernel(kernel, problem, inputs | outputs, threads)
        return b"".join(array.tobytes() for array in outputs.values())

    for entry in spec.implementations:
        if entry.backend != "cython" or (entry.supports and not entry.supports(problem)):
            continue
        alone = run(entry.load(), 1)
        for threads in (2, 3, 8):
            assert run(entry.load(), threads) == alone, (entry.name, threads)
