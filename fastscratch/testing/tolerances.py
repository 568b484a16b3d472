"""How far a result may be from the reference: the one table."""

import math

import numpy as np

from fastscratch.kernels.catalogue import find_op
from fastscratch.kernels.problem import AVG_POOL_OPS, DTYPES, Problem

FACTOR = {"f32": 4.0, "f64": 4.0}
"""How many ``eps*sqrt(K)`` a sum of K products may be off, in units of the result's spread."""


def tolerance(problem: Problem) -> float:
    """The largest difference that is allowed between a result and the reference in float64.

    The rounding errors of a sum of K terms of one size grow like ``eps*sqrt(K)`` times the sum's
    own spread. Inputs are standard normal here, so that this spread is ``sqrt(K)``, and 1 at most
    for a mean. Where values are only moved or compared (K = 0), nothing is allowed; nor is it for
    inputs that are small integers, whose sums are exact in any order, unless the operation rounds.

    Parameters
    ----------
    problem : Problem
        Its operation says how many terms there are, its dtype how exact each is.

    Returns
    -------
    float
        An absolute difference.

    Examples
    --------
    >>> from fastscratch.kernels.problem import parse_problem
    >>> tolerance(parse_problem("max_pool2d_forward:f32:n1c1h4w4:k2"))
    0.0
    >>> tolerance(parse_problem("dense_forward:f64:n1i100:o10")) < 1e-12
    True
    """
    terms = find_op(problem.op).terms(problem)
    if terms == 0:
        return 0.0
    spread = 1.0 if problem.op in AVG_POOL_OPS else math.sqrt(terms + 1)
    eps = float(np.finfo(DTYPES[problem.dtype]).eps)
    return FACTOR[problem.dtype] * eps * math.sqrt(terms + 1) * spread
