"""Where a kernel's time goes: for people who write kernels.

    python -m benchmarks.kernel_profile conv2d_forward res_28
    python -m benchmarks.kernel_profile conv2d_forward:f32:n8c64h56w56:oc128k3s1p1 --threads 2
    python -m benchmarks.kernel_profile dense_forward square --implementation cython --functions

For each implementation: the time of a call, GFLOP/s, GB/s, the share of this machine's limit (which
`limits.py` measures, and of which an algorithm that multiplies less can take more than all), the
memory that it takes beside its arrays, and the shares of its time that go into packing, products,
transforms, synchronisation and the rest. The last come from samples: a timer looks a thousand times
a second of processor time at which function is executing, on all threads, and the function's name
says what it does; ``--functions`` shows the functions themselves.
"""

import argparse
import bisect
import ctypes
import functools
import gc
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.suite.calls import Call, calls_within, kernel_call, seconds_of_call
from benchmarks.suite.peak_memory import measure as measure_memory
from benchmarks.worker import ROOT

PARTS = {
    "synchronisation": r"libgomp|libomp|libtbb|workqueue|omppool|barrier|futex|gomp",
    "transform": r"_points|transform|filter",
    "packing": r"pack|transpose|copy|padded|columns|memcpy|memset|gather|pad_",
    "product": r"tile|product|multiply|dot|correlat|convolve|accumulate|openblas|sum_rows|taps",
    "Python": r"python|multiarray|_umath|ld-linux",
}
"""What a function does, by its name, or by the name of its library; the first that fits counts."""

SECONDS = 1.0

LARGEST = 1 << 20
"""Bytes of code that Numba makes of one driver, at most."""


class Function(NamedTuple):
    """A function in memory."""

    start: int
    end: int
    name: str


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("operation", help="an operation, or a whole problem in its written form")
    parser.add_argument("shape", nargs="?", default="", help="the name of a shape or case")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("f32", "f64"), default="f32")
    parser.add_argument("--implementation", default="", help="only those whose name holds this")
    parser.add_argument("--functions", action="store_true", help="the functions, too")
    parser.add_argument("--no-memory", action="store_true", help="without the memory of a call")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(sample(kernel_call(options.operation, options.shape, options.threads))))
        return 0
    problem = find_problem(options.operation, options.shape, options.dtype)
    names = [name for name in implementations(problem) if options.implementation in name]
    if not names:
        print(f"no implementation of {problem} has {options.implementation!r} in its name")
        return 1
    print(head(problem, options.threads), flush=True)
    for name in names:
        found = in_child(str(problem), name, options.threads)
        print(text_of(problem, name, found, options), flush=True)
    return 0


