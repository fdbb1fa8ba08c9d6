from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rashomon_cli.core.results import Result, stack
from rashomon_cli.science.following import follow
from rashomon_cli.science.problem import Point

EXACT = 0.009
EPSILON = 0.02


def along(problem, theta, units, *, buffers=None, **options):
    given = {"epsilon": EPSILON, "maximum": 50.0} | options
    rows = torch.tensor(units, dtype=torch.float64) if isinstance(units, list) else units
    rows = torch.where(rows.norm(dim=1, keepdim=True) > 0, rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-9), rows)
    point = Point(torch.as_tensor(theta, dtype=torch.float64), buffers or {})
    kinds = ["given"] * len(rows)
    return follow(problem, point, rows, kinds, batches=problem.train, **given).variables


def coefficients(found, row=0):
    return np.array([float(found[f"reach_order_{k}"].values[row]) for k in (1, 2, 3, 4)])


@pytest.mark.parametrize(
    ("function", "direction", "reach", "orders", "leading"),
    [
        (lambda p: p[:, 0] ** 2, [1.0, 0.0], EPSILON**0.5, [0, 1, 0, 0], 2),
        (lambda p: p[:, 0] ** 4, [1.0, 0.0], EPSILON**0.25, [0, 0, 0, 1], 4),
        (lambda p: p[:, 0] ** 2 * p[:, 1] ** 2, [1.0, 0.0], None, [0, 0, 0, 0], 0),
        (lambda p: p[:, 0] ** 2 * p[:, 1] ** 2, [0.0, 1.0], None, [0, 0, 0, 0], 0),
        (lambda p: p[:, 0] ** 2 * p[:, 1] ** 2, [1.0, 1.0], (4 * EPSILON) ** 0.25, [0, 0, 0, 0.25], 4),
    ],
)
def test_reach_and_orders_tell_a_square_a_fourth_power_and_a_cross_apart(
    function_problem, function, direction, reach, orders, leading
):
    found = along(function_problem(function, 2), torch.zeros(2), [direction])
    expected = 50.0 if reach is None else reach
    for side in ("plus", "minus"):
        assert float(found[f"reach_{side}"].values[0]) == pytest.approx(expected, rel=EXACT)
        assert float(found[f"reach_censored_{side}"].values[0]) == (reach is None)
    assert coefficients(found) == pytest.approx(np.array(orders), abs=1e-10)
    assert int(found["reach_leading_order"].values[0]) == leading


def test_the_two_sides_of_a_cubic_differ_and_only_one_is_cut_off(function_problem):
    found = along(function_problem(lambda p: p[:, 0] ** 3, 1), torch.zeros(1), [[1.0]], maximum=4.0)
    assert float(found["reach_plus"].values[0]) == pytest.approx(EPSILON ** (1 / 3), rel=EXACT)
    assert float(found["reach_minus"].values[0]) == 4
    assert [float(found[f"reach_censored_{side}"].values[0]) for side in ("plus", "minus")] == [0, 1]
    assert coefficients(found) == pytest.approx([0, 0, 1, 0], abs=1e-9)
    assert int(found["reach_leading_order"].values[0]) == 3
    assert math.isnan(found["reach_minus"].stderr[0])


def test_off_a_minimum_the_slope_is_the_first_order(function_problem):
    # (2 + s)²/2 = 2 + 2s + s²/2
    found = along(function_problem(lambda p: 0.5 * p[:, 0] ** 2, 1), [2.0], [[1.0]])
    assert coefficients(found) == pytest.approx([2, 0.5, 0, 0], abs=1e-9)
    assert float(found["reach_loss"].values) == pytest.approx(2)


