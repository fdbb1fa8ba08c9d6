"""Directions that are affine in the parameters, sparse: ``ξ_i(θ) = A_i θ + b_i``, as generators of symmetries are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.sparse import csr_array

from rashomon_cli.core.results import Array
from rashomon_cli.science.problem import Layout

CONSTANT = -1
"""The source of an entry that does not depend on θ."""


@dataclass(frozen=True)
class Affine:
    """Entries of m directions over P parameters; those at the same place are summed.

    Attributes:
        shape: (m, P).
        rows: the direction of each entry (N,).
        columns: the parameter that it moves (N,).
        sources: the parameter that it is proportional to (N,), or :data:`CONSTANT`.
        factors: by which (N,); the entry itself where it is constant.
    """

    shape: tuple[int, int]
    rows: Array
    columns: Array
    sources: Array
    factors: Array

    @classmethod
    def joined(cls, several: Sequence[Affine], size: int) -> Affine:
        """Several sets of directions over P parameters, one below the other."""
        begin = np.cumsum([0, *(each.shape[0] for each in several)])
        rows = [each.rows + first for each, first in zip(several, begin)]
        rest = ([getattr(each, name) for each in several] for name in ("columns", "sources", "factors"))
        return cls((int(begin[-1]), size), *map(_joined, (rows, *rest), (int, int, int, float)))

    def taken(self, rows: Array) -> Affine:
        """Some of the directions (k,), in that order."""
        place = np.full(self.shape[0], -1)
        place[rows] = np.arange(len(rows))
        kept = place[self.rows] >= 0
        entries = (each[kept] for each in (self.columns, self.sources, self.factors))
        return Affine((len(rows), self.shape[1]), place[self.rows[kept]], *entries)

    def at(self, theta: Array) -> csr_array:
        """ξ(θ) (m, P)."""
        values = np.where(self.sources == CONSTANT, 1.0, theta[self.sources])
        return csr_array((self.factors * values, (self.rows, self.columns)), shape=self.shape)

    def turned(self, vector: Array) -> csr_array:
        """``A_iᵀv`` of each direction (m, P), for v (P,)."""
        moving = self.sources != CONSTANT
        values = self.factors[moving] * vector[self.columns[moving]]
        return csr_array((values, (self.rows[moving], self.sources[moving])), shape=self.shape)


@dataclass
class Entries:
    """Entries of affine directions over a layout's flat parameters, collected piece by piece."""

    layout: Layout
    _pieces: list[Sequence[Array]] = field(default_factory=list)

    def __post_init__(self) -> None:
        places = self.layout.split(torch.arange(self.layout.total))
        self.places = {name: place.numpy() for name, place in places.items()}

    def add(self, rows: Array, columns: Array, sources: Array, factors: Array) -> None:
        """Entries of :class:`Affine`, of arrays that broadcast to one shape."""
        self._pieces.append([each.reshape(-1) for each in np.broadcast_arrays(rows, columns, sources, factors)])

    def affine(self, count: int) -> Affine:
        """The directions (count, P)."""
        pieces = list(zip(*self._pieces)) or [()] * 4
        return Affine((count, self.layout.total), *map(_joined, pieces, (int, int, int, float)))


def _joined(pieces: Sequence[Array], kind: type) -> Array:
    return np.concatenate([np.zeros(0, dtype=kind), *pieces])
