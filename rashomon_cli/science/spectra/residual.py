"""How far the Gauss-Newton matrix is from the Hessian: the norm of ``R = H − G``."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from rashomon_cli.science.spectra.magnitudes import largest
from rashomon_cli.science.spectra.matrices import Matrix


class _Difference:
    """One symmetric matrix less another."""

    def __init__(self, matrix: Matrix, other: Matrix) -> None:
        self.matrix, self.other, self.like, self.matvecs = matrix, other, matrix.like, 0

    @property
    def size(self) -> int:
        return self.matrix.size

    def __call__(self, vectors: Tensor) -> Tensor:
        self.matvecs += len(vectors)
        return self.matrix(vectors) - self.other(vectors)


def residual_norm(hessian: Matrix, ggn: Matrix, *, seed: int = 0, tolerance: float = 1e-2, limit: int = 300) -> float:
    """``ρ = ‖H − G‖₂``, the largest |λ| of the residual, by Lanczos.

    Args:
        hessian: H, on the examples of G.
        ggn: G.
        seed: of the first vector.
        tolerance: residual of the eigenpair relative to it; it is added to ρ.
        limit: products of each of the two matrices.

    Returns:
        ρ; ∞ where Lanczos does not converge. It never finds too much but for the tolerance, and may, with a probability
        that falls quickly with the products, find too little.
    """
    found = largest(
        _Difference(hessian, ggn), 1, np.zeros((0, hessian.size)), seed=seed, tolerance=tolerance, limit=limit
    )
    return (1 + tolerance) * float(np.abs(found.values).max(initial=0.0)) if found.complete else math.inf
