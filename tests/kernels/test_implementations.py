"""Every implementation of every operation on every case: the reference judges the others.

That the reference is right is shown in numpy_ref/; here it is held to the kernel contract too.
"""

import numpy as np
import pytest

from fastscratch.kernels.catalogue import OPS
from fastscratch.kernels.problem import parse_problem
from fastscratch.testing import all_problems, make_inputs
from fastscratch.testing.check import check_implementation
from fastscratch.testing.inputs import empty_outputs, run_kernel

IMPLEMENTATIONS = [
    pytest.param(spec, implementation, id=f"{implementation.name}-{spec.name}")
    for spec in OPS.values()
    for implementation in spec.implementations
]
GRID = [
    pytest.param(spec, implementation, problem, id=f"{implementation.name}-{problem}")
    for spec in OPS.values()
    for implementation in spec.implementations
    for problem in all_problems(spec.name)
    if implementation.supports is None or implementation.supports(problem)
]
# Shapes of real networks, cut down in batch or extents so that a float64 reference is quick.
REALISTIC = (
    "conv2d_forward:f32:n2c6h14w14:oc16k5",
    "conv2d_forward:f32:n1c128h14w14:oc128k3p1",
    "conv2d_forward:f32:n1c256h7w7:oc256k3p1",
    "conv2d_forward:f32:n1c64h14w14:oc256k1",
    "conv2d_backward_input:f32:n1c128h14w14:oc128k3p1",
    "conv2d_backward_weight:f32:n8c32h28w28:oc32k3p1",
    "conv2d_backward_weight:f32:n16c1h28w28:oc30k5",
    "dense_forward:f32:n16i1024:o256",
    "dense_backward_input:f32:n16i256:o1024",
    "dense_backward_weight:f32:n100i784:o50",
)
# Layers of real networks, whole: jobs and blocks are limited in bytes, which small shapes never
# reach. One such limit left most images of the second gradient of an input unwritten.
LAYERS = (
    "n144c64h8w8:oc1k8",
    "n64c256h8w8:oc512k4s2p1",
    "n64c512h4w4:oc1k4",
    "n64c3h32w32:oc32k3p1",
    "n64c16h32w32:oc32k3s2p1floor",
    "n100c30h12w12:oc60k5",
    "n16c128h5w5:oc200k3",
    "n4c512h14w14:oc512k3s2p1floor",
    "n2c3h224w224:oc64k7s2p3floor",
    "n4c64h27w27:oc192k5p2",
    "n4c256h56w56:oc64k1",
    "n4c256h28w28:oc512k1s2floor",
    "n2c256h14w14:oc1024k1",
    "n2c480h14w14:oc240k1g4",
    "n1c512h7w7:oc300k1",
    "n3c200h7w7:oc512k1s2floor",
    "n8c320h7w7:oc170k1",
    "n4c64h9w9:oc64k5g2",
    "n8c192h28w28:oc192k3s2p1g192floor",
    "n32c320h7w7:oc320k3p1g320",
    "n8c240h14w14:oc240k5p2g240",
    "n4c100h7w7:oc100k7p3g100",
    "n2c72h14w14:oc72k5s2p2g72floor",
    "n4c256h14w14:oc256k3p1g32",
    "n4c384h13w13:oc384k3p1g2",
    "n2c96h27w27:oc256k5p2g2",
    "n2c1024h7w7:oc1024k3p1g32",
    "n2c128h33w33:oc64k3p2d2",
    "n1c32h128w128:oc32k3",
    "n1c3h256w256:oc32k3p1",
    "n8c134h3w119:oc134k1s3floor",
    "n2c64h2w2:oc64k1s2floor",
)


@pytest.mark.parametrize(("spec", "implementation", "problem"), GRID)
def test_agrees_with_the_reference(spec, implementation, problem, require_backend):
    require_backend(implementation.backend)
    report = check_implementation(implementation, problems=[problem])
    assert report.problems == 1


@pytest.mark.parametrize(("spec", "implementation"), IMPLEMENTATIONS)
def test_gives_the_same_from_several_python_threads(spec, implementation, require_backend):
    """A kernel may be called from any Python thread, and from several at once."""
    from concurrent.futures import ThreadPoolExecutor

    require_backend(implementation.backend)
    kernel = implementation.load()
    supports = implementation.supports or (lambda problem: True)
    problems = [problem for problem in all_problems(spec.name) if supports(problem)][-4:]

    def outputs_of(problem):
        inputs = make_inputs(problem, "integers")
        arrays = empty_outputs(problem, inputs)
        run_kernel(kernel, problem, inputs | arrays, 2)
        return [array.tobytes() for array in arrays.values()]

    alone = [outputs_of(problem) for problem in problems]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(outputs_of, problems * 4))
    assert together == alone * 4


