"""Raw arithmetic on checked arrays: the reference, its compiled twins, and the list of both."""

import os

# OpenMP's threads wait for each other, and for the next region, by spinning: about a millisecond
# with GNU's library as it comes. On two cores that another process uses too, training then takes
# 9 to 23 s where one thread takes 1.1 s. 2,000 turns (some 20 us) bridge the gaps between the
# kernels of a step: as fast as the default where nothing else runs (0.6 against 0.7 s), and 1.5 s
# on the busy machine. The library reads it when it is loaded, which the first compiled kernel does.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
