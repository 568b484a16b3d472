"""Cross-entropy between class numbers and the softmax of scores: each worker its share of rows."""

import math

from fastscratch.kernels.numba_jit.compile import In, Labels, Out, driver, usable_workers
from fastscratch.kernels.numba_jit.elementary import falling_exp, larger
from fastscratch.kernels.numba_jit.lines import get, put
from fastscratch.types import Array


def softmax_cross_entropy_forward(
    scores: Array, labels: Array, probabilities: Array, losses: Array, num_threads: int
) -> None:
    """probabilities = softmax(scores), losses[n] = -log(probabilities[n, labels[n]])."""
    workers = usable_workers(num_threads, 8 * scores.size)
    softmax(workers, scores, labels, probabilities, losses, *scores.shape)


def softmax_cross_entropy_backward(
    probabilities: Array, labels: Array, dscores: Array, num_threads: int
) -> None:
    """dscores = (probabilities - 1 at the label)/N: the gradient of the mean loss."""
    workers = usable_workers(num_threads, dscores.size)
    slope(workers, probabilities, labels, dscores, *dscores.shape)


@driver
def softmax(
    worker: int, workers: int, scores: In, labels: Labels, probabilities: Out, losses: Out,
    N: int, C: int,
) -> None:  # fmt: skip
    """A task is a row. A label that is no class makes its loss NaN."""
    for n in range(N * worker // workers, N * (worker + 1) // workers):
        row = n * C
        largest = get(scores, row)
        for c in range(1, C):
            largest = larger(largest, get(scores, row + c))
        total = 0.0
        for c in range(C):
            put(probabilities, row + c, falling_exp(get(scores, row + c) - largest))
        for c in range(C):
            total += get(probabilities, row + c)
        divisor = scores.dtype.type(total)
        for c in range(C):
            put(probabilities, row + c, get(probabilities, row + c) / divisor)
        label = int(get(labels, n))
        if 0 <= label < C:
            put(losses, n, math.log(total) - (get(scores, row + label) - largest))
        else:
            put(losses, n, math.nan)


@driver
def slope(
    worker: int, workers: int, probabilities: In, labels: Labels, dscores: Out, N: int, C: int
) -> None:
    """A task is a row."""
    one, size = dscores.dtype.type(1), dscores.dtype.type(N)
    for n in range(N * worker // workers, N * (worker + 1) // workers):
        for c in range(n * C, (n + 1) * C):
            put(dscores, c, get(probabilities, c) / size)
        label = int(get(labels, n))
        if 0 <= label < C:
            own = n * C + label
            put(dscores, own, (get(probabilities, own) - one) / size)
