"""Convolution and pooling of ``common.layers``, on kernels that need no columns."""

from typing import Any

import numpy as np

from fastscratch import ops
from fastscratch.compat.book.arrays import im2col
from fastscratch.compat.promotion import demote, promote
from fastscratch.types import Array, Rounding


class Convolution:
    """Convolution of images with filters.

    Parameters
    ----------
    W, b : ndarray, shapes (FN, C, FH, FW) and (FN,)
        Filters and bias; the layer holds these very arrays.
    stride, pad : int
        Distance of the windows, and zeros around the image.
    rounding : {"exact", "floor", "ceil"}
        What windows that leave a remainder do; an error by default, as the book's text demands.

    Attributes
    ----------
    W, b, stride, pad
        As given.
    x : ndarray
        The input.
    col, col_W : ndarray
        Input and filters as the matrices whose product the output is; made when asked for.
    dW, db : ndarray
        Gradients of the last backward pass.

    Examples
    --------
    >>> layer = Convolution(np.ones((2, 1, 3, 3)), np.zeros(2), stride=1, pad=1)
    >>> layer.forward(np.ones((1, 1, 4, 4)))[0, 0, 0]
    array([4., 6., 6., 4.])
    >>> layer.backward(np.ones((1, 2, 4, 4))).shape, layer.dW.shape, layer.col.shape
    ((1, 1, 4, 4), (2, 1, 3, 3), (16, 9))
    """

    def __init__(
        self, W: Array, b: Array, stride: int = 1, pad: int = 0, rounding: Rounding = "exact"
    ) -> None:
        self.W = W
        self.b = b
        self.stride = stride
        self.pad = pad
        self.rounding: Rounding = rounding
        self.x: Any = None
        self.dW: Any = None
        self.db: Any = None

    @property
    def col(self) -> Any:
        if self.x is None:
            return None
        FH, FW = self.W.shape[2:]
        return im2col(self.x, FH, FW, self.stride, self.pad)

    @property
    def col_W(self) -> Any:
        return None if self.x is None else self.W.reshape(self.W.shape[0], -1).T

    def forward(self, x: Array) -> Array:
        self.x = x
        dtype, (x, W, b) = promote(x, self.W, self.b)
        # A bias of shape (FN, 1, 1), as the book's pictures have it, is one of (FN,).
        b = np.broadcast_to(b.reshape(-1), W.shape[:1])
        y = ops.conv2d_forward(
            x, W, b, stride=self.stride, padding=self.pad, rounding=self.rounding
        )
        return demote(y, dtype)

    def backward(self, dout: Array) -> Array:
        dtype, (dout, x, W) = promote(dout, self.x, self.W)
        window: dict[str, Any] = {
            "stride": self.stride, "padding": self.pad, "rounding": self.rounding
        }  # fmt: skip
        db = np.empty(W.shape[0], W.dtype)
        dW = ops.conv2d_backward_weight(dout, x, W.shape[2:], bias_out=db, **window)
        self.dW, self.db = demote(dW, dtype), demote(db.reshape(np.shape(self.b)), dtype)
        return demote(ops.conv2d_backward_input(dout, W, x.shape, **window), dtype)


class Pooling:
    """The maximum of each window. Padding counts as minus infinity; of equals, the first wins.

    Parameters
    ----------
    pool_h, pool_w : int
        Extents of the window.
    stride : int, optional
        Distance of the windows; their extents if it is not given.
    pad : int
        Margin around the image.
    rounding : {"exact", "floor", "ceil"}
        As in `Convolution`.

    Attributes
    ----------
    pool_h, pool_w, stride, pad
        As given.
    x : ndarray
        The input.
    arg_max : ndarray of int, shape (N*OH*OW*C,)
        Which element of its window each maximum is, channels running fastest; made when asked for.

    Examples
    --------
    >>> layer = Pooling(2, 2, stride=2)
    >>> layer.forward(np.array([[[[1.0, 2.0], [4.0, 3.0]]]])), layer.arg_max
    (array([[[[4.]]]]), array([2]))
    >>> layer.backward(np.array([[[[5.0]]]]))
    array([[[[0., 0.],
             [5., 0.]]]])
    """

    def __init__(
        self, pool_h: int, pool_w: int, stride: int | None = None, pad: int = 0,
        rounding: Rounding = "exact",
    ) -> None:  # fmt: skip
        self.pool_h = pool_h
        self.pool_w = pool_w
        self.stride: Any = stride
        if stride is None:
            self.stride = pool_h if pool_h == pool_w else (pool_h, pool_w)
        self.pad = pad
        self.rounding: Rounding = rounding
        self.x: Any = None
        self._argmax: Any = None

    @property
    def arg_max(self) -> Any:
        if self._argmax is None:
            return None
        return self._argmax.transpose(0, 2, 3, 1).reshape(-1).astype(np.int64)

    def forward(self, x: Array) -> Array:
        self.x = x
        dtype, (x,) = promote(x)
        y, self._argmax = ops.max_pool2d_forward(
            x, (self.pool_h, self.pool_w), stride=self.stride, padding=self.pad,
            rounding=self.rounding,
        )  # fmt: skip
        return demote(y, dtype)

    def backward(self, dout: Array) -> Array:
        dtype, (dout,) = promote(dout)
        assert self.x is not None and self._argmax is not None, "backward needs a forward before it"
        dx = ops.max_pool2d_backward(
            dout, self._argmax, self.x.shape, (self.pool_h, self.pool_w), stride=self.stride,
            padding=self.pad, rounding=self.rounding,
        )  # fmt: skip
        return demote(dx, dtype)
