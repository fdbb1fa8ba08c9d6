"""Gauss quadrature from Lanczos coefficients, and what it proves about how much of a measure lies below a point.

A probe z of length 1 sees the spectrum of H as the measure μ that puts ``(qᵢᵀz)²`` on eigenvalue λᵢ. m steps of Lanczos
from z give T and β_m, hence the moments of μ up to order 2m. The eigenvalues of T and the squared first entries of its
eigenvectors are the nodes and weights of the Gauss rule (Golub & Welsch 1969). Extended by one row whose diagonal entry
puts a node at x, T gives the Gauss-Radau rule of x (Golub & Meurant 2010, Matrices, Moments and Quadrature with
Applications, section 6.2), and by the inequalities of Chebyshev, Markov and Stieltjes (Szegő 1939, Orthogonal
Polynomials, section 3.41) no measure with these moments has less below x than the weights of the nodes below x, or more
than these and the weight at x. Nothing tighter follows from these moments.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh_tridiagonal

from rashomon_cli.core.results import Array

ROUNDING = 1e-8
"""What rounding may add to a bound of :func:`bracket` or take from it."""
_LARGEST_CORNER = 1 / np.sqrt(np.finfo(float).eps)


def steps_taken(alpha: Array) -> int:
    """Number of steps that were taken of one probe (steps,): NaN stands for the others."""
    return int(np.isfinite(alpha).sum())


def gauss(alpha: Array, beta: Array) -> tuple[Array, Array]:
    """Nodes and weights of one probe's Gauss rule.

    Args:
        alpha: diagonal of T (steps,); NaN beyond the steps that were taken.
        beta: what couples each step to the next (steps,).

    Returns:
        Nodes, increasing, and weights with sum 1; both (m,) for m steps taken.
    """
    steps = steps_taken(alpha)
    return _rule(alpha[:steps], beta[: max(0, steps - 1)])


def ends(alpha: Array, beta: Array) -> tuple[tuple[float, float], tuple[float, float]]:
    """The lowest and the highest node of one probe, each with its residual ``β_m |s_m|``: an eigenvalue is that near.

    Args:
        alpha: diagonal of T (steps,); NaN beyond the steps that were taken.
        beta: what couples each step to the next (steps,).

    Returns:
        Two pairs of node and residual; s_m is the last entry of the node's eigenvector of T (Parlett 1998, 13.2).
    """
    steps = steps_taken(alpha)
    nodes, vectors = eigh_tridiagonal(alpha[:steps], beta[: steps - 1])
    residuals = beta[steps - 1] * np.abs(vectors[-1])
    return (float(nodes[0]), float(residuals[0])), (float(nodes[-1]), float(residuals[-1]))


def bracket(alpha: Array, beta: Array, points: Array) -> tuple[Array, Array]:
    """What one probe's measure has below points, at least and at most.

    Args:
        alpha: diagonal of T (steps,); NaN beyond the steps that were taken.
        beta: what couples each step to the next (steps,); 0 after the last one taken where the subspace is invariant:
            the measure then is the Gauss rule itself.
        points: x (k,).

    Returns:
        ``low`` and ``high`` (k,) with ``low ≤ μ((−∞, x)) ≤ μ((−∞, x]) ≤ high``. A point that lies on a node of the
        Gauss rule is moved by up to 1e-8 of the largest |node|, less the better that node has converged.
    """
    steps = steps_taken(alpha)
    nodes, weights = gauss(alpha, beta)
    diagonal, coupling = alpha[:steps], beta[:steps]
    if not coupling[-1:].any():
        total = _cumulative(weights)
        return total[np.searchsorted(nodes, points, "left")], total[np.searchsorted(nodes, points, "right")]
    corners, below = _radau(diagonal, coupling, points)
    totals = [_cumulative(_rule(np.append(diagonal, corner), coupling)[1]) for corner in corners]
    low = [total[count] for total, count in zip(totals, below, strict=True)]
    high = [total[count + 1] for total, count in zip(totals, below, strict=True)]
    return np.array(low), np.array(high)


def _radau(alpha: Array, beta: Array, points: Array) -> tuple[Array, Array]:
    """The corners that put a node at points, and how many nodes are below it.

    The pivots of ``T − x`` give both: the corner is ``x + β_m²/d_m``, and as many nodes as pivots are negative lie
    below x, since the pivot that follows is 0. A corner beyond all bounds, where x is a Gauss node, is held at 7e7
    times the scale.
    """
    smallest = np.finfo(float).tiny * max(1.0, float((beta**2).max()))
    pivot = np.ones_like(points, dtype=np.float64)
    below = np.zeros(len(points), dtype=np.intp)
    for entry, before in zip(alpha, [0.0, *beta[:-1]], strict=True):
        pivot = entry - points - before**2 / pivot
        pivot = np.where(np.abs(pivot) < smallest, -smallest, pivot)
        below += pivot < 0
    largest = _LARGEST_CORNER * max(np.abs(alpha).max(), beta.max())
    return np.clip(points + beta[-1] ** 2 / pivot, -largest, largest), below


def _rule(diagonal: Array, coupling: Array) -> tuple[Array, Array]:
    if not len(diagonal):
        return diagonal, diagonal
    nodes, vectors = eigh_tridiagonal(diagonal, coupling)
    return nodes, vectors[0] ** 2


def _cumulative(weights: Array) -> Array:
    """Sums of the first 0, 1, …, m weights."""
    return np.concatenate([[0.0], np.cumsum(weights)])
