"""One update of the parameters, and finding out where numbers stopped being numbers."""

import math
from typing import Any

import numpy as np

from fastscratch.errors import TrainingError
from fastscratch.ops import squared_norm
from fastscratch.types import Array


def update(
    model: Any, loss: Any, optimizer: Any, flat: Any, x: Array, t: Array
) -> tuple[float, Array]:
    """Forward, backward, step; the loss before the update, and the scores.

    The loss is what is minimised: weight decay's penalty is part of it.

    Raises
    ------
    TrainingError
        If the loss or a gradient is not finite. The parameters have not been touched then.
    """
    # What NumPy would warn of is looked for here, and becomes an error that names the layer.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        scores = model.forward(x, training=True)
        value = float(loss.forward(scores, t))
        if not math.isfinite(value):
            raise TrainingError(f"the loss became {value}: {explain(model, loss, x, t)}")
        model.backward_parameters(loss.backward())
        if not all_finite(flat.grad):
            raise TrainingError(
                f"a gradient is not finite, though the loss is {value:.6g}: "
                f"{explain(model, loss, x, t)}"
            )
        value += optimizer.penalty(flat)
        if optimizer.full_batch:
            optimizer.minimise(flat, lambda: _loss_and_gradient(model, loss, x, t), value)
        else:
            optimizer.step(flat)
    return value, scores


def _loss_and_gradient(model: Any, loss: Any, x: Array, t: Array) -> float:
    """The loss at the present parameters; their gradients are left in their place."""
    value = float(loss.forward(model.forward(x, training=True), t))
    model.backward_parameters(loss.backward())
    return value


def all_finite(array: Array) -> bool:
    """Whether a flat array holds only finite numbers.

    The sum of the squares is finite only then, and costs a tenth of ``np.isfinite(array).all()``;
    it overflows for large numbers, so that a failure is looked at.
    """
    return math.isfinite(squared_norm(array)) or bool(np.isfinite(array).all())


def explain(model: Any, loss: Any, x: Array, t: Array) -> str:
    """Where the first number appeared that is not finite."""
    for name, array in (("the input", x), ("the array of targets", t)):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            rows = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
            return f"{name} itself is not finite, first in its row {rows[0]}"
    for parameter in model.parameters():
        if not np.isfinite(parameter.value).all():
            return f"parameter {parameter.name} of layer {_owner(parameter.name)!r} is not finite"
    place = model.first_nonfinite(x, loss, t)
    if place is None:
        return "the same batch once more gives finite numbers, with other random masks"
    if place == "loss":
        return "every layer's output is finite, so it arose in the loss itself"
    return f"it arose first in layer {place!r}; a lower learning rate or scaled inputs may help"


def _owner(parameter: str) -> str:
    """The path of the layer that holds a parameter."""
    return parameter.rpartition(".")[0]
