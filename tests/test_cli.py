"""The command line: what it prints, what it leaves behind, and its exit codes."""

import copy
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fastscratch as fs
from fastscratch.cli import main
from fastscratch.dispatch.settings import forget_plans
from fastscratch.dispatch.tuning_table import TuningTable
from fastscratch.kernels.catalogue import OPS
from fastscratch.testing import shapes_of
from fastscratch.training import CheckpointFolder, History, read_checkpoint

ROOT = Path(fs.__file__).parents[1]
SHORT = ["--epochs", "2", "--model", "mlp", "--backend", "numpy", "--batch-size", "200"]


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "fastscratch", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | (environment or {}),
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def trained(tmp_path, capsys):
    """The output folder of a short run, and what it printed."""
    assert main(["train", *SHORT, "--output", str(tmp_path / "run")]) == 0
    return tmp_path / "run", capsys.readouterr().out


def test_train_tells_and_keeps(trained):
    folder, text = trained
    lines = text.splitlines()
    assert re.fullmatch(r"test accuracy: \d+\.\d\d %", lines[-1])
    assert "epoch 1/2: training loss" in text and "epoch 2/2" in text
    assert re.search(r"trained 2 epochs of 1,293 images in \d+\.\d s: [\d,]+ images/s", text)
    assert re.search(r"\n  dense_forward +numpy\n", text)
    names = {path.name for path in folder.iterdir()}
    assert names >= {"checkpoint.npz", "model.npz", "history.json", "options.json"}
    history = History.load(folder / "history.json")
    assert len(history) == 2 and history.implementations["dense_forward"].keys() == {"numpy"}
    assert json.loads((folder / "options.json").read_text())["model"] == "mlp"


