"""The entries that belong to each unit of a network, gathered into one row a unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.science.symmetries.labels import Ids
from rashomon_cli.science.symmetries.structure import Axis, Symmetries


def where(labels: Ids, units: Ids) -> Ids | None:
    """Positions of units among labels.

    Args:
        labels: a unit for each position (n,).
        units: the units that are looked for (m,).

    Returns:
        For each unit its positions in order (m, r); None where none of them occurs.
    """
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    first = np.searchsorted(ordered, units, "left")
    count = int(np.searchsorted(ordered, units[:1], "right")[0] - first[0]) if len(units) else 0
    if count == 0:
        return None
    found: Ids = order[first[:, None] + np.arange(count)]
    return found


def rows(symmetries: Symmetries, tensors: Mapping[str, Tensor], units: Ids) -> Iterator[Tensor]:
    """The entries of units, axis by axis.

    Args:
        symmetries: of the network.
        tensors: by name; axes of others are left out.
        units: that are alike (m,).

    Yields:
        For each axis in which the units occur, their entries (m, k), in the same order for every unit.
    """
    for axis in symmetries.axes:
        if axis.tensor in tensors and (places := where(axis.units.reshape(-1), units)) is not None:
            yield _leading(tensors[axis.tensor], axis)[torch.from_numpy(places)].flatten(1)


def _leading(tensor: Tensor, axis: Axis) -> Tensor:
    """A tensor with an axis in front; the inputs of a convolution in groups lie along its first two."""
    if axis.units.ndim == 2:
        return tensor.flatten(0, 1).unsqueeze(-1).flatten(1)
    return tensor.movedim(axis.axis, 0).flatten(1) if tensor.ndim > 1 else tensor[:, None]
