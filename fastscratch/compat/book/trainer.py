"""Stands in for ``common.trainer``: trains whatever has ``gradient``, ``loss`` and ``accuracy``."""

import math
import sys
from typing import Any

import numpy as np

from fastscratch.compat.book.optimizer import (
    OPTIMIZERS,
    SGD,
    AdaGrad,
    Adam,
    Momentum,
    Nesterov,
    RMSprop,
)
from fastscratch.dispatch import reuse_buffers, single_blas_thread
from fastscratch.errors import ArgumentError, ShapeError
from fastscratch.types import Array

__all__ = ["SGD", "AdaGrad", "Adam", "Momentum", "Nesterov", "RMSprop", "Trainer", "np"]


class Trainer:
    """Mini-batch training, with the accuracy measured at the beginning of each epoch.

    Parameters
    ----------
    network : object
        With ``params``, ``gradient(x, t)``, ``loss(x, t)`` and ``accuracy(x, t)``.
    x_train, t_train, x_test, t_test : ndarray
        Samples and targets.
    epochs, mini_batch_size : int
        How often as many samples are drawn as there are, and how many at a time.
    optimizer : str
        "SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop" or "Adam", in any case of letters.
    optimizer_param : dict
        Its arguments.
    evaluate_sample_num_per_epoch : int, optional
        The accuracy is that of so many first samples; of all, if not given.
    verbose : bool
        Whether losses and accuracies are printed.

    Attributes
    ----------
    train_loss_list : list of float
        One entry an iteration.
    train_acc_list, test_acc_list : list of float
        One entry an epoch.
    optimizer, network, current_iter, current_epoch, max_iter, iter_per_epoch
        As they say.
    """

    def __init__(
        self, network: Any, x_train: Array, t_train: Array, x_test: Array, t_test: Array,
        epochs: int = 20, mini_batch_size: int = 100, optimizer: str = "SGD",
        optimizer_param: dict[str, Any] | None = None,
        evaluate_sample_num_per_epoch: int | None = None, verbose: bool = True,
    ) -> None:  # fmt: skip
        if len(x_train) != len(t_train) or not len(x_train):
            raise ShapeError(
                f"Trainer: x_train and t_train must have as many samples, one or more; got "
                f"{len(x_train)} and {len(t_train)}"
            )
        if optimizer.lower() not in OPTIMIZERS:
            raise ArgumentError(
                f'Trainer: optimizer must be "SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop" '
                f'or "Adam", got {optimizer!r}'
            )
        self.network = network
        self.verbose = verbose
        self.x_train, self.t_train = x_train, t_train
        self.x_test, self.t_test = x_test, t_test
        self.epochs = epochs
        self.batch_size = mini_batch_size
        self.evaluate_sample_num_per_epoch = evaluate_sample_num_per_epoch
        params = {"lr": 0.01} if optimizer_param is None else optimizer_param
        self.optimizer = OPTIMIZERS[optimizer.lower()](**params)

        self.train_size = len(x_train)
        # Whole: a remainder by a fraction is 0 by accident only, and epochs would go unmeasured.
        self.iter_per_epoch = max(math.ceil(self.train_size / mini_batch_size), 1)
        self.max_iter = int(epochs * self.iter_per_epoch)
        self.current_iter = 0
        self.current_epoch = 0

        self.train_loss_list: list[float] = []
        self.train_acc_list: list[float] = []
        self.test_acc_list: list[float] = []

    def train_step(self) -> None:
        """One iteration: a batch, its gradients, an update; at an epoch's beginning, accuracies."""
        batch = np.random.choice(self.train_size, self.batch_size)
        x_batch, t_batch = self.x_train[batch], self.t_train[batch]

        grads = self.network.gradient(x_batch, t_batch)
        self.optimizer.update(self.network.params, grads)

        loss = self.network.loss(x_batch, t_batch)
        self.train_loss_list.append(loss)
        self._say(f"train loss:{loss!s}")

        if self.current_iter % self.iter_per_epoch == 0:
            self.current_epoch += 1
            first = slice(self.evaluate_sample_num_per_epoch)
            train_acc = self.network.accuracy(self.x_train[first], self.t_train[first])
            test_acc = self.network.accuracy(self.x_test[first], self.t_test[first])
            self.train_acc_list.append(train_acc)
            self.test_acc_list.append(test_acc)
            epoch = f"epoch:{self.current_epoch}"
            self._say(f"=== {epoch}, train acc:{train_acc!s}, test acc:{test_acc!s} ===")
        self.current_iter += 1

    def train(self) -> None:
        """All iterations, then the accuracy on all test samples."""
        with single_blas_thread(), reuse_buffers():
            for _ in range(self.max_iter):
                self.train_step()
            test_acc = self.network.accuracy(self.x_test, self.t_test)
        self._say("=============== Final Test Accuracy ===============")
        self._say(f"test acc:{test_acc!s}")

    def _say(self, line: str) -> None:
        if self.verbose:
            sys.stdout.write(line + "\n")
