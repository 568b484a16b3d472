"""Run every benchmark of the suite once, at toy size, in this process: do they work?

    python -m benchmarks.once                 all of them
    python -m benchmarks.once conv2d compil   those whose name holds one of these

Prints each, and fails where one does, or where there is none to run. The ordinary tests run it.
"""

import argparse
import importlib
import inspect
import itertools
import os
import pkgutil
import sys
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

KINDS = ("time_", "timeraw_", "track_")
"""How asv knows a benchmark: by the first word of a method's name."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="run only benchmarks whose name holds one of them")
    options = parser.parse_args(arguments)
    os.environ["FASTSCRATCH_BENCHMARKS"] = "toy"  # before the suite is imported
    count = 0
    for name, benchmark, params in benchmarks():
        text = f"{name}({', '.join(map(str, params))})"
        if options.words and not any(word in text for word in options.words):
            continue
        # In a context of its own: asv gives each a process, and what one has set ends with it.
        count += copy_context().run(run_once, name, benchmark, params, text)
    print(f"{count} benchmarks ran")
    return 0 if count else 1


def run_once(name: str, benchmark: Any, params: tuple[Any, ...], text: str) -> bool:
    """Run one benchmark; whether it could."""
    instance = benchmark()
    try:
        instance.setup(*params) if hasattr(instance, "setup") else None
    except NotImplementedError as error:
        print(f"n/a: {text}: {error}")
        return False
    value = getattr(instance, name.rpartition(".")[2])(*params)
    if "timeraw_" in name:
        exec(compile(value, name, "exec"), {})
    elif "track_" in name and not (isinstance(value, float) and value >= 0):
        raise SystemExit(f"{text} gave {value!r}, expected a number")
    print(text, flush=True)
    return True


def benchmarks() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Every benchmark, as asv finds them: name, class, and each combination of parameters."""
    suite = importlib.import_module("benchmarks.suite")
    for found in pkgutil.iter_modules(suite.__path__):
        module = importlib.import_module(f"{suite.__name__}.{found.name}")
        for name, value in sorted(vars(module).items()):
            if name.startswith(KINDS):
                raise SystemExit(f"asv takes the function {found.name}.{name} for a benchmark")
            if name.startswith("_") or not inspect.isclass(value) or inspect.isabstract(value):
                continue
            for method in dir(value):
                if method.startswith(KINDS):
                    for params in itertools.product(*getattr(value, "params", ())):
                        yield f"{found.name}.{name}.{method}", value, params


if __name__ == "__main__":
    sys.exit(main())
