"""Scripts in the book's style run unchanged, chapter by chapter, and give what they should."""

import os
import re

import numpy as np
import pytest


def numbers(text):
    return [float(word) for word in re.findall(r"-?\d+\.\d+(?:e-?\d+)?|-?\d+", text)]


def gradients_agree(output):
    """Lines of name and mean difference: none of them large, and none missing."""
    differences = [float(line.replace(":", " ").split()[1]) for line in output.splitlines()]
    return len(differences) >= 4 and max(differences) < 1e-7


def learns(output, least=0.9):
    """The last accuracy that was printed."""
    accuracies = [float(found) for found in re.findall(r"acc:(\d\.\d+)", output)]
    return accuracies[-1] >= least


def last_pair(output):
    return numbers(output.splitlines()[-1])


GATES = "(0, 0) -> {}\n(1, 0) -> {}\n(0, 1) -> {}\n(1, 1) -> {}\n"

SCRIPTS = [
    # script, arguments, figures, what its output must be
    ("ch02/and_gate.py", [], 0, lambda out: out == GATES.format(0, 0, 0, 1)),
    ("ch02/xor_gate.py", [], 0, lambda out: out == GATES.format(0, 1, 1, 0)),
    (
        "ch03/activations.py", [], 1,
        lambda out: out == "0.5 0 2.5 [0 1 1]\n1.0 3\n[0.31682708 0.69627909]\n",
    ),
    ("ch03/mnist_show.py", [], 0, lambda out: out == "0\n(784,)\n(28, 28)\n"),
    (
        "ch03/neuralnet_mnist_batch.py", [], 0,
        lambda out: len(set(out.splitlines())) == 1 and 0 <= numbers(out)[0] < 1,
    ),
    (
        "ch04/gradient_method.py", [], 1,
        lambda out: out.splitlines()[1] == "[-6.11110793e-10  8.14814391e-10]",
    ),
    (
        "ch04/gradient_2d.py", [], 1,
        lambda out: abs(numbers(out)[0] - 0.2) < 1e-9 and out.endswith("True\n"),
    ),
    (
        "ch04/gradient_simplenet.py", [], 0,
        lambda out: "2.4536466" in out
        and "[[ 0.52174996  0.02666177 -0.54841173]\n" in out
        and " [ 0.78262494  0.03999266 -0.8226176 ]]" in out,
    ),
    ("ch04/train_neuralnet.py", ["400"], 1, lambda out: last_pair(out)[1] > 0.9),
    (
        "ch05/buy_apple_orange.py", [], 0,
        lambda out: out == "price: 715.0000000000001\ndApple: 2.2\n"
        "dApple_num: 110.00000000000001\ndOrange: 3.3000000000000003\ndOrange_num: 165.0\n"
        "dTax: 650\n",
    ),
    ("ch05/gradient_check.py", [], 0, gradients_agree),
    ("ch05/train_neuralnet.py", ["300"], 0, lambda out: last_pair(out)[1] > 0.9),
    ("ch06/optimizer_compare_naive.py", [], 1, lambda out: paths_end_right(out)),
    ("ch06/optimizer_compare_mnist.py", ["101"], 1, lambda out: out.count(" True\n") == 4),
    (
        "ch06/weight_init_compare.py", ["101"], 1,
        lambda out: numbers(out)[1] > 2.2 and numbers(out)[3] < 2.0,
    ),
    ("ch06/weight_init_activation_histogram.py", [], 3, lambda out: activations_pile_up(out)),
    ("ch06/batch_norm_test.py", ["5", "some"], 1, lambda out: out.count("===\n") == 4),
    ("ch06/batch_norm_gradient_check.py", [], 0, gradients_agree),
    (
        "ch06/overfit_weight_decay.py", [], 1,
        lambda out: out.count("epoch:") == 201 and out.startswith("epoch:0, train acc:"),
    ),
    ("ch06/overfit_dropout.py", ["20"], 1, lambda out: out.count("=== epoch:") == 20),
    (
        "ch06/hyperparameter_optimization.py", ["4"], 1,
        lambda out: out.count("val acc:") == 8 and "Best-1(val acc:" in out,
    ),
    ("ch07/gradient_check.py", [], 0, gradients_agree),
]  # fmt: skip


def paths_end_right(output):
    """30 steps down x**2/20 + y**2 from (-7, 2), as computed from the formulas themselves."""
    ends = {line.split()[0]: numbers(line) for line in output.splitlines()}
    for name, update in UPDATES.items():
        at: np.ndarray = np.array([-7.0, 2.0])
        state: dict[str, np.ndarray] = {}
        for step in range(1, 31):
            at = at + update(at * np.array([0.1, 2.0]), state, step)
        np.testing.assert_allclose(ends[name], at, rtol=1e-6, atol=1e-9, err_msg=name)
    return len(ends) == 6


