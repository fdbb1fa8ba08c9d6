from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import eval_chebyu

from rashomon_cli.science.spectra.lanczos import lanczos
from rashomon_cli.science.spectra.matrices import Dense
from rashomon_cli.science.spectra.quadrature import bracket, ends, gauss

GRID = np.linspace(-1.1, 1.1, 45)


def semicircle(steps):
    """Lanczos coefficients and distribution of the density 2/π √(1 − x²): Chebyshev polynomials of the second kind."""
    x = np.clip(GRID, -1, 1)
    return np.zeros(steps), np.full(steps, 0.5), 0.5 + (x * np.sqrt(1 - x**2) + np.arcsin(x)) / np.pi


def uniform(steps):
    """The same of the density ½ on [−1, 1]: Legendre polynomials."""
    order = np.arange(1.0, steps + 1)
    return np.zeros(steps), order / np.sqrt(4 * order**2 - 1), (np.clip(GRID, -1, 1) + 1) / 2


def seen(atoms, masses, steps):
    """Lanczos coefficients of the measure with these atoms."""
    matrix = Dense(torch.diag(torch.tensor(atoms, dtype=torch.float64)))
    found = lanczos(matrix, torch.tensor(masses, dtype=torch.float64).sqrt()[None], steps)
    return found.alpha[0], found.beta[0]


def test_nodes_and_weights_of_the_semicircle():
    angles = np.pi * np.arange(9, 0, -1) / 10
    nodes, weights = gauss(*semicircle(9)[:2])
    assert nodes == pytest.approx(np.cos(angles), abs=1e-14)
    assert weights == pytest.approx(np.sin(angles) ** 2 / 5)


@pytest.mark.parametrize("density", [semicircle, uniform])
def test_the_bracket_has_a_continuous_distribution_in_it_and_never_widens(density):
    before = np.zeros(len(GRID)), np.ones(len(GRID))
    for steps in range(1, 40):
        alpha, beta, below = density(steps)
        low, high = bracket(alpha, beta, GRID)
        assert (low <= below + 1e-8).all()
        assert (below <= high + 1e-8).all()
        assert (low >= before[0] - 1e-8).all()
        assert (high <= before[1] + 1e-8).all()
        before = low, high
    assert (high - low).max() < 0.05 + 1e-8  # 1 / (20 even U_j(0)²) is the worst of the semicircle


def test_the_bracket_is_as_wide_as_the_christoffel_function():
    points = np.array([-0.93, -0.2, 0.013, 0.5, 0.999])
    low, high = bracket(*semicircle(12)[:2], points)
    assert high - low == pytest.approx(1 / sum(eval_chebyu(order, points) ** 2 for order in range(13)))


def test_at_a_node_the_bracket_is_that_nodes_weight():
    nodes, weights = gauss(*semicircle(7)[:2])
    low, high = bracket(*semicircle(7)[:2], nodes)
    assert low == pytest.approx(np.cumsum(weights) - weights, abs=1e-8)
    assert high == pytest.approx(np.cumsum(weights), abs=1e-8)


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=20),
    st.floats(0.01, 10.0),
    st.integers(1, 24),
    st.integers(0, 1000),
)
def test_no_measure_with_an_atom_at_0_leaves_its_bracket(others, at_zero, steps, seed):
    atoms = np.array([0.0, *others])
    masses = np.array([at_zero, *np.random.default_rng(seed).exponential(size=len(others))])
    masses /= masses.sum()
    alpha, beta = seen(atoms, masses, steps)
    points = np.concatenate([atoms, gauss(alpha, beta)[0], [-2.0, -1e-5, 1e-5, 0.3, 2.0]])
    low, high = bracket(alpha, beta, points)
    less = np.array([masses[atoms < point - 1e-7].sum() for point in points])
    more = np.array([masses[atoms <= point + 1e-7].sum() for point in points])
    assert (low <= more + 1e-7).all()
    assert (high >= less - 1e-7).all()


def test_an_invariant_subspace_leaves_nothing_open():
    alpha, beta = seen([-1.0, 0.0, 2.0], [0.2, 0.5, 0.3], 10)
    low, high = bracket(alpha, beta, np.array([-1.5, -1e-6, 1e-6, 1.0, 2.5]))
    assert low == pytest.approx([0.0, 0.2, 0.7, 0.7, 1.0])
    assert np.array_equal(low, high)


def test_the_ends_have_an_eigenvalue_within_their_residuals():
    atoms = np.linspace(-1.0, 3.0, 60)
    for steps in (2, 5, 12, 25):
        for node, residual in ends(*seen(atoms, np.full(60, 1 / 60), steps)):
            assert abs(atoms - node).min() <= residual + 1e-12
    assert residual < 1e-2
