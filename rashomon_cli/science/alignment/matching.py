"""Which unit of one network is which of another (Ainsworth et al. 2022, arXiv 2209.04836, §3).

Blocks of units, such as attention heads, are matched as wholes: the similarity of two blocks is that of their units,
best matched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from rashomon_cli.science.alignment.places import rows
from rashomon_cli.science.symmetries.labels import FIXED, Ids
from rashomon_cli.science.symmetries.structure import Group, Symmetries, permute

Matrix = npt.NDArray[np.float64]
_SWEEPS, _GAIN = 200, 1e-9


@dataclass(frozen=True)
class Similarities:
    """How alike the units of two networks are, for one group.

    Attributes:
        outer: of the units, or of what blocks have of their own (n, n).
        inner: of the units within blocks (n·d, n·d), one for each part of a block.
    """

    outer: Matrix
    inner: tuple[Matrix, ...] = ()


@dataclass(frozen=True)
class Match:
    """An assignment.

    Attributes:
        source: for each unit of the network the unit of the other that takes its place.
        ties: for each group, the units of the first network that could as well have another partner.
    """

    source: Ids
    ties: dict[str, list[int]] = field(default_factory=dict)


def assign(group: Group, found: Similarities, source: Ids) -> float:
    """Match the units of a group; the result is written into ``source``.

    Returns:
        The gain in similarity over leaving every unit where it is.
    """
    size = group.size
    total = found.outer.copy()
    inner_orders = []
    for inner, matrix in zip(group.inner, found.inner):
        width = inner.units.shape[1]
        cut = matrix.reshape(size, width, size, width)
        orders = np.zeros((size, size, width), np.int64)
        for one in range(size):
            for other in range(size):
                _, orders[one, other] = linear_sum_assignment(cut[one, :, other], maximize=True)
                total[one, other] += cut[one, np.arange(width), other, orders[one, other]].sum()
        inner_orders.append(orders)
    before = float(np.trace(found.outer)) + sum(float(np.trace(matrix)) for matrix in found.inner)
    _, order = linear_sum_assignment(total, maximize=True)
    source[group.units] = group.units[order]
    for inner, orders in zip(group.inner, inner_orders):
        for block, other in enumerate(order):
            source[inner.units[block]] = inner.units[other][orders[block, other]]
    return float(total[np.arange(size), order].sum()) - before


def by_weights(
    symmetries: Symmetries,
    one: Mapping[str, Tensor],
    other: Mapping[str, Tensor],
    names: frozenset[str],
    seed: int = 0,
) -> Match:
    """Match units so that the inner product of the weights is large: coordinate descent over the groups.

    It starts once from the units as they are, as in the paper, and once from a first match layer by layer, in which a
    group is matched by the weights whose other sides are matched already; the better end is taken.

    Args:
        symmetries: of both networks.
        one: tensors of the network that stays, float64; balance both networks before.
        other: tensors of the network that is moved.
        names: of the tensors that count: the parameters.
        seed: of the order of the groups.

    Returns:
        The match, a local optimum.
    """
    one, other = ({name: tensors[name] for name in names} for tensors in (one, other))
    starts = (symmetries.identity(), _layer_by_layer(symmetries, one, other))
    ends = [_descend(symmetries, one, other, start, np.random.default_rng(seed)) for start in starts]
    return Match(max(ends, key=lambda source: _product(one, permute(symmetries, other, source))))


def _descend(
    symmetries: Symmetries,
    one: Mapping[str, Tensor],
    other: Mapping[str, Tensor],
    source: Ids,
    random: np.random.Generator,
) -> Ids:
    now = permute(symmetries, other, source)
    twice = [_twice(symmetries, group) for group in symmetries.groups]
    for _ in range(_SWEEPS):
        moved = False
        for number in random.permutation(len(symmetries.groups)):
            group, step = symmetries.groups[number], symmetries.identity()
            gain = assign(group, _weights(symmetries, group, one, now), step)
            if gain <= _GAIN * max(1.0, abs(_product(one, now))):
                continue
            changed = permute(symmetries, now, step)
            if twice[number] and _product(one, changed) <= _product(one, now):
                continue
            now, source, moved = changed, source[step], True
        if not moved:
            break
    return source


def _layer_by_layer(symmetries: Symmetries, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Ids:
    """A first match, from the fixed inputs and outputs inwards."""
    source, settled = symmetries.identity(), {FIXED}
    left = list(symmetries.groups)
    while left:
        for group in left:
            own = set(_units(group).tolist())
            sure = [name for name in one if _settled(symmetries, name, own, settled)]
            if not sure:
                continue
            now = permute(symmetries, {name: other[name] for name in sure}, source)
            step = symmetries.identity()
            assign(group, _weights(symmetries, group, {name: one[name] for name in sure}, now), step)
            source, settled = source[step], settled | own
            left = [each for each in left if each is not group]
            break
        else:
            break
    return source


def _settled(symmetries: Symmetries, name: str, own: set[int], settled: set[int]) -> bool:
    """Whether a tensor holds units of a group along one axis, and only matched ones along the others."""
    axes = [set(np.unique(axis.units).tolist()) for axis in symmetries.axes if axis.tensor == name]
    return sum(bool(axis & own) for axis in axes) == 1 and all(axis <= settled for axis in axes if not axis & own)


def _units(group: Group) -> Ids:
    return np.concatenate([group.units, *(inner.units.reshape(-1) for inner in group.inner)])


def _twice(symmetries: Symmetries, group: Group) -> bool:
    """Whether the group's units are along two axes of one tensor: then the gain of a step is only near."""
    touched = [axis.tensor for axis in symmetries.axes if np.isin(axis.units, _units(group)).any()]
    return len(set(touched)) < len(touched)


def _product(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    return sum(float((one[name] * other[name]).sum()) for name in one)


def _weights(
    symmetries: Symmetries, group: Group, one: Mapping[str, Tensor], other: Mapping[str, Tensor]
) -> Similarities:
    def similar(units: Ids) -> Matrix:
        found = torch.zeros(len(units), len(units), dtype=torch.float64)
        for a, b in zip(rows(symmetries, one, units), rows(symmetries, other, units)):
            found += a @ b.T
        result: Matrix = found.numpy()
        return result

    return Similarities(similar(group.units), tuple(similar(inner.units.reshape(-1)) for inner in group.inner))
