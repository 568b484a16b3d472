"""The computational graph of chapter 5, digit for digit."""

import pytest

from fastscratch.errors import TrainingError
from fastscratch.layers import AddNode, MultiplyNode


def test_two_apples():
    apples, tax = MultiplyNode(), MultiplyNode()
    assert tax.forward(apples.forward(100, 2), 1.1) == 220.00000000000003
    dprice, dtax = tax.backward(1)
    assert (*apples.backward(dprice), dtax) == (2.2, 110.00000000000001, 200)


def test_apples_and_oranges():
    apples, oranges, both, tax = MultiplyNode(), MultiplyNode(), AddNode(), MultiplyNode()
    price = both.forward(apples.forward(100, 2), oranges.forward(150, 3))
    assert tax.forward(price, 1.1) == 715.0000000000001
    dprice, dtax = tax.backward(1)
    dapples, doranges = both.backward(dprice)
    assert apples.backward(dapples) == (2.2, 110.00000000000001)
    assert oranges.backward(doranges) == (3.3000000000000003, 165.0)
    assert dtax == 650


def test_a_product_has_no_gradient_before_it_is_computed():
    with pytest.raises(TrainingError, match="forward"):
        MultiplyNode().backward(1)
