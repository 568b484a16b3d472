"""The judge convicts: a kernel with one fault of each sort must fail, and for that fault."""

import ctypes
import mmap

import numpy as np
import pytest

import fastscratch
from fastscratch.errors import ArgumentError, KernelCheckError
from fastscratch.kernels.catalogue import OPS
from fastscratch.kernels.numpy_ref import conv2d, dense, im2col, pool2d
from fastscratch.testing import Report, all_problems, check_kernel
from fastscratch.testing.memory import guard_reason


def convicted(op, kernel, **options):
    """The report on a kernel that must not pass."""
    with pytest.raises(KernelCheckError) as caught:
        check_kernel(op, kernel, isolated=False, **options)
    return str(caught.value)


@pytest.mark.parametrize("op", OPS)
def test_acquits_the_reference(op):
    kernel = OPS[op].direct("numpy").load()
    report = check_kernel(op, kernel, isolated=False)
    assert report.ok
    assert report.problems == len(all_problems(op))
    assert str(report).startswith(f"{op} as {op}: passed {report.problems} problems")


def test_is_reached_from_the_top_level():
    assert fastscratch.testing.check_kernel is check_kernel


def adds(x, weight, bias, y, num_threads):
    y += x @ weight + bias


def leaves_rows_out(x, weight, bias, y, num_threads):
    full = len(x) // 2 * 2
    y[:full] = (x @ weight + bias)[:full]


def forgets_the_bias(x, weight, bias, y, num_threads):
    y[...] = x @ weight


def scales_its_input(x, weight, bias, y, num_threads):
    x.flags.writeable = True
    x *= 2
    y[...] = x @ weight / 2 + bias


def returns_it(x, weight, bias, y, num_threads):
    y[...] = x @ weight + bias
    return y


def writes_behind(x, weight, bias, y, num_threads):
    y[...] = x @ weight + bias
    end = y.ctypes.data + y.nbytes
    if end % mmap.PAGESIZE:  # else the page there ends the process
        ctypes.memset(end, 0, 1)


def depends_on_threads(x, weight, bias, y, num_threads):
    y[...] = x @ weight + bias
    if x.size and not np.array_equal(x, np.round(x)):
        y *= 1 + num_threads * np.finfo(y.dtype).eps


def changes_from_run_to_run(x, weight, bias, y, num_threads, calls=[0]):  # noqa: B006
    calls[0] += 1
    y[...] = x @ weight + bias
    if x.size and not np.array_equal(x, np.round(x)):
        y *= 1 + calls[0] % 4 * np.finfo(y.dtype).eps


def is_less_exact(x, weight, bias, y, num_threads):
    with np.errstate(all="ignore"):
        y[...] = x.astype(np.float16).astype(x.dtype) @ weight + bias


def hides_nan(x, weight, bias, y, num_threads):
    y[...] = np.nan_to_num(x @ weight + bias, nan=0, posinf=9, neginf=-9)


def spreads_nan(x, weight, bias, y, num_threads):
    y[...] = x @ weight + bias + 0 * x.sum() * weight.sum()


def cannot_do_an_empty_batch(x, weight, bias, y, num_threads):
    y[...] = (x - x.min()) @ weight + x.min() * weight.sum(axis=0) + bias


@pytest.mark.parametrize(
    ("kernel", "fault"),
    [
        (adds, "y is wrong"),
        (leaves_rows_out, "y is wrong"),
        (forgets_the_bias, "y is wrong"),
        (scales_its_input, "changed its input x"),
        (returns_it, "returned ndarray"),
        (writes_behind, "wrote outside of y"),
        (depends_on_threads, "other bits"),
        (changes_from_run_to_run, "other bits"),
        (is_less_exact, "normal, memory begin"),
        (hides_nan, "non-finite"),
        (spreads_nan, "non-finite"),
        (cannot_do_an_empty_batch, "raised ValueError"),
    ],
)
def test_convicts_a_dense_kernel_that(kernel, fault):
    report = convicted("dense_forward", kernel)
    assert fault in report
    assert report.startswith(f"{kernel.__name__} as dense_forward: failed on")


