"""Functions whose learning coefficient is known, each several times over: one walk then tells of many.

At finite n the answer is not the limit; it is computed here by quadrature from the posterior itself.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad, quad
from torch import nn

from rashomon_cli.core.results import stack
from rashomon_cli.science.learning_coefficient import learning_coefficient, one_chain, summary
from rashomon_cli.science.problem import Point

BETA, GAMMA = 1000.0, 10.0
SAMPLERS = pytest.mark.parametrize("batch", [None, 4], ids=["adjusted", "minibatches"])


def measure(problem, theta, **options):
    settings = {"draws": 700, "burn_in": 300, "localisation": GAMMA, "inverse_temperature": BETA, "batch": None}
    return learning_coefficient(problem, Point(theta, {}), batches=problem.train, **settings | options).variables


def zeros(size):
    return torch.zeros(size, dtype=torch.float64)


def meets(found, exact, relative):
    """Within four standard errors, which are small."""
    value, stderr = float(found["llc"].values), float(found["llc"].stderr)
    assert abs(value - exact) < 4 * stderr
    assert stderr < relative * exact
    assert not str(found["llc_concerns"].values)


@SAMPLERS
def test_a_regular_minimum_has_half_its_dimension(function_problem, batch):
    curvatures = torch.tensor([1.0] * 10 + [4.0] * 10 + [0.01] * 5 + [0.0] * 15, dtype=torch.float64)
    found = measure(function_problem(lambda w: 0.5 * (curvatures * w.square()).sum(-1), 40), zeros(40), batch=batch)
    curved = BETA * curvatures.numpy()
    meets(found, 0.5 * (curved / (curved + GAMMA)).sum(), 0.03)
    # 20 directions count whole; five count half, for their eigenvalue is γ / nβ.
    assert float(found["llc"].values) == pytest.approx(0.5 * (20 + 5 / 2), rel=0.1)
    assert float(found["llc_resolution"].values) == 0.01


@SAMPLERS
def test_a_quartic_minimum_has_a_quarter_a_direction(function_problem, batch):
    found = measure(function_problem(lambda w: w.pow(4).sum(-1), 30), zeros(30), batch=batch, localisation=1.0)

    def density(x):
        return math.exp(-BETA * x**4 - 0.5 * x**2)

    exact = quad(lambda x: BETA * x**4 * density(x), -1, 1)[0] / quad(density, -1, 1)[0]
    meets(found, 30 * exact, 0.05)
    assert float(found["llc"].values) == pytest.approx(30 / 4, rel=0.1)


@SAMPLERS
def test_a_cross_has_half_a_pair_less_what_finite_n_takes(function_problem, batch):
    """x²y²: multiplicity 2, so that λ̂ falls short of ½ by a term of order 1 / log n."""
    found = measure(
        function_problem(lambda w: (w[..., ::2] * w[..., 1::2]).square().sum(-1), 40), zeros(40), batch=batch
    )

    # Given y, x is normal of precision 2nβy² + γ.
    def density(y):
        return math.exp(-0.5 * GAMMA * y**2) / math.sqrt(2 * BETA * y**2 + GAMMA)

    share = quad(lambda y: density(y) * BETA * y**2 / (2 * BETA * y**2 + GAMMA), 0, 4, points=[0.1])[0]
    exact = share / quad(density, 0, 4, points=[0.1])[0]
    assert 0.25 < exact < 0.5
    meets(found, 20 * exact, 0.05)


@SAMPLERS
def test_a_hyperbola_has_half(function_problem, batch):
    """(ab − 1)² at (1, 1): one curved direction, along a ridge that bends."""
    found = measure(
        function_problem(lambda w: (w[..., ::2] * w[..., 1::2] - 1).square().sum(-1), 20),
        torch.ones(20, dtype=torch.float64),
        batch=batch,
    )

    def weight(a, b):
        return math.exp(-BETA * (a * b - 1) ** 2 - 0.5 * GAMMA * ((a - 1) ** 2 + (b - 1) ** 2))

    # The ridge is 0.03 wide: in polar terms a = r e^s, b = r e^−s it is straight; da db = 2 r dr ds.
    def integral(function):
        return dblquad(
            lambda r, s: 2 * r * function(r) * weight(r * math.exp(s), r * math.exp(-s)), -1.5, 1.5, 0.7, 1.3
        )[0]

    exact = integral(lambda r: BETA * (r**2 - 1) ** 2) / integral(lambda r: 1.0)
    meets(found, 10 * exact, 0.05)
    assert float(found["llc"].values) == pytest.approx(10 / 2, rel=0.1)


def regression(make, count, size, spread=1.0):
    """Linear regression with residuals of some spread, its minimum, and λ̂ there with γ = 1."""
    chance = torch.Generator().manual_seed(5)
    x, y = (torch.randn(count, k, generator=chance, dtype=torch.float64) for k in (size, 1))
    y *= spread
    problem = make(torch.nn.Linear(size, 1, bias=False), x, y, loss=lambda out, want: (out - want).square().mean(-1))
    curved = count / math.log(count) * torch.linalg.eigvalsh(2 * x.T @ x / count).numpy()
    return problem, torch.linalg.lstsq(x, y).solution[:, 0], float((0.5 * curved / (curved + 1)).sum())


def regress(problem, theta, **options):
    return measure(problem, theta, **{"localisation": 1.0, "inverse_temperature": None} | options)


@pytest.mark.parametrize(
    ("count", "size", "spread"), [(2000, 10, 1.0), (2000, 30, 1.0), (20000, 10, 1.0), (2000, 10, 0.5), (2000, 1, 1.0)]
)
def test_minibatches_add_nothing_where_their_noise_dominates(make, count, size, spread):
    problem, theta, exact = regression(make, count, size, spread)
    found = regress(problem, theta, batch=256, burn_in=250, draws=500)
    value, stderr = float(found["llc"].values), float(found["llc"].stderr)
    assert abs(value - exact) < 3 * stderr
    assert stderr < 0.35 * exact
    assert 0 < float(found["llc_heat"].values) < 0.1 * exact
    assert not str(found["llc_concerns"].values)


def test_what_minibatches_add_is_taken_off_and_its_error_joined(make):
    problem, theta, exact = regression(make, 1000, 40, 0.5)
    found = regress(problem, theta, batch=256, step=2e-3, draws=1000)
    value, stderr, heat = float(found["llc"].values), float(found["llc"].stderr), found["llc_heat"]
    assert abs(value - exact) < 3 * stderr
    assert value + float(heat.values) > exact + 3 * stderr, "without it the interval would miss"
    beta = float(found["llc_inverse_temperature"].values)
    assert value + float(heat.values) == pytest.approx(beta * found["llc_excess"].values[:, 300:].mean())
    assert 0 < float(heat.stderr) < stderr
    assert value - float(found["llc_low"].values) > 1.96 * stderr


@pytest.mark.parametrize(("batch", "step", "told"), [(2, 4e-4, True), (2, None, False), (None, None, False)])
def test_minibatches_that_are_too_small_for_a_step_are_told(make, batch, step, told):
    problem, theta, exact = regression(make, 200, 12)
    found = regress(problem, theta, batch=batch, step=step)
    assert ("minibatches are too small" in str(found["llc_concerns"].values)) is told
    assert (float(found["llc_heat"].values) > 0.2 * exact) is told


@pytest.mark.parametrize("batch", [None, 256], ids=["adjusted", "minibatches"])
def test_an_exact_minimum_is_not_taken_for_none(make, batch):
    """Four draws in ten lie below it, as their minibatches see them."""
    problem, theta, exact = regression(make, 2000, 1)
    found = regress(problem, theta, batch=batch, step=5e-5)
    assert (found["llc_excess"].values[:, 300:] < 0).mean() == pytest.approx(0.4 if batch else 0.0, abs=0.1)
    assert "no minimum" not in str(found["llc_concerns"].values)
    assert ("llc_negative" in found) is (batch is None)
    assert abs(float(found["llc"].values) - exact) < 3 * float(found["llc"].stderr)


@pytest.mark.parametrize("batch", [None, 100], ids=["adjusted", "minibatches"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_linear_regression_has_half_its_rank_whatever_the_penalty(make, batch, decay):
    chance = torch.Generator().manual_seed(5)
    x = torch.randn(300, 12, generator=chance, dtype=torch.float64)
    x = torch.cat([x, x[:, :8]], 1)
    y = x[:, :3].sum(1, keepdim=True) + 0.1 * torch.randn(300, 1, generator=chance, dtype=torch.float64)
    problem = make(torch.nn.Linear(20, 1, bias=False), x, y, loss=lambda out, want: (out - want).square().mean(-1))
    theta = torch.linalg.lstsq(x, y, driver="gelsd").solution[:, 0]
    found = measure(
        replace(problem, weight_decay=decay), theta, batch=batch, localisation=1.0, inverse_temperature=None
    )
    beta = 300 / math.log(300)
    curved = beta * torch.linalg.eigvalsh(2 * x.T @ x / 300).clamp(min=0).numpy()
    meets(found, 0.5 * (curved / (curved + 1)).sum(), 0.04)
    assert float(found["llc"].values) == pytest.approx(12 / 2, rel=0.1)
    assert float(found["llc_inverse_temperature"].values) == pytest.approx(beta)


def test_chains_do_not_depend_on_each_other(function_problem):
    problem = function_problem(lambda w: w.square().sum(-1), 4)
    settings = {"batches": problem.train, "draws": 20, "burn_in": 10, "batch": 4, "seed": 3}
    point = Point(zeros(4), {})
    apart = [one_chain(problem, point, index=index, **settings) for index in (2, 0, 1)]
    whole = learning_coefficient(problem, point, chains=3, **settings).variables
    joined = summary([apart[1], apart[2], apart[0]]).variables
    assert all(np.array_equal(joined[name].values, whole[name].values) for name in whole)
    assert whole["llc_excess"].dims == ("chain", "step")
    assert whole["llc_excess"].values.shape == (3, 30)
    assert len({tuple(row) for row in whole["llc_excess"].values}) == 3


def test_the_cost_is_as_announced(function_problem):
    problem = function_problem(lambda w: w.square().sum(-1), 4)
    ticks = []
    found = measure(problem, zeros(4), batch=2, draws=40, burn_in=10, chains=3, step=1e-4, tick=ticks.append)
    # A chain: one gradient at the start, two a step of the burn-in, one a draw and one more at every tenth.
    assert float(found["llc_gradients"].values) == 3 * (1 + 2 * 10 + 40 + 4) * 2 / 8
    assert len(ticks) == 3 * (1 + 1 + 2 * 10 + 40 + 2 * 4), "of those at every tenth the halves come one by one"
    found = measure(problem, zeros(4), draws=40, burn_in=10, step=1e-4)
    assert float(found["llc_gradients"].values) == 4 * (1 + 50)


@SAMPLERS
def test_steps_that_are_too_large_are_told(function_problem, batch):
    problem = function_problem(lambda w: 0.5 * w.square().sum(-1), 40)
    found = measure(problem, zeros(40), batch=batch, step=2.5 / BETA, draws=200)
    assert "steps are too large" in str(found["llc_concerns"].values)


def test_a_chain_that_is_lost_leaves_no_number(function_problem):
    found = measure(function_problem(lambda w: w.pow(4).sum(-1), 4), zeros(4), batch=4, step=1.0, draws=50, burn_in=0)
    assert math.isnan(float(found["llc"].values))
    assert float(found["llc_lost"].values) > 0.5
    assert "left for infinity" in str(found["llc_concerns"].values)


@SAMPLERS
def test_a_point_that_is_no_minimum_is_told(function_problem, batch):
    problem = function_problem(lambda w: 0.5 * w.square().sum(-1), 10)
    found = measure(problem, zeros(10) + 0.3, batch=batch, localisation=100.0)
    # The walk settles where the spring holds it: the mean is 0.3 γ / (nβ + γ).
    mean = 0.3 * 100 / (BETA + 100)
    exact = 10 * BETA * 0.5 * (mean**2 + 1 / (BETA + 100) - 0.3**2)
    assert float(found["llc"].values) == pytest.approx(exact, rel=0.02)
    assert "the point is no minimum" in str(found["llc_concerns"].values)


def test_a_walk_that_has_not_spread_is_told(function_problem):
    problem = function_problem(lambda w: 0.5 * w.square().sum(-1), 100)
    found = measure(problem, zeros(100), step=1e-6, draws=200, burn_in=0)
    words = str(found["llc_concerns"].values)
    assert "the chains still drift" in words
    assert "flat directions are not explored" in words
    # 2 / εa = 2,000 steps would be needed: λ̂ is ½ · 100 · (1 − e^(−t/1000)) at step t, averaged over 200.
    assert float(found["llc"].values) == pytest.approx(50 * (1 - (1 - math.exp(-0.2)) / 0.2), rel=0.1)


def test_batchnorm_is_frozen_and_results_join_along_a_path(cnn_case):
    problem, point = cnn_case
    before = {name: value.clone() for name, value in point.buffers.items()}
    found = [
        learning_coefficient(problem, point, batches=problem.train, chains=2, draws=20, burn_in=20, batch=16)
        for _ in range(2)
    ]
    assert all(torch.equal(before[name], value) for name, value in point.buffers.items())
    joined = stack(found, "t")
    assert joined["llc"].stderr.shape == (2,)
    assert joined["llc"].values[0] == joined["llc"].values[1]
    assert joined["llc_concerns"].values.dtype.kind == "U"


def test_float32_gives_the_same_coefficient(make):
    chance = torch.Generator().manual_seed(6)
    x, y = torch.randn(200, 8, generator=chance), torch.randn(200, 1, generator=chance)
    problem = make(torch.nn.Linear(8, 1, bias=False), x, y, loss=lambda out, want: (out - want).square().mean(-1))
    problem = replace(problem, module=problem.module.float(), train=replace(problem.train, dtype=torch.float32))
    problem = replace(problem, train=replace(problem.train, x=x, y=y))
    found = measure(problem, torch.linalg.lstsq(x, y).solution[:, 0], localisation=1.0)
    curved = BETA * torch.linalg.eigvalsh((2 * x.T @ x / 200).double()).numpy()
    meets(found, 0.5 * (curved / (curved + 1)).sum(), 0.04)


class Two(nn.Module):
    """Outputs the parameters of two layers, whatever the input."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(1, 20), nn.Linear(1, 30)

    def forward(self, x):
        weights = torch.cat([layer.bias for layer in (self.one, self.two)])
        return weights.expand(len(x), -1)


def test_within_a_layer_the_others_stay_as_they_are(make):
    problem = make(Two(), torch.zeros(8, 1), torch.zeros(8), loss=lambda outputs, _: 0.5 * outputs.square().sum(-1))
    theta = torch.zeros(problem.layout.total, dtype=torch.float64)
    # Half the curved directions of the layer; its weights are flat.
    meets(measure(problem, theta, layers="one"), 0.5 * 20 * BETA / (BETA + GAMMA), 0.03)


class Apart(nn.Module):
    """Its second layer is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(1, 2), nn.Linear(1, 2)

    def forward(self, x):
        return self.used(x)


@SAMPLERS
def test_in_a_layer_that_no_output_depends_on_it_is_zero(make, batch):
    problem = make(Apart(), torch.randn(8, 1), torch.zeros(8, dtype=torch.long))
    theta = torch.zeros(problem.layout.total, dtype=torch.float64)
    assert float(measure(problem, theta, layers="unused", batch=batch)["llc"].values) == 0.0
