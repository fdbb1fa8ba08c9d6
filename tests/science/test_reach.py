from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rashomon_cli.core.results import Result, Variable, series, stack
from rashomon_cli.science.curvature import random_units
from rashomon_cli.science.problem import Point
from rashomon_cli.science.reach import reach, variation

EXACT = 0.009


def measure(problem, theta, *, directions=None, **options):
    given_ = {"epsilon": 0.05, "maximum": 100.0, "random": 6, "project": 0}
    point = Point(theta, {}, directions=directions or {})
    found = reach(problem, point, batches=problem.train, curvature_batches=problem.train, **given_ | options)
    return found.variables


def quadratic(matrix):
    return lambda theta: 0.5 * (theta @ matrix * theta).sum(-1)


def spread_matrix(values, seed=0):
    size = len(values)
    basis = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed)).double())[0]
    return basis @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ basis.T


def test_the_reach_of_a_quadratic_is_the_closed_form(function_problem):
    matrix = spread_matrix([9.0, 4.0, 1.0, 0.25])
    theta = torch.zeros(4, dtype=torch.float64)
    found = measure(function_problem(quadratic(matrix), 4), theta, seed=3)
    units = random_units(theta, 6, 3)
    expected = (2 * 0.05 / ((units @ matrix) * units).sum(1)).sqrt().numpy()
    each = found["width_random_each"]
    assert each.dims == ("direction", "side")
    assert each.values == pytest.approx(np.stack([expected, expected], 1), rel=EXACT)
    assert float(found["width_random"].values) == pytest.approx(expected.mean(), rel=EXACT)
    assert float(found["width_random"].stderr) == pytest.approx(expected.std(ddof=1) / math.sqrt(6), rel=0.05)
    assert float(found["width_random_censored"].values) == 0


def test_away_from_a_minimum_the_two_sides_differ_as_the_parabola_does(function_problem):
    problem = function_problem(lambda theta: 0.5 * theta.square().sum(-1), 1)
    found = measure(problem, torch.tensor([2.0], dtype=torch.float64), random=1, epsilon=0.5)
    # (2 + r)²/2 rises by ½ at √5 − 2 outwards; inwards it falls first, and rises by ½ at 2 + √5.
    assert sorted(found["width_random_each"].values[0]) == pytest.approx(
        [math.sqrt(5) - 2, math.sqrt(5) + 2], rel=EXACT
    )
    assert float(found["width_loss"].values) == pytest.approx(2)


def test_a_vanishing_hessian_is_no_flat_direction(function_problem):
    problem = function_problem(lambda theta: theta.pow(4).sum(-1), 1)
    found = measure(problem, torch.zeros(1, dtype=torch.float64), random=2, project=1)
    assert found["width_random_each"].values == pytest.approx(np.full((2, 2), 0.05**0.25), rel=EXACT)
    assert int(found["width_removed"].values) == 0
    assert float(found["width_hessian_free"].values) == pytest.approx(0.05**0.25, rel=EXACT)
    assert float(found["width_hessian_free_curvature"].values) == 0


def test_without_the_steep_directions_a_degenerate_quadratic_is_flat_to_the_cut_off(function_problem):
    matrix = spread_matrix([7.0, 3.0, 2.0, *[0.0] * 27])
    theta = torch.zeros(30, dtype=torch.float64)
    found = measure(function_problem(quadratic(matrix), 30), theta, project=3, maximum=20.0)
    assert float(found["width_hessian_free"].values) == 20
    assert float(found["width_hessian_free_censored"].values) == 1
    assert float(found["width_hessian_free_curvature"].values) == pytest.approx(0, abs=1e-6)
    assert float(found["width_removed_least"].values) == pytest.approx(2, rel=1e-2)
    assert float(found["width_random"].values) < 5
    assert float(found["width_random_curvature"].values) > 0


def test_a_hundred_steep_directions_are_removed(function_problem):
    # More than the 150 products of ten suffice for.
    scales = torch.tensor([*np.linspace(2.0, 1.0, 100), *[0.0] * 300], dtype=torch.float64)
    problem = function_problem(lambda theta: 0.5 * (scales * theta.square()).sum(-1), 400)
    found = measure(problem, torch.zeros(400, dtype=torch.float64), project=100, random=2, maximum=20.0)
    assert int(found["width_removed"].values) == 100
    assert float(found["width_hessian_free"].values) == 20


