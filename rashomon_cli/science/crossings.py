"""Where a loss that is followed along a ray rises above a bound: losses of fixed examples, and the search."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rashomon_cli.science.batchnorm import refresh
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent

DOUBLINGS, BISECTIONS, HALVINGS = 10, 6, 40


def example_losses(
    problem: Problem, point: Point, batches: Batches, refreshed: bool = False, tick: Tick = silent
) -> Callable[[Tensor], Tensor]:
    """The loss of each example of a sample as a function of θ.

    Args:
        problem: the model and loss.
        point: its BatchNorm statistics are kept, or started from.
        batches: the examples.
        refreshed: whether BatchNorm statistics are made anew on the same examples at every θ.
        tick: called after each batch.

    Returns:
        θ (P,) → losses (n,) in float64, on the CPU.
    """

    @torch.no_grad()
    def losses(theta: Tensor) -> Tensor:
        buffers = refresh(problem, theta, point.buffers, batches, tick) if refreshed else point.buffers
        problem.module.eval()
        found = []
        for x, y in batches:
            found.append(problem.loss(problem.outputs(theta, buffers, x), y).double().cpu())
            tick(None)
        return torch.cat(found)

    return losses


def along(losses: Callable[[Tensor], Tensor], theta: Tensor, ray: Tensor, base: float) -> Callable[[float], float]:
    """The rise of the mean loss above ``base`` as a function of the distance from θ (P,) along a ray (P,)."""
    return lambda distance: float(losses(theta + distance * ray).mean()) - base


def crossing(rise: Callable[[float], float], epsilon: float, maximum: float) -> tuple[float, float]:
    """The distance at which a rise exceeds ε: doubling from ``maximum / 1024`` to bracket it, then bisection.

    A rise and fall between two doublings is passed over. The distance is the middle of a bracket of 1/64 of its lower
    end at most.

    Args:
        rise: distance → rise of the loss; what is not finite counts as above ε.
        epsilon: the rise looked for.
        maximum: the search ends here.

    Returns:
        The distance to 0.8 %, and 1 where it was cut off, else 0.
    """

    def above(distance: float) -> bool:
        return not rise(distance) <= epsilon

    low, high = 0.0, maximum / 2**DOUBLINGS
    while not above(high):
        if high >= maximum:
            return maximum, 1.0
        low, high = high, min(2 * high, maximum)
    for _ in range(HALVINGS if low == 0.0 else 0):
        if not above(high / 2):
            low = high / 2
            break
        high /= 2
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if above(middle) else (middle, high)
    return (low + high) / 2, 0.0
