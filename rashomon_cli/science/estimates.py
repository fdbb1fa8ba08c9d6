"""Norms and projections of a mean vector that is known only from batches, with standard errors and without bias.

The norm of a sampled mean is too large: ``E‖m‖² = ‖μ‖² + tr Σ/n``. The part that is noise is estimated from the spread
between batches and subtracted; on the full data there is none (finite population). Never the mean of norms.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

GROUPS = 16


@dataclass
class MeanVector:
    """Collects batch means of a vector in at most 16 groups, so memory does not grow with the data.

    Attributes:
        expected: number of batches to come.
        population: number of examples that the sample was drawn from.
    """

    expected: int
    population: int
    _sums: list[Tensor] = field(default_factory=list)
    _counts: list[int] = field(default_factory=list)
    _seen: int = 0

    def add(self, mean: Tensor, count: int) -> None:
        """Add a batch's mean (P,) over so many examples."""
        group = self._seen * min(GROUPS, self.expected) // max(self.expected, 1)
        self._seen += 1
        if group >= len(self._sums):
            self._sums.append(mean.detach() * count)
            self._counts.append(count)
        else:
            self._sums[group] += mean.detach() * count
            self._counts[group] += count

    @property
    def count(self) -> int:
        """Examples so far."""
        return sum(self._counts)

    def mean(self) -> Tensor:
        """The mean (P,) over all examples, however they were batched."""
        return functools.reduce(torch.add, self._sums) / self.count

    def plus(self, vector: Tensor, factor: float) -> MeanVector:
        """The same estimate with ``factor`` times a vector (P,) added that is known exactly."""
        if factor == 0.0:
            return self
        sums = [total + factor * n * vector for total, n in zip(self._sums, self._counts, strict=True)]
        return MeanVector(self.expected, self.population, sums, list(self._counts), self._seen)

    def projection(self, direction: Tensor) -> tuple[float, float]:
        """``⟨mean, direction⟩`` and its standard error.

        Args:
            direction: (P,).

        Returns:
            The projection and its standard error: 0 on full data, NaN from a single batch of a sample.
        """
        wide = direction.double()
        each = [float(total.double() @ wide) / n for total, n in zip(self._sums, self._counts)]
        value = sum(e * n for e, n in zip(each, self._counts)) / self.count
        return value, math.sqrt(self._variance([(e - value) ** 2 for e in each]))

    def norm(self) -> tuple[float, float, float]:
        """The norm without the noise's share, its standard error, and the plain norm of the mean.

        Returns:
            ``√max(0, ‖m‖² − V)`` with V the variance of the mean summed over entries; the standard error to first
            order, along the mean; and ``‖m‖``.
        """
        mean = self.mean().double()
        plain = float(mean.norm())
        each = [float((total.double() / n - mean).square().sum()) for total, n in zip(self._sums, self._counts)]
        noise = self._variance(each)
        if plain == 0.0:
            return 0.0, math.sqrt(noise), 0.0
        stderr = self.projection(mean / plain)[1]
        if math.isnan(noise):
            return math.nan, math.nan, plain
        return math.sqrt(max(0.0, plain**2 - noise)), stderr, plain

    def _variance(self, squares: list[float]) -> float:
        """Variance of the mean from squared deviations of group means; the finite population correction included."""
        share = 1 - self.count / self.population
        if share <= 0:
            return 0.0
        if len(self._counts) < 2:
            return math.nan
        spread = sum(n * s for n, s in zip(self._counts, squares)) / (len(self._counts) - 1)
        return spread / self.count * share