def _momentum(g, s, t):
    s["v"] = 0.9 * s.get("v", 0) - 0.1 * g
    return s["v"]


def _nesterov(g, s, t):
    old = s.get("v", np.zeros(2))
    s["v"] = 0.9 * old - 0.1 * g
    return -0.9 * old + 1.9 * s["v"]  # CS231n's form of the same


def _adagrad(g, s, t):
    s["h"] = s.get("h", 0) + g * g
    return -1.5 * g / (np.sqrt(s["h"]) + 1e-7)


def _rmsprop(g, s, t):
    s["h"] = 0.99 * s.get("h", 0) + 0.01 * g * g
    return -0.3 * g / (np.sqrt(s["h"]) + 1e-7)


def _adam(g, s, t):
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g * g
    rate = 0.3 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return -rate * s["m"] / (np.sqrt(s["v"]) + 1e-7)


UPDATES = {
    "SGD": lambda g, s, t: -0.95 * g, "Momentum": _momentum, "Nesterov": _nesterov,
    "AdaGrad": _adagrad, "RMSprop": _rmsprop, "Adam": _adam,
}  # fmt: skip


def activations_pile_up(output):
    """Std 1: at 0 and 1. Std 0.01: about one value. Xavier: wide."""
    (_, far1, _), (_, far2, narrow), (_, far3, wide) = map(numbers, output.splitlines())
    return far1 > 0.6 and far2 == 0 and narrow < 0.03 < wide and far3 < far1


@pytest.mark.parametrize(
    ("script", "arguments", "figures", "right"), SCRIPTS, ids=[script[0] for script in SCRIPTS]
)
def test_script(run_book, tmp_path, script, arguments, figures, right):
    done = run_book(script, *arguments, cwd=tmp_path)
    assert right(done.stdout), done.stdout + done.stderr
    drawn = sorted((tmp_path / "figures").glob("*.png"))
    assert len(drawn) == figures == done.stderr.count("fastscratch: the figure is in figures")
    assert all(path.stat().st_size > 3000 for path in drawn)


def test_scripts_of_chapter_7_share_their_parameters_by_a_file(run_book, tmp_path):
    done = run_book("ch07/train_convnet.py", "8", cwd=tmp_path, options=["--choices"])
    assert learns(done.stdout) and "Saved Network Parameters!" in done.stdout
    for op in ("conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight",
               "max_pool2d_forward", "max_pool2d_backward", "dense_backward_weight",
               "relu_backward", "softmax_cross_entropy_backward", "adam_update"):  # fmt: skip
        assert f"  {op} " in done.stderr
    assert "im2col" not in done.stderr
    run_book("ch07/visualize_filter.py", cwd=tmp_path)
    assert len(list((tmp_path / "figures").glob("visualize_filter-*.png"))) == 2
    done = run_book("ch07/apply_filter.py", cwd=tmp_path)
    assert done.stdout == "(56, 76) float64\n"


def test_scripts_of_chapter_8_share_their_parameters_by_a_file(run_book, tmp_path):
    done = run_book("ch08/train_deepnet.py", "2", cwd=tmp_path)
    assert "Saved Network Parameters!" in done.stdout
    done = run_book("ch08/half_float_network.py", cwd=tmp_path)
    lines = done.stdout.splitlines()
    double, rounded = float(lines[1]), float(lines[3])
    half_dtype, half = lines[4].split()
    assert half_dtype == "float16"
    assert abs(double - rounded) <= 0.02 and abs(double - float(half)) <= 0.02
    done = run_book("ch08/misclassified_mnist.py", cwd=tmp_path)
    assert f"test accuracy:{double}" in done.stdout
    assert (tmp_path / "figures/misclassified_mnist-1.png").exists()


@pytest.mark.skipif(
    not os.path.isdir(os.path.join(os.environ.get("FASTSCRATCH_DATA", ""), "mnist")),
    reason="FASTSCRATCH_DATA names no folder with mnist/ in it",
)
def test_the_book_s_network_learns_mnist(run_book, tmp_path):
    """Two epochs of 600 iterations: above 0.85, as the book's own log has it from epoch 2 on."""
    data = os.environ["FASTSCRATCH_DATA"]
    done = run_book("ch04/train_neuralnet.py", "1201", cwd=tmp_path, FASTSCRATCH_DATA=data)
    accuracies = [numbers(line) for line in done.stdout.splitlines()]
    assert len(accuracies) == 3
    assert accuracies[1][1] >= 0.75 and accuracies[2][1] >= 0.85
