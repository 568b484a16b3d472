"""What compiling promises: caches that notice changes and may be broken, threads that are safe."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from fastscratch.kernels.numba_jit import compile as compiling
from fastscratch.kernels.numba_jit import conv2d, dense, pool2d

PACKAGE = Path(compiling.__file__).parent

needs_jit = pytest.mark.skipif(not compiling.JIT, reason="there is nothing to compile")

PROGRAM = """
import sys
import numpy as np
from fastscratch.kernels.numba_jit import compile as compiling, dense
x = np.arange(9000, dtype=np.float32).reshape(90, 100) % 7
w = np.arange(8000, dtype=np.float32).reshape(100, 80) % 5
y = np.empty((90, 80), np.float32)
dense.dense_forward(x, w, np.ones(80, np.float32), y, int(sys.argv[1]))
assert np.array_equal(y, x @ w + 1), y
"""


def test_importing_the_package_does_not_import_numba(run_python):
    run_python("import sys, fastscratch.kernels.numba_jit; assert 'numba' not in sys.modules")


@needs_jit
def test_a_second_process_compiles_nothing(tmp_path, run_python):
    counting = PROGRAM + (
        "from fastscratch.kernels.numba_jit import matmul\n"
        "print(sum(1 for driver in [matmul.multiply]\n"
        "          for entry in driver._compiled.values() if entry.cache_hits == 0))\n"
    )
    for compiled in ("1", "0"):
        done = run_python(counting, arguments=["1"], NUMBA_CACHE_DIR=str(tmp_path))
        assert done.stdout.strip() == compiled


@needs_jit
def test_what_two_processes_compiled_stays_apart_in_a_third(tmp_path, run_python):
    """Parts of kernels once had the same names, and gauss ran the transforms of winograd4."""
    program = """
import sys
import numpy as np
import fastscratch as fs
from fastscratch.kernels.numba_jit import compile as compiling
compiling._run_alone()
x = np.arange(2 * 16 * 8 * 8, dtype=np.float32).reshape(2, 16, 8, 8) % 7 - 3
w = np.arange(16 * 16 * 9, dtype=np.float32).reshape(16, 16, 3, 3) % 5 - 2
expected = fs.ops.conv2d_forward(x, w, backend="numpy")
for algorithm in sys.argv[1:]:
    y = fs.ops.conv2d_forward(x, w, backend=f"numba:{algorithm}")
    np.testing.assert_allclose(y, expected, atol=1e-3, err_msg=algorithm)
"""
    # The same compiler in each, whose numbers start alike: its own parts were compiled before.
    for algorithms in ([], ["gauss"], ["winograd4"], ["gauss", "winograd4"]):
        run_python(program, arguments=algorithms, NUMBA_CACHE_DIR=str(tmp_path), PYTHONHASHSEED="0")


@needs_jit
def test_the_digest_covers_every_file(tmp_path, monkeypatch):
    copy = tmp_path / "numba_jit"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(compiling, "__file__", str(copy / "compile.py"))
    digest = compiling.source_digest.__wrapped__
    before = digest()
    assert before == digest()
    for path in copy.glob("*.py"):
        text = path.read_text()
        path.write_text(text + "\n")
        assert digest() != before, path
        path.write_text(text)
    monkeypatch.setattr(compiling, "VECTOR_BYTES", 48)
    assert digest() != before


@needs_jit
def test_the_digest_names_the_cache_file(tmp_path, run_python):
    """What the promise rests on: Numba's file is named by the function's qualified name."""
    run_python(PROGRAM, arguments=["1"], NUMBA_CACHE_DIR=str(tmp_path))
    names = [path.name for path in tmp_path.rglob("*.nbi")]
    assert names
    assert all(compiling.source_digest()[:16] in name for name in names)


@needs_jit
@pytest.mark.parametrize("content", [b"", b"no cache at all", b"\x80\x04."])
def test_a_damaged_cache_only_costs_time(tmp_path, content, run_python):
    run_python(PROGRAM, arguments=["1"], NUMBA_CACHE_DIR=str(tmp_path))
    for path in tmp_path.rglob("*.nb*"):
        path.write_bytes(content)
    run_python(PROGRAM, arguments=["1"], NUMBA_CACHE_DIR=str(tmp_path))


@needs_jit
def test_an_unwritable_cache_only_costs_time(tmp_path, run_python):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    run_python(PROGRAM, arguments=["1"], NUMBA_CACHE_DIR=str(blocked / "cache"))


@needs_jit
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_several_python_threads_at_once(layer, run_python):
    program = """
