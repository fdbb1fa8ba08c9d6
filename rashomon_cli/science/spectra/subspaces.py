"""Subspaces that rows span: what two of them share, how much of a vector lies in one, what is left of it outside."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.linalg import subspace_angles
from torch import Tensor

from rashomon_cli.core.results import Result, series
from rashomon_cli.science.spectra.deflation import orthonormal

_VANISHED = 1e-6


def overlap(first: Tensor, second: Tensor) -> float:
    """Mean squared cosine of the principal angles between two subspaces (Björck and Golub 1973).

    It is 1 where the smaller lies in the larger, 0 where they are orthogonal, and ``max(k, m)/n`` on average for random
    ones. Where eigenvalues lie close, subspaces of eigenvectors agree though single eigenvectors do not.

    Args:
        first: rows (k, n), linearly independent.
        second: rows (m, n), linearly independent.

    Returns:
        A number in [0, 1]; NaN where either has no rows.
    """
    if len(first) == 0 or len(second) == 0:
        return math.nan
    angles = subspace_angles(*(rows.double().cpu().numpy().T for rows in (first, second)))
    return float(np.square(np.cos(angles)).mean())


def turning(subspaces: Sequence[Tensor]) -> Result:
    """How a subspace turns along a path.

    Args:
        subspaces: rows (k, n) at each position (T of them).

    Returns:
        ``top_overlap_start`` along ``t``, the :func:`overlap` with the first, and ``top_overlap_next`` along ``step``,
        from each position to the next.
    """
    start = [overlap(subspaces[0], rows) for rows in subspaces]
    following = [overlap(rows, after) for rows, after in itertools.pairwise(subspaces)]
    words = "overlap of the top subspace with that"
    found = {
        "top_overlap_start": series("t", start, "1", f"{words} at the start"),
        "top_overlap_next": series("step", following, "1", f"{words} at the next position"),
    }
    return Result(found)


def share(vector: Tensor, rows: Tensor) -> float:
    """Share of a vector's squared length that lies in a subspace: the squared cosine of the angle between them.

    Args:
        vector: (n,).
        rows: (k, n).

    Returns:
        A number in [0, 1], for a random vector k/n on average; NaN for a vector that is 0.
    """
    wide = vector.double()
    squared = float(wide.square().sum())
    return float((orthonormal(rows) @ wide).square().sum()) / squared if squared > 0 else math.nan


def without(vectors: Tensor, removed: Tensor) -> Tensor:
    """Vectors (k, n) less their parts in the span of others (m, n), at length 1; what vanishes is 0."""
    if len(removed) == 0:
        return vectors
    basis, wide = orthonormal(removed), vectors.double()
    wide = wide / wide.norm(dim=1, keepdim=True).clamp_min(1e-300)
    for _ in range(2):  # once more for what rounding left
        wide = wide - (wide @ basis.T) @ basis
    lengths = wide.norm(dim=1, keepdim=True)
    return torch.where(lengths > _VANISHED, wide / lengths.clamp_min(1e-300), 0.0).to(vectors)
