"""Gradients and Hessian-vector products of the mean loss, batch by batch, exact by double backward (Pearlmutter 1994).

BatchNorm is frozen at the point's statistics (eval mode). The mean over images does not depend on how they are batched.
The products are those of :mod:`~rashomon_cli.science.spectra.graphs`; what needs no gradient beside them takes the
matrix itself, :class:`~rashomon_cli.science.spectra.curvatures.Curvature`, which keeps graphs from call to call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import Tensor

from rashomon_cli.core.results import Array
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.graphs import Frozen, HessianGraph


@dataclass(frozen=True)
class BatchProducts:
    """Products of one batch.

    Attributes:
        count: examples in the batch.
        gradient: of the batch's mean loss (P,).
        products: Hessian of the batch's mean loss times each vector (k, P).
    """

    count: int
    gradient: Tensor
    products: Tensor


def products(
    problem: Problem, point: Point, vectors: Tensor, batches: Batches, tick: Tick = silent
) -> Iterator[BatchProducts]:
    """Gradient and Hessian-vector products of every batch: one retained graph a batch, the vectors inside.

    Args:
        problem: the model and loss.
        point: where; its buffers are used as they are.
        vectors: (k, P); k = 0 gives gradients only.
        batches: the examples.
        tick: called after each batch.

    Yields:
        The products of each batch.

    Raises:
        Refused: if the model has an operation that torch cannot differentiate twice.
    """
    frozen = Frozen(problem, point)
    for x, y in batches:
        yield _of_batch(frozen, x, y, vectors, tick)


def _of_batch(frozen: Frozen, x: Tensor, y: Tensor, vectors: Tensor, tick: Tick) -> BatchProducts:
    """A batch's products; its graph is gone at the end."""
    graph = HessianGraph(frozen, x, y, twice=len(vectors) > 0)
    found = BatchProducts(graph.count, graph.gradient, graph.products(vectors))
    tick(graph.loss)
    return found


def mean_product(
    problem: Problem, point: Point, vectors: Tensor, batches: Batches, tick: Tick = silent
) -> tuple[Tensor, Tensor]:
    """Hessian of the mean loss over all batches times each vector, and the gradient.

    Returns:
        Products (k, P) and gradient (P,).
    """
    total, gradient = (torch.zeros_like(like, dtype=torch.float64) for like in (vectors, point.theta))
    for batch in products(problem, point, vectors, batches, tick):
        total.add_(batch.products, alpha=batch.count / batches.count)
        gradient.add_(batch.gradient, alpha=batch.count / batches.count)
    return total.to(vectors), gradient.to(point.theta)


def largest_eigenvalue(
    problem: Problem, point: Point, batches: Batches, seed: int = 0, tolerance: float = 1e-3, tick: Tick = silent
) -> tuple[float, float, int]:
    """λ_max of the Hessian by implicitly restarted Lanczos (ARPACK).

    Args:
        problem: the model and loss.
        point: where.
        batches: the examples.
        seed: of the starting vector.
        tolerance: relative accuracy of the eigenvalue.
        tick: called after each batch of each product.

    Returns:
        The eigenvalue, the residual ``‖Hv − λv‖`` and the number of products; NaN where it does not converge.
    """
    size = point.theta.numel()
    hessian = Curvature(problem, point, batches, tick=tick)

    def apply(vector: Array) -> Array:
        found: Array = hessian(torch.from_numpy(np.asarray(vector).reshape(1, -1)))[0].double().cpu().numpy()
        return found

    if size < 3:
        matrix = np.stack([apply(row) for row in np.eye(size)])
        return float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1]), 0.0, hessian.matvecs
    start = np.random.default_rng(derive(seed, "eigsh")).standard_normal(size)
    operator = LinearOperator((size, size), matvec=apply, dtype=np.float64)
    krylov = min(size - 1, 12)
    try:
        values, vectors = eigsh(operator, k=1, which="LA", v0=start, tol=tolerance, ncv=krylov, maxiter=30)
    except ArpackError:
        return float("nan"), float("nan"), hessian.matvecs
    residual = float(np.linalg.norm(apply(vectors[:, 0]) - values[0] * vectors[:, 0]))
    return float(values[0]), residual, hessian.matvecs
