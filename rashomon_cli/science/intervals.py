"""Means over independent repetitions, with Student's t interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from rashomon_cli.core.results import Array
from rashomon_cli.science.evaluation import standard_error

LEVEL = 0.95


@dataclass(frozen=True)
class Mean:
    """The mean of independent repetitions.

    Attributes:
        value: NaN without any.
        stderr: ``s/√n``; NaN of a single one, which says nothing about its spread.
        half_width: of the interval around ``value``, in which the true mean lies with the stated probability where the
            repetitions are normal; NaN of a single one.
        count: n.
    """

    value: float
    stderr: float
    half_width: float
    count: int


def mean(values: Array, level: float = LEVEL) -> Mean:
    """The mean of repetitions and its t interval, ``t(n − 1) · s/√n`` to either side (Student 1908).

    Args:
        values: one each (n,), drawn independently; NaN is a repetition that there is not.
        level: probability of the interval.

    Returns:
        Mean, standard error and interval.
    """
    from scipy.special import stdtrit

    there = np.asarray(values, dtype=np.float64)
    there = there[np.isfinite(there)]
    count = len(there)
    if count == 0:
        return Mean(math.nan, math.nan, math.nan, 0)
    stderr = standard_error(torch.from_numpy(there), math.inf)
    quantile = float(stdtrit(count - 1, (1 + level) / 2)) if count > 1 else math.nan
    return Mean(float(there.mean()), stderr, quantile * stderr, count)
