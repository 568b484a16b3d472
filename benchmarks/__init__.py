"""How fast the kernels are: over time, against other libraries, and against the machine's limit."""

from benchmarks import suite as suite  # prepares the environment before NumPy loads
