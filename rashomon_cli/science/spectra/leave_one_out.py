"""The linear algebra of XTrace: each test vector against the range that all the others span, by small matrices only.

Epperly, Tropp and Webber (2024) write it out for QR factors. Here a range has singular vectors for its basis, so that a
matrix of lower rank than there are test vectors, or one that is 0, is no case of its own.

Notation: k test vectors ω_i, and an orthonormal basis Q of the span of all Aω_i, of r vectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Array
from rashomon_cli.science.spectra.matrices import Matrix

_NEGLIGIBLE = 1e-12
_CHUNK = 1 << 14
_PAIRED = 32


@dataclass(frozen=True)
class Form:
    """A bilinear form b(x, y) on what XTrace needs of it.

    For the trace of A it is ``x·y``, between vectors and their products; for a diagonal block the same sum over the
    block's entries; for the trace of A² it is ``Ax·y``.

    Attributes:
        tests_range: b(ω_i, Aω_j) in coordinates of Aω_j (k, r).
        tests_images: b(ω_i, AQ) (k, r).
        basis_range: b(Q, Q) (r, r).
        basis_images: b(Q, AQ) (r, r).
    """

    tests_range: Array
    tests_images: Array
    basis_range: Array
    basis_images: Array


@dataclass(frozen=True)
class Sketch:
    """A range with its products.

    Attributes:
        size: n.
        span: coordinates of the Aω_i in the basis (r, k).
        overlaps: coordinates of the ω_i's parts in the range (r, k).
        tests: ω_i of length √n (k, n).
        basis: Q (r, n), float64.
        images: AQ (r, n).
    """

    size: int
    span: Array
    overlaps: Array
    tests: Tensor
    basis: Tensor
    images: Tensor

    @classmethod
    def of(cls, matrix: Matrix, tests: Tensor, products: Tensor) -> Sketch:
        """The range of a matrix times test vectors (k, n), by k more products; fewer where its rank is below k."""
        columns, triangle = torch.linalg.qr(products.double().T)
        turns, sizes, mixes = torch.linalg.svd(triangle)
        kept = sizes > _NEGLIGIBLE * sizes[0]
        basis = (columns @ turns[:, kept]).T.contiguous()
        del columns
        images = matrix(basis.to(matrix.like)) if len(basis) else basis.to(matrix.like)
        span, overlaps = sizes[kept, None] * mixes[kept], basis @ tests.double().T
        return cls(matrix.size, span.cpu().numpy(), overlaps.cpu().numpy(), tests, basis, images)

    def form(self, where: Tensor | None = None) -> Form:
        """The form of the trace, or of that of the block with some entries (indices)."""
        entries = torch.arange(self.size, device=self.basis.device) if where is None else where
        rank, count = self.span.shape
        left = self.basis.new_zeros(count + rank, 2 * rank)
        for piece in torch.split(entries, _CHUNK):
            tests, basis, images = (part[:, piece].double() for part in (self.tests, self.basis, self.images))
            left += torch.cat([tests, basis]) @ torch.cat([basis, images]).T
        found = left.cpu().numpy()
        return Form(found[:count, :rank], found[:count, rank:], found[count:, :rank], found[count:, rank:])

    def square(self) -> Form:
        """The form of the trace of A²."""
        rank = len(self.span)
        both = self.basis.new_zeros(2 * rank, rank)
        for basis, images in zip(*(torch.split(rows, _CHUNK, 1) for rows in (self.basis, self.images)), strict=True):
            both += torch.cat([basis, images.double()]) @ images.double().T
        mixed, images_images = both[:rank].cpu().numpy(), both[rank:].cpu().numpy()
        return Form(self.span.T, self.span.T @ mixed, mixed.T, images_images)

    def traces(self, forms: Sequence[Form]) -> tuple[Array, Array]:
        """The traces of forms (f,) with their standard errors (f,).

        The estimates e_i of single test vectors are not independent. With ``d_ij`` the change of e_i when ω_j leaves
        its range, ``cov(e_i, e_j) = E d_ij d_ji`` exactly: given all other vectors, e_i without ω_j and ``d_ij`` have
        means that do not depend on ω_j. So ``s²/k + mean of d_ij d_ji`` has the mean of the variance, s² being the
        spread of the e_i; it is taken to be no less than s²/k, the published estimate.
        """
        count = self.span.shape[1]
        every = np.arange(count)
        each = self._each(forms, every)
        variances = each.var(axis=1, ddof=1) / count
        paired = min(count, _PAIRED)
        changes = np.zeros((len(forms), paired, paired))
        for j in range(paired) if count > 2 else ():
            others = every != j
            left_out = self._each(forms, every[others])
            changes[:, others[:paired], j] = each[:, others][:, : paired - 1] - left_out[:, : paired - 1]
        covariances = (changes * changes.transpose(0, 2, 1)).sum((1, 2)) / (paired * (paired - 1))
        return each.mean(1), np.sqrt(variances + np.maximum(covariances, 0.0))

    def _each(self, forms: Sequence[Form], chosen: Array) -> Array:
        """The estimates (f, c) of chosen test vectors (c,), each with the range that the others of them span."""
        span, overlaps = self.span[:, chosen], self.overlaps[:, chosen]
        turns, sizes, mixes = np.linalg.svd(span, full_matrices=False)
        kept = sizes > _NEGLIGIBLE * sizes.max(initial=0.0)
        turns, rank = turns[:, kept], int(kept.sum())
        lost = np.zeros_like(span)  # the direction that the range has by ω_i alone, of length 1; 0 where there is none
        if rank == len(chosen):
            lost = turns @ (mixes / sizes[:, None])
            lost /= np.linalg.norm(lost, axis=0)
        inside = turns @ (turns.T @ overlaps) - lost * (lost * overlaps).sum(0)
        scale = (self.size - rank + (lost**2).sum(0)) / (self.size - (inside**2).sum(0))
        found = []
        for form in forms:
            within = np.trace(turns.T @ form.basis_images @ turns) - ((form.basis_images @ lost) * lost).sum(0)
            ahead = (form.tests_range[chosen] - inside.T @ form.basis_range) * span.T
            behind = (form.tests_images[chosen] - inside.T @ form.basis_images) * inside.T
            found.append(within + scale * (ahead - behind).sum(1))
        return np.stack(found)


def on_sphere(size: int, count: int, chooser: torch.Generator) -> Tensor:
    """Vectors (count, n), float64, uniform on the sphere of radius √n."""
    drawn = torch.randn(count, size, generator=chooser, dtype=torch.float64)
    drawn *= math.sqrt(size) / drawn.norm(dim=1, keepdim=True)
    return drawn
