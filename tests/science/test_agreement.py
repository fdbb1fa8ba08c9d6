"""One comparison for all proofs that two networks compute the same."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.science.agreement import TOLERANCE, deviation

BEFORE = torch.tensor([[1.0, -4.0], [0.0, 2.0]], dtype=torch.float64)


@given(st.floats(-300, 300), st.floats(1e-3, 1e3))
def test_it_is_relative_to_the_largest_output_of_any_size(exponent, step):
    before = BEFORE * 10.0**exponent
    after = before + torch.tensor([0.0, step], dtype=torch.float64) * 10.0**exponent
    assert deviation(before, after) == pytest.approx(step / 4, rel=1e-12)
    assert deviation(before, before.clone()) == 0.0


def test_small_outputs_are_compared_as_strictly_as_large_ones():
    assert deviation(1e-12 * BEFORE, 1e-12 * BEFORE.flip(0)) == pytest.approx(6 / 4)
    assert deviation(1e-12 * BEFORE, 1e-12 * BEFORE * (1 + 1e-13)) < TOLERANCE


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_what_is_not_finite_is_infinitely_far(bad, side):
    pair = [BEFORE.clone(), BEFORE.clone()]
    pair[side][0, 0] = bad
    assert deviation(*pair) == math.inf
    both = BEFORE.clone()
    both[0, 0] = bad
    assert deviation(both, both) == math.inf


def test_zeros_agree_with_zeros_only():
    zeros = torch.zeros(2, 2)
    assert deviation(zeros, zeros) == 0.0
    assert deviation(zeros, torch.full((2, 2), 1e-300, dtype=torch.float64)) == math.inf
    assert deviation(BEFORE, torch.zeros_like(BEFORE)) == 1.0