import threading
import numpy as np
import numba
from fastscratch.kernels.numba_jit import compile as compiling, dense
if numba.config.THREADING_LAYER == "omp":
    try:
        from numba.np.ufunc import omppool
    except ImportError:
        raise SystemExit(0)
rng = np.random.default_rng(0)
x = rng.integers(-4, 5, (200, 300)).astype(np.float32)
w = rng.integers(-4, 5, (300, 100)).astype(np.float32)
ref = x @ w
wrong = []
def work():
    for _ in range(20):
        y = np.empty((200, 100), np.float32)
        dense.dense_forward(x, w, np.zeros(100, np.float32), y, 2)
        if not np.array_equal(y, ref):
            wrong.append(y)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not wrong
print(numba.threading_layer(), compiling.usable_workers(2, 10**9))
"""
    done = run_python(program, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2")
    output = done.stdout.split()
    if layer == "workqueue":
        assert output == ["workqueue", "1"]
    elif output:
        assert output == ["omp", "2"]


@needs_jit
def test_a_forked_child_computes_serially(run_python):
    program = (
        PROGRAM
        + """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # fork in a process with threads
child = os.fork()
if child == 0:
    y[:] = 0
    dense.dense_forward(x, w, np.ones(80, np.float32), y, 2)
    right = np.array_equal(y, x @ w + 1) and compiling.usable_workers(2, 10**9) == 1
    os._exit(0 if right else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    )
    run_python(program, arguments=["2"], NUMBA_NUM_THREADS="2")


@needs_jit
def test_more_threads_than_numba_has(run_python):
    program = PROGRAM + "assert compiling.usable_workers(64, 10**9) <= 2\n"
    run_python(program, arguments=["64"], NUMBA_NUM_THREADS="2")


@needs_jit
def test_the_number_of_threads_is_put_back():
    import numba

    before = numba.get_num_threads()
    y = np.zeros((128, 128), np.float32)
    dense.dense_forward(y + 1, y, y[0].copy(), np.empty_like(y), 1)
    dense.dense_forward(np.ones_like(y), np.ones_like(y), y[0].copy(), y, 2)
    assert numba.get_num_threads() == before


def test_bits_do_not_depend_on_the_threads():
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    x, weight, bias = normal(5, 7, 20, 21), normal(40, 7, 3, 3), normal(40)
    dout = normal(5, 40, 10, 11)
    square, product = normal(150, 170), normal(170, 130)
    results = []
    for num_threads in (1, 2, 3, 4):
        y, dx, dw, db = (np.empty_like(a) for a in (dout, x, weight, bias))
        geometry = (2, 2), (1, 1, 1, 1), (1, 1), 1, num_threads
        conv2d.conv2d_forward(x, weight, bias, y, *geometry)
        conv2d.conv2d_backward_input(dout, weight, dx, *geometry)
        conv2d.conv2d_backward_weight(dout, x, dw, db, *geometry)
        out = np.empty((150, 130), np.float32)
        dense.dense_forward(square, product, np.zeros(130, np.float32), out, num_threads)
        mean = np.empty((5, 7, 10, 11), np.float32)
        pool2d.avg_pool2d_forward(x, mean, (3, 3), (2, 2), (1, 1, 1, 1), True, num_threads)
        results.append((y, dx, dw, db, out, mean))
    for others in results[1:]:
        for ref, out in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(out, ref)
