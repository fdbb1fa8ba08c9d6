"""Applying symmetries: interchanging units, and moving positive factors past them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
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
