"""Kernels that crash, hang or write where they must not are named, and the judge lives on."""

import ctypes
import os
import time

import pytest

from fastscratch.errors import ArgumentError, KernelCheckError
from fastscratch.kernels.numpy_ref import dense
from fastscratch.testing import check_kernel
from fastscratch.testing.locate import find_function, place_of
from fastscratch.testing.memory import guard_reason

PROBLEMS = ["dense_forward:f32:n1i1:o1", "dense_forward:f32:n3i4:o5", "dense_forward:f64:n9i9:o9"]

FILE = """
import ctypes, os, time

def right(x, weight, bias, y, num_threads):
    y[...] = x @ weight + bias

def faulty(x, weight, bias, y, num_threads):
    right(x, weight, bias, y, num_threads)
    if x.shape == (3, 4):
        {fault}

def crashes(*arguments):
    os._exit(3)

def hangs(*arguments):
    time.sleep(60)

number = 3
"""

needs_guard = pytest.mark.skipif(guard_reason() != "", reason=guard_reason())


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """A file with kernels, in the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(fault="pass"):
        (tmp_path / "kernels_of_mine.py").write_text(FILE.format(fault=fault))

    write()
    return write


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("ctypes.string_at(0)", "ended the process: SIGSEGV"),
        ("os.abort()", "ended the process: SIGABRT"),
        ("os._exit(0)", "ended the process: exit code 0"),
        ("time.sleep(60)", "did not return within 2 seconds"),
        pytest.param(
            "ctypes.string_at(x.ctypes.data + x.nbytes, 1)", "ended the process: SIG",
            marks=needs_guard,
        ),
        pytest.param(
            "ctypes.memset(y.ctypes.data + y.nbytes, 0, 8192)", "ended the process: SIG",
            marks=needs_guard,
        ),
        ("ctypes.memset(y.ctypes.data + y.nbytes, 0, 1)", "wrote outside of y"),
        ("y[-1] += 1", "y is wrong in 5 of 15 elements"),
        ("raise ValueError('not today')", "raised ValueError: not today"),
        ("print('talks', flush=True); os.write(1, b'{{}}'); y[-1] += 1", "y is wrong"),
    ],
)  # fmt: skip
def test_names_a_kernel_that(kernels, fault, says):
    kernels(fault)
    with pytest.raises(KernelCheckError) as caught:
        check_kernel("dense_forward", "kernels_of_mine.py:faulty", problems=PROBLEMS, timeout=2)
    report = str(caught.value)
    assert report.startswith(
        "kernels_of_mine.py:faulty as dense_forward: failed on 1 of 3 problems"
    )
    assert "\ndense_forward:f32:n3i4:o5\n" in report
    assert says in report
    assert "n1i1" not in report and "n9i9" not in report


def test_acquits_in_a_process_of_its_own(kernels):
    for place in ("kernels_of_mine:right", "kernels_of_mine.py:right"):
        report = check_kernel("dense_forward", place, problems=PROBLEMS)
        assert str(report) == f"{place} as dense_forward: passed 3 problems, 24 runs"
        same = check_kernel("dense_forward", place, problems=PROBLEMS, isolated=False)
        assert str(same) == str(report)


def test_gives_up_on_a_kernel_that_always_crashes(kernels):
    with pytest.raises(KernelCheckError, match=r"(?s)failed on 5 of 5 .*were left out after 5"):
        check_kernel("dense_forward", "kernels_of_mine:crashes")


def test_gives_up_sooner_on_a_kernel_that_always_hangs(kernels):
    with pytest.raises(KernelCheckError, match=r"(?s)failed on 2 of 2 .*were left out after 2"):
        check_kernel("dense_forward", "kernels_of_mine:hangs", timeout=0.5)


def test_functions_in_modules_are_isolated_and_others_are_not():
    assert place_of(dense.dense_forward) == "fastscratch.kernels.numpy_ref.dense:dense_forward"
    assert place_of(test_gives_up_on_a_kernel_that_always_crashes) is not None
    report = check_kernel("dense_forward", dense.dense_forward, problems=PROBLEMS)
    assert report.notes == []

    def local(x, weight, bias, y, num_threads):
        y[...] = x @ weight + bias

    assert place_of(local) is None
    report = check_kernel("dense_forward", local, problems=PROBLEMS)
    assert "with one thread, and then in this one" in report.notes[0]
    with pytest.raises(ArgumentError, match="cannot be found by another process"):
        check_kernel("dense_forward", local, problems=PROBLEMS, isolated=True)


FAULTS = {
    "ended the process: SIGSEGV": lambda x, y: ctypes.string_at(0),
    "ended the process: SIGABRT": lambda x, y: os.abort(),
    "ended the process: exit code 3": lambda x, y: os._exit(3),
    "did not return within 1 seconds": lambda x, y: time.sleep(60),
    "y is wrong in 15 of 15 elements": lambda x, y: y.fill(7),
    "wrote outside of y": lambda x, y: ctypes.memset(y.ctypes.data + y.nbytes, 0, 1),
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system makes no copies of processes")
@pytest.mark.parametrize("says", FAULTS)
def test_a_function_that_no_other_process_finds_is_named_all_the_same(says, monkeypatch):
    monkeypatch.setattr("fastscratch.testing.isolated._STARTING_SECONDS", 1)

    def faulty(x, weight, bias, y, num_threads):
        y[...] = x @ weight + bias
        if x.shape == (3, 4):
            FAULTS[says](x, y)

    with pytest.raises(KernelCheckError) as caught:
        check_kernel("dense_forward", faulty, problems=PROBLEMS, timeout=1)
    report = str(caught.value)
    assert report.startswith("faulty as dense_forward: failed on 1 of 3 problems")
    assert f"\ndense_forward:f32:n3i4:o5\n    integers, memory begin, 1 thread: {says}" in report


def test_what_would_end_in_a_copy_is_judged_here():
    """Numba's pool of threads ends a copied process."""

    def parallel(x, weight, bias, y, num_threads):
        y[...] = x @ weight + bias

    vars(parallel)["targetoptions"] = {"parallel": True}  # as what Numba compiles has it
    report = check_kernel("dense_forward", parallel, problems=PROBLEMS)
    assert report.notes[0].startswith("judged in this process; a function in a module is")


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("nothing", "expected MODULE:FUNCTION"),
        (":f", "expected MODULE:FUNCTION"),
        ("no_such_module:f", "ModuleNotFoundError"),
        ("no_such_file.py:f", "there is no file"),
        ("fastscratch.errors:nothing", "has no 'nothing'"),
        ("fastscratch.errors:_warned", "not a function"),
    ],
)
def test_a_place_without_a_kernel_is_an_error(place, says):
    with pytest.raises(ArgumentError, match=says):
        find_function(place)
    with pytest.raises(KernelCheckError, match=rf"the kernel cannot be loaded: .*{says}"):
        check_kernel("dense_forward", place, problems=PROBLEMS)
