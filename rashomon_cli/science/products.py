"""Gradients and Hessian-vector products of the mean loss, batch by batch, exact by double backward (Pearlmutter 1994).

BatchNorm is frozen at the point's statistics (eval mode). The mean over images does not depend on how they are batched.
Attention is computed by plain matrix products: its fused kernels have no second derivatives.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import Array
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent


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
    problem.module.eval()
    for x, y in batches:
        theta = point.theta.detach().clone().requires_grad_()
        with sdpa_kernel(SDPBackend.MATH):
            loss = problem.mean_loss(theta, point.buffers, x, y)
        (gradient,) = torch.autograd.grad(loss, theta, create_graph=len(vectors) > 0)
        found = torch.zeros_like(vectors)
        if gradient.requires_grad:
            for row, vector in enumerate(vectors):
                found[row] = _derivative(gradient @ vector, theta, more=row < len(vectors) - 1)
        yield BatchProducts(len(x), gradient.detach(), found)
        tick(float(loss.detach()))


def _derivative(slope: Tensor, theta: Tensor, more: bool) -> Tensor:
    """Gradient of a gradient's projection.

    Raises:
        Refused: if torch cannot differentiate the gradient.
        RuntimeError: if it fails for another reason.
    """
    try:
        (found,) = torch.autograd.grad(slope, theta, retain_graph=more)
    except RuntimeError as error:
        lacking = re.search(r"derivative for (?:aten::)?(\w+?)(?:_backward)? is not implemented", str(error))
        if lacking is None:
            raise
        reason = f"torch has no second derivative of {lacking[1]}, which the model uses"
        raise Refused(reason, "measure without hvp: --what loss,gradient,distance") from None
    return found


def mean_product(
    problem: Problem, point: Point, vectors: Tensor, batches: Batches, tick: Tick = silent
) -> tuple[Tensor, Tensor]:
    """Hessian of the mean loss over all batches times each vector, and the gradient.

    Returns:
        Products (k, P) and gradient (P,).
    """
    total, gradient = torch.zeros_like(vectors), torch.zeros_like(point.theta)
    for batch in products(problem, point, vectors, batches, tick):
        total += batch.products * (batch.count / batches.count)
        gradient += batch.gradient * (batch.count / batches.count)
    return total, gradient


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
    used = 0

    def apply(vector: Array) -> Array:
        nonlocal used
        used += 1
        v = torch.from_numpy(np.asarray(vector).reshape(1, -1)).to(point.theta)
        found: Array = mean_product(problem, point, v, batches, tick)[0][0].double().cpu().numpy()
        return found

    if size < 3:
        matrix = np.stack([apply(row) for row in np.eye(size)])
        return float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1]), 0.0, used
    start = np.random.default_rng(derive(seed, "eigsh")).standard_normal(size)
    operator = LinearOperator((size, size), matvec=apply, dtype=np.float64)
    krylov = min(size - 1, 12)
    try:
        values, vectors = eigsh(operator, k=1, which="LA", v0=start, tol=tolerance, ncv=krylov, maxiter=30)
    except ArpackError:
        return float("nan"), float("nan"), used
    residual = float(np.linalg.norm(apply(vectors[:, 0]) - values[0] * vectors[:, 0]))
    return float(values[0]), residual, used
