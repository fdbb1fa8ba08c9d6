from __future__ import annotations

import numpy as np
import pytest
import torch

from rashomon_cli.science.eigenvectors import leading_eigenvectors, without
from rashomon_cli.science.problem import Point


def quadratic(matrix):
    return lambda theta: 0.5 * (theta @ matrix * theta).sum(-1)


def spread_matrix(values, seed=0):
    size = len(values)
    basis = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed)).double())[0]
    return basis @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ basis.T


@pytest.mark.parametrize(("size", "count"), [(12, 3), (40, 4)])
def test_eigenvectors_are_those_of_the_largest_size(function_problem, size, count):
    values = [5.0, -6.0, 3.0, 2.0][:count] + list(np.linspace(0.5, 0.1, size - count))
    matrix = spread_matrix(values)
    problem = function_problem(quadratic(matrix), size)
    theta = torch.zeros(size, dtype=torch.float64)
    found, vectors = leading_eigenvectors(problem, Point(theta, {}), problem.train, count)
    largest = sorted(values, key=abs)[-count:]
    assert sorted(found) == pytest.approx(sorted(largest), rel=1e-2)
    residual = (vectors @ matrix - torch.from_numpy(found)[:, None] * vectors).norm(dim=1)
    assert float(residual.max()) < 0.1


def test_parts_in_a_span_are_removed_however_it_is_given():
    rng = torch.Generator().manual_seed(1)
    removed = torch.randn(3, 8, generator=rng, dtype=torch.float64)
    twice = torch.cat([removed, removed[:1] + removed[1:2]])
    vectors = torch.randn(4, 8, generator=rng, dtype=torch.float64)
    found = without(vectors, twice)
    assert found.norm(dim=1).numpy() == pytest.approx(np.ones(4))
    assert float((found @ removed.T).abs().max()) < 1e-12
    assert float((found - without(vectors, removed)).abs().max()) < 1e-12
    assert not without(removed, twice).any()


def test_a_hessian_that_is_zero_has_none(function_problem):
    problem = function_problem(lambda theta: theta.pow(4).sum(-1), 30)
    values, vectors = leading_eigenvectors(problem, Point(torch.zeros(30).double(), {}), problem.train, 3)
    assert (values.shape, tuple(vectors.shape)) == ((0,), (0, 30))
