from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.science.chains import chain_mean


def autoregressive(correlation, chains, draws, seed):
    """x_t = ρ x_{t−1} + √(1 − ρ²) ξ: mean 0, variance 1, autocorrelations ρ^t."""
    rng = np.random.default_rng(seed)
    found = np.empty((chains, draws))
    found[:, 0] = rng.standard_normal(chains)
    for t in range(1, draws):
        found[:, t] = correlation * found[:, t - 1] + math.sqrt(1 - correlation**2) * rng.standard_normal(chains)
    return found


@pytest.mark.parametrize("correlation", [0.0, 0.9, -0.5])
def test_the_effective_number_of_draws_is_that_of_the_process(correlation):
    draws = autoregressive(correlation, 4, 20_000, seed=1)
    expected = draws.size * (1 - correlation) / (1 + correlation)
    found = chain_mean(draws)
    assert found.effective == pytest.approx(expected, rel=0.1)
    assert found.stderr == pytest.approx(1 / math.sqrt(expected), rel=0.06)
    assert found.disagreement == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("correlation", "draws"), [(0.0, 100), (0.9, 400)])
def test_the_interval_holds_the_mean_in_95_of_100(correlation, draws):
    inside = 0
    for seed in range(200):
        found = chain_mean(autoregressive(correlation, 4, draws, seed))
        inside += abs(found.value) <= found.half_width
    # Three standard deviations of 200 tries at 95 %; the effective number is itself an estimate.
    assert 181 <= inside <= 200


def test_noise_of_each_draw_does_not_hide_that_a_chain_is_slow():
    """Like losses on minibatches: a chain of variance 1 forgets in 80 steps, each draw has noise of variance 25."""
    inside, found = 0, []
    for seed in range(200):
        noise = 5 * np.random.default_rng(1000 + seed).standard_normal((4, 2000))
        found.append(chain_mean(autoregressive(0.9875, 4, 2000, seed) + noise))
        inside += abs(found[-1].value) <= found[-1].half_width
    assert 181 <= inside <= 200
    variance = (159 + 25) / 8000
    assert np.mean([each.stderr for each in found]) == pytest.approx(math.sqrt(variance), rel=0.15)
    # Means of 31 neighbours have a variance of 25 / 31 by noise and, of the chain, nearly 1.
    assert np.median([each.blocks for each in found]) == pytest.approx((25 / 31 + 0.88) / variance, rel=0.3)


def test_a_chain_that_is_slow_for_its_draws_shows_in_the_means_of_halves():
    """A chain that forgets in 100 steps, 500 draws and noise of variance 64; without, 360 intervals of 400 hold."""
    inside = 0
    for seed in range(400):
        noise = 8 * np.random.default_rng(1000 + seed).standard_normal((4, 500))
        found = chain_mean(autoregressive(0.99, 4, 500, seed) + noise)
        inside += abs(found.value) <= found.half_width
    # Three standard deviations of 400 tries at 95 %.
    assert 367 <= inside <= 400


def test_chains_that_stay_apart_count_little_more_than_once_each():
    draws = autoregressive(0.0, 4, 500, seed=2) * 0.01 + np.array([[0.0], [1.0], [2.0], [3.0]])
    found = chain_mean(draws)
    assert found.disagreement > 10
    assert found.effective < 8
    assert found.stderr > np.std([0, 1, 2, 3], ddof=1) / math.sqrt(8)


def test_a_drift_shows_as_disagreement_of_halves():
    assert chain_mean(autoregressive(0.0, 1, 500, seed=3) + np.linspace(0, 5, 500)).disagreement > 1.5


@given(st.floats(-1e6, 1e6), st.integers(1, 4), st.integers(4, 30))
def test_chains_that_never_move_have_a_mean_without_error(value, chains, draws):
    found = chain_mean(np.full((chains, draws), value))
    assert (found.value, found.stderr) == (pytest.approx(value), 0.0)


@given(st.floats(0.1, 100), st.floats(-100, 100), st.integers(0, 1000))
def test_units_do_not_matter(scale, shift, seed):
    draws = autoregressive(0.5, 3, 50, seed)
    one, other = chain_mean(draws), chain_mean(scale * draws + shift)
    assert other.effective == pytest.approx(one.effective, rel=1e-6)
    assert other.stderr == pytest.approx(scale * one.stderr, rel=1e-6)


def test_a_draw_that_is_not_finite_leaves_no_mean():
    draws = autoregressive(0.0, 2, 10, seed=4)
    draws[1, 3] = math.inf
    assert math.isnan(chain_mean(draws).value)
    assert math.isnan(chain_mean(draws).half_width)


def test_too_few_draws_are_refused():
    with pytest.raises(ValueError, match="3 draws"):
        chain_mean(np.zeros((2, 3)))
