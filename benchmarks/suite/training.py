"""Whole training steps: forward, loss, backward, update, as the trainer does them."""

import importlib.util
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from . import grid
from .calls import Call, TimedCalls

NETWORKS = ("mlp", "simple_conv_net", "vgg", "resnet")


class training_step(TimedCalls):
    """Seconds of a training step, BLAS at one thread, arrays used again."""

    params = (NETWORKS, grid.backends()[:1] if grid.size() == "toy" else grid.backends(),
              grid.threads())  # fmt: skip
    param_names = ("network", "backend", "threads")

    def prepare(self, *params: Any) -> Call:
        network, backend, threads = params
        networks = load_networks()
        from fastscratch.dispatch import single_blas_thread

        batch = 2 if grid.size() == "toy" else None
        blocks = ExitStack()  # stays open until the process ends
        blocks.enter_context(single_blas_thread())
        step: Call = blocks.enter_context(networks.our_step(network, backend, threads, batch))
        self.blocks = blocks
        step()
        return step


def load_networks() -> Any:
    """The module beside the suite, which asv cannot import by name."""
    path = Path(__file__).resolve().parents[1] / "networks.py"
    spec = importlib.util.spec_from_file_location("networks", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise NotImplementedError(f"this commit has no such layers: {error}") from None
    return module
