"""Parameters of dead and constant units: what can change without any output on some examples changing.

Nothing is assumed about the kind of network. The Jacobian J of all outputs on all examples is seen through a few random
projections ``uᵀJ``, one backward pass each: the column of a parameter is 0 exactly where its projections are, and two
columns are proportional where their projections are, with probability 1 (as in Freivalds 1977, checking an identity of
matrices). Which parameters belong to which unit is read off the network's symmetries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Array
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.problem import Batches, Layout, Point, Problem, Tick, silent
from rashomon_cli.science.spectra.graphs import Frozen
from rashomon_cli.science.symmetries import Symmetries
from rashomon_cli.science.symmetries.labels import FIXED, Ids
from rashomon_cli.science.visibility import centred

PROBES = 4
_ALIKE = {torch.float64: 1e-9, torch.float32: 1e-4}  # rounding of a projection, with room to spare


@dataclass(frozen=True)
class Trade:
    """Weights that read constants c, and the biases that take up what they add.

    Attributes:
        weights: places in the flat vector (r, m).
        bias: of the bias beside each row (r,).
        constants: c (r, m): of all changes of a row's weights w and bias b those with ``c·w + b = 0`` change no output.
    """

    weights: Tensor
    bias: Tensor
    constants: Tensor


@dataclass(frozen=True)
class Idle:
    """The directions that dead and constant units leave free.

    Attributes:
        dead: parameters (P,) that no output on the examples depends on, and that belong to a unit.
        trades: those of constant units with biases.
        quiet: parameters (P,) that no output on the examples depends on, of units or not.
    """

    dead: Tensor
    trades: tuple[Trade, ...]
    quiet: Tensor

    @property
    def dimension(self) -> int:
        """Number of independent directions."""
        return int(self.dead.sum()) + sum(trade.weights.numel() for trade in self.trades)

    def unseen(self, vectors: Tensor) -> Tensor:
        """The parts of vectors (k, P), float64, within the directions and the quiet parameters."""
        return self.project(vectors) + vectors * (self.quiet & ~self.dead)

    def project(self, vectors: Tensor) -> Tensor:
        """The parts of vectors (k, P), float64, within the directions."""
        found = vectors * self.dead
        for trade in self.trades:
            size = (1 + trade.constants.square().sum(1)).sqrt()
            normal, last = trade.constants / size[:, None], 1 / size
            weights, bias = vectors[:, trade.weights], vectors[:, trade.bias]
            along = (weights * normal).sum(2) + bias * last
            found[:, trade.weights] = weights - along[:, :, None] * normal
            found[:, trade.bias] = bias - along * last
        return found


def idle(
    problem: Problem,
    point: Point,
    batches: Batches,
    symmetries: Symmetries | None = None,
    *,
    seed: int = 0,
    tick: Tick = silent,
) -> Idle:
    """Find dead and constant units.

    A unit's parameters along one axis of one tensor, such as the weights that make it or those that read it, count as
    dead if all of them have exactly 0 as their column of J: a single weight of 0 influence, such as that of an input
    which is always 0, does not. Of a unit that is constant, but not 0, weights trade against the bias beside them.

    Args:
        problem: the model.
        point: where; BatchNorm frozen.
        batches: the examples.
        symmetries: of the network; where they are not known, units are taken to lie along the first axis of each
            parameter, so that the weights which read a dead unit are not found.
        seed: of the projections.
        tick: called after each batch.

    Returns:
        The directions; J times each is 0 to rounding.
    """
    seen, quiet = _projections(problem, point, batches, seed, tick)
    places = problem.layout.split(torch.arange(problem.layout.total))
    dead = torch.zeros(problem.layout.total, dtype=torch.bool)
    hidden: dict[str, list[Array]] = {name: [] for name in places}
    for name, axis, units in _units(problem.layout, symmetries):
        still = quiet[places[name]].numpy()
        moving = np.bincount(units.reshape(-1), weights=~still.reshape(-1))
        dead[places[name]] |= torch.from_numpy(still & (moving[units] == 0) & (units != FIXED))
        if axis > 0 or still.ndim == 1:
            hidden[name].append(units != FIXED)
    device = point.theta.device
    trades = _trades(places, hidden, seen, dead, _ALIKE[point.theta.dtype])
    moved = [Trade(t.weights.to(device), t.bias.to(device), t.constants.to(device)) for t in trades]
    return Idle(dead.to(device), tuple(moved), quiet.to(device))


def _projections(problem: Problem, point: Point, batches: Batches, seed: int, tick: Tick) -> tuple[Tensor, Tensor]:
    """``uᵀJ`` for several random u (4, P), float64, and which columns are 0 in every batch (P,); on the CPU."""
    frozen = Frozen(problem, point)
    chooser = torch.Generator().manual_seed(derive(seed, "idle units"))
    total = torch.zeros(PROBES, point.theta.numel(), dtype=torch.float64)
    quiet = torch.ones(point.theta.numel(), dtype=torch.bool)
    for x, _ in batches:
        with frozen.differentiating():
            outputs = centred(problem, frozen.outputs(x))
            for probe in range(PROBES):
                u = torch.randn(outputs.shape, generator=chooser, dtype=torch.float64).to(outputs)
                row = frozen.block.joined(frozen.derivative([outputs], [u])).double().cpu()
                total[probe] += row
                quiet &= row == 0
        tick(None)
    return total, quiet


def _units(layout: Layout, symmetries: Symmetries | None) -> Iterator[tuple[str, int, Ids]]:
    """Each axis of a parameter along which there are units, with the unit of each entry of the parameter."""
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    if symmetries is None:
        for name, shape in shapes.items():
            if len(shape):
                yield name, 0, _spread(np.arange(1, shape[0] + 1), 0, shape)
        return
    for axis in symmetries.axes:
        if axis.tensor in shapes:
            yield axis.tensor, axis.axis, _spread(axis.units, axis.axis, shapes[axis.tensor])


def _spread(units: Ids, axis: int, shape: torch.Size) -> Ids:
    """Units along an axis, or along it and the one before it, as units of all entries."""
    wide = [1] * len(shape)
    wide[axis - units.ndim + 1 : axis + 1] = units.shape
    found: Ids = np.broadcast_to(units.reshape(wide), shape).copy()
    return found


def _trades(
    places: Mapping[str, Tensor], hidden: Mapping[str, list[Array]], seen: Tensor, dead: Tensor, tolerance: float
) -> Iterator[Trade]:
    """Weights whose columns are multiples of the bias's beside them.

    Of a matrix the multiple is the constant that its rows read, the same for all; a scale and a shift, as of a
    normalisation, are each a row of their own.
    """
    for name, own in places.items():
        bias = places.get(f"{name.removesuffix('weight')}bias") if name.endswith("weight") else None
        if bias is None or bias.ndim != 1 or len(own) != len(bias) or not hidden[name]:
            continue
        rows = ~dead[bias] & (seen[:, bias] != 0).any(0)
        weights, bias = own.reshape(len(bias), -1)[rows], bias[rows]
        if not len(bias):
            continue
        over = (0,) if own.ndim == 1 else (0, 1)
        constants, alike = _multiples(seen[:, weights], seen[:, bias, None], over, tolerance)
        chosen = alike & torch.from_numpy(np.any(hidden[name], axis=0)).reshape(len(own), -1)[rows]
        lines, columns = (chosen[:, 0], slice(None)) if own.ndim == 1 else (slice(None), chosen.all(0))
        if bool(chosen[lines][:, columns].numel()):
            yield Trade(weights[lines][:, columns], bias[lines], constants[lines][:, columns])


def _multiples(w: Tensor, b: Tensor, over: tuple[int, ...], tolerance: float) -> tuple[Tensor, Tensor]:
    """The factors c with w = c b by least squares over some axes (r, m), and whether w is c b and not 0."""
    factors = (w * b).sum(over, keepdim=True) / (b * b).sum(over, keepdim=True)
    left = (w - factors * b).square().sum(over, keepdim=True).sqrt()
    size = w.square().sum(over, keepdim=True).sqrt()
    alike = (left <= tolerance * size) & (size > 0)
    return factors[0].expand(w.shape[1:]), alike[0].expand(w.shape[1:])
