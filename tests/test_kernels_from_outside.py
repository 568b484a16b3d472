"""The packages of docs/kernels-from-outside: installed, found, judged, timed and chosen."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import fastscratch
from fastscratch import errors
from fastscratch.dispatch import outside
from fastscratch.errors import FallbackWarning

ROOT = Path(fastscratch.__file__).parents[1]
FOLDER = ROOT / "docs" / "kernels-from-outside"

PACKAGES = {
    "with-numba": ("relu_forward", "relu-with-numba", "relu_with_numba", "numba", ()),
    "with-c": ("squared_norm", "norm-with-c", "norm_with_c", "cffi", ()),
    "with-torch": (
        "conv2d_forward", "conv-with-torch", "conv_with_torch", "torch",
        ("--problem", "conv2d_forward:f32:n2c3h8w9:oc4k3p1",
         "--problem", "conv2d_forward:f64:n2c4h8w9:oc4k3x2s2g2floor"),
    ),
}  # fmt: skip

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the documentation is not here")


@pytest.fixture(scope="module", params=PACKAGES)
def package(request, tmp_path_factory):
    """A package installed into a folder of its own, and a way to run Python with it."""
    op, name, module, needs, problems = PACKAGES[request.param]
    pytest.importorskip(needs, reason=f"{request.param} needs {needs}")
    folder = tmp_path_factory.mktemp(request.param)
    source = folder / "source"
    source.mkdir()
    for path in (FOLDER / request.param).glob("*.*"):
        if path.is_file():
            (source / path.name).write_bytes(path.read_bytes())
    target = folder / "installed"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "--root-user-action=ignore", "--target", target, source],
        check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip

    def run(*arguments):
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(target), str(ROOT)]),
            "FASTSCRATCH_CACHE": str(folder / "cache"),
        }
        done = subprocess.run(
            [sys.executable, *arguments], env=environment, cwd=folder, timeout=300,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return op, name, module, problems, run


def test_it_is_found_once_it_is_installed(package):
    op, name, _, _, run = package
    assert name not in fastscratch.available_backends()
    code = "import fastscratch as fs; print(fs.available_backends())"
    assert repr(name) in run("-c", code)
    assert name in run("-m", "fastscratch", "kernels", "--list", op)


def test_it_is_judged(package):
    """On every problem that its package registers it for."""
    op, _, module, problems, run = package
    place = f"{module}:{op}"
    out = run("-m", "fastscratch", "kernels", "check", place, "--op", op)
    assert out.startswith(f"{place} as {op}: passed ")
    assert ("not supported" in out) is bool(problems)


def test_it_is_judged_among_the_others(package):
    op, name, _, problems, run = package
    subject = problems[1] if problems else op
    assert f"\n{name}: {op} as {op}: passed" in run(
        "-m", "fastscratch", "kernels", "check", subject
    )


def test_it_is_timed_beside_the_others(package):
    op, name, _, problems, run = package
    subject = problems[1] if problems else op
    out = run("-m", "fastscratch", "kernels", subject, "--quick")
    assert re.search(rf"(?m)^  {name} +\d+\.\d{{3}}  \([\d.]+x\)$", out)


def test_the_benchmarks_measure_it(package):
    op, name, _, problems, run = package
    code = (
        "from benchmarks.suite import grid; print(*["
        f"found.implementations for found in grid.grids() if found.op == {op!r}])"
    )
    assert repr(name) in run("-c", code)
    problem = problems[1] if problems else f"{op}:f32:n1000"
    run("-c", "from benchmarks.suite.calls import kernel_call; "
              f"kernel_call({problem!r}, {name!r}, 1)()")  # fmt: skip


CHOSEN = """
import importlib
import fastscratch as fs
from fastscratch.kernels.problem import parse_problem
from fastscratch.dispatch import choose, current_settings
problem = parse_problem({problem!r})
print(choose(problem, current_settings()).implementation.name)
choosing = importlib.import_module("fastscratch.dispatch.choose")
def others_are_slow(problem, candidates):
    return {{found.name: 1e-6 if found.name == {name!r} else 1e-3 for found in candidates}}
choosing.measure = others_are_slow
with fs.threads(1), fs.tuning():
    print(choose(problem, current_settings()).implementation.name)
with fs.threads(1):
    print(choose(problem, current_settings()).rule)
"""


def test_it_is_chosen_when_it_wins(package):
    op, name, _, _, run = package
    problem = {
        "relu_forward": "relu_forward:f32:n1000",
        "squared_norm": "squared_norm:f32:n1000",
        "conv2d_forward": "conv2d_forward:f32:n2c3h8w9:oc4k3p1",
    }[op]
    lines = run("-c", CHOSEN.format(problem=problem, name=name)).splitlines()
    assert lines[0] != name
    assert lines[1:] == [name, "the fastest measured here"]
    # What was measured of an installed package's kernel lasts.
    code = f"import fastscratch as fs; fs.set_num_threads(1); print(fs.explain({problem!r}))"
    assert f"runs on {name}, 1 thread: the fastest measured here" in run("-c", code)


@pytest.mark.parametrize(
    ("record", "package"),
    [
        (None, "kernels 1.2"),
        ('{"url": "file:///kernels", "dir_info": {}}', "kernels 1.2"),
        ('{"url": "file:///kernels", "dir_info": {"editable": true}}', ""),  # may change any time
    ],
)
def test_a_package_registers_under_its_version(monkeypatch, record, package):
    seen = []
    entry = Entry("a", lambda: seen.append(outside.registering_package()))
    entry.dist = SimpleNamespace(name="kernels", version="1.2", read_text=lambda name: record)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry])
    monkeypatch.setattr(outside, "_asked", False)
    outside.register_installed()
    assert seen == [package]
    assert outside.registering_package() == ""


class Entry:
    """An installed entry point."""

    def __init__(self, name, action):
        self.name, self.value, self.dist = name, "a.module:register", None
        self._action = action

    def load(self):
        return self._action


def test_a_package_that_fails_is_named_and_left_out(monkeypatch):
    called = []

    def fails():
        raise RuntimeError("no such device")

    entries = [Entry("b", lambda: called.append("b")), Entry("a", fails)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries)
    monkeypatch.setattr(outside, "_asked", False)
    monkeypatch.setattr(errors, "_warned", set())
    with pytest.warns(FallbackWarning, match=r"a\.module:register.*RuntimeError: no such device"):
        outside.register_installed()
    outside.register_installed()
    assert called == ["b"]
