"""The posterior of a model near a point w*, localised and tempered.

Its density at parameters w is that of ``exp(−U)``,

    U(w) = nβ (L(w) − L(w*)) + ½ γ ‖w − w*‖²

(Lau et al. 2023, arXiv 2308.12108). Losses are compared with those at w* example by example, so that a minibatch tells
their difference with little noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent


@dataclass(frozen=True)
class Place:
    """U at some parameters, as some examples see it.

    Attributes:
        shift: w − w* (P,), float64.
        excess: mean loss less that at w*, nat.
        energy: U.
        force: ∇U (P,), float64.
    """

    shift: Tensor
    excess: float
    energy: float
    force: Tensor


class Posterior:
    """U and its gradient, on all examples or on some; BatchNorm is frozen at the point's statistics.

    Args:
        problem: the model and loss; penalties are no part of L.
        point: w* and its buffers.
        batches: the examples.
        batch: how many of them minibatches have; all where None or where there are no more.
        localisation: γ > 0.
        inverse_temperature: nβ > 0; None for n / log n (Watanabe 2013, arXiv 1208.6338).
        tick: called after each batch.

    Attributes:
        count: n.
        batch: examples of a minibatch; None for all.
        inverse_temperature: nβ.
        localisation: γ.
        gradients: of the loss of one example, so far.
    """

    def __init__(
        self,
        problem: Problem,
        point: Point,
        batches: Batches,
        *,
        batch: int | None = None,
        localisation: float = 100.0,
        inverse_temperature: float | None = None,
        tick: Tick = silent,
    ) -> None:
        self.count = batches.count
        self.batch = None if batch is None or batch >= batches.count else batch
        self.inverse_temperature = batches.count / math.log(batches.count)
        if inverse_temperature is not None:
            self.inverse_temperature = inverse_temperature
        self.localisation = localisation
        self.gradients = 0
        self._origin = point.theta.double()
        self._problem, self._point, self._batches, self._tick = problem, point, batches, tick
        problem.module.eval()
        base = []
        with torch.no_grad():
            for x, y in batches:
                base.append(self._losses(point.theta, x, y).double())
                tick(float(base[-1].mean()))
        self._base = torch.cat(base)
        if self.batch is not None:
            several = list(batches)
            self._x, self._y = torch.cat([x for x, _ in several]), torch.cat([y for _, y in several])

    def centre(self) -> Tensor:
        """The shift of w* itself (P,): zeros."""
        return torch.zeros_like(self._origin)

    def minibatch(self, chance: torch.Generator) -> Tensor | None:
        """Rows of a minibatch, drawn with replacement; None for all."""
        if self.batch is None:
            return None
        return torch.randint(self.count, (self.batch,), generator=chance).to(self._origin.device)

    def at(self, shift: Tensor, rows: Tensor | None) -> Place:
        """U and its gradient at w* + shift (P,), on the examples of some rows (m,), or on all."""
        total, count, slope = 0.0, 0, torch.zeros_like(shift)
        theta = (self._origin + shift).to(self._point.theta)
        for x, y, base in self._examples(rows):
            leaf = theta.detach().requires_grad_()
            losses = self._losses(leaf, x, y)
            if losses.requires_grad:  # a layer may be one that no output depends on
                slope += torch.autograd.grad(losses.sum(), leaf)[0]
            total += float((losses.detach().double() - base).sum())
            count += len(x)
            self._tick(float(losses.detach().mean()))
        self.gradients += count
        excess = total / count
        energy = self.inverse_temperature * excess + 0.5 * self.localisation * float(shift @ shift)
        return Place(shift, excess, energy, self.inverse_temperature / count * slope + self.localisation * shift)

    def _examples(self, rows: Tensor | None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Inputs, targets and losses at w*."""
        if rows is not None:
            yield self._x[rows], self._y[rows], self._base[rows]
            return
        seen = 0
        for x, y in self._batches:
            yield x, y, self._base[seen : seen + len(x)]
            seen += len(x)

    def _losses(self, theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return self._problem.loss(self._problem.outputs(theta, self._point.buffers, x), y)
