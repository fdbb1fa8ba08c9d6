from __future__ import annotations

import numpy as np
import pytest
import torch

from rashomon_cli.science.spectra.lanczos import Krylov, basis_bytes, lanczos
from rashomon_cli.science.spectra.matrices import Dense
from rashomon_cli.science.spectra.quadrature import gauss


def start(count, size, seed=3):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tridiagonal(krylov, row):
    alpha, beta = krylov.alpha[row], krylov.beta[row]
    return np.diag(alpha) + np.diag(beta[:-1], 1) + np.diag(beta[:-1], -1)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_the_basis_is_orthonormal_long_after_outliers_have_converged_and_makes_the_matrix_tridiagonal(
    symmetric, dtype, error
):
    matrix, _ = symmetric([100.0, 50.0, -20.0, *np.linspace(-0.1, 1.0, 197)], dtype=dtype)
    krylov = lanczos(matrix, start(2, 200), 70)
    assert (krylov.taken, matrix.matvecs) == (70, 140)
    for row in range(2):
        basis = krylov.basis[row].numpy()
        assert abs(basis @ basis.T - np.eye(71)).max() < 1e-12
        product = basis[:-1] @ matrix.matrix.double().numpy() @ basis[:-1].T
        assert abs(product - tridiagonal(krylov, row)).max() < 100 * error


def test_with_three_eigenvalues_three_steps_are_exact(symmetric):
    matrix, vectors = symmetric([0.0] * 30 + [1.0] * 6 + [-2.0] * 4)
    first = start(1, 40)
    krylov = lanczos(matrix, first, 20)
    assert (krylov.taken, krylov.beta[0, 2], np.isfinite(krylov.alpha[0]).sum()) == (3, 0.0, 3)
    nodes, weights = gauss(krylov.alpha[0], krylov.beta[0])
    shares = (vectors @ first[0] / first.norm()).square()
    assert nodes == pytest.approx([-2.0, 0.0, 1.0], abs=1e-13)
    assert weights == pytest.approx([float(shares[i].sum()) for i in (slice(36, 40), slice(0, 30), slice(30, 36))])


def test_processes_that_end_leave_the_others_alone(symmetric):
    matrix, vectors = symmetric(np.arange(1.0, 31.0))
    mixed = torch.stack([vectors[4] + vectors[9], start(1, 30)[0], vectors[2]])
    together = lanczos(matrix, mixed, 12)
    assert matrix.matvecs == 2 + 12 + 1
    assert np.isfinite(together.alpha).sum(axis=1).tolist() == [2, 12, 1]
    alone = lanczos(matrix, mixed[1:2], 12)
    assert together.alpha[1] == pytest.approx(alone.alpha[0], abs=1e-12)
    assert gauss(together.alpha[0], together.beta[0])[0] == pytest.approx([5.0, 10.0])
    assert together.alpha[2, 0] == pytest.approx(3.0)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_no_more_steps_than_the_matrix_has_rows(symmetric, size):
    values = np.arange(1.0, size + 1)
    krylov = lanczos(symmetric(values)[0], start(1, size), 9)
    assert gauss(krylov.alpha[0], krylov.beta[0])[0] == pytest.approx(values)


def test_the_zero_matrix_takes_one_step():
    krylov = lanczos(Dense(torch.zeros(6, 6, dtype=torch.float64)), start(2, 6), 4)
    assert (krylov.taken, krylov.alpha[:, 0].tolist(), krylov.beta[:, 0].tolist()) == (1, [0.0, 0.0], [0.0, 0.0])


def test_the_memory_of_the_bases_is_known_before():
    krylov = Krylov.begin(start(3, 40), 10)
    assert basis_bytes(40, 10, 3) == krylov.basis.nbytes


def test_what_lanczos_cannot_start_from_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Krylov.begin(start(1, 4), 0)
    with pytest.raises(ValueError, match="starting vector"):
        Krylov.begin(torch.zeros(2, 4), 3)
