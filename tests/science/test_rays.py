from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rashomon_cli.science.problem import Point
from rashomon_cli.science.rays import rays
from rashomon_cli.science.spectra.blocks import matching

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


def test_within_a_layer_directions_are_those_of_its_block(cnn_case, dense):
    problem, point = cnn_case
    options = {"batches": problem.train, "curvature_batches": problem.train, "epsilon": EPSILON, "maximum": 30.0}
    chosen = matching(problem.layout, "head")
    point = Point(point.theta, point.buffers, 0.5, {"tangent": (~chosen).double() / (~chosen).sum().sqrt()})
    result = rays(problem, point, **options, tau=0.05, top=1, near_null=2, random=0, layers="head")
    values, vectors = torch.linalg.eigh(dense(problem, point)[chosen][:, chosen])
    found, size = result.variables, int(chosen.sum())
    assert float(found["reach_curvature"].values[0]) == pytest.approx(float(values[-1]), rel=1e-3)
    assert result.tensors["vectors_near_null"].shape == (2, size)
    assert float(found["reach_rank_ratio"].values) == problem.train.count * 2 / size
    # A tangent that has no part in the layer does not exist there.
    assert found["reach_kind"].values[-1] == "tangent"
    assert math.isnan(found["reach_plus"].values[-1])
    # At both ends of the reach along the steepest direction, of either sign, the loss is up by ε: only the head moved.
    steep = torch.zeros_like(point.theta)
    steep[chosen] = vectors[:, -1]
    (x, y), *_ = problem.train
    reach = {side: float(found[f"reach_{name}"].values[0]) for name, side in (("plus", 1), ("minus", -1))}

    def rise(shift):
        there, here = (problem.mean_loss(theta, point.buffers, x, y) for theta in (point.theta + shift, point.theta))
        return float(there - here)

    ends = [[rise(sign * side * distance * steep) for side, distance in reach.items()] for sign in (1, -1)]
    assert min(max(abs(each - EPSILON) for each in both) for both in ends) < 0.05 * EPSILON


def test_directions_of_another_matrix(function_problem):
    """All examples have one gradient g: the empirical Fisher matrix is ggᵀ, however steep the Hessian is."""
    slopes = torch.tensor([3.0, 0.0, 0.0, 4.0], dtype=torch.float64)
    problem = function_problem(lambda p: p @ slopes + 50 * p.square().sum(-1), 4)
    found = rays(
        problem,
        Point(torch.zeros(4, dtype=torch.float64), {}),
        batches=problem.train,
        curvature_batches=problem.train,
        epsilon=EPSILON,
        maximum=30.0,
        tau=0.05,
        top=1,
        near_null=3,
        random=0,
        kind="fisher",
    ).variables
    assert found["reach_curvature"].values == pytest.approx([25, 0, 0, 0], abs=1e-6)
    assert 2 * found["reach_order_2"].values == pytest.approx([100] * 4)
    assert float(found["reach_rank_ratio"].values) == 8 / 4
