"""The asv suite: what is timed, generated from the catalogue of the tree that it stands in.

asv imports this folder as a package of its own, with whatever commit is being measured installed,
so that modules here import each other relatively, and the library only when a benchmark is set up.
"""

import os

# Before NumPy loads: these halve OpenBLAS's speed where they are set for an older processor.
os.environ.pop("OPENBLAS_CORETYPE", None)
os.environ.pop("OPENBLAS_L2_SIZE", None)
# BLAS's threads go to sleep at once when they have nothing to do: the next round is undisturbed.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
