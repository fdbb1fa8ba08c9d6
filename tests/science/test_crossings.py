from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.science.crossings import crossing, example_losses
from rashomon_cli.science.evaluation import evaluate
from rashomon_cli.science.problem import Point

EXACT = 0.009


@given(st.floats(1e-3, 1e3), st.floats(1e-4, 10))
def test_a_crossing_is_bracketed_and_bisected(scale, epsilon):
    distance, censored = crossing(lambda r: scale * r**2, epsilon, 100.0)
    expected = math.sqrt(epsilon / scale)
    assert censored == (expected >= 100)
    assert distance == pytest.approx(min(expected, 100.0), rel=EXACT)


@given(st.floats(-0.5, 0.5))
def test_a_rise_that_is_not_finite_ends_the_search(shift):
    edge = 3.0 + shift
    distance, censored = crossing(lambda r: math.nan if r > edge else 0.0, 0.05, 50.0)
    assert (distance, censored) == (pytest.approx(edge, rel=EXACT), 0)


@given(st.floats(1e-3, 1e3))
def test_the_bracket_reaches_less_than_a_hundredth_beyond_the_distance_that_is_given(edge):
    seen = []

    def rise(distance):
        seen.append(distance)
        return 1.0 if distance > edge else 0.0

    distance, censored = crossing(rise, 0.5, 2e3)
    below = max((d for d in seen if d <= edge), default=0.0)
    assert censored == 0
    assert 0.99 * distance < below <= distance


def test_losses_of_examples_come_in_their_order_and_in_double_precision(cnn_case, rebatched):
    problem, point = cnn_case
    whole = evaluate(problem, point.theta, point.buffers, problem.train)
    found = example_losses(problem, point, rebatched(problem, 65).train)(point.theta)
    torch.testing.assert_close(found, whole.losses, rtol=1e-10, atol=0)


def test_refreshed_losses_do_not_know_the_statistics_that_were_there(cnn_case):
    problem, point = cnn_case
    blank = Point(point.theta, {name: torch.ones_like(value) for name, value in point.buffers.items()})
    one, other = (example_losses(problem, p, problem.train, refreshed=True)(p.theta) for p in (point, blank))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
    assert not torch.allclose(one, example_losses(problem, point, problem.train)(point.theta))
