"""The symmetric Lanczos process with full reorthogonalisation, from several starting vectors at once.

From a unit vector v, m steps give an orthonormal basis V of ``span{v, Hv, …, H^(m−1)v}`` and the tridiagonal
``T = VᵀHV``. Rounding destroys the orthogonality of V wherever an eigenvalue converges, and copies of it appear in T;
so each new vector is made orthogonal to all before it, twice, which is enough (Parlett 1998, The Symmetric Eigenvalue
Problem, section 6.9). Products are in the matrix's type, everything else is in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Array
from rashomon_cli.science.spectra.matrices import Matrix

_REORTHOGONALISATIONS = 2


def resolution(dtype: torch.dtype) -> float:
    """The error of a spectrum relative to its largest |λ| that is allowed for: 1e-6 in float32, 1e-12 in float64.

    A convention, not measured at the matrix in hand: 8 and 4,500 times the machine epsilon of the type of products, as
    one of a network's curvature is a sum over examples, many of which cancel. Worse cancellation errs by more.
    """
    return 1e-6 if dtype == torch.float32 else 1e-12


def basis_bytes(size: int, steps: int, vectors: int = 1) -> int:
    """Memory of the bases of so many starting vectors (n,) after so many steps."""
    return 8 * size * (steps + 1) * vectors


@dataclass
class Krylov:
    """Lanczos processes of k starting vectors, side by side.

    A process ends early where its subspace is invariant: T then has, up to ``resolution``, only eigenvalues of H, and
    its quadrature is exact.

    Attributes:
        alpha: diagonals of the k matrices T (k, steps); NaN beyond the steps that were taken.
        beta: what couples each step to the next (k, steps); 0 at the step that made a subspace invariant.
        basis: rows of V (k, steps + 1, n), float64; the one after the last step is where the next goes on.
        taken: steps so far.
    """

    alpha: Array
    beta: Array
    basis: Tensor
    taken: int = 0

    @classmethod
    def begin(cls, start: Tensor, steps: int) -> Krylov:
        """Room for so many steps from starting vectors (k, n).

        Args:
            start: starting vectors; their lengths do not matter.
            steps: at most; no more than n are ever taken.

        Returns:
            Processes with no step taken.

        Raises:
            ValueError: without a step, or if a starting vector is 0.
        """
        if steps < 1:
            raise ValueError(f"{steps} Lanczos steps: at least 1")
        wide = start.double()
        lengths = wide.norm(dim=1, keepdim=True)
        if not bool((lengths > 0).all()):
            raise ValueError("a starting vector of Lanczos is 0")
        count, size = start.shape
        basis = wide.new_zeros(count, steps + 1, size)
        basis[:, 0] = wide / lengths
        return cls(np.full((count, steps), np.nan), np.full((count, steps), np.nan), basis)

    @property
    def going(self) -> list[int]:
        """The processes that can take a further step."""
        if self.taken == self.alpha.shape[1]:
            return []
        if self.taken == 0:
            return list(range(len(self.alpha)))
        return [int(row) for row in np.flatnonzero(self.beta[:, self.taken - 1] > 0)]

    def step(self, matrix: Matrix, scale: float = 0.0) -> None:
        """Take one step of each process that goes on: one block product for all.

        Args:
            matrix: H.
            scale: what is known of the largest |λ| beside what T shows: a new vector that is shorter than
                ``resolution`` times the larger of the two is rounding, and the subspace invariant.
        """
        rows, here = self.going, self.taken
        images = matrix(self.basis[rows, here].to(matrix.like)).double()
        for row, image in zip(rows, images, strict=True):
            span = self.basis[row, : here + 1]
            for repetition in range(_REORTHOGONALISATIONS):
                parts = span @ image
                image = image - parts @ span
                if repetition == 0:
                    self.alpha[row, here] = float(parts[-1])
            length = float(image.norm())
            known = np.nanmax(np.abs([*self.alpha[row], *self.beta[row], scale]))
            invariant = length <= resolution(matrix.like.dtype) * known or here + 1 == image.numel()
            self.beta[row, here] = 0.0 if invariant else length
            if not invariant:
                self.basis[row, here + 1] = image / length
        self.taken += 1


def lanczos(matrix: Matrix, start: Tensor, steps: int, *, scale: float = 0.0) -> Krylov:
    """The Lanczos process from each of some starting vectors.

    Args:
        matrix: H, symmetric (n, n).
        start: starting vectors (k, n).
        steps: at most; fewer where a subspace is invariant before.
        scale: what is known of the largest |λ|; see :meth:`Krylov.step`.

    Returns:
        The matrices T and their bases; k·(steps + 1)·n doubles.

    Raises:
        ValueError: without a step, or if a starting vector is 0.
    """
    krylov = Krylov.begin(start, steps)
    while krylov.going:
        krylov.step(matrix, scale)
    return krylov
