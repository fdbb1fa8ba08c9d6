"""Positive factors between layers, brought to one standard: each unit is read as strongly as it is made.

For a ReLU unit that is the balanced point of its rescaling orbit, ‖incoming weights‖ = ‖outgoing weights‖ (Stock et al.
2019, arXiv 1902.10416); where BatchNorm takes the factor away again, ‖incoming weights‖ = 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rashomon_cli.science.symmetries.labels import FIXED
from rashomon_cli.science.symmetries.structure import Symmetries, rescale

_SWEEPS, _TOLERANCE = 500, 1e-12


def balance(symmetries: Symmetries, tensors: Mapping[str, Tensor], names: frozenset[str]) -> Tensor:
    """Factors that balance a network.

    Args:
        symmetries: of the network.
        tensors: parameters and statistics, float64.
        names: of the tensors whose norms count: the parameters.

    Returns:
        Logarithm of the factor of each scale (S,); 0 where a unit has no weights or its factor is not free.
    """
    free = torch.zeros(symmetries.scales, dtype=torch.bool)
    free[torch.from_numpy(symmetries.free)] = True
    free[FIXED] = False
    absorbed = torch.zeros_like(free)
    absorbed[torch.from_numpy(symmetries.absorbed)] = True
    entries = [
        Entry(axis.tensor, axis.axis, torch.from_numpy(scales), power)
        for axis in symmetries.axes
        if axis.tensor in names
        for scales, power in axis.powers
    ]
    squares = {name: tensors[name].detach().double().square().cpu() for name in names}
    total = torch.zeros(symmetries.scales, dtype=torch.float64)
    clusters = _clusters(entries, symmetries.scales)
    for _ in range(_SWEEPS):
        largest = 0.0
        for members, own in clusters:
            made, read = (torch.zeros_like(total) for _ in range(2))
            for entry in own:
                (made if entry.power > 0 else read).index_add_(0, entry.scales.reshape(-1), entry.sums(squares))
            step = torch.zeros_like(total)
            paired = members & free & (made > 0) & (read > 0)
            step[paired] = 0.25 * (read[paired] / made[paired]).log()
            alone = members & absorbed & (made > 0)
            step[alone] = -0.5 * made[alone].log()
            for entry in own:
                entry.multiply(squares, step)
            total += step
            largest = max(largest, float(step.abs().max()))
        if largest < _TOLERANCE:
            break
    return total


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
    factors = balance(symmetries, tensors, names) - balance(symmetries, like, names)
    for axis in symmetries.axes:
        if axis.added is not None and axis.powers:  # a variance stays positive
            scales, power = axis.powers[0]
            least = (axis.added / (tensors[axis.tensor].double().cpu() + axis.added)).log() / power
            factors.scatter_reduce_(0, torch.from_numpy(scales), least, "amax")
    return rescale(symmetries, tensors, factors)
