"""What is generated is what the numbers say: tables, the README's part, offline pages."""

import json

import pytest
from source_copy import ROOT

from benchmarks import __main__ as commands
from benchmarks import peers, peers_report, speed
from benchmarks.kernel_profile import Function, name_at, part_of
from benchmarks.publish import rewrite
from fastscratch.kernels.problem import WindowProblem, parse_problem

ROW = {
    "op": "conv2d_forward", "shape": "tiny", "threads": 1, "flops": 8, "bytes": 2,
    "problem": "conv2d_forward:f32:n1c1h8w8:oc8k3p1",
    "seconds": {"cython": 0.002, "numba": 0.004, "PyTorch": 0.001, "JAX": 0.008},
    "reasons": {"PyDyNet": "has no groups"},
}  # fmt: skip
LIMITS = {"1": {"num_threads": 1, "flops": 1e11, "read": 1e10, "copy": 1e10}}
NUMBERS = {"processor": "P", "versions": {"cython": "1"}, "limits": LIMITS, "rows": [ROW]}


def test_the_readme_shows_what_the_numbers_say():
    numbers = json.loads(peers.NUMBERS.read_text())
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert peers_report.replace_part(text, peers_report.summary(numbers)) == text
    written = (ROOT / "benchmarks/peers.md").read_text(encoding="utf-8")
    assert peers_report.table(numbers) == written


def test_losses_are_printed_like_wins():
    text = peers_report.table(NUMBERS)
    assert "| 2 | 4 (2.00) | n/a (1) | 1 (**0.50**) |" in text
    assert "8 (4.00)" in text
    assert "PyDyNet has no groups" in text
    summary = peers_report.summary(NUMBERS)
    assert "| conv2d_forward | 0.5x (1 of 1) | n/a | 4.0x (0 of 1) |" in summary


@pytest.mark.parametrize("folder", [".", "avx2"])
def test_the_page_of_speeds_shows_what_the_numbers_say(folder):
    numbers = json.loads((ROOT / "benchmarks" / folder / "speed.json").read_text())
    written = (ROOT / "benchmarks" / folder / "speed.md").read_text(encoding="utf-8")
    assert speed.report(numbers) == written


def test_the_page_of_speeds_counts_losses():
    def row(shape, cython, torch):
        seconds = {"cython": cython, "numba": 0.004, "torch": torch}
        each = dict.fromkeys(seconds, 1.0)
        return {
            "op": "conv2d_forward", "shape": shape, "threads": 1, "seconds": seconds,
            "gflops": each, "GB/s": each, "share": each, "error": {**each, "torch": 2.0},
        }  # fmt: skip

    memory = {"op": "conv2d_forward", "shape": "a", "implementation": "cython", "threads": 1,
              "arrays": 2 << 20, "weights": 1 << 20, "extra": 3 << 19}  # fmt: skip
    steps = {"model": "mlp", "threads": 1, "seconds": {"cython": 0.001, "torch": 0.003}}
    text = speed.report({
        "processor": "P", "level": "avx2", "steps": [steps], "memory": [memory],
        "kernels": [row("a", 0.002, 0.008), row("b", 0.004, 0.002)],
    })  # fmt: skip
    assert "| conv2d_forward | 1 | 2 | 1.41 | 0.50 | 1 | 0.71 |" in text
    assert "| a | 1 | cython | 2 | 1 | 1 | 100% | 4.00 | 0.50 |" in text
    assert "| a | 1 | torch | 8 | 1 | 1 | 100% |  |  |" in text
    assert "| mlp | 1 | cython | 1 | 3.00 | n/a |" in text
    assert "| conv2d_forward | a | cython | 1 | 2.0 | 1.0 | 1.5 |" in text


def test_the_plot_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    peers_report.draw_roofline(NUMBERS, tmp_path / "roof.png")
    assert (tmp_path / "roof.png").stat().st_size > 1000


def test_our_calls_compute_what_is_compared(run_python):
    """In a process of its own, as they are timed: their settings stay open."""
    code = """
from benchmarks import peer_calls, peers
for op in peers.OPS:
    dense, pool = "n3i4:o5", "n2c3h6w8:k2"
    case = dense if "dense" in op else pool if "pool" in op else "n1c3h7w6:oc4k3p1"
    assert peer_calls.fastscratch(f"{op}:f32:{case}", 1, "numpy")() is not None
    assert peers.work_of(f"{op}:f32:{case}")["flops"] > 0
    print(op)
"""
    assert run_python(code).stdout.split() == list(peers.OPS)


def test_our_calls_run_on_the_backend_that_is_named(backend, run_python):
    code = f"""
from benchmarks.peer_calls import fastscratch
from fastscratch.dispatch import get_num_threads, record_choices
call = fastscratch("dense_forward:f32:n3i4:o5", 1, {backend!r})
with record_choices() as choices:
    call()
print(get_num_threads(), *choices["dense_forward"])
"""
    assert run_python(code).stdout.split() == ["1", backend]


def test_the_pages_load_nothing_from_outside():
    page = '<script src="https://code.example/jquery-3.3.1.min.js" integrity="x" a="b"></script>'
    assert rewrite(page) == (
        '<script src="vendor/jquery-3.3.1.min.js"></script>',
        ["jquery-3.3.1.min.js"],
    )
    with pytest.raises(SystemExit, match="no package is known"):
        rewrite('<script src="https://code.example/new.js"></script>')


def test_a_run_without_numbers_fails(monkeypatch, tmp_path, capsys):
    pytest.importorskip("asv")
    configuration = tmp_path / "asv.conf.json"
    configuration.write_text('{"results_dir": "results"}')
    (tmp_path / "results/machine").mkdir(parents=True)
    path = tmp_path / "results/machine/abc.json"

    def asv(command, configuration):
        path.write_text(json.dumps({"results": results}))
        return 0

    monkeypatch.setattr(commands, "asv", asv)
    results: dict[str, list[list[float | None]]] = {"a": [[None, None]], "b": []}
    assert commands.measure(["run"], configuration) == 1
    assert "no benchmark ran" in capsys.readouterr().out
    results["a"] = [[1.5, None]]
    assert commands.measure(["run"], configuration) == 0


def test_samples_are_named_by_the_innermost_function():
    table = [Function(0, 100, "library"), Function(10, 20, "pack_tile"), Function(30, 40, "other")]
    assert [name_at(address, table) for address in (5, 15, 25)] == [
        "library", "pack_tile", "library"
    ]  # fmt: skip
    assert part_of("pack_tile") == "packing"


def test_layers_are_convolutions_that_exist():
    """Those of the networks, and random ones, the same for the same seed."""
    from benchmarks.layers import NETWORKS, random_layers

    named = [layer for network in NETWORKS.values() for layer in network.split()]
    drawn = list(random_layers(20, 1))
    assert drawn == list(random_layers(20, 1))
    for layer in named + drawn:
        problem = parse_problem(f"conv2d_forward:f32:{layer}floor")
        assert isinstance(problem, WindowProblem)
        assert min(problem.outputs) >= 1
