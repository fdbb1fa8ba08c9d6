"""PyHessian (Yao et al. 2020, arXiv 1912.07145) as an independent witness: its algorithms, without their faults."""

from __future__ import annotations

import math

import numpy as np
import pyhessian
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rashomon_cli.science.problem import Layout, Point, Problem, cross_entropy
from rashomon_cli.science.pyhessian_backend import PyHessian
from rashomon_cli.science.second_opinion import density, eigenvalues
from rashomon_cli.science.spectra import slq
from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.deflation import Complement
from rashomon_cli.science.spectra.matrices import Dense
from rashomon_cli.science.spectra.pairs import leading
from rashomon_cli.science.spectra.traces import hutchinson
from rashomon_cli.sources.batches import Batches
from rashomon_cli.sources.models.mlp import mlp


@pytest.fixture
def quadratic(function_problem):
    """quadratic(matrix): PyHessian's view of ½ θᵀAθ."""

    def build(matrix, **options):
        problem = function_problem(lambda theta: 0.5 * (theta @ matrix * theta).sum(-1), len(matrix))
        return PyHessian(problem, Point(torch.zeros(len(matrix), dtype=torch.float64), {}), problem.train, **options)

    return build


def symmetric(values, seed=0):
    chance = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(len(values), len(values), generator=chance, dtype=torch.float64))[0]
    return basis @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ basis.T


def test_our_largest_eigenvalue_is_pyhessians():
    torch.manual_seed(0)
    module = mlp((6,), 3, width=8, depth=1)
    x, y = torch.randn(100, 6), torch.randint(0, 3, (100,))
    data = Batches(x, y, 100, population=100)
    problem = Problem(module, Layout.of(module), cross_entropy, data, data)
    point = Point(problem.layout.flatten(dict(module.named_parameters())), {})
    value = float(leading(Curvature(problem, point, data), 1, tolerance=1e-4, seed=0).values[0])
    found = eigenvalues(PyHessian(problem, point, data), 1, iterations=2000, tolerance=1e-7).variables
    assert value == pytest.approx(float(found["eigenvalues_top"].values[0]), rel=1e-3)


def test_eigenvalues_of_either_sign_with_residuals(quadratic):
    matrix = symmetric([9.0, -6.0, 4.0, -2.0, 1.0, *[0.01] * 15])
    view = quadratic(matrix)
    found = eigenvalues(view, 4, iterations=300, tolerance=1e-9).variables
    assert found["eigenvalues_top"].values == pytest.approx([9, 4, -2, -6], rel=1e-4)
    assert found["residuals_top"].values.max() < 0.05
    assert int(found["converged_top"].values) == 4
    assert not [name for name in found if "bottom" in name]
    assert int(found["matvecs"].values) == view.matvecs > 8


def test_eigenvalues_with_the_penalty_are_those_of_the_loss_and_more(quadratic):
    found = eigenvalues(quadratic(symmetric([3.0, 1.0, 0.5]), shift=0.25), 1, iterations=200, tolerance=1e-9)
    assert found.variables["eigenvalues_top"].values == pytest.approx([3.25], rel=1e-4)


def test_iterations_that_are_too_few_show_in_the_residual(quadratic):
    matrix = symmetric(list(np.linspace(0.9, 1, 30)))
    found = eigenvalues(quadratic(matrix), 1, iterations=2, tolerance=0.0).variables
    value, residual = (float(found[f"{name}_top"].values[0]) for name in ("eigenvalues", "residuals"))
    assert residual > 0.01
    assert int(found["converged_top"].values) == (residual <= 0.05 * value)
    strict = eigenvalues(quadratic(matrix), 1, iterations=2, tolerance=0.0, accepted=0.5 * residual / value)
    assert int(strict.variables["converged_top"].values) == 0
    # An eigenvalue lies within the residual of any vector's quotient (Parlett 1998, theorem 4.5.1).
    assert np.abs(np.linspace(0.9, 1, 30) - value).min() <= residual


@settings(max_examples=12)
@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 100))
def test_matrices_that_are_small_or_zero_have_what_eigenvalues_there_are(quadratic, size, count, seed):
    values = np.random.default_rng(seed).permutation([2.0, -1.0, 0.5, 0.0, 0.0, 0.0])[:size]
    found = eigenvalues(quadratic(symmetric(list(values), seed)), count, iterations=60, tolerance=1e-9).variables
    asked = min(count, size)
    largest = values[np.argsort(-np.abs(values))][:asked]
    top = found["eigenvalues_top"].values
    assert top.shape == (asked,)
    assert top[np.abs(top) > 1e-6] == pytest.approx(sorted(largest[largest != 0], reverse=True), rel=1e-3)


