import math

import numpy as np
import pytest
import torch

from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.matrices import Dense
from rashomon_cli.science.spectra.traces import estimate, hutchinson, xtrace, xtrace_memory

SIZE, MATVECS, SEEDS = 60, 20, 200
SPECTRA = {
    "flat": np.linspace(1, 3, SIZE),
    "outliers": np.concatenate([np.geomspace(30, 3, 6), np.linspace(-0.5, 1, SIZE - 6)]),
    "decaying": np.exp(-np.arange(SIZE) / 5),
    "of rank 10": np.repeat([2.0, 0.0], [10, SIZE - 10]),
}


def truth(matrix, part=None):
    whole = matrix.matrix.double()
    return float(whole.diagonal()[part if part is not None else slice(None)].sum()), float(whole.square().sum())


@pytest.mark.parametrize("method", [xtrace, hutchinson])
@pytest.mark.parametrize("values", [[-2.0], [3.0, -1.0], [2.0, 2.0, -5.0], [0.0] * 4])
def test_from_n_products_on_it_is_exact(symmetric, method, values):
    matrix, _ = symmetric(values)
    found = method(matrix, 4, parts={"first": torch.tensor([0])})
    assert found.trace.value == pytest.approx(sum(values), abs=1e-12)
    assert found.frobenius_squared.value == pytest.approx(sum(v**2 for v in values), abs=1e-12)
    assert found.parts["first"].value == pytest.approx(float(matrix.matrix[0, 0]), abs=1e-12)
    assert (found.trace.stderr, found.method, found.matvecs, matrix.matvecs) == (0.0, "exact", len(values), len(values))


@pytest.mark.parametrize("values", [[4.0, 4.0, -3.0, 1e-3], [5.0], []])
def test_xtrace_is_exact_below_half_as_many_dimensions_as_products(symmetric, values):
    matrix, _ = symmetric(values + [0.0] * (SIZE - len(values)))
    found = xtrace(matrix, 12, parts={"some": torch.arange(SIZE) < 20})
    trace, square = truth(matrix)
    assert found.trace.value == pytest.approx(trace, abs=1e-11)
    assert found.frobenius_squared.value == pytest.approx(square, abs=1e-11)
    assert found.parts["some"].value == pytest.approx(truth(matrix, slice(20))[0], abs=1e-11)
    assert found.trace.stderr < 1e-11
    assert found.matvecs == matrix.matvecs == 6 + len(values)


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("method", [xtrace, hutchinson])
def test_estimates_are_unbiased_and_their_errors_of_the_right_size(symmetric, method, name):
    matrix, _ = symmetric(SPECTRA[name])
    found = [method(matrix, MATVECS, parts={"part": torch.arange(25)}, seed=seed) for seed in range(SEEDS)]
    trace, square = truth(matrix)
    for each, right in (
        ([f.trace for f in found], trace),
        ([f.frobenius_squared for f in found], square),
        ([f.parts["part"] for f in found], truth(matrix, slice(25))[0]),
    ):
        errors, claimed = np.array([e.value for e in each]) - right, np.array([e.stderr for e in each])
        size = np.sqrt(np.mean(errors**2))
        assert abs(errors.mean()) < 4 * size / math.sqrt(SEEDS)
        # the root mean squares of 200 errors and of 200 estimates of them: 5 % and about as much
        assert 0.75 < size / np.sqrt(np.mean(claimed**2)) < 1.3
        assert np.mean(np.abs(errors) < 3 * claimed) > 0.9


def test_the_variance_of_random_signs_is_that_of_theory(symmetric):
    matrix, _ = symmetric(SPECTRA["outliers"])
    values = np.array([hutchinson(matrix, MATVECS, seed=seed).trace.value for seed in range(SEEDS)])
    expected = 2 * float(matrix.matrix.square().sum() - matrix.matrix.diagonal().square().sum()) / MATVECS
    assert values.var() == pytest.approx(expected, rel=4 * math.sqrt(2 / SEEDS))


