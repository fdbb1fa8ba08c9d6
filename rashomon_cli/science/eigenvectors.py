"""Eigenvectors of the Hessian's largest eigenvalues without the Hessian, and what is left of vectors without them."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from rashomon_cli.core.results import Array
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.products import mean_product

_VANISHED = 1e-6


def without(vectors: Tensor, removed: Tensor) -> Tensor:
    """Vectors (k, P) less their parts in the span of others (m, P), at length 1; what vanishes is 0."""
    if len(removed) == 0:
        return vectors
    basis, sizes = torch.linalg.qr(removed.double().T)
    basis = basis[:, sizes.diagonal().abs() > _VANISHED]
    wide = vectors.double()
    wide = wide / wide.norm(dim=1, keepdim=True).clamp_min(1e-300)
    for _ in range(2):  # once more for what rounding left
        wide = wide - (wide @ basis) @ basis.T
    lengths = wide.norm(dim=1, keepdim=True)
    return torch.where(lengths > _VANISHED, wide / lengths.clamp_min(1e-300), 0.0).to(vectors)


def leading_eigenvectors(
    problem: Problem, point: Point, batches: Batches, count: int, seed: int = 0, tick: Tick = silent
) -> tuple[Array, Tensor]:
    """Eigenvectors of the largest |λ| of the Hessian by implicitly restarted Lanczos (ARPACK), without the Hessian.

    Args:
        problem: the model and loss.
        point: where; BatchNorm frozen.
        batches: the examples.
        count: how many.
        seed: of the starting vector.
        tick: called after each batch of each product.

    Returns:
        Eigenvalues (m,) and eigenvectors (m, P), those that converged and are not 0: m ≤ ``count``.
    """
    size = point.theta.numel()

    def apply(columns: Array) -> Array:
        rows = torch.from_numpy(np.asarray(columns).reshape(size, -1).T.copy()).to(point.theta)
        found: Array = mean_product(problem, point, rows, batches, tick)[0].double().cpu().numpy().T
        return found.reshape(np.shape(columns))

    if size <= 2 * count + 1:
        matrix = apply(np.eye(size))
        values, columns = np.linalg.eigh((matrix + matrix.T) / 2)
        order = np.argsort(-np.abs(values))[:count]
        values, columns = values[order], columns[:, order]
    else:
        start = np.random.default_rng(derive(seed, "eigsh")).standard_normal(size)
        operator = LinearOperator((size, size), matvec=apply, dtype=np.float64)
        try:
            values, columns = eigsh(operator, k=count, which="LM", v0=start, tol=1e-2, maxiter=10)
        except ArpackNoConvergence as error:
            values, columns = error.eigenvalues, error.eigenvectors
        except ArpackError:  # a Hessian that is 0
            values, columns = np.zeros(0), np.zeros((size, 0))
    kept = np.abs(values) > _VANISHED * np.abs(values).max(initial=0.0)
    return values[kept], torch.from_numpy(np.ascontiguousarray(columns[:, kept].T)).to(point.theta)