def pads_with_zeros(x, y, argmax, kernel_size, stride, padding, dilation, num_threads):
    pool2d.max_pool2d_forward(x, y, argmax, kernel_size, stride, padding, dilation, num_threads)
    if any(padding):
        y[...] = np.fmax(y, 0)


def takes_the_last_of_equals(x, y, argmax, kernel_size, stride, padding, dilation, num_threads):
    outputs = y.shape[2:]
    top, bottom, left, right = padding
    spread = [d * (k - 1) for d, k in zip(dilation, kernel_size, strict=True)]
    reach = [(n - 1) * s + r + 1 for n, s, r in zip(outputs, stride, spread, strict=True)]
    overhang = (
        max(bottom, reach[0] - x.shape[2] - top), max(right, reach[1] - x.shape[3] - left),
    )  # fmt: skip
    mirrored = np.ascontiguousarray(
        np.pad(x, ((0, 0), (0, 0), (top, overhang[0]), (left, overhang[1])),
               constant_values=-np.inf)[:, :, : reach[0], : reach[1]][:, :, ::-1, ::-1]
    )  # fmt: skip
    pool2d.max_pool2d_forward(
        mirrored, y, argmax, kernel_size, stride, (0, 0, 0, 0), dilation, num_threads
    )
    y[...] = y[:, :, ::-1, ::-1].copy()
    argmax[...] = kernel_size[0] * kernel_size[1] - 1 - argmax[:, :, ::-1, ::-1].copy()


def ignores_nan(x, y, argmax, kernel_size, stride, padding, dilation, num_threads):
    pool2d.max_pool2d_forward(
        np.where(np.isnan(x), x.dtype.type(-1e30), x), y, argmax, kernel_size, stride, padding,
        dilation, num_threads,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kernel", "fault"),
    [
        (pads_with_zeros, "y is wrong"),
        (takes_the_last_of_equals, "argmax is wrong"),
        (ignores_nan, "non-finite"),
    ],
)
def test_convicts_a_max_pooling_that(kernel, fault):
    assert fault in convicted("max_pool2d_forward", kernel)


def test_convicts_a_pooling_gradient_that_clips_bad_offsets():
    def kernel(dout, argmax, dx, kernel_size, *rest):
        inside = np.clip(argmax, 0, kernel_size[0] * kernel_size[1] - 1)
        pool2d.max_pool2d_backward(dout, inside, dx, kernel_size, *rest)

    assert "bad argmax" in convicted("max_pool2d_backward", kernel)


def test_convicts_an_average_that_counts_the_overhang():
    def kernel(x, y, kernel_size, stride, padding, count_include_pad, num_threads):
        pool2d.avg_pool2d_forward(x, y, kernel_size, stride, padding, True, num_threads)

    report = convicted("avg_pool2d_forward", kernel)
    assert "nopad\n" in report
    assert "p0nopad\n" not in report.replace("ceil", "")


