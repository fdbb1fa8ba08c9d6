"""The local learning coefficient λ: how fast the volume of parameters with a loss below ε shrinks, V(ε) ~ ε^λ.

    λ̂ = nβ (E[L(w)] − L(w*)),  β = 1 / log n

with the expectation over the posterior near w*, localised and tempered (Lau, Furman, Wang, Murfet and Wei 2023, arXiv
2308.12108; Watanabe 2013). It is d/2 at a minimum with d curved directions, and less where a direction is flat to
higher order (¼ for ``x⁴``), where a count of zero eigenvalues says all or nothing. On a quadratic of eigenvalues h it
is ``½ Σ nβh / (nβh + γ)``: a direction counts half where ``h = γ / nβ``, which is the τ of the count that is beside it.

At finite n it is larger or smaller than its limit by terms of order 1 / log n where λ has a multiplicity (``x²y²``).
Against ``devinterp``'s: n is the number of examples, not of a minibatch; L(w*) is that of all examples, and minibatch
losses are compared with those of w* on the same examples; the error knows the autocorrelation of the draws; the step is
found; the sampler's bias is smaller (see langevin.py), and what minibatches add to λ̂ to first order in the step is
taken off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from rashomon_cli.core.results import Result, Variable, scalar, series, stack
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.chains import chain_mean
from rashomon_cli.science.intervals import Mean, mean
from rashomon_cli.science.langevin import HEAT, walk
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.spectra.blocks import restricted
from rashomon_cli.science.tempered import Posterior

LEAST_ACCEPTANCE = 0.5
MOST_DISAGREEMENT = 1.1
MOST_HEAT = 2 * HEAT  # what is taken off is known to first order only
MOST_BELOW = 0.25
LEAST_EQUIPARTITION = 0.5
DRIFT_LEVEL = 0.99
INDEPENDENT_DRAWS = 10  # of each chain: Gelman et al., Bayesian Data Analysis, §11.5


def learning_coefficient(
    problem: Problem,
    point: Point,
    *,
    batches: Batches,
    chains: int = 4,
    draws: int = 1000,
    burn_in: int = 500,
    batch: int | None = 256,
    step: float | None = None,
    localisation: float = 100.0,
    inverse_temperature: float | None = None,
    layers: str | None = None,
    seed: int = 0,
    tick: Tick = silent,
) -> Result:
    """λ̂ of a point on a sample, with its Monte Carlo error; ``one_chain`` for each chain, then ``summary``.

    Args:
        problem: the model and loss; weight decay is no part of it.
        point: w*, best a minimum of the loss; BatchNorm frozen at its statistics.
        batches: the n examples; the interval says nothing of other samples.
        chains: independent walks from w*.
        draws: steps of each that count, ≥ 4.
        burn_in: steps of each before, in which it spreads and its step is found.
        batch: examples a step, ≥ 2; None or n and more for all: then steps are Metropolis-adjusted, and exact.
        step: ε; None to find it.
        localisation: γ.
        inverse_temperature: nβ; None for n / log n.
        layers: walk in the parameters of layers that match, the others stay as they are, which gives the weight-refined
            coefficient (Wang et al. 2024, arXiv 2410.02984); None takes all.
        seed: of the chains.
        tick: called after each batch.

    Returns:
        What ``summary`` says.
    """
    each = [
        one_chain(
            problem,
            point,
            batches=batches,
            index=index,
            draws=draws,
            burn_in=burn_in,
            batch=batch,
            step=step,
            localisation=localisation,
            inverse_temperature=inverse_temperature,
            layers=layers,
            seed=seed,
            tick=tick,
        )
        for index in range(chains)
    ]
    return summary(each)


def one_chain(
    problem: Problem,
    point: Point,
    *,
    batches: Batches,
    index: int,
    draws: int = 1000,
    burn_in: int = 500,
    batch: int | None = 256,
    step: float | None = None,
    localisation: float = 100.0,
    inverse_temperature: float | None = None,
    layers: str | None = None,
    seed: int = 0,
    tick: Tick = silent,
) -> Result:
    """One of the chains, which depends on none of the others; arguments as those of ``learning_coefficient``.

    Args:
        problem: the model and loss.
        point: w*.
        batches: the examples.
        index: which chain.
        draws: steps that count.
        burn_in: steps before.
        batch: examples a step.
        step: ε.
        localisation: γ.
        inverse_temperature: nβ.
        layers: that the walk is in.
        seed: of the chains.
        tick: called after each batch.

    Returns:
        For ``summary``: the losses along ``step``, what tells whether to trust them, and, of minibatches, the heat
        along ``check``.

    Raises:
        Diverged: if the loss or the gradient at the point is not finite.
        UsageError: if no layer matches.
    """
    problem, point = restricted(problem, point, layers)
    posterior = Posterior(
        problem,
        point,
        batches,
        batch=batch,
        localisation=localisation,
        inverse_temperature=inverse_temperature,
        tick=tick,
    )
    chance = torch.Generator().manual_seed(derive(seed, "learning coefficient", index))
    found = walk(posterior, draws=draws, burn_in=burn_in, step=step, chance=chance)
    parameters = point.theta.numel()
    heat = {"llc_heat": series("check", found.heat, "1", _HEAT)} if posterior.batch else {}
    return Result(
        {
            "llc_excess": series("step", found.excess, "nat", "loss of a chain above that of the point"),
            "llc_acceptance": scalar(_mean(found.acceptance), "1", "acceptance of Langevin steps"),
            "llc_equipartition": scalar(
                _mean(found.virial) / parameters, "1", "mean of (w − w*)·∇U over its value in equilibrium"
            ),
            "llc_step": scalar(found.step, "1", "ε, the variance of a step's noise"),
            "llc_gradients": scalar(
                posterior.gradients / posterior.count, "1", "gradients of the sample's loss, of all chains together"
            ),
            "llc_burn_in": Variable((), np.asarray(burn_in), "1", "steps of a chain before its draws"),
            "llc_examples": Variable((), np.asarray(posterior.count), "1", "number n of examples"),
            "llc_inverse_temperature": scalar(posterior.inverse_temperature, "1", "nβ"),
            "llc_localisation": scalar(localisation, "1", "γ"),
            **heat,
        }
    )


_HEAT = "what noise of minibatches adds to λ̂, to first order"


def summary(chains: Sequence[Result]) -> Result:
    """λ̂ from its chains.

    Args:
        chains: what ``one_chain`` returned, in the order of their indices; they differ in nothing else.

    Returns:
        ``llc`` = nβ times the mean excess less ``llc_heat``, what minibatches add; its standard error, and ``llc_low``
        and ``llc_high``, an interval at 95 %, all of which know the error of both; ``llc_excess`` along ``chain`` and
        ``step``, the burn-in included; and whether to trust it: ``llc_concerns`` in words, from

        - ``llc_effective_draws`` and ``llc_disagreement`` (split-R̂) of the chains,
        - ``llc_drift``, λ̂ of the second half of the draws less that of the first,
        - ``llc_acceptance`` of steps, ``llc_heat``,
        - an interval below 0, and, of steps that see all examples, ``llc_negative``, the share of draws with a loss
          below that of the point: it is no minimum. By the noise of minibatches many are below that of a minimum, too,
        - ``llc_lost``, the share of draws that are not finite: λ̂ is NaN then,
        - ``llc_equipartition``, 1 where the walk is in equilibrium, less while it still spreads in flat directions.

        ``llc_resolution`` = γ / nβ is the eigenvalue of the Hessian at which a direction counts half.
    """
    joined = stack(chains, "chain")

    def shared(name: str) -> float:
        return float(joined[name].values[0])

    beta, burn_in = shared("llc_inverse_temperature"), int(shared("llc_burn_in"))
    each = beta * joined["llc_excess"].values[:, burn_in:]
    whole, half = chain_mean(each), each.shape[1] // 2
    drift = mean(each[:, -half:].mean(axis=1) - each[:, :half].mean(axis=1), DRIFT_LEVEL)
    minibatches = "llc_heat" in joined
    heat = mean(joined["llc_heat"].values.ravel()) if minibatches else Mean(0.0, 0.0, 0.0, 0)
    value = whole.value - heat.value
    half_width = math.hypot(whole.half_width, heat.half_width)
    found = {
        "llc": scalar(value, "1", "local learning coefficient", math.hypot(whole.stderr, heat.stderr)),
        "llc_low": scalar(value - half_width, "1", "local learning coefficient, lower end at 95 %"),
        "llc_high": scalar(value + half_width, "1", "local learning coefficient, upper end at 95 %"),
        "llc_heat": scalar(heat.value, "1", _HEAT, heat.stderr),
        "llc_effective_draws": scalar(whole.effective, "1", "independent draws that would tell as much"),
        "llc_disagreement": scalar(whole.disagreement, "1", "split-R̂ of the chains"),
        "llc_drift": scalar(drift.value, "1", "λ̂ of the second half of the draws less that of the first", drift.stderr),
        "llc_lost": scalar(float((~np.isfinite(each)).mean()), "1", "share of draws that are not finite"),
        "llc_resolution": scalar(
            shared("llc_localisation") / beta, "nat", "Hessian eigenvalue at which a direction counts half"
        ),
    }
    if not minibatches:
        below = float((each < 0).mean())
        found["llc_negative"] = scalar(below, "1", "share of draws with a loss below that of the point")
    for name, variable in joined.items():
        if variable.dims == ("chain",):
            reduced = variable.values[0] if name in _SETTINGS else _REDUCED.get(name, np.mean)(variable.values)
            found[name] = Variable((), np.asarray(reduced), variable.units, variable.long_name)
    words = "; ".join(concerns(found, len(chains), drifts=abs(drift.value) > drift.half_width))
    found["llc_concerns"] = Variable((), np.asarray(words), "1", "why not to trust the local learning coefficient")
    return Result({**found, "llc_excess": joined["llc_excess"]})


_REDUCED = {"llc_gradients": np.sum}
_SETTINGS = ("llc_burn_in", "llc_examples", "llc_inverse_temperature", "llc_localisation")


def concerns(found: Mapping[str, Variable], chains: int, drifts: bool) -> list[str]:
    """Why not to trust λ̂.

    Args:
        found: variables of ``summary``.
        chains: number of chains.
        drifts: whether the halves of the chains differ by more than chance does.

    Returns:
        Each reason in a few words; none for a sound estimate.
    """
    number = {name: float(variable.values) for name, variable in found.items()}
    if number["llc_lost"] > 0:
        return ["a chain left for infinity: use all examples, or a smaller step"]
    half_width = number["llc_high"] - number["llc"]
    tests = {
        "steps are too large": number["llc_acceptance"] < LEAST_ACCEPTANCE,
        "minibatches are too small": number["llc_heat"] > max(MOST_HEAT * abs(number["llc"]), half_width),
        "the point is no minimum": number["llc_high"] < 0 or number.get("llc_negative", 0.0) > MOST_BELOW,
        "the chains still drift": drifts,
        "flat directions are not explored yet": number["llc_equipartition"] < LEAST_EQUIPARTITION,
        "the chains disagree": number["llc_disagreement"] > MOST_DISAGREEMENT,
        "too few independent draws": number["llc_effective_draws"] < INDEPENDENT_DRAWS * chains,
    }
    return [words for words, holds in tests.items() if holds]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
