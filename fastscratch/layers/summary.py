"""The table of a network's layers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastscratch.errors import ShapeError, TrainingError
from fastscratch.layers.shapes import Shape

if TYPE_CHECKING:
    from fastscratch.layers.base import Layer


@dataclass(frozen=True)
class SummaryRow:
    """One layer: its path, kind, output shape, number of parameters and of multiply-adds."""

    path: str
    kind: str
    output_shape: Shape
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Summary:
    """The rows of a network's table; ``str()`` lays it out.

    Attributes
    ----------
    rows : tuple of SummaryRow
        One a layer, in the order of the network.
    output_shape : tuple of int
        Of the network, without the batch axis.

    Examples
    --------
    >>> from fastscratch.layers import Dense
    >>> dense = Dense(10)
    >>> dense.build((784,))
    (10,)
    >>> summarize(dense).multiply_adds
    7840
    """

    rows: tuple[SummaryRow, ...]
    output_shape: Shape

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the forward pass for one sample (matrix products only)."""
        return sum(row.multiply_adds for row in self.rows)

    def __str__(self) -> str:
        cells = [("layer", "kind", "output", "parameters", "multiply-adds")]
        cells += [_cells(row) for row in self.rows]
        total = SummaryRow("total", "", self.output_shape, self.parameters, self.multiply_adds)
        cells.append(_cells(total))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        cells.insert(1, tuple("-" * width for width in widths))  # type: ignore[arg-type]
        return "\n".join(_line(row, widths) for row in cells)


def summarize(model: "Layer", input_shape: Shape | None = None) -> Summary:
    """The table of a layer and all layers inside it.

    Parameters
    ----------
    model : Layer
        Built, or not if a shape is given.
    input_shape : tuple of int, optional
        Without the batch axis; for a network that is not built, and is not built by this.

    Returns
    -------
    Summary

    Raises
    ------
    TrainingError
        If the network is not built and no shape is given.
    ShapeError
        If it is built for another shape.
    """
    if model.built and input_shape is not None and tuple(input_shape) != model.input_shape:
        raise ShapeError(f"the network is built for input {model.input_shape}, not {input_shape}")
    if not model.built and input_shape is not None:
        model = type(model).from_config(model.config())
        model.build(input_shape)
    if model.output_shape is None:
        raise TrainingError("the network is not built yet: summary(input_shape=(1, 28, 28)), say")
    leaves = [layer for layer in model.walk() if not layer.children()]
    return Summary(tuple(_row(layer) for layer in leaves), model.output_shape)


def _row(layer: Any) -> SummaryRow:
    parameters = sum(parameter.size for parameter in layer.parameters())
    return SummaryRow(
        layer.path, type(layer).__name__, layer.output_shape, parameters, layer.multiply_adds()
    )


def _cells(row: SummaryRow) -> tuple[str, str, str, str, str]:
    shape = str(row.output_shape)
    return row.path, row.kind, shape, f"{row.parameters:,}", f"{row.multiply_adds:,}"


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    words = [word.ljust(width) for word, width in zip(row[:3], widths, strict=False)]
    numbers = [word.rjust(width) for word, width in zip(row[3:], widths[3:], strict=True)]
    return "  ".join(words + numbers)
