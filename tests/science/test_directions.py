from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rashomon_cli.science.directions import directions
from rashomon_cli.science.problem import Point
from rashomon_cli.science.spectra.matrices import Dense


def quadratic(values):
    """A diagonal matrix, in the middle of nowhere."""
    diagonal = torch.tensor(values, dtype=torch.float64)
    return Dense(torch.diag(diagonal)), torch.zeros(len(values), dtype=torch.float64)


def choose(values, point=None, **options):
    matrix, theta = quadratic(values)
    given = {"tau": 0.05, "near_null": 0, "random": 0, "top": 0}
    return directions(matrix, point or Point(theta, {}), **given | options), matrix


def test_the_top_are_eigenvectors_of_the_largest_eigenvalues_though_a_negative_one_is_larger_in_size():
    found, _ = choose([1.0, 5.0, 3.0, -9.0, *[0.1] * 20], top=2, deflate=4, near_null=1)
    assert found.kinds == ("top", "top", "near_null")
    assert found.curvatures[:2] == pytest.approx([5, 3], rel=1e-3)
    assert found.residuals[:2] == pytest.approx([0, 0], abs=0.2)


def test_at_a_saddle_the_top_are_found_behind_larger_negative_eigenvalues():
    found, _ = choose([-12.0, -7.0, 5.0, 3.3, -9.0, *[0.1] * 20], top=2)
    assert found.curvatures == pytest.approx([5, 3.3], rel=1e-3)


def test_where_too_few_eigenvalues_are_positive_the_rest_does_not_exist():
    found, _ = choose([2.0, -1.0, -3.0, *[0.0] * 20], top=3)
    assert found.kinds == ("top",) * 3
    assert found.curvatures[0] == pytest.approx(2, rel=1e-3)
    assert np.isnan(found.curvatures[1:]).all()
    assert np.isnan(found.residuals[1:]).all()
    assert float(found.units[1:].abs().max()) == 0


def test_a_single_model_has_no_tangent_and_a_point_of_a_path_keeps_its_place():
    axis = torch.eye(6, dtype=torch.float64)[2]
    theta = torch.zeros(6, dtype=torch.float64)
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    single, _ = choose(values, Point(theta, {}), random=1)
    moving, _ = choose(values, Point(theta, {}, 0.5, {"tangent": axis}), random=1)
    still, _ = choose(values, Point(theta, {}, 0.5), random=1)
    assert single.kinds == ("random",)
    assert moving.kinds == still.kinds == ("tangent", "random")
    assert moving.curvatures[0] == pytest.approx(3)
    assert moving.residuals[0] == pytest.approx(0, abs=1e-12)
    assert math.isnan(still.curvatures[0])
    torch.testing.assert_close(moving.units[1], single.units[0])


def test_given_directions_are_made_unit_vectors_and_all_products_are_counted():
    found, matrix = choose([1.0, 2.0, *[0.0] * 10], given=torch.eye(12)[:2] * 3, near_null=2, deflate=1, degree=20)
    assert found.kinds == ("near_null",) * 2 + ("given",) * 2
    assert found.curvatures == pytest.approx([0, 0, 1, 2], abs=1e-3)
    assert found.units.norm(dim=1).tolist() == pytest.approx([1] * 4)
    assert found.matvecs == matrix.matvecs
    assert found.blur > 0


def test_what_is_flat_is_not_kept_away_from():
    # More pairs are asked for than there are eigenvalues above τ: flat ones stay.
    found, _ = choose([5.0, 4.0, 1e-3, 0.0, 0.0, 0.0], near_null=4, deflate=6, degree=20)
    assert found.curvatures == pytest.approx(np.zeros(4), abs=1e-3)
    assert found.units.norm(dim=1).tolist() == pytest.approx([1] * 4)


def test_near_null_directions_that_there_is_no_room_for_do_not_exist():
    found, _ = choose([5.0, 4.0, 3.0, 0.0], near_null=3, deflate=3, degree=20)
    assert found.kinds == ("near_null",) * 3
    assert found.curvatures[0] == pytest.approx(0, abs=1e-6)
    assert np.isnan(found.curvatures[1:]).all()


def test_a_matrix_that_is_not_finite_has_no_directions_of_its_own():
    found, _ = choose([math.nan, *[1.0] * 20], near_null=2, top=1, deflate=3, random=1)
    assert np.isnan(found.curvatures).all()
    assert float(found.units[:3].abs().max()) == 0
    assert float(found.units[3].norm()) == pytest.approx(1)


def test_nothing_asked_for_is_nothing_found():
    found, _ = choose([1.0, 2.0])
    assert found.kinds == ()
    assert found.units.shape == (0, 2)
    assert math.isnan(found.blur)
