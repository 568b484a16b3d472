"""The tests without the extras that they do not ask for: those that need one skip, saying why."""

from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent

COLLECT = """
import sys
sys.modules[sys.argv[1]] = None  # importing it raises ModuleNotFoundError
import pytest
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *sys.argv[2:]]))
"""


@pytest.mark.parametrize("name", ["torch", "matplotlib", "pooch", "optuna"])
def test_every_test_file_can_be_read_without(name, run_python):
    """One file that cannot ends a whole run; the doctests' run reads those without tests too."""
    files = [
        str(path) for path in TESTS.rglob("*.py")
        if "scripts" not in path.parts and name in path.read_text("utf-8")
    ]  # fmt: skip
    assert len(files) > 1
    done = run_python(COLLECT, check=False, arguments=(name, *files))
    assert done.returncode == 0, done.stdout + done.stderr
