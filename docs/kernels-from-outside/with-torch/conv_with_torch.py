"""PyTorch's convolution as a kernel: a library that is installed, called on NumPy's memory."""

import warnings

import numpy as np

import fastscratch
from fastscratch.kernels.problem import Problem, WindowProblem

Pair = tuple[int, int]


def _tensor(array: np.ndarray):
    import torch  # slow to import: only once the kernel runs

    with warnings.catch_warnings():
        # Inputs may be read-only; nothing below writes to them.
        warnings.filterwarnings("ignore", "The given NumPy array is not writ", UserWarning)
        return torch.from_numpy(array)


def supports(problem: Problem) -> bool:
    """Padding that is the same on opposite sides, and at least one image."""
    assert isinstance(problem, WindowProblem)
    top, bottom, left, right = problem.padding
    return top == bottom and left == right and problem.N > 0 and problem.rounding != "ceil"


def conv2d_forward(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, stride: Pair,
    padding: tuple[int, int, int, int], dilation: Pair, groups: int, num_threads: int,
) -> None:  # fmt: skip
    """Fill y with the convolution of x, on one thread whatever `num_threads` is."""
    import torch

    # On two threads it sums in another order in places, and a kernel's bits may not depend on that.
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    found = torch.nn.functional.conv2d(
        _tensor(x), _tensor(weight), _tensor(bias), stride, padding[::2], dilation, groups
    )
    np.copyto(y, found.numpy())


def register() -> None:
    """Called by fastscratch when it first needs a kernel."""
    fastscratch.register_kernel(
        "conv2d_forward", conv2d_forward, name="conv-with-torch", supports=supports
    )
