"""What a configuration file may say, and that the environment's word counts more."""

import re

import pytest

from fastscratch.dispatch.configuration import read_file
from fastscratch.errors import ArgumentError

SHOW = """
import fastscratch as fs
from fastscratch.dispatch import current_settings
for problem in ("conv2d_forward:f32:n1c1h4w4:oc1k3", "im2col:f32:n1c1h4w4:k2"):
    report = fs.explain(problem)
    print(report.implementation, report.rule.rpartition('/')[2], sep=' | ')
now = current_settings()
print(now.num_threads, now.accuracy, now.deterministic, now.tuning, now.fallback)
"""


@pytest.fixture
def configure(tmp_path):
    def write(text):
        (tmp_path / "mine.toml").write_text(text, "utf-8")
        return {"FASTSCRATCH_CONFIG": str(tmp_path / "mine.toml")}

    return write


EVERYTHING = """
threads = 3
backend = "numpy"
accuracy = "fast"
deterministic = true
tuning = true
fallback = "error"
[operations]
im2col = "numpy"
"""


def test_the_file_says_everything(run_python, configure):
    lines = run_python(SHOW, **configure(EVERYTHING)).stdout.splitlines()
    assert lines == ["numpy | mine.toml", "numpy | mine.toml", "3 fast True True error"]


def test_the_environment_counts_more(run_python, configure):
    lines = run_python(
        SHOW, **configure(EVERYTHING), FASTSCRATCH_BACKEND="numpy", FASTSCRATCH_NUM_THREADS="2",
        FASTSCRATCH_ACCURACY="default", FASTSCRATCH_DETERMINISTIC="0", FASTSCRATCH_TUNING="0",
        FASTSCRATCH_FALLBACK="warn",
    ).stdout.splitlines()  # fmt: skip
    assert lines[0] == "numpy | named by FASTSCRATCH_BACKEND"
    assert lines[2] == "2 default False False warn"


def test_the_file_in_the_users_folder_is_read(run_python, tmp_path):
    (tmp_path / "fastscratch").mkdir()
    (tmp_path / "fastscratch" / "config.toml").write_text('backend = "numpy"\n')
    code = SHOW.replace(
        "import fastscratch", "import sys; sys.platform = 'linux'\nimport fastscratch"
    )
    lines = run_python(code, XDG_CONFIG_HOME=str(tmp_path)).stdout.splitlines()
    assert lines[0] == "numpy | config.toml"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("threads = 0", "threads must be 1 or more, got 0"),
        ("threads = true", "threads must be a int, got True"),
        ('threads = "2"', "threads must be a int, got '2'"),
        ("thread = 2", "unknown entry 'thread'; there are threads"),
        ("tuning = 1", "tuning must be a bool, got 1"),
        ('accuracy = "low"', "accuracy must be default or fast, got 'low'"),
        ("operations = 3", "operations must be a dict, got 3"),
        ("[operations]\nconv = 'numpy'", "unknown operation 'conv'"),
        ("[operations]\nim2col = 3", "operations.im2col must be a str, got 3"),
        ("threads = ", "cannot be read"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_it(configure, monkeypatch, text, says):
    for name, value in configure(text).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ArgumentError, match=re.escape(says)) as caught:
        read_file()
    assert "mine.toml" in str(caught.value)


@pytest.mark.parametrize("text", ["operations.im2col = 'cuda'", "backend = 'cuda'"])
def test_a_name_that_is_not_there_is_an_error_where_it_counts(run_python, configure, text):
    done = run_python(SHOW, check=False, **configure(text))
    assert done.returncode == 1
    assert "no implementation is called 'cuda' (named by" in done.stderr
    assert "mine.toml" in done.stderr


def test_a_file_that_is_named_must_be_there(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTSCRATCH_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(ArgumentError, match="no such file"):
        read_file()
