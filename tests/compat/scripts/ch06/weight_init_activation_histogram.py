# coding: utf-8
import sys, os
sys.path.append(os.pardir)
import numpy as np
import matplotlib.pyplot as plt
from common.functions import sigmoid

input_data = np.random.randn(1000, 100)
node_num = 100
hidden_layer_size = 5

for w in (1.0, 0.01, np.sqrt(1.0 / node_num)):
    activations = {}
    x = input_data
    for i in range(hidden_layer_size):
        x = sigmoid(np.dot(x, w * np.random.randn(node_num, node_num)))
        activations[i] = x
    print(w, np.mean(activations[4] < 0.1) + np.mean(activations[4] > 0.9), np.std(activations[4]))

    plt.figure()
    for i, a in activations.items():
        plt.subplot(1, len(activations), i + 1)
        plt.title(str(i + 1) + "-layer")
        if i != 0:
            plt.yticks([], [])
        plt.hist(a.flatten(), 30, range=(0, 1))
plt.show()
