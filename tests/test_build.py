"""What `pip` makes of the project: wheel and sdist, with and without compiled kernels."""

import json
import os
import sys
import tarfile
import venv
import zipfile

import numpy as np
import pytest
from source_copy import ROOT, copy_sources, run

from fastscratch.kernels.catalogue import OPS

INFO = "fastscratch/kernels/cython_ext/build_info.json"
NO_COMPILER = {"CC": "there-is-no-such-compiler"}


@pytest.fixture
def checkout(tmp_path):
    """A copy of the sources, as a fresh clone has them."""
    return copy_sources(tmp_path / "checkout")


def make_wheel(checkout, *, check=True, **environment):
    """The process, and the wheel if there is one."""
    folder = checkout.parent / "wheels"
    options = ["--no-build-isolation", "--no-deps", "--no-index", "-w", folder]
    done = run(
        sys.executable, "-m", "pip", "wheel", ".", *options,
        cwd=checkout, check=check, **environment,
    )  # fmt: skip
    return done, next(iter(folder.glob("*.whl")), None)


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist(), json.loads(archive.read(INFO))


def test_skip_builds_nothing_and_says_so(checkout):
    _, wheel = make_wheel(checkout, FASTSCRATCH_BUILD="skip")
    names, info = contents(wheel)
    assert not [name for name in names if name.endswith((".so", ".pyd", ".c", ".pyx", ".h"))]
    assert info == {
        "built": False,
        "reason": "the package was installed with FASTSCRATCH_BUILD=skip",
        "checks": False,
        "sanitized": False,
    }


def test_skip_leaves_no_earlier_build_behind(checkout):
    stale = checkout / "fastscratch/kernels/cython_ext/avx2"
    stale.mkdir(exist_ok=True)
    (stale / "conv2d.so").write_bytes(b"")
    run(
        sys.executable, "setup.py", "build_ext", "--inplace", cwd=checkout, FASTSCRATCH_BUILD="skip"
    )
    assert not stale.exists()
    assert json.loads((checkout / INFO).read_text())["built"] is False


def test_auto_installs_without_a_compiler_and_records_why(checkout):
    _, wheel = make_wheel(checkout, **NO_COMPILER)
    names, info = contents(wheel)
    assert not [name for name in names if name.endswith(".so")]
    assert info["built"] is False
    assert "there is no C compiler (there-is-no-such-compiler)" in info["reason"]


def test_auto_installs_where_the_c_code_does_not_compile(checkout):
    header = checkout / "src_kernels/tile.h"
    header.write_text("#error not on this compiler\n")
    _, wheel = make_wheel(checkout, FASTSCRATCH_BUILD="auto")
    names, info = contents(wheel)
    assert not [name for name in names if name.endswith(".so")]
    assert info["built"] is False
    assert "CompileError" in info["reason"]


def test_auto_installs_where_cython_fails(checkout):
    (checkout / "src_kernels/dense.pyx").write_text("cdef int f(:\n")
    _, wheel = make_wheel(checkout, FASTSCRATCH_BUILD="auto")
    _, info = contents(wheel)
    assert info["built"] is False
    assert "CompileError" in info["reason"]


def test_require_fails_without_a_compiler(checkout):
    done, wheel = make_wheel(checkout, check=False, FASTSCRATCH_BUILD="require", **NO_COMPILER)
    assert done.returncode != 0
    assert wheel is None
    assert "there is no C compiler" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("FASTSCRATCH_BUILD", "maybe", "auto, require or skip"),
        ("FASTSCRATCH_CHECKS", "yes", "0 or 1"),
        ("FASTSCRATCH_SANITIZE", "address", "0 or 1"),
        ("FASTSCRATCH_VECTOR_BYTES", "48", "16, 32 or 64"),
    ],
)
def test_an_unknown_setting_is_an_error(variable, value, expected, checkout):
    done = run(
        sys.executable, "setup.py", "build_ext", cwd=checkout, check=False, **{variable: value}
    )
    assert done.returncode != 0
    assert f"{variable}={value!r}: expected {expected}" in done.stderr


