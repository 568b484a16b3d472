"""Perceptrons: weighted sums and a threshold, and the logic gates made of them."""

from collections.abc import Callable, Sequence

from fastscratch.errors import ShapeError


class Perceptron:
    """1 where ``bias + sum(weights*inputs) > 0``, else 0.

    Source: F. Rosenblatt, "The perceptron", 1958; K. Saitoh, "Deep Learning from Scratch", 2016,
    chapter 2. A threshold is a bias of the other sign: `from_threshold`.

    Parameters
    ----------
    weights : sequence of float
    bias : float

    Examples
    --------
    >>> gate = Perceptron((0.5, 0.5), bias=-0.7)
    >>> [gate(*inputs) for inputs in ((0, 0), (1, 0), (0, 1), (1, 1))]
    [0, 0, 0, 1]
    """

    def __init__(self, weights: Sequence[float], bias: float) -> None:
        self.weights = tuple(weights)
        self.bias = bias

    @classmethod
    def from_threshold(cls, weights: Sequence[float], threshold: float) -> "Perceptron":
        """1 where ``sum(weights*inputs) > threshold``.

        Examples
        --------
        >>> Perceptron.from_threshold((0.5, 0.5), 0.7).bias
        -0.7
        """
        return cls(weights, -threshold)

    def __call__(self, *inputs: float) -> int:
        """The output for one value of each input."""
        if len(inputs) != len(self.weights):
            raise ShapeError(f"a perceptron of {len(self.weights)} inputs got {len(inputs)}")
        total = self.bias + sum(w * x for w, x in zip(self.weights, inputs, strict=True))
        return int(total > 0)


and_gate = Perceptron((0.5, 0.5), -0.7)
nand_gate = Perceptron((-0.5, -0.5), 0.7)
or_gate = Perceptron((0.5, 0.5), -0.2)


def xor_gate(x1: float, x2: float) -> int:
    """Exclusive or: no line separates its ones from its zeros, two layers of gates do.

    Examples
    --------
    >>> [xor_gate(*inputs) for inputs in ((0, 0), (1, 0), (0, 1), (1, 1))]
    [0, 1, 1, 0]
    """
    return and_gate(nand_gate(x1, x2), or_gate(x1, x2))


GATES: dict[str, Callable[..., int]] = {
    "AND": and_gate,
    "NAND": nand_gate,
    "OR": or_gate,
    "XOR": xor_gate,
}
"""The gates by name."""

INPUTS = ((0, 0), (1, 0), (0, 1), (1, 1))
"""The rows of a truth table."""
