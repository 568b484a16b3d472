# coding: utf-8
import sys, os
sys.path.append(os.pardir)
import numpy as np
from deep_convnet import DeepConvNet
from dataset.mnist import load_mnist

(x_train, t_train), (x_test, t_test) = load_mnist(flatten=False)

network = DeepConvNet()
network.load_params("deep_convnet_params.pkl")

sampled = min(10000, len(x_test))
x_test = x_test[:sampled]
t_test = t_test[:sampled]

print("calculate accuracy (float64) ... ")
print(network.accuracy(x_test, t_test))

# to float16: the values in their arrays first, then the arrays themselves
x_test = x_test.astype(np.float16)
for param in network.params.values():
    param[...] = param.astype(np.float16)
print("calculate accuracy (float16) ... ")
print(network.accuracy(x_test, t_test))

for i, layer_idx in enumerate((0, 2, 5, 7, 10, 12, 15, 18)):
    network.layers[layer_idx].W = network.params['W' + str(i + 1)].astype(np.float16)
    network.layers[layer_idx].b = network.params['b' + str(i + 1)].astype(np.float16)
print(network.predict(x_test[:10]).dtype, network.accuracy(x_test, t_test))
