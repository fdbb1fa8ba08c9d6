"""How many eigenvalues are below −δ, with an interval, from the raw weights of a spectral density.

As for those near 0 (``counting``) the interval has both what the moments leave open (``quadrature.bracket``) and the
chance of the probes (``ranks``). Where steps are few, one node stands for many eigenvalues, and its whole weight falls
to one side of −δ: all probes then agree on a wrong share, and their spread says nothing of it.
"""

from __future__ import annotations

import numpy as np

from rashomon_cli.science.intervals import LEVEL
from rashomon_cli.science.spectra.density import Density
from rashomon_cli.science.spectra.quadrature import ROUNDING, bracket
from rashomon_cli.science.spectra.ranks import high_rank, low_rank


def negative_count(found: Density, delta: float, *, level: float = LEVEL) -> tuple[float, float, float]:
    """The number of eigenvalues below −δ, known directions among them.

    Args:
        found: the density.
        delta: δ ≥ 0. Below ``found.noise`` the interval has what rounding makes of eigenvalues 0.
        level: probability that the interval holds, at least.

    Returns:
        The number, and the lower and the upper end of its interval; it has the bracket of the quadrature, the chance of
        the probes, and what rounding and the residuals of known directions leave uncertain.
    """
    point = np.array([-delta])
    terms = found.border.below(point, found.noise)
    margin = found.noise + terms.move
    points = np.concatenate([point - margin, point + margin])
    shares = []
    for (nodes, weights), alpha, beta in zip(found.rules, found.alpha, found.beta, strict=True):
        below, up_to = bracket(alpha, beta, points)
        shares.append((weights[nodes < -delta].sum(), below[0] - ROUNDING, up_to[1] + ROUNDING))
    value, low, high = np.clip(np.mean(shares, axis=0), 0.0, 1.0)[:, None]
    size, probes, tail = found.dimension, len(shares), (1 - level) / 2
    least = low_rank(low, size, probes, tail) + terms.low
    most = np.minimum(high_rank(high, size, probes, tail) + terms.high + terms.left_out, found.size)
    middle = np.clip(size * value + terms.inside, least, most)
    return float(middle[0]), float(least[0]), float(most[0])
