"""Losses along a path, and the barrier between its ends.

barrier = ``max_t L(θ(t)) − max(L(θ(0)), L(θ(1)))`` over a grid that includes the ends, every point with BatchNorm
statistics of its own. The alignment literature subtracts the line between the end losses instead
(Ainsworth et al. 2022, arXiv 2209.04836, definition 2.2); that variant is given beside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Array
from rashomon_cli.science.batchnorm import refresh
from rashomon_cli.science.evaluation import Evaluation, evaluate, standard_error
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, fresh_buffers, silent


@dataclass(frozen=True)
class Barrier:
    """A barrier and its standard error over images; the same images at every point, so the errors are paired.

    Attributes:
        value: highest point minus the higher end; 0 or more.
        stderr: its standard error, for the grid point that was found highest. Where that is the end itself, that of
            the highest point between the ends minus the end: a barrier of 0 is not certain either. NaN without one.
        at: position of the highest point.
        interpolated: highest excess over the line between the end losses.
    """

    value: float
    stderr: float
    at: float
    interpolated: float


def measure_point(
    problem: Problem,
    theta: Tensor,
    buffers: Mapping[str, Tensor],
    train: Batches,
    test: Batches,
    tick: Tick = silent,
) -> tuple[Point, Evaluation, Evaluation]:
    """Refresh BatchNorm at θ on the training sample, then evaluate both samples.

    Args:
        problem: the model and loss.
        theta: parameters (P,).
        buffers: to start from.
        train: un-augmented training examples.
        test: test examples.
        tick: called after each batch.

    Returns:
        The point with its own statistics, and its evaluations on train and test.
    """
    own = refresh(problem, theta, buffers, train, tick)
    return (
        Point(theta, own),
        evaluate(problem, theta, own, train, tick),
        evaluate(problem, theta, own, test, tick),
    )


def train_losses(problem: Problem, theta: Tensor, train: Batches, tick: Tick = silent) -> Array:
    """Losses (n,) of training examples at θ, with BatchNorm refreshed on the same examples.

    Args:
        problem: the model and loss.
        theta: parameters (P,).
        train: un-augmented training examples.
        tick: called after each batch.

    Returns:
        float64 losses, an example each.
    """
    own = refresh(problem, theta, fresh_buffers(problem.module), train, tick)
    losses: Array = evaluate(problem, theta, own, train, tick).losses.numpy()
    return losses


def barrier(ts: Sequence[float], values: Array, population: int, scale: float = 1.0) -> Barrier:
    """The barrier of a profile.

    Args:
        ts: positions (T,), from 0 to 1.
        values: loss (or 0/1 error) of each image at each position (T, n).
        population: number of images that these were drawn from.
        scale: factor on the outcome: 100 for percentage points.

    Returns:
        The barrier.

    Raises:
        ValueError: if the grid does not include both ends.
    """
    if len(ts) < 2 or ts[0] != 0.0 or ts[-1] != 1.0:
        raise ValueError("the grid of a barrier starts at 0 and ends at 1")
    means = values.mean(1)
    top = int(means.argmax())
    end = 0 if means[0] >= means[-1] else len(ts) - 1
    inner = 1 + int(means[1:-1].argmax()) if len(ts) > 2 else end
    uncertain = top if top not in (0, len(ts) - 1) else inner
    difference = torch.from_numpy(np.asarray(values[uncertain] - values[end], dtype=np.float64))
    stderr = scale * standard_error(difference, population) if len(ts) > 2 else math.nan
    excess = means - ((1 - np.asarray(ts)) * means[0] + np.asarray(ts) * means[-1])
    return Barrier(
        scale * float(means[top] - means[end]),
        stderr,
        float(ts[top]),
        scale * float(excess.max()),
    )
