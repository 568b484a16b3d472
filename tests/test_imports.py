"""Who imports whom: the floors of the package, and what an import of it may load."""

import ast
from pathlib import Path

import pytest

import fastscratch

PACKAGE = Path(fastscratch.__file__).parent

FLOORS = (
    ("errors", "types", "files", "arguments"),
    ("kernels",),
    ("dispatch",),
    ("ops",),
    (
        "layers",
        "losses",
        "initializers",
        "optimizers",
        "second_order",
        "schedules",
        "gradient_check",
        "testing",
    ),
    ("models", "data", "training"),
    ("plots", "experiments", "compat", "cli", "__main__"),
)
"""Lowest first. A file imports from floors below its own, and from its own without circles."""

FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def part_of(module):
    """``fastscratch.ops.conv2d`` -> ``ops``; the package itself -> empty."""
    return module.split(".")[1] if "." in module else ""


def module_of(path):
    parts = ("fastscratch", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path, *, top_level_only=False):
    """Modules of the package that a file imports, those inside of functions among them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.partition(".")[0] == "fastscratch")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            if node.module and node.module.partition(".")[0] == "fastscratch":
                for name in node.names:
                    submodule = PACKAGE.joinpath(*node.module.split(".")[1:], name.name)
                    is_module = submodule.with_suffix(".py").exists() or submodule.is_dir()
                    yield f"{node.module}.{name.name}" if is_module else node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_come_from_floors_below(path):
    own = part_of(module_of(path))
    assert own in FLOOR_OF, f"{own} stands on no floor"
    for module in imports_of(path):
        other = part_of(module)
        if other == "":
            # What the top level offers comes from floors up to the operations.
            assert FLOOR_OF[own] > FLOOR_OF["ops"], f"{path} imports the package itself"
        else:
            assert FLOOR_OF[other] <= FLOOR_OF[own], f"{own} imports {module}"


def test_no_circles():
    """At import time no file needs one that needs it."""
    graph = {
        module_of(path): {
            module for module in imports_of(path, top_level_only=True)
            if module != module_of(path)
        }
        for path in FILES
    }  # fmt: skip
    done: set[str] = set()
    path: list[str] = []

    def visit(module):
        if module in done or module not in graph:
            return
        assert module not in path, " -> ".join([*path, module])
        path.append(module)
        for other in sorted(graph[module]):
            # A package's overview gathers its files; a file asks its neighbour directly.
            if not module.startswith(other + "."):
                visit(other)
        path.pop()
        done.add(module)

    for module in graph:
        visit(module)


def test_the_reference_and_the_mirrors_do_not_know_each_other():
    for backend in ("numpy_ref", "numba_jit", "cython_ext"):
        for path in (PACKAGE / "kernels" / backend).rglob("*.py"):
            for module in imports_of(path):
                others = {"numpy_ref", "numba_jit", "cython_ext", "catalogue"} - {backend}
                assert not others & set(module.split(".")), f"{path} imports {module}"


LOADED = """
import sys
import numpy
before = set(sys.modules)
import {module}
{then}
print(*sorted(set(sys.modules) - before))
"""

HEAVY = (
    "numba", "llvmlite", "matplotlib", "pooch", "tqdm", "torch", "scipy", "PIL", "threadpoolctl",
)  # fmt: skip


@pytest.mark.parametrize(
    "module",
    [
        "fastscratch", "fastscratch.testing", "fastscratch.layers", "fastscratch.models",
        "fastscratch.training", "fastscratch.data",
    ],
)  # fmt: skip
def test_imports_nothing_heavy(run_python, module):
    loaded = run_python(LOADED.format(module=module, then="")).stdout.split()
    assert "fastscratch.ops.conv2d" in loaded
    heavy = {name.partition(".")[0] for name in loaded} & set(HEAVY)

    assert not heavy


def test_the_package_loads_few_modules_of_its_own(run_python):
    """What costs time at import is files; this counts them, so that a load does not matter."""
    loaded = run_python(LOADED.format(module="fastscratch", then="")).stdout.split()
    own = [name for name in loaded if name.startswith("fastscratch")]
    assert len(own) < 45, own
    assert len(loaded) < 100, loaded
    for lazy in ("layers", "models", "training", "data", "testing", "plots", "cli"):
        assert f"fastscratch.{lazy}" not in own


def test_a_call_on_another_backend_does_not_import_numba(run_python):
    then = """
import numpy as np
with fastscratch.use_backend("numpy"):
    fastscratch.ops.dense_forward(np.ones((1, 2)), np.ones((2, 1)))
"""
    loaded = run_python(LOADED.format(module="fastscratch", then=then)).stdout.split()
    assert "numba" not in loaded
    assert "fastscratch.kernels.numpy_ref.dense" in loaded


def test_lazy_parts_are_there_when_asked_for():
    for name in fastscratch.__all__:
        assert getattr(fastscratch, name) is not None
        assert name in dir(fastscratch)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = fastscratch.nope
