"""All eigenpairs outside [−τ, τ], largest |λ| first: what is left is the number of eigenvalues within.

Pairs are found in blocks of growing size, each with those before taken out, which also finds repeated eigenvalues. The
matrix is then ``diag(Θ, A')`` plus a coupling whose norm is that of the residual ``R = AV − VΘ``, so that by Weyl's
inequality no eigenvalue is further than ‖R‖₂ from those of the two parts (Parlett 1998, §11.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from rashomon_cli.core.results import Array
from rashomon_cli.science.spectra.dimensions import Count
from rashomon_cli.science.spectra.magnitudes import applied, largest
from rashomon_cli.science.spectra.matrices import Matrix

FIRST = 16
"""Pairs of the first block; each further one has twice as many."""
LIMIT = 2000
"""Products with one vector."""
MEMORY = 2**31
"""Bytes for vectors."""
_CHECK, _LOOSE = 200, 0.05
_HELD = 4  # vectors that a new pair takes: itself, its Krylov space, and a copy


@dataclass(frozen=True)
class Outside:
    """Eigenvalues of the largest |λ|, and how much is left.

    Attributes:
        values: by decreasing |λ| (k,).
        vectors: orthonormal rows (k, n), float64.
        residual: ‖R‖₂: no eigenvalue is further from ``values`` or from those that are left.
        rest: the largest |λ| that is left, as far as Lanczos tells; ∞ if not known, 0 if nothing is left.
        size: n.
        matvecs: products that it took.
    """

    values: Array
    vectors: Array
    residual: float
    rest: float
    size: int
    matvecs: int

    def count(self, taus: Array) -> Count:
        """The number of eigenvalues with |λ| ≤ τ.

        Args:
            taus: tolerances, increasing (m,).

        Returns:
            n less those outside; NaN, with a wide interval, where τ is below what was reached.
        """
        taus = np.asarray(taus, dtype=np.float64)
        sizes = np.sort(np.abs(self.values))
        left = self.size - len(sizes)

        def within(bounds: Array) -> Array:
            found: Array = np.searchsorted(sizes, bounds, side="right").astype(np.float64)
            return found

        value = np.where(taus >= self.rest, within(taus) + left, np.nan)
        low = within(taus - self.residual) + np.where(taus - self.residual >= self.rest, left, 0)
        high = within(taus + self.residual) + left
        return Count(taus, value, low, high, "top")


def outside(
    matrix: Matrix, tau: float, *, limit: int = LIMIT, memory: int = MEMORY, tolerance: float = 1e-6, seed: int = 0
) -> Outside:
    """Find all eigenpairs with |λ| > τ.

    Args:
        matrix: symmetric (n, n).
        tau: the least tolerance that is to be counted.
        limit: products of the search; measuring the residuals of k pairs takes k more, the look at what is left 200 at
            most. A matrix of no more rows is written out by n products, and every eigenvalue is found.
        memory: bytes for vectors; the search ends where they are full.
        tolerance: residual of a pair relative to its |λ|; a float32 matrix limits it to about 1e-6.
        seed: of the first vectors.

    Returns:
        The pairs, as far as the products go.
    """
    before = matrix.matvecs
    if matrix.size <= limit:
        return _all(matrix)
    vectors, block, rounds = np.zeros((0, matrix.size)), FIRST, 0
    while True:
        left = limit - (matrix.matvecs - before)
        found = largest(matrix, block, vectors, seed=seed + rounds, tolerance=tolerance, limit=left)
        vectors, rounds = np.concatenate([vectors, found.vectors]), rounds + 1
        block = min(2 * block, memory // (8 * matrix.size * _HELD) - len(vectors))
        further = found.complete and block > 0
        if further and np.abs(found.values).min(initial=math.inf) > tau and len(found.values):
            continue
        check = largest(matrix, 1, vectors, seed=seed - rounds, tolerance=_LOOSE, limit=_CHECK)
        rest = (1 + _LOOSE) * float(np.abs(check.values).max(initial=0.0)) if check.complete else math.inf
        if not further or not tau < rest < math.inf:
            break
        vectors, block = np.concatenate([vectors, check.vectors]), min(FIRST, block)
    values, vectors, residual = _ritz(matrix, vectors)
    return Outside(values, vectors, residual, rest, matrix.size, matrix.matvecs - before)


def _ritz(matrix: Matrix, vectors: Array) -> tuple[Array, Array, float]:
    """Ritz pairs of a subspace, and the norm of their residuals together."""
    if not len(vectors):
        return np.zeros(0), vectors, 0.0
    images = applied(matrix, vectors)
    small = images @ vectors.T
    values, turns = np.linalg.eigh((small + small.T) / 2)
    order = np.argsort(-np.abs(values), kind="stable")
    values, vectors, images = values[order], turns.T[order] @ vectors, turns.T[order] @ images
    return values, vectors, float(np.linalg.norm(images - values[:, None] * vectors, 2))


def _all(matrix: Matrix) -> Outside:
    """Every eigenpair of a small matrix; how far it is from symmetric tells its rounding."""
    written = applied(matrix, np.eye(matrix.size))
    if not np.isfinite(written).all():
        return Outside(np.zeros(0), np.zeros((0, matrix.size)), 0.0, math.inf, matrix.size, matrix.size)
    values, columns = np.linalg.eigh((written + written.T) / 2)
    order = np.argsort(-np.abs(values), kind="stable")
    solved = np.finfo(np.float64).eps * math.sqrt(matrix.size) + torch.finfo(matrix.like.dtype).eps
    skew = float(np.linalg.norm(written - written.T, 2)) / 2
    rounding = skew + solved * float(np.abs(values).max(initial=0.0))
    return Outside(values[order], np.ascontiguousarray(columns.T[order]), rounding, 0.0, matrix.size, matrix.size)
