"""The rules of the layout and of style that a small program can check."""

import ast
import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

import fastscratch
from fastscratch.errors import FastscratchError
from fastscratch.kernels.catalogue import BACKENDS, OPS

PACKAGE = Path(fastscratch.__file__).parent
ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src_kernels"
MODULES = sorted({spec.module for spec in OPS.values()})
PYTHON = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN_NAMES = ("utils", "util", "helpers", "helper", "misc", "common", "data2")


@pytest.mark.parametrize("op", OPS)
def test_an_operation_is_defined_once_in_public_and_once_a_version(op):
    """``git grep 'def conv2d_forward('`` prints the public function and its three versions."""
    module = OPS[op].module
    places = {
        PACKAGE / "ops" / f"{module}.py",
        PACKAGE / "kernels/numpy_ref" / f"{module}.py",
        PACKAGE / "kernels/numba_jit" / f"{module}.py",
        SOURCES / f"{module}.pyx",
    }
    if not SOURCES.exists():
        pytest.skip("the sources of the Cython kernels are not here: tests run without them")
    # "compat" has other people's names, some of which are ours, too.
    files = [path for path in PYTHON if PACKAGE / "compat" not in path.parents]
    files = [*files, *SOURCES.rglob("*.pyx"), *SOURCES.rglob("*.pxd")]
    found = [
        path for path in files
        for line in path.read_text(encoding="utf-8").splitlines() if f"def {op}(" in line
    ]  # fmt: skip
    assert sorted(found) == sorted(places)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_one_name_everywhere(module):
    for folder in ("ops", "kernels/numpy_ref", "kernels/numba_jit"):
        assert (PACKAGE / folder / f"{module}.py").exists()
    for folder in ("tests/ops", "tests/kernels/numpy_ref"):
        assert (ROOT / folder / f"test_{module}.py").exists()
    assert not SOURCES.exists() or (SOURCES / f"{module}.pyx").exists()


@pytest.mark.parametrize("op", OPS)
def test_signatures_of_all_versions_are_the_catalogues(op, backend):
    for implementation in OPS[op].implementations:
        if implementation.backend == backend:
            parameters = inspect.signature(implementation.load()).parameters
            assert tuple(parameters) == OPS[op].kernel_parameters


@pytest.mark.parametrize("op", OPS)
def test_every_version_has_its_formula(op, backend):
    for implementation in OPS[op].implementations:
        if implementation.backend == backend:
            kernel = implementation.load()
            assert kernel.__doc__
            algorithm = implementation.algorithm
            assert kernel.__name__ == (algorithm.functions[op] if algorithm else op)


LOOPS_OVER = re.compile(r"range\((KH|KW|groups|kernel_size\[[01]\])\)")


@pytest.mark.parametrize("path", sorted((PACKAGE / "kernels/numpy_ref").glob("*.py")), ids=str)
def test_the_reference_loops_over_kernel_positions_and_groups_only(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.While), f"{path}:{node.lineno}"
        if isinstance(node, ast.For | ast.comprehension):
            over = ast.unparse(node.iter)
            assert LOOPS_OVER.fullmatch(over), f"{path} loops over {over}"
    assert "np.vectorize" not in ast.unparse(tree)


def public_objects():
    """Everything public that a user is shown: what stands in __all__ of the packages."""
    for name in ("", ".ops", ".dispatch", ".errors", ".layers", ".models", ".training", ".data",
                 ".testing", ".plots", ".experiments", ".compat.cs231n"):  # fmt: skip
        module = importlib.import_module(f"fastscratch{name}")
        for attribute in getattr(module, "__all__", ()):
            value = getattr(module, attribute)
            if inspect.isroutine(value) or inspect.isclass(value):
                yield f"fastscratch{name}.{attribute}", value


PUBLIC = dict(public_objects())


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name):
    text = inspect.getdoc(PUBLIC[name])
    assert text
    assert not text.startswith(f"{name.rpartition('.')[2]}(")


TOP_LEVEL = {
    name: value for name, value in PUBLIC.items()
    if name.count(".") == 1 or name.startswith("fastscratch.ops.")
}  # fmt: skip


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_what_is_used_most_comes_with_an_example(name):
    assert ">>> " in (inspect.getdoc(TOP_LEVEL[name]) or "")


def test_examples_are_found_by_the_doctest_runner():
    finder = doctest.DocTestFinder()
    examples = sum(len(test.examples) for test in finder.find(fastscratch.ops.conv2d_forward))
    assert examples >= 4


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_style_of_a_file(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "the first line says what the file is for"
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    assert not set(parts) & set(FORBIDDEN_NAMES)
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert "*" not in [alias.name for alias in node.names], "a wildcard import"
            assert node.module != "pickle"
        elif isinstance(node, ast.Import):
            assert not {alias.name for alias in node.names} & {"pickle", "marshal", "shelve"}
        elif isinstance(node, ast.ExceptHandler):
            assert node.type is not None, "an except that catches everything"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print" or parts[0] in ("cli", "__main__"), "a print"
            assert node.func.id not in ("eval", "exec")


def test_every_error_derives_from_one():
    for name, value in vars(fastscratch.errors).items():
        if inspect.isclass(value) and issubclass(value, Exception):
            fits = issubclass(value, FastscratchError | Warning)
            assert fits, f"{name} is not a FastscratchError"
            assert value.__doc__


def test_backends_are_listed_best_first_and_end_in_the_reference():
    assert list(BACKENDS) == ["cython", "numba", "numpy"]


TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_tests_watch_no_clock(path):
    if path == Path(__file__).resolve():
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assert):
            text = ast.unparse(node)
            assert not re.search(r"perf_counter|monotonic\(|time\.time\(|elapsed|seconds <", text)