def in_child(problem: str, name: str, threads: int) -> dict[str, Any]:
    """Time and samples of an implementation, from a process and thread pools of its own."""
    command = [sys.executable, "-m", "benchmarks.kernel_profile", problem, name]
    done = subprocess.run(
        [*command, "--threads", str(threads), "--child"], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def find_problem(operation: str, shape: str, dtype: str) -> Any:
    from fastscratch.kernels.catalogue import find_op
    from fastscratch.kernels.problem import parse_problem
    from fastscratch.testing.cases import find_case

    if ":" in operation:
        return parse_problem(operation)
    find_op(operation)
    if re.match(r"n\d", shape):
        return parse_problem(f"{operation}:{dtype}:{shape}")
    return find_case(operation, shape, dtype)


def implementations(problem: Any) -> list[str]:
    from fastscratch.kernels.catalogue import OPS, backend_reason

    return [
        entry.name for entry in OPS[problem.op].implementations
        if entry.can_serve(problem) and not backend_reason(entry.backend)
    ]  # fmt: skip


@functools.cache
def limits_of(threads: int) -> Any:
    from benchmarks.limits import measure
    from fastscratch.kernels import cython_ext

    return measure(cython_ext.level or "base", threads)


def head(problem: Any, threads: int) -> str:
    from fastscratch.dispatch.machine import processor_name
    from fastscratch.kernels.catalogue import OPS

    spec, limits = OPS[problem.op], limits_of(threads)
    return (
        f"{problem}, {threads} thread{'s' if threads > 1 else ''}, {processor_name()}\n"
        f"{spec.flops(problem) / 1e6:.1f} million operations, arrays of "
        f"{spec.nbytes(problem) / 2**20:.2f} MiB; the machine's limits: {limits.line()}"
    )


def sample(call: Call) -> dict[str, Any]:
    """Seconds of a call, and the shares of functions in the time of many."""
    count = calls_within(call, 0.05)
    seconds = statistics.median(seconds_of_call(call, count) for _ in range(7))
    sampler = load_sampler()
    table = functions()
    if sampler.sampler_start(1000):
        raise SystemExit("there is no timer of processor time here")
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        call()
    number = sampler.sampler_stop()
    addresses = sampler.sampler_addresses()[:number]
    names = Counter(name_at(address, table) for address in addresses)
    return {
        "seconds": seconds,
        "functions": {name: hits / number for name, hits in names.most_common()},
    }


def load_sampler() -> Any:
    """The sampler, compiled now."""
    with tempfile.TemporaryDirectory() as folder:
        library = f"{folder}/sampler.so"
        source = Path(__file__).with_name("sampler.c")
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
        sampler = ctypes.CDLL(library)
    sampler.sampler_addresses.restype = ctypes.POINTER(ctypes.c_uint64)
    return sampler


def functions() -> list[Function]:
    """Functions in this process: those of libraries, and what Numba has compiled."""
    found = []
    regions: dict[str, list[tuple[int, int, int]]] = {}
    for line in Path("/proc/self/maps").read_text().splitlines():
        area, rights, offset, _, _, *path = line.split(maxsplit=5)
        if "x" in rights and path:
            start, end = (int(text, 16) for text in area.split("-"))
            regions.setdefault(path[0], []).append((start, end, int(offset, 16)))
    for library, areas in regions.items():
        name = Path(library).name
        found += [Function(start, end, name) for start, end, _ in areas]
        if "fastscratch" in library:
            # The first page of a shared library lies at address 0 of its own.
            base = min(start - offset for start, _, offset in areas)
            found += [
                Function(base + start, base + start + size, symbol)
                for start, size, symbol in symbols(library)
            ]
    return sorted([*found, *numba_functions()])


def symbols(library: str) -> list[tuple[int, int, str]]:
    """The functions of a library, local ones among them, as ``nm`` lists them."""
    listed = subprocess.run(
        ["nm", "-S", "--defined-only", library], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [
        (int(row[0], 16), int(row[1], 16), re.sub(r"__pyx_(fuse_\d(_\d)?__)?(pyx_)?", "", row[3]))
        for row in rows if len(row) == 4 and row[2] in "tT"
    ]  # fmt: skip


def numba_functions() -> list[Function]:
    """What Numba has compiled: each driver reaches from the end of the last to its entry.

    The entry that C calls stands behind the function itself and what was not inlined into it.
    """
    if "numba" not in sys.modules:
        return []
    from numba.core.ccallback import CFunc

    entries: list[tuple[Any, str]] = sorted(
        (found.address, found.__name__) for found in gc.get_objects() if isinstance(found, CFunc)
    )
    starts = [0, *(address for address, _ in entries)]
    return [
        Function(max(last, entry - LARGEST), entry + 1, name)
        for last, (entry, name) in zip(starts, entries, strict=False)
    ]


def name_at(address: int, table: list[Function]) -> str:
    """The innermost function that holds an address."""
    place = bisect.bisect_right(table, (address, sys.maxsize, "")) - 1
    while place >= 0 and address - table[place].start < 1 << 27:
        if address < table[place].end:
            return table[place].name
        place -= 1
    return "compiled by Numba" if "numba" in sys.modules else "unknown"


def part_of(name: str) -> str:
    """What a function does.

    >>> part_of("product_tile_f32"), part_of("libgomp.so.1"), part_of("tiles_of_points_f64")
    ('product', 'synchronisation', 'transform')
    """
    return next(
        (part for part, words in PARTS.items() if re.search(words, name, re.IGNORECASE)),
        "the rest",
    )


def text_of(problem: Any, name: str, found: dict[str, Any], options: argparse.Namespace) -> str:
    from fastscratch.kernels.catalogue import OPS

    spec, limits, seconds = OPS[problem.op], limits_of(options.threads), found["seconds"]
    flops = limits.flops if problem.dtype == "f32" else limits.flops / 2
    least = max(spec.flops(problem) / flops, spec.nbytes(problem) / limits.copy)
    parts: Counter[str] = Counter()
    for function, share in found["functions"].items():
        parts[part_of(function)] += share
    text = (
        f"{name:18} {1e3 * seconds:9.4f} ms {spec.flops(problem) / seconds / 1e9:7.1f} GFLOP/s "
        f"{spec.nbytes(problem) / seconds / 1e9:6.1f} GB/s {least / seconds:5.0%} of the limit"
    )
    if not options.no_memory:
        extra = measure_memory(str(problem), name, options.threads)
        text += f", {extra / 2**20:.2f} MiB beside its arrays"
    shares = ", ".join(f"{part} {share:.0%}" for part, share in parts.most_common())
    lines = [text, f"    {shares}"]
    if options.functions:
        lines += [
            f"    {share:6.1%} {function}"
            for function, share in found["functions"].items() if share >= 0.005
        ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
