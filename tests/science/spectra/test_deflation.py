from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.science.spectra.deflation import Complement, orthonormal

VALUES = np.array([5.0, -4.0, 3.0, *np.linspace(-0.2, 0.9, 30), *[0.0] * 7])


def dense(space):
    return space(torch.eye(space.size, dtype=space.like.dtype)).numpy()


def within(values, taus):
    return (np.abs(values)[:, None] <= taus).sum(axis=0)


def below(values, points):
    return (values[:, None] < points).sum(axis=0)


def test_without_its_eigenvectors_a_matrix_has_the_other_eigenvalues_and_0(symmetric):
    matrix, vectors = symmetric(VALUES)
    space = Complement(matrix, vectors[:3])
    assert (space.dimension, space.matvecs, matrix.matvecs) == (37, 3, 3)
    assert np.linalg.eigvalsh(dense(space)) == pytest.approx(np.sort([0.0] * 3 + list(VALUES[3:])), abs=1e-12)
    assert space.border.values == pytest.approx([-4.0, 3.0, 5.0])
    assert abs(space.border.outside).max() < 1e-20


def test_directions_of_symmetries_come_first_and_only_once(symmetric):
    matrix, vectors = symmetric(VALUES)
    symmetry = torch.stack([vectors[-1], vectors[-1] + vectors[-2], vectors[-2]])
    space = Complement(matrix, vectors[[0, 1, -1]], symmetry)
    assert (space.dimension, space.border.symmetry) == (36, 2)
    assert space.border.values == pytest.approx([-4.0, 0.0, 0.0, 5.0], abs=1e-12)
    assert space.border.part(with_symmetry=False).values == pytest.approx([-4.0, 5.0])


def test_rows_that_depend_on_the_others_are_dropped_wherever_they_stand():
    rows = torch.randn(3, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    basis = orthonormal(torch.stack([rows[0], 2 * rows[0], torch.zeros(8), rows[1], rows[2], rows[0] - rows[2]]))
    assert len(basis) == 3
    assert (basis @ basis.T).numpy() == pytest.approx(np.eye(3), abs=1e-12)
    assert (rows @ basis.T @ basis).numpy() == pytest.approx(rows.numpy(), abs=1e-12)
    assert orthonormal(rows, basis).numel() == 0


@given(st.integers(0, 10**6), st.integers(0, 8), st.floats(-9, 0), st.booleans())
def test_counts_of_both_parts_bound_those_of_the_whole(symmetric, seed, rows, size, flat):
    """However bad the vectors are, and whether they are near eigenvectors of large eigenvalues or of 0."""
    matrix, vectors = symmetric(VALUES, seed % 7)
    noise = torch.randn(rows, 40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    space = Complement(matrix, (vectors[-rows or 40 :] if flat else vectors[:rows]) + 10**size * noise)
    inner = np.linalg.eigvalsh(dense(space))
    rest = np.delete(inner, np.argsort(np.abs(inner))[: len(space.rows)])
    taus = np.array([1e-9, 1e-6, 1e-3, 0.01, 0.1, 0.5, 2.0])
    terms = space.border.terms(taus, 1e-12)
    counted = within(VALUES, taus)
    assert (counted >= terms.low + within(rest, taus - terms.move - 1e-12) - terms.left_out).all()
    assert (counted <= terms.high + within(rest, taus + terms.move + 1e-12) + terms.left_out).all()
    assert (terms.move <= 0.1 * taus).all()


@given(st.integers(0, 10**6), st.integers(0, 8), st.floats(-9, 0), st.booleans())
def test_counts_below_a_point_are_bounded_likewise(symmetric, seed, rows, size, low):
    """Known directions near eigenvectors of negative or of large eigenvalues; a row left out is never one too many."""
    values = np.concatenate([-VALUES[VALUES != 0], VALUES])
    matrix, vectors = symmetric(values, seed % 7)
    order = np.argsort(values)
    noise = torch.randn(rows, len(values), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    chosen = order[:rows] if low else order[len(values) - rows :]
    space = Complement(matrix, vectors[chosen] + 10**size * noise)
    inner = np.linalg.eigvalsh(dense(space))
    rest = np.delete(inner, np.argsort(np.abs(inner))[: len(space.rows)])
    points = -np.array([1e-9, 1e-6, 1e-3, 0.01, 0.1, 0.5, 2.0])
    terms = space.border.below(points, 1e-12)
    counted = below(values, points)
    assert (counted >= terms.low + below(rest, points - terms.move - 1e-12)).all()
    assert (counted <= terms.high + below(rest, points + terms.move + 1e-12) + terms.left_out).all()
    assert (terms.move <= 0.1 * np.abs(points)).all()


def test_good_vectors_leave_nothing_out_and_only_bad_ones_are_left_out(symmetric):
    matrix, vectors = symmetric(VALUES)
    taus = np.array([1e-3, 0.1])
    blurred = vectors[:3] + 1e-5 * torch.randn(3, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    terms = Complement(matrix, blurred).border.terms(taus, 1e-12)
    assert (terms.left_out.max(), terms.low.tolist()) == (0, [0.0, 0.0])
    assert terms.move.max() < 40 * 1e-5**2 * 10
    blurred[1] += 0.2 * vectors[10]
    terms = Complement(matrix, blurred).border.terms(taus, 1e-12)
    assert terms.left_out.tolist() == [1, 1]


def test_in_float32_products_stay_off_the_known_directions(symmetric):
    matrix, vectors = symmetric(VALUES, dtype=torch.float32)
    space = Complement(matrix, vectors[:3])
    products = space(torch.eye(40))
    assert products.dtype == torch.float32
    assert float((products.double() @ space.rows.T).abs().max()) < 1e-6
