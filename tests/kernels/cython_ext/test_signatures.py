"""The compiled functions look like the reference to a reader, an editor and `inspect`."""

import inspect

import pytest

from fastscratch.kernels.catalogue import OPS

NAMES = [
    (spec.name, implementation)
    for spec in OPS.values()
    for implementation in spec.implementations
    if implementation.backend == "cython"
]


@pytest.fixture(autouse=True)
def _needs_cython(require_backend):
    require_backend("cython")


def test_every_operation_is_compiled():
    assert {op for op, _ in NAMES} == set(OPS)


@pytest.mark.parametrize(("op", "implementation"), NAMES, ids=[i.name + "-" + o for o, i in NAMES])
def test_signature_and_formula_are_those_of_the_reference(op, implementation):
    kernel = implementation.load()
    ref = OPS[op].implementations[-1].load()
    assert list(inspect.signature(kernel).parameters) == list(inspect.signature(ref).parameters)
    assert kernel.__doc__
    algorithm = implementation.algorithm
    assert kernel.__name__ == (algorithm.functions[op] if algorithm else op)
    assert kernel.__module__ == implementation.module
