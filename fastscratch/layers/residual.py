"""A path through some layers, and one around them: the block of residual networks."""

from typing import Any, Self

from fastscratch import ops
from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.layers.base import Layer
from fastscratch.layers.registry import describe_layer, layer_from_description, register_layer
from fastscratch.layers.shapes import Shape
from fastscratch.types import Array


@register_layer
class Residual(Layer):
    """``y = body(x) + shortcut(x)``.

    Source: He et al., "Deep residual learning for image recognition", 2016, section 3.2.

    Parameters
    ----------
    body : Layer
        The layers that learn what is to be added.
    shortcut : Layer, optional
        The way around them: ``x`` itself if None; a pointwise convolution where the body changes
        the shape.
    backend : str, optional
        Which implementation to prefer, for the sum and for what is inside.

    Raises
    ------
    ArgumentError
        If either is no layer.
    ShapeError
        If the two paths end in different shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastscratch.layers import Conv2d, ReLU, Sequential
    >>> body = Sequential(Conv2d(8, 3, padding=1), ReLU(), Conv2d(8, 3, padding=1))
    >>> Residual(body).forward(np.ones((2, 8, 6, 6), np.float32)).shape
    (2, 8, 6, 6)
    """

    def __init__(
        self, body: Layer, shortcut: Layer | None = None, *, backend: str | None = None
    ) -> None:
        super().__init__(backend=backend)
        for part in (body, shortcut):
            if part is not None and not isinstance(part, Layer):
                raise ArgumentError(f"Residual takes layers, got {part!r}")
        self.body = body
        self.shortcut = shortcut

    def children(self) -> list[tuple[str, Layer]]:
        """The body, and the shortcut if it has layers."""
        found = [("body", self.body)]
        return found if self.shortcut is None else [*found, ("shortcut", self.shortcut)]

    def _build(self, input_shape: Shape) -> Shape:
        shapes = [
            layer.build(input_shape, self.dtype, self.seed, self._dotted(name))
            for name, layer in self.children()
        ]
        around = input_shape if self.shortcut is None else shapes[1]
        if shapes[0] != around:
            raise ShapeError(
                f"the body gives {shapes[0]} and the way around it {around}; pass a shortcut that "
                "changes the shape as the body does, such as Conv2d(channels, 1, stride=2)"
            )
        return shapes[0]

    def _forward(self, x: Array, training: bool) -> Array:
        return ops.add_forward(*self._paths(x, training))

    def _paths(self, x: Array, training: bool) -> tuple[Array, Array]:
        """What the two paths end in."""
        around = x if self.shortcut is None else self.shortcut.forward(x, training)
        return self.body.forward(x, training), around

    def _backward(self, dout: Array) -> Array:
        around = dout if self.shortcut is None else self.shortcut.backward(dout)
        return ops.add_forward(self.body.backward(dout), around)

    def _backward_parameters(self, dout: Array) -> None:
        for _, layer in self.children():
            layer.backward_parameters(dout)

    def config(self) -> dict[str, Any]:
        """The kinds and arguments of both parts."""
        return {name: describe_layer(layer) for name, layer in self.children()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new block, not built, from what `config` gave."""
        parts = {name: layer_from_description(inner) for name, inner in config.items()}
        return cls(parts["body"], parts.get("shortcut"))
