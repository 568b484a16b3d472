"""Reports: their texts, and what they hold."""

import numpy as np

import fastscratch as fs
from fastscratch.dispatch import explain_problem
from fastscratch.dispatch.explain import Config, Explanation
from fastscratch.kernels.catalogue import BACKENDS
from fastscratch.kernels.problem import parse_problem


def test_the_text_of_an_explanation():
    report = Explanation(
        "im2col:f32:n1c1h4w4:k2s1p0", "numba", "named by the call", 2,
        (("cython", "not built"), ("numba", ""), ("numpy", "")),
    )  # fmt: skip
    assert str(report) == (
        "im2col:f32:n1c1h4w4:k2s1p0\n"
        "  runs on numba, 2 threads: named by the call\n"
        "  - cython: not built\n"
        "  * numba: can run it\n"
        "  - numpy: can run it"
    )


def test_explaining_runs_nothing_and_records_nothing():
    problem = parse_problem("conv2d_forward:f32:n512c512h224w224:oc512k3p1")  # 100 GB
    with fs.use_backend("numpy"), fs.record_choices() as choices:
        assert explain_problem(problem).implementation == "numpy"
        fs.ops.dense_forward(np.ones((1, 1)), np.ones((1, 1)))
    assert choices == {"dense_forward": {"numpy": 1}}


def test_the_configuration_tells_what_there_is():
    config = fs.show_config()
    assert config["fastscratch"]
    assert config["numpy"] == np.__version__
    assert set(config["backends"]) == set(BACKENDS)
    assert config["threads"] == fs.get_num_threads()
    assert config["usable processors"] >= 1
    assert config["compiled level"] in ("none", "base", "avx2", "avx512")
    assert config["order"].split(", ") == list(fs.available_backends())
    assert len(config) == len(list(config))
    text = repr(config)
    for key in config:
        assert f"{key}:" in text


def test_the_text_of_a_configuration():
    assert repr(Config({"a": 1, "b": {"c": "d"}})) == "a: 1\nb:\n  c: d"


def test_a_level_cap_shows(run_python):
    code = "import fastscratch as fs; print(fs.show_config()['compiled level'])"
    assert run_python(code, FASTSCRATCH_ISA="base").stdout.strip() in ("base", "none")


def test_algorithms_that_round_more_say_that_they_must_be_named(require_backend):
    require_backend("cython")
    problem = "conv2d_forward:f32:n8c64h56w56:oc64k3p1"
    assert "cython:winograd4: can run it, where it is named" in str(fs.explain(problem))
    with fs.accuracy("fast"):
        assert "where it is named" not in str(fs.explain(problem))
