"""Draws from the posterior near a point by Langevin dynamics.

Two samplers:

- on all examples at each step, Metropolis-adjusted (MALA, Roberts and Tweedie 1996): exact at any step;
- on a minibatch at each step (SGLD, Welling and Teh 2011): never rejected, so its step biases it. Plain SGLD puts
  ``1 / (1 − εa/4)`` times the variance into a direction of curvature a of U. Here the noise of a step is the mean of
  two that follow each other (Leimkuhler and Matthews 2013, arXiv 1203.5428), at no cost: no bias where U is quadratic,
  and one of second order in ε elsewhere. What the minibatches' own noise adds is estimated.

The step is found in the burn-in, which is Metropolis-adjusted with either sampler: where a loss grows faster than a
square, too large a step throws an unadjusted walk off to infinity.
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
_FADING, _HALVINGS = 0.6, 100


@dataclass
class Walk:
    """What one chain met.

    Attributes:
        excess: loss above that at w* before each step, burn-in included, as the step's examples see it; from where the
            chain is lost, NaN.
        acceptance: of adjusted steps, or of such steps tried on the same minibatch now and then; after the burn-in.
        virial: ``(w − w*)·∇U`` before each step after the burn-in; its expectation is P in equilibrium.
        heat: what the noise of minibatches adds to λ̂, one estimate a check.
        step: ε after the burn-in.
    """

    excess: Array
    acceptance: list[float] = field(default_factory=list)
    virial: list[float] = field(default_factory=list)
    heat: list[float] = field(default_factory=list)
    step: float = math.nan


def walk(posterior: Posterior, *, draws: int, burn_in: int, step: float | None = None, chance: torch.Generator) -> Walk:
    """Walk one chain from w*.

    Args:
        posterior: what is sampled; whether it shows minibatches decides the sampler.
        draws: steps that count.
        burn_in: steps before them, in which the step is found.
        step: ε, the variance of a step's noise; None to find the largest at which 80 % of adjusted steps are accepted,
            or 95 % would be where steps are not adjusted.
        chance: draws minibatches and noise, on the CPU, so that every machine draws the same.

    Returns:
        Losses, and what tells whether to trust them. A chain that leaves for infinity ends there.

    Raises:
        Diverged: if no step, however small, is accepted at w*: its loss or gradient is not finite.
    """
    chain = _Chain(posterior, step, chance)
    found = Walk(np.full(burn_in + draws, math.nan))
    for time in range(burn_in + draws):
        after = time - burn_in
        if after < 0:
            here, probability = chain.adjusted_step()
            if step is None:
                chain.step *= math.exp((probability - chain.target) * (time + 1) ** -_FADING)
        else:
            here = chain.sample(found, checked=after % CHECK == 0)
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


class _Chain:
    """Where a walk is, and how it goes on."""

    def __init__(self, posterior: Posterior, step: float | None, chance: torch.Generator) -> None:
        self.posterior, self.chance = posterior, chance
        self.target = ADJUSTED_TARGET if posterior.batch is None else UNADJUSTED_TARGET
        self.shift = posterior.centre()
        self.noise = self._normal()
        rows = posterior.minibatch(chance)
        self.here = posterior.at(self.shift, rows)
        self.step = step or self._first_step(rows)

    def sample(self, found: Walk, checked: bool) -> Place:
        """One step of the sampler, and what it tells of itself; where it was before."""
        if self.posterior.batch is None:
            here, probability = self.adjusted_step()
            found.acceptance.append(probability)
            return here
        rows = self.posterior.minibatch(self.chance)
        if not checked or rows is None:
            return self._unadjusted_step(self.posterior.at(self.shift, rows))
        here, variance = self._in_halves(rows)
        found.heat.append(self.step * variance / 8)
        there = self.posterior.at(self._proposal(here), rows)
        found.acceptance.append(acceptance(here, there, self.step))
        return self._unadjusted_step(here)

    def adjusted_step(self) -> tuple[Place, float]:
        """A step that may be rejected; where it was before, and the probability that the step is accepted."""
        rows = self.posterior.minibatch(self.chance)
        here = self.here if rows is None else self.posterior.at(self.shift, rows)
        there = self.posterior.at(self._proposal(here), rows)
        probability = acceptance(here, there, self.step)
        if float(torch.rand((), generator=self.chance, dtype=torch.float64)) < probability:
            self.here, self.shift = there, there.shift
        return here, probability

    def _unadjusted_step(self, here: Place) -> Place:
        following = self._normal()
        noise = 0.5 * math.sqrt(self.step) * (self.noise + following)
        self.shift, self.noise = here.shift - 0.5 * self.step * here.force + noise, following
        return here

    def _in_halves(self, rows: Tensor) -> tuple[Place, float]:
        """Where it is as the halves of a minibatch see it together, and the variance of the whole's force.

        By it λ̂ gains ε/8 times that variance where U is quadratic and ε small: a direction of curvature a has
        ``(ε/2)² s² / (εa)`` more variance by a force of variance s², which is ``½ a`` times as much in U.
        """
        middle = len(rows) // 2
        one, other = (self.posterior.at(self.shift, half) for half in (rows[:middle], rows[middle : 2 * middle]))
        variance = float((one.force - other.force).square().sum()) / 4
        excess, energy = (one.excess + other.excess) / 2, (one.energy + other.energy) / 2
        return Place(self.shift, excess, energy, (one.force + other.force) / 2), variance

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
