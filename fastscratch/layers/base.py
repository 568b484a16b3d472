"""What every layer is: built from an input shape, then forward and backward, with checks around."""

import inspect
import threading
from typing import Any, Self

import numpy as np

from fastscratch.dispatch import prefer_backend
from fastscratch.errors import DtypeError, FastscratchError, ShapeError, TrainingError
from fastscratch.initializers import InitializerLike, get_initializer
from fastscratch.layers.parameter import Buffer, Parameter
from fastscratch.layers.shapes import Shape, checked_shape
from fastscratch.layers.state import FLOATS, Node
from fastscratch.layers.streams import stream
from fastscratch.types import Array

# A first forward builds; two threads that predict with an unbuilt model must not both do it.
_BUILDING = threading.RLock()


class Layer(Node):
    """Base of all layers.

    A new kind of layer overrides three methods: ``_build(input_shape) -> output_shape``, which
    creates parameters through `add_parameter`; ``_forward(x, training) -> y``, which keeps what the
    backward pass needs in ``self._saved`` if, and only if, ``training``; and ``_backward(dout) ->
    dx``, which overwrites the gradients of the parameters. Shapes, dtypes and the order of calls
    have been checked by then. ``__init__`` stores its arguments under their own names.

    A training forward keeps arrays for the backward pass until the next one (`forget` drops them),
    so ``backward`` may be called again, with another ``dout``. A forward that does not train stores
    nothing: several threads may predict with one layer at once.

    Parameters
    ----------
    backend : str, optional
        Which implementation this layer's operations prefer, such as ``"numba"``; a surrounding
        `fastscratch.use_backend` goes before it. Not part of a saved model.

    Attributes
    ----------
    path : str
        Dotted place in the network; empty for the outermost layer.
    input_shape, output_shape : tuple of int, or None
        Without the batch axis; None until built.
    dtype : numpy.dtype or None
        float32 or float64; None until built.

    Examples
    --------
    >>> class Double(Layer):
    ...     def _build(self, input_shape):
    ...         return input_shape
    ...     def _forward(self, x, training):
    ...         return 2 * x
    ...     def _backward(self, dout):
    ...         return 2 * dout
    >>> layer = Double()
    >>> layer.forward(np.ones((1, 3), np.float32), training=True)
    array([[2., 2., 2.]], dtype=float32)
    >>> layer.backward(np.ones((1, 3), np.float32))
    array([[2., 2., 2.]], dtype=float32)
    """

    # On the class, so that subclasses need not call super().__init__().
    backend: str | None = None
    seed: int | None = None
    input_shape: Shape | None = None
    output_shape: Shape | None = None
    _saved: Any = None
    _dout_shape: Shape | None = None

    def __init__(self, *, backend: str | None = None) -> None:
        self.backend = backend

    # What kinds of layers override.

    def _build(self, input_shape: Shape) -> Shape:
        raise NotImplementedError

    def _forward(self, x: Array, training: bool) -> Array:
        raise NotImplementedError

    def _backward(self, dout: Array) -> Array:
        raise NotImplementedError

    def _backward_parameters(self, dout: Array) -> None:
        if self.parameters():
            self._backward(dout)

    @property
    def draws(self) -> bool:
        """Whether this layer's own output is another one at each training pass over one batch.

        A kind of layer that draws at random overrides it, so that what needs one function to
        minimise, such as `fastscratch.second_order.LBFGS`, can refuse the network.
        """
        return False

    def multiply_adds(self) -> int:
        """Multiply-adds of the forward pass for one sample; 0 where there is no matrix product."""
        return sum(child.multiply_adds() for _, child in self.children())

    def config(self) -> dict[str, Any]:
        """Arguments that make another layer of this kind, as JSON can hold them.

        Read from the attributes that are named as the arguments of ``__init__``. ``backend`` is
        left out: it belongs to the machine, not to the network.

        Returns
        -------
        dict

        Examples
        --------
        >>> from fastscratch.layers import Dropout
        >>> Dropout(0.2).config()
        {'ratio': 0.2}
        """
        names = inspect.signature(type(self)).parameters
        return {name: _plain(getattr(self, name)) for name in names if name != "backend"}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new layer of this kind from what `config` gave.

        Parameters
        ----------
        config : dict
            Arguments of ``__init__``.

        Returns
        -------
        Layer

        Examples
        --------
        >>> from fastscratch.layers import Dropout
        >>> Dropout.from_config({"ratio": 0.2})
        Dropout(ratio=0.2)
        """
        return cls(**config)

    # What all layers share.

    def build(
        self,
        input_shape: Shape,
        dtype: Any = np.float32,
        seed: int | None = None,
        path: str = "",
    ) -> Shape:
        """Settle shapes and create the parameters. The first forward pass does it if nobody did.

        Parameters
        ----------
        input_shape : tuple of int
            Without the batch axis: ``(features,)`` or ``(C, H, W)``.
        dtype : {float32, float64}
            Of the parameters, the input and the output.
        seed : int, optional
            Of the initial parameters; the layer's own seed, else 0, if None.
        path : str
            Place in the network, with which the parameters' names begin.

        Returns
        -------
        tuple of int
            The output's shape, without the batch axis.

        Raises
        ------
        ShapeError
            If the layer cannot take this input; the message names the layer.
        TrainingError
            If it is built already.

        Examples
        --------
        >>> from fastscratch.layers import Conv2d
        >>> conv = Conv2d(8, 3, padding=1)
        >>> conv.build((1, 28, 28), seed=1)
        (8, 28, 28)
        """
        with _BUILDING:
            if self.built:
                raise self._error(
                    TrainingError,
                    f"built already, for input {self.input_shape}; make a new one "
                    "(one layer object cannot stand in two places)",
                )
            own_seed = self.seed
            fresh = [layer for layer in self.walk() if not layer.built]
            self.path, self._own = path, {}
            self.seed = seed if seed is not None else own_seed or 0
            try:
                self.dtype = self._float_dtype(dtype)
                shape = checked_shape(input_shape)
                self.output_shape = self._build(shape)
            except FastscratchError as error:
                named = self._named(error)
                for layer in fresh:
                    layer._unbuild()
                self.seed = own_seed
                raise named from error
            self.input_shape = shape
            self.built = True  # last: other threads look at it without the lock
            return self.output_shape

    def add_parameter(
        self,
        name: str,
        shape: Shape,
        initializer: InitializerLike,
        *,
        fans: tuple[int, int] = (1, 1),
        decay: bool = True,
    ) -> Parameter:
        """Create a parameter while building, drawn from the stream of its own dotted name.

        Parameters
        ----------
        name : str
            The last part of the dotted name.
        shape : tuple of int
            Of the value.
        initializer : str or Initializer
            See `fastscratch.initializers`.
        fans : (int, int)
            Inputs of one output element, and outputs that one input element reaches.
        decay : bool
            Whether weight decay applies.

        Returns
        -------
        Parameter

        Examples
        --------
        See `Layer`; a layer's ``_build`` calls it:

        >>> class Scale(Layer):
        ...     def _build(self, input_shape):
        ...         self.factor = self.add_parameter("factor", (1,), "constant")
        ...         return input_shape
        >>> scale = Scale()
        >>> scale.build((3,))
        (3,)
        >>> scale.parameters()
        [Parameter('factor', (1,), float32)]
        """
        full = self._dotted(name)
        assert self.seed is not None and self.dtype is not None
        draw = get_initializer(initializer)
        value = draw(stream(self.seed, full), shape, *fans)
        parameter = Parameter(full, np.ascontiguousarray(value, self.dtype), decay)
        self._own[name] = parameter
        return parameter

    def add_buffer(self, name: str, value: Array) -> Buffer:
        """Create a buffer while building.

        Parameters
        ----------
        name : str
            The last part of the dotted name.
        value : ndarray
            Its first content, held without a copy.

        Returns
        -------
        Buffer

        Examples
        --------
        >>> class Counts(Layer):
        ...     def _build(self, input_shape):
        ...         self.count = self.add_buffer("count", np.zeros((), np.int64))
        ...         return input_shape
        >>> counts = Counts()
        >>> counts.build((3,))
        (3,)
        >>> counts.buffers()
        [Buffer('count', (), int64)]
        """
        buffer = Buffer(self._dotted(name), value)
        self._own[name] = buffer
        return buffer

    def forward(self, x: Array, training: bool = False) -> Array:
        """The layer's output.

        Parameters
        ----------
        x : ndarray, shape ``(N, *input_shape)``
            Never written to. A layer that changes nothing may return it as it is.
        training : bool
            Compute as in training, and keep what ``backward`` needs. False stores nothing.

        Returns
        -------
        ndarray, shape ``(N, *output_shape)``

        Raises
        ------
        ShapeError, DtypeError
            If ``x`` is not what the layer was built for; the message names the layer.

        Examples
        --------
        >>> from fastscratch.layers import ReLU
        >>> ReLU().forward(np.array([[-1.0, 2.0]]))
        array([[0., 2.]])
        """
        if not self.built:
            self._build_for(x)
        if not self._fits(x):
            self._check(x, self.input_shape, "input")
        if not training:
            predicted: Array = self._run(self._forward, x, False)
            return predicted
        self.forget()
        y: Array = self._run(self._forward, x, True)
        self._dout_shape = y.shape
        return y

    def backward(self, dout: Array) -> Array:
        """The gradient of the input; the parameters' gradients are overwritten.

        Parameters
        ----------
        dout : ndarray, shape ``(N, *output_shape)``
            Gradient of the loss by the output of the last training forward. Never written to.

        Returns
        -------
        ndarray, shape ``(N, *input_shape)``

        Raises
        ------
        TrainingError
            If no ``forward(x, training=True)`` went before.

        Examples
        --------
        >>> from fastscratch.layers import ReLU
        >>> relu = ReLU()
        >>> y = relu.forward(np.array([[-1.0, 2.0]]), training=True)
        >>> relu.backward(np.array([[5.0, 6.0]]))
        array([[0., 6.]])
        """
        self._check_dout(dout)
        dx: Array = self._run(self._backward, dout)
        return dx

    def backward_parameters(self, dout: Array) -> None:
        """`backward` without the gradient of the input, which the first layers need not compute.

        Parameters
        ----------
        dout : ndarray, shape ``(N, *output_shape)``
            As for `backward`.

        Examples
        --------
        >>> from fastscratch.layers import Dense
        >>> dense = Dense(1)
        >>> y = dense.forward(np.array([[3.0, 4.0]]), training=True)
        >>> dense.backward_parameters(np.array([[2.0]]))
        >>> dense.weight.grad
        array([[6.],
               [8.]])
        """
        self._check_dout(dout)
        self._run(self._backward_parameters, dout)

    def forget(self) -> None:
        """Drop what the last training forward kept for ``backward``.

        Examples
        --------
        >>> from fastscratch.layers import ReLU
        >>> relu = ReLU()
        >>> y = relu.forward(np.ones((1, 2)), training=True)
        >>> relu.forget()
        >>> relu.backward(y)
        Traceback (most recent call last):
        fastscratch.errors.TrainingError: ReLU: backward needs a forward pass with training=True ...
        """
        self._saved = None
        self._dout_shape = None
        for _, child in self.children():
            child.forget()

    def _unbuild(self) -> None:
        self.path, self.input_shape, self.output_shape, self.dtype = "", None, None, None
        self._own, self.built = {}, False

    def _build_for(self, x: Array) -> None:
        self._check_is_batch(x, "input")
        with _BUILDING:
            if not self.built:
                self.build(x.shape[1:], x.dtype)

    def _run(self, method: Any, *arguments: Any) -> Any:
        try:
            if self.backend is None:
                return method(*arguments)
            with prefer_backend(self.backend):
                return method(*arguments)
        except FastscratchError as error:
            raise self._named(error) from error

    def _fits(self, x: Any) -> bool:
        """What `_check` tells about the input, quickly and without a reason."""
        return type(x) is np.ndarray and x.dtype is self.dtype and x.shape[1:] == self.input_shape

    def _check(self, x: Array, shape: Shape | None, what: str) -> None:
        self._check_is_batch(x, what)
        if x.shape[1:] != shape:
            wanted = ", ".join(str(extent) for extent in ("N", *(shape or ())))
            raise self._error(ShapeError, f"takes {what} of shape ({wanted}), got {x.shape}")
        if x.dtype != self.dtype:
            other = f", or build the network with dtype=np.{x.dtype}" if x.dtype in FLOATS else ""
            raise self._error(
                DtypeError,
                f"takes {what} of {self.dtype}, got {x.dtype}; convert it with "
                f"x.astype(np.{self.dtype}){other}",
            )

    def _check_is_batch(self, x: Any, what: str) -> None:
        if not isinstance(x, np.ndarray):
            raise self._error(DtypeError, f"takes {what} as a NumPy array, got {type(x).__name__}")
        if x.ndim < 2:
            raise self._error(
                ShapeError, f"takes {what} with a batch axis before the others, got {x.shape}"
            )

    def _check_dout(self, dout: Array) -> None:
        if type(dout) is np.ndarray and dout.shape == self._dout_shape and dout.dtype is self.dtype:
            return
        if self._dout_shape is None:
            raise self._error(
                TrainingError, "backward needs a forward pass with training=True before it"
            )
        self._check(dout, self._dout_shape[1:], "dout")
        if dout.shape != self._dout_shape:
            raise self._error(
                ShapeError,
                f"dout has {dout.shape[0]} samples, the last training forward had "
                f"{self._dout_shape[0]}",
            )

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave out what a training forward keeps."""
        state = self.__dict__.copy()
        state.pop("_saved", None)
        state.pop("_dout_shape", None)
        return state

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.config().items())
        return f"{type(self).__name__}({inside})"


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it."""
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.config() if hasattr(value, "config") else value