@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")
def test_a_negative_trace_does_not_stop_the_probes(quadratic):
    chance = torch.Generator().manual_seed(1)
    root = torch.randn(40, 40, generator=chance, dtype=torch.float64)
    matrix = -root @ root.T
    view = quadratic(matrix)
    with view.working():
        assert len(view.engine.trace(maxIter=100, tol=1e-3)) == 2
    found = hutchinson(view, 30, seed=2)
    assert found.matvecs == 30
    # Hutchinson's variance with signs: 2 (‖A‖² − Σ Aᵢᵢ²) a probe.
    expected = math.sqrt(2 * float(matrix.square().sum() - matrix.diagonal().square().sum()) / 30)
    assert abs(found.trace.value - float(matrix.trace())) < 4 * expected
    assert found.trace.stderr == pytest.approx(expected, rel=0.5)


def test_its_density_needs_what_torch_no_longer_has(quadratic):
    view = quadratic(symmetric([2.0, 1.0, -1.0]))
    with view.working(), pytest.raises(RuntimeError, match="removed"):
        view.engine.density(iter=3, n_v=1)


def test_the_density_of_the_same_probes_is_ours(quadratic):
    values = [*np.linspace(-0.5, 1, 55), 5.0, 8.0, 20.0]
    matrix = symmetric(values)
    theirs, ours = density(quadratic(matrix), 4, 25, seed=3), slq.density(Dense(matrix), 4, 25, seed=3)
    assert theirs.alpha == pytest.approx(ours.alpha, rel=1e-6, abs=1e-8)
    assert theirs.nodes == pytest.approx(ours.nodes, rel=1e-6, abs=1e-8)
    assert theirs.weights == pytest.approx(ours.weights, rel=1e-5, abs=1e-8)
    assert theirs.size == 58


def test_a_density_ends_where_the_spectrum_does(quadratic):
    found = density(quadratic(symmetric([3.0] * 5 + [0.0] * 8 + [-1.0] * 2), shift=0.5), 2, 12)
    assert found.nodes[:, :3] == pytest.approx(np.array([[-0.5, 0.5, 3.5]] * 2), abs=1e-8)
    assert np.isnan(found.nodes[:, 3:]).all()
    assert found.weights.sum(axis=1) == pytest.approx([1, 1])


@pytest.mark.parametrize("steps", [30, 500])
def test_the_density_of_a_network_in_float32(steps):
    """As many steps as there are parameters, or more, and still a density: its own runs into rounding."""
    torch.manual_seed(5)
    module = mlp((4,), 3, width=5, depth=1)
    x, y = torch.randn(60, 4), torch.randint(0, 3, (60,))
    data = Batches(x, y, 25, population=60)
    problem = Problem(module, Layout.of(module), cross_entropy, data, data)
    point = Point(problem.layout.flatten(dict(module.named_parameters())), {})
    view = PyHessian(problem, point, data)
    dense = view(torch.eye(view.size)).double()
    exact = np.linalg.eigvalsh(((dense + dense.T) / 2).numpy())
    found = density(view, 3, steps)
    assert found.weights.sum(axis=1) == pytest.approx(np.ones(3), rel=1e-6)
    assert np.nanmax(found.nodes) == pytest.approx(exact[-1], rel=1e-4)
    assert np.nanmin(found.nodes) == pytest.approx(exact[0], abs=1e-4 * exact[-1])
    probes = slq.probe_vectors(Complement(Dense(dense)), range(3), 0)
    means = ((probes @ dense) * probes).sum(1).numpy()
    assert np.nansum(found.nodes * found.weights, axis=1) == pytest.approx(means, rel=1e-4, abs=1e-5 * exact[-1])


def test_nothing_to_do_is_refused(quadratic):
    with pytest.raises(ValueError, match="at least 1"):
        density(quadratic(symmetric([1.0, 2.0])), 0, 5)


def test_its_pieces_are_there():
    assert {"group_product", "group_add", "orthnormal"} <= set(dir(pyhessian.utils))
