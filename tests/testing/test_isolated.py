"""Kernels that crash, hang or write where they must not are named, and the judge lives on."""

import ctypes
import os
import threading
import time

import pytest

from fastscratch.errors import ArgumentError, KernelCheckError
from fastscratch.testing import check_kernel
from fastscratch.testing.locate import find_function
from fastscratch.testing.memory import guard_reason

PROBLEMS = ["dense_forward:f32:n1i1:o1", "dense_forward:f32:n3i4:o5", "dense_forward:f64:n9i9:o9"]


def right(x, weight, bias, y, num_threads):
    y[...] = x @ weight + bias


def on_the_second(fault):
    """A kernel that is right but for one problem, where it does something else."""

    def kernel(x, weight, bias, y, num_threads):
        right(x, weight, bias, y, num_threads)
        if x.shape == (3, 4):
            fault(x, y)

    return kernel


def dereferences_null(x, y):
    ctypes.string_at(0)


def aborts(x, y):
    os.abort()


def exits(x, y):
    os._exit(0)


def hangs(x, y):
    time.sleep(60)


def reads_behind(x, y):
    ctypes.string_at(x.ctypes.data + x.nbytes, 1)


def writes_a_page_behind(x, y):
    ctypes.memset(y.ctypes.data + y.nbytes, 0, 8192)


def is_wrong(x, y):
    y[-1] += 1


def raises(x, y):
    raise ValueError("not today")


def prints_and_is_wrong(x, y):
    print("a kernel may talk", flush=True)
    os.write(1, b"{}\n")
    is_wrong(x, y)


needs_guard = pytest.mark.skipif(guard_reason() != "", reason=guard_reason())


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (dereferences_null, "ended the process: SIGSEGV"),
        (aborts, "ended the process: SIGABRT"),
        (exits, "ended the process: exit code 0"),
        (hangs, "did not return within 2 seconds"),
        pytest.param(reads_behind, "ended the process: SIG", marks=needs_guard),
        pytest.param(writes_a_page_behind, "ended the process: SIG", marks=needs_guard),
        (is_wrong, "y is wrong in 5 of 15 elements"),
        (raises, "raised ValueError: not today"),
        (prints_and_is_wrong, "y is wrong"),
    ],
)
def test_names_a_kernel_that(fault, says):
    with pytest.raises(KernelCheckError) as caught:
        check_kernel("dense_forward", on_the_second(fault), problems=PROBLEMS, timeout=2)
    report = str(caught.value)
    assert report.startswith("kernel as dense_forward: failed on 1 of 3 problems")
    assert "\ndense_forward:f32:n3i4:o5\n" in report
    assert says in report
    assert "n1i1" not in report and "n9i9" not in report


def test_acquits_in_a_process_of_its_own():
    report = check_kernel("dense_forward", right, problems=PROBLEMS)
    same = check_kernel("dense_forward", right, problems=PROBLEMS, isolated=False)
    assert (report.problems, report.runs) == (same.problems, same.runs) == (3, 24)


def test_gives_up_on_a_kernel_that_always_crashes():
    def crash(*arguments):
        os._exit(3)

    with pytest.raises(KernelCheckError, match=r"(?s)failed on 5 of 5 .*were left out after 5"):
        check_kernel("dense_forward", crash)


MODULE = """
import numpy as np

def mine(x, weight, bias, y, num_threads):
    y[...] = x @ weight + bias

number = 3
"""


def test_a_kernel_is_found_by_its_place(tmp_path, monkeypatch):
    (tmp_path / "kernels_of_mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    for place in ("kernels_of_mine:mine", "kernels_of_mine.py:mine"):
        report = check_kernel("dense_forward", place, problems=PROBLEMS)
        assert str(report) == f"{place} as dense_forward: passed 3 problems, 24 runs"


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
    with pytest.raises(KernelCheckError, match=r"the kernel cannot be loaded.*"):
        check_kernel("dense_forward", place, problems=PROBLEMS)


def test_what_cannot_leave_this_process_says_what_to_do():
    lock = threading.Lock()

    def holds_on(x, weight, bias, y, num_threads):
        lock.acquire()

    with pytest.raises(ArgumentError, match=r"put it into a module, or .*isolated=False"):
        check_kernel("dense_forward", holds_on, problems=PROBLEMS)
