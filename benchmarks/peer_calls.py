"""The same computation in other libraries, as calls that a worker can time.

Each function takes the written form of a problem and returns a call with all inside that the
library does at every step, a fresh output among it; or raises NotImplementedError with the reason
why the library cannot do it. Beside the catalogue's operations there is ``conv2d_training``:
forward and both gradients, as the small libraries have none on its own.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.suite.calls import Call
from fastscratch.kernels.problem import DenseProblem, WindowProblem, parse_problem
from fastscratch.testing.inputs import make_inputs

TRAINING = "conv2d_training"
GRADIENTS_TOGETHER = "has no such gradient on its own: see conv2d_training"

Arrays = dict[str, Any]

_open: list[ExitStack] = []


def read(text: str) -> tuple[str, Any, Arrays]:
    """The operation, its problem, and random inputs; those of training are of all three kernels."""
    op, _, rest = text.partition(":")
    if op != TRAINING:
        problem = parse_problem(text)
        return op, problem, make_inputs(problem)
    forward = parse_problem(f"conv2d_forward:{rest}")
    arrays = make_inputs(replace(forward, op="conv2d_backward_weight")) | make_inputs(forward)
    return op, forward, arrays


def fastscratch(text: str, num_threads: int, backend: str) -> Call:
    import fastscratch as fs
    from fastscratch.dispatch.machine import blas_threads
    from fastscratch.ops.explain import call_of

    op, problem, arrays = read(text)
    blocks = ExitStack()
    for block in (fs.use_backend(backend), fs.threads(num_threads), blas_threads(num_threads)):
        blocks.enter_context(block)
    _open.append(blocks)  # for as long as the process lives
    if op != TRAINING:
        return call_of(problem, arrays)
    calls = [
        call_of(replace(problem, op=f"conv2d_{part}"), arrays)
        for part in ("forward", "backward_input", "backward_weight")
    ]
    return lambda: [call() for call in calls]


def torch(text: str, num_threads: int) -> Call:
    import torch

    from benchmarks.compare import torch_call

    op, problem, arrays = read(text)
    if op == TRAINING:
        torch.set_num_threads(num_threads)
        t = {name: torch.from_numpy(array) for name, array in arrays.items()}
        pad = symmetric(problem)
        forward = torch_call(problem, arrays, num_threads)

        def both() -> Any:
            y = forward()
            return y, torch.ops.aten.convolution_backward(
                t["dout"], t["x"], t["weight"], [problem.OC], problem.stride, pad,
                problem.dilation, False, [0, 0], problem.groups, [True, True, True],
            )  # fmt: skip

        return both
    call: Call | None = torch_call(problem, arrays, num_threads)
    if call is None:
        raise NotImplementedError("has no such function")
    return call


def onnxruntime(text: str, num_threads: int) -> Call:
    """Its weights are constants of the graph, which it packs ahead of the calls."""
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    op, problem, arrays = read(text)
    if not op.endswith("forward"):
        raise NotImplementedError("computes no gradients")
    outputs, inputs, constants, attributes = ["y"], ["x"], [], {}
    if isinstance(problem, DenseProblem):
        kind, constants = "Gemm", ["weight", "bias"]
    else:
        top, bottom, left, right = problem.padding
        attributes = {
            "kernel_shape": problem.kernel_size, "strides": problem.stride,
            "pads": (top, left, bottom, right),
        }  # fmt: skip
        if "conv2d" in op:
            kind, constants = "Conv", ["weight", "bias"]
            attributes |= {"dilations": problem.dilation, "group": problem.groups}
        elif op.startswith("max"):
            kind, outputs = "MaxPool", ["y", "indices"]
        else:
            kind = "AveragePool"
            attributes["count_include_pad"] = int(problem.count_include_pad)
    element = onnx.TensorProto.FLOAT
    node = helper.make_node(kind, inputs + constants, outputs, **attributes)
    types = {"y": element, "indices": onnx.TensorProto.INT64}
    graph = helper.make_graph(
        [node], "one",
        [helper.make_tensor_value_info("x", element, arrays["x"].shape)],
        [helper.make_tensor_value_info(name, types[name], None) for name in outputs],
        [numpy_helper.from_array(arrays[name], name) for name in constants],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = {"x": arrays["x"]}
    return lambda: session.run(None, feed)


def jax(text: str, num_threads: int) -> Call:
    """Compiled by XLA; it uses the processors that the process may, so it is given as many."""
    op, problem, arrays = read(text)
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, processors[:num_threads])
    import jax
    from jax import lax

    given = {name: jax.numpy.asarray(array) for name, array in arrays.items()}
    if isinstance(problem, DenseProblem):
        functions: dict[str, Callable[[Any], Any]] = {
            "dense_forward": lambda a: a["x"] @ a["weight"] + a["bias"],
            "dense_backward_input": lambda a: a["dout"] @ a["weight"].T,
            "dense_backward_weight": lambda a: (a["x"].T @ a["dout"], a["dout"].sum(0)),
        }
        return _jitted(jax, functions[op], given)
    p: WindowProblem = problem
    pads = (p.padding[:2], p.padding[2:])

    def conv(x: Any, weight: Any) -> Any:
        return lax.conv_general_dilated(
            x, weight, p.stride, pads, rhs_dilation=p.dilation, feature_group_count=p.groups
        )

    def pool(x: Any) -> Any:
        window, stride = (1, 1, *p.kernel_size), (1, 1, *p.stride)
        around = ((0, 0), (0, 0), *pads)
        if op.startswith("max"):
            return lax.reduce_window(x, -np.inf, lax.max, window, stride, around)
        area = p.kernel_size[0] * p.kernel_size[1]
        return lax.reduce_window(x, 0.0, lax.add, window, stride, around) / area

    like = jax.numpy.zeros((p.N, p.C, p.H, p.W), np.float32)
    if "pool2d" in op:
        if op.endswith("forward"):
            return _jitted(jax, lambda a: pool(a["x"]), given)
        if op.startswith("max"):
            given["x"] = jax.numpy.asarray(
                np.random.default_rng(0).standard_normal(like.shape).astype(np.float32)
            )
            return _jitted(jax, lambda a: jax.vjp(pool, a["x"])[1](a["dout"]), given)
        return _jitted(jax, lambda a: jax.linear_transpose(pool, like)(a["dout"]), given)
    shape = (p.OC, p.C // p.groups, *p.kernel_size)
    weight = given.get("weight", jax.numpy.zeros(shape, np.float32))
    functions = {
        "conv2d_forward": lambda a: conv(a["x"], a["weight"]) + a["bias"][:, None, None],
        "conv2d_backward_input": lambda a: jax.linear_transpose(
            lambda x: conv(x, a["weight"]), like
        )(a["dout"]),
        "conv2d_backward_weight": lambda a: (
            jax.linear_transpose(lambda w: conv(a["x"], w), weight)(a["dout"]),
            a["dout"].sum((0, 2, 3)),
        ),
        TRAINING: lambda a: (
            conv(a["x"], a["weight"]) + a["bias"][:, None, None],
            jax.vjp(conv, a["x"], a["weight"])[1](a["dout"]),
            a["dout"].sum((0, 2, 3)),
        ),
    }
    return _jitted(jax, functions[op], given)


def _jitted(jax: Any, function: Callable[[Any], Any], given: Arrays) -> Call:
    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(given))


def pydynet(text: str, num_threads: int) -> Call:
    import pydynet
    from pydynet.nn import functional as F

    op, problem, arrays = read(text)
    if op.endswith(("backward", "backward_input", "backward_weight")):
        raise NotImplementedError(GRADIENTS_TOGETHER)
    training = op == TRAINING
    tensors = {
        name: pydynet.Tensor(array, dtype=np.float32, requires_grad=training and name != "dout")
        for name, array in arrays.items()
    }
    t = tensors
    if isinstance(problem, DenseProblem):
        return lambda: F.linear(t["x"], t["weight"], t["bias"])
    square(problem)
    plain(problem)
    pad, stride = symmetric(problem)[0], problem.stride[0]
    if "pool2d" in op:
        pool = F.max_pool2d if op.startswith("max") else F.avg_pool2d
        return lambda: pool(t["x"], problem.kernel_size[0], stride, pad)
    bias = t["bias"].reshape(1, -1, 1, 1)

    def forward() -> Any:
        return F.conv2d(t["x"], t["weight"], pad, stride) + bias

    if not training:
        return forward
    # Its backward pass starts from a number: the sum of y*dout has dout for its gradient.
    return lambda: (forward() * t["dout"]).sum().backward()


def neuralnetlib(text: str, num_threads: int) -> Call:
    """NHWC, in float64 inside."""
    from neuralnetlib import layers

    op, problem, arrays = read(text)
    if isinstance(problem, DenseProblem):
        if op != "dense_forward":
            raise NotImplementedError("has no such gradient on its own")
        dense = layers.Dense(problem.out_features)
        dense.forward_pass(arrays["x"])
        return lambda: dense.forward_pass(arrays["x"])
    if op.endswith(("backward_input", "backward_weight")):
        raise NotImplementedError(GRADIENTS_TOGETHER)
    plain(problem)
    (kh, kw), (top, *_) = problem.kernel_size, problem.padding
    same = top == kh // 2 and problem.stride == (1, 1) and kh % 2 == kw % 2 == 1
    if any(problem.padding) and not same:
        raise NotImplementedError('pads "same" or not at all')
    padding = "same" if any(problem.padding) else "valid"
    images = {
        name: np.ascontiguousarray(array.transpose(0, 2, 3, 1))
        for name, array in arrays.items() if array.ndim == 4 and name != "weight"
    }  # fmt: skip
    if "pool2d" in op:
        kind = layers.MaxPooling2D if op.startswith("max") else layers.AveragePooling2D
        pool = kind(problem.kernel_size, problem.stride, padding)
        if op.endswith("forward"):
            return lambda: pool.forward_pass(images["x"])
        shape = (problem.N, problem.H, problem.W, problem.C)
        pool.forward_pass(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
        return lambda: pool.backward_pass(images["dout"])
    conv = layers.Conv2D(problem.OC, problem.kernel_size, problem.stride, padding)
    conv.forward_pass(images["x"])
    if op != TRAINING:
        return lambda: conv.forward_pass(images["x"])
    return lambda: (conv.forward_pass(images["x"]), conv.backward_pass(images["dout"]))


def newton_vision(text: str, num_threads: int) -> Call:
    from newton_vision import _core

    op, problem, arrays = read(text)
    if isinstance(problem, DenseProblem):
        if op != "dense_forward":
            raise NotImplementedError("has no such gradient on its own")
        from newton_vision.layers import Linear

        dense = Linear(problem.in_features, problem.out_features)
        dense.w.requires_grad = dense.bias.requires_grad = False
        return lambda: dense(arrays["x"])
    p: WindowProblem = problem
    square(p)
    k, stride, pad = p.kernel_size[0], p.stride[0], symmetric(p)[0]
    if "pool2d" in op:
        if pad:
            raise NotImplementedError("pools without padding only")
        if op == "max_pool2d_forward":
            return lambda: _core.maxpool2d(arrays["x"], k, stride, False)
        if op == "max_pool2d_backward":
            shape = (p.N, p.C, p.H, p.W)
            x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
            return lambda: _core.maxpool2d_backward(arrays["dout"], x, k, stride)
        raise NotImplementedError("its average pooling is of whole images")
    if op in ("conv2d_backward_input", "conv2d_backward_weight"):
        raise NotImplementedError(GRADIENTS_TOGETHER)
    settings = (stride, pad, p.dilation[0], p.groups)
    x, weight, bias = (arrays[name] for name in ("x", "weight", "bias"))

    def forward() -> Any:
        return _core.conv2d(x, weight, bias, *settings, False)

    if op != TRAINING:
        return forward
    dout = arrays["dout"]
    return lambda: (forward(), _core.conv2d_backward(dout, x, weight, True, *settings))


def symmetric(problem: WindowProblem) -> tuple[int, int]:
    top, bottom, left, right = problem.padding
    if top != bottom or left != right:
        raise NotImplementedError("pads both sides alike")
    return top, left


def square(problem: WindowProblem) -> None:
    pairs = (problem.kernel_size, problem.stride, problem.dilation, symmetric(problem))
    if any(first != second for first, second in pairs):
        raise NotImplementedError("has square windows only")


def plain(problem: WindowProblem) -> None:
    if problem.dilation != (1, 1):
        raise NotImplementedError("has no dilation")
    if problem.groups != 1:
        raise NotImplementedError("has no groups")
