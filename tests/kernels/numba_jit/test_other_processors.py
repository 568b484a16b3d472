"""The kernels as other machines run them: other vector widths, and plain Python without the JIT."""

from pathlib import Path

import pytest

from fastscratch.kernels.numba_jit import machine

PROGRAM = (Path(__file__).parent / "small_cases.py").read_text()


def test_plain_python(run_python):
    done = run_python(PROGRAM, NUMBA_DISABLE_JIT="1")
    assert "all equal" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("width", [16, 32, 64])
def test_vector_width(width, run_python):
    if width == machine.VECTOR_BYTES:
        pytest.skip("this processor's own width is what all other tests run")
    done = run_python(PROGRAM, FASTSCRATCH_VECTOR_BYTES=str(width))
    assert "all equal" in done.stdout


def test_width_of_processors():
    sse = frozenset({"sse2", "sse4.2", "avx"})
    avx2 = sse | {"avx2", "fma"}
    avx512 = avx2 | {"avx512f", "avx512dq", "avx512bw", "avx512vl"}
    assert [machine.vector_bytes(f) for f in (sse, avx2, avx512)] == [16, 32, 64]
    assert machine.vector_bytes(avx2 | {"avx512f"}) == 32, "Xeon Phi lacks the rest"
    assert [machine.vector_bytes(avx512, cap) for cap in ("base", "avx2", "avx512")] == [16, 32, 64]
    assert machine.vector_bytes(sse, "avx512") == 16
