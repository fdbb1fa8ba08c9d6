"""From what labels met on their way to the symmetries of the network."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from torch import Tensor

from rashomon_cli.science.symmetries.axes import Axis, Group, Inner, Symmetries
from rashomon_cli.science.symmetries.graph import Graph
from rashomon_cli.science.symmetries.grouping import groups_of, joint_blocks, same_blocks
from rashomon_cli.science.symmetries.labels import FIXED, Ids, Ledger, classes, varies
from rashomon_cli.science.symmetries.moves import permute, rescale
from rashomon_cli.science.symmetries.walk import Walked

__all__ = ["Axis", "Group", "Inner", "Symmetries", "permute", "rescale", "structure"]


def structure(graph: Graph, walked: Walked) -> Symmetries:
    """Read off which units and scales are alike from what labels met on their way.

    Args:
        graph: the network.
        walked: its labels.

    Returns:
        The symmetries.
    """
    ledger = walked.ledger
    ties = [*ledger.same_units, *ledger.bridges]
    for find_ties in (same_blocks, joint_blocks, same_blocks):
        ties.append(find_ties(ledger, classes(ledger.units, ties)))
    unit_of = classes(ledger.units, ties)
    units, unit_of = np.unique(unit_of, return_inverse=True)
    scales, scale_of = np.unique(classes(ledger.scales, ledger.same_scales), return_inverse=True)
    side_of = _sides(ledger)
    axes = tuple(
        _axis(name, axis, labels, ledger, unit_of, scale_of, side_of)
        for name, several in walked.parameters.items()
        for axis, labels in enumerate(several)
    )
    groups = groups_of(ledger, axes, unit_of)
    mixed = tuple(_mixed(groups))
    free, absorbed = _factors(axes, graph.parameters, _taken(groups, axes))
    return Symmetries(len(units), len(scales), axes, groups, free, absorbed, mixed, unit_of)


def _sides(ledger: Ledger) -> Ids:
    """For each unit, on which side of the products of linear maps it is: 1 or −1; 0 if on none or on both."""
    half = classes(ledger.units, ledger.same_units)
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *ledger.bridges])
    first, second = (np.isin(half, half[pairs[:, side]]) for side in (0, 1))
    found: Ids = np.where(first == second, 0, np.where(first, 1, -1))
    return found


def _axis(name: str, axis: int, labels: Tensor, ledger: Ledger, unit_of: Ids, scale_of: Ids, side_of: Ids) -> Axis:
    """The classes along one axis of a tensor; of the inputs of a convolution in groups along both first axes."""
    grouped = axis == 1 and varies(labels, 0)
    for other in reversed(range(labels.ndim)):
        if other > axis or (other < axis and not grouped):
            labels = labels.select(other, 0)
    line: Ids = labels.numpy()
    if not line.size:
        return Axis(name, axis, unit_of[line])
    distinct, place = np.unique(line, return_inverse=True)
    known = [ledger.exponents.get(unit, []) for unit in distinct.tolist()]
    powers = []
    for number, power in sorted({(number, power) for own in known for number, (_, power) in enumerate(own)}):
        scales = np.array([dict(enumerate(own)).get(number, (FIXED, power)) for own in known])
        own = np.where(scales[:, 1] == power, scales[:, 0], FIXED)
        powers.append((scale_of[own][place].reshape(line.shape), power))
    added = ledger.variances.get(int(line.flat[0]))
    return Axis(name, axis, unit_of[line], tuple(powers), added, side_of[line])


def _mixed(groups: Sequence[Group]) -> list[tuple[str, int]]:
    """Of each inner product of attention heads, its kind and size; heads that share theirs count once."""
    return [
        (inner.kind, inner.units.shape[1])
        for group in groups
        for inner in group.inner
        if inner.kind != "units"
        for _ in {tuple(row) for row in inner.units.tolist()}
    ]


def _taken(groups: Sequence[Group], axes: Sequence[Axis]) -> set[int]:
    """Factors of what heads pass on: any matrix may stand there, and they are its diagonal."""
    passed = [inner.units.reshape(-1) for group in groups for inner in group.inner if inner.kind == "ov"]
    own = np.unique(np.concatenate([np.zeros(0, np.int64), *passed]))
    return {
        int(scale)
        for axis in axes
        for scales, _ in axis.powers
        for scale in np.unique(scales[np.isin(axis.units, own)])
        if scale != FIXED
    }


def _factors(axes: Sequence[Axis], trained: Collection[str], taken: set[int]) -> tuple[Ids, Ids]:
    """The scales that change a parameter, but for some, and those of them that BatchNorm takes away again."""
    makes, reads = set[int](), set[int]()
    for axis in axes:
        for scales, power in axis.powers if axis.tensor in trained else ():
            (makes if power > 0 else reads).update(np.unique(scales).tolist())
    free, absorbed = (makes | reads) - taken - {FIXED}, makes - reads - taken - {FIXED}
    return np.array(sorted(free), np.int64), np.array(sorted(absorbed), np.int64)
