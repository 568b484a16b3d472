"""First values of parameters: He, Xavier, normal, constant; by name or as objects."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from fastscratch.errors import ArgumentError
from fastscratch.types import Array


@dataclass(frozen=True)
class Initializer:
    """Base of the initializers: a function from a random stream and a shape to an array.

    ``fan_in`` is the number of inputs that one output element sums over, ``fan_out`` the number of
    output elements that one input element reaches: for a dense layer its inputs and outputs, for a
    convolution ``C/groups*KH*KW`` and ``OC/groups*KH*KW``.

    Examples
    --------
    >>> class Ramp(Initializer):
    ...     name = "ramp"
    ...     def __call__(self, rng, shape, fan_in, fan_out):
    ...         return np.arange(np.prod(shape), dtype=float).reshape(shape)
    >>> Ramp()(np.random.default_rng(0), (2, 2), 2, 2)
    array([[0., 1.],
           [2., 3.]])
    """

    name: ClassVar[str] = ""

    def __call__(
        self, rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int
    ) -> Array:
        """Draw.

        Parameters
        ----------
        rng : numpy.random.Generator
            Where randomness comes from.
        shape : tuple of int
            Of the result.
        fan_in, fan_out : int
            See the class.

        Returns
        -------
        ndarray of float64
            Whatever the network computes in: both dtypes start from the same numbers.
        """
        raise NotImplementedError

    def config(self) -> str | dict[str, Any]:
        """The initializer as JSON can hold it; `get_initializer` reads it back.

        Examples
        --------
        >>> HeNormal().config(), Normal(0.1).config()
        ('he_normal', {'name': 'normal', 'std': 0.1})
        """
        arguments = asdict(self)
        return {"name": self.name, **arguments} if arguments else self.name


@dataclass(frozen=True)
class Zeros(Initializer):
    """All zeros: for biases. Weights of zero stay equal to each other and never learn.

    Examples
    --------
    >>> Zeros()(np.random.default_rng(0), (2,), 1, 1)
    array([0., 0.])
    """

    name: ClassVar[str] = "zeros"

    def __call__(
        self, rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int
    ) -> Array:
        return np.zeros(shape)


@dataclass(frozen=True)
class Constant(Initializer):
    """One value everywhere.

    Parameters
    ----------
    value : float

    Examples
    --------
    >>> Constant(0.5)(np.random.default_rng(0), (2,), 1, 1)
    array([0.5, 0.5])
    """

    value: float = 1.0

    name: ClassVar[str] = "constant"

    def __call__(
        self, rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int
    ) -> Array:
        return np.full(shape, float(self.value))


@dataclass(frozen=True)
class Normal(Initializer):
    """A normal distribution of mean 0, whatever the layer's size.

    ``"standard_normal"`` is ``Normal(1.0)``: on wide layers it saturates sigmoids, and is there to
    show that. The book's ``weight_init_std=0.01`` is ``Normal(0.01)``, also named ``"normal"``.

    Parameters
    ----------
    std : float
        Standard deviation, zero or more.

    Examples
    --------
    >>> draw = Normal(0.01)(np.random.default_rng(0), (10_000,), 1, 1)
    >>> round(float(draw.std()), 3)
    0.01
    """

    std: float = 0.01

    name: ClassVar[str] = "normal"

    def __post_init__(self) -> None:
        if not self.std >= 0:
            raise ArgumentError(f"Normal: std must be 0 or more, got {self.std!r}")

    def __call__(
        self, rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int
    ) -> Array:
        return np.asarray(self.std * rng.standard_normal(shape))


@dataclass(frozen=True)
class HeNormal(Initializer):
    """Normal with variance ``2/fan_in``: keeps the spread of activations through ReLU layers.

    Source: He et al., "Delving deep into rectifiers", 2015, section 2.2.

    Examples
    --------
    >>> draw = HeNormal()(np.random.default_rng(0), (200, 100), 200, 100)
    >>> round(float(draw.std()), 2)
    0.1
    """

    name: ClassVar[str] = "he_normal"

    def __call__(
        self, rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int
    ) -> Array:
        return _normal(rng, shape, 2.0 / fan_in)


@dataclass(frozen=True)
class HeUniform(Initializer):
    """Uniform on ``±sqrt(6/fan_in)``: the variance of `HeNormal`.

    Examples
    --------
    >>> draw = HeUniform()(np.random.default_rng(0), (6, 100), 6, 100)
    >>> bool(abs(draw).max() <= 1.0)
    True
    """

    name: ClassVar[str] = "he_uniform"

    def __call__(
        self, rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int
    ) -> Array:
        return _uniform(rng, shape, 2.0 / fan_in)


@dataclass(frozen=True)
class XavierNormal(Initializer):
    """Normal with variance ``2/(fan_in + fan_out)``: for sigmoid and tanh layers.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", 2010, equation 12.

    Parameters
    ----------
    mode : {"average", "in"}
        ``"in"`` is the book's form, variance ``1/fan_in``.

    Examples
    --------
    >>> draw = XavierNormal("in")(np.random.default_rng(0), (100, 400), 100, 400)
    >>> round(float(draw.std()), 2)
    0.1
    """

    mode: str = "average"

    name: ClassVar[str] = "xavier_normal"

    def __post_init__(self) -> None:
        _check_mode(self.mode)

    def __call__(
        self, rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int
    ) -> Array:
        return _normal(rng, shape, _xavier_variance(self.mode, fan_in, fan_out))


@dataclass(frozen=True)
class XavierUniform(Initializer):
    """Uniform on ``±sqrt(6/(fan_in + fan_out))``: the variance of `XavierNormal`.

    Parameters
    ----------
    mode : {"average", "in"}
        ``"in"`` is the book's form, variance ``1/fan_in``.

    Examples
    --------
    >>> draw = XavierUniform()(np.random.default_rng(0), (2, 4), 2, 4)
    >>> bool(abs(draw).max() <= 1.0)
    True
    """

    mode: str = "average"

    name: ClassVar[str] = "xavier_uniform"

    def __post_init__(self) -> None:
        _check_mode(self.mode)

    def __call__(
        self, rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int
    ) -> Array:
        return _uniform(rng, shape, _xavier_variance(self.mode, fan_in, fan_out))


def _normal(rng: np.random.Generator, shape: tuple[int, ...], variance: float) -> Array:
    return np.asarray(variance**0.5 * rng.standard_normal(shape))


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], variance: float) -> Array:
    limit = (3.0 * variance) ** 0.5  # a uniform distribution on ±limit has variance limit²/3
    return rng.uniform(-limit, limit, shape)


def _xavier_variance(mode: str, fan_in: int, fan_out: int) -> float:
    return 2.0 / (fan_in + fan_out) if mode == "average" else 1.0 / fan_in


def _check_mode(mode: str) -> None:
    if mode not in ("average", "in"):
        raise ArgumentError(f'Xavier initializer: mode must be "average" or "in", got {mode!r}')


InitializerLike = str | dict[str, Any] | Initializer
"""A name, an Initializer, or what ``Initializer.config()`` gave."""

_BY_NAME: dict[str, Callable[..., Initializer]] = {
    kind.name: kind
    for kind in (Zeros, Constant, Normal, HeNormal, HeUniform, XavierNormal, XavierUniform)
}
_BY_NAME["standard_normal"] = lambda: Normal(1.0)


def get_initializer(initializer: InitializerLike) -> Initializer:
    """An initializer from its name, its ``config()``, or itself.

    Parameters
    ----------
    initializer : str, dict or Initializer
        One of ``"zeros"``, ``"constant"``, ``"normal"``, ``"standard_normal"``, ``"he_normal"``,
        ``"he_uniform"``, ``"xavier_normal"``, ``"xavier_uniform"``; a dict of ``name`` and
        arguments; or an object, which is returned as it is.

    Returns
    -------
    Initializer

    Raises
    ------
    ArgumentError
        If there is none of that name.

    Examples
    --------
    >>> get_initializer("he_normal")
    HeNormal()
    >>> get_initializer({"name": "normal", "std": 0.1})
    Normal(std=0.1)
    """
    if isinstance(initializer, Initializer):
        return initializer
    arguments: dict[str, Any] = {}
    name: Any = initializer
    if isinstance(initializer, dict):
        arguments = dict(initializer)
        name = arguments.pop("name", None)
    if not isinstance(name, str) or name not in _BY_NAME:
        raise ArgumentError(
            f"there is no initializer {initializer!r}; there are {', '.join(sorted(_BY_NAME))}"
        )
    try:
        return _BY_NAME[name](**arguments)
    except TypeError as error:
        raise ArgumentError(f"initializer {name!r}: {error}") from error
