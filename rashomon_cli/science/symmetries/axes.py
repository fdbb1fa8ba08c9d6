"""What the symmetries of a network are made of: units along the axes of its tensors, and groups of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rashomon_cli.science.symmetries.labels import Ids


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of a tensor, and the units along it.

    Attributes:
        tensor: name of the parameter or statistic.
        axis: number of the axis.
        units: of each index (n,); for the inputs of a convolution in groups (O, C/g), since each group has its own.
        powers: scales of each index, as ``units``, and the power to which they multiply the tensor.
        added: of a variance, the ε that is added to it before its root is taken.
        sides: of each index, as ``units``: 1 if it is a row of the first factor of a product that a matrix fits into,
            −1 if it is one of the second, 0 if of none or both.
    """

    tensor: str
    axis: int
    units: Ids
    powers: tuple[tuple[Ids, int], ...] = ()
    added: float | None = None
    sides: Ids | None = None


@dataclass(frozen=True, eq=False)
class Inner:
    """Units within blocks.

    Attributes:
        name: where they come from.
        kind: ``qk`` or ``ov`` of attention heads, else ``units``.
        units: (blocks, units of a block), interchangeable within a block.
    """

    name: str
    kind: str
    units: Ids


@dataclass(frozen=True, eq=False)
class Group:
    """Units, or blocks of units, any of which can be interchanged.

    Attributes:
        name: the parameter that makes them.
        units: (n,): with ``inner`` the blocks, such as attention heads.
        inner: the units that move along with a block; within it they can be interchanged too.
    """

    name: str
    units: Ids
    inner: tuple[Inner, ...] = ()

    @property
    def size(self) -> int:
        """Number of units, or of blocks."""
        return len(self.units)


@dataclass(frozen=True, eq=False)
class Symmetries:
    """All symmetries that were found of one network.

    Attributes:
        units: number of units; the unit 0 is what is fixed.
        scales: number of scales; the scale 0 is one.
        axes: where units and scales are found.
        groups: of interchangeable units, in the order in which the network makes them.
        free: the scales that may have any positive value.
        absorbed: those of them that BatchNorm takes away again.
        mixed: for each inner product of attention heads, its kind and the number of units of each head: any invertible
            matrix may be put between its two factors.
        unit_of: for each label that the walk gave, its unit.
    """

    units: int
    scales: int
    axes: tuple[Axis, ...]
    groups: tuple[Group, ...]
    free: Ids
    absorbed: Ids
    mixed: tuple[tuple[str, int], ...]
    unit_of: Ids

    @property
    def continuous(self) -> int:
        """Number of continuous dimensions: free scales, and d² for each product of attention heads of d units."""
        return len(self.free) + sum(size**2 for _, size in self.mixed)

    @property
    def permutations_log10(self) -> float:
        """Logarithm of the number of permutations, n! a group of n; units that several blocks share count once."""
        sizes = [group.size for group in self.groups]
        for group in self.groups:
            for inner in group.inner:
                sizes += [inner.units.shape[1]] * len({tuple(row) for row in inner.units.tolist()})
        return sum(math.lgamma(size + 1) for size in sizes) / math.log(10)

    def factors(self, units: Ids) -> set[int]:
        """The free scales of some units."""
        found = [scales[np.isin(axis.units, units)] for axis in self.axes for scales, _ in axis.powers]
        return set(np.intersect1d(np.concatenate([np.zeros(0, np.int64), *found]), self.free).tolist())

    def identity(self) -> Ids:
        """The permutation that leaves every unit in its place."""
        return np.arange(self.units)
