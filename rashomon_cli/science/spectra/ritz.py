"""Krylov spaces whose products are kept, and the best eigenpairs in them (Rayleigh-Ritz).

ARPACK (Lehoucq, Sorensen, Yang 1998) chooses the vectors, each orthogonal to all before. What it asks to be multiplied
is kept with its product. So both ends of a spectrum come from one run, residuals ``‖Av − λv‖`` cost no product, pairs
that have not converged are there as well, and a longer run takes over the products of a shorter one.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from rashomon_cli.core.results import Array
from rashomon_cli.science.spectra.matrices import Matrix

_SAME = 1e-4  # between a unit vector and what rounding to float32 made of it; others are about √2 apart
_NO_RESTART = 1e100  # a tolerance that one pass meets
_DEPENDENT = 1e-4
_CHUNK = 1 << 14
_SEEDED = {"rng": 0} if "rng" in inspect.signature(eigsh).parameters else {}
"""For the vectors that ARPACK draws itself where a space is invariant."""


class Spent(Exception):
    """No more products, or one that is not finite."""


class Products:
    """The products of a matrix with single vectors, up to a limit.

    Args:
        matrix: symmetric (n, n).
        limit: how many.
    """

    def __init__(self, matrix: Matrix, limit: int) -> None:
        self.matrix = matrix
        self.left = limit

    def __call__(self, rows: Array) -> tuple[Array, Array]:
        """Rows (k, n) as they are rounded to the matrix's type, and their products (k, n), both of that type.

        Raises:
            Spent: if that is more than is left, or if a product is not finite.
        """
        if len(rows) > self.left:
            raise Spent
        self.left -= len(rows)
        given = torch.from_numpy(np.array(rows)).to(self.matrix.like)  # a copy: ARPACK reuses its memory
        images: Array = self.matrix(given).cpu().numpy()
        if not np.isfinite(images).all():
            raise Spent
        return given.cpu().numpy(), images


class Run:
    """Lanczos from one start, by ARPACK; it can go on.

    Args:
        products: of the matrix.
        start: first vector (n,).

    Attributes:
        rows: vectors (n,) that were multiplied.
        images: their products.
    """

    def __init__(self, products: Products, start: Array) -> None:
        self.products = products
        self.start = start / np.linalg.norm(start)
        self.steps = 0
        self.rows: list[Array] = []
        self.images: list[Array] = []

    @property
    def open(self) -> bool:
        """Whether it can go on: it took all its steps, and fewer than n."""
        return self.steps < min(len(self.rows), len(self.start))

    def go_on(self, steps: int) -> None:
        """Go on to so many vectors, from 2 to n, besides the first.

        Raises:
            Spent: if the products do not suffice, or are not finite; those before are kept.
        """
        self.steps, size, asked = steps, len(self.start), 0

        def apply(column: Array) -> Array:
            nonlocal asked
            vector = np.reshape(column, size)
            if asked < len(self.rows) and np.linalg.norm(self.rows[asked] - vector) > _SAME:
                del self.rows[asked:], self.images[asked:]
            if asked == len(self.rows):
                row, image = self.products(vector[None])
                self.rows.append(row[0])
                self.images.append(image[0])
            asked += 1
            return self.images[asked - 1].astype(np.float64)

        operator = LinearOperator((size, size), matvec=apply, dtype=np.float64)
        with suppress(ArpackError):  # the product with the start is 0
            eigsh(operator, 1, which="LA", v0=self.start, ncv=steps, tol=_NO_RESTART, **_SEEDED)


@dataclass(frozen=True)
class Ritz:
    """Ritz pairs of the space that m vectors span, by increasing value.

    Attributes:
        values: θ (d,), d ≤ m.
        residuals: ``‖Av − θv‖`` of each (d,), right to 1e-8 of the largest |λ|.
        mixes: the Ritz vectors as combinations of the m (m, d).
        rows: the m vectors.
        images: their products.
    """

    values: Array
    residuals: Array
    mixes: Array
    rows: Sequence[Array]
    images: Sequence[Array]

    def vectors(self, chosen: Array) -> Array:
        """Orthonormal rows (k, n), float64, of chosen pairs (k,)."""
        return _mixed(self.mixes[:, chosen], self.rows)

    def exact_residuals(self, chosen: Array, vectors: Array) -> Array:
        """Residuals (k,) of chosen pairs (k,) with their vectors (k, n), right to rounding."""
        images = (_mixed(self.mixes[:, [place]], self.images)[0] for place in chosen)
        gaps = (image - value * v for image, value, v in zip(images, self.values[chosen], vectors, strict=True))
        return np.array([np.linalg.norm(gap) for gap in gaps])


def ritz(rows: Sequence[Array], images: Sequence[Array]) -> Ritz:
    """The Ritz pairs of the space that vectors span.

    Only inner products are formed, in float64, so that no copy of the vectors is made. A direction that they hold to
    less than 1 % is left out: it would add rounding.

    Args:
        rows: m vectors (n,) of about length 1.
        images: their products with the matrix.

    Returns:
        The pairs.
    """
    gram, small, square = np.zeros((3, len(rows), len(rows)))
    for begin in range(0, len(rows[0]), _CHUNK):
        part, image = (np.stack([v[begin : begin + _CHUNK] for v in vs]).astype(np.float64) for vs in (rows, images))
        gram += part @ part.T
        small += part @ image.T
        square += image @ image.T
    small = (small + small.T) / 2
    sizes, turns = np.linalg.eigh(gram)
    basis = turns[:, sizes > _DEPENDENT] / np.sqrt(sizes[sizes > _DEPENDENT])
    values, mixes = np.linalg.eigh(basis.T @ small @ basis)
    mixes = basis @ mixes
    squares = ((square @ mixes - 2 * values * (small @ mixes)) * mixes).sum(0) + values**2
    return Ritz(values, np.sqrt(np.maximum(squares, 0.0)), mixes, rows, images)


def _mixed(mixes: Array, vectors: Sequence[Array]) -> Array:
    """Combinations (k, n), float64, of m vectors (n,) by their coefficients (m, k)."""
    found = np.zeros((mixes.shape[1], len(vectors[0])))
    for mix, vector in zip(mixes, vectors, strict=True):
        for row, factor in zip(found, mix, strict=True):  # one at a time: n is large
            row += factor * vector
    return found
