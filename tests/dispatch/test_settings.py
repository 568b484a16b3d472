"""Settings: blocks and how they nest, threads, the process's own, and the environment."""

import threading

import numpy as np
import pytest

import fastscratch as fs
from fastscratch.dispatch import current_settings, prefer_backend
from fastscratch.dispatch.settings import forget_plans
from fastscratch.errors import ArgumentError, BackendUnavailableError
from fastscratch.ops import dense_forward, explain

PROBLEM = "dense_forward:f32:n100i784:o50"
OTHER = "im2col:f32:n1c1h4w4:k2"
X, WEIGHT = np.ones((2, 3)), np.ones((3, 4))


def copy(x, weight, bias, y, num_threads):
    y[...] = x @ weight + bias


@pytest.fixture
def names():
    """Implementations by name, so that the rules can be seen where nothing is compiled."""
    made = ("call", "block", "op_block", "layer", "outer")
    for name in made:
        fs.register_kernel("dense_forward", copy, name=name)
    yield made
    for name in made:
        fs.unregister_kernel("dense_forward", name)


@pytest.fixture
def process_threads():
    """Put the process's number of threads back."""
    before = fs.get_num_threads()
    yield before
    fs.set_num_threads(before)


def runs(problem=PROBLEM, **options):
    report = explain(problem, **options)
    return report.implementation, report.rule


@pytest.mark.usefixtures("names")
def test_the_order_of_rules():
    with prefer_backend("layer"):
        assert runs() == ("layer", "given to the layer")
        with fs.use_backend("block"):
            assert runs() == ("block", "named by use_backend")
            with fs.use_backend(dense_forward="op_block"):
                assert runs() == ("op_block", "named by use_backend for this operation")
                assert runs(backend="call") == ("call", "named by the call")
            assert runs() == ("block", "named by use_backend")
        with fs.use_backend(dense_forward="op_block"):
            assert runs() == ("op_block", "named by use_backend for this operation")
    assert runs()[1] == "the order of the catalogue"
    with fs.use_backend("block"), prefer_backend("layer"):
        assert runs() == ("block", "named by use_backend")


@pytest.mark.usefixtures("names")
def test_naming_one_for_all_covers_what_an_outer_block_named_for_some():
    with fs.use_backend(dense_forward="outer"):
        with fs.use_backend("block"):
            assert runs()[0] == "block"
        with fs.use_backend("block", dense_forward="op_block"):
            assert runs()[0] == "op_block"
        with fs.use_backend(im2col="numpy"):
            assert runs()[0] == "outer"
            assert runs(OTHER)[0] == "numpy"
        with fs.use_backend():
            assert runs()[0] == "outer"


def test_a_block_is_left_by_an_error_too():
    before = current_settings()
    with pytest.raises(ZeroDivisionError), fs.use_backend("numpy"), fs.threads(3):
        assert runs() == ("numpy", "named by use_backend")
        assert 1 / 0
    assert current_settings() is before


def test_a_block_decorates_a_function():
    @fs.use_backend("numpy")
    def decorated():
        return runs()[0]

    assert [decorated(), decorated()] == ["numpy", "numpy"]
    assert runs()[1] == "the order of the catalogue"


def test_equal_settings_share_their_plans():
    with fs.use_backend("numpy"), fs.threads(5):
        first = current_settings()
    with fs.threads(5), fs.use_backend("numpy"):
        assert current_settings() is first
        dense_forward(X, WEIGHT)
        assert first.plans
    assert current_settings() is not first
    forget_plans()
    assert not first.plans


def test_names_are_checked_when_they_are_given():
    for enter in (fs.use_backend, prefer_backend):
        with pytest.raises(BackendUnavailableError, match="'cuda'; there are cython, cython:"):
            enter("cuda")
    with pytest.raises(BackendUnavailableError, match="called 'cuda' for im2col; there are"):
        fs.use_backend(im2col="cuda")
    with pytest.raises(ArgumentError, match="unknown operation 'conv3d'"):
        fs.use_backend(conv3d="numpy")
    with pytest.raises(BackendUnavailableError):
        fs.use_backend(3)  # type: ignore[arg-type]


@pytest.mark.usefixtures("names")
def test_a_name_that_an_operation_does_not_have_is_an_error_there():
    with fs.use_backend("block"):
        assert runs()[0] == "block"
        with pytest.raises(BackendUnavailableError, match=r"im2col: no implementation .* 'block'"):
            explain(OTHER)


def test_a_missing_backend_is_refused_with_its_reason(monkeypatch):
    from fastscratch.kernels.catalogue import BACKENDS

    monkeypatch.setitem(BACKENDS, "cython", "fastscratch.kernels.nowhere")
    for use in (
        lambda: fs.use_backend("cython"),
        lambda: fs.use_backend(im2col="cython"),
        lambda: prefer_backend("cython"),
        lambda: explain(PROBLEM, backend="cython"),
    ):
        with pytest.raises(BackendUnavailableError, match="'cython' is not available: No module"):
            use()
    assert "cython" not in fs.available_backends()
    assert fs.show_config()["backends"]["cython"].startswith("No module named")


@pytest.mark.usefixtures("process_threads")
def test_threads_of_the_process_and_of_blocks():
    fs.set_num_threads(5)
    assert fs.get_num_threads() == 5
    with fs.threads(2):
        assert fs.get_num_threads() == 2
        with fs.threads(np.int64(1)):  # type: ignore[arg-type]
            assert fs.get_num_threads() == 1
        assert fs.get_num_threads() == 2
    assert fs.get_num_threads() == 5


