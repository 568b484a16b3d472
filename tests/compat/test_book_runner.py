"""``python -m fastscratch.compat.book``: a script runs as plain Python would run it."""

import subprocess
import sys

import numpy as np
import pytest

from fastscratch.compat.book import mnist
from fastscratch.compat.book.modules import STAND_INS, StandIns
from fastscratch.compat.book.runner import main
from fastscratch.errors import ArgumentError


@pytest.fixture
def run_text(run_book, tmp_path):
    """Run a piece of code as a script, in a folder of its own beside the working folder."""
    (tmp_path / "work").mkdir()

    def run(code, *arguments, files=(), **keywords):
        folder = tmp_path / "chapter"
        for name, text in {"script.py": code, **dict(files)}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return run_book(folder / "script.py", *arguments, cwd=tmp_path / "work", **keywords)

    return run


AS_PYTHON = """\
import os, sys
print(__name__, os.path.basename(__file__), os.path.isabs(__file__))
print([os.path.basename(a) for a in sys.argv], os.path.basename(os.getcwd()))
print(os.path.basename(sys.path[0]), sys.modules["__main__"].__dict__ is globals())
import beside
"""


def test_a_script_sees_what_it_sees_in_plain_python(run_text, tmp_path):
    beside = {"beside.py": "print('beside', __name__)\n"}
    done = run_text(AS_PYTHON, "a", "-b", "--figures", files=beside)
    script = tmp_path / "chapter/script.py"
    plain = subprocess.run(
        [sys.executable, str(script), "a", "-b", "--figures"], cwd=tmp_path / "work",
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == plain.stdout
    assert not list(tmp_path.rglob("script*.pyc"))


ENDS = {
    "code": "import sys; sys.exit(7)",
    "error": "def f():\n    return 1 / 0\n\n\nf()\n",
    "cause": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('so') from e\n",
    "syntax": "x = (1,\n",
    "import": "import no_such_module\n",
    "later": "import atexit\nvalue = 'kept'\natexit.register(lambda: print(value))\n",
}


@pytest.mark.parametrize("end", ENDS)
def test_a_script_ends_as_in_plain_python(run_text, tmp_path, end):
    done = run_text(ENDS[end], check=False)
    plain = subprocess.run(
        [sys.executable, str(tmp_path / "chapter/script.py")], cwd=tmp_path / "work",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (
        plain.returncode, plain.stdout, plain.stderr
    )  # fmt: skip


def test_a_script_that_is_not_there(run_book, tmp_path):
    done = run_book(tmp_path / "nope.py", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "can't open file" in done.stderr and "nope.py" in done.stderr


OWN = {
    "common/__init__.py": "", "common/functions.py": "def sigmoid(x):\n    return 'own'\n",
    "common/extra.py": "from common.functions import sigmoid\nanswer = sigmoid(0)\n",
}  # fmt: skip
ASKS = """\
from common.functions import sigmoid
from common.extra import answer
print(sigmoid(0), answer)
"""


@pytest.mark.parametrize("above", [False, True])
def test_our_modules_win_over_files_beside_the_script_and_say_so(run_text, above):
    """In the script's folder, and in the one above, as in a copy of the book's code."""
    files = {f"../{name}" if above else name: text for name, text in OWN.items()}
    code = f"import sys, os\nsys.path.append({'os.pardir'!s})\n{ASKS}"
    done = run_text(code, files=files)
    assert done.stdout == "0.5 0.5\n"
    assert "ran in place of these files" in done.stderr
    assert "common/functions.py" in done.stderr
    assert "extra.py" not in done.stderr
    for name in ("common.functions", "common"):
        done = run_text(code, files=files, options=["--own", name])
        assert (done.stdout, done.stderr) == ("own own\n", "")


def test_all_modules_of_the_book_are_there(run_text):
    lines = [f"import {name}; print({name}.__name__)" for name in STAND_INS]
    lines.append("import common.functions as a; from common import functions as b; print(a is b)")
    lines += ["from common.layers import *", "from common.optimizer import *"]
    lines.append("print(np.ones(1), Affine.__name__, im2col.__name__, Adam.__name__)")
    done = run_text("\n".join(lines))
    assert done.stdout.splitlines() == [*STAND_INS, "True", "[1.] Affine im2col Adam"]
    assert done.stderr == ""


def test_the_finder_refuses_a_module_that_it_has_not():
    with pytest.raises(ArgumentError, match=r"no stand-in for common\.nets"):
        StandIns(own=["common.nets"])
    with pytest.raises(SystemExit, match="2"):
        main(["--own", "common.nets", "script.py"])


DRAWS = """\
import matplotlib.pyplot as plt
plt.plot([1, 2]); plt.figure(); plt.plot([2, 1]); plt.show()
plt.plot([3, 4]); plt.show()
print(plt.get_fignums())
"""


def test_figures_are_saved_where_no_screen_is(run_text, tmp_path):
    done = run_text(DRAWS)
    assert done.stdout == "[]\n"
    names = [f"script-{number}.png" for number in (1, 2, 3)]
    assert sorted(path.name for path in (tmp_path / "work/figures").iterdir()) == names
    assert [line.rpartition("/")[2] for line in done.stderr.splitlines()] == names


def test_figures_go_where_they_are_told_to(run_text, tmp_path):
    done = run_text("import os\nos.chdir('..')\n" + DRAWS, options=["--figures", "to/here"])
    assert len(list((tmp_path / "work/to/here").glob("*.png"))) == 3
    # A backend that the user names stays.
    done = run_text("import matplotlib as m\nprint(m.get_backend())", MPLBACKEND="svg")
    assert done.stdout == "svg\n"
    done = run_text("import matplotlib as m\nprint(m.get_backend())", DISPLAY=":99")
    assert "figures" not in done.stdout


def test_choices_are_told(run_text):
    code = "from common.functions import *\nsigmoid(np.ones(3))"
    done = run_text(code, options=["--choices"])
    assert "sigmoid_forward" in done.stderr
    done = run_text(code, options=["--choices"], FASTSCRATCH_BACKEND="numpy")
    assert done.stderr.split()[-1] == "numpy"


@pytest.fixture
def data_in(digits_folder, monkeypatch):
    monkeypatch.setenv("FASTSCRATCH_DATA", str(digits_folder))
    mnist._read.cache_clear()
    yield digits_folder
    mnist._read.cache_clear()


def test_mnist_in_the_forms_of_the_book(data_in):
    (x, t), (x_test, t_test) = mnist.load_mnist()
    assert x.shape == (400, 784) and x.dtype == np.float32 and 0.5 < x.max() <= 1
    assert t.shape == (400,) and t.dtype == np.uint8
    assert x_test.shape == (200, 784) and t_test[:3].tolist() == [0, 1, 2]
    (raw, rows), _ = mnist.load_mnist(normalize=False, flatten=False, one_hot_label=True)
    assert raw.shape == (400, 1, 28, 28) and raw.dtype == np.uint8
    np.testing.assert_array_equal(x, (raw.astype("f4") / np.float32(255)).reshape(400, 784))
    assert rows.shape == (400, 10) and rows.dtype == np.float64
    np.testing.assert_array_equal(rows.argmax(axis=1), t)
    raw[:], t[:] = 0, 0
    assert mnist.load_mnist(False)[0][0].max() > 0 and mnist.load_mnist()[0][1].max() == 9
    mnist.init_mnist()


def test_mnist_is_found_where_the_book_s_code_has_downloaded_it(
    digits_folder, monkeypatch, tmp_path
):
    monkeypatch.delenv("FASTSCRATCH_DATA", raising=False)
    (tmp_path / "dataset").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert mnist._downloaded_by_the_book() is None
    for path in digits_folder.iterdir():
        (tmp_path / "dataset" / path.name).write_bytes(path.read_bytes())
    mnist._read.cache_clear()
    assert len(mnist.load_mnist()[1][0]) == 200
    mnist._read.cache_clear()
