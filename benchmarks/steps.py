"""Time whole training steps: forward, loss, backward, update; beside PyTorch's.

    python -m benchmarks.steps                           all networks, one thread and all
    python -m benchmarks.steps --model mlp --threads 2   one of them, two threads
    python -m benchmarks.steps --parts                   where a step's time goes, by operation

Every round runs each candidate for a moment, one after the other; the medians are printed. PyTorch
runs the same network plainly and in the layout channels_last; "x torch" is how many times faster
than the better of the two a backend is. Steps are those of `fastscratch.training.Trainer`: BLAS at
one thread, arrays used again, the loss read and looked at. PyTorch's optimizers are its fused ones.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import fastscratch as fs
from benchmarks.networks import MODELS, make_batch, our_step
from benchmarks.suite.calls import seconds_of_call
from fastscratch.dispatch import single_blas_thread
from fastscratch.dispatch.machine import processor_name, usable_processors
from fastscratch.dispatch.settings import forget_plans
from fastscratch.kernels.catalogue import BACKENDS, backend_reason
from fastscratch.layers import (
    BatchNorm,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
)
from fastscratch.ops import plan
from fastscratch.optimizers import Momentum, Optimizer

SHORT = 0.05
"""Seconds that a candidate runs in a round, about."""

Step = Callable[[], Any]


def main() -> int:
    there = [name for name in BACKENDS if not backend_reason(name)]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="", help="only networks whose name holds this")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, usable_processors()])
    parser.add_argument("--backends", nargs="+", default=there)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-torch", action="store_true", help="without PyTorch beside them")
    parser.add_argument("--parts", action="store_true", help="time by operation, without PyTorch")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args()

    print(f"{processor_name()}, level {fs.show_config()['compiled level']}, f32")
    rows: list[dict[str, Any]] = []
    for num_threads in dict.fromkeys(options.threads):
        for name in MODELS:
            if options.model not in name:
                continue
            measure = measure_parts if options.parts else measure_steps
            rows.append({"model": name, "threads": num_threads,
                         **measure(name, num_threads, options)})  # fmt: skip
            print(parts_text(rows[-1]) if options.parts else line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if rows else 1


def measure_steps(name: str, num_threads: int, options: argparse.Namespace) -> dict[str, Any]:
    """Median seconds of a step of each candidate, in interleaved rounds."""
    with ExitStack() as stack:
        stack.enter_context(single_blas_thread())
        steps: dict[str, Step] = {
            backend: stack.enter_context(our_step(name, backend, num_threads))
            for backend in options.backends
        }
        if not options.no_torch:
            steps |= torch_steps(name, num_threads)
        seconds: dict[str, list[float]] = {candidate: [] for candidate in steps}
        repeats = {}
        for candidate, step in steps.items():
            step()  # compiles, and plans
            repeats[candidate] = min(1000, max(1, int(SHORT / seconds_of_call(step, 2))))
        for _ in range(options.rounds):
            for candidate, step in steps.items():
                time.sleep(0.002)  # the pool of the last candidate stops spinning
                step()
                seconds[candidate].append(seconds_of_call(step, repeats[candidate]))
    return {"seconds": {key: statistics.median(values) for key, values in seconds.items()}}


def torch_steps(name: str, num_threads: int) -> dict[str, Step]:
    """PyTorch's step, in both layouts where there are images."""
    import torch

    torch.set_num_threads(num_threads)
    make, shape, batch, make_optimizer = MODELS[name]
    layouts = {"torch": torch.contiguous_format}
    if len(shape) == 3:
        layouts["torch channels_last"] = torch.channels_last
    steps = {}
    for label, layout in layouts.items():
        steps[label] = _torch_step(make, shape, batch, make_optimizer(), layout)
    return steps


def _torch_step(
    make: Callable[[], Sequential], shape: tuple[int, ...], batch: int, ours: Optimizer, layout: Any
) -> Step:
    import torch

    model = make()
    if not model.built:
        model.build(shape)
    twin = torch_twin(model).to(memory_format=layout)
    kind = {"Adam": torch.optim.Adam, "SGD": torch.optim.SGD, "Momentum": torch.optim.SGD}
    momentum = {"momentum": 0.9} if isinstance(ours, Momentum) else {}
    optimizer = kind[type(ours).__name__](twin.parameters(), lr=1e-6, fused=True, **momentum)
    loss = torch.nn.CrossEntropyLoss()
    x, t = (torch.from_numpy(array) for array in make_batch(shape, batch))
    if len(shape) == 3:
        x = x.contiguous(memory_format=layout)

    def step() -> float:
        value = loss(twin(x), t)
        value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(value.item())

    return step


