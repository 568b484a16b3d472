"""Deep learning from scratch, at the speed of the machine.

Every operation is written three times under one name: as readable NumPy (the definition), as a
Numba kernel (compiled at first call) and as a Cython kernel (compiled at install). A dispatch layer
runs the fastest one that is there, says which and why, and lets you put your own in its place::

    ops          the operations:   fastscratch.ops.conv2d_forward(x, weight, padding="same")
    layers       parts of a network, with losses, initializers, optimizers and schedules
    models       whole networks    data   what feeds them    training   what trains them
    dispatch     use_backend, threads, accuracy, tuning, explain, show_config, register_kernel
    testing      check_kernel, the judge of every implementation
"""

import importlib
from typing import TYPE_CHECKING, Any

from fastscratch import errors, ops
from fastscratch.dispatch import (
    accuracy,
    available_backends,
    deterministic,
    fallback,
    get_num_threads,
    record_choices,
    register_kernel,
    set_num_threads,
    show_config,
    threads,
    tuning,
    unregister_kernel,
    use_backend,
)
from fastscratch.ops import explain

if TYPE_CHECKING:
    from fastscratch import (
        data,
        gradient_check,
        initializers,
        layers,
        losses,
        models,
        optimizers,
        plots,
        schedules,
        testing,
        training,
    )

__version__ = "0.1.0"

# Imported at first use, so that the package costs little more to import than NumPy.
_LAZY = frozenset({
    "data", "gradient_check", "initializers", "layers", "losses", "models", "optimizers", "plots",
    "schedules", "testing", "training",
})  # fmt: skip

__all__ = [
    "accuracy",
    "available_backends",
    "data",
    "deterministic",
    "errors",
    "explain",
    "fallback",
    "get_num_threads",
    "gradient_check",
    "initializers",
    "layers",
    "losses",
    "models",
    "ops",
    "optimizers",
    "plots",
    "record_choices",
    "register_kernel",
    "schedules",
    "set_num_threads",
    "show_config",
    "testing",
    "threads",
    "training",
    "tuning",
    "unregister_kernel",
    "use_backend",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"fastscratch.{name}")
    raise AttributeError(f"module 'fastscratch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
