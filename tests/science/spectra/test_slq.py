from __future__ import annotations

import numpy as np
import pytest
import torch

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.deflation import Complement
from rashomon_cli.science.spectra.matrices import Dense
from rashomon_cli.science.spectra.slq import density, probe_vectors

VALUES = np.concatenate([np.zeros(60), np.linspace(-0.5, 3.0, 40)])


def test_a_probe_is_the_same_in_every_block_and_at_every_point(symmetric):
    spaces = [Complement(symmetric(VALUES, seed)[0]) for seed in (0, 1)]
    together = probe_vectors(spaces[0], range(5), 7)
    assert torch.equal(together[2:4], probe_vectors(spaces[1], range(2, 4), 7))
    assert together.norm(dim=1).numpy() == pytest.approx(np.ones(5))
    assert not torch.equal(together, probe_vectors(spaces[0], range(5), 8))


def test_the_share_that_a_probe_has_in_a_subspace_has_the_mean_and_variance_of_the_beta_law(symmetric):
    """Rank d of n: mean d/n, variance 2d(n − d)/(n²(n + 2)); the error of a variance from 4000 is 2.3 %."""
    matrix, vectors = symmetric(np.zeros(30))
    shares = (probe_vectors(Complement(matrix), range(4000), 0) @ vectors[:6].T).square().sum(1)
    variance = 2 * 6 * 24 / (30**2 * 32)
    assert float(shares.mean()) == pytest.approx(0.2, abs=4 * (variance / 4000) ** 0.5)
    assert float(shares.var()) == pytest.approx(variance, rel=0.1)


def test_probes_have_nothing_of_the_known_directions(symmetric):
    matrix, vectors = symmetric(VALUES)
    space = Complement(matrix, vectors[-5:])
    probes = probe_vectors(space, range(3), 0)
    assert float((probes @ vectors[-5:].T).abs().max()) < 1e-14
    assert probes.norm(dim=1).numpy() == pytest.approx(np.ones(3))


def test_memory_only_decides_how_many_probes_run_side_by_side(symmetric):
    matrix, _ = symmetric(VALUES)
    wide, narrow = density(matrix, 4, 12), density(matrix, 4, 12, memory=1)
    assert narrow.nodes == pytest.approx(wide.nodes, abs=1e-12)
    assert narrow.weights == pytest.approx(wide.weights, abs=1e-12)


def test_more_probes_keep_the_first_ones(symmetric):
    matrix, _ = symmetric(VALUES)
    few, more = density(matrix, 2, 12), density(matrix, 5, 12)
    assert more.alpha[:2] == pytest.approx(few.alpha, abs=1e-12)


def test_products_are_one_a_probe_and_step_and_one_a_known_direction(symmetric):
    matrix, vectors = symmetric(VALUES)
    found = density(Complement(matrix, vectors[-6:]), 4, 12)
    assert (matrix.matvecs, found.dimension, found.size) == (6 + 48, 94, 100)
    assert found.alpha.shape == (4, 12)


def test_steps_beyond_the_dimension_leave_the_shape_and_are_not_taken(symmetric):
    matrix, vectors = symmetric(np.arange(1.0, 8.0))
    found = density(Complement(matrix, vectors[-3:]), 2, 12)
    assert found.alpha.shape == (2, 12)
    assert found.nodes[:, :4] == pytest.approx(np.tile([1.0, 2.0, 3.0, 4.0], (2, 1)))
    assert not np.isfinite(found.nodes[:, 4:]).any()
    assert found.weights.sum(axis=1) == pytest.approx([1.0, 1.0])


def test_where_all_is_known_probes_add_nothing(symmetric):
    matrix, vectors = symmetric(np.arange(1.0, 8.0))
    found = density(Complement(matrix, vectors), 3, 12)
    assert (matrix.matvecs, found.dimension, found.alpha.shape) == (7, 0, (3, 12))
    assert not found.weights.any()


def test_all_steps_on_the_hessian_of_a_network_find_its_eigenvalues(mlp_case, dense):
    problem, point = mlp_case
    matrix = Curvature(problem, point, problem.train)
    values = np.linalg.eigvalsh(dense(problem, point).numpy())
    distinct = values[np.abs(values) > 1e-9]
    found = density(matrix, 2, matrix.size)
    for nodes, weights in found.rules:
        assert nodes[weights > 1e-12].min() == pytest.approx(values.min(), abs=1e-9)
        assert len(nodes) == len(distinct) + (len(distinct) < len(values))
        assert abs(nodes[:, None] - values).min(axis=1).max() < 1e-9
    assert matrix.matvecs == np.isfinite(found.alpha).sum()


@pytest.mark.parametrize(("probes", "steps"), [(0, 5), (5, 0)])
def test_no_density_without_a_probe_or_a_step(symmetric, probes, steps):
    with pytest.raises(ValueError, match="at least 1"):
        density(symmetric(VALUES)[0], probes, steps)


def test_a_matrix_that_is_not_finite_is_refused():
    with pytest.raises(Refused, match="not finite"):
        density(Dense(torch.full((20, 20), torch.nan, dtype=torch.float64)), 2, 5)
