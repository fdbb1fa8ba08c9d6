"""Draws from the posterior near a point by Langevin dynamics.

Two samplers:

- on all examples at each step, Metropolis-adjusted (MALA, Roberts and Tweedie 1996): exact at any step;
- on a minibatch at each step (SGLD, Welling and Teh 2011): never rejected, so its step biases it. Plain SGLD puts
  ``1 / (1 − εa/4)`` times the variance into a direction of curvature a of U. Here the noise of a step is the mean of
  two that follow each other (Leimkuhler and Matthews 2013, arXiv 1203.5428), at no cost: no bias where U is quadratic,
  and one of second order in ε elsewhere. What the minibatches' own noise adds, the heat, is estimated.

The step is found in the burn-in, which is Metropolis-adjusted with either sampler: where a loss grows faster than a
square, too large a step throws an unadjusted walk off to infinity. Acceptance does not see the heat, for a step is
accepted by the minibatch that proposed it; so the heat has a bound of its own, which falls in the first half of the
burn-in: the walk spreads with large steps, then cools.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.errors import Diverged
from rashomon_cli.core.results import Array
from rashomon_cli.science.tempered import Place, Posterior

ADJUSTED_TARGET, UNADJUSTED_TARGET = 0.8, 0.95
CHECK = 10
HEAT = 0.05  # as a share of λ̂, or of that of one curved direction where it is less
_ONE_DIRECTION = 0.5
_FADING, _HALVINGS = 0.6, 100


@dataclass
class Walk:
    """What one chain met.

    Attributes:
        excess: loss above that at w* before each step, burn-in included, as the step's examples see it; from where the
            chain is lost, NaN.
        heat: what the noise of minibatches adds to λ̂, one estimate a check; from where the chain is lost, NaN; none
            where a step sees all examples.
        acceptance: of adjusted steps, or of such steps tried on the same minibatch now and then; after the burn-in.
        virial: ``(w − w*)·∇U`` before each step after the burn-in; its expectation is P in equilibrium.
        step: ε after the burn-in.
    """

    excess: Array
    heat: Array
    acceptance: list[float] = field(default_factory=list)
    virial: list[float] = field(default_factory=list)
    step: float = math.nan


def walk(posterior: Posterior, *, draws: int, burn_in: int, step: float | None = None, chance: torch.Generator) -> Walk:
    """Walk one chain from w*.

    Args:
        posterior: what is sampled; whether it shows minibatches decides the sampler.
        draws: steps that count.
        burn_in: steps before them, in which the step is found.
        step: ε, the variance of a step's noise; None to find the largest at which 80 % of adjusted steps are accepted;
            where steps are not adjusted, at which 95 % would be and the heat is at most 5 % of λ̂.
        chance: draws minibatches and noise, on the CPU, so that every machine draws the same.

    Returns:
        Losses, and what tells whether to trust them. A chain that leaves for infinity ends there.

    Raises:
        Diverged: if no step, however small, is accepted at w*: its loss or gradient is not finite.
    """
    chain = _Chain(posterior, step, chance)
    search = _Search(posterior, chain.step, burn_in)
    found = Walk(np.full(burn_in + draws, math.nan), np.full(-(-draws // CHECK) if posterior.batch else 0, math.nan))
    for time in range(burn_in + draws):
        after = time - burn_in
        if after < 0:
            here, probability, variance = chain.adjusted_step(checked=step is None and time % CHECK == 0)
            if step is None:
                chain.step = search.following(chain.step, here.excess, probability, variance)
        else:
            here = chain.sample(found, after)
            found.virial.append(float(here.shift @ here.force))
        if not math.isfinite(here.energy):
            break
        found.excess[time] = here.excess
    found.step = chain.step
    return found


def acceptance(here: Place, there: Place, step: float) -> float:
    """Probability that Metropolis and Hastings accept a Langevin step, both places seen by the same examples."""
    ahead = (there.shift - here.shift + 0.5 * step * here.force).square().sum()
    back = (here.shift - there.shift + 0.5 * step * there.force).square().sum()
    exponent = here.energy - there.energy + float(ahead - back) / (2 * step)
    return 0.0 if math.isnan(exponent) else math.exp(min(0.0, exponent))


class _Search:
    """The step of a walk, as the burn-in so far tells it."""

    def __init__(self, posterior: Posterior, step: float, burn_in: int) -> None:
        self._beta, self._burn_in = posterior.inverse_temperature, burn_in
        self._target = ADJUSTED_TARGET if posterior.batch is None else UNADJUSTED_TARGET
        self._accepted, self._most = step, math.inf
        self._excess: list[float] = []
        self._variances: list[float] = []
        self._heats: list[float] = []

    def following(self, step: float, excess: float, probability: float, variance: float | None) -> float:
        """ε of the next step: the largest that would be accepted often enough, and heats little enough.

        Args:
            step: ε of the last one.
            excess: loss above that at w* before it.
            probability: of its acceptance.
            variance: of the force that minibatches give, from a check; None without one.
        """
        self._excess.append(excess)
        self._accepted *= math.exp((probability - self._target) * len(self._excess) ** -_FADING)
        if variance is not None:
            self._variances.append(variance)
            self._heats.append(_heat(step, variance))
            self._most = self._most_by_heat()
        return min(self._accepted, self._most)

    def _most_by_heat(self) -> float:
        """ε at which the heat is its share of λ̂: all of it at first, HEAT from the middle of the burn-in on."""
        share = HEAT ** min(1.0, 2 * (len(self._excess) + CHECK) / self._burn_in)
        coefficient = self._beta * _latter(self._excess) - _latter(self._heats)
        each = _heat(1.0, _latter(self._variances))
        return share * max(abs(coefficient), _ONE_DIRECTION) / each if each > 0 else math.inf


def _latter(values: list[float]) -> float:
    """Mean of the second half: what was before is further from equilibrium."""
    return float(np.mean(values[len(values) // 2 :]))


def _heat(step: float, variance: float) -> float:
    """What λ̂ gains by a variance s² of the force: ``εs²/8`` where U is quadratic and ε small.

    A direction of curvature a has ``(ε/2)² s² / (εa)`` more variance, which is ``½ a`` times as much in U.
    """
    return step * variance / 8


class _Chain:
    """Where a walk is, and how it goes on."""

    def __init__(self, posterior: Posterior, step: float | None, chance: torch.Generator) -> None:
        self.posterior, self.chance = posterior, chance
        self.shift = posterior.centre()
        self.noise = self._normal()
        rows = posterior.minibatch(chance)
        self.here = posterior.at(self.shift, rows)
        self.step = step or self._first_step(rows)

    def sample(self, found: Walk, after: int) -> Place:
        """One step of the sampler, so many after the burn-in, and what it tells of itself; where it was before."""
        if self.posterior.batch is None:
            here, probability, _ = self.adjusted_step()
            found.acceptance.append(probability)
            return here
        rows = self.posterior.minibatch(self.chance)
        if rows is None or after % CHECK:
            return self._unadjusted_step(self.posterior.at(self.shift, rows))
        here, variance = self._in_halves(rows)
        found.heat[after // CHECK] = _heat(self.step, variance)
        there = self.posterior.at(self._proposal(here), rows)
        found.acceptance.append(acceptance(here, there, self.step))
        return self._unadjusted_step(here)

    def adjusted_step(self, checked: bool = False) -> tuple[Place, float, float | None]:
        """A step that may be rejected.

        Returns:
            Where it was before, the probability that the step is accepted, and, of a minibatch that is checked, the
            variance of its force.
        """
        rows, variance = self.posterior.minibatch(self.chance), None
        if rows is None:
            here = self.here
        elif checked:
            here, variance = self._in_halves(rows)
        else:
            here = self.posterior.at(self.shift, rows)
        there = self.posterior.at(self._proposal(here), rows)
        probability = acceptance(here, there, self.step)
        if float(torch.rand((), generator=self.chance, dtype=torch.float64)) < probability:
            self.here, self.shift = there, there.shift
        return here, probability, variance

    def _unadjusted_step(self, here: Place) -> Place:
        following = self._normal()
        noise = 0.5 * math.sqrt(self.step) * (self.noise + following)
        self.shift, self.noise = here.shift - 0.5 * self.step * here.force + noise, following
        return here

    def _in_halves(self, rows: Tensor) -> tuple[Place, float]:
        """Where it is as the halves of a minibatch see it together, and the variance of the whole's force."""
        middle = len(rows) // 2
        one, other = (self.posterior.at(self.shift, half) for half in (rows[:middle], rows[middle:]))
        a, b = middle / len(rows), 1 - middle / len(rows)
        variance = a * b * float((one.force - other.force).square().sum())
        excess, energy = a * one.excess + b * other.excess, a * one.energy + b * other.energy
        return Place(self.shift, excess, energy, a * one.force + b * other.force), variance

    def _first_step(self, rows: Tensor | None) -> float:
        """The spring's own scale 1/γ, halved until a step is likely accepted (Hoffman and Gelman 2014, algorithm 4).

        Raises:
            Diverged: if none is.
        """
        self.step = 1 / self.posterior.localisation
        for _ in range(_HALVINGS):
            there = self.posterior.at(self._proposal(self.here), rows)
            if acceptance(self.here, there, self.step) > 0.5:
                return self.step
            self.step /= 2
        raise Diverged("no step from the point is accepted: its loss or gradient is not finite", "see --what gradient")

    def _proposal(self, here: Place) -> Tensor:
        return here.shift - 0.5 * self.step * here.force + math.sqrt(self.step) * self._normal()

    def _normal(self) -> Tensor:
        like = self.shift
        return torch.randn(like.shape, generator=self.chance, dtype=like.dtype).to(like.device)
