"""Workers of every kind: processes, after the parent has used its threads, and Python threads."""

import pytest

from fastscratch.kernels.catalogue import OPS, backend_reason

WORK = """
import sys, warnings
import numpy as np
import fastscratch as fs

X = np.random.default_rng(0).standard_normal((8, 16, 20, 20)).astype(np.float32)
WEIGHT = np.random.default_rng(1).standard_normal((16, 16, 3, 3)).astype(np.float32)

def work(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fs.errors.FallbackWarning)  # a forked child says so once
        with fs.use_backend(BACKEND), fs.threads(2):
            y = fs.ops.conv2d_forward(X + seed, WEIGHT, padding=1)
            return float(np.abs(y).sum()), fs.explain("conv2d_forward", X, WEIGHT).num_threads
"""

POOL = """
import importlib, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
sys.path.insert(0, {folder!r})
work = importlib.import_module("work_{backend}").work

if __name__ == "__main__":
    here = [work(seed) for seed in range(6)]
    context = multiprocessing.get_context({method!r})
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        there = list(pool.map(work, range(6), timeout=120))
    assert [value for value, _ in there] == [value for value, _ in here], (here, there)
    print({{threads for _, threads in here}}, {{threads for _, threads in there}})
"""

JOBLIB = """
import importlib, sys
from joblib import Parallel, delayed
sys.path.insert(0, {folder!r})
work = importlib.import_module("work_{backend}").work
here = [work(seed) for seed in range(6)]
there = Parallel(n_jobs=2, prefer={method!r}, timeout=120)(delayed(work)(s) for s in range(6))
assert [value for value, _ in there] == [value for value, _ in here], (here, there)
print({{threads for _, threads in here}}, {{threads for _, threads in there}})
"""

BOTH = ("cython", "numba")


def prepare(tmp_path, backend):
    reason = backend_reason(backend)
    if reason:
        pytest.skip(f"backend {backend!r} is not available: {reason}")
    (tmp_path / f"work_{backend}.py").write_text(WORK.replace("BACKEND", repr(backend)))
    return {"folder": str(tmp_path), "backend": backend}


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize(("method", "threads"), [("fork", "1"), ("spawn", "2")])
def test_pools_of_processes(run_python, tmp_path, backend, method, threads):
    names = prepare(tmp_path, backend)
    script = tmp_path / "main.py"
    script.write_text(POOL.format(**names, method=method))
    # Newer Pythons warn of forking a process with threads: that is the point here.
    code = f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
    done = run_python(code, options=("-W", "ignore::DeprecationWarning"))
    assert done.stdout.split("{")[1:] == ["2} ", f"{threads}}}\n"]


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize("method", ["processes", "threads"])
def test_joblib(run_python, tmp_path, backend, method):
    pytest.importorskip("joblib", reason="joblib is not installed")
    names = prepare(tmp_path, backend)
    done = run_python(JOBLIB.format(**names, method=method), options=())
    assert done.stdout.startswith("{2} ")


EIGHT_THREADS = """
import random, sys, threading
from fastscratch.dispatch.choose import candidates
from fastscratch.kernels.catalogue import OPS
from fastscratch.testing import all_problems, make_inputs
from fastscratch.testing.inputs import empty_outputs, run_kernel

runs = []
for op in OPS:
    problem = sorted(all_problems(op), key=OPS[op].nbytes)[-1]
    for entry, reason in candidates(problem):
        if not reason:
            runs.append((f"{entry.name} {problem}", entry.load(), problem))

def outputs_of(kernel, problem):
    arrays = make_inputs(problem, "integers")
    arrays |= empty_outputs(problem, arrays)
    run_kernel(kernel, problem, arrays, 2)
    return [array.tobytes() for array in arrays.values()]

alone = {name: outputs_of(kernel, problem) for name, kernel, problem in runs}
wrong = []

def work(number):
    try:
        for name, kernel, problem in random.Random(number).sample(runs, len(runs)):
            if outputs_of(kernel, problem) != alone[name]:
                wrong.append(name)
    except BaseException as error:
        wrong.append(repr(error))

threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len({kernel for _, kernel, _ in runs}), wrong)
"""


@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_eight_threads_call_every_kernel_at_once(run_python, layer):
    done = run_python(EIGHT_THREADS, options=(), NUMBA_THREADING_LAYER=layer)
    count, wrong = done.stdout.split(" ", 1)
    assert int(count) >= len(OPS)
    assert wrong == "[]\n"
