# coding: utf-8
import sys, os
sys.path.append(os.pardir)
import numpy as np
from common.multi_layer_net_extend import MultiLayerNetExtend

network = MultiLayerNetExtend(input_size=20, hidden_size_list=[10, 10], output_size=10,
                              use_batchnorm=True)

x_batch = np.random.rand(5, 20)
t_batch = np.eye(10)[[1, 2, 3, 9, 0]]

grad_backprop = network.gradient(x_batch, t_batch)
grad_numerical = network.numerical_gradient(x_batch, t_batch)

for key in grad_numerical.keys():
    diff = np.average(np.abs(grad_backprop[key] - grad_numerical[key]))
    print(key + ":" + str(diff))
