"""All eigenpairs outside [−τ, τ]: the number that is left, for spectra that are known."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from rashomon_cli.science.spectra.magnitudes import largest
from rashomon_cli.science.spectra.matrices import Dense
from rashomon_cli.science.spectra.outside import outside
from rashomon_cli.science.spectra.residual import residual_norm

NONE = np.zeros((0, 200))


def with_spectrum(values, dtype=torch.float64):
    random = torch.Generator().manual_seed(0)
    values = torch.as_tensor(np.asarray(values, dtype=np.float64))
    basis = torch.linalg.qr(torch.randn(len(values), len(values), generator=random, dtype=torch.float64))[0]
    return Dense(((basis * values) @ basis.T).to(dtype))


def true(values, taus):
    return [(np.abs(values) <= tau).sum() for tau in taus]


def test_largest_sizes_of_both_signs_come_first():
    values = np.r_[np.linspace(-9, 9, 19), np.zeros(181)]
    found = largest(with_spectrum(values), 6, NONE)
    np.testing.assert_allclose(np.abs(found.values), [9, 9, 8, 8, 7, 7], atol=1e-9)
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(6), atol=1e-12)


def test_known_vectors_are_passed_over():
    matrix = with_spectrum(np.r_[5.0, 5.0, 5.0, 2.0, np.zeros(196)])
    first = largest(matrix, 2, NONE)
    then = largest(matrix, 2, first.vectors)
    np.testing.assert_allclose(first.values, [5, 5], atol=1e-9)
    np.testing.assert_allclose(then.values, [5, 2], atol=1e-9)
    np.testing.assert_allclose(then.vectors @ first.vectors.T, 0, atol=1e-10)


def test_a_repeated_eigenvalue_is_counted_as_often_as_it_occurs():
    values = np.r_[np.full(40, 2.0), np.full(5, -3.0), np.zeros(255)]
    found = outside(with_spectrum(values), 0.1, limit=290)
    count = found.count(np.array([0.1, 1.0, 2.5]))
    assert count.value.tolist() == count.low.tolist() == count.high.tolist() == [255, 255, 295]


def test_a_bulk_is_left_and_outliers_are_found():
    values = np.r_[np.geomspace(100, 1, 30), np.linspace(-0.01, 0.05, 270)]
    matrix = with_spectrum(values)
    found = outside(matrix, 0.1, limit=290)
    taus = np.array([0.02, 0.1, 0.5, 3.0])
    count = found.count(taus)
    assert count.value[1:].tolist() == count.low[1:].tolist() == count.high[1:].tolist() == true(values, taus)[1:]
    assert np.isnan(count.value[0])
    assert count.low[0] <= true(values, taus)[0] <= count.high[0]
    assert found.matvecs == matrix.matvecs


def test_what_the_products_do_not_reach_is_left_open():
    values = np.geomspace(100, 1e-6, 300)
    found = outside(with_spectrum(values), 1e-3, limit=100)
    count = found.count(np.array([1e-3, 1.0, 90.0]))
    assert np.isnan(count.value[:2]).all()
    assert (count.low <= true(values, [1e-3, 1.0, 90.0])).all()
    assert (count.high >= true(values, [1e-3, 1.0, 90.0])).all()
    assert count.low[0] == 0
    assert found.matvecs <= 100 + 200 + 48


def test_little_memory_ends_the_search():
    values = np.geomspace(100, 1e-6, 300)
    found = outside(with_spectrum(values), 1e-3, limit=299, memory=4 * 20 * 8 * 300)
    assert 16 <= len(found.values) <= 20
    count = found.count(np.array([1e-3, 40.0]))
    assert np.isnan(count.value[0])
    assert count.value[1] == (values <= 40).sum()


@hypothesis.given(st.lists(st.sampled_from([0.0, 1e-9, 1e-4, 0.02, -0.02, 0.5, -3.0, 40.0]), min_size=1, max_size=30))
@hypothesis.settings(max_examples=40, deadline=None)
def test_a_small_matrix_is_written_out(values):
    found = outside(with_spectrum(values), 0.01)
    taus = np.array([1e-6, 0.01, 0.1, 1.0, 100.0])
    count = found.count(taus)
    assert count.value.tolist() == count.low.tolist() == count.high.tolist() == true(values, taus)
    assert (found.rest, found.matvecs) == (0.0, len(values))


@pytest.mark.parametrize("values", [np.zeros(300), np.full(300, 4.0), np.full(300, -4.0)])
def test_one_eigenvalue_all_over(values):
    count = outside(with_spectrum(values), 0.1, limit=290).count(np.array([0.1, 5.0]))
    assert count.low[0] <= true(values, [0.1])[0] <= count.high[0]
    assert count.value[1] == 300


@pytest.mark.parametrize("limit", [150, 400])
def test_float32_says_how_far_it_can_be_off(limit):
    values = np.geomspace(100, 1e-7, 300)
    matrix = with_spectrum(values, torch.float32)
    found = outside(matrix, 1.0, limit=limit)
    assert 1e-7 * 100 < found.residual < 1e-5 * 100
    taus = np.geomspace(1e-7, 100, 40)
    count = found.count(taus)
    assert (count.low <= true(values, taus)).all()
    assert (count.high >= true(values, taus)).all()
    assert count.low[0] == 0


@pytest.mark.parametrize("limit", [50, 300])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nothing_is_said_of_a_matrix_that_is_not_finite(limit, value):
    matrix = torch.eye(200, dtype=torch.float64)
    matrix[3, 7] = matrix[7, 3] = value
    count = outside(Dense(matrix), 0.1, limit=limit).count(np.array([0.1, 10.0]))
    assert np.isnan(count.value).all()
    assert count.low.tolist() == [0, 0]
    assert count.high.tolist() == [200, 200]
    assert residual_norm(Dense(matrix), Dense(torch.eye(200, dtype=torch.float64))) == np.inf
