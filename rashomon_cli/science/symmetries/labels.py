"""Which unit each entry of a tensor belongs to: labels that are carried through a network beside values.

A *unit* is what a symmetry moves as one: a channel, a neuron, a coordinate of a residual stream. Every index of every
axis of a parameter begins as a unit of its own; what the network does with it ties units together, into blocks
(attention heads, groups of a convolution), or to what nothing may move, such as an input pixel or a class.

Beside its unit, an entry of an activation has a *scale*: a positive factor that could be moved past it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

Ids = npt.NDArray[np.int64]
FIXED = 0


@dataclass(frozen=True, eq=False)
class Layer:
    """Labels of a tensor along some of its axes.

    Attributes:
        units: of each entry, of the tensor's shape; 0 where nothing may move it.
        scales: of each entry, of the same shape; None for a parameter, whose scale is determined by its use.
        raw: whether the entries are outputs of a linear map that were only moved since.
    """

    units: Tensor
    scales: Tensor | None
    raw: bool = False

    def move(self, act: Callable[[Tensor], Tensor]) -> Layer:
        """The same labels after entries were moved."""
        return Layer(act(self.units), None if self.scales is None else act(self.scales), self.raw)

    def along(self) -> frozenset[int]:
        """The axes along which the units differ."""
        return frozenset(axis for axis in range(self.units.ndim) if varies(self.units, axis))


def distinct(labels: Tensor) -> Ids:
    """The labels that occur in a tensor (n,)."""
    for axis in range(labels.ndim):
        if labels.shape[axis] > 1 and not varies(labels, axis):
            labels = labels.narrow(axis, 0, 1)
    found: Ids = np.unique(labels.numpy())
    return found


def varies(labels: Tensor, axis: int) -> bool:
    """Whether labels differ along an axis."""
    if labels.shape[axis] < 2 or labels.stride(axis) == 0:
        return False
    return not bool((labels == labels.narrow(axis, 0, 1)).all())


@dataclass(frozen=True, eq=False)
class Value:
    """What is known of a tensor.

    Attributes:
        shape: of the tensor.
        layers: its labels; none where no unit can be told from where an entry lies.
        constant: the tensor itself where it is the same for all parameters.
        parameter: name of the parameter that it is, or is a part of.
        same: axes along which all entries are equal, since the tensor was expanded along them.
    """

    shape: torch.Size
    layers: tuple[Layer, ...] = ()
    constant: Tensor | None = None
    parameter: str | None = None
    same: frozenset[int] = frozenset()


@dataclass
class Ledger:
    """What was found out about units and scales while labels were carried through a network.

    Attributes:
        units: number of units; the unit 0 stands for all that is fixed.
        scales: number of scales; the scale 0 is one.
        same_units: pairs of units that move together.
        same_scales: pairs of scales that are equal.
        inside: pairs (block, unit): the unit moves along where the block is moved.
        sets: pairs (unit, set): the unit stays within the set.
        exponents: for each unit of a parameter, (scale, power) by which its entries are multiplied.
        joined: pairs (block, unit) whose units an attention head sums over (``qk``) or passes on (``ov``) as they are.
        bridges: pairs of units that are tied as the two factors of a linear map of a linear map: any invertible matrix
            fits between them, unless something else ties them.
        bent: outputs of linear maps that something else than another linear map takes, so that no matrix passes them.
        variances: for a unit of a variance that is kept, the number that is added to it.
    """

    units: int = 1
    scales: int = 1
    same_units: list[Ids] = field(default_factory=list)
    same_scales: list[Ids] = field(default_factory=list)
    inside: list[Ids] = field(default_factory=list)
    sets: list[Ids] = field(default_factory=list)
    exponents: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    joined: dict[str, list[Ids]] = field(default_factory=lambda: {"qk": [], "ov": []})
    bridges: list[Ids] = field(default_factory=list)
    bent: list[Ids] = field(default_factory=list)
    variances: dict[int, float] = field(default_factory=dict)
    _sets: int = 0

    def new_units(self, shape: Sequence[int]) -> Tensor:
        """Units that occur nowhere yet."""
        count = int(np.prod(shape, dtype=np.int64))
        found = torch.arange(self.units, self.units + count).reshape(tuple(shape))
        self.units += count
        return found

    def new_scales(self, units: Tensor) -> Tensor:
        """A scale for each distinct unit of a tensor of labels; 1 where a unit is fixed."""
        shape = units.shape
        for axis in range(units.ndim):
            if units.shape[axis] > 1 and not varies(units, axis):
                units = units.narrow(axis, 0, 1)
        several, places = torch.unique(units, return_inverse=True)
        found = torch.arange(self.scales, self.scales + len(several))
        self.scales += len(several)
        found[several == FIXED] = FIXED
        return found[places].expand(shape)

    def tie(self, one: Tensor, other: Tensor, bridge: bool = False) -> None:
        """Two tensors of units of one shape: units at the same place move together."""
        (self.bridges if bridge else self.same_units).append(rows(one, other))

    def fix(self, units: Tensor) -> None:
        """Nothing may move these units."""
        found = distinct(units)
        self.same_units.append(np.stack([found, np.zeros_like(found)], 1))

    def tie_scales(self, one: Tensor | None, other: Tensor | None) -> None:
        """Two tensors of scales of one shape: equal at the same place."""
        if one is not None and other is not None:
            self.same_scales.append(rows(one, other))

    def fix_scales(self, scales: Tensor | None) -> None:
        """These scales are one."""
        if scales is not None:
            found = distinct(scales)
            self.same_scales.append(np.stack([found, np.zeros_like(found)], 1))

    def contain(self, blocks: Tensor, units: Tensor) -> None:
        """Two tensors of one shape: where a block is moved, the unit at the same place goes along."""
        self.inside.append(rows(blocks, units))

    def keep_within(self, units: Tensor) -> None:
        """These units are permuted among themselves only: something reads all of them alike."""
        self._sets += 1
        found = distinct(units)
        self.sets.append(np.stack([found, np.full_like(found, self._sets)], 1))

    def block(self, units: Tensor, rest: Sequence[int]) -> Tensor:
        """Blocks for each place along some axes, which hold the units that lie along the others."""
        blocks = self.new_units([n if axis in rest else 1 for axis, n in enumerate(units.shape)])
        self.contain(blocks.expand_as(units), units)
        return blocks

    def alike(self, units: Tensor, axes: Sequence[int]) -> Tensor | None:
        """Units along some axes are read in one go: they stay among themselves, for each place along the others.

        Returns:
            The blocks that they are then, with a length of 1 along the axes; None where units differ along no others.
        """
        rest = self._differing(units, axes)
        if rest:
            return self.block(units, rest)
        self.keep_within(units)
        return None

    def _differing(self, units: Tensor, axes: Sequence[int]) -> list[int]:
        """Axes besides some along which units differ, as far as it is known which are the same."""
        rest = [axis for axis in range(units.ndim) if axis not in axes and varies(units, axis)]
        if rest:
            units = torch.from_numpy(classes(self.units, [*self.same_units, *self.bridges]))[units]
        return [axis for axis in rest if varies(units, axis)]

    def pin(self, units: Tensor, axes: Iterable[int]) -> None:
        """Nothing may move these units along some axes; along the others they can be moved as blocks."""
        axes = sorted(axes)
        rest = self._differing(units, axes)
        if not rest:
            self.fix(units)
            return
        self.block(units, rest)
        for axis in range(units.ndim):
            if axis not in axes and axis not in rest:
                units = units.narrow(axis, 0, 1)
        for part in units.movedim(axes, list(range(len(axes)))).flatten(0, len(axes) - 1):
            self.keep_within(part)

    def multiply(self, units: Tensor, *powers: tuple[Tensor, int]) -> None:
        """Entries of a parameter with these units are multiplied by these scales, each to a power.

        A parameter that is used twice is multiplied once: the scales of both uses are equal, or one where they oppose.
        """
        for row in rows(units, *(scales for scales, _ in powers)).tolist():
            unit, now = row[0], list(zip(row[1:], (power for _, power in powers)))
            known = self.exponents.setdefault(unit, now)
            if known is now:
                continue
            if [power for _, power in known] == [power for _, power in now]:
                self.same_scales.append(np.array([[s, t] for (s, _), (t, _) in zip(known, now)]))
            else:
                self.same_scales.append(np.array([[s, FIXED] for s, _ in (*known, *now)]))


def rows(*labels: Tensor) -> Ids:
    """Distinct tuples (m, k) of labels at the same place of k tensors of one shape."""
    for axis in range(labels[0].ndim):
        if not any(varies(each, axis) for each in labels):
            labels = tuple(each.narrow(axis, 0, min(1, each.shape[axis])) for each in labels)
    flat = [each.reshape(-1) for each in labels]
    key = torch.zeros_like(flat[0])
    for each in flat:  # one number a tuple: sorting tuples is far slower
        several, place = torch.unique(each, return_inverse=True)
        key = torch.unique(key * len(several) + place, return_inverse=True)[1]
    first = torch.full((int(key.max()) + 1,), -1) if len(key) else torch.zeros(0, dtype=torch.int64)
    first[key] = torch.arange(len(key))
    return np.stack([each[first].numpy() for each in flat], 1)


def classes(count: int, ties: Sequence[Ids]) -> Ids:
    """Connected components: for each of ``count`` labels the least label that it is tied to.

    Args:
        count: number of labels.
        ties: pairs (m, 2).

    Returns:
        Representatives (count,); that of everything tied to 0 is 0.
    """
    edges = np.concatenate([*ties, np.zeros((0, 2), np.int64)])
    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    least = np.full(component.max() + 1, count, np.int64)
    np.minimum.at(least, component, np.arange(count))
    found: Ids = least[component]
    return found
