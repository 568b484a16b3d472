"""Nodes of a computational graph: two numbers or arrays in, one out, and the chain rule back."""

from typing import Any

from fastscratch.errors import TrainingError


class AddNode:
    """``z = x + y``: backward, the gradient passes to both as it is.

    Examples
    --------
    >>> node = AddNode()
    >>> node.forward(200.0, 450.0)
    650.0
    >>> node.backward(1.1)
    (1.1, 1.1)
    """

    def forward(self, x: Any, y: Any) -> Any:
        """The sum."""
        return x + y

    def backward(self, dout: Any) -> tuple[Any, Any]:
        """The gradients of x and of y."""
        return dout * 1, dout * 1


class MultiplyNode:
    """``z = x*y``: backward, each gets the gradient times the other.

    Examples
    --------
    Two apples at 100, and 10 % tax:

    >>> apples, tax = MultiplyNode(), MultiplyNode()
    >>> tax.forward(apples.forward(100, 2), 1.1)
    220.00000000000003
    >>> dprice, dtax = tax.backward(1)
    >>> apples.backward(dprice), dtax
    ((2.2, 110.00000000000001), 200)
    """

    _saved: tuple[Any, Any] | None = None

    def forward(self, x: Any, y: Any) -> Any:
        """The product; both factors are kept for `backward`."""
        self._saved = (x, y)
        return x * y

    def backward(self, dout: Any) -> tuple[Any, Any]:
        """The gradients of x and of y."""
        if self._saved is None:
            raise TrainingError("MultiplyNode: backward needs a forward before it")
        x, y = self._saved
        return dout * y, dout * x
