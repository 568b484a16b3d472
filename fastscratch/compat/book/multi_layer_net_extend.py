"""Stands in for ``common.multi_layer_net_extend``: with batch normalisation and dropout."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastscratch.compat.book.layers import BatchNormalization, Dropout
from fastscratch.compat.book.multi_layer_net import MultiLayerNet
from fastscratch.errors import ArgumentError
from fastscratch.types import Array

__all__ = ["MultiLayerNetExtend", "np"]


class MultiLayerNetExtend(MultiLayerNet):
    """`MultiLayerNet` with batch normalisation before, and dropout behind each activation.

    Parameters
    ----------
    input_size, hidden_size_list, output_size, activation, weight_init_std, weight_decay_lambda
        As in `MultiLayerNet`.
    use_dropout, use_batchnorm : bool
    dropout_ratio : float
        The share that dropout zeroes, 0.5 if not given. ``dropout_ration``, as the book spells it,
        is the same.

    Attributes
    ----------
    params : dict
        ``W1, b1, gamma1, beta1, W2, ...``
    layers : OrderedDict
        ``Affine1, BatchNorm1, Activation_function1, Dropout1, ..., Affine<n>``.

    Examples
    --------
    >>> network = MultiLayerNetExtend(4, [3], 2, use_dropout=True, dropout_ration=0.2)
    >>> list(network.layers)
    ['Affine1', 'Activation_function1', 'Dropout1', 'Affine2']
    """

    def __init__(
        self, input_size: int, hidden_size_list: Sequence[int], output_size: int,
        activation: str = "relu", weight_init_std: float | str = "relu",
        weight_decay_lambda: float = 0, use_dropout: bool = False,
        dropout_ration: float | None = None, use_batchnorm: bool = False,
        *, dropout_ratio: float | None = None,
    ) -> None:  # fmt: skip
        if dropout_ration is not None and dropout_ratio is not None:
            raise ArgumentError(
                "MultiLayerNetExtend: dropout_ratio and dropout_ration are the same; pass one"
            )
        given = dropout_ratio if dropout_ration is None else dropout_ration
        self.use_dropout = use_dropout
        self.dropout_ratio = 0.5 if given is None else given
        self.use_batchnorm = use_batchnorm
        super().__init__(
            input_size, hidden_size_list, output_size, activation, weight_init_std,
            weight_decay_lambda,
        )  # fmt: skip

    def _add_hidden(self, idx: int, values: dict[str, Any]) -> None:
        if self.use_batchnorm:
            size = self.hidden_size_list[idx - 1]
            values[f"gamma{idx}"], values[f"beta{idx}"] = np.ones(size), np.zeros(size)
            norm = BatchNormalization(values[f"gamma{idx}"], values[f"beta{idx}"])
            self.layers[f"BatchNorm{idx}"] = norm
            self._owners |= {f"gamma{idx}": (norm, "gamma"), f"beta{idx}": (norm, "beta")}
        super()._add_hidden(idx, values)
        if self.use_dropout:
            self.layers[f"Dropout{idx}"] = Dropout(self.dropout_ratio)

    def predict(self, x: Array, train_flg: bool = False) -> Array:
        """Scores, before softmax."""
        for layer in self.layers.values():
            if isinstance(layer, BatchNormalization | Dropout):
                x = layer.forward(x, train_flg)
            else:
                x = layer.forward(x)
        return x

    def loss(self, x: Array, t: Array, train_flg: bool = False) -> Any:
        """The mean loss of a batch, its weights' penalty included."""
        return self.last_layer.forward(self.predict(x, train_flg), t) + self._penalty()

    def _training_loss(self, x: Array, t: Array) -> Any:
        return self.loss(x, t, train_flg=True)
