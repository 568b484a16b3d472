# coding: utf-8
import sys, os
sys.path.append(os.pardir)
import numpy as np
import matplotlib.pyplot as plt
from simple_convnet import SimpleConvNet
from common.layers import Convolution

network = SimpleConvNet(input_dim=(1, 28, 28),
                        conv_param={'filter_num': 30, 'filter_size': 5, 'pad': 0, 'stride': 1})
network.load_params("params.pkl")

img = np.random.RandomState(0).rand(60, 80).astype(np.float32)
img = img.reshape(1, 1, *img.shape)

fig = plt.figure()
for i in range(16):
    w = network.params['W1'][i]
    b = 0  # network.params['b1'][i]
    w = w.reshape(1, *w.shape)
    conv_layer = Convolution(w, b)
    out = conv_layer.forward(img)
    out = out.reshape(out.shape[2], out.shape[3])
    ax = fig.add_subplot(4, 4, i + 1, xticks=[], yticks=[])
    ax.imshow(out, cmap=plt.cm.gray_r, interpolation='nearest')
print(out.shape, out.dtype)
plt.show()
