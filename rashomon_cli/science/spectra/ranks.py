"""The rank of a projector from what a few random probes see of it, with an interval.

For z uniform on the sphere in n dimensions and a projector P of rank N, ``zᵀPz`` is Beta(N/2, (n − N)/2), of mean N/n
and variance ``2N(n − N)/(n²(n + 2))``. So an interval has every N under which the mean that was seen is not improbable.
This needs no estimate of the spread and holds for a single probe, too, where Student's t says nothing. For a mean of k
probes the Beta law of the same mean and variance is taken.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaincc

from rashomon_cli.core.results import Array


def low_rank(share: Array, size: int, probes: int, tail: float) -> Array:
    """The least rank N of a projector under which a mean of ``zᵀPz`` as high as this has at least some probability.

    Args:
        share: means over probes (m,), in [0, 1].
        size: n.
        probes: k.
        tail: the probability.

    Returns:
        Ranks (m,).
    """
    each = (probes * (size + 2) / 2 - 1) / max(size, 1)  # the two parameters of the Beta law, for each dimension
    low, high = np.zeros(len(share), dtype=np.int64), np.full(len(share), size, dtype=np.int64)
    while (low < high).any():
        middle = (low + high) // 2
        chance = betaincc(each * np.maximum(middle, 1), each * np.maximum(size - middle, 1), share)
        enough = (middle == size) | (np.where(middle == 0, share <= 0, chance >= tail))
        low, high = np.where(enough, low, middle + 1), np.where(enough, middle, high)
    return high


def high_rank(share: Array, size: int, probes: int, tail: float) -> Array:
    """The greatest rank under which a mean as low as this has at least some probability; see :func:`low_rank`."""
    return size - low_rank(1.0 - share, size, probes, tail)
