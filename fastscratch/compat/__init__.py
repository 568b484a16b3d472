"""The names that other people's scripts use, on top of this library's operations.

``book``    runs scripts written for the public code of "Deep Learning from Scratch" unchanged:
            ``python -m fastscratch.compat.book train_convnet.py``
``cs231n``  the layer functions of the second assignment of CS231n:
            ``from fastscratch.compat.cs231n import conv_forward_fast``
"""
