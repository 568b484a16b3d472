"""What all tests share: the backends to try, a clean process for a piece of code, determinism."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest

from fastscratch.kernels.catalogue import BACKENDS, backend_reason

# The same examples at every run, so that a failure is seen by all or by none.
hypothesis.settings.register_profile(
    "fastscratch", derandomize=True, deadline=None, max_examples=40, print_blob=True
)
hypothesis.settings.load_profile("fastscratch")

ROOT = Path(__file__).resolve().parents[1]


_own_folders = tempfile.TemporaryDirectory(prefix="fastscratch-tests-")


def pytest_configure():
    """A cache of the tests' own: what a user has measured or configured must not decide here."""
    # Not a fixture: the examples in docstrings stand outside this folder.
    os.environ["FASTSCRATCH_CACHE"] = str(Path(_own_folders.name, "cache"))
    os.environ["XDG_CONFIG_HOME"] = str(Path(_own_folders.name, "config"))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in a shell's background job; tests and what they start wait for a Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure():
    _own_folders.cleanup()


@pytest.fixture(scope="session")
def require_backend():
    """Skip without a backend, saying why; fail where FASTSCRATCH_REQUIRE_BACKENDS names it."""
    return _require_backend


def _require_backend(name):
    reason = backend_reason(name)
    if not reason:
        return
    required = os.environ.get("FASTSCRATCH_REQUIRE_BACKENDS", "").replace(" ", "").split(",")
    if name in required:
        pytest.fail(f"backend {name!r} is required and not available: {reason}", pytrace=False)
    pytest.skip(f"backend {name!r} is not available: {reason}")


@pytest.fixture(params=list(BACKENDS))
def backend(request):
    """Each built-in backend in turn."""
    _require_backend(request.param)
    return request.param


@pytest.fixture(scope="session")
def backends():
    """The backends that are there, for tests whose examples hypothesis draws."""
    for name in filter(None, os.environ.get("FASTSCRATCH_REQUIRE_BACKENDS", "").split(",")):
        _require_backend(name.strip())
    return [name for name in BACKENDS if not backend_reason(name)]


@pytest.fixture
def run_python():
    """Run a piece of code in a fresh interpreter; keywords are environment variables."""

    def run(code, *, check=True, options=("-W", "error"), arguments=(), **environment):
        variables = {
            key: value for key, value in os.environ.items()
            if not key.startswith(("FASTSCRATCH_", "OMP_", "NUMBA_")) or key == "FASTSCRATCH_CACHE"
        }  # fmt: skip
        variables.update(environment)
        done = subprocess.run(
            [sys.executable, *options, "-c", code, *arguments], env=variables, cwd=ROOT,
            timeout=300, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run
