from __future__ import annotations

import numpy as np
import pytest
import torch

from rashomon_cli.science.spectra.deflation import Complement
from rashomon_cli.science.spectra.slq import density
from rashomon_cli.science.spectra.summary import summary

VALUES = np.concatenate([np.zeros(60), np.linspace(-0.5, 3.0, 36), [10.0, 12.0, 15.0, 40.0]])
TRACE, SQUARES = VALUES.mean(), (VALUES**2).mean()


def number(result, name):
    variable = result.variables[name]
    return float(variable.values), float(np.nan if variable.stderr is None else variable.stderr)


def mass(result):
    return [number(result, f"negative_mass{end}")[0] for end in ("", "_low", "_high")]


def test_moments_agree_with_the_trace_and_the_frobenius_norm(symmetric):
    """Of 100 seeds, the deviations in standard errors of 20 probes have Student's mean square, 19/17."""
    matrix, _ = symmetric(VALUES)
    scores = []
    for seed in range(100):
        found = summary(density(matrix, 20, 2, seed=seed))
        for name, true in (("spectrum_mean", TRACE), ("spectrum_mean_square", SQUARES)):
            value, error = number(found, name)
            scores.append((value - true) / error)
    each = np.reshape(scores, (100, 2))
    assert abs(each.mean(axis=0)).max() < 0.6  # skewness of few large eigenvalues included
    assert (each**2).mean(axis=0) == pytest.approx([19 / 17] * 2, rel=0.5)


def test_all_eigenvalues_equal_leave_no_error(symmetric):
    found = summary(density(symmetric([3.0] * 20)[0], 4, 5))
    assert number(found, "spectrum_mean") == pytest.approx((3.0, 0.0), abs=1e-12)
    assert number(found, "spectrum_mean_square") == pytest.approx((9.0, 0.0), abs=1e-12)


@pytest.mark.parametrize("blur", [0.0, 0.05])
def test_what_is_known_is_added_exactly_and_the_errors_fall(symmetric, blur):
    """With known directions that are no eigenvectors, too: ‖H‖² has their coupling twice."""
    matrix, vectors = symmetric(VALUES)
    noise = torch.randn(4, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain = summary(density(matrix, 10, 40))
    deflated = summary(density(Complement(matrix, vectors[-4:] + blur * noise), 10, 40))
    for name, true in (("spectrum_mean", TRACE), ("spectrum_mean_square", SQUARES)):
        (_, before), (value, error) = number(plain, name), number(deflated, name)
        assert abs(value - true) < 4 * error
        assert error < before
    largest, residual = (number(deflated, f"spectrum_max{end}")[0] for end in ("", "_residual"))
    assert abs(VALUES - largest).min() <= residual + 1e-9


def test_the_negative_mass_is_the_share_of_negative_eigenvalues_with_an_interval(symmetric):
    matrix, vectors = symmetric(VALUES)
    true = (VALUES < 0).mean()
    value, low, high = mass(summary(density(matrix, 40, 80)))
    assert low <= true <= high
    assert low <= value <= high
    assert high - low < 5 * (2 * true * (1 - true) / 102 / 40) ** 0.5  # of the Beta law; no bracket is left
    assert mass(summary(density(Complement(matrix, vectors[60:66]), 5, 80))) == pytest.approx([true] * 3)
    assert mass(summary(density(matrix, 5, 80), negative=1.0)) == [0.0, 0.0, 0.0]


def test_zeros_are_not_negative_in_float32(symmetric):
    matrix, _ = symmetric(np.abs(VALUES), dtype=torch.float32)
    found = summary(density(matrix, 5, 60))
    assert mass(found) == [0.0, 0.0, 0.0]
    assert number(found, "negative_bound")[0] == pytest.approx(8e-5, rel=1e-3)
    assert number(found, "spectrum_min")[0] < 0


def test_the_ends_of_the_spectrum(symmetric):
    found = summary(density(symmetric(VALUES)[0], 3, 30))
    for name, true in (("spectrum_min", -0.5), ("spectrum_max", 40.0)):
        value, _ = number(found, name)
        assert abs(value - true) <= number(found, f"{name}_residual")[0] + 1e-9


def test_a_spectrum_that_is_known_whole_has_no_errors(symmetric):
    matrix, vectors = symmetric([-1.0, 0.0, 3.0])
    found = summary(density(Complement(matrix, vectors), 4, 5))
    expected = {"spectrum_mean": 2 / 3, "spectrum_mean_square": 10 / 3}
    for name, value in expected.items():
        assert number(found, name) == pytest.approx((value, 0.0), abs=1e-12)
    assert mass(found) == pytest.approx([1 / 3] * 3)
    assert number(found, "spectrum_min")[0] == pytest.approx(-1.0)


def test_a_single_probe_has_no_standard_error(symmetric):
    assert np.isnan(number(summary(density(symmetric(VALUES)[0], 1, 5)), "spectrum_mean")[1])