EXACT = [
    pytest.param(entry, problem, id=f"{entry.name}-{problem}")
    for problem in map(parse_problem, REALISTIC)
    for entry in OPS[problem.op].implementations
    if entry.supports is None or entry.supports(problem)
    if entry.algorithm is None or entry.algorithm.accuracy == "default"
]


@pytest.mark.parametrize(("implementation", "problem"), EXACT)
def test_is_about_as_exact_as_pytorch(implementation, problem, require_backend):
    """Error against float64: three times PyTorch's, or 4 eps of the largest output."""
    torch = pytest.importorskip("torch", reason="PyTorch is the outside judge of exactness")
    import torch_ops

    require_backend(implementation.backend)
    spec = OPS[problem.op]
    inputs = make_inputs(problem, "normal")
    truth = torch_ops.run(problem, {key: a.astype(np.float64) for key, a in inputs.items()})
    theirs = torch_ops.run(problem, inputs)
    ours = {
        key: np.empty(array.shape, array.dtype)
        for key, array in spec.arrays(problem).items()
        if array.role == "out"
    }
    run_kernel(implementation.load(), problem, inputs | ours, 2)
    for key, out in ours.items():
        largest = np.abs(truth[key]).max()
        allowed = max(3 * np.abs(theirs[key] - truth[key]).max(), 4 * 2.0**-23 * largest)
        assert np.abs(out - truth[key]).max() <= allowed, f"{key}, torch {torch.__version__}"


WHOLE = [
    pytest.param(problem, id=str(problem))
    for layer in LAYERS
    for direction in ("forward", "backward_input", "backward_weight")
    for problem in [parse_problem(f"conv2d_{direction}:f32:{layer}")]
]


@pytest.mark.parametrize("backend", ["cython", "numba"])
@pytest.mark.parametrize("problem", WHOLE)
def test_whole_layers_are_exact_on_whole_numbers(problem, backend, require_backend):
    """By all algorithms that are, whichever is chosen."""
    require_backend(backend)
    inputs = make_inputs(problem, "integers")

    def run(entry):
        outputs = empty_outputs(problem, inputs)
        run_kernel(entry.load(), problem, inputs | outputs, 2)
        return outputs

    entries = [
        entry
        for entry in OPS[problem.op].implementations
        if (entry.supports is None or entry.supports(problem))
        and (entry.algorithm is None or entry.algorithm.exact_integers)
    ]
    expected = run(next(entry for entry in entries if entry.backend == "numpy"))
    for entry in entries:
        if entry.backend == backend:
            for key, found in run(entry).items():
                np.testing.assert_array_equal(found, expected[key], err_msg=f"{entry.name}, {key}")


@pytest.mark.parametrize("backend", ["cython", "numba"])
@pytest.mark.parametrize("shape", ["n2c35h7w7:oc35k7p3g35", "n1c18h14w14:oc18k5s2p2g18floor"])
def test_infinite_weights_meet_the_zeros_around_planes(shape, backend, require_backend):
    """What is not finite by the reference is not here, whether or not such zeros are multiplied."""
    require_backend(backend)
    problem = parse_problem(f"conv2d_forward:f32:{shape}")
    inputs = make_inputs(problem)
    inputs["weight"] = inputs["weight"].copy()
    inputs["weight"][3, 0, 0, 0], inputs["weight"][7, 0, 4, 2] = np.inf, np.nan
    found = {}
    for entry in OPS[problem.op].implementations:
        if entry.backend in ("numpy", backend) and entry.algorithm is None:
            outputs = empty_outputs(problem, inputs)
            with np.errstate(invalid="ignore"):
                run_kernel(entry.load(), problem, inputs | outputs, 2)
            found[entry.backend] = np.isfinite(outputs["y"])
    assert not found["numpy"][:, [3, 7]].all(axis=(0, 2, 3)).any()
    np.testing.assert_array_equal(found["numpy"] | found[backend], found["numpy"])
    assert found[backend][:, :3].all() and found[backend][:, 8:].all()
