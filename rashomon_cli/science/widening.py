"""Two networks side by side in one of twice the width (Kuditipudi et al. 2019, arXiv 1906.06247).

Where the parameters of each lie is read off the shapes: along an axis that is twice as long the first network has the
first half and the second the second; an axis of equal length, such as that of inputs or classes, belongs to both.
Whether the wide network then computes what each computes alone is not derived but tried
(:mod:`~rashomon_cli.science.halves`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.agreement import TOLERANCE, deviation
from rashomon_cli.science.batchnorm import refresh
from rashomon_cli.science.halves import HINT
from rashomon_cli.science.problem import Batches, Layout, Problem, fresh_buffers


def doubled(name: str, narrow: Sequence[int], wide: Sequence[int]) -> tuple[bool, ...]:
    """Which axes of a tensor are twice as long in the wide network.

    Args:
        name: of the tensor.
        narrow: its shape.
        wide: its shape in the wide network.

    Returns:
        True for each axis that is.

    Raises:
        Refused: if an axis is neither as long nor twice as long.
    """
    if len(narrow) != len(wide) or any(w not in (n, 2 * n) for n, w in zip(narrow, wide)):
        raise Refused(
            f"twice the width makes {name} {tuple(wide)} of {tuple(narrow)}: an axis is neither as long nor twice",
            HINT,
        )
    return tuple(w != n for n, w in zip(narrow, wide))


@dataclass(frozen=True)
class Widening:
    """Where the tensors of a network lie in one of twice the width.

    Attributes:
        narrow: layout of the network.
        wide: layout of the wide network.

    Raises:
        Refused: if the tensors of the two have other names, or an axis is neither as long nor twice as long.
    """

    narrow: Layout
    wide: Layout

    def __post_init__(self) -> None:
        """Check names and shapes.

        Raises:
            Refused: if they do not fit.
        """
        if self.narrow.names != self.wide.names:
            other = next(iter(set(self.narrow.names) ^ set(self.wide.names)))
            raise Refused(f"twice the width makes another network: only one of the two has {other}", HINT)
        if not any(any(self._doubled(name)) for name in self.narrow.names):
            raise Refused("twice the width makes the same network: no parameter is larger", HINT)

    def _doubled(self, name: str) -> tuple[bool, ...]:
        place = self.narrow.names.index(name)
        return doubled(name, self.narrow.shapes[place], self.wide.shapes[place])

    def embed(self, theta: Tensor, half: int) -> Tensor:
        """One network alone in the wide one.

        Args:
            theta: its parameters (P,).
            half: 0 for the first half, 1 for the second.

        Returns:
            Parameters (P',) of the wide network, zero where the network is not.
        """
        own = self.narrow.split(theta)
        shapes = dict(zip(self.wide.names, self.wide.shapes, strict=True))
        return self.wide.flatten({name: within(name, own[name], shapes[name], half) for name in self.wide.names})

    @property
    def shifted(self) -> Tensor:
        """True for the parameters (P',) that write to what both networks have, or belong to both."""
        return torch.cat(
            [
                torch.full((size,), not any(self._doubled(name)[:1]))
                for name, size in zip(self.wide.names, self.wide.sizes, strict=True)
            ]
        )


def within(name: str, tensor: Tensor, shape: Sequence[int], half: int) -> Tensor:
    """A tensor in one of the wide network, zero elsewhere.

    Args:
        name: of the tensor.
        tensor: of the narrow network.
        shape: in the wide network.
        half: 0 for the first half along each axis that is twice as long, 1 for the second.

    Returns:
        A tensor of that shape.

    Raises:
        Refused: if an axis is neither as long nor twice as long.
    """
    found = tensor.new_zeros(tuple(shape))
    axes = doubled(name, tensor.shape, shape)
    place = tuple(slice(half * n, (half + 1) * n) if d else slice(None) for n, d in zip(tensor.shape, axes))
    found[place] = tensor
    return found


def twice(name: str, tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor that is not trained, such as a mask of connections, once for each network; itself where both share it.

    Args:
        name: of the tensor.
        tensor: of both networks.
        shape: in the wide network.

    Returns:
        A tensor of that shape.

    Raises:
        Refused: if an axis is neither as long nor twice as long.
    """
    if not any(doubled(name, tensor.shape, shape)):
        return tensor
    return within(name, tensor, shape, 0) + within(name, tensor, shape, 1)


def culprit(narrow: Problem, wide: Problem, theta: Tensor, both: Tensor, batches: Batches) -> str | None:
    """The first part of the wide network whose outputs are not those of the two networks side by side.

    Args:
        narrow: the problem of each.
        wide: the problem of the wide network.
        theta: parameters of the first network (P,).
        both: the point at which the wide network holds both (P',).
        batches: the first batch is looked at; it is normalised by its own statistics.

    Returns:
        Name and type of the module, such as ``blocks.0.norm (LayerNorm)``; None where no part is at fault.
    """
    alone, together = _seen(narrow, theta, batches), _seen(wide, both, batches)
    for name, expected in alone.items():
        found = together.get(name)
        if found is None or found.ndim != expected.ndim:
            continue
        longer = [axis for axis in range(1, found.ndim) if found.shape[axis] == 2 * expected.shape[axis]]
        for axis in longer:
            found = found.narrow(axis, 0, expected.shape[axis])
        if longer and (found.shape != expected.shape or not deviation(expected, found) <= TOLERANCE):
            return f"{name} ({type(narrow.module.get_submodule(name)).__name__})"
    return None


def _seen(problem: Problem, theta: Tensor, batches: Batches) -> Mapping[str, Tensor]:
    """Outputs of the module's innermost parts on one batch, in the order in which they were called."""
    seen: dict[str, Tensor] = {}

    def watch(name: str, part: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def keep(_module: nn.Module, _inputs: object, found: object) -> None:
            if isinstance(found, Tensor):
                seen.setdefault(name, found)

        return part.register_forward_hook(keep)

    parts = [(name, part) for name, part in problem.module.named_modules() if name and not list(part.children())]
    own = refresh(problem, theta, fresh_buffers(problem.module), batches)
    handles = [watch(name, part) for name, part in parts]
    try:
        problem.module.eval()
        with torch.no_grad():
            problem.outputs(theta, own, next(iter(batches))[0])
    finally:
        for handle in handles:
            handle.remove()
    return seen
