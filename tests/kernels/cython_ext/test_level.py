"""Which processor level is loaded, and what is said when none is."""

import json

import pytest

from fastscratch.kernels import cython_ext

REPORT = """
import json
from fastscratch.kernels import cython_ext
from fastscratch.kernels.cython_ext import conv2d, dense, im2col, pool2d
print(json.dumps([cython_ext.level, cython_ext.reason, conv2d.__name__, conv2d.__file__]))
"""


@pytest.fixture(autouse=True)
def _needs_cython(require_backend):
    require_backend("cython")


def supported():
    from importlib.machinery import ExtensionFileLoader
    from importlib.util import module_from_spec, spec_from_loader
    from pathlib import Path

    (path,) = Path(cython_ext.__file__).parent.glob("_processor.*")
    loader = ExtensionFileLoader("_processor", str(path))
    spec = spec_from_loader("_processor", loader)
    assert spec
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module.supported_levels()


@pytest.mark.parametrize("cap", cython_ext.LEVELS)
def test_the_environment_caps_the_level(cap, run_python):
    level, reason, name, path = json.loads(run_python(REPORT, FASTSCRATCH_ISA=cap).stdout)
    allowed = cython_ext.LEVELS[: cython_ext.LEVELS.index(cap) + 1]
    assert level == [name for name in supported() if name in allowed][-1]
    assert reason == ""
    assert name == "fastscratch.kernels.cython_ext.conv2d"
    assert f"/cython_ext/{level}/conv2d" in path.replace("\\", "/")


def test_without_a_cap_the_best_level_runs(run_python):
    assert json.loads(run_python(REPORT).stdout)[0] == supported()[-1]
    assert json.loads(run_python(REPORT, FASTSCRATCH_ISA="").stdout)[0] == supported()[-1]


def test_base_always_runs():
    assert supported()[0] == "base"


def test_an_unknown_level_is_an_error(run_python):
    done = run_python(REPORT, check=False, FASTSCRATCH_ISA="sse9")
    assert done.returncode != 0
    assert (
        "ArgumentError: FASTSCRATCH_ISA='sse9': expected one of base, avx2, avx512" in done.stderr
    )


def test_the_build_is_recorded():
    info = cython_ext.build_info
    assert info["built"] is True
    assert info["reason"] == ""
    assert set(supported()) <= {"base", "avx2", "avx512"}
    assert "base" in info["levels"]
    assert set(info["flags"]) == set(info["levels"])
    assert "-march=native" not in json.dumps(info)
    assert isinstance(info["openmp"], bool)
    assert info["compiler"] and info["cython"] and info["numpy"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "nothing was built beside the Python files"),
        ("{", "the record of the build cannot be read"),
        ('{"built": false, "reason": "no compiler here"}', "no compiler here"),
    ],
)
def test_a_missing_build_says_why_and_how_to_mend_it(text, said, tmp_path, monkeypatch):
    if text is not None:
        (tmp_path / "build_info.json").write_text(text)
    monkeypatch.setattr(cython_ext, "_FOLDER", tmp_path)
    monkeypatch.setattr(cython_ext, "build_info", cython_ext._read_build_info())
    level, reason = cython_ext._choose_level()
    assert level is None
    assert said in reason
    assert "FASTSCRATCH_BUILD=require" in reason


def test_a_build_older_than_the_package_is_not_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(cython_ext, "_FOLDER", tmp_path)
    for folder in cython_ext.LEVELS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "conv2d.so").touch()
    level, reason = cython_ext._choose_level()
    assert level is None
    assert "what was compiled is older than the Python files" in reason
    assert "setup.py build_ext --inplace" in reason
