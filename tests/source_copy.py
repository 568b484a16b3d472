"""A copy of the sources to build from, and commands run in it."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = shutil.ignore_patterns(
    "build",
    "dist",
    ".git",
    "*.egg-info",
    "*.so",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "env",
    "build_info.json",
)


def copy_sources(folder):
    """The sources as a fresh clone has them."""
    return Path(shutil.copytree(ROOT, folder, ignore=LEFT_OUT))


def run(*command, cwd, check=True, **environment):
    """A command's end; this process's settings of the package are kept from it."""
    variables = {key: value for key, value in os.environ.items() if key[:11] != "FASTSCRATCH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=variables | environment,
        capture_output=True, text=True, check=False, timeout=2400,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done
