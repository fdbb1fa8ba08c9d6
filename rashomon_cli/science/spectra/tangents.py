"""Tangents of a network's continuous symmetries over its flat parameters, in which they are linear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.agreement import TOLERANCE, deviation
from rashomon_cli.science.problem import Layout
from rashomon_cli.science.spectra.affine import Affine, Entries
from rashomon_cli.science.symmetries import Graph, Symmetries
from rashomon_cli.science.symmetries.axes import Axis
from rashomon_cli.science.symmetries.check import outputs
from rashomon_cli.science.symmetries.frozen import Norm, movable, norms, rescale_frozen
from rashomon_cli.science.symmetries.labels import Ids
from rashomon_cli.science.symmetries.moves import mix


@dataclass(frozen=True)
class Tangents:
    """Generators of a network's own symmetries.

    Attributes:
        rescaling: of factors (r, P).
        attention: of matrices within attention heads (a, P), d² for a product of heads of d units.
    """

    rescaling: Affine
    attention: Affine


def tangents(graph: Graph, symmetries: Symmetries, layout: Layout) -> Tangents:
    """The generators of factors and of matrices, BatchNorm frozen.

    Args:
        graph: the network.
        symmetries: of it.
        layout: of the flat vector.

    Returns:
        A row for each factor that parameters alone can make up for, and for each entry of each matrix.
    """
    several = norms(graph, layout.names)
    free = movable(symmetries, several, layout.names)
    entries = Entries(layout)
    for axis in symmetries.axes:
        if axis.tensor in entries.places:
            _factors(entries, axis)
    for norm in several:
        _made_up(entries, norm, symmetries, graph)
    return Tangents(entries.affine(symmetries.scales).taken(free), _matrices(symmetries, layout))


def prove(graph: Graph, symmetries: Symmetries, layout: Layout, x: Tensor, seed: int = 0) -> None:
    """Move factors and matrices by a finite amount at random, statistics frozen, and compare what the network computes.

    Args:
        graph: the network, in float64.
        symmetries: of it.
        layout: of the flat vector.
        x: inputs (B, …), float64.
        seed: of the moves.

    Raises:
        Refused: if outputs change by more than 1e-10 of the largest.
    """
    several = norms(graph, layout.names)
    random = np.random.default_rng(seed)
    logarithms = torch.zeros(symmetries.scales, dtype=torch.float64)
    free = movable(symmetries, several, layout.names)
    logarithms[torch.from_numpy(free)] = torch.from_numpy(random.normal(0, 0.3, len(free)))
    moved = rescale_frozen(symmetries, several, mix(symmetries, graph.values, seed), logarithms)
    if not deviation(outputs(graph, graph.values, [x]), outputs(graph, moved, [x])) <= TOLERANCE:
        raise Refused("factors seemed free to move with frozen BatchNorm, but outputs change when they are moved")


def _factors(entries: Entries, axis: Axis) -> None:
    """``d/ds`` of ``exp(power · s) · tensor`` for the scales along an axis."""
    place = entries.places[axis.tensor]
    first = axis.axis - axis.units.ndim + 1
    shape = [1] * place.ndim
    shape[first : axis.axis + 1] = axis.units.shape
    for scales, power in axis.powers:
        entries.add(scales.reshape(shape), place, place, np.asarray(float(power)))


def _made_up(entries: Entries, norm: Norm, symmetries: Symmetries, graph: Graph) -> None:
    """What γ and β do for the statistics, which would move by a factor: ``dγ = −γ``, ``dβ = −γμ/σ``."""
    if norm.weight is None or norm.bias is None:
        return
    weight, bias = (entries.places[name] for name in (norm.weight, norm.bias))
    standardised = graph.values[norm.mean].numpy() / norm.deviation(graph.values).numpy()
    for axis in (axis for axis in symmetries.axes if axis.tensor == norm.mean):
        for scales, power in axis.powers:
            entries.add(scales, weight, weight, np.asarray(-float(power)))
            entries.add(scales, bias, weight, -power * standardised)


def _matrices(symmetries: Symmetries, layout: Layout) -> Affine:
    """``d/ds`` of ``M = I + sE`` on one factor of a product and of its inverse transpose on the other, for all E."""
    heads = {row[0]: np.array(row) for row in _heads(symmetries)}
    begin, count = {}, 0
    for head, units in sorted(heads.items()):
        begin[head], count = count, count + len(units) ** 2
    entries = Entries(layout)
    for axis in symmetries.axes:
        if axis.sides is None or axis.units.ndim != 1 or axis.tensor not in entries.places:
            continue
        place = np.moveaxis(entries.places[axis.tensor], axis.axis, 0)
        for head in np.intersect1d(axis.units, list(heads)).tolist():
            for rows in np.stack([np.flatnonzero(axis.units == unit) for unit in heads[head]], 1):
                size = len(rows)
                generator = begin[head] + np.arange(size**2).reshape(size, size, 1)
                where = place[rows].reshape(size, -1)
                if axis.sides[rows[0]] > 0:  # E_ij: row i gains row j
                    entries.add(generator, where[:, None, :], where[None, :, :], np.asarray(1.0))
                else:  # −E_ijᵀ: row j loses row i
                    entries.add(generator, where[None, :, :], where[:, None, :], np.asarray(-1.0))
    return entries.affine(count)


def _heads(symmetries: Symmetries) -> Iterator[list[int]]:
    """The units of each attention head that any matrix fits between."""
    for group in symmetries.groups:
        for inner in group.inner:
            if inner.kind != "units":
                found: Ids = inner.units
                yield from found.tolist()
