"""What random points of a simplicial complex say of the whole: mean loss, and how much of its volume is low.

As many points are drawn in each simplex and weighted by the simplices' volumes, so the figures are of a uniformly
random point of the complex. The standard errors cover the points and the images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from rashomon_cli.core.results import Array
from rashomon_cli.science.evaluation import standard_error


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error."""

    value: float
    stderr: float


def shares(log_volumes: Array) -> Array:
    """Each simplex's part of the volume of the complex.

    Args:
        log_volumes: of the simplices (A,).

    Returns:
        Parts (A,) with sum 1; equal ones where no simplex has a volume.
    """
    top = log_volumes.max()
    if not np.isfinite(top):
        return np.full(len(log_volumes), 1 / len(log_volumes))
    parts = np.exp(log_volumes - top)
    found: Array = parts / parts.sum()
    return found


def mean(losses: Array, simplices: Array, parts: Array, population: int) -> Estimate:
    """Mean loss of a uniformly random point of the complex.

    The variance is that of the points (within simplices) plus that of the images; the spread that needs both is
    counted twice, so the error is rather too large than too small.

    Args:
        losses: of each image at each point (D, n).
        simplices: number of the simplex of each point (D,).
        parts: of the volume (A,).
        population: number of images that these were drawn from.

    Returns:
        The mean and its standard error; NaN with a single point in a simplex.
    """
    points = losses.mean(1)
    weights, variance = np.zeros(len(points)), 0.0
    for simplex, part in enumerate(parts):
        inside = simplices == simplex
        weights[inside] = part / inside.sum()
        spread = points[inside].var(ddof=1) if inside.sum() > 1 else math.nan
        variance += part**2 * spread / inside.sum()
    images = standard_error(torch.from_numpy(weights @ losses), population)
    return Estimate(float(weights @ points), math.sqrt(variance + images**2))


def share(within: Array, simplices: Array, parts: Array) -> Estimate:
    """The part of the complex's volume that is within a bound.

    Args:
        within: whether each point is (D,).
        simplices: number of the simplex of each point (D,).
        parts: of the volume (A,).

    Returns:
        The part, and an error that is not 0 where all points agree: for each simplex the standard deviation of
        Beta(k + 1, D − k + 1), which is what k of D points within leave open under an even prior.
    """
    value, variance = 0.0, 0.0
    for simplex, part in enumerate(parts):
        inside = within[simplices == simplex]
        hits, count = float(inside.sum()), len(inside)
        value += float(part) * hits / count
        middle = (hits + 1) / (count + 2)
        variance += float(part) ** 2 * middle * (1 - middle) / (count + 3)
    return Estimate(value, math.sqrt(variance))
