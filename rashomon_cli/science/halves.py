"""From one network to another within a network that holds both, each in units of its own.

Neither reads the units of the other, so the outputs are the sum of what each half writes to them. First the other half
grows while nothing reads it, then the outputs' weights are shifted over from the first half to the second, then the
first is erased (Kuditipudi et al. 2019, arXiv 1906.06247). While they are shifted the outputs are (1 − s)·f + s·g, so
that a loss that is convex in the outputs is at most the larger of the two ends'.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from rashomon_cli.science import agreement
from rashomon_cli.science.batchnorm import refresh
from rashomon_cli.science.problem import Batches, Problem, fresh_buffers

SEGMENTS = ("grow", "shift", "erase")
HINT = "trained bends need no halves: rashomon connect a b"
_SHARES = ((1.0, 1.0), (1.0, 0.0), (0.0, 0.0))


def moves(one: Tensor, other: Tensor, shifted: Tensor) -> Tensor:
    """The control points of the polyline on which one half gives way to the other.

    Args:
        one: the first network alone: all other parameters are zero (P,).
        other: the second network alone (P,).
        shifted: true for the parameters that write to the outputs (P,); both networks may use the same ones of these.

    Returns:
        Points (4, P): the first alone; both, the first one's outputs; both, the second one's outputs; the second alone.
    """
    inside = ~shifted
    return torch.stack([one, one + inside * other, inside * one + other, other])


def precise(problem: Problem) -> Problem:
    """The same problem with a module of its own in double precision."""
    return replace(problem, module=copy.deepcopy(problem.module).double())


def outputs(problem: Problem, theta: Tensor, batches: Batches) -> Tensor:
    """Outputs (n, …) of a point with BatchNorm statistics of its own, computed on the same examples."""
    buffers = refresh(problem, theta, fresh_buffers(problem.module), batches)
    problem.module.eval()
    with torch.no_grad():
        return torch.cat([problem.outputs(theta, buffers, x) for x, _ in batches])


def deviation(problem: Problem, points: Tensor, f: Tensor, g: Tensor, batches: Batches) -> float:
    """How far outputs are from what they should be, at the control points of :func:`moves` and between them.

    Args:
        problem: the network that holds both, in float64.
        points: control points (4, P), float64.
        f: outputs of the first network (n, …).
        g: outputs of the second network.
        batches: the examples that they belong to, float64.

    Returns:
        The largest difference, relative to the largest output there: from f while the second grows, from
        (1 − s)·f + s·g at the middle of the shift, from g while the first is erased.
    """
    return max(
        agreement.deviation(share * f + (1 - share) * g, outputs(problem, theta, batches))
        for theta, share in _expected(points)
    )


def _expected(points: Tensor) -> Iterator[tuple[Tensor, float]]:
    """Points of the polyline, each with the share that the first network has in the outputs."""
    yield points[0], 1.0
    for (start, end), (before, after) in zip(itertools.pairwise(points), _SHARES, strict=True):
        yield (start + end) / 2, (before + after) / 2
        yield end, after
