import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.matrices import Dense
from rashomon_cli.science.spectra.pairs import extreme, leading, products


def outlying(size=300):
    """Ten outliers over a bulk with a negative edge, as a small network's Hessian has them."""
    rng = np.random.default_rng(0)
    return np.concatenate([np.geomspace(1.7, 0.12, 10), 0.06 * rng.beta(0.3, 2, size - 25), -0.03 * rng.beta(1, 2, 15)])


class Poisoned(Dense):
    def __call__(self, vectors):
        return super().__call__(vectors) * math.nan


@pytest.mark.parametrize("values", [[-2.0], [3.0, -1.0], [2.0, 2.0, -5.0], list(range(-9, 10))])
def test_a_small_matrix_is_solved_whole(symmetric, values):
    matrix, _ = symmetric(values)
    found = extreme(matrix, 2, 3)
    assert found.top.values == pytest.approx(sorted(values, reverse=True)[:2], abs=1e-12)
    assert found.bottom.values == pytest.approx(sorted(values)[:3], abs=1e-12)
    assert found.matvecs == matrix.matvecs == len(values)
    assert max(found.top.residuals.max(), found.bottom.residuals.max()) < 1e-12


def test_both_ends_with_the_residuals_of_their_vectors(symmetric):
    values = outlying()
    matrix, _ = symmetric(values)
    found = extreme(matrix, 10, 3)
    for pairs, truth in ((found.top, np.sort(values)[::-1][:10]), (found.bottom, np.sort(values)[:3])):
        assert pairs.converged.all()
        # Parlett, theorem 4.5.1: an eigenvalue within the residual; here it is the one of the same rank
        assert (np.abs(pairs.values - truth) <= pairs.residuals + 1e-14).all()
        gaps = matrix.matrix @ pairs.vectors.T - pairs.vectors.T * torch.from_numpy(pairs.values)
        assert pairs.residuals == pytest.approx(gaps.norm(dim=0).numpy(), abs=1e-14)
        assert float((pairs.vectors @ pairs.vectors.T - torch.eye(len(truth))).abs().max()) < 1e-12
        assert bool((pairs.vectors.max(1).values == pairs.vectors.abs().max(1).values).all())
    assert found.top.values == pytest.approx(np.sort(values)[::-1][:10], rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_top_ten_take_25_products_and_the_bottom_three_few_more(symmetric, seed):
    values = outlying()
    matrix, _ = symmetric(values)
    top = extreme(matrix, 10, 0, check=False, seed=seed)
    assert top.matvecs == matrix.matvecs == products(10, check=False) == 25
    assert top.top.values == pytest.approx(np.sort(values)[::-1][:10], rel=1e-3)
    assert extreme(matrix, 10, 3, check=False, seed=seed).matvecs <= 39
    assert extreme(matrix, 10, 3, seed=seed).matvecs <= 49


def test_a_longer_run_takes_over_the_products_of_a_shorter_one(symmetric):
    matrix, _ = symmetric(np.linspace(-1, 1, 150))
    found = extreme(matrix, 3, 3, tolerance=1e-3, check=False)
    lengths = [16]
    while lengths[-1] < 150:
        lengths.append(math.ceil(1.25 * lengths[-1]))
    assert found.top.converged.all()
    assert found.matvecs - 1 in lengths[2:]


def test_a_second_start_finds_the_copies_of_repeated_eigenvalues(symmetric):
    values = [5.0] * 4 + [4.0] * 2 + [3.0] + list(np.linspace(-0.5, 0.5, 140)) + [-2.0] * 2
    matrix, _ = symmetric(values)
    once = extreme(matrix, 5, 2, check=False)
    assert (once.top.values > 4.9).sum() < 4
    found = extreme(matrix, 5, 2)
    assert found.top.values == pytest.approx([5.0, 5.0, 5.0, 5.0, 4.0], rel=1e-3)
    assert found.bottom.values == pytest.approx([-2.0, -2.0], rel=1e-3)
    assert found.matvecs < 100


@pytest.mark.parametrize("values", [[3.0, 2.0, -1.0], [], [-1.0, -1.0]])
def test_what_is_left_of_a_low_rank_is_zero(symmetric, values):
    matrix, _ = symmetric(values + [0.0] * (80 - len(values)))
    found = extreme(matrix, 4, 3)
    assert found.top.values == pytest.approx(sorted([*values, 0, 0, 0, 0], reverse=True)[:4], abs=1e-12)
    assert found.bottom.values == pytest.approx(sorted([*values, 0, 0, 0])[:3], abs=1e-12)
    for pairs in (found.top, found.bottom):
        assert pairs.converged.all()
        size = len(pairs.values)
        assert float((pairs.vectors @ pairs.vectors.T - torch.eye(size)).abs().max()) < 1e-10


def test_a_null_space_at_the_bottom_does_not_keep_it_going(symmetric):
    matrix, _ = symmetric(np.maximum(outlying(), 0.0))
    found = extreme(matrix, 10, 3)
    assert found.matvecs <= 60
    assert (np.abs(found.bottom.values) <= found.bottom.residuals).all()
    assert found.bottom.residuals.max() <= 0.05 * 0.02 * 1.7 * 1.2


def test_float32_is_right_to_its_rounding_however_much_is_asked(symmetric):
    values = outlying()
    matrix, _ = symmetric(values, dtype=torch.float32)
    found = extreme(matrix, 10, 2, tolerance=1e-12)
    assert found.top.converged.all()
    assert found.top.vectors.dtype == torch.float32
    assert np.abs(found.top.values - np.sort(values)[::-1][:10]).max() < 1e-6 * values.max()
    assert found.matvecs < 100


def test_what_has_not_converged_is_there_and_says_so(symmetric):
    values = np.linspace(-1, 1, 300)
    matrix, _ = symmetric(values)
    found = extreme(matrix, 10, 0, limit=30)
    assert found.matvecs <= 30
    assert not found.top.converged.all()
    nearest = np.abs(found.top.values[:, None] - values).min(1)
    assert (nearest <= found.top.residuals).all()
    with pytest.raises(ValueError, match="25 are the least"):
        extreme(matrix, 10, 0, limit=24)


def test_products_that_are_not_finite_give_nan(symmetric):
    matrix, _ = symmetric(np.arange(60.0))
    found = extreme(Poisoned(matrix.matrix), 2, 1)
    assert np.isnan(found.top.values).all()
    assert np.isnan(found.bottom.residuals).all()
    assert not found.top.converged.any()


def test_the_seed_decides_the_vectors_and_hardly_the_values(symmetric):
    matrix, _ = symmetric(outlying())
    one, again, other = (extreme(matrix, 5, 1, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.top.vectors, again.top.vectors)
    assert not torch.equal(one.top.vectors, other.top.vectors)
    assert (np.abs(one.top.values - other.top.values) <= one.top.residuals + other.top.residuals).all()


def test_leading_pairs_are_those_of_the_largest_size(symmetric):
    matrix, _ = symmetric([-6.0, 5.0, 3.0, *np.linspace(-0.4, 0.4, 100)])
    assert leading(matrix, 3).values == pytest.approx([-6.0, 5.0, 3.0], rel=1e-3)
    assert leading(matrix, 0).values.shape == (0,)


@given(
    values=st.lists(st.floats(-10, 10), min_size=1, max_size=40),
    top=st.integers(0, 6),
    bottom=st.integers(0, 6),
    seed=st.integers(0, 5),
)
def test_ritz_values_lie_inside_the_spectrum_and_near_an_eigenvalue(symmetric, values, top, bottom, seed):
    matrix, _ = symmetric(values, seed)
    truth, rounding = np.sort(np.asarray(values)), 1e-12 * (1 + np.abs(values).max())
    found = extreme(matrix, top, bottom, seed=seed)
    high, low = truth[::-1][: min(top, len(values))], truth[: min(bottom, len(values))]
    assert (found.top.values <= high + rounding).all()  # Cauchy's interlacing
    assert (found.bottom.values >= low - rounding).all()
    for pairs in (found.top, found.bottom):
        for value, residual in zip(pairs.values, pairs.residuals, strict=True):
            assert np.abs(truth - value).min() <= residual + rounding


def test_a_networks_hessian(case, dense):
    problem, point = case
    truth = torch.linalg.eigvalsh(dense(problem, point)).numpy()
    found = extreme(Curvature(problem, point, problem.train), 3, 2, tolerance=1e-4)
    assert found.top.values == pytest.approx(truth[::-1][:3], abs=1e-6 * truth[-1])
    assert found.bottom.values == pytest.approx(truth[:2], abs=1e-6 * truth[-1])


def test_what_is_published(symmetric):
    matrix, _ = symmetric(outlying())
    found = extreme(matrix, 4, 2)
    result = found.result({"tangent": 2 * found.top.vectors[1] + 2 * found.bottom.vectors[0]})
    assert float(result.variables["top_share_tangent"].values) == pytest.approx(0.5, rel=1e-4)
    assert result.variables["eigenvalues_top"].values == pytest.approx(found.top.values)
    assert result.variables["residuals_bottom"].dims == ("bottom",)
    assert result.variables["matvecs"].values == found.matvecs
    assert result.tensors["vectors_top"].shape == (4, 300)
    alone = extreme(matrix, 4, 0).result()
    assert set(alone.variables) == {"eigenvalues_top", "residuals_top", "converged_top", "matvecs"}