def test_the_error_of_a_reach_is_that_of_the_curvature_over_examples(function_problem):
    # Each example has its own curvature aᵢ: r = √(ε/ā), so δr/r = ½ δā/ā; and the second order is ā ± s/√n.
    own = 1 + torch.rand(60, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    problem = function_problem(lambda p: p[:, 0] ** 2, 1, count=60)
    scaled = replace(
        problem,
        loss=lambda outputs, a: a * outputs[:, 0] ** 2,
        train=replace(problem.train, y=own, population=10**9),
    )
    found = along(scaled, torch.zeros(1), [[1.0]])
    mean, error = float(own.mean()), float(own.std()) / math.sqrt(60)
    assert float(found["reach_plus"].values[0]) == pytest.approx(math.sqrt(EPSILON / mean), rel=EXACT)
    assert float(found["reach_order_2"].values[0]) == pytest.approx(mean)
    assert float(found["reach_order_2"].stderr[0]) == pytest.approx(error)
    expected = math.sqrt(EPSILON / mean) * 0.5 * error / mean
    assert float(found["reach_plus"].stderr[0]) == pytest.approx(expected, rel=0.03)
    whole = replace(scaled, train=replace(scaled.train, population=60))
    assert float(along(whole, torch.zeros(1), [[1.0]])["reach_plus"].stderr[0]) == 0


def test_the_error_of_a_reach_is_that_of_its_own_side(function_problem):
    own = 1 + torch.rand(60, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    problem = function_problem(lambda p: p[:, 0], 1, count=60)
    scaled = replace(
        problem,
        loss=lambda p, a: a * (6.5 * p[:, 0].relu() ** 2 + 0.0005 * (-p[:, 0]).relu() ** 2),
        train=replace(problem.train, y=own, population=10**9),
    )
    found = along(scaled, torch.zeros(1), [[1.0]])
    mean, error = float(own.mean()), float(own.std()) / math.sqrt(60)
    for side, curvature in (("plus", 6.5), ("minus", 0.0005)):
        reach = math.sqrt(EPSILON / (curvature * mean))
        assert float(found[f"reach_{side}"].values[0]) == pytest.approx(reach, rel=EXACT)
        assert float(found[f"reach_{side}"].stderr[0]) == pytest.approx(reach * 0.5 * error / mean, rel=0.03)


def test_a_wall_at_which_the_loss_is_no_number_ends_the_reach_and_spoils_no_fit(function_problem):
    problem = function_problem(lambda p: torch.where(p[:, 0].abs() > 3, math.nan, 0.001 * p[:, 0] ** 2), 1)
    found = along(problem, torch.zeros(1), [[1.0]])
    assert float(found["reach_plus"].values[0]) == pytest.approx(3, rel=EXACT)
    assert float(found["reach_censored_plus"].values[0]) == 0
    assert coefficients(found) == pytest.approx([0, 0.001, 0, 0], abs=1e-9)


def test_a_direction_that_does_not_exist_is_absent_and_keeps_its_place_along_a_path(function_problem):
    problem = function_problem(lambda p: p.square().sum(1), 2)
    found = along(problem, torch.zeros(2), [[0.0, 0.0], [1.0, 0.0]])
    assert np.isnan(found["reach_plus"].values).tolist() == [True, False]
    assert np.isnan(coefficients(found)).all()
    stacked = stack([Result(found), Result(along(problem, torch.ones(2), [[1.0, 0.0], [0.0, 1.0]]))], "t")
    assert stacked["reach_plus"].dims == ("t", "direction")
    assert stacked["reach_kind"].values.tolist() == [["given", "given"], ["given", "given"]]


def test_each_direction_needs_a_word(function_problem):
    problem = function_problem(lambda p: p.square().sum(1), 2)
    with pytest.raises(ValueError, match="1 kinds for 2 directions"):
        follow(problem, Point(torch.zeros(2), {}), torch.eye(2), ["top"], batches=problem.train, epsilon=1, maximum=1)


def test_the_scale_of_filters_before_a_batchnorm_is_flat_only_where_statistics_are_refreshed(cnn_case):
    problem, point = cnn_case
    filters = torch.zeros_like(point.theta)
    pieces = problem.layout.split(filters)
    pieces["conv1.weight"].copy_(problem.layout.split(point.theta)["conv1.weight"])
    options = {"buffers": point.buffers, "epsilon": 1e-3, "maximum": 0.5 * float(filters.norm())}
    frozen, refreshed = (
        along(problem, point.theta, filters[None], refreshed=kind, **options) for kind in (False, True)
    )
    # Refreshed, BatchNorm's ε is all that knows the scale: 1e-5 beside a variance of about 1.
    assert float(refreshed["reach_censored_plus"].values[0]) == 1
    assert float(refreshed["reach_censored_minus"].values[0]) == 1
    slopes = [abs(float(found["reach_order_1"].values[0])) for found in (frozen, refreshed)]
    assert slopes[0] > 100 * slopes[1]
