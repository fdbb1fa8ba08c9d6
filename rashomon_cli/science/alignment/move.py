"""A network moved onto another: matched, normalised, and shown to compute what it did."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.agreement import TOLERANCE, deviation
from rashomon_cli.science.alignment import universe
from rashomon_cli.science.alignment.activations import by_activations
from rashomon_cli.science.alignment.balance import balance, normalise
from rashomon_cli.science.alignment.matching import Match
from rashomon_cli.science.problem import Tick, silent
from rashomon_cli.science.symmetries import Reading, Symmetries, permute, rescale
from rashomon_cli.science.symmetries.graph import trace
from rashomon_cli.science.symmetries.labels import Ids

Network = Mapping[str, Tensor]


@dataclass(frozen=True)
class Moved:
    """A network at its new place.

    Attributes:
        tensors: parameters and statistics by name, float64.
        difference: largest difference of an output from before, in float64.
        stored: the same after the tensors were rounded to the precision in which they are kept.
    """

    tensors: Network
    difference: float
    stored: float


def match_weights(
    symmetries: Symmetries, networks: Sequence[Network], names: frozenset[str], seed: int, scaled: bool
) -> list[Match]:
    """Match networks by their weights, balanced first unless factors are to stay as they are.

    Matrices and filters count, biases and the parameters of norms do not: how large these are beside the others depends
    on the factors between layers, and where they are large they decide alone, being alike for most pairs of units.

    Args:
        symmetries: of all.
        networks: tensors of each, float64; the first one stays.
        names: of the parameters.
        seed: of the orders.
        scaled: whether factors between layers are brought to one standard first.

    Returns:
        One match a network.
    """
    if scaled:
        networks = [rescale(symmetries, each, balance(symmetries, each, names, networks[0])) for each in networks]
    return universe.together(symmetries, networks, frozenset(n for n in names if networks[0][n].ndim > 1), seed)


def match_activations(
    module: nn.Module,
    symmetries: Symmetries,
    readings: Sequence[Reading],
    networks: Sequence[Network],
    inputs: Sequence[Tensor],
    fixed: frozenset[str],
    tick: Tick = silent,
) -> list[Match]:
    """Match networks by their activations, each with the first one, which keeps the matches consistent.

    Args:
        module: their architecture, on the device and in the precision to compute in.
        symmetries: of all.
        readings: where activations are read.
        networks: tensors of each.
        inputs: batches (B, …) of one size.
        fixed: names of tensors that nothing moves.
        tick: called after each batch.

    Returns:
        One match a network, with its ties.

    Raises:
        Refused: if the module cannot be traced.
    """
    graph = trace(module, inputs[0], fixed)
    like = graph.values
    there = [{name: each[name].to(like[name]) for name in graph.names} for each in networks]
    found = [Match(symmetries.identity())]
    found += [by_activations(graph, symmetries, readings, there[0], each, inputs, tick) for each in there[1:]]
    return found


def move(
    module: nn.Module,
    symmetries: Symmetries,
    network: Network,
    source: Ids,
    like: Network | None,
    names: frozenset[str],
    inputs: Iterable[Tensor],
    kept: Network,
) -> Moved:
    """Move a network and prove that its function is the same.

    Args:
        module: its architecture.
        symmetries: of it.
        network: its tensors, float64.
        source: for each unit the unit that takes its place.
        like: the network whose factors between layers it is given; None leaves them.
        names: of the parameters.
        inputs: batches on which the outputs are compared.
        kept: tensors in the precision in which the result is kept.

    Returns:
        The network at its new place.

    Raises:
        Refused: if outputs change by more than 1e-10 of the largest in float64, or are not finite.
    """
    moved = permute(symmetries, network, source)
    if like is not None:
        moved = normalise(symmetries, moved, like, names)
    inputs = list(inputs)
    before, after = (outputs(module, tensors, inputs) for tensors in (network, moved))
    if not deviation(before, after) <= TOLERANCE:
        off = float((after - before).abs().max())
        raise Refused(f"the aligned network differs from what it was by {off:.2g} in float64")
    rounded = {n: v.to(kept[n].dtype).to(v.dtype) for n, v in moved.items()}
    far = [float((each - before).abs().max()) for each in (after, outputs(module, rounded, inputs))]
    return Moved(moved, *far)


def outputs(module: nn.Module, network: Network, inputs: Iterable[Tensor]) -> Tensor:
    """What a network computes in float64, in eval mode on the CPU.

    Args:
        module: its architecture.
        network: its tensors, float64.
        inputs: batches (B, …).

    Returns:
        Outputs of all examples (n, …).
    """
    own = copy.deepcopy(module).to(device="cpu", dtype=torch.float64).eval()
    with torch.no_grad():
        return torch.cat(
            [
                torch.func.functional_call(own, dict(network), (x.double() if x.is_floating_point() else x,))
                for x in (each.cpu() for each in inputs)
            ]
        )
