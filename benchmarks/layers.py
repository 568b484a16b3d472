"""Convolutions that nobody tuned for, beside PyTorch: the layers of known networks, or random ones.

    python -m benchmarks.layers                          the networks, one thread and all
    python -m benchmarks.layers vgg resnet --threads 2   some of them, two threads
    python -m benchmarks.layers --random 70 --seed 1     random extents, channels, windows, strides
    python -m benchmarks.layers n4c3h9w9:oc8k3s2p1       these, in the written form of problems
    python -m benchmarks.layers --backend numba

The listed shapes of ``compare`` are what the kernels were written for; these are others.
A line is a layer, a column how many times as fast as PyTorch a direction is: rounds are interleaved
and everything is inside the call, as in ``compare``. The results of both are compared as well.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

import fastscratch as fs
from benchmarks.compare import first_output, time_problem, torch_call
from fastscratch.dispatch.machine import processor_name, usable_processors
from fastscratch.kernels.problem import CONV_OPS, Problem, parse_problem
from fastscratch.ops.explain import call_of
from fastscratch.testing.inputs import make_inputs

NETWORKS: dict[str, str] = {
    "lenet": "n64c1h28w28:oc6k5p2 n64c6h14w14:oc16k5 n64c16h5w5:oc120k5",
    "alexnet": "n8c3h227w227:oc96k11s4 n8c96h27w27:oc256k5p2g2 n8c256h13w13:oc384k3p1 "
    "n8c384h13w13:oc384k3p1g2 n8c384h13w13:oc256k3p1g2",
    "vgg": "n2c3h224w224:oc64k3p1 n2c64h224w224:oc64k3p1 n2c64h112w112:oc128k3p1 "
    "n2c128h112w112:oc128k3p1 n4c128h56w56:oc256k3p1 n4c256h56w56:oc256k3p1 "
    "n4c256h28w28:oc512k3p1 n4c512h28w28:oc512k3p1 n8c512h14w14:oc512k3p1",
    "resnet": "n8c3h224w224:oc64k7s2p3 n8c64h56w56:oc64k3p1 n8c64h56w56:oc64k1 "
    "n8c64h56w56:oc256k1 n8c256h56w56:oc64k1 n8c256h56w56:oc128k1 n8c128h56w56:oc128k3s2p1 "
    "n8c256h56w56:oc512k1s2 n8c128h28w28:oc128k3p1 n8c128h28w28:oc512k1 n8c512h28w28:oc128k1 "
    "n8c256h28w28:oc256k3s2p1 n8c256h14w14:oc256k3p1 n8c256h14w14:oc1024k1 "
    "n8c1024h14w14:oc256k1 n8c1024h14w14:oc2048k1s2 n8c512h14w14:oc512k3s2p1 "
    "n8c512h7w7:oc512k3p1 n8c512h7w7:oc2048k1 n8c2048h7w7:oc512k1 n1c256h14w14:oc256k3p1 "
    "n1c512h7w7:oc2048k1 n32c64h28w28:oc64k3p1",
    "cifar": "n64c3h32w32:oc16k3p1 n64c16h32w32:oc16k3p1 n64c16h32w32:oc32k3s2p1 "
    "n64c16h32w32:oc32k1s2 n64c32h16w16:oc32k3p1 n64c32h16w16:oc64k3s2p1 n64c64h8w8:oc64k3p1 "
    "n64c160h32w32:oc160k3p1 n64c3h32w32:oc32k5p2 n64c32h16w16:oc64k5p2",
    "mobilenet": "n8c3h224w224:oc32k3s2p1 n8c32h112w112:oc32k3p1g32 n8c32h112w112:oc64k1 "
    "n8c64h112w112:oc64k3s2p1g64 n8c64h56w56:oc128k1 n8c128h56w56:oc128k3p1g128 "
    "n8c128h56w56:oc128k3s2p1g128 n8c128h28w28:oc256k1 n8c256h28w28:oc256k3s2p1g256 "
    "n8c512h14w14:oc512k3p1g512 n8c512h14w14:oc512k1 n8c512h14w14:oc512k3s2p1g512 "
    "n8c1024h7w7:oc1024k3p1g1024 n8c1024h7w7:oc1024k1 n8c16h112w112:oc96k1 n8c144h56w56:oc24k1 "
    "n8c96h14w14:oc576k1 n8c960h7w7:oc160k1 n8c160h7w7:oc960k1",
    "efficientnet": "n8c240h28w28:oc240k5s2p2g240 n8c480h14w14:oc480k5p2g480 "
    "n8c672h14w14:oc672k5s2p2g672 n8c1152h7w7:oc1152k5p2g1152 n8c1152h1w1:oc48k1 "
    "n8c48h1w1:oc1152k1 n8c320h7w7:oc1280k1",
    "convnext": "n8c3h224w224:oc96k4s4 n8c96h56w56:oc96k7p3g96 n8c96h56w56:oc192k2s2 "
    "n8c192h28w28:oc192k7p3g192 n8c384h14w14:oc384k7p3g384 n8c384h14w14:oc768k2s2 "
    "n8c768h7w7:oc768k7p3g768 n4c3h224w224:oc768k16s16",
    "resnext": "n8c128h56w56:oc128k3p1g32 n8c256h28w28:oc256k3p1g32 n8c512h14w14:oc512k3p1g32 "
    "n8c256h56w56:oc256k3s2p1g32 n8c1024h7w7:oc1024k3p1g32",
    "shufflenet": "n8c24h56w56:oc54k1g3 n8c240h28w28:oc60k1g3 n8c60h28w28:oc240k1g3 "
    "n8c58h28w28:oc58k3p1g58 n8c116h14w14:oc116k1",
    "inception": "n8c3h299w299:oc32k3s2 n8c32h149w149:oc32k3 n8c32h147w147:oc64k3p1 "
    "n8c64h73w73:oc80k1 n8c80h73w73:oc192k3 n8c48h35w35:oc64k5p2 n8c64h35w35:oc96k3p1 "
    "n8c288h35w35:oc384k3s2 n8c128h17w17:oc128k1x7p0x3 n8c128h17w17:oc192k7x1p3x0 "
    "n8c192h17w17:oc320k3s2 n8c384h8w8:oc384k1x3p0x1 n8c384h8w8:oc384k3x1p1x0 "
    "n8c2048h8w8:oc320k1",
    "squeezenet": "n8c3h224w224:oc96k7s2 n8c96h54w54:oc16k1 n8c16h54w54:oc64k1 "
    "n8c16h54w54:oc64k3p1 n8c48h13w13:oc192k3p1 n8c64h13w13:oc256k3p1 n8c512h13w13:oc1000k1",
    "densenet": "n8c256h56w56:oc128k1 n8c128h56w56:oc32k3p1 n8c128h28w28:oc32k3p1 "
    "n8c512h28w28:oc256k1 n8c128h14w14:oc32k3p1 n8c1008h7w7:oc128k1 n8c128h7w7:oc32k3p1",
    "dcgan": "n64c3h64w64:oc64k4s2p1 n64c64h32w32:oc128k4s2p1 n64c128h16w16:oc256k4s2p1 "
    "n64c256h8w8:oc512k4s2p1 n64c512h4w4:oc1k4",
    "unet": "n1c1h256w256:oc64k3p1 n1c64h256w256:oc64k3p1 n1c128h128w128:oc128k3p1 "
    "n1c1024h16w16:oc512k3p1 n1c128h256w256:oc64k3p1 n1c64h256w256:oc2k1 n1c64h128w128:oc128k2s2",
    "deeplab": "n2c256h33w33:oc256k3p2d2 n2c256h33w33:oc256k3p6d6 n2c256h33w33:oc256k3p12d12 "
    "n2c128h65w65:oc128k3p4d4 n2c1280h33w33:oc256k1",
    "superresolution": "n4c1h64w64:oc64k9p4 n4c64h64w64:oc32k5p2 n4c32h64w64:oc1k5p2 "
    "n4c64h64w64:oc32k1 n2c64h96w96:oc256k3p1",
    "mnist": "n100c1h28w28:oc30k5 n100c1h28w28:oc16k3p1 n100c16h28w28:oc16k3p1 "
    "n100c16h14w14:oc32k3p1 n100c32h14w14:oc32k3p2 n100c32h8w8:oc64k3p1 n100c64h4w4:oc64k3p1",
    "wavenet": "n8c64h1w512:oc64k1x3p0x1 n8c64h1w512:oc128k1x2 n8c32h1w1000:oc32k1x9p0x4",
}  # fmt: skip
"""Their different convolutions, as problems without operation and dtype."""

SHORT = {"conv2d_forward": "forward", "conv2d_backward_input": "input",
         "conv2d_backward_weight": "weight"}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help=f"layers, or networks: {', '.join(NETWORKS)}")
    parser.add_argument("--random", type=int, default=0, metavar="COUNT", help="random layers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="cython")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, usable_processors()])
    parser.add_argument("--dtype", choices=("f32", "f64"), default="f32")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    names = options.what or ([] if options.random else list(NETWORKS))
    layers = [layer for name in names for layer in NETWORKS.get(name, name).split()]
    layers += random_layers(options.random, options.seed)

    print(f"{processor_name()}, level {fs.show_config()['compiled level']}, {options.dtype}")
    for num_threads in dict.fromkeys(options.threads):
        print(f"\n{options.backend}, {num_threads} thread{'s' * (num_threads > 1)}: x torch")
        gains: dict[str, list[float]] = {op: [] for op in CONV_OPS}
        for layer in layers:
            found = measure(layer, options.backend, num_threads, options.dtype, options.rounds)
            for op, gain in found.items():
                gains[op].append(gain)
            columns = [f"{SHORT[op]} {gain:6.2f}" for op, gain in found.items()]
            print(f"{layer:44} {'   '.join(columns)}", flush=True)
        for op, values in gains.items():
            print(
                f"{op:24} {len(values)} layers: geometric mean "
                f"{statistics.geometric_mean(values):.2f}, least {min(values):.2f}, "
                f"slower {sum(value < 1 for value in values)}"
            )
    return 0


def measure(
    layer: str, backend: str, num_threads: int, dtype: str, rounds: int
) -> dict[str, float]:
    """How many times as fast as PyTorch each direction is."""
    gains = {}
    for op in CONV_OPS:
        problem = parse_problem(f"{op}:{dtype}:{layer}floor")
        arrays = make_inputs(problem)
        calls = {
            "torch": torch_call(problem, arrays, num_threads),
            backend: partial(call_of(problem, arrays), backend=backend),
        }
        check(problem, *(first_output(call()) for call in calls.values()))
        seconds = time_problem(problem, calls, num_threads, rounds)["seconds"]
        gains[op] = seconds["torch"] / seconds[backend]
    return gains


def check(problem: Problem, theirs: Any, ours: Any) -> None:
    """Raise AssertionError where the two differ by more than rounding."""
    scale = abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * scale, err_msg=str(problem))


def random_layers(count: int, seed: int) -> Iterator[str]:
    """Layers of 5 to 500 million multiply-adds whose extents are as likely odd as even."""
    rng = np.random.default_rng(seed)
    found = 0
    while found < count:
        h, w = rng.integers(3, 70, 2)
        n, c, oc = (int(2 ** rng.uniform(0, top)) for top in (6, 8.5, 8.5))
        kh, kw = rng.choice([1, 2, 3, 3, 3, 4, 5, 7], 2) if rng.random() < 0.3 else (0, 0)
        if not kh:
            kh = kw = rng.choice([1, 3, 3, 3, 3, 5, 7])
        stride = rng.choice([1, 1, 1, 2, 3])
        padding = rng.choice([0, (min(kh, kw) - 1) // 2])
        dilation = rng.choice([1, 1, 1, 1, 2]) if stride == 1 else 1
        groups = rng.choice([1, 1, 1, 1, 2, c])
        if groups > 1:
            c = max(c // groups, 1) * groups
            oc = max(oc // groups, 1) * groups
        oh, ow = (
            (size + 2 * padding - dilation * (k - 1) - 1) // stride + 1
            for size, k in ((h, kh), (w, kw))
        )
        if min(oh, ow) < 1 or not 5e6 < n * oc * oh * ow * (c // groups) * kh * kw < 5e8:
            continue
        found += 1
        yield f"n{n}c{c}h{h}w{w}:oc{oc}k{kh}x{kw}s{stride}p{padding}d{dilation}g{groups}"


if __name__ == "__main__":
    sys.exit(main())
