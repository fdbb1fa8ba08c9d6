"""Half of one network and half of another in a network of their own width.

Both networks are pruned to half of the units of every group of interchangeable ones; what is left of the second is
moved, by permuting its units, to where the first has none left. Then one can give way to the other
(:mod:`~rashomon_cli.science.halves`) with no more units than each had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.halves import HINT
from rashomon_cli.science.problem import Batches, Layout, Point, Problem, Tick, silent
from rashomon_cli.science.symmetries import Group, Symmetries, permute
from rashomon_cli.science.symmetries.labels import FIXED, Ids


def check(symmetries: Symmetries, names: Sequence[str]) -> None:
    """See that every unit of the network can be in one half or the other.

    Args:
        symmetries: of the network.
        names: of the parameters that are trained.

    Raises:
        Refused: naming a tensor whose units are not interchangeable with others.
    """
    movable = {FIXED, *(int(unit) for group in symmetries.groups for unit in _all(group, range(group.size)))}
    for axis in symmetries.axes:
        if axis.tensor in names and (alone := set(np.unique(axis.units).tolist()) - movable):
            count = "a unit" if len(alone) == 1 else f"{len(alone)} units"
            raise Refused(
                f"the network cannot be halved: {axis.tensor} has {count} that no other could be interchanged with",
                HINT,
            )
    if not symmetries.groups:
        raise Refused("the network cannot be halved: none of its units are interchangeable", HINT)


def importance(
    problem: Problem, point: Point, symmetries: Symmetries, batches: Batches, seed: int, tick: Tick = silent
) -> Tensor:
    """How much the outputs depend on each unit: mean over examples of the squared derivative by a factor on it.

    As the importance of Molchanov et al. 2019 (arXiv 1906.10771, eqs. 6 and 8), but for the outputs, so that it does
    not vanish where the loss is at its minimum. The factor is one on all parameters of the unit's first axes (its
    incoming weights, bias, and what normalises it), so the derivative is Σ θ ∂f/∂θ over these, with BatchNorm's
    statistics as they are. The sum over outputs is estimated with random signs (Hutchinson 1990): each batch gives an
    unbiased estimate with a standard deviation of about √2 times the value.

    Args:
        problem: the network.
        point: its parameters, with BatchNorm statistics of their own.
        symmetries: of the network.
        batches: examples, in many small batches.
        seed: of the signs.
        tick: called after each batch.

    Returns:
        Importances (U,) of all units; that of what is fixed is 0. A unit that is never read, or always zero, has 0.
    """
    chooser = torch.Generator().manual_seed(seed)
    makes = [axis for axis in symmetries.axes if axis.axis == 0 and axis.tensor in problem.layout.names]
    total = torch.zeros(symmetries.units, dtype=torch.float64)
    problem.module.eval()
    for x, _ in batches:
        theta = point.theta.detach().requires_grad_()
        outputs = problem.outputs(theta, point.buffers, x)
        signs = torch.randint(0, 2, outputs.shape, generator=chooser).to(outputs) * 2 - 1
        (gradient,) = torch.autograd.grad((outputs * signs).sum(), theta)
        products = problem.layout.split((gradient * point.theta).double().cpu())
        slope = torch.zeros_like(total)
        for axis in makes:
            own = products[axis.tensor]
            slope.index_add_(0, torch.from_numpy(axis.units), own.reshape(len(own), -1).sum(1))
        total += slope.square()
        tick(None)
    total[FIXED] = 0
    return total / batches.count


@dataclass(frozen=True)
class Halves:
    """Which units each network keeps, and where those of the second go.

    Attributes:
        one: for each unit, whether the first network keeps it (U,).
        other: for each unit, whether the second network keeps it, at its own place (U,).
        source: for each unit, the unit of the second network that moves there (U,).
    """

    one: Ids
    other: Ids
    source: Ids


def choose(symmetries: Symmetries, one: Tensor, other: Tensor) -> Halves:
    """Keep the units that matter most to each network, and move the second one's to where the first has none.

    Args:
        symmetries: of both networks.
        one: importances of the first network's units (U,).
        other: those of the second's.

    Returns:
        The first keeps ⌊n/2⌋ units of each group of n, the second the number that is left. Blocks, such as attention
        heads, are kept or dropped as wholes.
    """
    keeps = [np.ones(symmetries.units, np.int64) for _ in range(2)]
    source = symmetries.identity()
    for group in symmetries.groups:
        orders = [np.argsort(-_scores(group, each), kind="stable") for each in (one, other)]
        half = group.size // 2
        stays, goes = np.sort(orders[0][:half]), np.sort(orders[0][half:])
        comes, dropped = np.sort(orders[1][: group.size - half]), np.sort(orders[1][group.size - half :])
        keeps[0][_all(group, goes)] = 0
        keeps[1][_all(group, dropped)] = 0
        source[_all(group, goes)] = _all(group, comes)
        source[_all(group, stays)] = _all(group, dropped)
    return Halves(keeps[0], keeps[1], source)


def _all(group: Group, members: Sequence[int] | Ids) -> Ids:
    """The units of some members of a group, those within blocks included."""
    chosen = np.asarray(members, np.int64)
    found: Ids = np.concatenate([group.units[chosen], *(inner.units[chosen].reshape(-1) for inner in group.inner)])
    return found


def _scores(group: Group, importances: Tensor) -> Ids:
    """Importance of each member; that of a block is the sum over its units."""
    found: Ids = importances.numpy()[group.units] + sum(
        importances.numpy()[inner.units].sum(1) for inner in group.inner
    )
    return found


def mask(symmetries: Symmetries, layout: Layout, keeps: Ids) -> Tensor:
    """What is left of a network's parameters: 0 where an entry makes or reads a unit that is dropped.

    Args:
        symmetries: of the network.
        layout: of its parameters.
        keeps: for each unit whether it is kept (U,).

    Returns:
        0 or 1 for each parameter (P,), float64.
    """
    found = {n: torch.ones(shape, dtype=torch.float64) for n, shape in zip(layout.names, layout.shapes, strict=True)}
    for axis in symmetries.axes:
        if axis.tensor in found:
            own = torch.from_numpy(keeps[axis.units]).double()
            shape = [1] * found[axis.tensor].ndim
            for offset, length in enumerate(axis.units.shape):
                shape[axis.axis - axis.units.ndim + 1 + offset] = length
            found[axis.tensor] *= own.reshape(shape)
    return layout.flatten(found)


def shifted(symmetries: Symmetries, layout: Layout) -> Tensor:
    """True for the parameters (P,) that write to what both networks have: the outputs, and what has no units."""
    inside = {axis.tensor for axis in symmetries.axes if axis.axis == 0 and (axis.units != FIXED).any()}
    return torch.cat(
        [torch.full((size,), name not in inside) for name, size in zip(layout.names, layout.sizes, strict=True)]
    )


def moved(symmetries: Symmetries, layout: Layout, theta: Tensor, source: Ids) -> Tensor:
    """Parameters (P,) of the same network with its units at other places."""
    named: Mapping[str, Tensor] = layout.split(theta)
    return layout.flatten(permute(symmetries, named, source))
