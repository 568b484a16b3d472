"""The table of times: what it remembers, what it refuses, and several processes at once."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from fastscratch import errors
from fastscratch.dispatch import tuning_table
from fastscratch.dispatch.tuning_table import TuningTable, key_of, read_table, write_table
from fastscratch.errors import DataError, FallbackWarning
from fastscratch.kernels.catalogue import OPS, Implementation
from fastscratch.kernels.problem import parse_problem

PROBLEM = parse_problem("dense_forward:f32:n100i784:o50")


@pytest.fixture(autouse=True)
def nothing_warned_of(monkeypatch):
    monkeypatch.setattr(errors, "_warned", set())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "times.json"


@pytest.mark.parametrize(
    ("problem", "key"),
    [
        ("conv2d_forward:f32:n127c1h8w8:oc8k3", "conv2d_forward:f32:n64c1h8w8:oc8k3s1p0"),
        ("conv2d_forward:f32:n128c1h8w8:oc8k3", "conv2d_forward:f32:n128c1h8w8:oc8k3s1p0"),
        ("dense_forward:f32:n1i3:o4", "dense_forward:f32:n1i3:o4"),
        ("dense_forward:f32:n0i3:o4", "dense_forward:f32:n0i3:o4"),
        ("relu_forward:f32:n100x30x12x12", "relu_forward:f32:n262144"),
        ("batch_norm_forward:f64:n100c30s576", "batch_norm_forward:f64:n64c30s576"),
    ],
)
def test_a_batch_stands_for_those_up_to_the_next_power_of_two(problem, key):
    assert key_of(parse_problem(problem)) == key


def test_times_are_found_again_by_another_process(path):
    TuningTable(path).add(PROBLEM, 2, {"cython": 1e-3, "numpy": 2e-3})
    TuningTable(path).add(PROBLEM, 1, {"numpy": 4e-3})
    table = TuningTable(path)
    assert table.find(PROBLEM, 2) == {"cython": 1e-3, "numpy": 2e-3}
    assert table.find(PROBLEM, 1) == {"numpy": 4e-3}
    assert table.find(PROBLEM, 3) == {}
    assert table.find(parse_problem("dense_forward:f64:n100i784:o50"), 2) == {}


def test_kernels_from_outside_are_not_kept(path):
    table = TuningTable(path)
    table.add(PROBLEM, 2, {"cython": 1e-3, "mine": 1e-4})
    assert table.find(PROBLEM, 2)["mine"] == 1e-4
    assert "mine" not in TuningTable(path).find(PROBLEM, 2)
    table.forget("mine")
    assert table.find(PROBLEM, 2) == {"cython": 1e-3}


def test_kernels_of_installed_packages_are_kept_by_version(path, monkeypatch):
    spec = OPS[PROBLEM.op]

    def packaged(version):
        entry = Implementation(spec.name, "mine", function=print, package=f"kernels {version}")
        monkeypatch.setitem(OPS, spec.name, replace(spec, implementations=[entry]))
        return entry.key

    old = packaged("1.0")
    TuningTable(path).add(PROBLEM, 2, {"cython": 1e-3, old: 1e-4})
    assert TuningTable(path).find(PROBLEM, 2) == {"cython": 1e-3, "mine (kernels 1.0)": 1e-4}
    assert packaged("1.1") not in TuningTable(path).find(PROBLEM, 2)


def test_clearing_removes_the_file(path):
    table = TuningTable(path)
    table.add(PROBLEM, 2, {"cython": 1e-3})
    table.clear()
    assert not path.exists()
    assert table.find(PROBLEM, 2) == {}


WRITE = """
import sys
from pathlib import Path
from fastscratch.dispatch.tuning_table import TuningTable
from fastscratch.kernels.problem import parse_problem
table = TuningTable(Path(sys.argv[1]))
for i in range(20):
    table.add(parse_problem(f"dense_forward:f32:n1i{sys.argv[2]}:o{i + 1}"), 1, {"numpy": 1.0})
"""


def test_processes_that_write_at_once_lose_nothing(path):
    writers = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", WRITE, str(path), str(i + 1)])
        for i in range(4)
    ]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    assert len(read_table(path)) == 80


def damaged(text):
    return lambda content: text


def without(key):
    return lambda content: json.dumps({k: v for k, v in content.items() if k != key})


def changed(**entries):
    return lambda content: json.dumps(content | entries)


def elsewhere(content):
    return json.dumps(content | {"machine": content["machine"] | {"processor": "another"}})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (damaged("{"), "no table of times"),
        (damaged("[]"), "no table of times of this version"),
        (damaged("\udcff"), "no table of times"),
        (changed(version=1), "of this version"),
        (changed(format="other"), "of this version"),
        (without("times"), "damaged"),
        (without("machine"), "measured elsewhere"),
        (elsewhere, "measured elsewhere: processor 'another', not"),
        (changed(times={"p": []}), "damaged"),
        (changed(times={"p": {"two": {}}}), "damaged: 'two' is no number of threads"),
        (changed(times={"p": {"2": {"cython": "fast"}}}), "damaged: 'fast' is no time"),
        (changed(times={"p": {"2": {"cython": -1.0}}}), "damaged"),
        (changed(times={"p": {"2": {"cython": float("nan")}}}), "damaged"),
    ],
)
def test_a_file_that_is_not_ours_costs_one_warning(path, make, says):
    write_table(path, {str(PROBLEM): {"2": {"cython": 1e-3}}})
    text = make(json.loads(path.read_text("utf-8")))
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=says):
        read_table(path)
    with pytest.warns(FallbackWarning, match=says):
        table = TuningTable(path)
    assert table.times == {}
    table.add(PROBLEM, 2, {"cython": 2e-3})  # a second warning would be an error
    assert TuningTable(path).find(PROBLEM, 2) == {"cython": 2e-3}


def test_a_folder_that_cannot_be_written_costs_one_warning(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    table = TuningTable(tmp_path / "file" / "times.json")
    with pytest.warns(FallbackWarning, match=r"cannot be written.*FASTSCRATCH_CACHE"):
        table.add(PROBLEM, 2, {"cython": 1e-3})
    table.add(PROBLEM, 1, {"cython": 1e-3})
    assert table.find(PROBLEM, 2) == {"cython": 1e-3}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_costs_one_warning(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.warns(FallbackWarning, match="cannot be written"):
        TuningTable(tmp_path / "times.json").add(PROBLEM, 2, {"cython": 1e-3})


def test_the_machine_is_described_by_all_that_changes_a_time():
    here = tuning_table.describe_machine()
    assert {"processor", "level", "compiler", "cython kernels", "numba kernels", "numpy"} <= set(
        here
    )
    assert all(isinstance(text, str) for text in here.values())
