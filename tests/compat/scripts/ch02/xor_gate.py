# coding: utf-8
import numpy as np
from and_gate import AND


def gate(w, b):
    return lambda x1, x2: 1 if np.sum(np.array(w) * np.array([x1, x2])) + b > 0 else 0


NAND = gate([-0.5, -0.5], 0.7)
OR = gate([0.5, 0.5], -0.2)


def XOR(x1, x2):
    return AND(NAND(x1, x2), OR(x1, x2))


if __name__ == '__main__':
    for xs in [(0, 0), (1, 0), (0, 1), (1, 1)]:
        print(str(xs) + " -> " + str(XOR(xs[0], xs[1])))
