"""Positive factors between layers, brought to one standard: each unit is read as strongly as it is made.

For a ReLU unit that is the balanced point of its rescaling orbit, ‖incoming weights‖ = ‖outgoing weights‖ (Stock et al.
2019, arXiv 1902.10416); where BatchNorm takes the factor away again, ‖incoming weights‖ is the same for all units of a
layer: what it is on average in a network that is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rashomon_cli.science.symmetries.labels import FIXED, Ids
from rashomon_cli.science.symmetries.structure import Symmetries, rescale

_SWEEPS, _TOLERANCE = 500, 1e-12
_LARGEST = 1e6


def balance(
    symmetries: Symmetries, tensors: Mapping[str, Tensor], names: frozenset[str], like: Mapping[str, Tensor]
) -> Tensor:
    """Factors that balance a network.

    Args:
        symmetries: of the network.
        tensors: parameters and statistics, float64.
        names: of the tensors whose norms count: the parameters.
        like: the network whose layers say how strong weights before BatchNorm are to be on average: those of one layer
            then count as much beside those of others as they do there.

    Returns:
        Logarithm of the factor of each scale (S,); 0 where a unit has no weights or its factor is not free.
    """
    free, absorbed = _marked(symmetries.free, symmetries.scales), _marked(symmetries.absorbed, symmetries.scales)
    entries = [
        Entry(axis.tensor, axis.axis, torch.from_numpy(scales), power)
        for axis in symmetries.axes
        if axis.tensor in names
        for scales, power in axis.powers
    ]
    squares, usual = ({n: each[n].detach().double().square().cpu() for n in names} for each in (tensors, like))
    total = torch.zeros(symmetries.scales, dtype=torch.float64)
    clusters = _clusters(entries, symmetries.scales)
    aims = [_sums(own, usual, total)[0][members & absorbed].mean() for members, own in clusters]
    for _ in range(_SWEEPS):
        largest = 0.0
        for (members, own), aim in zip(clusters, aims):
            made, read = _sums(own, squares, total)
            step = torch.zeros_like(total)
            paired = members & free & (made > 0) & (read > 0)
            step[paired] = 0.25 * (read[paired] / made[paired]).log()
            alone = members & absorbed & (made > 0) & (aim > 0)
            step[alone] = 0.5 * (aim / made[alone]).log()
            for entry in own:
                entry.multiply(squares, step)
            total += step
            largest = max(largest, float(step.abs().max()))
        if largest < _TOLERANCE:
            break
    return total


def _marked(which: Ids, count: int) -> Tensor:
    found = torch.zeros(count, dtype=torch.bool)
    found[torch.from_numpy(which)] = True
    found[FIXED] = False
    return found


@dataclass(frozen=True)
class Entry:
    """Scales along an axis of a tensor.

    Attributes:
        tensor: its name.
        axis: the last of the axes that ``scales`` lies along.
        scales: (n,), or (O, C/g) along the first two axes.
        power: to which they multiply the tensor.
    """

    tensor: str
    axis: int
    scales: Tensor
    power: int

    def sums(self, squares: Mapping[str, Tensor]) -> Tensor:
        """Sums of the squares that each scale multiplies (n,)."""
        square = squares[self.tensor]
        kept = range(self.axis + 1 - self.scales.ndim, self.axis + 1)
        rest = [axis for axis in range(square.ndim) if axis not in kept]
        return (square.sum(rest) if rest else square).reshape(-1)

    def multiply(self, squares: Mapping[str, Tensor], logarithms: Tensor) -> None:
        """Move the scales, in place."""
        square = squares[self.tensor]
        shape = [1] * square.ndim
        shape[self.axis + 1 - self.scales.ndim : self.axis + 1] = self.scales.shape
        square *= (2 * self.power * logarithms[self.scales]).exp().reshape(shape)


def _sums(entries: Sequence[Entry], squares: Mapping[str, Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
    """For each scale (S,), the sum of the squares that make its unit, and of those that read it."""
    made, read = torch.zeros_like(like), torch.zeros_like(like)
    for entry in entries:
        (made if entry.power > 0 else read).index_add_(0, entry.scales.reshape(-1), entry.sums(squares))
    return made, read


def _clusters(entries: Sequence[Entry], count: int) -> list[tuple[Tensor, list[Entry]]]:
    """Scales in sets, those of one axis together, which are moved at once; and where each set occurs."""
    clusters: list[set[int]] = []
    for entry in entries:
        own = set(entry.scales.unique().tolist()) - {FIXED}  # type: ignore[no-untyped-call]
        for each in [cluster for cluster in clusters if cluster & own]:
            clusters.remove(each)
            own |= each
        clusters += [own] if own else []
    found = []
    for cluster in clusters:
        members = torch.zeros(count, dtype=torch.bool)
        members[list(cluster)] = True
        found.append((members, [entry for entry in entries if bool(members[entry.scales].any())]))
    return found


def normalise(
    symmetries: Symmetries, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], names: frozenset[str]
) -> dict[str, Tensor]:
    """Give a network the factors that another has relative to its balanced point: both then differ by no rescaling.

    Args:
        symmetries: of both.
        tensors: of the network that is changed, float64.
        like: of the other one.
        names: of the parameters.

    Returns:
        Tensors that compute the same function.
    """
    factors = balance(symmetries, tensors, names, like) - balance(symmetries, like, names, like)
    for axis in symmetries.axes:
        if axis.added is None or not axis.powers:
            continue
        # A variance stays positive, and where a channel is all but silent it does not become as large as it can.
        (scales, power), own = axis.powers[0], tensors[axis.tensor].double().cpu() + axis.added
        largest = _LARGEST * (like[axis.tensor].double().cpu() + axis.added).clamp(min=1.0)
        places = torch.from_numpy(scales)
        factors.scatter_reduce_(0, places, (largest / own).log() / power, "amin")
        factors.scatter_reduce_(0, places, (axis.added / own).log() / power, "amax")
    return rescale(symmetries, tensors, factors * _marked(symmetries.free, symmetries.scales))
