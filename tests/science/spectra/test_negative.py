from __future__ import annotations

import numpy as np
import pytest
import torch

from rashomon_cli.science.spectra.deflation import Complement
from rashomon_cli.science.spectra.negative import negative_count
from rashomon_cli.science.spectra.slq import density

VALUES = np.concatenate([-np.geomspace(1.0, 0.05, 30), np.zeros(50), np.geomspace(0.01, 2.0, 120)])
"""30 of 200 are below −0.02, and nothing else is near it."""
DELTA = 0.02


def bulk():
    """93 % of 400 eigenvalues near 0, of which 120 of 400 are below it and the mean is; outliers on both sides."""
    return np.concatenate(
        [np.full(120, -6e-4), np.full(252, 1e-4), np.geomspace(0.01, 1.0, 20), -np.geomspace(0.01, 0.5, 8)]
    )


@pytest.mark.parametrize("steps", [12, 40])
@pytest.mark.parametrize("known", [0, 10])
def test_the_interval_has_the_true_number_with_a_short_lanczos_too(symmetric, steps, known):
    """95 % of seeds, or more where the bracket is wide; of 40 seeds less than 34 in 0.3 %."""
    matrix, vectors = symmetric(VALUES)
    space = Complement(matrix, vectors[:known])
    found = np.array([negative_count(density(space, 3, steps, seed=seed), DELTA) for seed in range(40)])
    value, low, high = found.T
    assert ((low <= 30) & (high >= 30)).sum() >= 34
    assert (low <= value).all()
    assert (value <= high).all()
    assert low.min() >= known


def test_a_bulk_node_on_the_wrong_side_is_in_the_interval_where_the_probes_agree_on_it(symmetric):
    """With 20 steps one node stands for the whole bulk; the standard error over probes is far below its error."""
    values = bulk()
    found = density(symmetric(values)[0], 4, 20)
    each = np.array([weights[nodes < -1e-5].sum() for nodes, weights in found.rules])
    true = (values < -1e-5).sum()
    assert each.mean() * 400 - true > 10 * 400 * each.std(ddof=1) / 2
    value, low, high = negative_count(found, 1e-5)
    assert low <= true <= value <= high


def test_more_steps_narrow_the_bracket_and_known_directions_the_spread(symmetric):
    matrix, vectors = symmetric(VALUES)
    few, more = (negative_count(density(matrix, 4, steps), DELTA) for steps in (12, 60))
    assert more[2] - more[1] < 0.7 * (few[2] - few[1])
    known = negative_count(density(Complement(matrix, vectors[:20]), 4, 60), DELTA)
    assert known[2] - known[1] < 0.7 * (more[2] - more[1])


def test_directions_that_are_no_eigenvectors_widen_the_interval_but_do_not_break_it(symmetric):
    matrix, vectors = symmetric(VALUES)
    noise = torch.randn(20, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    good, bad = (
        negative_count(density(Complement(matrix, vectors[:20] + blur * noise), 8, 100), DELTA) for blur in (1e-6, 0.05)
    )
    for found in (good, bad):
        assert found[1] <= 30 <= found[2]
    assert bad[2] - bad[1] > good[2] - good[1]


def test_a_spectrum_that_is_known_whole_is_counted_exactly(symmetric):
    matrix, vectors = symmetric([0.0, 0.0, -1.0, 3.0, -2.0])
    found = density(Complement(matrix, vectors), 2, 5)
    assert negative_count(found, 1e-9) == (2, 2, 2)
    assert negative_count(found, 1.5) == (1, 1, 1)


def test_at_a_bound_below_rounding_zeros_are_allowed_for(symmetric):
    found = density(symmetric([0.0] * 20 + [1.0] * 10, dtype=torch.float32)[0], 3, 10)
    assert negative_count(found, 2 * found.noise) == (0, 0, 0)
    value, low, high = negative_count(found, 0.0)
    assert (low, high) == (0, pytest.approx(30, abs=15))
    assert low <= value <= high
