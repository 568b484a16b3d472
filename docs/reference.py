"""Writes the API reference: a page for each part of the package, from its public names."""

import importlib
import inspect
from pathlib import Path

HERE = Path(__file__).resolve().parent / "api"

PARTS = {
    "fastscratch": ("Choosing an implementation", "What steers the choice, and what tells of it."),
    "fastscratch.ops": ("Operations", "Checked, dispatched, the same whichever version runs."),
    "fastscratch.layers": ("Layers", "Parts of a network."),
    "fastscratch.losses": ("Losses", "One number for a batch, and its gradient."),
    "fastscratch.optimizers": ("Optimizers", "What changes parameters by their gradients."),
    "fastscratch.schedules": ("Schedules", "Learning rates that change."),
    "fastscratch.initializers": ("Initializers", "First values of parameters."),
    "fastscratch.gradient_check": ("Gradient checks", "Backward passes against differences."),
    "fastscratch.models": ("Models", "Whole networks."),
    "fastscratch.data": ("Data", "What feeds them."),
    "fastscratch.training": ("Training", "What trains them."),
    "fastscratch.plots": ("Plots", "Pictures of what happened."),
    "fastscratch.testing": ("Judging kernels", "The harness for kernels of your own."),
    "fastscratch.compat.cs231n": ("CS231n's layer functions", "Names and caches of the course."),
    "fastscratch.errors": ("Errors and warnings", "All derive from one."),
}


def public_names(module_name, seen):
    """Functions and classes that a part offers, but for those that another part has shown."""
    module = importlib.import_module(module_name)
    names = getattr(module, "__all__", None) or [
        name for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module_name
    ]  # fmt: skip
    for name in sorted(names, key=str.lower):
        value = getattr(module, name)
        if (inspect.isroutine(value) or inspect.isclass(value)) and value not in seen:
            seen.add(value)
            yield name


def write_page(module_name, title, text, seen):
    lines = [title, "=" * len(title), "", text, "", f".. currentmodule:: {module_name}", ""]
    lines += [".. autosummary::", "   :toctree: generated", "   :nosignatures:", ""]
    lines += [f"   {name}" for name in public_names(module_name, seen)]
    write(HERE / f"{module_name}.rst", "\n".join(lines) + "\n")


def write_reference():
    """The pages, and their index."""
    HERE.mkdir(exist_ok=True)
    seen: set[object] = set()
    for module_name, (title, text) in PARTS.items():
        write_page(module_name, title, text, seen)
    lines = ["Reference", "=========", "", ".. toctree::", "   :maxdepth: 1", ""]
    lines += [f"   {module_name}" for module_name in PARTS]
    write(HERE / "index.rst", "\n".join(lines) + "\n")


def write(path, text):
    """Leave a file that is right: Sphinx reads again what is newer."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
