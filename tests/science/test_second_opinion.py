"""PyHessian (Yao et al. 2020, arXiv 1912.07145) as an independent witness of the largest eigenvalue."""

import pytest
import torch
from pyhessian import hessian

from rashomon_cli.science.problem import Layout, Point, Problem, cross_entropy
from rashomon_cli.science.products import largest_eigenvalue
from rashomon_cli.sources.batches import Batches
from rashomon_cli.sources.models.mlp import mlp


def test_largest_eigenvalue_is_pyhessians():
    torch.manual_seed(0)
    module = mlp((6,), 3, width=8, depth=1)
    x, y = torch.randn(100, 6), torch.randint(0, 3, (100,))
    data = Batches(x, y, 100, population=100)
    problem = Problem(module, Layout.of(module), cross_entropy, data, data)
    point = Point(problem.layout.flatten(dict(module.named_parameters())), {})
    value, _, _ = largest_eigenvalue(problem, point, data, tolerance=1e-6)
    with pytest.warns(UserWarning, match="create_graph"):
        other = hessian(module, torch.nn.CrossEntropyLoss(), data=(x, y), cuda=False)
    theirs = other.eigenvalues(maxIter=2000, tol=1e-7)[0][0]
    assert value == pytest.approx(theirs, rel=1e-3)
