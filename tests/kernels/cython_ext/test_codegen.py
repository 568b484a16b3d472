"""What the compiler made of the register tiles: their width, their multiply-adds, no spills.

A tile whose accumulators went to memory still gives right results, at a third of the speed.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fastscratch.kernels import cython_ext
from fastscratch.kernels.catalogue import OPS

FOLDER = Path(cython_ext.__file__).parent
OBJDUMP = shutil.which("objdump")

pytestmark = pytest.mark.skipif(OBJDUMP is None, reason="objdump (binutils) shows the machine code")

# level: (register, most multiply-adds in one step of k: rows times two vectors)
TILES = {"avx2": ("ymm", 12), "avx512": ("zmm", 28)}


@pytest.fixture(autouse=True)
def _needs_an_optimised_build(require_backend):
    require_backend("cython")
    if cython_ext.build_info["checks"] or cython_ext.build_info.get("sanitized"):
        pytest.skip("a build with checks has them in its loops")


def disassemble(level, module):
    if level not in cython_ext.build_info["levels"]:
        pytest.skip(f"level {level} is not built for this processor")
    (path,) = (FOLDER / level).glob(f"{module}.*")
    assert OBJDUMP
    command = [OBJDUMP, "--disassemble", "--no-show-raw-insn", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.finditer(r"^[0-9a-f]+ <([^>]+)>:\n(.*?)(?:\n\n|\Z)", text, re.S | re.M)
    return {match[1].split(".")[0]: match[2] for match in found}


def innermost_loops(code):
    """The instructions of each loop without another jump in it."""
    lines = re.findall(r"^\s*([0-9a-f]+):\t(.*)$", code, re.M)
    index = {address: i for i, (address, _) in enumerate(lines)}
    for i, (_, text) in enumerate(lines):
        jump = re.match(r"j\w+\s+([0-9a-f]+)", text)
        start = index.get(jump[1], i) if jump else i
        body = [instruction for _, instruction in lines[start : i + 1]]
        if start < i and not any(line.startswith("j") for line in body[:-1]):
            yield body


@pytest.mark.parametrize("level", TILES)
@pytest.mark.parametrize("function", ["tile_f32", "tile_f64"])
@pytest.mark.parametrize("module", ["conv2d", "conv2d_winograd"])
def test_the_tile_stays_in_registers(level, function, module):
    register, most = TILES[level]
    functions = disassemble(level, module)
    assert function in functions, "the tile was inlined away: look at its callers instead"
    loops = [
        (sum(line.startswith("vfmadd") and register in line for line in body), body)
        for body in innermost_loops(functions[function])
    ]
    count, body = max(loops, key=lambda loop: loop[0])
    assert count == 4 * most
    assert [line for line in body if "mm" in line and "rsp" in line] == []
    # For each row a broadcast, and at most its address read again; two loads of b, its address and
    # that of a; the loop's end.
    assert len(body) <= 4 * (most + 2 * (most // 2) + 6) + 8


@pytest.mark.parametrize("level", TILES)
@pytest.mark.parametrize("function", ["product_tile_f32", "product_tile_f64"])
@pytest.mark.parametrize("module", ["dense", "conv2d", "conv2d_winograd"])
def test_a_step_of_a_product_is_its_sums_and_loads(level, function, module):
    register, most = TILES[level]
    unrolled = 4 * most
    loops = [
        (sum(line.startswith("vfmadd") and register in line for line in body), body)
        for body in innermost_loops(disassemble(level, module)[function])
    ]
    assert max(count for count, _ in loops) == unrolled
    packed = min((body for count, body in loops if count == unrolled), key=len)
    packed = [line for line in packed if not line.startswith("prefetch")]
    assert [line for line in packed if "rsp" in line or "rbp" in line] == []
    # Two loads of b, a broadcast a row (which may be part of the multiply-add), where a tall tile
    # asks for memory next, the loop's end.
    asking = 5 if most > 12 else 0
    assert len(packed) <= 4 * (most + 2 + most // 2 + asking) + 8


@pytest.mark.parametrize("level", TILES)
@pytest.mark.parametrize("function", ["scattered_sums_f32", "scattered_sums_f64"])
def test_scattered_sums_stay_in_registers(level, function):
    register, _ = TILES[level]
    loops = [
        (sum(line.startswith("vfmadd") and register in line for line in body), body)
        for body in innermost_loops(disassemble(level, "conv2d_pool")[function])
    ]
    count, body = max(loops, key=lambda loop: loop[0])
    assert count == 12, "two windows at a time, six rows of each"
    assert [line for line in body if "mm" in line and "rsp" in line] == []


@pytest.mark.parametrize("level", TILES)
def test_activations_in_float32_are_vector_code_of_floats(level):
    """A literal or a function of doubles in a formula would make doubles of it."""
    register, _ = TILES[level]
    code = "\n".join(disassemble(level, "activations").values())
    assert len(re.findall(rf"vdivps .*{register}", code)) >= 4, "sigmoid, tanh; one thread, many"
    assert re.findall(rf"vcvtps2pd .*{register}", code) == []


@pytest.mark.parametrize("level", TILES)
@pytest.mark.parametrize("function", ["weighted_sums_f32", "weighted_sums_f64"])
def test_the_sums_of_a_depthwise_row_stay_in_registers(level, function):
    """3x3 and 5x5 depthwise: eight sums of a column of taps, all of them in registers."""
    register, _ = TILES[level]
    loops = list(innermost_loops(disassemble(level, "conv2d")[function]))
    for taps in (3, 5):
        found = [
            body
            for body in loops
            if sum(line.startswith("vfmadd") and register in line for line in body) == 8 * taps
        ]
        assert found, f"no loop has the sums of {taps} taps"
        assert [line for body in found for line in body if "mm" in line and "rsp" in line] == []


MODULES = sorted(
    {entry.module.rpartition(".")[2] for spec in OPS.values() for entry in spec.implementations}
)


@pytest.mark.parametrize("module", MODULES)
def test_the_base_level_runs_anywhere(module):
    if "avx2" not in cython_ext.build_info["levels"]:
        pytest.skip("not an x86-64 processor")
    code = "\n".join(disassemble("base", module).values())
    newer = re.findall(r"^.*\t(v(?!er[rw]|mcall)\w+ .*|.*%[yz]mm.*)$", code, re.M)
    assert newer == []
