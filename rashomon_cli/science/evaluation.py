"""Loss, error, cross-entropy and calibration of a point on a split, each with its standard error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rashomon_cli.science.problem import Batches, Problem, Tick, cross_entropy, silent

ECE_BINS = 15


def standard_error(values: Tensor, population: float) -> float:
    """Standard error of the mean of a sample drawn without replacement: 0 where the sample is everything.

    Args:
        values: one per example (n,).
        population: number of examples that these were drawn from; infinite for all that there could be.

    Returns:
        ``s/√n · √(1 − n/N)``.
    """
    count = values.numel()
    if count < 2:
        return 0.0 if count >= population else math.nan
    spread = float(values.double().std(unbiased=True))
    return spread / math.sqrt(count) * math.sqrt(max(0.0, 1 - count / population))


@dataclass(frozen=True)
class Evaluation:
    """What a model did on each example of a split.

    Attributes:
        losses: (n,), float64 on the CPU.
        cross_entropies: (n,); None for regression.
        wrong: (n,), 1 where the class was missed; None for regression.
        confidences: (n,), largest softmax probability; None for regression.
        population: number of examples that these were drawn from.
    """

    losses: Tensor
    cross_entropies: Tensor | None
    wrong: Tensor | None
    confidences: Tensor | None
    population: int

    @property
    def loss(self) -> float:
        """Mean loss."""
        return float(self.losses.mean())

    @property
    def loss_stderr(self) -> float:
        """Standard error of the mean loss."""
        return standard_error(self.losses, self.population)

    @property
    def accuracy(self) -> float:
        """Fraction of classes met; NaN for regression."""
        return math.nan if self.wrong is None else 1 - float(self.wrong.mean())

    @property
    def error(self) -> float:
        """Percent of classes missed; NaN for regression."""
        return math.nan if self.wrong is None else 100 * float(self.wrong.mean())

    @property
    def error_stderr(self) -> float:
        """Standard error of the error, in percent."""
        return math.nan if self.wrong is None else 100 * standard_error(self.wrong, self.population)

    @property
    def cross_entropy(self) -> float:
        """Mean cross-entropy in nats; NaN for regression."""
        return math.nan if self.cross_entropies is None else float(self.cross_entropies.mean())

    @property
    def cross_entropy_stderr(self) -> float:
        """Standard error of the cross-entropy."""
        return math.nan if self.cross_entropies is None else standard_error(self.cross_entropies, self.population)

    def ece(self) -> tuple[float, float]:
        """Expected calibration error over 15 equal bins of confidence (Guo et al. 2017, arXiv 1706.04599).

        Returns:
            The error and its standard error by the delete-one-group jackknife over 20 groups; NaN for regression.
        """
        if self.wrong is None or self.confidences is None:
            return math.nan, math.nan
        gap = self.confidences - (1 - self.wrong)
        bins = (self.confidences * ECE_BINS).long().clamp(0, ECE_BINS - 1)
        whole = _binned(gap, bins)
        groups = min(20, len(gap))
        if groups < 2:
            return whole, math.nan
        member = torch.arange(len(gap)) % groups
        left = torch.tensor([_binned(gap[member != g], bins[member != g]) for g in range(groups)], dtype=torch.float64)
        spread = float(((left - left.mean()) ** 2).sum()) * (groups - 1) / groups
        return whole, math.sqrt(spread * max(0.0, 1 - len(gap) / self.population))


def _binned(gap: Tensor, bins: Tensor) -> float:
    sums = torch.zeros(ECE_BINS, dtype=torch.float64).index_add_(0, bins, gap)
    return float(sums.abs().sum()) / len(gap)


@torch.no_grad()
def evaluate(
    problem: Problem, theta: Tensor, buffers: Mapping[str, Tensor], batches: Batches, tick: Tick = silent
) -> Evaluation:
    """Evaluate a point in eval mode, without autocast.

    Args:
        problem: the model and loss.
        theta: parameters (P,).
        buffers: of the point.
        batches: the examples.
        tick: called after each batch.

    Returns:
        Losses and, for classification, cross-entropies, misses and confidences of each example.
    """
    problem.module.eval()
    losses, entropies, wrong, confidences = [], [], [], []
    for x, y in batches:
        outputs = problem.outputs(theta, buffers, x)
        losses.append(problem.loss(outputs, y).double().cpu())
        if problem.classifies:
            entropies.append(losses[-1] if problem.loss is cross_entropy else cross_entropy(outputs, y).double().cpu())
            top = outputs.softmax(-1).max(-1)
            wrong.append((top.indices != y).double().cpu())
            confidences.append(top.values.double().cpu())
        tick(float(losses[-1].mean()))
    return Evaluation(
        torch.cat(losses),
        torch.cat(entropies) if entropies else None,
        torch.cat(wrong) if wrong else None,
        torch.cat(confidences) if confidences else None,
        batches.population,
    )


@torch.no_grad()
def predict(problem: Problem, theta: Tensor, buffers: Mapping[str, Tensor], batches: Batches) -> Tensor:
    """Outputs (n, C) of a point over a split, float32 on the CPU."""
    problem.module.eval()
    return torch.cat([problem.outputs(theta, buffers, x).float().cpu() for x, _ in batches])