def test_a_package_without_kernels_works(checkout, tmp_path):
    """The reference serves, and one warning says why and how to mend it."""
    _, wheel = make_wheel(checkout, FASTSCRATCH_BUILD="skip")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = """
import warnings
import numpy as np
import fastscratch
from fastscratch.kernels import cython_ext
from fastscratch.ops import dense_forward

assert cython_ext.level is None and "FASTSCRATCH_BUILD=skip" in cython_ext.reason
assert "cython" not in fastscratch.available_backends()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        dense_forward(np.ones((2, 3)), np.ones((3, 4)))
(warning,) = caught
assert "FASTSCRATCH_BUILD=require" in str(warning.message)
"""
    run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=tmp_path / "installed")


def test_the_sdist_has_what_a_build_and_the_tests_need(checkout):
    run(
        sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", "..", ".",
        cwd=checkout, FASTSCRATCH_BUILD="skip",
    )  # fmt: skip
    (path,) = checkout.parent.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = [*ROOT.glob("src_kernels/*.p*"), *ROOT.glob("src_kernels/*.h")]
    needed = [*sources, *ROOT.glob("tests/**/*.py"), *ROOT.glob("fastscratch/**/*.py")]
    assert sources
    assert {path.relative_to(ROOT).as_posix() for path in needed} <= names
    assert {"setup.py", "pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc"))]
    made = ("src_kernels/", "fastscratch/")  # elsewhere C files are sources
    assert not [name for name in names if name.startswith(made) and name.endswith(".c")]
    assert INFO not in names


@pytest.mark.slow
def test_a_wheel_runs_where_no_compiler_is(checkout, tmp_path):
    """Built once, installed into an environment of its own, run without any tool on the path."""
    _, wheel = make_wheel(checkout, FASTSCRATCH_BUILD="require")
    names, info = contents(wheel)
    assert info["built"] is True
    assert not [name for name in names if name.endswith((".c", ".pyx", ".pxd", ".h"))]
    for level in info["levels"]:
        modules = {
            entry.module.rpartition(".")[2]
            for spec in OPS.values()
            for entry in spec.implementations
        }
        for module in ("calls", "scratch", *modules):
            start = f"fastscratch/kernels/cython_ext/{level}/{module}."
            assert len([name for name in names if name.startswith(start)]) == 1
    # NumPy and the like come from this environment; fastscratch does not, for the copy comes first.
    venv.create(tmp_path / "venv", system_site_packages=True, symlinks=True)
    python = tmp_path / "venv/bin/python"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = """
import numpy as np
import fastscratch
from fastscratch.kernels import cython_ext

assert cython_ext.level, cython_ext.reason
x, weight = np.ones((2, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32)
with fastscratch.use_backend("cython"):
    assert (fastscratch.ops.conv2d_forward(x, weight) == 27).all()
"""
    path = os.pathsep.join([str(tmp_path / "installed"), *filter(None, sys.path)])
    run(python, "-c", code, cwd=tmp_path, PYTHONPATH=path, PATH="")


@pytest.mark.slow
def test_an_unchanged_kernel_is_not_compiled_again(checkout, tmp_path):
    """Neither objects of another level nor those of other flags or headers may be taken for it."""
    # As in a build environment of pip's, whose path is another one each time.
    (tmp_path / "include").symlink_to(np.get_include())
    (tmp_path / "sitecustomize.py").write_text(
        f"import numpy\nnumpy.get_include = lambda: {str(tmp_path / 'include')!r}\n"
    )

    def build(**environment):
        done = run(
            sys.executable, "setup.py", "build_ext", "--inplace",
            cwd=checkout, FASTSCRATCH_BUILD="require", **environment,
        )  # fmt: skip
        return done.stdout.count("-dense.c ")

    assert build() > 0
    assert build() == 0
    assert build(PYTHONPATH=str(tmp_path)) == 0
    assert build(FASTSCRATCH_CHECKS="1") > 0
    with (checkout / "src_kernels/tile.h").open("a") as header:
        header.write("/* changed */\n")
    assert build(FASTSCRATCH_CHECKS="1") > 0
