"""Applying symmetries: interchanging units, and moving positive factors past them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rashomon_cli.science.symmetries.axes import Symmetries
from rashomon_cli.science.symmetries.labels import FIXED, Ids


def permute(symmetries: Symmetries, tensors: Mapping[str, Tensor], source: Ids) -> dict[str, Tensor]:
    """Interchange units.

    Args:
        symmetries: of the network.
        tensors: parameters and statistics by name.
        source: for each unit, the unit whose weights it gets.

    Returns:
        New tensors; those that no unit is in are as they were.
    """
    found = dict(tensors)
    outputs = {axis.tensor: axis.units for axis in symmetries.axes if axis.axis == 0}
    for axis in symmetries.axes:
        if axis.tensor in found and axis.units.ndim == 1 and (source[axis.units] != axis.units).any():
            index = torch.from_numpy(_index(axis.units, source)).to(found[axis.tensor].device)
            found[axis.tensor] = found[axis.tensor].index_select(axis.axis, index)
    for axis in symmetries.axes:
        if axis.units.ndim == 2 and axis.tensor in found:
            rows = _index(outputs[axis.tensor], source)
            place = np.stack([_between(axis.units[old], source[axis.units[new]]) for new, old in enumerate(rows)])
            tensor = found[axis.tensor]
            wide = torch.from_numpy(place).to(tensor.device).reshape(*place.shape, *(1,) * (tensor.ndim - 2))
            found[axis.tensor] = tensor.gather(1, wide.expand_as(tensor))
    return found


def _index(units: Ids, source: Ids) -> Ids:
    """For each index, the old index whose entries it gets: the k-th of a unit's comes from the k-th of the other's."""
    order = np.argsort(units, kind="stable")
    ordered = units[order]
    start = np.searchsorted(ordered, units, "left")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    rank -= start
    found: Ids = order[np.searchsorted(ordered, source[units], "left") + rank]
    return found


def _between(old: Ids, wanted: Ids) -> Ids:
    """Where in a row of units the wanted ones lie."""
    order = np.argsort(old, kind="stable")
    found: Ids = order[np.searchsorted(old[order], wanted, "left")]
    return found


def mix(symmetries: Symmetries, tensors: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Put a random invertible matrix, near the identity, between the two factors of each product of attention heads.

    Args:
        symmetries: of the network.
        tensors: parameters by name.
        seed: of the matrices.

    Returns:
        New tensors: a factor's rows are multiplied by M, the other's by the inverse of its transpose.
    """
    random, found = np.random.default_rng(seed), dict(tensors)
    inners = [inner for group in symmetries.groups for inner in group.inner if inner.kind != "units"]
    heads = {row[0]: np.array(row) for inner in inners for row in inner.units.tolist()}
    matrices = {}
    for first, units in sorted(heads.items()):
        matrices[first] = np.eye(len(units)) + 0.3 * random.normal(size=(len(units),) * 2) / np.sqrt(len(units))
    for axis in symmetries.axes:
        if axis.sides is None or axis.units.ndim != 1 or axis.tensor not in found:
            continue
        for head in np.intersect1d(axis.units, list(heads)).tolist():
            places = np.stack([np.flatnonzero(axis.units == unit) for unit in heads[head]], 1)
            for place in places:
                one = matrices[head] if axis.sides[place[0]] > 0 else np.linalg.inv(matrices[head]).T
                found[axis.tensor] = _applied(found[axis.tensor], axis.axis, place, one)
    return found


def _applied(tensor: Tensor, axis: int, place: Ids, matrix: npt.NDArray[np.float64]) -> Tensor:
    """A tensor with some rows along an axis multiplied by a matrix."""
    where = torch.from_numpy(place)
    part = tensor.index_select(axis, where).movedim(axis, 0)
    return tensor.index_copy(axis, where, torch.tensordot(torch.from_numpy(matrix), part, 1).movedim(0, axis))


def rescale(symmetries: Symmetries, tensors: Mapping[str, Tensor], logarithms: Tensor) -> dict[str, Tensor]:
    """Move positive factors past units.

    Args:
        symmetries: of the network.
        tensors: parameters and statistics by name.
        logarithms: of the factor of each scale (S,); that of the scale 0 is not read.

    Returns:
        New tensors.
    """
    logarithms = logarithms.clone()
    logarithms[FIXED] = 0
    found = dict(tensors)
    for axis in symmetries.axes:
        if not axis.powers or axis.tensor not in found:
            continue
        tensor = found[axis.tensor]
        total = torch.zeros(axis.units.shape, dtype=logarithms.dtype)
        for scales, power in axis.powers:
            total += power * logarithms[torch.from_numpy(scales)]
        shape = [1] * tensor.ndim
        for offset, length in enumerate(axis.units.shape):
            shape[axis.axis - axis.units.ndim + 1 + offset] = length
        factor = total.exp().reshape(shape).to(tensor)
        added = axis.added or 0.0
        found[axis.tensor] = (tensor + added) * factor - added if added else tensor * factor
    return found
