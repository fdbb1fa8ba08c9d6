"""What the symmetries of a network are made of: units along the axes of its tensors, and groups of them."""

from __future__ import annotations

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
    """

    tensor: str
    axis: int
    units: Ids
    powers: tuple[tuple[Ids, int], ...] = ()
    added: float | None = None


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

    def identity(self) -> Ids:
        """The permutation that leaves every unit in its place."""
        return np.arange(self.units)
