"""Kinds of layers by name: how a saved network finds its layers again."""

from typing import Any, TypeVar

from fastscratch.errors import ArgumentError
from fastscratch.layers.base import Layer

_KINDS: dict[str, type[Layer]] = {}

Kind = TypeVar("Kind", bound=type[Layer])


def register_layer(kind: Kind) -> Kind:
    """Make a class of layers known under its name, so that models that use it can be loaded.

    Parameters
    ----------
    kind : type
        A subclass of `Layer` whose ``config()`` gives the arguments of ``__init__``.

    Returns
    -------
    type
        The same class, so that this is a decorator.

    Raises
    ------
    ArgumentError
        If another class has that name.

    Examples
    --------
    >>> @register_layer
    ... class Shift(Layer):
    ...     def __init__(self, by=1.0, *, backend=None):
    ...         super().__init__(backend=backend)
    ...         self.by = by
    >>> layer_from_description({"kind": "Shift", "config": {"by": 2.0}})
    Shift(by=2.0)
    """
    if not (isinstance(kind, type) and issubclass(kind, Layer)):
        raise ArgumentError(f"register_layer takes a subclass of Layer, got {kind!r}")
    other = _KINDS.get(kind.__name__)
    # A class that is defined again at the same place (a notebook cell run twice) replaces itself.
    if other is not None and (other.__module__, other.__qualname__) != (
        kind.__module__,
        kind.__qualname__,
    ):
        raise ArgumentError(f"a layer called {kind.__name__!r} is registered already: {other!r}")
    _KINDS[kind.__name__] = kind
    return kind


def describe_layer(layer: Layer) -> dict[str, Any]:
    """A layer's kind and arguments, as JSON can hold them.

    Parameters
    ----------
    layer : Layer
        Of a registered kind.

    Returns
    -------
    dict
        ``{"kind": ..., "config": ...}``

    Raises
    ------
    ArgumentError
        If its class is not registered.

    Examples
    --------
    >>> from fastscratch.layers import Dropout
    >>> describe_layer(Dropout(0.5))
    {'kind': 'Dropout', 'config': {'ratio': 0.5}}
    """
    name = type(layer).__name__
    if _KINDS.get(name) is not type(layer):
        raise ArgumentError(
            f"the layer class {name} is not registered, so a file could not be loaded again; "
            "put @register_layer (from fastscratch.layers) above the class"
        )
    return {"kind": name, "config": layer.config()}


def layer_from_description(description: dict[str, Any]) -> Layer:
    """A new layer from what `describe_layer` gave.

    Parameters
    ----------
    description : dict
        ``{"kind": ..., "config": ...}``

    Returns
    -------
    Layer
        Not built, unless its kind builds itself.

    Raises
    ------
    ArgumentError
        If the kind is unknown or the arguments do not fit it.

    Examples
    --------
    >>> layer_from_description({"kind": "Dropout", "config": {"ratio": 0.5}})
    Dropout(ratio=0.5)
    """
    if not isinstance(description, dict) or not {"kind", "config"} <= description.keys():
        raise ArgumentError(f"not the description of a layer: {description!r}")
    kind = _KINDS.get(description["kind"])
    if kind is None:
        raise ArgumentError(
            f"unknown kind of layer {description['kind']!r}; if it is your own, import the module "
            "that registers it (register_layer) first"
        )
    try:
        return kind.from_config(description["config"])
    except TypeError as error:
        raise ArgumentError(f"{description['kind']}: {error}") from error
