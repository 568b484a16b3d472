"""What this machine can do at most: multiply-adds in registers, and bytes to and from memory.

    python -m benchmarks.limits

The multiply-adds are counted in a loop written in assembly, as a loop in a compiled language is no
measure of the processor: its compiler spills, reorders, or leaves registers unused.
"""

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np

REGISTERS = {"avx512": ("zmm", 16), "avx2": ("ymm", 8), "base": ("xmm", 4)}
"""By processor level: the name of a vector register, and the float32 values in it."""

CHAINS = 12
"""Independent sums: two units of a latency of four or five cycles need ten."""


class Limits(NamedTuple):
    """What a number of threads reach together."""

    num_threads: int
    flops: float
    read: float
    copy: float

    def line(self) -> str:
        return (
            f"{self.num_threads} thr | {self.flops / 1e9:7.1f} GFLOP/s float32 | "
            f"read {self.read / 1e9:5.1f} GB/s | copy {self.copy / 1e9:5.1f} GB/s (both ways)"
        )


def measure(level: str, num_threads: int, rounds: int = 7) -> Limits:
    """The best of some rounds of what `num_threads` threads reach together.

    Parameters
    ----------
    level : {"avx512", "avx2", "base"}
        Which vectors to use; the processor must have them.
    num_threads : int
        Threads that work at once, each on data of its own.
    rounds : int
        How often to measure.
    """
    loop, lanes = _loop(level), REGISTERS[level][1]
    source = [np.ones(32 << 20, np.uint8) for _ in range(num_threads)]
    target = [np.zeros_like(array) for array in source]
    steps = 2_000_000
    together = {
        "flops": lambda i: loop(steps),
        "read": lambda i: source[i].view(np.int64).max(),
        "copy": lambda i: np.copyto(target[i], source[i]),
    }
    amount = {
        "flops": steps * CHAINS * lanes * 2,
        "read": source[0].nbytes,
        "copy": 2 * source[0].nbytes,
    }
    rates = {
        name: max(amount[name] * num_threads / _seconds(work, num_threads) for _ in range(rounds))
        for name, work in together.items()
    }
    return Limits(num_threads, **rates)


def _seconds(work: Callable[[int], object], num_threads: int) -> float:
    """Wall time of `work(i)` in all threads at once."""
    barrier = threading.Barrier(num_threads + 1)

    def run(i: int) -> None:
        barrier.wait()
        work(i)
        barrier.wait()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(num_threads)]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - start
    for thread in threads:
        thread.join()
    return seconds


_engines: list[Any] = []  # the code lives as long as its engine


def _loop(level: str) -> Callable[[int], int]:
    """A function that does CHAINS vector multiply-adds in each of n steps, without the GIL."""
    register = REGISTERS[level][0]
    names = [f"%{register}{i}" for i in range(CHAINS + 2)]
    if level == "base":  # no fused instruction: a product and a sum
        a, b = names[-2:]
        body = [f"mulps {a}, {b}\\0Aaddps {a}, {name}" for name in names[:CHAINS]]
        zero = [f"xorps {name}, {name}" for name in names]
    else:
        a, b = names[-2:]
        body = [f"vfmadd231ps {a}, {b}, {name}" for name in names[:CHAINS]]
        zero = [f"vxorps %xmm{i}, %xmm{i}, %xmm{i}" for i in range(CHAINS + 2)]
    text = "\\0A".join([*zero, "1:", *body, "decq $0", "jnz 1b"])
    clobbered = ",".join(f"~{{xmm{i}}}" for i in range(CHAINS + 2))
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    module = llvm.parse_assembly(
        f'target triple = "{llvm.get_process_triple()}"\n'
        f"define i64 @loop(i64 %n) {{\n"
        f'  %r = call i64 asm sideeffect "{text}", "=r,0,{clobbered},~{{flags}}"(i64 %n)\n'
        f"  ret i64 %r\n}}\n"
    )
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten()
    )
    engine = llvm.create_mcjit_compiler(module, target)
    engine.finalize_object()
    _engines.append(engine)
    prototype = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
    function: Callable[[int], int] = prototype(engine.get_function_address("loop"))
    return function


def main() -> int:
    from fastscratch.dispatch.machine import processor_name
    from fastscratch.kernels import cython_ext

    level = cython_ext.level or "base"
    print(f"{processor_name()}, {level}")
    for num_threads in dict.fromkeys((1, len(os.sched_getaffinity(0)))):
        print(measure(level, num_threads).line())
    return 0


if __name__ == "__main__":
    sys.exit(main())
