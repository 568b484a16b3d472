"""The only list: what it says of the operations, and who may be put on it."""

from typing import Any

import numpy as np
import pytest

from fastscratch.errors import ArgumentError, BackendUnavailableError
from fastscratch.kernels import catalogue
from fastscratch.kernels.catalogue import (
    BACKENDS,
    OPS,
    Implementation,
    add_implementation,
    backend_reason,
    find_op,
    remove_implementation,
)
from fastscratch.kernels.problem import parse_problem
from fastscratch.testing import all_problems

SIGNATURES = """
conv2d_forward(x, weight, bias, y, stride, padding, dilation, groups, num_threads)
conv2d_backward_input(dout, weight, dx, stride, padding, dilation, groups, num_threads)
conv2d_backward_weight(dout, x, dw, db, stride, padding, dilation, groups, num_threads)
conv2d_relu_max_pool2d_forward(x, weight, bias, y, argmax, stride, padding, dilation, groups, \
pool, num_threads)
conv2d_relu_max_pool2d_backward_weight(dout, y, argmax, x, dw, db, stride, padding, dilation, \
groups, pool, num_threads)
max_pool2d_forward(x, y, argmax, kernel_size, stride, padding, dilation, num_threads)
max_pool2d_backward(dout, argmax, dx, kernel_size, stride, padding, dilation, num_threads)
avg_pool2d_forward(x, y, kernel_size, stride, padding, count_include_pad, num_threads)
avg_pool2d_backward(dout, dx, kernel_size, stride, padding, count_include_pad, num_threads)
dense_forward(x, weight, bias, y, num_threads)
dense_backward_input(dout, weight, dx, num_threads)
dense_backward_weight(dout, x, dw, db, num_threads)
im2col(x, columns, kernel_size, stride, padding, dilation, num_threads)
col2im(columns, x, kernel_size, stride, padding, dilation, num_threads)
relu_forward(x, y, num_threads)
relu_backward(dout, y, dx, num_threads)
sigmoid_forward(x, y, num_threads)
sigmoid_backward(dout, y, dx, num_threads)
tanh_forward(x, y, num_threads)
tanh_backward(dout, y, dx, num_threads)
add_forward(x, other, y, num_threads)
add_relu_forward(x, other, y, num_threads)
leaky_relu_forward(x, alpha, y, num_threads)
leaky_relu_backward(dout, x, alpha, dx, num_threads)
elu_forward(x, alpha, y, num_threads)
elu_backward(dout, y, alpha, dx, num_threads)
prelu_forward(x, slopes, y, num_threads)
prelu_backward(dout, x, slopes, dx, dslopes, num_threads)
fractional_max_pool2d_forward(x, rows, cols, y, argmax, num_threads)
fractional_max_pool2d_backward(dout, argmax, dx, num_threads)
softmax_cross_entropy_forward(scores, labels, probabilities, losses, num_threads)
softmax_cross_entropy_backward(probabilities, labels, dscores, num_threads)
sgd_update(value, grad, rates, num_threads)
momentum_update(value, velocity, grad, rates, num_threads)
nesterov_update(value, velocity, grad, rates, num_threads)
adagrad_update(value, total, grad, rates, num_threads)
rmsprop_update(value, v, grad, rates, num_threads)
adam_update(value, m, v, grad, rates, num_threads)
squared_norm(x, sums, num_threads)
batch_norm_forward(x, gamma, beta, eps, y, mean, var, num_threads)
batch_norm_inference(x, gamma, beta, mean, var, eps, y, num_threads)
batch_norm_backward(dout, x, gamma, mean, var, eps, dx, dgamma, dbeta, num_threads)
batch_norm_relu_forward(x, gamma, beta, eps, y, mean, var, num_threads)
batch_norm_relu_backward(dout, y, x, gamma, mean, var, eps, dx, dgamma, dbeta, num_threads)
dropout_forward(x, key, ratio, y, num_threads)
dropout_backward(dout, key, ratio, dx, num_threads)
"""


def test_the_contract_of_signatures():
    assert [spec.signature for spec in OPS.values()] == SIGNATURES.split("\n")[1:-1]


