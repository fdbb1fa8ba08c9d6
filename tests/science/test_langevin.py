from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.core.errors import Diverged
from rashomon_cli.science.chains import chain_mean
from rashomon_cli.science.langevin import ADJUSTED_TARGET, UNADJUSTED_TARGET, acceptance, walk
from rashomon_cli.science.problem import Point
from rashomon_cli.science.tempered import Place, Posterior

BETA = 1000.0


def posterior_of(function_problem, function, size, *, batch=None, gamma=1.0):
    """All examples of such a problem are alike: minibatches without noise, so that only the sampler itself errs."""
    problem = function_problem(function, size)
    point = Point(torch.zeros(size, dtype=torch.float64), {})
    return Posterior(problem, point, problem.train, batch=batch, localisation=gamma, inverse_temperature=BETA)


def go(posterior, **settings):
    return walk(posterior, **{"draws": 400, "burn_in": 0, "chance": torch.Generator().manual_seed(0)} | settings)


def square(theta):
    return 0.5 * theta.square().sum(-1)


def quartic(theta):
    return theta.pow(4).sum(-1)


@pytest.mark.parametrize("stiffness", [0.2, 1.0, 2.0])
def test_averaged_noise_leaves_no_bias_on_a_quadratic(function_problem, stiffness):
    posterior = posterior_of(function_problem, square, 200, batch=4)
    found = go(posterior, step=stiffness / (BETA + 1), burn_in=100, draws=600)
    estimate = chain_mean(BETA * found.excess[100:])
    exact = 100 * BETA / (BETA + 1)
    assert abs(estimate.value - exact) < 4 * estimate.stderr
    plain = exact / (1 - stiffness / 4)
    assert stiffness < 1 or abs(estimate.value - plain) > 8 * estimate.stderr
    assert np.mean(found.virial) / 200 == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("batch", "target"), [(None, ADJUSTED_TARGET), (4, UNADJUSTED_TARGET)])
@pytest.mark.parametrize("function", [square, quartic])
def test_the_step_is_found(function_problem, function, batch, target):
    found = go(posterior_of(function_problem, function, 20, batch=batch), burn_in=300, draws=600)
    assert np.mean(found.acceptance) == pytest.approx(target, abs=0.06)


def test_a_step_that_is_given_is_kept(function_problem):
    posterior = posterior_of(function_problem, square, 5)
    assert go(posterior, step=1e-4, burn_in=50).step == 1e-4


def test_a_walk_that_is_thrown_off_ends(function_problem):
    found = go(posterior_of(function_problem, quartic, 3, batch=4), step=1.0)
    lost = np.flatnonzero(~np.isfinite(found.excess))
    assert lost[0] < 50
    assert np.isnan(found.excess[lost[0] :]).all()


def test_no_step_leaves_a_point_without_a_finite_loss(function_problem):
    posterior = posterior_of(function_problem, lambda theta: (theta.sum(-1) - 1).log(), 3)
    with pytest.raises(Diverged, match="not finite"):
        go(posterior)


@given(st.floats(0.01, 2.0), st.integers(0, 10_000))
def test_acceptance_is_that_of_metropolis_and_hastings(step, seed):
    def place(shift):
        return Place(shift, 0.0, float(shift.pow(4).sum()), 4 * shift.pow(3))

    def log_proposal(to, here):
        return (
            torch.distributions.Normal(here.shift - 0.5 * step * here.force, math.sqrt(step)).log_prob(to.shift).sum()
        )

    chance = torch.Generator().manual_seed(seed)
    here, there = (place(torch.randn(3, generator=chance, dtype=torch.float64)) for _ in range(2))
    exponent = here.energy - there.energy + float(log_proposal(here, there) - log_proposal(there, here))
    assert acceptance(here, there, step) == pytest.approx(math.exp(min(0.0, exponent)), rel=1e-9, abs=1e-300)


