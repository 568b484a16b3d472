# coding: utf-8
import sys, os
sys.path.append(os.pardir)
import numpy as np
import matplotlib.pylab as plt
from common.functions import sigmoid, relu, step_function, softmax, identity_function

X = np.arange(-5.0, 5.0, 0.1)
for f in (step_function, sigmoid, relu):
    plt.plot(X, f(X), label=f.__name__)
plt.ylim(-0.1, 1.1)
plt.legend()
plt.show()

print(sigmoid(0), relu(-3), relu(2.5), step_function(np.array([-1.0, 1.0, 2.0])))
print(np.sum(softmax(np.array([1010, 1000, 990]))), identity_function(3))

# the three layers of section 3.4
network = {'W1': np.array([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]]), 'b1': np.array([0.1, 0.2, 0.3]),
           'W2': np.array([[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]), 'b2': np.array([0.1, 0.2]),
           'W3': np.array([[0.1, 0.3], [0.2, 0.4]]), 'b3': np.array([0.1, 0.2])}
z1 = sigmoid(np.dot(np.array([1.0, 0.5]), network['W1']) + network['b1'])
z2 = sigmoid(np.dot(z1, network['W2']) + network['b2'])
print(identity_function(np.dot(z2, network['W3']) + network['b3']))
