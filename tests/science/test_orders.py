from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.science.orders import fit

DISTANCES = np.array([-2.0, -1.5, -1.0, -0.4, 0.3, 0.9, 1.6, 2.1])
POWERS = np.arange(1, 5)


def polynomial(coefficients, distances=DISTANCES):
    return (np.asarray(coefficients)[..., None, :] * distances[:, None] ** POWERS).sum(-1)


@given(st.lists(st.floats(-5, 5), min_size=4, max_size=4), st.floats(1e-3, 1e3))
def test_a_quartic_is_found_at_every_scale(coefficients, scale):
    found = fit(DISTANCES * scale, polynomial(np.array(coefficients))[:, None] * np.ones((1, 3)), 3)
    expected = np.array(coefficients) / scale**POWERS
    size = max(1e-9, max(abs(c) for c in coefficients))
    assert np.abs(found.coefficients - expected) * scale**POWERS == pytest.approx(np.zeros(4), abs=1e-11 * size)
    assert found.residual == pytest.approx(0, abs=1e-11 * size)
    assert found.slope(0.0) == pytest.approx(expected[0], abs=1e-11 * size / scale)


def test_errors_are_those_of_the_mean_over_examples():
    # Of examples with known coefficients the fit errs as a mean of these does: s/√n, less the population's share.
    own = np.random.default_rng(0).normal(size=(40, 4))
    found = fit(DISTANCES, polynomial(own).T, 160)
    assert found.coefficients == pytest.approx(own.mean(0), rel=1e-9)
    assert found.stderr == pytest.approx(own.std(0, ddof=1) / math.sqrt(40) * math.sqrt(1 - 40 / 160), rel=1e-9)
    assert fit(DISTANCES, polynomial(own).T, 40).stderr == pytest.approx(np.zeros(4), abs=1e-12)


def test_on_all_data_what_a_quartic_cannot_follow_is_the_error():
    kink = np.abs(DISTANCES)[:, None] * np.ones((1, 5))
    found = fit(DISTANCES, kink, 5)
    design = DISTANCES[:, None] ** POWERS
    solution, squares, *_ = np.linalg.lstsq(design, kink[:, 0], rcond=None)
    covariance = np.linalg.inv(design.T @ design) * squares[0] / (len(DISTANCES) - 4)
    assert found.coefficients == pytest.approx(solution)
    assert found.stderr == pytest.approx(np.sqrt(np.diag(covariance)))
    assert found.residual == pytest.approx(math.sqrt(squares[0] / len(DISTANCES)))


def test_the_fit_of_noise_covers_the_truth_as_often_as_it_says():
    random, truth = np.random.default_rng(1), np.array([0.0, 1.0, 0.0, 0.5])
    inside = []
    for _ in range(300):
        own = truth + random.normal(size=(50, 4)) * [1, 2, 1, 3]
        found = fit(DISTANCES, polynomial(own).T, 10**9)
        inside.append(np.abs(found.coefficients - truth) <= 1.96 * found.stderr)
    # t(49) against the normal: 94.4 %; 300 tries have a standard deviation of 1.3 %.
    assert np.mean(inside, 0) == pytest.approx(np.full(4, 0.944), abs=0.05)


def test_the_leading_order_is_the_one_that_carries_the_rise():
    noiseless = np.ones((1, 4))
    square, fourth = (fit(DISTANCES, polynomial(c)[:, None] * noiseless, 4) for c in ([0, 1, 0, 0], [0, 0.1, 0, 1]))
    assert (square.leading(2.1, 1.0), fourth.leading(2.1, 1.0)) == (2, 4)
    assert fourth.leading(0.1, 1.0) == 0  # there is no rise yet
    assert fit(DISTANCES, np.zeros((8, 4)), 4).leading(2.1, 1e-3) == 0


def test_noise_leads_nowhere():
    noise = np.random.default_rng(2).normal(size=(8, 100))
    found = fit(DISTANCES, noise, 10**9)
    assert found.leading(2.1, 1e-6) == 0


def test_a_loss_that_is_not_finite_has_no_orders():
    rises = np.ones((8, 3))
    rises[2, 1] = np.inf
    found = fit(DISTANCES, rises, 3)
    assert np.isnan(found.coefficients).all()
    assert np.isnan(found.stderr).all()
    assert found.leading(1.0, 0.1) == 0
