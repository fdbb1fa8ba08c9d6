"""Which models are joined, and at what level of the loss they become one piece.

A pair is joined within ε if some known path between the two has a barrier of at most ε. That is relative to the higher
end of each pair; the level at which models come together is absolute: as a bound on the loss rises, pieces of the set
{θ : L(θ) ≤ bound} merge. The bound at which two models are first joined through known paths, the minimax of the loss
over them, is what single linkage computes (Gower & Ross 1969, Applied Statistics 18, 54-64).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import connected_components

from rashomon_cli.core.results import Array

UNKNOWN, NOT_JOINED, UNDECIDED, JOINED = range(4)
STATES = ("no path known", "not joined", "undecided", "joined")
SURE = 2.0


def state(barrier: float, stderr: float, epsilon: float) -> int:
    """Whether a path joins its ends within ε, decided at two standard errors.

    Args:
        barrier: highest loss of the path above its higher end.
        stderr: its standard error; NaN, where it is not known, leaves the pair undecided.
        epsilon: the bound.

    Returns:
        ``JOINED``, ``UNDECIDED`` or ``NOT_JOINED``: a better path is worth more, so they are in this order.
    """
    if not math.isfinite(barrier):
        return NOT_JOINED
    margin = SURE * stderr
    if barrier + margin <= epsilon:
        return JOINED
    return NOT_JOINED if barrier - margin > epsilon else UNDECIDED


def pieces(joined: Array) -> tuple[int, Array]:
    """Connected components of a graph.

    Args:
        joined: whether there is an edge (n, n), symmetric.

    Returns:
        Their number, and that of each node's component (n,).
    """
    count, labels = connected_components(joined, directed=False)
    return int(count), labels


@dataclass(frozen=True)
class Merge:
    """Two pieces becoming one as the bound on the loss rises.

    Attributes:
        level: the loss at which they do.
        one: a model of the first piece.
        other: a model of the second piece: the path between the two reaches the level.
        left: number of pieces after it.
    """

    level: float
    one: int
    other: int
    left: int


def merges(levels: Array) -> list[Merge]:
    """Single linkage over the highest losses of paths, by Kruskal's algorithm.

    Args:
        levels: highest loss along the lowest known path of each pair (n, n), symmetric; not finite where there is none.

    Returns:
        The merges in order of their level: n − 1 of them where all models are joined by some path.
    """
    count = len(levels)
    piece = np.arange(count)
    rows, columns = np.triu_indices(count, 1)
    found: list[Merge] = []
    for pair in np.argsort(levels[rows, columns], kind="stable"):
        one, other = int(rows[pair]), int(columns[pair])
        if piece[one] != piece[other] and np.isfinite(levels[one, other]):
            piece[piece == piece[other]] = piece[one]
            found.append(Merge(float(levels[one, other]), one, other, count - len(found) - 1))
    return found
