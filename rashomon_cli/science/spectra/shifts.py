"""Constants that can be added to parameters: found by trial on every tensor that they could be added to.

Biases: that b of a channel and the β of a later BatchNorm with frozen statistics, ``(b, β) → (b + δ, β − γδ/σ)``, or
two biases that are added to one sum, ``(b, b') → (b + δ, b' − δ)``. All entries along an axis: ``W → W + 1vᵀ`` adds one
number to all outputs of a layer, of which softmax cross-entropy is independent where they are logits, and LayerNorm
where it reads them.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from rashomon_cli.core.results import Array
from rashomon_cli.science.agreement import TOLERANCE, deviation
from rashomon_cli.science.problem import Layout, Loss
from rashomon_cli.science.spectra.affine import CONSTANT, Affine, Entries
from rashomon_cli.science.symmetries import Graph, Symmetries
from rashomon_cli.science.symmetries.frozen import Norm, norms
from rashomon_cli.science.symmetries.labels import FIXED

LOSS_TOLERANCE = 1e-12
"""How far losses in float64 that are the same but for rounding may be apart, relative to the largest output."""
_SPREAD, _LEAST = 0.2, 0.1
_ONE, _LESS = ((np.asarray(CONSTANT), np.asarray(each)) for each in (1.0, -1.0))

Tensors = Mapping[str, Tensor]
"""Parameters and statistics by name."""


@dataclass(frozen=True)
class Network:
    """A network at a point, in float64 on the CPU, and some examples.

    Attributes:
        module: with the point's parameters and buffers.
        layout: of its flat vector.
        loss: of each example.
        x: inputs (B, …).
        y: targets.
    """

    module: nn.Module
    layout: Layout
    loss: Loss
    x: Tensor
    y: Tensor

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers by name."""
        named = (*self.module.named_parameters(), *self.module.named_buffers())
        return {name: value.detach() for name, value in named}

    @cached_property
    def places(self) -> tuple[dict[str, Tensor], ...]:
        """Tensors in general position, trained ones moved off at random, so that no unit is idle; and its own."""
        random = torch.Generator().manual_seed(0)
        moved = dict(self.tensors)
        for name in self.layout.names:
            value = moved[name]
            size = _SPREAD * value.square().mean().sqrt() + _LEAST / max(1, value[:1].numel()) ** 0.5
            moved[name] = value + size * torch.randn(value.shape, generator=random, dtype=value.dtype)
        return moved, self.tensors

    @cached_property
    def usual(self) -> tuple[Tensor, ...]:
        """What the network computes at each of the places."""
        return tuple(self.outputs(tensors) for tensors in self.places)

    def outputs(self, tensors: Tensors) -> Tensor:
        """What the network computes (B, …)."""
        with torch.no_grad():
            found: Tensor = torch.func.functional_call(self.module, dict(tensors), (self.x,))
        return found

    def keeps(self, move: Affine) -> str | None:
        """What stays as it is along a random combination of directions, at each of the places.

        A step of any length along them is the move itself: they do not depend on what they move.

        Returns:
            ``outputs``, ``loss``, or None.
        """
        kept = "outputs"
        for tensors, before in zip(self.places, self.usual, strict=True):
            after = self.outputs(self._moved(tensors, move))
            if deviation(before, after) <= TOLERANCE:
                continue
            kept = "loss"
            apart = (self.loss(after, self.y) - self.loss(before, self.y)).abs().max()
            if not float(apart) <= LOSS_TOLERANCE * float(torch.maximum(before.abs(), after.abs()).max()):
                return None
        return kept

    def _moved(self, tensors: Tensors, move: Affine) -> dict[str, Tensor]:
        rows = move.at(self.layout.flatten(tensors).numpy())
        weights = np.random.default_rng(0).normal(size=rows.shape[0])
        step = self.layout.split(torch.from_numpy(weights @ rows))
        return {name: value + step[name] if name in step else value for name, value in tensors.items()}


def of_biases(network: Network, graph: Graph, symmetries: Symmetries) -> Iterator[Affine]:
    """Shifts of biases that another parameter makes up for.

    Args:
        network: at the point.
        graph: its data flow.
        symmetries: of it: which parameters are added to the same channels.

    Yields:
        Directions (C, P) of each pair that holds, one a channel.
    """
    several = norms(graph, network.layout.names)
    scaled = {norm.weight for norm in several}
    together = defaultdict[tuple[int, ...], list[str]](list)
    after = defaultdict[tuple[int, ...], list[Norm]](list)
    for axis in symmetries.axes:
        if len(axis.powers) != 1 or axis.powers[0][1] != 1 or axis.units.ndim != 1:
            continue
        line = tuple(axis.powers[0][0].tolist())
        if FIXED in line:
            continue
        after[line] += [n for n in several if n.mean == axis.tensor and n.weight and n.bias]
        if axis.tensor in network.layout.names and network.tensors[axis.tensor].ndim == 1 and axis.tensor not in scaled:
            together[line].append(axis.tensor)
    for line, names in together.items():
        moves = [_into_norms(network, name, after[line]) for name in names if after[line]]
        moves += [_between(network.layout, *pair) for pair in itertools.combinations(names, 2)]
        for move in moves:
            if network.keeps(move) == "outputs":
                yield move


def of_axes(network: Network) -> Iterator[tuple[str, Affine]]:
    """Shifts of all entries along an axis of a tensor by one number.

    Args:
        network: at the point.

    Yields:
        What is kept, ``outputs`` or only ``loss``, and directions of each axis that holds, one for each place along the
        others.
    """
    for name, shape in zip(network.layout.names, network.layout.shapes, strict=True):
        for axis in range(len(shape)):
            move = _along(network.layout, name, axis)
            kept = network.keeps(move)
            if kept is not None:
                yield kept, move


def _into_norms(network: Network, name: str, after: list[Norm]) -> Affine:
    entries = Entries(network.layout)
    channels = np.arange(network.tensors[name].numel())
    entries.add(channels, entries.places[name], *_ONE)
    for norm in after:
        assert norm.weight is not None
        assert norm.bias is not None
        factors = -1.0 / norm.deviation(network.tensors).numpy()
        entries.add(channels, entries.places[norm.bias], entries.places[norm.weight], factors)
    return entries.affine(len(channels))


def _between(layout: Layout, name: str, other: str) -> Affine:
    entries = Entries(layout)
    channels = np.arange(entries.places[name].size)
    entries.add(channels, entries.places[name], *_ONE)
    entries.add(channels, entries.places[other], *_LESS)
    return entries.affine(len(channels))


def _along(layout: Layout, name: str, axis: int) -> Affine:
    entries = Entries(layout)
    place: Array = np.moveaxis(entries.places[name], axis, 0)
    place = place.reshape(len(place), -1)
    entries.add(np.arange(place.shape[1]), place, *_ONE)
    return entries.affine(place.shape[1])
