"""Which implementation a call would run, without making it."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fastscratch.dispatch.explain import Explanation, explain_problem
from fastscratch.errors import ArgumentError
from fastscratch.kernels.catalogue import find_op
from fastscratch.kernels.problem import (
    Problem,
    RegionsProblem,
    WindowProblem,
    parse_problem,
)
from fastscratch.ops import (
    activations,
    batch_norm,
    conv2d,
    conv2d_pool,
    dense,
    dropout,
    fractional_pool2d,
    im2col,
    losses,
    optimizers,
    pool2d,
    rectifiers,
)
from fastscratch.ops.plan import as_input

PROBLEMS: dict[str, tuple[Callable[..., Any], Callable[..., Problem]]] = {
    "conv2d_forward": (conv2d.conv2d_forward, conv2d.forward_problem),
    "conv2d_backward_input": (conv2d.conv2d_backward_input, conv2d.backward_input_problem),
    "conv2d_backward_weight": (conv2d.conv2d_backward_weight, conv2d.backward_weight_problem),
    "conv2d_relu_max_pool2d_forward": (
        conv2d_pool.conv2d_relu_max_pool2d_forward,
        conv2d_pool.pool_forward_problem,
    ),
    "conv2d_relu_max_pool2d_backward_weight": (
        conv2d_pool.conv2d_relu_max_pool2d_backward_weight,
        conv2d_pool.pool_backward_problem,
    ),
    "max_pool2d_forward": (pool2d.max_pool2d_forward, pool2d.max_forward_problem),
    "max_pool2d_backward": (pool2d.max_pool2d_backward, pool2d.max_backward_problem),
    "avg_pool2d_forward": (pool2d.avg_pool2d_forward, pool2d.avg_forward_problem),
    "avg_pool2d_backward": (pool2d.avg_pool2d_backward, pool2d.avg_backward_problem),
    "dense_forward": (dense.dense_forward, dense.forward_problem),
    "dense_backward_input": (dense.dense_backward_input, dense.backward_input_problem),
    "dense_backward_weight": (dense.dense_backward_weight, dense.backward_weight_problem),
    "im2col": (im2col.im2col, im2col.im2col_problem),
    "col2im": (im2col.col2im, im2col.col2im_problem),
    **{op: (getattr(activations, op), problem) for op, problem in activations.PROBLEMS.items()},
    "leaky_relu_forward": (rectifiers.leaky_relu_forward, rectifiers.leaky_problem),
    "leaky_relu_backward": (rectifiers.leaky_relu_backward, rectifiers.leaky_backward_problem),
    "elu_forward": (rectifiers.elu_forward, rectifiers.elu_problem),
    "elu_backward": (rectifiers.elu_backward, rectifiers.elu_backward_problem),
    "prelu_forward": (rectifiers.prelu_forward, rectifiers.prelu_problem),
    "prelu_backward": (rectifiers.prelu_backward, rectifiers.prelu_backward_problem),
    "fractional_max_pool2d_forward": (
        fractional_pool2d.fractional_max_pool2d_forward,
        fractional_pool2d.forward_problem,
    ),
    "fractional_max_pool2d_backward": (
        fractional_pool2d.fractional_max_pool2d_backward,
        fractional_pool2d.backward_problem,
    ),
    "softmax_cross_entropy_forward": (
        losses.softmax_cross_entropy_forward,
        losses.forward_problem,
    ),
    "softmax_cross_entropy_backward": (
        losses.softmax_cross_entropy_backward,
        losses.backward_problem,
    ),
    "sgd_update": (optimizers.sgd_update, optimizers.sgd_problem),
    "momentum_update": (optimizers.momentum_update, optimizers.momentum_problem),
    "nesterov_update": (optimizers.nesterov_update, optimizers.nesterov_problem),
    "adagrad_update": (optimizers.adagrad_update, optimizers.adagrad_problem),
    "rmsprop_update": (optimizers.rmsprop_update, optimizers.rmsprop_problem),
    "adam_update": (optimizers.adam_update, optimizers.adam_problem),
    "squared_norm": (optimizers.squared_norm, optimizers.norm_problem),
    "batch_norm_forward": (batch_norm.batch_norm_forward, batch_norm.forward_problem),
    "batch_norm_inference": (batch_norm.batch_norm_inference, batch_norm.inference_problem),
    "batch_norm_backward": (batch_norm.batch_norm_backward, batch_norm.backward_problem),
    "batch_norm_relu_forward": (
        batch_norm.batch_norm_relu_forward,
        batch_norm.relu_forward_problem,
    ),
    "batch_norm_relu_backward": (
        batch_norm.batch_norm_relu_backward,
        batch_norm.relu_backward_problem,
    ),
    "dropout_forward": (dropout.dropout_forward, dropout.forward_problem),
    "dropout_backward": (dropout.dropout_backward, dropout.backward_problem),
}
"""For each operation its public function, and the function that turns a call into a problem."""


def problem_of(op: str | Callable[..., Any], *arguments: Any, **options: Any) -> Problem:
    """The problem that a call poses: ``problem_of("im2col", x, 3, stride=2)``.

    Parameters
    ----------
    op : str or callable
        The operation's name, or its public function.
    *arguments, **options
        As they would be given to the public function.

    Returns
    -------
    Problem

    Raises
    ------
    ArgumentError, ShapeError, DtypeError
        As the call would.

    Examples
    --------
    >>> import numpy as np
    >>> str(problem_of("max_pool2d_forward", np.ones((1, 2, 4, 4), np.float32), 2))
    'max_pool2d_forward:f32:n1c2h4w4:k2s2p0'
    """
    name = op if isinstance(op, str) else getattr(op, "__name__", repr(op))
    function, make_problem = PROBLEMS[find_op(name).name]
    try:
        bound = inspect.signature(function).bind(*arguments, **options)
    except TypeError as error:
        raise ArgumentError(f"{name}{inspect.signature(function)}: {error}") from None
    bound.apply_defaults()
    wanted = inspect.signature(make_problem).parameters
    arrays = find_op(name).array_names
    return make_problem(**{
        key: as_input(value, key, name) if key in arrays and value is not None else value
        for key, value in bound.arguments.items() if key in wanted
    })  # fmt: skip


def explain(op: str | Callable[..., Any], *arguments: Any, **options: Any) -> Explanation:
    """Tell which implementation a call would run, by which rule, and who else could.

    Parameters
    ----------
    op : str or callable
        The operation's name or its public function, followed by the arguments of the call; or,
        alone, a problem in its written form.
    *arguments, **options
        As they would be given to the public function, ``backend`` among them.

    Returns
    -------
    Explanation
        Its text is a short report.

    Raises
    ------
    ArgumentError, ShapeError, DtypeError, BackendUnavailableError
        As the call would.

    Examples
    --------
    >>> report = explain("dense_forward:f32:n100i784:o50", backend="numpy")
    >>> report.implementation, report.rule
    ('numpy', 'named by the call')
    """
    backend = options.get("backend")
    if isinstance(op, str) and ":" in op:
        if arguments or options.keys() - {"backend"}:
            raise ArgumentError("explain: a written problem takes no further arguments")
        return explain_problem(parse_problem(op), backend)
    return explain_problem(problem_of(op, *arguments, **options), backend)


def call_of(problem: Problem, arrays: dict[str, Any]) -> Callable[..., Any]:
    """The public call that poses a problem: the inverse of `problem_of`.

    Parameters
    ----------
    problem : Problem
        What to compute.
    arrays : dict of str to ndarray
        The operation's input arrays by name; others are left aside.

    Returns
    -------
    callable
        Takes what is left: ``backend`` and ``out``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastscratch.kernels.problem import parse_problem
    >>> call = call_of(parse_problem("im2col:f64:n1c1h3w3:k2s1p0"), {"x": np.ones((1, 1, 3, 3))})
    >>> call(backend="numpy").shape
    (4, 4)
    """
    function, _ = PROBLEMS[problem.op]
    arguments: dict[str, Any] = {}
    for name in inspect.signature(function).parameters:
        if name in ("eps", "ratio", "alpha") and name in arrays:
            arguments[name] = arrays[name].item()
        elif name in arrays and name != "out":
            arguments[name] = arrays[name]
        elif name == "input_shape" and isinstance(problem, WindowProblem | RegionsProblem):
            arguments[name] = (problem.N, problem.C, problem.H, problem.W)
        elif hasattr(problem, name):
            arguments[name] = getattr(problem, name)
    return functools.partial(function, **arguments)
