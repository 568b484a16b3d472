"""Which implementation each operation of a network runs on, why, and what it takes."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastscratch.dispatch import Choice, record_decisions
from fastscratch.dispatch.measure import Candidate, measure
from fastscratch.errors import ShapeError
from fastscratch.kernels.catalogue import OPS
from fastscratch.kernels.problem import Problem
from fastscratch.types import Array

if TYPE_CHECKING:
    from fastscratch.layers.sequential import Sequential


@dataclass(frozen=True)
class ExplainedCall:
    """One operation of a network.

    Attributes
    ----------
    layer : str
        Path of the layer, or of several that run as one, with ``+`` between them.
    problem, implementation, rule : str
        What is computed, what runs it, and what decided that.
    num_threads : int
        How many threads it is given.
    seconds : float
        Of a call, measured here on arrays of this shape.
    nbytes : int
        Of all its arrays: the least that must move.
    """

    layer: str
    problem: str
    implementation: str
    rule: str
    num_threads: int
    seconds: float
    nbytes: int


@dataclass(frozen=True)
class NetworkExplanation:
    """The operations of a training step, or of a prediction; ``str()`` lays out a table.

    Attributes
    ----------
    calls : tuple of ExplainedCall
        In the order in which they run.
    """

    calls: tuple[ExplainedCall, ...]

    @property
    def seconds(self) -> float:
        """Of all operations together."""
        return sum(call.seconds for call in self.calls)

    def __str__(self) -> str:
        rows = [("layer", "problem", "runs on", "threads", "ms", "share", "MB", "why")]
        whole = self.seconds or 1.0
        rows += [
            (
                call.layer, call.problem, call.implementation, str(call.num_threads),
                f"{1e3 * call.seconds:.3f}", f"{100 * call.seconds / whole:.1f} %",
                f"{call.nbytes / 1e6:.2f}", call.rule,
            )
            for call in self.calls
        ]  # fmt: skip
        rows.append(("total", "", "", "", f"{1e3 * self.seconds:.3f}", "", "", ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        rows.insert(1, tuple("-" * width for width in widths))  # type: ignore[arg-type]
        return "\n".join(_line(row, widths) for row in rows)


def explain_network(model: "Sequential", x: Array, training: bool = True) -> NetworkExplanation:
    """Run a copy of a network step by step, and tell what each of its operations ran on.

    Parameters
    ----------
    model : Sequential
        Built, or to be built by ``x``; neither its parameters nor its statistics change.
    x : ndarray, shape ``(N, *input_shape)``
        A batch.
    training : bool
        Whether to run the backward pass, too.

    Returns
    -------
    NetworkExplanation

    Raises
    ------
    ShapeError, DtypeError
        As ``forward`` does.
    """
    if len(x) == 0:
        raise ShapeError("explain needs a batch of one sample or more")
    model = copy.deepcopy(model)
    model.forward(x)  # builds it, and names the layer that the batch does not fit
    steps = list(_flattened([model]))
    calls: list[ExplainedCall] = []
    for step in steps:
        with record_decisions() as decisions:
            x = step.forward(x, training)
        calls += [_explained(step.path, *decision) for decision in decisions]
    if training:
        dout = np.ones_like(x)
        have = [place for place, step in enumerate(steps) if step.parameters()]
        first = have[0] if have else len(steps) - 1
        for step in steps[: first - len(steps) - 1 : -1]:
            with record_decisions() as decisions:
                if step is steps[first]:
                    step.backward_parameters(dout)
                else:
                    dout = step.backward(dout)
            calls += [_explained(step.path, *decision) for decision in decisions]
    return NetworkExplanation(tuple(calls))


def _flattened(steps: Iterable[Any]) -> Iterable[Any]:
    """Steps, those of networks inside of networks in their places."""
    for step in steps:
        inner = getattr(step, "steps", None)
        # A network that was given a backend lends it to its layers: it stays whole.
        if inner is None or step.backend is not None:
            yield step
        else:
            yield from _flattened(inner)


def _explained(layer: str, problem: Problem, choice: Choice) -> ExplainedCall:
    name = choice.implementation.name
    times = measure(problem, [Candidate(name, choice.kernel, choice.num_threads)], 0.0)
    return ExplainedCall(
        layer, str(problem), name, choice.rule, choice.num_threads, times[name],
        OPS[problem.op].nbytes(problem),
    )  # fmt: skip


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    words = [
        word.rjust(width) if place in (3, 4, 5, 6) else word.ljust(width)
        for place, (word, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(words).rstrip()