@pytest.mark.parametrize("op", OPS)
def test_implementations_come_best_first_and_end_in_the_reference(op):
    names = [entry.name for entry in OPS[op].implementations]
    assert names[-1] == "numpy"
    assert names == sorted(names, key=lambda name: list(BACKENDS).index(name.partition(":")[0]))


@pytest.mark.parametrize("op", OPS)
def test_flops_bytes_and_terms_are_counts(op):
    spec = OPS[op]
    for problem in all_problems(op):
        assert spec.terms(problem) >= 0
        assert spec.flops(problem) >= 0
        assert spec.nbytes(problem) == sum(
            np.empty(array.shape, array.dtype).nbytes for array in spec.arrays(problem).values()
        )


def test_flops_of_known_shapes():
    conv = parse_problem("conv2d_forward:f32:n8c64h56w56:oc64k3p1")
    assert OPS[conv.op].flops(conv) == 2 * 8 * 64 * 56 * 56 * 64 * 9
    depthwise = parse_problem("conv2d_forward:f32:n8c128h28w28:oc128k3p1g128")
    assert OPS[conv.op].flops(depthwise) == 2 * 8 * 128 * 28 * 28 * 9
    dense = parse_problem("dense_forward:f32:n100i784:o50")
    assert OPS[dense.op].flops(dense) == 2 * 100 * 784 * 50


def test_an_unknown_operation_is_an_error_that_lists_the_known():
    unknown: tuple[Any, ...] = ("conv3d_forward", None, ["x"])
    for name in unknown:
        with pytest.raises(ArgumentError, match="one of conv2d_forward"):
            find_op(name)


def test_a_missing_backend_says_why(monkeypatch):
    monkeypatch.setitem(BACKENDS, "numba", "fastscratch.kernels.nowhere")
    assert backend_reason("numba").startswith("No module named 'fastscratch.kernels.nowhere'")
    assert "pip install numba" in backend_reason("numba")
    with pytest.raises(BackendUnavailableError, match="'numba' is not available: No module"):
        Implementation("im2col", "numba", "fastscratch.kernels.nowhere.im2col").load()


def mine(x, weight, bias, y, num_threads):
    y[...] = x @ weight + bias


@pytest.fixture
def clean():
    yield
    remove_implementation("dense_forward", "mine")
    assert [entry.name for entry in OPS["dense_forward"].implementations] == list(BACKENDS)


@pytest.mark.usefixtures("clean")
def test_a_kernel_from_outside_stands_behind_the_reference():
    added = add_implementation("dense_forward", mine, "mine")
    assert OPS["dense_forward"].implementations[-1] is added
    assert added.load() is mine
    again = add_implementation("dense_forward", mine, "mine")
    assert [e for e in OPS["dense_forward"].implementations if e.name == "mine"] == [again]


@pytest.mark.parametrize("name", ["numpy", "cython", "numba:direct", "", None, 3])
def test_a_built_in_name_cannot_be_taken(name):
    with pytest.raises(ArgumentError, match="name must be a text of your own"):
        add_implementation("dense_forward", mine, name)


def test_a_built_in_one_cannot_be_removed():
    remove_implementation("dense_forward", "numpy")
    assert OPS["dense_forward"].implementations[-1].name == "numpy"


def test_a_kernel_that_takes_other_arguments_is_refused():
    with pytest.raises(ArgumentError, match=r"takes \(x, y\), expected dense_forward\(x, weight"):
        add_implementation("dense_forward", lambda x, y: None, "mine")
    with pytest.raises(ArgumentError, match="must be callable"):
        add_implementation("dense_forward", "mine", "mine")  # type: ignore[arg-type]


@pytest.mark.usefixtures("clean")
def test_a_kernel_of_another_contract_is_refused():
    def function(x, weight, bias, y, num_threads): ...

    other: Any = function
    other.kernel_abi = catalogue.KERNEL_ABI + 1
    with pytest.raises(ArgumentError, match="written for kernel contract 2, this is 1"):
        add_implementation("dense_forward", other, "mine")
    other.kernel_abi = catalogue.KERNEL_ABI
    add_implementation("dense_forward", other, "mine")
