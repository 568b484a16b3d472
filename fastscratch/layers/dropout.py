"""Dropout: random zeros while training."""

import numpy as np

from fastscratch import ops
from fastscratch.arguments import as_number
from fastscratch.errors import ArgumentError
from fastscratch.layers.base import Layer
from fastscratch.layers.parameter import Buffer
from fastscratch.layers.registry import register_layer
from fastscratch.layers.shapes import Shape
from fastscratch.layers.streams import step_key
from fastscratch.types import Array


@register_layer
class Dropout(Layer):
    """Zeroes a share of the elements while training and divides the rest by the share kept.

    So the expected output is the input, and prediction changes nothing. The mask depends on the
    network's seed, the layer's path, the number of the training step and the element's index, on
    nothing else; the step is a Buffer, so that a run that is resumed draws on where it stopped.

    Source: Srivastava et al., "Dropout", 2014; the division while training is section 10's.

    Parameters
    ----------
    ratio : float
        The share that is zeroed, in [0, 1).
    backend : str, optional
        Which implementation to prefer.

    Attributes
    ----------
    step : Buffer of int64, shape ()
        Training steps so far.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Dropout(0.5)
    >>> x = np.ones((1, 1000), np.float32)
    >>> np.unique(layer.forward(x, training=True))
    array([0., 2.], dtype=float32)
    >>> bool((layer.forward(x) == x).all())
    True
    """

    step: Buffer

    def __init__(self, ratio: float = 0.5, *, backend: str | None = None) -> None:
        super().__init__(backend=backend)
        if not 0 <= as_number(ratio, "Dropout: ratio") < 1:
            raise ArgumentError(f"Dropout: ratio must be in [0, 1), got {ratio!r}")
        self.ratio = ratio

    @property
    def draws(self) -> bool:
        """Whether there is anything to drop."""
        return self.ratio > 0

    def _build(self, input_shape: Shape) -> Shape:
        self.step = self.add_buffer("step", np.zeros((), np.int64))
        return input_shape

    def _forward(self, x: Array, training: bool) -> Array:
        if not training:
            return x
        self._saved = self._key()
        self.step.value += 1
        return ops.dropout_forward(x, self._saved, ratio=self.ratio)

    def _backward(self, dout: Array) -> Array:
        return ops.dropout_backward(dout, self._saved, ratio=self.ratio)

    def _key(self) -> Array:
        """Another one for each layer of a network, and for each step."""
        assert self.seed is not None
        return step_key(self.seed, self._dotted("mask"), int(self.step.value))
