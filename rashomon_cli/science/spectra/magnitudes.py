"""Eigenpairs of the largest |λ| of a matrix, those that are known already taken out, by ARPACK."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh

from rashomon_cli.core.results import Array
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.spectra.matrices import Matrix

_LEAST_KRYLOV = 20
_RESTARTS = 300


@dataclass(frozen=True)
class Magnitudes:
    """Eigenpairs by decreasing |λ|.

    Attributes:
        values: (k,).
        vectors: orthonormal rows (k, n), float64.
        complete: whether all that were asked for converged.
    """

    values: Array
    vectors: Array
    complete: bool


class _Spent(Exception):
    """No more products, or one that is not finite."""


def applied(matrix: Matrix, rows: Array) -> Array:
    """Products of a matrix with rows (k, n) in float64; those of a float32 matrix are as precise as it is."""
    found: Array = matrix(torch.from_numpy(np.ascontiguousarray(rows)).to(matrix.like)).double().cpu().numpy()
    return found


def largest(
    matrix: Matrix, count: int, known: Array, *, seed: int = 0, tolerance: float = 1e-6, limit: float = np.inf
) -> Magnitudes:
    """Eigenpairs of the largest |λ| on the complement of known eigenvectors.

    Args:
        matrix: symmetric (n, n).
        count: how many.
        known: orthonormal rows (m, n) that are taken out, float64.
        seed: of the first vector.
        tolerance: residual ‖Av − λv‖ of a pair relative to its |λ|; no less than eight roundings of the matrix's type.
        limit: products with one vector; what has not converged by then is lost.

    Returns:
        The pairs; all of them by n products where the matrix is hardly larger than what is asked for.
    """
    size, used = matrix.size, 0

    def project(rows: Array) -> Array:
        found: Array = rows - (rows @ known.T) @ known
        return found

    def apply(columns: Array) -> Array:
        nonlocal used
        rows = np.reshape(columns, (size, -1)).T
        used += len(rows)
        if used > limit:
            raise _Spent
        found: Array = project(applied(matrix, project(rows))).T.reshape(np.shape(columns))
        if not np.isfinite(found).all():
            raise _Spent
        return found

    krylov = max(2 * count + 1, _LEAST_KRYLOV)
    left = size - len(known)
    if left == 0:
        return Magnitudes(np.zeros(0), np.zeros((0, size)), True)
    try:
        if krylov >= left:
            dense = apply(np.eye(size))
            values, columns = np.linalg.eigh((dense + dense.T) / 2)
            return _ordered(values, columns, known, min(count, left))
        start = project(np.random.default_rng(derive(seed, "largest magnitudes")).standard_normal((1, size)))[0]
        precise = max(tolerance, 8 * torch.finfo(matrix.like.dtype).eps)
        operator = LinearOperator((size, size), matvec=apply, matmat=apply, dtype=np.float64)
        values, columns = eigsh(operator, count, which="LM", v0=start, ncv=krylov, tol=precise, maxiter=_RESTARTS)
        return _ordered(values, columns, known, count)
    except _Spent:
        return Magnitudes(np.zeros(0), np.zeros((0, size)), False)
    except ArpackNoConvergence as error:
        found = _ordered(error.eigenvalues, error.eigenvectors, known, len(error.eigenvalues))
        return Magnitudes(found.values, found.vectors, False)
    except ArpackError:  # what is left is 0: ARPACK cannot begin
        return Magnitudes(np.zeros(0), np.zeros((0, size)), True)


def _ordered(values: Array, columns: Array, known: Array, count: int) -> Magnitudes:
    """The first pairs by |λ|; eigenvectors in the span of known ones, whose eigenvalue became 0, are passed over."""
    rows = np.ascontiguousarray(columns.T)
    new = np.linalg.norm(rows @ known.T, axis=1) < 0.5 if len(known) else np.full(len(rows), True)
    order = np.argsort(-np.abs(values[new]), kind="stable")[:count]
    values, rows = values[new][order], rows[new][order]
    for _ in range(2):  # once more for what rounding left
        rows = rows - (rows @ known.T) @ known
    rows = np.linalg.qr(rows.T)[0].T if len(rows) else rows
    return Magnitudes(values, rows, True)
