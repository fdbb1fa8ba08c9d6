"""Proof by trial: elements of every group are applied, and the network must compute what it did.

Two permutations of n units generate all n! of them: a cycle through all n, and the exchange of two neighbours in it.
Both are tried, with the factors, on parameters that are moved off their values at random: a symmetry holds at all
parameters, and biases of 0 or factors of 1, as fresh networks have them, would hide a wrong one. Where outputs are the
same whatever comes in, as of a network whose ReLUs are all dead, every move would pass: there it is moved further off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.agreement import TOLERANCE, deviation
from rashomon_cli.science.symmetries.axes import Group, Symmetries
from rashomon_cli.science.symmetries.graph import HINT, Graph
from rashomon_cli.science.symmetries.labels import FIXED, Ids
from rashomon_cli.science.symmetries.moves import mix, permute, rescale

_SPREAD, _LEAST = 0.2, 0.1  # of a random move: a share of a tensor's root mean square, and what even zeros are moved by
_VISIBLE = 1e3 * TOLERANCE  # outputs that change by less would not show a wrong move
_JOLTS = 6

Order = Callable[[Ids, np.random.Generator], Ids]
"""Units in one order (n,) or several (m, n), to the units that take their places."""


class Unvaried(Refused):
    """A network on which no trial shows anything, since its outputs are always the same."""


def shuffled(symmetries: Symmetries, groups: tuple[Group, ...], seed: int) -> Ids:
    """A random permutation of the units of some groups."""
    return _applied(symmetries, groups, seed, lambda units, random: random.permuted(units, axis=-1))


def cycled(symmetries: Symmetries, groups: tuple[Group, ...], seed: int) -> Ids:
    """Every unit to the place of the next one in a random order."""
    return _applied(symmetries, groups, seed, _cycle)


def exchanged(symmetries: Symmetries, groups: tuple[Group, ...], seed: int) -> Ids:
    """Of each group two units that follow each other in the order of ``cycled`` with the same seed."""
    return _applied(symmetries, groups, seed, lambda units, random: _cycle(units, random, most=2))


def _cycle(units: Ids, random: np.random.Generator, most: int | None = None) -> Ids:
    order = random.permutation(units.shape[-1])[:most]
    found = units.copy()
    found[..., order] = units[..., np.roll(order, 1)]
    return found


def _applied(symmetries: Symmetries, groups: tuple[Group, ...], seed: int, order: Order) -> Ids:
    random = np.random.default_rng(seed)
    source = symmetries.identity()
    for group in groups:
        places = order(np.arange(group.size), random)
        source[group.units] = group.units[places]
        for inner in group.inner:
            source[inner.units] = order(inner.units[places], random)
    return source


def stretched(symmetries: Symmetries, tensors: Mapping[str, Tensor], seed: int) -> Tensor:
    """Logarithms of random factors (S,), none so small that a variance would have to be negative."""
    random = np.random.default_rng(seed)
    found = np.zeros(symmetries.scales)
    found[symmetries.free] = random.normal(0, 0.3, len(symmetries.free))
    for axis in symmetries.axes:
        if axis.added is not None and axis.powers:
            scales, power = axis.powers[0]
            variance = tensors[axis.tensor].double().cpu().numpy()
            least = np.log(axis.added / (variance + axis.added)) / power
            np.maximum.at(found, scales, least + 1e-9)
    found[FIXED] = 0.0
    return torch.from_numpy(found)


def jolted(graph: Graph, symmetries: Symmetries, seed: int, spread: float = _SPREAD) -> dict[str, Tensor]:
    """Tensors near the network's own in general position: what symmetries move is moved off at random.

    Args:
        graph: the network.
        symmetries: of it.
        seed: of the moves.
        spread: their size, as a share of each tensor's root mean square.

    Returns:
        New tensors; what is positive, such as a variance, stays so.
    """
    random = torch.Generator().manual_seed(seed)
    found = dict(graph.values)
    for name in dict.fromkeys(axis.tensor for axis in symmetries.axes):
        value = found[name]
        noise = torch.randn(value.shape, generator=random, dtype=value.dtype)
        if bool((value > 0).all()):
            found[name] = value * (spread * noise).exp() + _LEAST * noise.abs()
        else:
            found[name] = value + noise * (
                spread * value.square().mean().sqrt() + _LEAST / max(1, value[:1].numel()) ** 0.5
            )
    return found


def outputs(graph: Graph, tensors: Mapping[str, Tensor], several: Sequence[Tensor]) -> Tensor:
    """All that the network computes from several inputs (n,) with other tensors in the place of its own."""
    with torch.no_grad():
        found = [graph.module([tensors[name].clone() for name in graph.names], x.clone()) for x in several]
    return torch.cat([each.reshape(-1) for each in found])


def difference(graph: Graph, one: Mapping[str, Tensor], other: Mapping[str, Tensor], x: Tensor) -> float:
    """Largest difference between outputs with two sets of tensors, relative to the largest output of the first."""
    return deviation(outputs(graph, one, [x]), outputs(graph, other, [x]))


def check(graph: Graph, symmetries: Symmetries, several: Sequence[Tensor], seed: int = 0) -> None:
    """Apply elements of all groups at once; where outputs change, find the group and refuse.

    Args:
        graph: the network, in float64.
        symmetries: what was found.
        several: inputs of one shape, in float64; their outputs are compared as one.
        seed: of the permutations, the factors and the point at which they are tried.

    Raises:
        Refused: naming the group, if outputs change by more than 1e-10 of the largest; if they are no function of the
            inputs, or always the same.
    """
    if not (symmetries.groups or len(symmetries.free)):
        return
    tensors = _telling(graph, symmetries, several, seed)
    usual = outputs(graph, tensors, several)

    def changes(changed: Mapping[str, Tensor]) -> bool:
        return not deviation(usual, outputs(graph, changed, several)) <= TOLERANCE

    if changes(tensors):
        raise Refused("the model gives other outputs at each call, so no symmetry of it can be proved", HINT)
    if symmetries.mixed and changes(mix(symmetries, tensors, seed)):
        raise Refused("a matrix seemed to fit into attention heads, but outputs change when it is put there", HINT)
    factors = stretched(symmetries, tensors, seed)
    for moves in (cycled, exchanged):
        source = moves(symmetries, symmetries.groups, seed)
        if not changes(rescale(symmetries, permute(symmetries, tensors, source), factors)):
            continue
        for group in symmetries.groups:
            if changes(permute(symmetries, tensors, moves(symmetries, (group,), seed))):
                raise Refused(
                    f"the units of {group.name} seemed interchangeable, but outputs change when they are", HINT
                )
        raise Refused("factors seemed free to move between layers, but outputs change when they are moved", HINT)


def _telling(graph: Graph, symmetries: Symmetries, several: Sequence[Tensor], seed: int) -> dict[str, Tensor]:
    """A point at which outputs vary with the inputs and with what symmetries move: there a wrong move shows.

    Raises:
        Unvaried: if there is none near the network's own parameters.
    """
    own = outputs(graph, graph.values, several)
    for jolt in range(_JOLTS):
        tensors = jolted(graph, symmetries, seed + jolt, _SPREAD * 2**jolt)
        usual = outputs(graph, tensors, several)
        pairs = ((usual, outputs(graph, tensors, [*several[:-1], other])) for other in _others(several))
        if _visible(usual, own) and any(_visible(*pair) for pair in pairs):
            return tensors
    words = "the model's outputs are not finite, or the same whatever its inputs and parameters are"
    raise Unvaried(f"{words}, so no symmetry of it can be proved", HINT)


def _visible(usual: Tensor, other: Tensor) -> bool:
    return _VISIBLE < deviation(usual, other) < torch.inf


def _others(several: Sequence[Tensor]) -> Iterator[Tensor]:
    """Inputs to put in the place of the last one."""
    x = several[-1]
    yield from (x.flip(0), x.flip(-1))
    yield torch.zeros_like(x)
    if x.is_floating_point():
        yield x + torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
