"""Near-null vectors of a symmetric matrix H: random vectors z through a polynomial filter, ``p(H)z``.

p is the Chebyshev series of the step that is 1 on [−τ, τ] and 0 elsewhere, damped by Jackson's factors, so that it
stays within [0, 1] (Di Napoli, Polizzi, Saad 2016, Numerical Linear Algebra with Applications 23, section 3; Weiße et
al. 2006, Reviews of Modern Physics 78, section II.C). Degree m on an interval of half-width h blurs the step by about
``πh/m``: exact large eigenpairs that are taken out first make h small. Lanczos and eigensolvers find eigenvalues near
0 last; the filter does not care that there are thousands of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from rashomon_cli.core.results import Array
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.spectra.deflation import Complement
from rashomon_cli.science.spectra.lanczos import lanczos
from rashomon_cli.science.spectra.matrices import Matrix

LANCZOS_STEPS = 24
_MARGIN = 0.02
_WIDER, _TRIES = 1.25, 6
_GROWN = 1.1  # |T_k| ≤ 1 within the interval; the rest is rounding


@dataclass(frozen=True)
class NearNull:
    """Unit vectors that H almost takes to 0, the smallest ‖Hv‖ first.

    Attributes:
        vectors: orthonormal rows (k, n), in the matrix's type.
        quotients: Rayleigh quotients θ = vᵀHv (k,).
        residuals: ``‖Hv − θv‖`` (k,): there is an eigenvalue within so much of θ. In float32 not below about
            1e-6 of the largest |λ|.
        low: lower end of the interval that the filter was made for: the spectrum of H without what was taken out.
        high: upper end.
        blur: about how far beyond τ the filter lets eigenvectors pass, ``πh/m``.
        matvecs: products with one vector that were spent.
    """

    vectors: Tensor
    quotients: Array
    residuals: Array
    low: float
    high: float
    blur: float
    matvecs: int


def near_null(
    matrix: Matrix, count: int, tau: float, *, degree: int = 100, known: Tensor | None = None, seed: int = 0
) -> NearNull:
    """Filter random vectors, then take from their span those with the smallest ‖Hv‖.

    Where H has many more eigenvalues within τ than ``count``, the span is close to that of ``count`` random vectors of
    their space, so that means over the vectors of ``‖Πv‖²`` estimate the share of a subspace in its dimension. From the
    span singular vectors of H are taken, not Ritz vectors: of an indefinite matrix a Ritz value near 0 may belong to a
    vector on which curvatures of both signs cancel, and mix with one that is null (Jia 1997, refined Ritz vectors,
    Linear Algebra and its Applications 259). Where there are fewer near-null vectors than asked for, the last of these
    are none, as their residuals say.

    Args:
        matrix: H.
        count: how many vectors.
        tau: |λ| that counts as 0, > 0.
        degree: of the polynomial.
        known: vectors (m, n) to keep away from: eigenvectors of the largest |λ|.
        seed: of the random vectors; the same at every point of a path.

    Returns:
        The vectors, orthogonal to those known. Their cost is ``count · (degree + 1) + 24 + m`` products, more only
        where Lanczos had underestimated the interval.

    Raises:
        ValueError: if tau, count or degree is not positive, there are fewer than ``count`` dimensions left, or the
            products are not those of a symmetric matrix.
    """
    if not tau > 0 or count < 1 or degree < 1:
        raise ValueError(f"tau {tau}, {count} vectors, degree {degree}: all must be positive")
    rest = Complement(matrix, known)
    if count > rest.dimension:
        raise ValueError(f"{count} near-null vectors in {rest.dimension} dimensions")
    chooser = torch.Generator().manual_seed(derive(seed, "near-null directions"))
    drawn = torch.randn(count + 1, matrix.size, generator=chooser, dtype=torch.float64).to(matrix.like.device)
    start = rest.project(drawn)
    low, high = bounds(rest, start[:1])
    for _ in range(_TRIES):
        low, high = min(low, -tau), max(high, tau)
        passed = _filtered(rest, start[1:], tau, degree, low, high)
        if passed is not None:
            break
        middle, half = (low + high) / 2, _WIDER * (high - low) / 2
        low, high = middle - half, middle + half
    else:
        raise ValueError("no interval holds the spectrum: the products are not finite, or not of a symmetric matrix")
    basis = torch.linalg.qr(rest.project(passed).T)[0].T
    images = matrix(basis.to(matrix.like)).double()
    turn, sizes, _ = torch.linalg.svd(images, full_matrices=False)
    order = sizes.argsort()
    vectors, images = (turn.T[order] @ rows for rows in (basis, images))
    quotients = (vectors * images).sum(1)
    residuals = (images - quotients[:, None] * vectors).norm(dim=1)
    return NearNull(
        vectors.to(matrix.like),
        quotients.cpu().numpy(),
        residuals.cpu().numpy(),
        low,
        high,
        math.pi * (high - low) / 2 / degree,
        rest.matvecs + count,
    )


def bounds(matrix: Matrix, start: Tensor, steps: int = LANCZOS_STEPS) -> tuple[float, float]:
    """An interval that holds the spectrum, or nearly: from a few Lanczos steps.

    Args:
        matrix: H.
        start: starting vector (1, n).
        steps: of Lanczos.

    Returns:
        The extreme Ritz values moved outwards by their residuals (Zhou, Li 2011, Linear Algebra and its Applications
        435), and by 2 % of the width where they are not exact.
    """
    found = lanczos(matrix, start, steps)
    alpha, beta = found.alpha[0, : found.taken], found.beta[0, : found.taken]
    values, vectors = eigh_tridiagonal(alpha, beta[:-1])
    errors = beta[-1] * np.abs(vectors[-1])
    margin = _MARGIN * (values[-1] - values[0]) if beta[-1] > 0 else 0.0
    return float(values[0] - errors[0] - margin), float(values[-1] + errors[-1] + margin)


def step_coefficients(low: float, high: float, degree: int) -> Array:
    """Chebyshev coefficients (degree + 1,) of the step that is 1 on [low, high] in [−1, 1], with Jackson's factors."""
    order, corner = np.arange(1, degree + 1), math.pi / (degree + 2)
    left, right = math.acos(max(low, -1.0)), math.acos(min(high, 1.0))
    step = 2 / math.pi * (np.sin(order * left) - np.sin(order * right)) / order
    jackson = (1 - order / (degree + 2)) * np.cos(order * corner)
    jackson += np.sin(order * corner) / math.tan(corner) / (degree + 2)
    return np.concatenate([[(left - right) / math.pi], step * jackson])


def _filtered(matrix: Matrix, start: Tensor, tau: float, degree: int, low: float, high: float) -> Tensor | None:
    """p(H) times each starting vector (k, n), float64, p(0) near 1; None where growth shows an eigenvalue outside.

    ``T_{j+1}(x) = 2xT_j(x) − T_{j−1}(x)`` with H moved and scaled so that [low, high] becomes [−1, 1].
    """
    middle, half = (low + high) / 2, (high - low) / 2
    coefficients = step_coefficients((-tau - middle) / half, (tau - middle) / half, degree)
    coefficients = coefficients / np.polynomial.chebyshev.chebval(-middle / half, coefficients)

    def scaled(vectors: Tensor) -> Tensor:
        return (matrix(vectors.to(matrix.like)).double() - middle * vectors) / half

    lengths = start.norm(dim=1)
    before, now = start, scaled(start)
    total: Tensor = coefficients[0] * before + coefficients[1] * now
    for coefficient in coefficients[2:]:
        before, now = now, 2 * scaled(now) - before
        if not bool((now.norm(dim=1) <= _GROWN * lengths).all()):
            return None
        total = total + coefficient * now
    return total
