"""Square roots of the loss's curvature in a network's outputs, example by example.

The generalised Gauss-Newton matrix of n examples is ``(1/n) Σ JᵢᵀHᵢJᵢ`` with Hᵢ the Hessian of an example's loss in its
outputs (Schraudolph 2002). With ``Hᵢ = LᵢLᵢᵀ`` it is ``AᵀA`` of rows ``LᵢᵀJᵢ/√n``. The empirical Fisher matrix has the
same form, with the gradient of the loss at the example's own label in the place of Lᵢ: it is another matrix than the
Fisher matrix, which for softmax cross-entropy is the Gauss-Newton matrix (Kunstner et al. 2019, arXiv 1905.12558;
Martens 2020, arXiv 1412.1193).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.problem import Loss, cross_entropy

Kind = Literal["ggn", "fisher"]

_ROUNDING = 1e-10  # of the largest eigenvalue of an output Hessian: what is below counts as 0
_OTHERS = "count by quadrature, which takes any loss"


@dataclass(frozen=True)
class Factors:
    """Square roots of output Hessians.

    Attributes:
        columns: L of each example (B, K, R) with ``L Lᵀ = H``, K outputs, float64.
        rank: of all of them together, Σ rank L.
    """

    columns: Tensor
    rank: int


def factors(loss: Loss, outputs: Tensor, targets: Tensor, kind: Kind = "ggn") -> Factors:
    """Square roots of the curvature of each example's loss in its outputs.

    Args:
        loss: (outputs, targets) → loss of each example.
        outputs: (B, …); an example's outputs are taken together.
        targets: as the loss takes them.
        kind: ``ggn``, or ``fisher`` for the gradient at the example's label.

    Returns:
        For softmax cross-entropy ``L = diag(√p) − p√pᵀ`` with ``LLᵀ = diag(p) − ppᵀ``, of rank C − 1; for any other
        loss the symmetric root of its Hessian.

    Raises:
        Refused: if an output Hessian has a negative eigenvalue: the loss is not convex in the outputs.
    """
    outputs = outputs.detach().double()
    targets = targets.double() if targets.is_floating_point() else targets
    if kind == "fisher":
        gradient = _gradient(loss, outputs.requires_grad_(), targets)
        return Factors(gradient.detach().flatten(1)[:, :, None], len(outputs))
    if loss is cross_entropy and outputs.ndim == 2:
        p = outputs.softmax(1)
        roots = p.sqrt()
        columns = torch.diag_embed(roots) - p[:, :, None] * roots[:, None, :]
        return Factors(columns, len(outputs) * (outputs.shape[1] - 1))
    return _roots(_hessians(loss, outputs, targets))


def _gradient(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """Gradient of each example's loss in its own outputs, which can be differentiated again."""
    (gradient,) = torch.autograd.grad(loss(outputs, targets).sum(), outputs, create_graph=True)
    return gradient


def _hessians(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """Hessian of each example's loss in its outputs (B, K, K), a row of all examples at a time."""
    gradient = _gradient(loss, outputs.requires_grad_(), targets).flatten(1)
    count, size = gradient.shape
    if not gradient.requires_grad:  # a loss that is linear in the outputs
        return gradient.new_zeros(count, size, size)
    rows = [
        torch.autograd.grad(gradient[:, k].sum(), outputs, retain_graph=True, materialize_grads=True)[0].flatten(1)
        for k in range(size)
    ]
    return torch.stack(rows, 1).detach()


def _roots(hessians: Tensor) -> Factors:
    """Symmetric square roots.

    Raises:
        Refused: if an eigenvalue is negative.
    """
    values, vectors = torch.linalg.eigh((hessians + hessians.mT) / 2)
    largest = float(values.abs().max()) if values.numel() else 0.0
    least = float(values.min()) if values.numel() else 0.0
    if least < -_ROUNDING * largest:
        words = f"the loss is not convex in the outputs: its Hessian in them has the eigenvalue {least:.3g}"
        raise Refused(f"{words}, so no Gauss-Newton matrix of it is a Gram matrix", _OTHERS)
    columns = vectors * values.clamp_min(0.0).sqrt()[:, None, :] @ vectors.mT
    return Factors(columns, int((values > _ROUNDING * largest).sum()))
