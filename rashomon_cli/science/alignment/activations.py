"""Matching units by what they do: the correlation of their activations on the same inputs.

Ainsworth et al. 2022, arXiv 2209.04836, §3.1. Units are looked at where the next layer reads them. Those that are
silent, or that do the same as another, are tied: any partner is as good, and they are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from rashomon_cli.science.alignment.matching import Match, Matrix, Similarities, assign
from rashomon_cli.science.alignment.places import where
from rashomon_cli.science.problem import Tick, silent
from rashomon_cli.science.symmetries.graph import Graph
from rashomon_cli.science.symmetries.labels import Ids
from rashomon_cli.science.symmetries.structure import Group, Symmetries
from rashomon_cli.science.symmetries.walk import Reading

_OCCURRENCES = 64
_TIE = 1e-9


@dataclass
class Moments:
    """Sums over examples from which correlations of the units of two networks are computed."""

    count: int = 0
    sums: list[Tensor] = field(default_factory=list)
    squares: list[Tensor] = field(default_factory=list)
    cross: Tensor | None = None
    shift: list[Tensor] = field(default_factory=list)

    def add(self, one: Tensor, other: Tensor) -> None:
        """Activations of one batch (m, k) of both networks."""
        one, other = one.double(), other.double()
        if self.cross is None:
            self.shift = [one.mean(1, keepdim=True), other.mean(1, keepdim=True)]
        one, other = (x - s for x, s in zip((one, other), self.shift))
        sums, squares = [x.sum(1) for x in (one, other)], [x.square().sum(1) for x in (one, other)]
        cross = one @ other.T
        if self.cross is None:
            self.sums, self.squares, self.cross = sums, squares, cross
        else:
            self.cross += cross
            for total, new in zip((*self.sums, *self.squares), (*sums, *squares)):
                total += new
        self.count += one.shape[1]

    def correlation(self) -> Matrix:
        """Correlations (m, m); 0 where a unit does not vary."""
        assert self.cross is not None
        means = [total / self.count for total in self.sums]
        spreads = [(s / self.count - m.square()).clamp(min=0).sqrt() for s, m in zip(self.squares, means)]
        covariance = self.cross / self.count - torch.outer(*means)
        scale = torch.outer(*spreads)
        floor = 1e-12 * max(1e-300, float(scale.max()))
        found = torch.where(scale > floor, covariance / scale.clamp(min=floor), torch.zeros_like(scale))
        result: Matrix = found.cpu().numpy()
        return result


@dataclass(frozen=True)
class Site:
    """Where the activations of units are read.

    Attributes:
        node: name of the operation that reads them.
        argument: which of its arguments they are.
        places: positions of each unit in one example's tensor, flattened (m, k).
    """

    node: str
    argument: int
    places: Tensor


def by_activations(
    graph: Graph,
    symmetries: Symmetries,
    readings: Sequence[Reading],
    one: Mapping[str, Tensor],
    other: Mapping[str, Tensor],
    inputs: Iterable[Tensor],
    tick: Tick = silent,
) -> Match:
    """Match units so that the sum of the correlations of matched pairs is largest.

    Args:
        graph: the network, traced with batches of the size of ``inputs``.
        symmetries: of the network.
        readings: where activations are read.
        one: tensors of the network that stays.
        other: tensors of the network that is moved.
        inputs: batches (B, …), all of one size.
        tick: called after each batch.

    Returns:
        The match, and the units that are tied.
    """
    sets = [(group, [group.units, *(inner.units.reshape(-1) for inner in group.inner)]) for group in symmetries.groups]
    sites = {(g, p): _sites(readings, units) for g, (_, parts) in enumerate(sets) for p, units in enumerate(parts)}
    moments = {(key, site): Moments() for key, several in sites.items() for site in range(len(several))}
    wanted = {(site.node, site.argument) for several in sites.values() for site in several}
    for x in inputs:
        seen = [_watch(graph, tensors, x, wanted) for tensors in (one, other)]
        for key, several in sites.items():
            for number, site in enumerate(several):
                moments[key, number].add(*(_units(each[site.node, site.argument], site.places) for each in seen))
        tick(None)
    source = symmetries.identity()
    ties: dict[str, list[int]] = {}
    for g, (group, parts) in enumerate(sets):
        matrices = []
        for p, units in enumerate(parts):
            total = np.zeros((len(units), len(units)))
            for number in range(len(sites[g, p])):
                total += moments[(g, p), number].correlation()
            matrices.append(total)
        found = Similarities(matrices[0], tuple(matrices[1:]))
        assign(group, found, source)
        if tied := _ties(group, parts, matrices, source):
            ties[group.name] = tied
    return Match(source, ties)


def _sites(readings: Sequence[Reading], units: Ids) -> list[Site]:
    """The tensors that hold all of some units, each alike."""
    found = []
    for reading in readings:
        labels = reading.units[0].reshape(-1).numpy()
        if not np.isin(units, labels).all():
            continue
        places = where(labels, units)
        if places is not None:
            step = max(1, places.shape[1] // _OCCURRENCES)
            found.append(Site(reading.node, reading.argument, torch.from_numpy(places[:, ::step][:, :_OCCURRENCES])))
    return found


def _units(tensor: Tensor, places: Tensor) -> Tensor:
    """Activations (m, B·k) of units."""
    return tensor.flatten(1)[:, places.to(tensor.device)].movedim(0, 1).flatten(1)


class _Watcher(fx.Interpreter):
    """Runs a graph and keeps what some operations read."""

    def __init__(self, module: fx.GraphModule, wanted: set[tuple[str, int]]) -> None:
        super().__init__(module)
        self.wanted = wanted
        self.nodes = {node for node, _ in wanted}
        self.seen: dict[tuple[str, int], Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation."""
        if n.name in self.nodes:
            args, _ = self.fetch_args_kwargs_from_env(n)
            for place, value in enumerate(args):
                if (n.name, place) in self.wanted:
                    self.seen[n.name, place] = value.clone()
        return super().run_node(n)


@torch.no_grad()
def _watch(
    graph: Graph, tensors: Mapping[str, Tensor], x: Tensor, wanted: set[tuple[str, int]]
) -> dict[tuple[str, int], Tensor]:
    watcher = _Watcher(graph.module, wanted)
    flat = [tensors[name] for name in graph.names]
    watcher.run(*flat, x, enable_io_processing=False)
    return watcher.seen


def _ties(group: Group, parts: Sequence[Ids], matrices: Sequence[Matrix], source: Ids) -> list[int]:
    """Positions of units in the group (within blocks: in all blocks together) that have another partner as good."""
    found: set[int] = set()
    for level, (units, matrix) in enumerate(zip(parts, matrices)):
        if group.inner and level == 0:
            continue
        order = np.argsort(units)
        partner = order[np.searchsorted(units[order], source[units])]
        best = matrix[np.arange(len(units)), partner]
        width = group.inner[level - 1].units.shape[1] if group.inner else len(units)
        block = partner // width
        inside = np.arange(len(units))[None, :] // width == block[:, None]
        as_good = (abs(matrix - best[:, None]) <= _TIE) & inside
        found |= set(np.flatnonzero(as_good.sum(1) > 1).tolist())
    return sorted(found)
