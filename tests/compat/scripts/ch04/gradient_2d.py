# coding: utf-8
import sys, os
sys.path.append(os.pardir)
import numpy as np
import matplotlib.pylab as plt
from common.gradient import numerical_gradient, numerical_gradient_2d


def function_1(x):
    return 0.01 * x**2 + 0.1 * x


def function_2(x):
    if x.ndim == 1:
        return np.sum(x**2)
    return np.sum(x**2, axis=1)


print(numerical_gradient(lambda x: function_1(x[0]), np.array([5.0])))

x0 = np.arange(-2, 2.5, 0.25)
x1 = np.arange(-2, 2.5, 0.25)
X, Y = np.meshgrid(x0, x1)
X, Y = X.flatten(), Y.flatten()

grad = numerical_gradient_2d(function_2, np.array([X, Y]).T).T
print(np.abs(grad - 2 * np.array([X, Y])).max() < 1e-8)

plt.figure()
plt.quiver(X, Y, -grad[0], -grad[1], angles="xy", color="#666666")
plt.grid()
plt.draw()
plt.show()
