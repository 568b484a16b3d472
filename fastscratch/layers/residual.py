"""A path through some layers, and one around them: the block of residual networks.

With stochastic depth the path through the layers is left out at random while training.
"""

from typing import Any, Self

import numpy as np

from fastscratch import ops
from fastscratch.arguments import as_number
from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.layers.base import Layer
from fastscratch.layers.parameter import Buffer
from fastscratch.layers.registry import describe_layer, layer_from_description, register_layer
from fastscratch.layers.shapes import Shape
from fastscratch.layers.streams import step_key
from fastscratch.types import Array

_LEFT_OUT = object()


@register_layer
class Residual(Layer):
    """``y = body(x) + shortcut(x)``.

    With ``survival`` below 1, a training step leaves the body out with probability
    ``1 - survival``: its parameters have zero gradients then, and its statistics stay. Prediction
    takes the mean, ``survival*body(x) + shortcut(x)``. Which steps do is a function of the seed,
    the path and the number of the step.

    Source: He et al., "Deep residual learning for image recognition", 2016, section 3.2; Huang et
    al., "Deep networks with stochastic depth", 2016, section 3.

    Parameters
    ----------
    body : Layer
        The layers that learn what is to be added.
    shortcut : Layer, optional
        The way around them: ``x`` itself if None; a pointwise convolution where the body changes
        the shape.
    survival : float
        The share of training steps that the body takes part in, in (0, 1].
    backend : str, optional
        Which implementation to prefer, for the sum and for what is inside.

    Raises
    ------
    ArgumentError
        If either is no layer, or survival is not in (0, 1].
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

    step: Buffer

    def __init__(
        self,
        body: Layer,
        shortcut: Layer | None = None,
        *,
        survival: float = 1.0,
        backend: str | None = None,
    ) -> None:
        super().__init__(backend=backend)
        if not 0 < as_number(survival, "Residual: survival") <= 1:
            raise ArgumentError(f"Residual: survival must be in (0, 1], got {survival!r}")
        for part in (body, shortcut):
            if part is not None and not isinstance(part, Layer):
                raise ArgumentError(f"Residual takes layers, got {part!r}")
        self.body = body
        self.shortcut = shortcut
        self.survival = survival

    def children(self) -> list[tuple[str, Layer]]:
        """The body, and the shortcut if it has layers."""
        found = [("body", self.body)]
        return found if self.shortcut is None else [*found, ("shortcut", self.shortcut)]

    @property
    def draws(self) -> bool:
        """Whether the body is ever left out."""
        return self.survival < 1

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
        if self.survival < 1:
            self.step = self.add_buffer("step", np.zeros((), np.int64))
        return shapes[0]

    def _forward(self, x: Array, training: bool) -> Array:
        if self.survival == 1:
            return ops.add_forward(*self._paths(x, training))
        if training and not self._survives():
            self._saved = _LEFT_OUT
            return x if self.shortcut is None else self.shortcut.forward(x, training)
        through, around = self._paths(x, training)
        return ops.add_forward(through if training else self.survival * through, around)

    def _paths(self, x: Array, training: bool) -> tuple[Array, Array]:
        """What the two paths end in."""
        around = x if self.shortcut is None else self.shortcut.forward(x, training)
        return self.body.forward(x, training), around

    def _survives(self) -> bool:
        """Whether the body takes part in this training step."""
        assert self.seed is not None
        key = step_key(self.seed, self._dotted("survival"), int(self.step.value))
        self.step.value += 1
        return bool(key[0] < self.survival * 2**32)

    def _backward(self, dout: Array) -> Array:
        around = dout if self.shortcut is None else self.shortcut.backward(dout)
        if self._saved is _LEFT_OUT:
            self._clear_gradients()
            return around
        return ops.add_forward(self.body.backward(dout), around)

    def _backward_parameters(self, dout: Array) -> None:
        if self._saved is _LEFT_OUT:
            self._clear_gradients()
        else:
            self.body.backward_parameters(dout)
        if self.shortcut is not None:
            self.shortcut.backward_parameters(dout)

    def _clear_gradients(self) -> None:
        for parameter in self.body.parameters():
            parameter.grad[...] = 0

    def config(self) -> dict[str, Any]:
        """The kinds and arguments of both parts, and survival."""
        parts = {name: describe_layer(layer) for name, layer in self.children()}
        return {**parts, "survival": self.survival}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new block, not built, from what `config` gave."""
        parts = {
            name: layer_from_description(inner)
            for name, inner in config.items() if name != "survival"
        }  # fmt: skip
        return cls(
            parts["body"], parts.get("shortcut"), survival=float(config.get("survival", 1.0))
        )