def torch_twin(layer: Any) -> Any:
    """The same network in PyTorch, with its own first weights."""
    from torch import nn

    inputs = layer.input_shape[0]
    if isinstance(layer, Sequential):
        return nn.Sequential(*(torch_twin(child) for _, child in layer.children()))
    if isinstance(layer, Residual):
        return _torch_residual(
            torch_twin(layer.body), layer.shortcut and torch_twin(layer.shortcut)
        )
    if isinstance(layer, Conv2d):
        padding: Any = layer.padding
        return nn.Conv2d(
            inputs, layer.out_channels, layer.kernel_size, layer.stride, padding,
            bias=layer.use_bias,
        )  # fmt: skip
    if isinstance(layer, Dense):
        return nn.Linear(inputs, layer.out_features)
    if isinstance(layer, BatchNorm):
        return nn.BatchNorm2d(inputs)
    if isinstance(layer, GlobalAvgPool2d):
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if isinstance(layer, MaxPool2d):
        return nn.MaxPool2d(layer.kernel_size, layer.stride)
    return {ReLU: nn.ReLU, Flatten: nn.Flatten}[type(layer)]()


def _torch_residual(body: Any, shortcut: Any) -> Any:
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.shortcut = body, shortcut

        def forward(self, x: Any) -> Any:
            return self.body(x) + (x if self.shortcut is None else self.shortcut(x))

    return Block()


def measure_parts(name: str, num_threads: int, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step by kernel, and what is left: Python, checks, allocation."""
    found: dict[str, Any] = {}
    for backend in options.backends:
        with single_blas_thread(), our_step(name, backend, num_threads) as step:
            step()
            repeats = min(1000, max(3, int(10 * SHORT / seconds_of_call(step, 2))))
            whole = min(seconds_of_call(step, repeats) for _ in range(options.rounds))
            with timed_kernels() as spent:
                for _ in range(options.rounds):
                    for _ in range(repeats):
                        step()
                    spent.close_round()
            parts = {key: value / repeats for key, value in spent.least.items()}
            found[backend] = {"step": whole, "kernels": parts}
    return {"parts": found}


class Spent:
    """Seconds by problem in the present round, and the least of all rounds."""

    def __init__(self) -> None:
        self.now: dict[str, float] = {}
        self.least: dict[str, float] = {}

    def close_round(self) -> None:
        for key, value in self.now.items():
            self.least[key] = min(value, self.least.get(key, value))
        self.now = {}


@contextmanager
def timed_kernels() -> Any:
    """Every kernel that a plan calls reports its time."""
    spent = Spent()
    plans: Any = plan
    make_plan = plans._make_plan

    def timed(*arguments: Any) -> plan.Plan:
        made = make_plan(*arguments)
        key = str(made.problem)

        def run(*arguments: Any) -> None:
            start = time.perf_counter()
            made.kernel(*arguments)
            spent.now[key] = spent.now.get(key, 0) + time.perf_counter() - start

        return made._replace(kernel=run)

    forget_plans()
    plans._make_plan = timed
    try:
        yield spent
    finally:
        plans._make_plan = make_plan
        forget_plans()


def line(row: dict[str, Any]) -> str:
    parts = [f"{row['model']:16} {row['threads']} thr"]
    seconds = row["seconds"]
    judges = [value for key, value in seconds.items() if key.startswith("torch")]
    for name, value in seconds.items():
        text = f"{name} {value * 1e3:8.3f} ms"
        if judges and not name.startswith("torch"):
            text += f" {min(judges) / value:5.2f} x torch"
        parts.append(text)
    return " | ".join(parts)


def parts_text(row: dict[str, Any]) -> str:
    lines = []
    for backend, found in row["parts"].items():
        whole = found["step"]
        lines.append(f"{row['model']} {row['threads']} thr, {backend}: {whole * 1e6:.1f} us a step")
        for key, value in sorted(found["kernels"].items(), key=lambda item: -item[1]):
            lines.append(f"    {value * 1e6:9.1f} us {value / whole:6.1%}  {key}")
        rest = whole - sum(found["kernels"].values())
        lines.append(f"    {rest * 1e6:9.1f} us {rest / whole:6.1%}  outside of kernels")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
