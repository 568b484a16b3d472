"""DropConnect: a dense layer that loses a share of its weights at each training step."""

import numpy as np

from fastscratch import ops
from fastscratch.arguments import as_number
from fastscratch.errors import ArgumentError
from fastscratch.initializers import InitializerLike
from fastscratch.layers.dense import Dense
from fastscratch.layers.parameter import Buffer
from fastscratch.layers.registry import register_layer
from fastscratch.layers.shapes import Shape
from fastscratch.layers.streams import step_key
from fastscratch.types import Array


@register_layer
class DropConnect(Dense):
    """A dense layer whose weights are zeroed at random while training, where dropout zeroes inputs.

    The weights that are kept are divided by the share kept, so that prediction uses them all as
    they are. One mask is drawn for each training step and holds for the whole batch; it is a
    function of the seed, the path and the step, as dropout's is, and the same in every version.

    Source: Wan et al., "Regularization of neural networks using DropConnect", 2013. There each
    sample has a mask, and prediction samples from a normal distribution; here the mean is taken.

    Parameters
    ----------
    out_features : int
        Features of the output; those of the input are inferred.
    ratio : float
        The share of the weights that is zeroed, in [0, 1). Biases stay.
    bias, weight_init, bias_init, backend
        As for `Dense`.

    Attributes
    ----------
    step : Buffer of int64, shape ()
        Training steps so far.

    Examples
    --------
    >>> layer = DropConnect(1, 0.5, weight_init="constant")
    >>> x = np.ones((2, 1000), np.float32)
    >>> layer.forward(x)[:, 0]
    array([1000., 1000.], dtype=float32)
    >>> y = layer.forward(x, training=True)[:, 0]
    >>> bool(y[0] == y[1]), bool(900 < y[0] < 1100)
    (True, True)
    """

    step: Buffer

    def __init__(
        self,
        out_features: int,
        ratio: float = 0.5,
        *,
        bias: bool = True,
        weight_init: InitializerLike = "he_normal",
        bias_init: InitializerLike = "zeros",
        backend: str | None = None,
    ) -> None:
        super().__init__(
            out_features, bias=bias, weight_init=weight_init, bias_init=bias_init, backend=backend
        )
        if not 0 <= as_number(ratio, "DropConnect: ratio") < 1:
            raise ArgumentError(f"DropConnect: ratio must be in [0, 1), got {ratio!r}")
        self.ratio = ratio

    @property
    def draws(self) -> bool:
        """Whether there is anything to drop."""
        return self.ratio > 0

    def _build(self, input_shape: Shape) -> Shape:
        output_shape = super()._build(input_shape)
        self.step = self.add_buffer("step", np.zeros((), np.int64))
        return output_shape

    def _forward(self, x: Array, training: bool) -> Array:
        if not training:
            return super()._forward(x, training)
        assert self.seed is not None
        key = step_key(self.seed, self._dotted("mask"), int(self.step.value))
        self.step.value += 1
        kept = ops.dropout_forward(self.weight.value, key, ratio=self.ratio)
        self._saved = (x, kept, key)
        return ops.dense_forward(x, kept, None if self.bias is None else self.bias.value)

    def _backward(self, dout: Array) -> Array:
        self._backward_parameters(dout)
        return ops.dense_backward_input(dout, self._saved[1])

    def _backward_parameters(self, dout: Array) -> None:
        x, _, key = self._saved
        bias_out = None if self.bias is None else self.bias.grad
        of_kept = ops.dense_backward_weight(dout, x, bias_out=bias_out)
        ops.dropout_backward(of_kept, key, ratio=self.ratio, out=self.weight.grad)
