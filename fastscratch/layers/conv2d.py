"""The two-dimensional convolution layer (cross-correlation, as everywhere in this field)."""

from typing import Any

from fastscratch import ops
from fastscratch.arguments import as_count
from fastscratch.errors import ArgumentError
from fastscratch.initializers import InitializerLike
from fastscratch.kernels.geometry import as_pair
from fastscratch.layers.base import Layer
from fastscratch.layers.parameter import Parameter
from fastscratch.layers.registry import register_layer
from fastscratch.layers.shapes import Shape, blank, hashable, image_shape
from fastscratch.ops.conv2d import forward_problem
from fastscratch.types import Array, IntOrPair, PaddingLike, Rounding


@register_layer
class Conv2d(Layer):
    """Slides ``out_channels`` filters over images (N, C, H, W).

    Parameters
    ----------
    out_channels : int
        Number of filters; the input's channels are inferred.
    kernel_size : int or (KH, KW)
        Size of the filters.
    stride, dilation : int or pair
        Steps of the window, and distance of its elements.
    padding : int, pair, (top, bottom, left, right), "same" or "valid"
        Zeros around the image.
    groups : int
        Into how many groups the channels are split; the input's channels for a depthwise layer.
    bias : bool
        Whether a bias is added.
    rounding : {"exact", "floor", "ceil"}
        What a window that leaves a remainder does: an error, one window fewer, one more.
    weight_init, bias_init : str or Initializer
        First values, see `fastscratch.initializers`.
    backend : str, optional
        Which implementation to prefer.

    Attributes
    ----------
    weight : Parameter, shape (OC, C/groups, KH, KW)
    bias : Parameter, shape (OC,), or None

    Examples
    --------
    >>> import numpy as np
    >>> conv = Conv2d(30, 5)
    >>> conv.forward(np.ones((10, 1, 28, 28), np.float32)).shape
    (10, 30, 24, 24)
    """

    weight: Parameter

    def __init__(
        self,
        out_channels: int,
        kernel_size: IntOrPair,
        *,
        stride: IntOrPair = 1,
        padding: PaddingLike = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = True,
        rounding: Rounding = "exact",
        weight_init: InitializerLike = "he_normal",
        bias_init: InitializerLike = "zeros",
        backend: str | None = None,
    ) -> None:
        super().__init__(backend=backend)
        if as_count(out_channels, "Conv2d: out_channels") % as_count(groups, "Conv2d: groups"):
            raise ArgumentError(
                "Conv2d: out_channels must be a positive multiple of groups, got "
                f"out_channels={out_channels}, groups={groups}"
            )
        self.out_channels = out_channels
        self.kernel_size = as_pair(kernel_size, "kernel_size", "conv2d")
        self.stride = as_pair(stride, "stride", "conv2d")
        self.padding = hashable(padding)
        self.dilation = as_pair(dilation, "dilation", "conv2d")
        self.groups = groups
        self.use_bias = bias
        self.bias: Parameter | None = None
        self.rounding: Rounding = rounding
        self.weight_init = weight_init
        self.bias_init = bias_init

    def _build(self, input_shape: Shape) -> Shape:
        channels = image_shape(input_shape)[0]
        shape = (self.out_channels, channels // self.groups, *self.kernel_size)
        problem = forward_problem(
            blank((1, *input_shape), self.dtype), blank(shape, self.dtype), None, **self._window()
        )
        area = self.kernel_size[0] * self.kernel_size[1]
        fans = (shape[1] * area, self.out_channels // self.groups * area)
        self.weight = self.add_parameter("weight", shape, self.weight_init, fans=fans)
        if self.use_bias:
            self.bias = self.add_parameter(
                "bias", (self.out_channels,), self.bias_init, fans=fans, decay=False
            )
        return (self.out_channels, *problem.outputs)

    def _window(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "rounding": self.rounding,
        }

    def _forward(self, x: Array, training: bool) -> Array:
        if training:
            self._saved = x
        bias = None if self.bias is None else self.bias.value
        return ops.conv2d_forward(x, self.weight.value, bias, **self._window())

    def _backward(self, dout: Array) -> Array:
        self._backward_parameters(dout)
        return ops.conv2d_backward_input(
            dout, self.weight.value, self._saved.shape, **self._window()
        )

    def _backward_parameters(self, dout: Array) -> None:
        ops.conv2d_backward_weight(
            dout,
            self._saved,
            self.kernel_size,
            **self._window(),
            out=self.weight.grad,
            bias_out=None if self.bias is None else self.bias.grad,
        )

    def multiply_adds(self) -> int:
        """``OC*OH*OW * C/groups*KH*KW`` for one image."""
        assert self.output_shape is not None
        return self.weight.size * self.output_shape[1] * self.output_shape[2]

    def config(self) -> dict[str, Any]:
        """The constructor's arguments; there, ``bias`` is whether there is one."""
        return {**super().config(), "bias": self.use_bias}
