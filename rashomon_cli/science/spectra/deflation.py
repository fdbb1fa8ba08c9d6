"""A matrix on what is orthogonal to directions that are known, and what the whole matrix's counts then are.

With orthonormal rows Q of the known directions and a basis B of all others, H has the blocks ``A = QHQᵀ``, ``E = BHQᵀ``
and ``C = BHBᵀ``. Exact eigenvectors have E = 0, and the spectrum of H is that of A and that of C. Otherwise, by the
inertia of ``H − x`` (Haynsworth 1968), H has as many eigenvalues below x as A and ``C − E(A − x)⁻¹Eᵀ`` together: as A
and C do, with x moved for C by at most ``‖E‖² / dist(x, spectrum of A)``. Where that is too far, leaving out r rows
changes a count by at most r (Cauchy's interlacing), so the few that are coupled most are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Array
from rashomon_cli.science.spectra.matrices import Matrix

_DEPENDENT = 1e-6
_NEARLY = 1e-4
_SMALL_MOVE = 0.1

Counted = Callable[[Array, Array], Array]
"""(values (d,), bounds (m,)) → how many values are within each bound (m,)."""


def orthonormal(rows: Tensor, *others: Tensor) -> Tensor:
    """An orthonormal basis (d, n), float64, of the span of rows (k, n) less their parts in the span of others.

    Args:
        rows: any vectors; what depends on the rest to 1e-6 adds nothing.
        others: orthonormal rows, float64.

    Returns:
        The basis; d ≤ k.
    """
    wide = _normalised(rows.double())[0]
    for _ in range(2):  # once more for what rounding left
        for other in others:
            wide = wide - (wide @ other.T) @ other
    _, sizes, spanning = torch.linalg.svd(wide, full_matrices=False)
    basis: Tensor = spanning[sizes > _DEPENDENT]
    return basis


def spanned(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """An orthonormal basis of the span of rows (k, n), what makes it from them, and whether that is well conditioned.

    Args:
        rows: any vectors; what depends on the rest to 1e-6 adds nothing.

    Returns:
        The basis (d, n) and ``weights`` (d, k), float64: ``basis = weights @ rows``; and (d,) whether a row's weights
        are small enough for what is known of ``rows`` to 1e-7 to be known of it to 1e-3.
    """
    wide, lengths = _normalised(rows.double())
    left, sizes, spanning = torch.linalg.svd(wide, full_matrices=False)
    kept = sizes > _DEPENDENT
    weights = torch.zeros(int(kept.sum()), len(rows), dtype=torch.float64, device=rows.device)
    weights[:, lengths > 0] = (left[:, kept] / sizes[kept]).T / lengths[lengths > 0]
    return spanning[kept], weights, sizes[kept] > _NEARLY


def _normalised(wide: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (k, n) at length 1, but for those of zeros; lengths of all (k,)."""
    lengths = wide.norm(dim=1)
    there = lengths > 0
    return wide[there] / lengths[there, None], lengths


@dataclass(frozen=True)
class Terms:
    """What the known directions add to a count of eigenvalues, and what must be allowed for; each (m,) for m bounds.

    Attributes:
        inside: eigenvalues of A that count: the estimate of what they add.
        low: at least so many, of the rows that are not left out.
        high: at most so many.
        left_out: r, by which a count within τ may be off either way, one below x only by too few.
        move: how far τ or x is moved for the rest.
    """

    inside: Array
    low: Array
    high: Array
    left_out: Array
    move: Array


@dataclass(frozen=True)
class Border:
    """The known directions' part of a matrix.

    Attributes:
        inside: A (d, d).
        outside: EᵀE (d, d).
        symmetry: how many of the d rows are directions of symmetries; they come first.
    """

    inside: Array
    outside: Array
    symmetry: int = 0

    def part(self, with_symmetry: bool) -> Border:
        """All rows, or those of a matrix that is H on what is orthogonal to the directions of symmetries."""
        first = 0 if with_symmetry else self.symmetry
        return Border(self.inside[first:, first:], self.outside[first:, first:])

    @property
    def values(self) -> Array:
        """Eigenvalues of A (d,), increasing."""
        values: Array = np.linalg.eigvalsh(self.inside) if len(self.inside) else np.zeros(0)
        return values

    def terms(self, taus: Array, noise: float) -> Terms:
        """What the directions add to counts of |λ| ≤ τ.

        Args:
            taus: tolerances τ (m,).
            noise: what an eigenvalue may be off by rounding.

        Returns:
            The fewest rows are left out (0, 1, 3, 7, … or all) with which no τ moves by more than a tenth.
        """
        return self._terms(taus, noise, _within, lambda values: np.abs(np.abs(values)[:, None] - taus))

    def below(self, points: Array, noise: float) -> Terms:
        """What the directions add to counts of λ < x; by interlacing a row that is left out can only add one.

        Args:
            points: x (m,).
            noise: what an eigenvalue may be off by rounding.

        Returns:
            The fewest rows are left out (0, 1, 3, 7, … or all) with which no x moves by more than a tenth.
        """
        return self._terms(points, noise, _below, lambda values: np.abs(values[:, None] - points))

    def _terms(self, bounds: Array, noise: float, counted: Counted, apart: Callable[[Array], Array]) -> Terms:
        """Of counts up to bounds (m,), with how far each value is from each bound (d, m)."""
        couplings, turn = np.linalg.eigh(self.outside) if len(self.outside) else (np.zeros(0), self.outside)
        couplings, turned = np.maximum(couplings, 0.0), turn.T @ self.inside @ turn
        rows = len(couplings)
        found = Terms(*(np.zeros(len(bounds)) for _ in range(5)))
        found.inside[:] = counted(self.values, bounds)
        todo = np.ones(len(bounds), dtype=bool)
        for left_out in [*_ladder(rows), rows]:
            kept = rows - left_out
            values = np.linalg.eigvalsh(turned[:kept, :kept]) if kept else np.zeros(0)
            gap = apart(values).min(axis=0, initial=np.inf)
            square = couplings[kept - 1] if kept else 0.0
            move = np.divide(square, gap, out=np.full(len(bounds), np.inf), where=gap > 0) if square else 0.0 * bounds
            here = todo & (move <= _SMALL_MOVE * np.abs(bounds))
            found.low[here] = counted(values, bounds - noise)[here]
            found.high[here] = counted(values, bounds + noise)[here]
            found.left_out[here], found.move[here] = left_out, move[here]
            todo &= ~here
            if not todo.any():
                break
        return found