def test_nothing_is_left_where_every_direction_is_steep(function_problem):
    problem = function_problem(quadratic(spread_matrix([3.0, 2.0, 1.0])), 3)
    found = measure(problem, torch.zeros(3, dtype=torch.float64), project=10)
    assert int(found["width_removed"].values) == 3
    for name in ("width_hessian_free", "width_hessian_free_censored", "width_hessian_free_curvature"):
        assert math.isnan(found[name].values), name
    assert math.isfinite(found["width_random"].values)


def test_the_width_is_across_the_tangent(function_problem):
    # Along the first axis the loss is steep: a path that runs there has a width that does not know of it.
    problem = function_problem(quadratic(torch.diag(torch.tensor([1e4, 1.0, 1.0], dtype=torch.float64))), 3)
    theta = torch.zeros(3, dtype=torch.float64)
    tangent = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    along, across = (measure(problem, theta, directions=d) for d in ({}, {"tangent": tangent}))
    assert float(across["width_random"].values) == pytest.approx(math.sqrt(0.1), rel=EXACT)
    assert float(along["width_random"].values) < 0.1


def test_refreshed_statistics_undo_a_scale_that_frozen_ones_feel(cnn_case):
    problem, point = cnn_case
    options = {"batches": problem.train, "curvature_batches": problem.train, "epsilon": 0.02, "maximum": 50.0}
    frozen, refreshed = (
        reach(problem, point, refreshed=r, random=2, project=0, **options).variables for r in (False, True)
    )
    assert float(frozen["width_loss"].values) != float(refreshed["width_loss"].values)
    assert float(refreshed["width_random"].values) != float(frozen["width_random"].values)
    # Filters before a BatchNorm have no scale of their own once it is refreshed.
    scaled = {n: v * 3 if n.startswith("conv") else v for n, v in problem.layout.split(point.theta).items()}
    moved = Point(problem.layout.flatten(scaled), point.buffers)
    same = reach(problem, moved, refreshed=True, random=1, project=0, **options).variables
    assert float(same["width_loss"].values) == pytest.approx(float(refreshed["width_loss"].values), rel=1e-3)
    kept = reach(problem, moved, refreshed=False, random=1, project=0, **options).variables
    assert abs(float(kept["width_loss"].values) - float(frozen["width_loss"].values)) > 1e-3


def test_the_variation_along_a_path_is_paired_by_direction():
    found = varying([1, 2, 1.5], [0, 0, 0])
    assert set(found) == {"width_random_ratio", "width_random_ratio_censored"}
    assert float(found["width_random_ratio"].values) == pytest.approx(2)
    assert float(found["width_random_ratio"].stderr) == pytest.approx(0, abs=1e-12)
    assert float(found["width_random_ratio_censored"].values) == 0


@pytest.mark.parametrize(
    ("widths", "censored", "ratio", "share"),
    [
        ([1, 1, 1], [1, 1, 1], math.nan, 1),  # all cut off: 1 ± 0 would say that nothing varies
        ([1, 1.5, 2], [0.25, 0, 1], math.nan, 1),
        ([1, 1.5, 2], [0, 0.25, 0.5], 2, 0.5),
        ([1, 1.5, 2], [0, 0.25, 0], 2, 0),
    ],
)
def test_a_ratio_to_what_was_cut_off_is_none_and_from_it_a_lower_bound(widths, censored, ratio, share):
    found = varying(widths, censored)
    variable = found["width_random_ratio"]
    assert float(variable.values) == pytest.approx(ratio, nan_ok=True)
    assert math.isnan(float(variable.stderr)) == math.isnan(ratio)
    assert float(found["width_random_ratio_censored"].values) == share


def test_a_plain_where_no_ray_ends_has_no_ratio(function_problem):
    problem = function_problem(lambda theta: 0 * theta.sum(-1), 3)
    points = [measure(problem, torch.full((3,), x, dtype=torch.float64), random=2) for x in (0.0, 1.0)]
    stacked = stack([Result(point) for point in points], "t")
    assert math.isnan(float(variation(stacked).variables["width_random_ratio"].values))


def varying(widths, censored):
    one = np.array([[1.0, 1.0], [3.0, 3.0], [np.nan, np.nan]])
    each = Variable(("t", "direction", "side"), np.multiply.outer(widths, one))
    return variation({"width_random_each": each, "width_random_censored": series("t", censored)}).variables
