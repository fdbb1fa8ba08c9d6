import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rashomon_cli.science.intervals import mean

numbers = st.floats(-1e3, 1e3, allow_subnormal=False)


@given(
    st.lists(numbers, min_size=2, max_size=12).filter(lambda v: np.std(v) > 1e-6), st.sampled_from([0.5, 0.95, 0.99])
)
def test_the_interval_is_students(values, level):
    found = mean(np.array(values), level)
    low, high = stats.t.interval(level, len(values) - 1, np.mean(values), stats.sem(values))
    assert (found.value - found.half_width, found.value + found.half_width) == pytest.approx((low, high), abs=1e-9)
    assert (found.stderr, found.count) == (pytest.approx(stats.sem(values)), len(values))


def test_what_is_missing_is_left_out():
    assert mean(np.array([1.0, math.nan, 3.0])) == mean(np.array([1.0, 3.0]))
    assert mean(np.array([1.0, 3.0])).half_width == pytest.approx(12.7062047)  # t(1), s/√n = 1


def test_a_single_one_has_a_mean_and_no_interval():
    found = mean(np.array([2.0]))
    assert (found.value, found.count) == (2.0, 1)
    assert math.isnan(found.stderr)
    assert math.isnan(found.half_width)


def test_none_at_all_has_nothing():
    found = mean(np.array([math.nan]))
    assert found.count == 0
    assert math.isnan(found.value)


def test_it_covers_what_it_says():
    draws = np.random.default_rng(0).normal(size=(2000, 3))
    covered = [abs(m.value) <= m.half_width for m in map(mean, draws)]
    assert np.mean(covered) == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 2000))
