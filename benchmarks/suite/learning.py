"""How fast a network learns: accuracy against time, on the digits of the package."""

import time
from typing import Any

from . import grid

GOAL = 0.95
LONGEST = 60.0


class digits:
    """A small CNN, from its first weights, on 1,437 images of 8x8; accuracy on 360 others."""

    params = (grid.backends()[:1] if grid.size() == "toy" else grid.backends(), grid.threads())
    param_names = ("backend", "threads")
    timeout = 300
    version = "1"

    def setup(self, *params: Any) -> None:
        try:
            from fastscratch import data

            data.load_digits  # noqa: B018
        except (ImportError, AttributeError) as error:
            raise NotImplementedError(str(error)) from None

    def track_seconds_to_95_percent(self, backend: str, num_threads: int) -> float:
        """Seconds of training until 95 % of the test images are right."""
        return learn(backend, num_threads, GOAL, LONGEST)[1]

    track_seconds_to_95_percent.unit = "seconds"  # type: ignore[attr-defined]

    def track_errors_after_a_second(self, backend: str, num_threads: int) -> float:
        """Per cent of the test images that are wrong after a second of training."""
        return 100 * (1 - learn(backend, num_threads, 1.0, 1.0)[0])

    track_errors_after_a_second.unit = "% wrong"  # type: ignore[attr-defined]


def learn(backend: str, num_threads: int, goal: float, longest: float) -> tuple[float, float]:
    """The accuracy that was reached, and the seconds of training that it took."""
    import fastscratch as fs
    from fastscratch import data, layers, losses, optimizers, training

    (x, t), (x_test, t_test) = data.load_digits()
    if grid.size() == "toy":
        x, t, goal, longest = x[:40], t[:40], 0.0, 0.0

    def trainer() -> Any:
        model = layers.Sequential(
            layers.Conv2d(16, 3, padding=1), layers.ReLU(), layers.MaxPool2d(2),
            layers.Flatten(), layers.Dense(64), layers.ReLU(), layers.Dense(10),
        )  # fmt: skip
        return training.Trainer(
            model, losses.SoftmaxCrossEntropy(), optimizers.Adam(), batch_size=32, seed=0
        )

    with fs.use_backend(backend), fs.threads(num_threads):
        trainer().fit(x[:40], t[:40], epochs=1)  # compiles
        found, seconds, accuracy = trainer(), 0.0, 0.0
        while accuracy < goal and seconds < longest:
            start = time.perf_counter()
            found.fit(x, t, epochs=1)
            seconds += time.perf_counter() - start
            scores = found.model.forward(x_test)
            accuracy = float((scores.argmax(axis=1) == t_test).mean())
    if accuracy < goal == GOAL:
        raise RuntimeError(f"{backend} reached {accuracy:.1%} in {seconds:.0f} s")
    return accuracy, seconds
