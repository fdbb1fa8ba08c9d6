"""Which units are alike: those that occur at like places, and blocks that hold like units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from rashomon_cli.science.symmetries.axes import Axis, Group, Inner
from rashomon_cli.science.symmetries.labels import FIXED, Ids, Ledger

Place = tuple[int, int]
"""(number of an axis, how often the unit occurs along it), or (−1, number of a set), (−2, number of a block)."""
_SET, _BLOCK = -1, -2


@dataclass
class Found:
    """What is known of each unit.

    Attributes:
        places: where a unit occurs.
        names: the first tensor that has a unit along its first axis.
        held: units of each block.
        above: blocks of each unit.
    """

    places: dict[int, tuple[Place, ...]]
    names: dict[int, str]
    held: dict[int, set[int]] = field(default_factory=dict)
    above: dict[int, set[int]] = field(default_factory=dict)


def groups_of(ledger: Ledger, axes: Sequence[Axis], unit_of: Ids) -> tuple[Group, ...]:
    """The groups of interchangeable units.

    Args:
        ledger: what labels met on their way.
        axes: where units are found, as classes.
        unit_of: the class of each unit.

    Returns:
        Groups in the order in which the network makes them.
    """
    found = Found(*_places(ledger, axes, unit_of))
    for pairs in ledger.inside:
        for block, unit in np.unique(unit_of[pairs], axis=0).tolist():
            if block != unit:
                found.held.setdefault(block, set()).add(unit)
                found.above.setdefault(unit, set()).add(block)
    around = {block: _around(block, found) for block in found.held}
    alike: dict[tuple[tuple[Place, ...], tuple[int, ...]], list[int]] = {}
    for unit, where in sorted(found.places.items()):
        if unit != FIXED and unit not in found.held:
            alike.setdefault((where, tuple(sorted(found.above.get(unit, ())))), []).append(unit)
    within: dict[int, dict[tuple[Place, ...], list[int]]] = {}
    groups = []
    for (where, parents), units in alike.items():
        owner = min(parents, key=lambda block: len(found.held[block])) if parents else FIXED
        if around.get(owner) is not None:
            within.setdefault(owner, {})[where] = units
        elif len(units) > 1:
            groups.append(Group(_name(units[0], found, axes), np.array(units)))
    groups += _blocks(ledger, axes, unit_of, found, within, around)
    order = {axis.tensor: number for number, axis in reversed(list(enumerate(axes)))}
    return tuple(sorted(groups, key=lambda group: order.get(group.name, len(axes))))


def _places(ledger: Ledger, axes: Sequence[Axis], unit_of: Ids) -> tuple[dict[int, tuple[Place, ...]], dict[int, str]]:
    places: dict[int, list[Place]] = {}
    names: dict[int, str] = {}
    for number, axis in enumerate(axes):
        for unit, count in zip(*(found.tolist() for found in np.unique(axis.units, return_counts=True))):
            places.setdefault(unit, []).append((number, count))
            if axis.axis == 0:
                names.setdefault(unit, axis.tensor)
    for several in ledger.sets:
        for unit, number in np.unique(np.stack([unit_of[several[:, 0]], several[:, 1]], 1), axis=0).tolist():
            places.setdefault(unit, []).append((_SET, number))
    for unit, block in _apart(ledger, unit_of):
        places.setdefault(unit, []).append((_BLOCK, block))
    return {unit: tuple(where) for unit, where in places.items()}, names


def _apart(ledger: Ledger, unit_of: Ids) -> Iterator[tuple[int, int]]:
    """Units of blocks that are the same unit, such as the fixed one, but hold different ones: each stays in its own."""
    for pairs in ledger.inside:
        held: dict[int, dict[int, set[int]]] = {}
        for raw, block, unit in np.unique(np.stack([pairs[:, 0], *unit_of[pairs].T], 1), axis=0).tolist():
            held.setdefault(block, {}).setdefault(raw, set()).add(unit)
        for block, several in held.items():
            if block == FIXED or any(units != several[min(several)] for units in several.values()):
                yield from ((unit, raw) for raw, units in several.items() for unit in units)


def _around(block: int, found: Found) -> frozenset[int] | None:
    """The larger blocks that a block lies in, and is moved within; None where it cannot be moved.

    Of blocks within blocks the innermost can be moved. One that holds something fixed cannot, nor can one whose units
    lie in different blocks besides.
    """
    units = found.held[block]
    if block == FIXED or FIXED in units or any(unit in found.held for unit in units):
        return None
    others = {frozenset(found.above[unit] - {block}) for unit in units}
    if len(others) > 1 or any(len(found.held[other]) <= len(units) for other in next(iter(others))):
        return None
    return next(iter(others)) | found.above.get(block, set())


def _blocks(
    ledger: Ledger,
    axes: Sequence[Axis],
    unit_of: Ids,
    found: Found,
    within: dict[int, dict[tuple[Place, ...], list[int]]],
    around: dict[int, frozenset[int] | None],
) -> Iterator[Group]:
    """Blocks that occur at like places and hold as many units at like places."""
    joined = _joined(ledger, unit_of)
    torn = {int(unit) for axis in axes if axis.sides is not None for unit in axis.units[axis.sides == 0].flat}
    torn |= {int(unit) for several in ledger.bent for unit in unit_of[several]}
    alike: dict[object, list[int]] = {}
    for block, inner in sorted(within.items()):
        shape = tuple(sorted((where, len(units)) for where, units in inner.items()))
        alike.setdefault((found.places.get(block, ()), shape, around[block]), []).append(block)
    for members in alike.values():
        inners = []
        for where, first in within[members[0]].items():
            units, own = np.array([within[block][where] for block in members]), frozenset(first)
            kind = next((kind for kind, heads in joined.items() if own in heads and not own & torn), "units")
            inners.append(Inner(_name(first[0], found, axes), kind, units))
        if len(members) > 1 or any(inner.kind != "units" for inner in inners):
            yield Group(inners[0].name, np.array(members), tuple(inners))
        else:  # a single block is no block
            yield from (Group(inner.name, inner.units[0]) for inner in inners if inner.units.shape[1] > 1)


def _joined(ledger: Ledger, unit_of: Ids) -> dict[str, set[frozenset[int]]]:
    """By kind (``qk``, ``ov``), the units that each head sums over or passes on."""
    found: dict[str, set[frozenset[int]]] = {}
    for kind, several in ledger.joined.items():
        own = found.setdefault(kind, set())
        for pairs in several:
            heads: dict[int, set[int]] = {}
            for head, unit in np.unique(np.stack([pairs[:, 0], unit_of[pairs[:, 1]]], 1), axis=0).tolist():
                heads.setdefault(head, set()).add(unit)
            own.update(map(frozenset, heads.values()))
    return found


def _name(unit: int, found: Found, axes: Sequence[Axis]) -> str:
    """The tensor that makes a unit, else the first that has it."""
    return found.names.get(unit) or next(axes[number].tensor for number, _ in found.places[unit] if number >= 0)


def same_blocks(ledger: Ledger, unit_of: Ids) -> Ids:
    """Ties (m, 2) between blocks that hold the same units, as heads that share their keys do: they are one."""
    ties: list[tuple[int, int]] = []
    for held in _families(ledger, unit_of):
        first: dict[frozenset[int], int] = {}
        ties += [(first.setdefault(frozenset(units), block), block) for block, units in held.items()]
    return np.array(ties, np.int64).reshape(-1, 2)


def joint_blocks(ledger: Ledger, unit_of: Ids) -> Ids:
    """Ties (m, 2) between blocks that share units one for one: they can only be moved together.

    Blocks of different sizes are not tied: there the smaller ones are moved within the larger.
    """
    parents: dict[int, list[tuple[int, int]]] = {}
    for number, held in enumerate(_families(ledger, unit_of)):
        for block, units in held.items():
            for unit in units:
                parents.setdefault(unit, []).append((number, block))
    ties = []
    for component in _components([blocks for blocks in parents.values() if len(blocks) > 1]):
        blocks = [block for _, block in component]
        if len({number for number, _ in component}) == len(component):
            ties += [(blocks[0], block) for block in blocks[1:]]
    return np.array(ties, np.int64).reshape(-1, 2)


def _families(ledger: Ledger, unit_of: Ids) -> Iterator[dict[int, set[int]]]:
    """For each time that blocks were made, the units of each that can move."""
    for pairs in ledger.inside:
        held: dict[int, set[int]] = {}
        for block, unit in np.unique(unit_of[pairs], axis=0).tolist():
            if block not in (unit, FIXED):
                held.setdefault(block, set()).add(unit)
        yield held


def _components(edges: Sequence[Sequence[tuple[int, int]]]) -> list[set[tuple[int, int]]]:
    """What hangs together by common members."""
    of: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for members in edges:
        union = set().union(*(of.get(member, {member}) for member in members))
        of |= dict.fromkeys(union, union)
    return list({id(component): component for component in of.values()}.values())