def test_picture(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib, from the extra 'plot'")
    assert main(["train", *SHORT, "--output", str(tmp_path)]) == 0
    assert "learning_curve.png" in capsys.readouterr().out
    assert (tmp_path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_training_is_not_lost(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["train", *SHORT, "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "pip install 'fastscratch[plot]'" in out
    assert out.splitlines()[-1].startswith("test accuracy: ")
    assert (tmp_path / "model.npz").exists()


def test_default_run_reaches_what_it_promises(capsys):
    # The median of ten seeds is an experiment; one seed tells whether something broke.
    assert main(["train", "-q", "--epochs", "12", "--threads", "1"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert float(line.split()[2]) >= 96


@pytest.mark.slow
def test_median_of_ten_seeds(capsys):
    found = []
    for seed in range(10):
        assert main(["train", "-q", "--threads", "1", "--seed", str(seed)]) == 0
        found.append(float(capsys.readouterr().out.split()[-2]))
    assert sorted(found)[4] >= 97


def test_quiet_prints_the_last_line_only(capsys):
    assert main(["train", *SHORT, "-q"]) == 0
    captured = capsys.readouterr()
    assert re.fullmatch(r"test accuracy: \d+\.\d\d %\n", captured.out)
    assert captured.err == ""


def test_same_seed_same_result(capsys):
    results = []
    for seed in ("3", "3", "4"):
        main(["train", *SHORT, "-q", "--seed", seed, "--optimizer", "momentum", "--lr", "0.02"])
        results.append(capsys.readouterr().out)
    assert results[0] == results[1] != results[2]


def test_evaluate_says_what_training_said(trained, capsys):
    folder, text = trained
    last = text.splitlines()[-1]
    for path in (folder, folder / "model.npz", folder / "checkpoint.npz"):
        assert main(["evaluate", str(path)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1] == last
        rows = [[int(word.replace(".", "0")) for word in line.split()[1:]] for line in lines[3:13]]
        share = sum(row[i] for i, row in enumerate(rows)) / sum(map(sum, rows))
        assert last == f"test accuracy: {100 * share:.2f} %"
    assert main(["evaluate", str(folder), "--quiet", "--backend", "numpy"]) == 0
    assert capsys.readouterr().out.splitlines() == [last]


def test_evaluate_what_is_no_model(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "nothing.npz")]) == 1
    assert "nothing.npz" in capsys.readouterr().err
    (tmp_path / "rubbish.npz").write_bytes(b"rubbish")
    assert main(["evaluate", str(tmp_path / "rubbish.npz")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fastscratch: ") and "rubbish.npz" in error and "Traceback" not in error


def test_an_existing_run_is_protected(trained, capsys):
    folder, _ = trained
    before = (folder / "model.npz").read_bytes()
    assert main(["train", *SHORT, "--output", str(folder)]) == 1
    captured = capsys.readouterr()
    assert "holds a run already: --resume goes on with it, --overwrite replaces it" in captured.err
    assert captured.out == ""  # before training
    assert (folder / "model.npz").read_bytes() == before
    (folder / "mine.txt").write_text("keep")
    assert main(["train", *SHORT, "--output", str(folder), "--overwrite", "--seed", "1"]) == 0
    assert (folder / "model.npz").read_bytes() != before
    assert (folder / "mine.txt").exists()


def test_unwritable_output_is_told_before_training(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["train", *SHORT, "--output", str(tmp_path / "file" / "run")]) == 1
    captured = capsys.readouterr()
    assert "cannot be written to" in captured.err and captured.out == ""


def test_a_folder_in_use_is_left_alone(trained, capsys):
    pytest.importorskip("fcntl", reason="folders are locked on POSIX systems only")
    folder, _ = trained
    before = (folder / "model.npz").read_bytes()
    with CheckpointFolder(folder).hold():
        for how in ("--resume", "--overwrite"):
            assert main(["train", "--output", str(folder), how]) == 1
            assert "in use by another run" in capsys.readouterr().err
    assert (folder / "model.npz").read_bytes() == before


def test_resume_takes_the_options_of_the_run(tmp_path, capsys):
    arguments = [*SHORT, "--seed", "5", "--schedule", "constant", "-q"]
    whole, broken = str(tmp_path / "whole"), str(tmp_path / "broken")
    assert main(["train", *arguments, "--epochs", "4", "--output", whole]) == 0
    assert main(["train", *arguments, "--output", broken]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "--epochs", "4", "--output", broken, "-q"]) == 0
    resumed = capsys.readouterr().out
    assert main(["evaluate", whole, "-q"]) == 0
    assert capsys.readouterr().out == resumed
    ref, out = (History.load(Path(folder) / "history.json") for folder in (whole, broken))
    assert out.without_times() == ref.without_times()


def test_resume_of_another_run_is_refused_and_harms_nothing(trained, capsys):
    folder, _ = trained
    before = (folder / "history.json").read_bytes()
    assert main(["train", "--resume", "--output", str(folder), "--seed", "9"]) == 1
    assert "belongs to another run" in capsys.readouterr().err
    assert (folder / "history.json").read_bytes() == before


def test_nothing_to_resume(tmp_path, capsys):
    assert main(["train", "--resume", "--output", str(tmp_path / "new")]) == 1
    assert "holds no run to go on with" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["walk"],
        ["train", "--epochs", "0"],
        ["train", "--epochs", "many"],
        ["train", "--lr", "-1"],
        ["train", "--lr", "nan"],
        ["train", "--seed", "-1"],
        ["train", "--threads", "0"],
        ["train", "--data", "cats"],
        ["train", "--validation", "1.5"],
        ["train", "--weight-decay", "-1"],
        ["train", "--patience", "2", "--validation", "0"],
        ["train", "--resume"],
        ["train", "--checkpoint-every", "3"],
        ["train", "--resume", "--overwrite"],
        ["train", "--data-folder", "/tmp"],
        ["train", "--backend", "nothing=numpy"],
        ["kernels", "conv9d"],
        ["kernels", "conv2d_forward:f32:rubbish"],
        ["evaluate"],
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err and captured.out == "" and "Traceback" not in captured.err


def test_backend_that_is_not_there(capsys):
    assert main(["train", "--backend", "cuda"]) == 1
    assert "no implementation is called 'cuda'" in capsys.readouterr().err


def test_data_that_is_not_there(tmp_path, capsys):
    assert main(["train", "--data", "mnist", "--data-folder", str(tmp_path)]) == 1
    assert "holds none of the files" in capsys.readouterr().err


def test_a_device_is_no_network(capsys):
    """Reading it for one would never end."""
    assert main(["evaluate", "/dev/zero"]) == 1
    assert "/dev/zero is neither a folder nor a file" in capsys.readouterr().err


def test_too_little_memory_is_told(capsys):
    assert main(["kernels", "dense_forward:f32:n100000000i100000000:o1", "--quick"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fastscratch: Unable to allocate") and "Traceback" not in error


def test_a_loss_that_becomes_nan_is_told(capsys, tmp_path):
    arguments = ["train", *SHORT, "--optimizer", "sgd", "--lr", "1e30", "--output", str(tmp_path)]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert re.search(r"fastscratch: epoch 1, batch \d+ of 7: .* layer 'dense\d'", error)


def test_debug_shows_where(monkeypatch):
    monkeypatch.setenv("FASTSCRATCH_DEBUG", "1")
    with pytest.raises(fs.errors.BackendUnavailableError):
        main(["train", "--backend", "cuda"])


def test_mnist_from_a_folder(tmp_path, capsys):
    """The whole way, with a small data set in MNIST's format."""
    import struct

    import numpy as np

    rng = np.random.default_rng(0)
    for prefix, count in (("train", 60), ("t10k", 20)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(
            struct.pack(">4I", 2051, count, 28, 28) + images.tobytes()
        )
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 2049, count) + labels.tobytes()
        )
    arguments = ["--data", "mnist", "--data-folder", str(tmp_path), "--epochs", "1", "-q"]
    folder = str(tmp_path / "run")
    assert main(["train", *arguments, "--backend", "numpy", "--output", folder]) == 0
    trained = capsys.readouterr().out
    assert main(["evaluate", folder, "--data-folder", str(tmp_path), "-q"]) == 0
    assert capsys.readouterr().out == trained
    header, _ = read_checkpoint(Path(folder) / "checkpoint.npz")
    assert header["run"]["architecture"]["kind"] == "SimpleConvNet"


def test_info(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for word in ("fastscratch", "python", "numpy", "numba", "processor", "threads", "blas",
                 "cython", "compiled level", "cache"):  # fmt: skip
        assert re.search(rf"(?m)^ *{word}\b", out), word


@pytest.fixture
def no_times(monkeypatch, tmp_path):
    """A table of times of the test's own."""
    table = TuningTable(tmp_path / "times.json")
    monkeypatch.setattr("fastscratch.dispatch.tuning_table._own", table)
    yield table
    forget_plans()


def test_tune_measures_and_passes_on(no_times, tmp_path, capsys):
    assert main(["tune", "--show"]) == 0
    assert "nothing was measured yet" in capsys.readouterr().out
    model = str(tmp_path / "model.npz")
    fs.models.MLP((2, 3, 2), hidden=(4,), classes=3).save(model)
    assert main(["tune", model, "--batch-size", "5", "--threads", "1", "2"]) == 0
    done = capsys.readouterr().err
    assert "dense_forward:f32:n5i12:o4, threads 1: " in done
    assert "dense_forward:f32:n5i12:o4, threads 2: " in done
    assert set(no_times.times["dense_backward_weight:f32:n4i4:o3"]) == {"1", "2"}
    assert main(["tune", "--show", "--export", str(tmp_path / "table.json")]) == 0
    out = capsys.readouterr().out
    assert "dense_forward:f32:n4i12:o4, 1 thread\n" in out
    assert re.search(r"(?m)^  numpy +\d+\.\d{4} ms$", out)
    before = copy.deepcopy(no_times.lasting())
    assert main(["tune", "--again"]) == 0
    assert no_times.times == {} and not no_times.path.exists()
    assert main(["tune", "--import", str(tmp_path / "table.json")]) == 0
    assert no_times.times == before


def test_tune_refuses_what_it_cannot_use(no_times, tmp_path, capsys):
    (tmp_path / "table.json").write_text("{}")
    for arguments, says in (
        ([], "name a MODEL to measure"),
        (["nothing"], "there is no model 'nothing'"),
        (["mlp", "--input", "3x0x2"], "--input must be CxHxW"),
    ):
        assert main(["tune", *arguments]) == 2
        assert says in capsys.readouterr().err
    assert main(["tune", "--import", str(tmp_path / "table.json")]) == 1
    assert "no table of times of this version" in capsys.readouterr().err


def test_kernels_list(capsys):
    assert main(["kernels", "--list"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "not available" not in line]
    assert len(lines) == len(OPS)
    assert all({"cython", "numba", "numpy"} <= set(re.split(r"[ ,:]+", line)) for line in lines)


def test_kernels_times_a_problem(capsys):
    problem = "dense_forward:f32:n3i5:o4"
    assert main(["kernels", problem, "--quick", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert f"\n{problem}\n" in out
    assert re.search(r"(?m)^  numpy +\d+\.\d{3}  \(1\.0x\)$", out)
    for backend in fs.available_backends():
        assert re.search(rf"(?m)^  {backend} +\d+\.\d{{3}}  \([\d.]+x\)$", out), backend


def test_kernels_includes_one_from_outside(capsys):
    def dense(x, weight, bias, y, num_threads):
        y[...] = x @ weight + bias

    fs.register_kernel("dense_forward", dense, name="mine")
    try:
        assert main(["kernels", "dense_forward:f32:n3i5:o4", "--quick"]) == 0
    finally:
        fs.unregister_kernel("dense_forward", "mine")
    assert re.search(r"(?m)^  mine +\d", capsys.readouterr().out)


@pytest.mark.parametrize("command", [[], ["train"], ["evaluate"], ["info"], ["kernels"]])
def test_help(command, capsys):
    assert main([*command, "--help"]) == 0
    assert "usage: fastscratch" in capsys.readouterr().out


def test_version_and_module(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fastscratch {fs.__version__}\n"
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"fastscratch {fs.__version__}\n")


def test_help_imports_neither_numba_nor_matplotlib():
    code = (
        "import sys; from fastscratch.cli import main; main(['train', '--help']); "
        "print([m for m in ('numba', 'matplotlib', 'pooch', 'tqdm') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
def test_ctrl_c(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "fastscratch", "train", "--epochs", "100000", "--backend",
               "numpy", "--model", "mlp", "--output", str(folder)]  # fmt: skip
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first.startswith("epoch"), first
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "interrupted after" in out and out.splitlines()[-1].startswith("test accuracy: ")
    assert "Traceback" not in error
    history = History.load(folder / "history.json")
    assert history.interrupted and len(history) >= 1
    assert (folder / "model.npz").exists()


def test_a_closed_pipe_is_no_traceback():
    command = f"{sys.executable} -m fastscratch kernels --list | head -n 1"
    result = subprocess.run(
        ["sh", "-c", command], env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in result.stderr and "BrokenPipe" not in result.stderr


def test_a_closed_output_is_no_traceback():
    command = f"{sys.executable} -m fastscratch kernels --list >&-"
    result = subprocess.run(
        ["sh", "-c", command], env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")


def test_an_encoding_without_the_folders_letters(tmp_path):
    folder = tmp_path / "läuft"
    result = run(
        "train", *SHORT, "--output", str(folder), environment={"PYTHONIOENCODING": "ascii"}
    )
    assert result.returncode == 0, result.stderr
    assert r"l\xe4uft" in result.stdout


def test_choices_are_those_of_the_library():
    from fastscratch import models
    from fastscratch.cli import train
    from fastscratch.optimizers import OPTIMIZERS

    assert models.names() == train.MODELS
    assert tuple(OPTIMIZERS) == train.OPTIMIZERS


def test_overwriting_waits_until_the_new_run_can_begin(trained, tmp_path, capsys):
    folder, _ = trained
    arguments = ["--output", str(folder), "--overwrite", "--data", "mnist"]
    assert main(["train", *arguments, "--data-folder", str(tmp_path / "none")]) == 1
    assert (folder / "model.npz").exists()


def test_a_run_killed_before_its_first_checkpoint_keeps_its_options(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", *SHORT, "--threads", "1", "--output", str(folder), "-q"]) == 0
    ref = capsys.readouterr().out
    for path in folder.glob("checkpoint*"):
        path.unlink()
    assert main(["train", "--resume", "--output", str(folder), "-q"]) == 0
    assert capsys.readouterr().out == ref
    assert History.load(folder / "history.json").implementations["dense_forward"].keys() == {
        "numpy"
    }


KERNELS = """
import ctypes

def right(x, weight, bias, y, num_threads):
    y[...] = x @ weight + bias

def crashes(x, weight, bias, y, num_threads):
    right(x, weight, bias, y, num_threads)
    if len(x) > 3:
        ctypes.string_at(0)

def is_small(problem):
    return problem.N < 4
"""
PROBLEMS = ["--problem", "dense_forward:f32:n2i3:o4", "--problem", "dense_forward:f32:n5i6:o7"]


@pytest.fixture
def own_kernels(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(KERNELS)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("own_kernels")
def test_kernels_checks_a_kernel_from_outside(capsys):
    own = ["--op", "dense_forward", *PROBLEMS]
    assert main(["kernels", "check", "own.py:right", *own]) == 0
    assert capsys.readouterr().out == (
        "own.py:right as dense_forward: passed 2 problems, 16 runs\n"
    )
    assert main(["kernels", "check", "own:crashes", *own, "--threads", "1"]) == 1
    out = capsys.readouterr().out
    assert "failed on 1 of 2 problems" in out
    assert "dense_forward:f32:n5i6:o7\n" in out and "ended the process: SIGSEGV" in out


@pytest.mark.usefixtures("own_kernels")
def test_kernels_leaves_out_what_a_kernel_does_not_serve(capsys):
    own = ["own.py:crashes", "--op", "dense_forward", *PROBLEMS, "--supports", "is_small"]
    assert main(["kernels", "check", *own]) == 0
    assert "passed 1 problems, 8 runs, 1 not supported" in capsys.readouterr().out
    assert main(["kernels", "time", *own, "--quick"]) == 0
    assert re.findall(r"(?m)^  crashes +(.*)$", capsys.readouterr().out)[1] == (
        "does not support this problem"
    )


@pytest.mark.usefixtures("own_kernels")
def test_kernels_times_a_kernel_from_outside_beside_the_others(capsys):
    own = ["--op", "dense_forward", *PROBLEMS, "--quick"]
    assert main(["kernels", "time", "own.py:right", *own]) == 0
    out = capsys.readouterr().out
    for name in ("right", *fs.available_backends()):
        assert len(re.findall(rf"(?m)^  {name} +\d+\.\d{{3}}  \([\d.]+x\)$", out)) == 2, name
    assert "right" not in fs.available_backends()


def test_kernels_checks_what_is_there(capsys):
    assert main(["kernels", "check", "dense_forward:f32:n2i3:o4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(fs.available_backends())
    assert all("passed 1 problems" in line for line in lines)


def test_kernels_explains(capsys):
    assert main(["kernels", "--explain", "dense_forward"]) == 0
    out = capsys.readouterr().out
    assert out.count("  runs on ") == len(shapes_of("dense_forward"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "own.py:right"], "say with --op what own.py:right computes"),
        (["time", "dense_forward", "--op", "dense_forward"], "belong to a kernel"),
        (["dense_forward", "im2col"], "one operation, problem or kernel"),
        (["check", "im2col", "--supports", "f"], "belong to a kernel"),
        (["check", "own.py:right", "--op", "nothing"], "unknown operation 'nothing'"),
        (["check", "nowhere"], "unknown operation 'nowhere'"),
        (["time", "nowhere.py:f", "--op", "dense_forward"], "there is no file nowhere.py"),
    ],
)
def test_kernels_refuses(arguments, says, capsys):
    assert main(["kernels", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_experiments_are_listed(capsys):
    from fastscratch.experiments import EXPERIMENTS

    assert main(["experiment", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(EXPERIMENTS)


def test_an_experiment_tells_and_keeps(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    arguments = ["experiment", "perceptron", "lbfgs", "--quick", "--data", "digits", "--seed", "4"]
    assert main([*arguments, "--output", str(tmp_path), "-q"]) == 0
    out = capsys.readouterr().out
    assert out.count("verdict   not judged") == 2 and "claim" in out and "measured" in out
    for name in ("perceptron", "lbfgs"):
        content = json.loads((tmp_path / name / "numbers.json").read_text("utf-8"))
        assert content["seeds"] == [4] and content["verdict"] == "not judged"
        assert (tmp_path / name / "figure.png").exists() and (
            tmp_path / name / "table.csv"
        ).exists()


def test_an_experiment_without_matplotlib_keeps_its_numbers(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["experiment", "perceptron", "--output", str(tmp_path)]) == 0
    assert "pip install 'fastscratch[plot]'" in capsys.readouterr().out
    assert (tmp_path / "perceptron" / "numbers.json").exists()


def test_an_experiment_that_could_not_be_kept_is_not_run(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["experiment", "perceptron", "--output", str(tmp_path / "file")]) == 2
    seen = capsys.readouterr()
    assert not seen.out and "cannot be made" in seen.err and "another folder" in seen.err


@pytest.mark.parametrize(
    "arguments", [[], ["nothing"], ["perceptron", "nothing"], ["--seeds", "0"]]
)
def test_experiments_that_are_not_there(arguments, capsys):
    assert main(["experiment", *arguments]) == 2
    assert "experiment" in capsys.readouterr().err


def test_a_search_tells_the_best_and_goes_on(tmp_path, capsys):
    pytest.importorskip("optuna", reason="the search needs Optuna")
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    arguments = ["search", "--samples", "200", "--epochs", "2", "--output", str(tmp_path), "-q"]
    assert main([*arguments, "--trials", "4"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("4 trials") and "ten best: lr " in out and "ten best: weight_decay" in out
    assert (tmp_path / "trials.png").read_bytes().startswith(b"\x89PNG")
    assert main([*arguments, "--trials", "6"]) == 0
    assert capsys.readouterr().out.startswith("6 trials")
    # Another search shares the file and not the trials.
    assert main([*arguments, "--trials", "1", "--optimizer", "adam"]) == 0
    assert capsys.readouterr().out.startswith("1 trials")


def test_a_rate_that_overflows_is_a_bad_one(tmp_path, capsys):
    pytest.importorskip("optuna", reason="the search needs Optuna")
    arguments = ["search", "--samples", "100", "--epochs", "2", "--output", str(tmp_path), "-q"]
    assert main([*arguments, "--trials", "2", "--lr", "1e30", "1e31"]) == 0
    assert "   0.00 %" in capsys.readouterr().out
    assert main([*arguments, "--lr", "2", "1"]) == 2
    assert main([*arguments, "--validation", "1"]) == 2