class Complement:
    """A matrix H on what is orthogonal to known directions; 0 on these.

    Args:
        matrix: H, symmetric (n, n).
        vectors: known eigenvectors, as rows (k, n); any vectors are allowed, good ones help.
        symmetry: directions of symmetries (s, n), to be counted or left out afterwards.
        images: what H makes of these, if that is known; they must be orthonormal then. NaN for rows of which it is not.

    Attributes:
        rows: orthonormal basis (d, n) of both, float64; the symmetries' come first. One product is spent on each of
            which no image is known.
        border: what H does to them.
    """

    def __init__(
        self,
        matrix: Matrix,
        vectors: Tensor | None = None,
        symmetry: Tensor | None = None,
        images: Tensor | None = None,
    ) -> None:
        none = matrix.like.new_zeros(0, matrix.size, dtype=torch.float64)
        first = none if symmetry is None else symmetry.to(none)
        if images is None:
            first = orthonormal(first)
        second = none if vectors is None else orthonormal(vectors.to(none.device), first)
        self.matrix, self.like, self.matvecs = matrix, matrix.like, 0
        self.rows = torch.cat([first, second])
        self.border = self._border(len(first), none if images is None else images.to(none))

    @classmethod
    def of(cls, matrix: Matrix, rows: Tensor, border: Border) -> Complement:
        """The complement of directions of which all is known already, which takes no product.

        Args:
            matrix: H, symmetric (n, n).
            rows: orthonormal directions (d, n), float64, on the device of the matrix.
            border: what H does to them.

        Returns:
            H on what is orthogonal to them.
        """
        found = cls(matrix)
        found.rows, found.border = rows, border
        return found

    @property
    def size(self) -> int:
        """n, the length of the vectors."""
        return self.matrix.size

    @property
    def dimension(self) -> int:
        """Of the complement: n − d."""
        return self.size - len(self.rows)

    def project(self, vectors: Tensor) -> Tensor:
        """Vectors (k, n), float64, less their parts along the known directions."""
        return vectors - (vectors @ self.rows.T) @ self.rows

    def __call__(self, vectors: Tensor) -> Tensor:
        """Products (k, n) with the rows of ``vectors`` (k, n)."""
        self.matvecs += len(vectors)
        inner = self.project(vectors.double()).to(self.like)
        return self.project(self.matrix(inner).double()).to(self.like)

    def _border(self, symmetry: int, known: Tensor) -> Border:
        if not len(self.rows):
            return Border(np.zeros((0, 0)), np.zeros((0, 0)))
        images = torch.full_like(self.rows, torch.nan)
        images[: len(known)] = known
        todo = images.isnan().any(dim=1)
        if bool(todo.any()):
            self.matvecs += int(todo.sum())
            images[todo] = self.matrix(self.rows[todo].to(self.like)).double()
        inside = images @ self.rows.T
        rest = self.project(images)
        outside = (rest @ rest.T).cpu().numpy()
        return Border(((inside + inside.T) / 2).cpu().numpy(), outside, symmetry)


def _within(values: Array, bounds: Array) -> Array:
    """How many |values| are at most each bound (m,)."""
    counts: Array = (np.abs(values)[:, None] <= bounds).sum(axis=0)
    return counts


def _below(values: Array, bounds: Array) -> Array:
    """How many values are below each bound (m,)."""
    counts: Array = (values[:, None] < bounds).sum(axis=0)
    return counts


def _ladder(rows: int) -> list[int]:
    """0, 1, 3, 7, … below ``rows``."""
    return [2**power - 1 for power in range(rows.bit_length()) if 2**power - 1 < rows]