def regression(make, count, size):
    """Linear regression with residuals of variance 1, and its minimum."""
    chance = torch.Generator().manual_seed(3)
    x, y = (torch.randn(count, k, generator=chance, dtype=torch.float64) for k in (size, 1))
    module = torch.nn.Linear(size, 1, bias=False)
    problem = make(module, x, y, loss=lambda outputs, targets: 0.5 * (outputs - targets).square().sum(-1))
    return problem, x, y, torch.linalg.lstsq(x, y).solution[:, 0]


@pytest.mark.parametrize(("count", "size", "batch"), [(2000, 10, 256), (2000, 10, 32), (8000, 30, 256)])
def test_the_step_that_is_found_heats_little(make, count, size, batch):
    """Where noise of minibatches dominates, steps of 2 / a would be accepted, and heat many times λ."""
    problem, x, y, theta = regression(make, count, size)
    posterior = Posterior(problem, Point(theta, {}), problem.train, batch=batch, localisation=1.0)
    found = go(posterior, burn_in=250, draws=200)
    beta = posterior.inverse_temperature
    gradients = (x @ theta[:, None] - y) * x
    each = beta**2 * float(gradients.square().sum(1).mean()) / batch / 8
    assert 2 / beta * each > 0.3 * size / 2
    # λ is told by the burn-in alone, with the noise of its minibatches.
    assert 0.02 < found.step * each / (size / 2) < 0.1
    assert np.mean(found.heat) == pytest.approx(found.step * each, rel=0.3)


def test_the_burn_in_spreads_then_cools(make):
    """At the last of its steps alone the walk would need 2 / εa = 200 to spread; λ is 50 here."""
    problem, _, _, theta = regression(make, 2000, 100)
    posterior = Posterior(problem, Point(theta, {}), problem.train, batch=16, localisation=1.0)
    walks = [go(posterior, burn_in=250, draws=100, chance=torch.Generator().manual_seed(seed)) for seed in range(3)]
    seen = posterior.inverse_temperature * np.mean([found.excess for found in walks], axis=0)
    assert np.mean([found.step for found in walks]) * posterior.inverse_temperature < 0.02
    assert 50 < seen[150:200].mean() < 80
    assert seen[250:].mean() == pytest.approx(50, abs=8)


@pytest.mark.parametrize("batch", [2, 3, 9])
def test_a_check_sees_the_examples_of_the_step_that_it_checks(make, batch):
    problem, _, _, theta = regression(make, 500, 10)
    posterior = Posterior(problem, Point(theta, {}), problem.train, batch=batch, localisation=1.0)
    assert np.mean(go(posterior, step=1e-6, burn_in=100, draws=300).acceptance) > 0.98


def test_noise_of_minibatches_is_told(make):
    """Linear regression at its minimum: the variance of a gradient is known there, and so is what it adds to λ̂."""
    problem, x, y, theta = regression(make, 400, 40)
    beta, gamma, batch = 500.0, 1.0, 128
    curvature = torch.linalg.eigvalsh(x.T @ x / 400)
    step = 0.2 / (beta * float(curvature.max()) + gamma)
    posterior = Posterior(
        problem, Point(theta, {}), problem.train, batch=batch, localisation=gamma, inverse_temperature=beta
    )
    found = go(posterior, step=step, burn_in=200, draws=2500)
    estimate = chain_mean(beta * found.excess[200:])
    exact = float((0.5 * beta * curvature / (beta * curvature + gamma)).sum())
    heat = chain_mean(found.heat)
    gradients = (x @ theta[:, None] - y) * x
    at_the_minimum = step * beta**2 * float(gradients.square().sum(1).mean()) / batch / 8
    # Away from the minimum a gradient varies more: by the variance of x xᵀ (w − w*).
    assert at_the_minimum < heat.value < 1.3 * at_the_minimum
    assert estimate.value - exact > 5 * estimate.stderr
    assert estimate.value - exact == pytest.approx(heat.value, rel=0.25)
