# coding: utf-8
import sys, os
sys.path.append(os.pardir)
import numpy as np
from common.functions import softmax, cross_entropy_error
from common.gradient import numerical_gradient


class simpleNet:
    def __init__(self):
        self.W = np.array([[1.48560966, -0.14753772, -0.31133111],
                           [0.84614063, -1.36949181, -0.52690748]])

    def predict(self, x):
        return np.dot(x, self.W)

    def loss(self, x, t):
        return cross_entropy_error(softmax(self.predict(x)), t)


x = np.array([0.6, 0.9])
t = np.array([0, 0, 1])
net = simpleNet()

f = lambda w: net.loss(x, t)
dW = numerical_gradient(f, net.W)

print(np.argmax(net.predict(x)), net.loss(x, t))
print(dW)