@pytest.mark.usefixtures("process_threads")
def test_set_num_threads_inside_a_block_holds_there_and_after():
    with fs.use_backend("numpy"):
        fs.set_num_threads(6)
        assert fs.get_num_threads() == 6
        assert runs()[0] == "numpy"
    assert fs.get_num_threads() == 6


@pytest.mark.parametrize("number", [0, -1, 1.0, "2", None, True])
def test_no_number_of_threads(number):
    with pytest.raises(ArgumentError, match=f"num_threads must be a positive int, got {number!r}"):
        fs.set_num_threads(number)
    with pytest.raises(ArgumentError, match="positive int"):
        fs.threads(number)


def in_a_thread(function):
    result = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    thread.join()
    return result[0]


@pytest.mark.usefixtures("process_threads")
def test_a_new_python_thread_sees_the_process_and_no_block():
    fs.set_num_threads(4)
    with fs.use_backend("numpy"), fs.threads(2):
        assert in_a_thread(fs.get_num_threads) == 4
        assert in_a_thread(runs)[1] == "the order of the catalogue"
    in_a_thread(lambda: fs.set_num_threads(3))
    assert fs.get_num_threads() == 3


def test_blocks_of_two_threads_do_not_mix():
    barrier = threading.Barrier(2)
    seen = {}

    def work(number):
        with fs.threads(number):
            barrier.wait()
            seen[number] = fs.get_num_threads()
            barrier.wait()

    workers = [threading.Thread(target=work, args=(number,)) for number in (2, 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert seen == {2: 2, 3: 3}


def test_choices_are_recorded_once_a_problem():
    with fs.use_backend("numpy"), fs.record_choices() as choices:
        for _ in range(3):
            dense_forward(X, WEIGHT)
            dense_forward(X[:1], WEIGHT)
            with prefer_backend("numpy"):  # as a layer does, at each of its calls
                dense_forward(X[:, :2], WEIGHT[:2])
    assert choices == {"dense_forward": {"numpy": 3}}
    dense_forward(X, WEIGHT[:, :1])
    assert choices == {"dense_forward": {"numpy": 3}}


def test_choices_are_recorded_though_the_plan_is_older():
    with fs.use_backend("numpy"):
        dense_forward(X, WEIGHT)
        with fs.record_choices() as choices:
            dense_forward(X, WEIGHT)
    assert choices == {"dense_forward": {"numpy": 1}}


SHOW = """
import fastscratch as fs
for problem in ("dense_forward:f32:n9i9:o9", "im2col:f32:n1c1h4w4:k2"):
    report = fs.explain(problem)
    print(report.implementation, "|", report.rule)
with fs.use_backend("numpy"):
    print(fs.explain("dense_forward:f32:n9i9:o9").rule)
print(fs.get_num_threads())
"""


def test_the_environment_names_backends(run_python):
    environment = {"FASTSCRATCH_BACKEND": "numpy", "FASTSCRATCH_NUM_THREADS": "3"}
    lines = run_python(SHOW, **environment).stdout.splitlines()
    assert lines == ["numpy | named by FASTSCRATCH_BACKEND"] * 2 + ["named by use_backend", "3"]


def test_the_environment_names_some_operations(run_python):
    code = """
import fastscratch as fs
from fastscratch.dispatch.choose import _named
from fastscratch.dispatch import current_settings
for op in ("conv2d_forward", "im2col"):
    print(*_named(op, current_settings(), None))
"""
    done = run_python(code, FASTSCRATCH_BACKEND="numpy, conv2d_forward = numba")
    assert done.stdout.splitlines() == [
        "numba named by FASTSCRATCH_BACKEND", "numpy named by FASTSCRATCH_BACKEND",
    ]  # fmt: skip
    done = run_python(code, FASTSCRATCH_BACKEND="conv2d_forward=numba")
    assert done.stdout.splitlines()[1].strip() == "None"


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({"FASTSCRATCH_BACKEND": "cuda"}, "BackendUnavailableError: dense_forward: no implementat"),
        ({"FASTSCRATCH_BACKEND": "numpy,numba"}, "ArgumentError: FASTSCRATCH_BACKEND='numpy,"),
        ({"FASTSCRATCH_BACKEND": "conv=numpy"}, "ArgumentError: unknown operation 'conv'"),
        ({"FASTSCRATCH_NUM_THREADS": "0"}, "SCRATCH_NUM_THREADS must be a positive int, got '0'"),
        ({"FASTSCRATCH_NUM_THREADS": "all"}, "must be a positive int, got 'all'"),
        ({"FASTSCRATCH_ISA": "sse9"}, "FASTSCRATCH_ISA='sse9': expected one of base"),
    ],
)
def test_a_wrong_environment_is_an_error_that_names_it(run_python, environment, error):
    done = run_python(SHOW, check=False, **environment)
    assert done.returncode == 1
    assert error in done.stderr


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"OMP_NUM_THREADS": "5"}, "5"),
        ({"OMP_NUM_THREADS": "5,2"}, "5"),
        ({"FASTSCRATCH_NUM_THREADS": "2", "OMP_NUM_THREADS": "5"}, "2"),
    ],
)
def test_the_environment_sets_threads(run_python, environment, expected):
    code = "import fastscratch as fs; print(fs.get_num_threads())"
    assert run_python(code, **environment).stdout.strip() == expected


@pytest.mark.usefixtures("names")
def test_plans_are_forgotten_inside_a_recording_too():
    def twos(x, weight, bias, y, num_threads):
        y[...] = 2

    with fs.record_choices(), fs.use_backend("block"):
        assert (dense_forward(X, WEIGHT) == 3).all()
        fs.register_kernel("dense_forward", twos, name="block")
        assert (dense_forward(X, WEIGHT) == 2).all()
