from __future__ import annotations

import numpy as np
import pytest
import torch

from rashomon_cli.science.problem import Point
from rashomon_cli.science.rays import rays

EPSILON = 0.02


def test_of_a_degenerate_quadratic_each_kind_reaches_as_far_as_its_curvature_says(function_problem):
    values = torch.tensor([9.0, 4.0, *[1.0] * 4, *[0.0] * 6], dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(0)).double())[0]
    matrix = (basis * values) @ basis.T
    problem = function_problem(lambda p: 0.5 * (p @ matrix * p).sum(-1), 12)
    tangent = basis[:, 1].clone()
    point = Point(torch.zeros(12, dtype=torch.float64), {}, 0.5, {"tangent": tangent})
    result = rays(
        problem,
        point,
        batches=problem.train,
        curvature_batches=problem.train,
        epsilon=EPSILON,
        maximum=30.0,
        tau=0.05,
        top=2,
        near_null=3,
        deflate=3,
        random=1,
        given=5 * torch.eye(12, dtype=torch.float64)[:1],
    )
    found = result.variables
    kinds = ["top"] * 2 + ["near_null"] * 3 + ["tangent", "random", "given"]
    assert found["reach_kind"].values.tolist() == kinds
    curvature = found["reach_curvature"].values
    assert curvature[:6] == pytest.approx([9, 4, 0, 0, 0, 4], abs=1e-2)
    assert curvature[7] == pytest.approx(float(matrix[0, 0]))
    expected = np.minimum(np.sqrt(2 * EPSILON / np.maximum(curvature, 1e-12)), 30)
    assert found["reach_plus"].values == pytest.approx(expected, rel=0.009)
    assert found["reach_minus"].values == pytest.approx(expected, rel=0.009)
    assert 2 * found["reach_order_2"].values == pytest.approx(curvature, abs=1e-6)
    assert result.tensors["vectors_near_null"].shape == (3, 12)
    assert int(found["matvecs"].values) > 3 * 101
