"""The whole spectrum of a Gauss-Newton or empirical Fisher matrix from the smaller of its two Gram matrices.

``AᵀA`` (P, P) and ``AAᵀ`` (n·R, n·R) have the same eigenvalues but for zeros (SCIENCE.md, "Curvature"). A comes in
blocks of rows and is never held whole where it does not fit; sums are in float64. On n examples the rank is at most
Σ rank L, n(C − 1) for softmax cross-entropy: where this is below P, the rest of the eigenvalues are 0 by construction.

The Hessian H differs from the Gauss-Newton matrix G by ``R = H − G``, and Weyl's inequality bounds each eigenvalue's
change by ``ρ = ‖R‖₂``: H has between N_G(τ − ρ) and N_G(τ + ρ) eigenvalues within τ of 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import Array
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.spectra.dimensions import Count
from rashomon_cli.science.spectra.gram_matrix import MEMORY, gram
from rashomon_cli.science.spectra.output_factors import Kind
from rashomon_cli.science.spectra.weighted_jacobian import WeightedJacobian

_PRODUCTS = 10.0  # rounding of a row of A, in units of its type's precision


@dataclass(frozen=True)
class Spectrum:
    """The eigenvalues of AᵀA.

    Attributes:
        values: those of the smaller Gram matrix, increasing, none below 0 (m,); in the loss's unit.
        size: P, the number of eigenvalues; P − m more are 0.
        rank_bound: Σ rank L over the examples; n(C − 1) for softmax cross-entropy.
        errors: how far rounding may have moved each of ``values`` (m,).
        shift: what is added to every eigenvalue, such as weight decay.
        passes: how often the data were gone through.
    """

    values: Array
    size: int
    rank_bound: int
    errors: Array
    shift: float = 0.0
    passes: int = 1

    @property
    def zeros(self) -> int:
        """Eigenvalues that are 0 since there are fewer rows than parameters."""
        return self.size - len(self.values)

    def count(self, taus: Array, residual: float = 0.0) -> Count:
        """The number of eigenvalues with |λ| ≤ τ.

        Args:
            taus: tolerances, increasing (m,).
            residual: ρ = ‖M − G‖₂, if the count is to be one of another matrix M, such as the Hessian.

        Returns:
            The count of G itself, and an interval for that of M: rounding and ρ are in it. Where ρ is not finite it is
            [0, P].
        """
        taus = np.asarray(taus, dtype=np.float64)
        if not math.isfinite(residual):
            return Count(taus, self._within(taus, 0), np.zeros_like(taus), np.full_like(taus, self.size), "gram")
        low, high = self._within(taus - residual, 1), self._within(taus + residual, -1)
        return Count(taus, self._within(taus, 0), low, high, "gram")

    def _within(self, taus: Array, side: int) -> Array:
        """How many eigenvalues are within each τ of 0, each moved by its error to one side."""
        sizes = np.sort(np.abs(self.values + self.shift) + side * self.errors)
        zeros = np.where(abs(self.shift) <= taus, self.zeros, 0)
        found: Array = (np.searchsorted(sizes, taus, side="right") + zeros).astype(np.float64)
        return found


def spectrum(
    problem: Problem,
    point: Point,
    batches: Batches,
    *,
    kind: Kind = "ggn",
    chosen: Tensor | None = None,
    shift: float = 0.0,
    memory: int = MEMORY,
    tick: Tick = silent,
) -> Spectrum:
    """All eigenvalues of the Gauss-Newton or of the empirical Fisher matrix.

    Args:
        problem: the model and loss.
        point: where; BatchNorm frozen.
        batches: the n examples.
        kind: ``ggn`` or ``fisher``.
        chosen: a mask or index of parameters, for a principal block; None takes all.
        shift: weight decay, for the spectrum of ``G + wd·I``.
        memory: bytes for the Gram matrix and rows beside it; where A does not fit into what is left, the data are gone
            through more than once (:func:`passes`).
        tick: called after each block of rows.

    Returns:
        The spectrum.

    Raises:
        Refused: if the smaller Gram matrix does not fit into the memory or is not finite, the loss is not convex in the
            outputs, or an example's outputs depend on the others of its batch.
    """
    matrix = WeightedJacobian(problem, point, batches, kind, chosen, tick)
    found = gram(matrix, memory)
    values = np.maximum(eigenvalues(found.matrix), 0.0)
    errors = _errors(values, torch.finfo(point.theta.dtype).eps)
    return Spectrum(values, matrix.size, found.rank_bound, errors, shift, found.passes)


def eigenvalues(matrix: Tensor) -> Array:
    """All eigenvalues of a Gram matrix; on the CPU its own memory is all that it takes, and the matrix is lost.

    Args:
        matrix: the lower triangle (m, m), float64.

    Returns:
        Eigenvalues, increasing (m,).

    Raises:
        Refused: if it is not finite.
    """
    if not bool(matrix.diagonal().isfinite().all()):  # squared lengths of all that it is made of
        raise Refused("the derivatives of the model's outputs are not finite", "see where the loss is: --what loss")
    if matrix.is_cuda:
        return np.asarray(torch.linalg.eigvalsh(matrix).cpu().numpy())
    # The transpose lies in memory as LAPACK wants it: any other would be copied.
    own = matrix.numpy().T
    return np.asarray(scipy.linalg.eigvalsh(own, lower=False, overwrite_a=True, check_finite=False))


def _errors(values: Array, precision: float) -> Array:
    """How far rounding may move eigenvalues: that of A moves each √λ by ``‖E‖ ≲ 10 u ‖A‖_F``, the solver is in float64.

    Small eigenvalues are so known far better than by products of the matrix itself, whose error is about u·λ_max.
    """
    rounding = _PRODUCTS * precision * math.sqrt(float(values.sum()))
    solved = np.finfo(np.float64).eps * math.sqrt(len(values)) * float(values.max(initial=0.0))
    found: Array = 2 * np.sqrt(values) * rounding + rounding**2 + solved
    return found
