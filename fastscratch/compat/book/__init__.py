"""Runs scripts written for the public code of "Deep Learning from Scratch" (K. Saitoh), unchanged.

``python -m fastscratch.compat.book [options] SCRIPT [arguments]``::

    __main__, runner   start a script as ``python SCRIPT`` would
    modules            which modules of ours stand in for which of the book's
    figures            pictures in files, where there is no screen

    functions gradient layers convolution optimizer trainer multi_layer_net
    multi_layer_net_extend arrays mnist       what stands in: ``common.functions`` and so on
"""
