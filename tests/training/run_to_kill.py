"""A training run for `test_kill` to kill: python run_to_kill.py FOLDER BACKEND [WHERE]

It goes on from the last checkpoint, if there is one. WHERE, such as ``fsync:5``, makes it kill
itself in the middle of writing: at the fifth call of os.fsync. When the run is over, it writes the
end state to FOLDER/end.npz.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

import fastscratch as fs
from fastscratch import data, layers, losses, optimizers, training

EPOCHS = 4


def kill_at(name: str, count: int) -> None:
    """Replace a function of os by one that works `count` - 1 times."""
    real = getattr(os, name)
    left = count

    def replacement(*arguments):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    setattr(os, name, replacement)


def main(folder: str, backend: str, where: str = "") -> None:
    if where:
        name, _, count = where.partition(":")
        kill_at(name, int(count))
    (x, t), _ = data.load_digits()
    x, t, validation = x[:120], t[:120], (x[120:170], t[120:170])
    model = layers.Sequential(
        layers.Conv2d(4, 3, padding="same"),
        layers.BatchNorm(),
        layers.ReLU(),
        layers.MaxPool2d(2),
        layers.Dropout(0.2),
        layers.Flatten(),
        layers.Dense(10),
        seed=2,
    )
    trainer = training.Trainer(
        model,
        losses.SoftmaxCrossEntropy(),
        optimizers.Adam(0.01),
        batch_size=8,
        seed=1,
        callbacks=[training.EarlyStopping(patience=2)],
        checkpoint=folder,
        checkpoint_every=1,
    )
    with fs.use_backend(backend):
        history = trainer.fit(x, t, epochs=EPOCHS, validation=validation, resume=True)
    records = np.array([list(r.values()) for r in history.without_times()], float)
    part = Path(folder) / "end.part.npz"
    arrays: dict[str, Any] = {"history": records, **model.state_dict()}
    np.savez(part, **arrays)
    os.rename(part, Path(folder) / "end.npz")


if __name__ == "__main__":
    main(*sys.argv[1:])
