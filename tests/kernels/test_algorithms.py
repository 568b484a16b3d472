"""Which algorithms the catalogue has, what they serve, and when they are preferred."""

import pytest

from fastscratch.kernels.algorithms import ALGORITHMS, TRANSFORMED, winograd_supports
from fastscratch.kernels.catalogue import BACKENDS, OPS
from fastscratch.kernels.problem import parse_problem
from fastscratch.testing import all_problems


@pytest.mark.parametrize("op", OPS)
def test_every_backend_ends_in_the_direct_one_which_serves_everything(op):
    for backend in BACKENDS:
        entries = [entry for entry in OPS[op].implementations if entry.backend == backend]
        *others, last = entries
        assert last is OPS[op].direct(backend)
        assert last.supports is None
        assert all(entry.algorithm and entry.supports for entry in others)
        named = op in TRANSFORMED and backend != "numpy"
        assert last.name == (f"{backend}:direct" if named else backend)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.name)
def test_an_algorithm_is_on_the_list_of_its_operations(algorithm):
    for op, spec in OPS.items():
        names = [entry.name for entry in spec.implementations if entry.algorithm is algorithm]
        has = op in algorithm.functions
        assert names == [f"{name}:{algorithm.name}" for name in algorithm.backends if has]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.name)
def test_what_is_preferred_is_supported_and_the_cases_have_both(algorithm):
    for op in algorithm.functions:
        found = {(algorithm.supports(p), algorithm.prefers(p)) for p in all_problems(op)}
        assert (True, False) in found
        assert (True, True) in found


@pytest.mark.parametrize(
    ("text", "supported"),
    [
        ("oc4k3p1", True),
        ("oc4k3", True),
        ("oc4k3p0x2x1x0", True),
        ("oc4k3s2x1p1floor", False),
        ("oc4k3p2d2", False),
        ("oc4k3p1g2", False),
        ("oc4k3x1p1x0", False),
        ("oc4k5p2", False),
    ],
)
def test_the_transform_serves_3x3_windows_at_stride_1(text, supported):
    problem = parse_problem(f"conv2d_forward:f32:n1c4h9w8:{text}")
    assert winograd_supports(problem) is supported
