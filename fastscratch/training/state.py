"""What a checkpoint holds: everything that decides how a run goes on, and what it belongs to.

The header of a checkpoint (see `fastscratch.training.checkpoint_file`) holds, beyond the format's
own entries:

``fastscratch``, ``numpy``, ``python``
    Versions that wrote it.
``run``
    What the checkpoint belongs to; a run that differs in any entry cannot go on from it. Its entry
    ``architecture``, with ``input_shape`` and ``dtype``, tells how to build the network again.
``progress``, ``history``, ``base_lr``, ``stopped``
    Where the run is.
``optimizer``, ``callbacks``
    Their states, with ``{"array": name}`` in the place of each array.
``threads``, ``implementations``
    The number of threads, and which implementation ran for each operation.

Its arrays: ``model/NAME`` for parameters and buffers (running statistics, the counters of random
masks), and those of the optimizer's and the callbacks' states. The order of samples is a function
of the seed and the epoch, so that no generator's state needs to be kept.
"""

import hashlib
import inspect
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastscratch.dispatch import use_backend
from fastscratch.errors import CheckpointError, FastscratchError
from fastscratch.types import Array

_ARRAY = "array"


def split_arrays(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """`value` as JSON can hold it, its arrays moved into `arrays` under names that begin alike.

    >>> arrays = {}
    >>> split_arrays({"t": 3, "v": np.zeros(2)}, "optimizer", arrays)
    {'t': 3, 'v': {'array': 'optimizer/v'}}
    >>> list(arrays)
    ['optimizer/v']
    """
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {_ARRAY: name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value) or set(value) == {_ARRAY}:
            raise CheckpointError(f"{name}: keys of a state must be texts, and not just {_ARRAY!r}")
        return {key: split_arrays(item, f"{name}/{key}", arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [split_arrays(item, f"{name}/{i}", arrays) for i, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CheckpointError(f"{name}: a checkpoint cannot hold a {type(value).__name__}")


def join_arrays(value: Any, arrays: Mapping[str, Array]) -> Any:
    """The inverse of `split_arrays`; the arrays are copies."""
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            return arrays[value[_ARRAY]].copy()
        return {key: join_arrays(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [join_arrays(item, arrays) for item in value]
    return value


def describe(thing: Any) -> Any:
    """The kind of an object and its settings, for the comparison of two runs.

    Settings are the attributes named as the arguments of its class.

    >>> from fastscratch.schedules import StepDecay
    >>> describe(StepDecay(every=10))
    {'kind': 'StepDecay', 'every': 10, 'factor': 0.1}
    """
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, np.generic):
        return thing.item()
    if inspect.isroutine(thing):
        return {"kind": thing.__qualname__}
    names = inspect.signature(type(thing)).parameters
    settings = {name: describe(getattr(thing, name, None)) for name in names}
    return {"kind": type(thing).__qualname__, **settings}


def digest_data(*arrays: Array) -> str:
    """SHA-256 of a data set."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def refuse_other_run(here: Mapping[str, Any], there: Mapping[str, Any], folder: Any) -> None:
    """Raise if a checkpoint belongs to another run than this, naming every difference."""
    here = json.loads(json.dumps(here))
    differences = [
        f"  {name}: {_short(here.get(name))} here, {_short(there.get(name))} in the checkpoint"
        for name in {**here, **there}
        if here.get(name) != there.get(name)
    ]
    if differences:
        raise CheckpointError(
            f"the checkpoint in {folder} belongs to another run:\n"
            + "\n".join(differences)
            + "\nresume with what it was begun with, or begin a new run in another folder"
        )


def choices_to_restore(
    implementations: Mapping[str, Mapping[str, int]], complete: bool
) -> dict[str, str]:
    """For `use_backend`: what ran for each operation, where that was one thing.

    While not every problem of the run has been met (`complete` is False), or where several
    algorithms of one backend shared an operation's problems, the backend is settled, which chooses
    among its algorithms by the problem. Where several backends shared them, the rules that chose
    choose again. `refuse_other_choices` looks at the outcome.
    """
    chosen = {}
    for op, counts in implementations.items():
        names = set(counts)
        if len(names) > 1 or not complete:
            names = {name.partition(":")[0] for name in counts}
        if len(names) == 1:
            chosen[op] = names.pop()
    return chosen


def refuse_other_choices(
    before: Mapping[str, Mapping[str, int]], now: Mapping[str, Mapping[str, int]]
) -> None:
    """Raise if a resumed run uses an implementation that the run before did not."""
    for op, names in now.items():
        foreign = sorted(names.keys() - before[op].keys()) if op in before else []
        if foreign:
            raise CheckpointError(
                f"the resumed run uses {', '.join(foreign)} for {op}, where the run before used "
                f"{', '.join(before[op])}, so that it would not go on bit for bit; "
                f"resume under the use_backend, accuracy and FASTSCRATCH_BACKEND it was begun under"
            )


def check_available(choices: Mapping[str, str]) -> None:
    """Raise if an implementation that the run used is not here any more."""
    for op, name in choices.items():
        try:
            with use_backend(**{op: name}):
                pass
        except FastscratchError as error:
            raise CheckpointError(
                f"the checkpoint's run used {name!r} for {op}, which is not available here, and "
                f"with another implementation it would not go on bit for bit: {error}"
            ) from error


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
