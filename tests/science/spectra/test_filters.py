from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial.chebyshev import chebval

from rashomon_cli.science.spectra.filters import bounds, near_null, step_coefficients
from rashomon_cli.science.spectra.matrices import Dense


def matrix_of(values, seed=0, dtype=torch.float64):
    """A dense matrix with these eigenvalues, and its eigenvectors as rows."""
    values = torch.as_tensor(values, dtype=torch.float64)
    drawn = torch.randn(len(values), len(values), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    basis = torch.linalg.qr(drawn)[0]
    return Dense(((basis * values) @ basis.T).to(dtype)), basis.T


GAP = [*[0.0] * 12, *np.linspace(1.0, 4.0, 40), *np.linspace(-3.0, -1.0, 20)]


@given(st.floats(-0.9, 0.8), st.floats(0.01, 1), st.integers(2, 200))
def test_the_damped_step_lies_between_0_and_1_and_blurs_by_its_degree(low, width, degree):
    high = min(low + width, 1.0)
    values = np.linspace(-1, 1, 801)
    found = chebval(values, step_coefficients(low, high, degree))
    assert found.min() > -1e-9
    assert found.max() < 1 + 1e-9
    # Jackson's kernel has a standard deviation of π/(degree + 2) at most in x: Chebyshev's inequality at 5 of them.
    blur = 5 * np.pi / (degree + 2)
    outside = (values < low - blur) | (values > high + blur)
    inside = (values > low + blur) & (values < high - blur)
    assert found[outside].max(initial=0) <= 0.04
    assert found[inside].min(initial=1) >= 0.96


def test_filtered_vectors_are_null_vectors_where_there_is_a_gap():
    matrix, rows = matrix_of(GAP)
    found = near_null(matrix, 5, 0.1, degree=100)
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(5).double(), atol=1e-12, rtol=0)
    within = (found.vectors @ rows[:12].T).square().sum(1)
    assert within.numpy() == pytest.approx(np.ones(5), abs=1e-7)
    images = found.vectors @ matrix.matrix
    assert found.quotients == pytest.approx((images * found.vectors).sum(1).numpy(), abs=1e-12)
    left = (images - torch.from_numpy(found.quotients)[:, None] * found.vectors).norm(dim=1)
    assert found.residuals == pytest.approx(left.numpy(), abs=1e-12)
    assert found.residuals.max() < 1e-3


def test_products_are_as_many_as_the_formula_says():
    matrix, rows = matrix_of(GAP)
    found = near_null(matrix, 5, 0.1, degree=50, known=rows[-3:])
    assert found.matvecs == matrix.matvecs == 5 * (50 + 1) + 24 + 3


def test_without_its_largest_eigenvectors_the_filter_is_sharper():
    matrix, rows = matrix_of([*GAP, 300.0, -200.0])
    plain, deflated = (near_null(matrix, 5, 0.1, degree=100, known=known) for known in (None, rows[-2:]))
    assert plain.residuals.min() > 0.5
    assert deflated.residuals.max() < 1e-3
    assert deflated.blur < plain.blur / 30
    assert float((deflated.vectors @ rows[-2:].T).abs().max()) < 1e-12
    assert (plain.low, plain.high) == (pytest.approx(-200, rel=0.1), pytest.approx(300, rel=0.1))


def test_a_null_vector_is_not_mixed_with_one_on_which_curvatures_cancel():
    # One null vector among λ = ±1: a Ritz value of 0 is reached by e₊ + e₋ as well.
    matrix, rows = matrix_of([0.0, *[1.0] * 20, *[-1.0] * 20])
    found = near_null(matrix, 6, 0.05, degree=60)
    assert float((found.vectors[0] @ rows[0]).abs()) == pytest.approx(1, abs=1e-9)
    assert found.residuals[0] < 1e-5
    assert (np.hypot(found.quotients, found.residuals)[1:] > 0.5).all()


def test_where_nothing_is_near_0_the_quotients_say_so():
    matrix, _ = matrix_of(np.linspace(1.0, 2.0, 30))
    found = near_null(matrix, 3, 0.01)
    assert (found.quotients > 0.99).all()


def test_the_span_is_a_fair_sample_of_the_null_space():
    # E ‖Πv‖² over k random directions of a d-dimensional space is s/d for an s-dimensional Π within, with the variance
    # 2s(d − s)(d − k) / (k d² (d − 1)(d + 2)) of its mean.
    d, s, k, seeds = 40, 10, 4, 25
    matrix, rows = matrix_of([*[0.0] * d, *np.linspace(1, 2, 40)])
    shares = [
        float((near_null(matrix, k, 0.1, degree=60, seed=seed).vectors @ rows[:s].T).square().sum()) / k
        for seed in range(seeds)
    ]
    spread = np.sqrt(2 * s * (d - s) * (d - k) / (k * d**2 * (d - 1) * (d + 2)))
    assert np.mean(shares) == pytest.approx(s / d, abs=4 * spread / np.sqrt(seeds))
    assert np.std(shares) == pytest.approx(spread, rel=0.5)


def test_in_single_precision_residuals_end_at_its_rounding():
    matrix, rows = matrix_of(GAP, dtype=torch.float32)
    found = near_null(matrix, 5, 0.1, degree=200)
    assert found.vectors.dtype == torch.float32
    assert 1e-9 < found.residuals.max() < 4e-6 * 4
    within = (found.vectors.double() @ rows[:12].T).square().sum(1)
    assert within.numpy() == pytest.approx(np.ones(5), abs=1e-6)


@pytest.mark.parametrize("values", [[0.0, 0.0, 0.0], [0.0], [2.0, 0.0], [1e-9, -1e-9, 5.0]])
def test_tiny_and_vanishing_matrices(values):
    matrix, _ = matrix_of(values)
    found = near_null(matrix, 1, 1e-3, degree=300)
    assert abs(found.quotients[0]) < 1e-6


def test_growth_gives_away_an_interval_that_was_too_narrow(monkeypatch):
    matrix, rows = matrix_of(GAP)
    monkeypatch.setattr("rashomon_cli.science.spectra.filters.bounds", lambda *_: (-2.0, 2.5))
    found = near_null(matrix, 5, 0.1, degree=100)
    assert found.low < -3
    assert found.high > 4
    assert (found.vectors @ rows[:12].T).square().sum(1).numpy() == pytest.approx(np.ones(5), abs=1e-6)


@given(st.integers(0, 1000), st.integers(1, 40))
def test_bounds_hold_the_extreme_eigenvalues_to_a_few_percent(seed, steps):
    values = np.random.default_rng(seed).standard_t(3, size=40)
    matrix, _ = matrix_of(values, seed)
    start = torch.randn(1, 40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    low, high = bounds(matrix, start, steps)
    width = values.max() - values.min()
    if steps >= 20:
        assert low < values.min() + 0.05 * width
        assert high > values.max() - 0.05 * width
    assert low > values.min() - 1.1 * width
    assert high < values.max() + 1.1 * width


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"count": 4, "tau": 0.0}, "must be positive"),
        ({"count": 0, "tau": 1.0}, "must be positive"),
        ({"count": 4, "tau": 1.0, "known": torch.eye(5)[:2]}, "4 near-null vectors in 3 dimensions"),
    ],
)
def test_what_cannot_be_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        near_null(Dense(torch.eye(5, dtype=torch.float64)), **arguments)
