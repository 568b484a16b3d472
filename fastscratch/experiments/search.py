"""The book's search for a learning rate and a weight decay."""

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fastscratch.dispatch.machine import usable_processors
from fastscratch.experiments.experiment import Experiment, Findings, Row, Setup
from fastscratch.experiments.learning import first
from fastscratch.losses import SoftmaxCrossEntropy
from fastscratch.models import MultiLayerNet
from fastscratch.optimizers import SGD
from fastscratch.training import Callback, Trainer
from fastscratch.training.search import LogUniform, Report, Trial, best_range, search

SPACE = {"lr": LogUniform(1e-6, 1e-2), "weight_decay": LogUniform(1e-8, 1e-4)}


def validation_accuracy(
    parameters: Mapping[str, Any], report: Report, *, train: Any, validation: Any, epochs: int,
    seed: int,
) -> float:  # fmt: skip
    """Train the book's network of seven layers for some epochs; its accuracy on other images."""

    class Tell(Callback):
        def on_epoch_end(self, trainer: Any, record: Any) -> None:
            report(record["epoch"], float(record["validation_accuracy"]))

    model = MultiLayerNet(train[0].shape[1:], hidden=(100,) * 6, seed=seed)
    optimizer = SGD(parameters["lr"], weight_decay=parameters["weight_decay"])
    trainer = Trainer(
        model, SoftmaxCrossEntropy(), optimizer, batch_size=100, seed=seed, callbacks=[Tell()],
        progress_bar=False,
    )  # fmt: skip
    history = trainer.fit(*train, epochs=epochs, validation=validation)
    return float(history.last["validation_accuracy"] or 0.0)


def hyperparameters(setup: Setup) -> Findings:
    """A hundred random trials on 500 images, a fifth of which are set aside."""
    from fastscratch.data import split_validation

    (x, t), _ = setup.flat
    chosen = first((x, t), 500)
    trials, epochs = setup.pick(100, 6), setup.pick(50, 2)
    setup.expect(trials * len(setup.seeds))
    processes = 1 if setup.quick else min(4, usable_processors())
    found: dict[int, list[Trial]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(setup.seeds):
            train, validation = split_validation(*chosen, 0.2, seed=seed)
            objective = partial(
                validation_accuracy, train=train, validation=validation, epochs=epochs, seed=seed
            )

            def tell(count: int, before: int = number * trials) -> None:
                setup.reach(before + count)

            found[seed] = search(
                objective, SPACE, trials=trials, processes=processes, seed=seed,
                storage=(setup.output or Path(folder)) / "trials.log",
                name=f"{setup.data}, seed {seed}, {epochs} epochs",
                progress=tell,
            )  # fmt: skip
    rows: list[Row] = [
        {"seed": seed, "trial": trial.number, **trial.parameters, "value": trial.value,
         "state": trial.state, "epochs": len(trial.curve)}
        for seed, of_seed in found.items() for trial in of_seed
    ]  # fmt: skip
    best = {seed: [trial for trial in of_seed if trial.value is not None][:20]
            for seed, of_seed in found.items()}  # fmt: skip

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        for seed, of_seed in found.items():
            done = [trial for trial in of_seed if trial.curve]
            left.scatter(
                [trial.parameters["lr"] for trial in done],
                [trial.parameters["weight_decay"] for trial in done],
                c=[list(trial.curve.values())[-1] for trial in done], cmap="viridis", s=14,
                vmin=0, vmax=1,
            )  # fmt: skip
            for rank, trial in enumerate(best[seed][:5]):
                right.plot(
                    list(trial.curve), list(trial.curve.values()), color=f"C{seed % 10}",
                    linewidth=1, label=f"seed {seed}" if rank == 0 else None,
                )  # fmt: skip
        figure.set_size_inches(9.6, 4.4)
        figure.colorbar(left.collections[0], ax=left, label="last validation accuracy")
        left.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="weight decay",
                 title="all trials")  # fmt: skip
        right.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1.02),
                  title="the five best of each seed")  # fmt: skip
        right.grid(alpha=0.3)
        right.legend(fontsize=9, loc="lower right")

    rates = {seed: best_range(of_seed, "lr", 10) for seed, of_seed in found.items()}
    small = float(np.mean(
        [trial.parameters["weight_decay"] < 1e-6 for of_seed in best.values() for trial in of_seed]
    ))  # fmt: skip
    low, high = min(r[0] for r in rates.values()), max(r[1] for r in rates.values())
    pruned = sum(trial.state == "pruned" for of_seed in found.values() for trial in of_seed)
    measured = (
        f"the ten best learning rates lie between {low:.1e} and {high:.1e}; {100 * small:.0f} % of "
        f"the twenty best weight decays are below 1e-6, where half of all are; {pruned} of "
        f"{len(rows)} trials were pruned"
    )
    numbers = {
        "best_lr": rates, "share_of_small_decay": small, "pruned": pruned,
        "best": {seed: of_seed[0].parameters for seed, of_seed in best.items() if of_seed},
    }  # fmt: skip
    rate_holds, decay_holds = low >= 5e-4 and high <= 1e-2, small > 0.65
    note = "" if rate_holds and decay_holds else (
        "the learning rates are found again, the weight decays are not: a penalty of 1e-4 and less "
        "changes nothing in 50 epochs of 400 images, so that the best ones lie anywhere"
        if rate_holds else "the learning rates are others"
    )  # fmt: skip
    return Findings(rows, numbers, measured, rate_holds and decay_holds, draw, note)


EXPERIMENTS = (
    Experiment(
        "hyperparameters", "Random search for learning rate and weight decay", "book, section 6.5",
        "good learning rates lie between 0.001 and 0.01, good weight decays between 1e-8 and 1e-6",
        "of all seeds: the ten best rates lie above 5e-4 (the upper end is that of the range), and "
        "65 % or more of the twenty best decays below 1e-6; of 60 decays that do not matter half "
        "would be there, give or take 6 %, so that 65 % is more than two standard errors off",
        hyperparameters,
        {"samples": 500, "validation": 0.2, "trials": 100, "epochs": 50, "lr": [1e-6, 1e-2],
         "weight_decay": [1e-8, 1e-4]},
    ),
)  # fmt: skip
