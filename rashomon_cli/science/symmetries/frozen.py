"""Moves of a network whose BatchNorm statistics stay as they are: what would have gone into them goes into γ and β.

With statistics that may move, a factor of what comes in passes into them: μ → αμ, σ² + ε → α²(σ² + ε). With frozen ones
``w → αw`` alone is no symmetry; ``(w, γ, β) → (αw, γ/α, β + (γμ/σ)(1/α − 1))`` is (SCIENCE.md, "Curvature").
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor, fx

from rashomon_cli.science.symmetries.axes import Symmetries
from rashomon_cli.science.symmetries.calls import name_of
from rashomon_cli.science.symmetries.graph import Graph
from rashomon_cli.science.symmetries.labels import FIXED, Ids
from rashomon_cli.science.symmetries.moves import rescale


@dataclass(frozen=True)
class Norm:
    """A BatchNorm with kept statistics.

    Attributes:
        weight: name of γ; None where it has none that can be trained.
        bias: name of β; the same.
        mean: name of μ.
        variance: name of σ².
        eps: what is added to σ².
    """

    weight: str | None
    bias: str | None
    mean: str
    variance: str
    eps: float

    def deviation(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """``√(σ² + ε)`` (C,)."""
        return (tensors[self.variance] + self.eps).sqrt()

    def slope(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """``γ/√(σ² + ε)`` (C,)."""
        assert self.weight is not None
        return tensors[self.weight] / self.deviation(tensors)


def norms(graph: Graph, trained: Collection[str]) -> tuple[Norm, ...]:
    """The BatchNorms of a network, each once.

    Args:
        graph: the network.
        trained: names of the parameters that may move.

    Returns:
        Those that keep statistics.
    """
    names, found = graph.inputs, dict[Norm, None]()
    for node in graph.module.graph.nodes:
        if name_of(node) in ("batch_norm", "instance_norm") and isinstance(node.args[3], fx.Node):
            own = [names.get(each) if isinstance(each, fx.Node) else None for each in node.args[1:5]]
            weight, bias = (name if name in trained else None for name in own[:2])
            if own[2] is not None and own[3] is not None:
                found[Norm(weight, bias, own[2], own[3], node.args[7])] = None
    return tuple(found)


def movable(symmetries: Symmetries, several: Collection[Norm], trained: Collection[str]) -> Ids:
    """The free scales that move no tensor but trained ones and statistics whose γ and β can make up for it.

    Args:
        symmetries: of the network.
        several: its BatchNorms.
        trained: names of the parameters that may move.

    Returns:
        Numbers of scales.
    """
    made_up = {name for n in several if n.weight and n.bias for name in (n.mean, n.variance)}
    held = [np.array([FIXED])]
    for axis in symmetries.axes:
        if axis.tensor not in trained and axis.tensor not in made_up:
            held += [scales.reshape(-1) for scales, _ in axis.powers]
    return np.setdiff1d(symmetries.free, np.concatenate(held))


def rescale_frozen(
    symmetries: Symmetries, several: Collection[Norm], tensors: Mapping[str, Tensor], logarithms: Tensor
) -> dict[str, Tensor]:
    """Move positive factors past units with statistics as they are.

    Args:
        symmetries: of the network.
        several: its BatchNorms.
        tensors: parameters and statistics by name.
        logarithms: of the factor of each scale (S,); 0 for those that are not :func:`movable`.

    Returns:
        New tensors; each γ and β is such that ``γ (x − μ)/σ + β`` is what it would be with the statistics that moved.
    """
    found = rescale(symmetries, tensors, logarithms)
    for norm in several:
        moved = {name: found[name] for name in (norm.mean, norm.variance)}
        found |= {name: tensors[name] for name in moved}
        if norm.weight is None or norm.bias is None:
            continue
        slope = norm.slope({**found, **moved})
        found[norm.weight] = slope * norm.deviation(tensors)
        found[norm.bias] = found[norm.bias] + slope * (tensors[norm.mean] - moved[norm.mean])
    return found
