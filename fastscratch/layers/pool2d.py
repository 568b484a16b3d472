"""Pooling layers: maximum, average, and the average of the whole image."""

from typing import Any

from fastscratch import ops
from fastscratch.kernels.geometry import as_pair
from fastscratch.layers.base import Layer
from fastscratch.layers.registry import register_layer
from fastscratch.layers.shapes import Shape, blank, hashable, image_shape
from fastscratch.ops.pool2d import avg_forward_problem, max_forward_problem
from fastscratch.types import Array, IntOrPair, PaddingLike, Rounding


@register_layer
class MaxPool2d(Layer):
    """The largest element of each window; a tie, and a NaN, go to the first in row-major order.

    Parameters
    ----------
    kernel_size : int or (KH, KW)
        Size of the window.
    stride : int or pair, optional
        Step of the window; its size if None.
    padding : int, pair, (top, bottom, left, right), "same" or "valid"
        Minus infinity around the image: padding is never the largest.
    dilation : int or pair
        Distance of the window's elements.
    rounding : {"exact", "floor", "ceil"}
        What a window that leaves a remainder does: an error, one window fewer, one more.
    backend : str, optional
        Which implementation to prefer.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> MaxPool2d(2).forward(x)
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    """

    def __init__(
        self,
        kernel_size: IntOrPair,
        *,
        stride: IntOrPair | None = None,
        padding: PaddingLike = 0,
        dilation: IntOrPair = 1,
        rounding: Rounding = "exact",
        backend: str | None = None,
    ) -> None:
        super().__init__(backend=backend)
        self.kernel_size = as_pair(kernel_size, "kernel_size", "max_pool2d")
        self.stride = (
            self.kernel_size if stride is None else as_pair(stride, "stride", "max_pool2d")
        )
        self.padding = hashable(padding)
        self.dilation = as_pair(dilation, "dilation", "max_pool2d")
        self.rounding: Rounding = rounding

    def _build(self, input_shape: Shape) -> Shape:
        channels = image_shape(input_shape)[0]
        x = blank((1, *input_shape), self.dtype)
        return (channels, *max_forward_problem(x, self.kernel_size, **self._window()).outputs)

    def _window(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "rounding": self.rounding,
        }

    def _forward(self, x: Array, training: bool) -> Array:
        y, argmax = ops.max_pool2d_forward(x, self.kernel_size, **self._window())
        if training:
            self._saved = (argmax, x.shape)
        return y

    def _backward(self, dout: Array) -> Array:
        argmax, input_shape = self._saved
        return ops.max_pool2d_backward(
            dout, argmax, input_shape, self.kernel_size, **self._window()
        )


@register_layer
class AvgPool2d(Layer):
    """The mean of each window.

    Parameters
    ----------
    kernel_size : int or (KH, KW)
        Size of the window.
    stride : int or pair, optional
        Step of the window; its size if None.
    padding : int, pair, (top, bottom, left, right), "same" or "valid"
        Zeros around the image.
    rounding : {"exact", "floor", "ceil"}
        What a window that leaves a remainder does: an error, one window fewer, one more.
    count_include_pad : bool
        Whether the zeros of the padding count in the mean.
    backend : str, optional
        Which implementation to prefer.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> AvgPool2d(2).forward(x)
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    """

    def __init__(
        self,
        kernel_size: IntOrPair,
        *,
        stride: IntOrPair | None = None,
        padding: PaddingLike = 0,
        rounding: Rounding = "exact",
        count_include_pad: bool = True,
        backend: str | None = None,
    ) -> None:
        super().__init__(backend=backend)
        self.kernel_size = as_pair(kernel_size, "kernel_size", "avg_pool2d")
        self.stride = (
            self.kernel_size if stride is None else as_pair(stride, "stride", "avg_pool2d")
        )
        self.padding = hashable(padding)
        self.rounding: Rounding = rounding
        self.count_include_pad = count_include_pad

    def _build(self, input_shape: Shape) -> Shape:
        channels = image_shape(input_shape)[0]
        x = blank((1, *input_shape), self.dtype)
        return (channels, *avg_forward_problem(x, self.kernel_size, **self._window()).outputs)

    def _window(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "rounding": self.rounding,
            "count_include_pad": self.count_include_pad,
        }

    def _forward(self, x: Array, training: bool) -> Array:
        if training:
            self._saved = x.shape
        return ops.avg_pool2d_forward(x, self.kernel_size, **self._window())

    def _backward(self, dout: Array) -> Array:
        return ops.avg_pool2d_backward(dout, self._saved, self.kernel_size, **self._window())


@register_layer
class GlobalAvgPool2d(Layer):
    """The mean of each channel: (N, C, H, W) becomes (N, C), ready for a dense layer.

    Examples
    --------
    >>> import numpy as np
    >>> GlobalAvgPool2d().forward(np.ones((2, 8, 4, 4), np.float32)).shape
    (2, 8)
    """

    def _build(self, input_shape: Shape) -> Shape:
        return (image_shape(input_shape)[0],)

    def _forward(self, x: Array, training: bool) -> Array:
        if training:
            self._saved = x.shape
        return ops.avg_pool2d_forward(x, x.shape[2:]).reshape(x.shape[:2])

    def _backward(self, dout: Array) -> Array:
        shape = self._saved
        return ops.avg_pool2d_backward(dout.reshape(*dout.shape, 1, 1), shape, shape[2:])
