"""Eigenpairs at the ends of a spectrum: few products for both ends, and a residual for every pair.

An eigenvalue of a symmetric matrix lies within the residual ``‖Av − λv‖`` of λ, and where it stands alone within the
square of that over the gap (Parlett 1998, theorems 4.5.1 and 11.7.1). That nothing was missed a residual does not tell:
Lanczos sees one copy of an eigenvalue that is repeated, and may pass over one of several that lie close. So a second
start, off the vectors found, looks for more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, from_numpy

from rashomon_cli.core.results import Array, Result, Variable, scalar
from rashomon_cli.science.spectra.matrices import Matrix
from rashomon_cli.science.spectra.ritz import Ritz, Spent
from rashomon_cli.science.spectra.search import End, attainable, least_products, search, wanted
from rashomon_cli.science.spectra.subspaces import share

TOLERANCE = 0.05
LIMIT = 150


@dataclass(frozen=True)
class Pairs:
    """Eigenpairs of one end, the outermost first.

    Attributes:
        values: λ (k,).
        vectors: orthonormal rows (k, n) of the matrix's type; of each the entry of the largest size is positive.
        residuals: ``‖Av − λv‖`` (k,).
        converged: whether the residual is at most ``tolerance · |λ|``, rounding aside (k,). A search ends at
            ``tolerance · (|λ| + max|λ| / 50)``: of eigenvalues near 0 it may leave some that have not.
    """

    values: Array
    vectors: Tensor
    residuals: Array
    converged: Array


@dataclass(frozen=True)
class Extremes:
    """Both ends of a spectrum.

    Attributes:
        top: pairs of the largest eigenvalues, decreasing.
        bottom: pairs of the smallest, increasing; only those below 0 are directions of negative curvature.
        matvecs: products with one vector that were spent.
    """

    top: Pairs
    bottom: Pairs
    matvecs: int

    def result(self, directions: Mapping[str, Tensor] | None = None) -> Result:
        """What is published.

        Args:
            directions: vectors (n,) by name, such as a path's tangent.

        Returns:
            Eigenvalues, their residuals, how many converged, and ``top_share_<name>``, the share of each direction's
            squared length in the top subspace; eigenvectors as tensors ``vectors_top`` and ``vectors_bottom``.
        """
        found = {"matvecs": Variable((), np.asarray(self.matvecs), "1", "products of the matrix with one vector")}
        tensors = {}
        for end, size, pairs in (("top", "largest", self.top), ("bottom", "smallest", self.bottom)):
            if len(pairs.values):
                words = f"{size} eigenvalues"
                found[f"eigenvalues_{end}"] = Variable((end,), pairs.values, "nat", words)
                found[f"residuals_{end}"] = Variable((end,), pairs.residuals, "nat", f"residuals of the {words}")
                converged = np.asarray(int(pairs.converged.sum()))
                found[f"converged_{end}"] = Variable((), converged, "1", f"how many of the {words} converged")
                tensors[f"vectors_{end}"] = pairs.vectors.cpu().numpy()
        for name, direction in (directions or {}).items() if len(self.top.values) else ():
            inside = share(direction, self.top.vectors)
            found[f"top_share_{name}"] = scalar(inside, "1", f"share of the {name} direction in the top subspace")
        return Result(found, tensors)


def extreme(
    matrix: Matrix,
    top: int,
    bottom: int,
    *,
    tolerance: float = TOLERANCE,
    check: bool = True,
    limit: int | None = None,
    seed: int = 0,
) -> Extremes:
    """The largest eigenpairs and the smallest ones.

    One Krylov space serves both ends, and grows until all that is wanted has converged in it. A network's smallest
    eigenvalues lie close to its bulk and converge more slowly than the largest: their residuals say how well.

    Args:
        matrix: symmetric (n, n).
        top: how many of the largest eigenvalues, all where there are no more.
        bottom: how many of the smallest (most negative).
        tolerance: residual up to which a pair counts as converged, relative to ``|λ| + max|λ| / 50``; at least 2.4e-4
            for a float32 matrix, whose products are no more precise.
        check: whether to look for what was missed, in ten products or more.
        limit: products with one vector; as many as :func:`products` says without a check are the least. None allows
            :data:`LIMIT`, or as many as the pairs need where that is more.
        seed: of the first vectors.

    Returns:
        The pairs that the products suffice for, converged or not; NaN where no product is finite.

    Raises:
        ValueError: if the limit is below the least.
    """
    before = matrix.matvecs
    highest, lowest = _pairs(matrix, [("LA", top), ("SA", bottom)], tolerance, check, limit, seed)
    return Extremes(highest, lowest, matrix.matvecs - before)


def leading(
    matrix: Matrix,
    count: int,
    *,
    tolerance: float = TOLERANCE,
    check: bool = True,
    limit: int | None = None,
    seed: int = 0,
) -> Pairs:
    """The eigenpairs of the largest |λ|, decreasing; arguments as of :func:`extreme`.

    Raises:
        ValueError: if the limit is below the least.
    """
    return _pairs(matrix, [("LM", count)], tolerance, check, limit, seed)[0]


def products(top: int, bottom: int = 0, check: bool = True) -> int:
    """Products with one vector where one run and one check suffice, as they do where the pairs stand out."""
    return least_products(top + bottom, check)


def memory(size: int, spent: int, pairs: int, itemsize: int = 4) -> int:
    """Bytes of main memory of a search that has spent so many products, for so many pairs.

    Vectors and products are kept in the matrix's type; ARPACK keeps the vectors in float64, and so are the pairs made.
    """
    return size * (spent * (2 * itemsize + 8) + pairs * (2 * 8 + itemsize))


def _pairs(
    matrix: Matrix, asked: Sequence[End], tolerance: float, check: bool, limit: int | None, seed: int
) -> list[Pairs]:
    """The pairs of each end.

    Raises:
        ValueError: if the limit is below the least.
    """
    ends = [(which, min(count, matrix.size)) for which, count in asked]
    total, precise = sum(count for _, count in ends), attainable(matrix, tolerance)
    least = products(total, check=False)
    limit = max(LIMIT, products(total)) if limit is None else limit
    if limit < least:
        raise ValueError(f"{limit} products are too few for {total} pairs: {least} are the least")
    found: Ritz | None = None
    if total:
        with suppress(Spent):
            found = search(matrix, ends, precise, check, limit, seed)
    if found is None:
        return [_filled(matrix, count) for _, count in ends]
    return [_of_end(matrix, found, end, precise) for end in ends]


def _of_end(matrix: Matrix, found: Ritz, end: End, tolerance: float) -> Pairs:
    """The pairs of an end."""
    chosen = wanted(found.values, end)
    pairs = _filled(matrix, end[1])
    vectors = found.vectors(chosen)
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], 1)
    rows = slice(len(chosen))
    pairs.values[rows] = found.values[chosen]
    pairs.vectors[rows] = from_numpy(vectors * np.sign(largest)).to(matrix.like)
    pairs.residuals[rows] = found.exact_residuals(chosen, vectors)
    largest = np.abs(found.values).max(initial=0.0)
    pairs.converged[rows] = converged(matrix, pairs.values[rows], pairs.residuals[rows], tolerance, largest)
    return pairs


def converged(matrix: Matrix, values: Array, residuals: Array, tolerance: float, largest: float) -> Array:
    """Whether residuals (k,) are at most ``tolerance · |λ|``, rounding aside, which is relative to the largest |λ|."""
    rounding = 40 * torch.finfo(matrix.like.dtype).eps * largest
    found: Array = residuals <= tolerance * np.abs(values) + rounding
    return found


def _filled(matrix: Matrix, count: int) -> Pairs:
    """Room for pairs, all of them unknown."""
    unknown = np.full(count, np.nan)
    return Pairs(unknown, matrix.like.new_zeros(count, matrix.size), unknown.copy(), np.zeros(count, dtype=bool))
