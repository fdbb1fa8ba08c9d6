"""Principal blocks: some of the parameters, as a short vector of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from rashomon_cli.core.errors import no_such
from rashomon_cli.science.problem import Layout, Point, Problem, as_parameters


def layers(layout: Layout, pattern: str | None = None) -> dict[str, Tensor]:
    """The parameters of each layer: those that one module holds itself, as ``conv1.weight`` and ``conv1.bias``.

    Args:
        layout: of the parameters.
        pattern: names of layers as a shell writes them, ``blocks.*.conv?``; several with commas between them. What is
            the name of a layer, whatever signs it has, means that layer. None takes all.

    Returns:
        Masks (P,) on the CPU by the name of the layer, in the order of the layout. A parameter of the model itself is a
        layer of its own.

    Raises:
        UsageError: if a pattern matches no layer, with the nearest one.
    """
    owners = [name.rpartition(".")[0] or name for name in layout.names]
    known = list(dict.fromkeys(owners))
    pattern = "*" if pattern is None else pattern
    patterns = [pattern] if pattern in known else [each.strip() for each in pattern.split(",")]

    def named(layer: str, each: str) -> bool:
        return layer == each if each in known else fnmatchcase(layer, each)

    for each in patterns:
        if not any(named(layer, each) for layer in known):
            no_such("layer", each, known, f"it has: {', '.join(known)}")
    sizes = torch.tensor(layout.sizes)
    return {
        layer: torch.repeat_interleave(torch.tensor([owner == layer for owner in owners]), sizes)
        for layer in known
        if any(named(layer, each) for each in patterns)
    }


def matching(layout: Layout, pattern: str) -> Tensor:
    """The parameters of all layers that match, as one mask (P,) on the CPU.

    Raises:
        UsageError: if a pattern matches no layer, with the nearest one.
    """
    return torch.stack(list(layers(layout, pattern).values())).any(0)


def restricted(problem: Problem, point: Point, pattern: str | None) -> tuple[Problem, Point]:
    """The problem in the parameters of some layers alone: all others stay where they are, as buffers do.

    Args:
        problem: the model and loss.
        point: where; derivatives of its path are dropped.
        pattern: of the layers, as :func:`layers` takes it; None leaves all as it is.

    Returns:
        A problem whose flat vector has the chosen parameters only, and the point in it. Directions are the parts of the
        point's within the block at length 1; one that has no such part does not exist there.

    Raises:
        UsageError: if a pattern matches no layer.
    """
    if pattern is None:
        return problem, point
    layout, mask = problem.layout, matching(problem.layout, pattern)
    kept = layout.split(mask)
    names = tuple(name for name in layout.names if bool(kept[name].all()))
    shapes = tuple(shape for name, shape in zip(layout.names, layout.shapes, strict=True) if name in names)
    others = {n: value for n, value in as_parameters(layout, point.theta.detach()).items() if n not in names}
    mask = mask.to(point.theta.device)
    parts = {name: unit[mask] for name, unit in point.directions.items()}
    directions = {name: part / part.norm() for name, part in parts.items() if bool(part.any())}
    inner = Point(point.theta[mask], {**point.buffers, **others}, point.t, directions)
    return replace(problem, layout=Layout(names, shapes)), inner


class Block:
    """The parameters that derivatives are taken in.

    Args:
        problem: whose parameters.
        theta: their values (P,).
        chosen: which of them, as a mask (P,) or as places; None for all.

    Attributes:
        parameters: all by name; those that derivatives are taken in require gradients.
        size: n, the number chosen.

    Raises:
        ValueError: if nothing is chosen, something twice, or a place does not exist.
    """

    def __init__(self, problem: Problem, theta: Tensor, chosen: Tensor | None = None) -> None:
        layout, places = problem.layout, _places(chosen, problem.layout.total)
        touched = torch.ones(layout.total, dtype=torch.bool)
        if places is not None:
            touched = torch.zeros(layout.total, dtype=torch.bool).index_fill(0, places, True)
        whole = {name: bool(piece.any()) for name, piece in layout.split(touched).items()}
        names = tuple(name for name in layout.names if whole[name])
        self._layout = Layout(names, tuple(shape for n, shape in zip(layout.names, layout.shapes) if whole[n]))
        self._places: Tensor | None = None
        if places is not None:  # counted among the parameters that are touched, which vectors are spread over
            kept = torch.cat([torch.full((size,), whole[n]) for n, size in zip(layout.names, layout.sizes)])
            self._places = (kept.cumsum(0) - 1)[places].to(theta.device)
        self.parameters = {n: p.detach() for n, p in as_parameters(layout, theta.detach().clone()).items()}
        self.leaves = [self.parameters[name].requires_grad_() for name in names]
        self.size = layout.total if places is None else len(places)

    def pieces(self, vector: Tensor) -> list[Tensor]:
        """A vector (n,) as one piece a leaf, 0 at parameters that are not chosen."""
        if self._places is not None:
            vector = vector.new_zeros(self._layout.total).index_copy(0, self._places, vector)
        return list(as_parameters(self._layout, vector).values())

    def joined(self, pieces: Sequence[Tensor]) -> Tensor:
        """The vector (n,) of one piece a leaf."""
        vector = torch.cat([piece.detach().reshape(-1) for piece in pieces])
        return vector if self._places is None else vector[self._places]


def _places(chosen: Tensor | None, total: int) -> Tensor | None:
    """Places of a mask or of places, on the CPU.

    Raises:
        ValueError: if nothing is chosen, something twice, or a place does not exist.
    """
    if chosen is None:
        return None
    if chosen.dtype == torch.bool:
        if chosen.shape != (total,):
            raise ValueError(f"a mask of shape {tuple(chosen.shape)} for {total} parameters")
        chosen = chosen.nonzero()[:, 0]
    places = chosen.detach().cpu().long()
    if len(places) == 0:
        raise ValueError("no parameter is chosen")
    if bool((places.sort().values.diff() == 0).any()) or int(places.min()) < 0 or int(places.max()) >= total:
        raise ValueError(f"places must be different and lie in 0 … {total - 1}")
    return places