@pytest.mark.parametrize("method", [xtrace, hutchinson])
def test_blocks_add_up_and_are_named_by_masks_or_indices(symmetric, method):
    matrix, _ = symmetric(SPECTRA["outliers"])
    first = torch.arange(SIZE) < 17
    parts = {"first": first, "rest": ~first, "again": first.nonzero()[:, 0]}
    found = method(matrix, MATVECS, parts=parts)
    assert found.parts["first"].value + found.parts["rest"].value == pytest.approx(found.trace.value, rel=1e-10)
    assert found.parts["again"] == found.parts["first"]
    assert found.trace == method(matrix, MATVECS).trace
    assert found.matvecs == MATVECS


def test_outliers_add_no_noise_to_xtrace(symmetric):
    """At 60 products, 10 outliers over a bulk: about 0.3 % against 7 % on a PreResNet20."""
    rng = np.random.default_rng(0)
    matrix, _ = symmetric(np.concatenate([np.geomspace(30, 3, 10), rng.gamma(0.3, 0.3, 280), -0.1 * np.ones(10)]))
    trace, _ = truth(matrix)
    sizes = [
        math.sqrt(np.mean([(method(matrix, 60, seed=seed).trace.value / trace - 1) ** 2 for seed in range(20)]))
        for method in (xtrace, hutchinson)
    ]
    assert sizes[0] < 0.005
    assert sizes[1] > 10 * sizes[0]


@pytest.mark.parametrize("method", [xtrace, hutchinson])
def test_float32_is_float64_to_its_rounding(symmetric, method):
    found = [
        method(symmetric(SPECTRA["decaying"], dtype=dtype)[0], MATVECS, parts={"part": torch.arange(9)})
        for dtype in (torch.float32, torch.float64)
    ]
    assert found[0].trace.value == pytest.approx(found[1].trace.value, rel=1e-5)
    assert found[0].frobenius_squared.value == pytest.approx(found[1].frobenius_squared.value, rel=1e-5)
    assert found[0].parts["part"].value == pytest.approx(found[1].parts["part"].value, rel=1e-4)


def test_short_memory_means_random_signs(symmetric):
    matrix, _ = symmetric(SPECTRA["flat"])
    room = xtrace_memory(SIZE, MATVECS, 8)
    assert estimate(matrix, MATVECS, memory=room).method == "xtrace"
    assert estimate(matrix, MATVECS, memory=room - 1).method == "hutchinson"
    assert estimate(matrix, MATVECS, method="xtrace", memory=0).method == "xtrace"
    assert estimate(matrix, SIZE, memory=0).method == "exact"
    with pytest.raises(ValueError, match="at least 4"):
        estimate(matrix, 3)


@pytest.mark.parametrize("method", [xtrace, hutchinson])
def test_products_that_are_not_finite_give_nan(method):
    found = method(Dense(torch.full((30, 30), math.inf)), 8, parts={"part": torch.arange(3)})
    assert all(math.isnan(e.value) for e in (found.trace, found.frobenius_squared, found.parts["part"]))


def test_a_networks_layers(case, dense):
    problem, point = case
    hessian = dense(problem, point)
    ends = np.cumsum(problem.layout.sizes)
    parts = {
        n: torch.arange(e - s, e) for n, s, e in zip(problem.layout.names, problem.layout.sizes, ends, strict=True)
    }
    found = xtrace(Curvature(problem, point, problem.train), 40, parts=parts)
    assert found.trace.value == pytest.approx(float(hessian.trace()), abs=4 * found.trace.stderr + 1e-10)
    for name, entries in parts.items():
        expected = float(hessian.diagonal()[entries].sum())
        assert found.parts[name].value == pytest.approx(expected, abs=4 * found.parts[name].stderr + 1e-10)
    result = found.result()
    assert list(result.variables["layer_name"].values) == list(parts)
    assert float(result.variables["trace_layer"].values.sum()) == pytest.approx(found.trace.value)