@pytest.mark.parametrize("argument", ["stride", "padding", "dilation", "groups"])
def test_convicts_a_convolution_that_forgets(argument):
    """Each flag is decisive in some case: the grid has no blind spot for it."""

    def kernel(x, weight, bias, y, stride, padding, dilation, groups, num_threads):
        if argument == "stride":
            stride = (stride[0], stride[0])
        elif argument == "padding":
            padding = (padding[1], padding[0], padding[3], padding[2])
        elif argument == "dilation":
            dilation = (dilation[1], dilation[0])
        else:
            weight = np.roll(weight, weight.shape[0] // groups if groups > 1 else 0, axis=0)
        conv2d.conv2d_forward(x, weight, bias, y, stride, padding, dilation, groups, num_threads)

    assert "wrong" in convicted("conv2d_forward", kernel)


@pytest.mark.parametrize("op", ["im2col", "col2im"])
def test_convicts_columns_in_another_order(op):
    def kernel(first, second, kernel_size, stride, padding, dilation, num_threads):
        swapped = [pair[::-1] for pair in (kernel_size, stride, dilation)]
        getattr(im2col, op)(first, second, swapped[0], stride, padding, dilation, num_threads)

    assert "failed" in convicted(op, kernel)


def test_the_smallest_failing_problem_comes_first():
    def kernel(x, weight, bias, y, num_threads):
        dense.dense_forward(x, weight, bias, y, num_threads)
        if x.shape[0] > 3:
            y[-1] += 1

    report = convicted("dense_forward", kernel)
    failing = [line for line in report.splitlines() if line.startswith("dense_forward:")]
    sizes = [
        OPS["dense_forward"].nbytes(problem)
        for text in failing for problem in all_problems("dense_forward") if str(problem) == text
    ]  # fmt: skip
    assert len(sizes) > 3
    assert sizes == sorted(sizes)


def test_what_is_not_supported_is_counted_and_left_alone():
    def supports(problem):
        return problem.groups == 1

    report = check_kernel(
        "conv2d_forward", conv2d.conv2d_forward, supports=supports, isolated=False
    )
    assert report.skipped > 10
    assert f"{report.skipped} not supported" in str(report)


def test_factor_and_flags_relax_the_rules():
    check_kernel("dense_forward", spreads_nan, spreads_nonfinite=True, isolated=False)
    problems = ["dense_forward:f32:n3i4:o5"]
    convicted("dense_forward", is_less_exact, problems=problems)
    check_kernel(
        "dense_forward", is_less_exact, problems=problems, tolerance_factor=1e5, isolated=False
    )

    def rounds(x, weight, bias, y, num_threads):
        y[...] = (x @ weight + bias) * (1 + np.finfo(y.dtype).eps)

    convicted("dense_forward", rounds, problems=["dense_forward:f32:n3i4:o5"])
    check_kernel("dense_forward", rounds, problems=problems, exact_integers=False, isolated=False)


def test_refuses_what_is_no_kernel_or_no_problem():
    with pytest.raises(ArgumentError, match="unknown operation 'conv3d'"):
        check_kernel("conv3d", adds)
    with pytest.raises(ArgumentError, match="must be callable, got 3"):
        check_kernel("dense_forward", 3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="is not a problem of dense_forward"):
        check_kernel("dense_forward", adds, problems=["im2col:f32:n1c1h4w4:k2"])


def test_a_long_report_is_cut():
    report = convicted("dense_forward", adds)
    assert report.splitlines()[-1].startswith("... and ")
    assert str(Report("im2col", "mine")) == "mine as im2col: passed 0 problems, 0 runs"


READS = """
import ctypes
from fastscratch.kernels.numpy_ref import dense
from fastscratch.testing import check_kernel

def kernel(x, weight, bias, y, num_threads):
    dense.dense_forward(x, weight, bias, y, num_threads)
    {stray}

problem = "dense_forward:f32:n3i4:o5"
print(check_kernel("dense_forward", kernel, problems=[problem], isolated=False))
"""


@pytest.mark.skipif(guard_reason() != "", reason=guard_reason())
@pytest.mark.parametrize(
    ("stray", "survives"),
    [
        ("ctypes.string_at(x.ctypes.data, x.nbytes)", True),
        ("ctypes.string_at(x.ctypes.data + x.nbytes, 1)", False),
        ("ctypes.string_at(weight.ctypes.data - 1, 1)", False),
        ("ctypes.memset(y.ctypes.data + y.nbytes, 0, 1)", False),
    ],
)
def test_a_stray_access_ends_the_process(run_python, stray, survives):
    done = run_python(READS.format(stray=stray), check=False)
    assert (done.returncode == 0) == survives, done.stdout + done.stderr
    assert ("passed" in done.stdout) == survives
