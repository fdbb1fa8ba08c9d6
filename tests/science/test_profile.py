import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.science.evaluation import evaluate
from rashomon_cli.science.paths import line
from rashomon_cli.science.problem import Layout, Problem, squared_error
from rashomon_cli.science.profile import barrier
from rashomon_cli.sources.batches import Batches
from rashomon_cli.sources.models.mlp import mlp


def test_barrier_is_the_excess_over_the_higher_end():
    values = np.array([[1.0, 1.0], [4.0, 2.0], [2.0, 2.0]])
    found = barrier([0.0, 0.5, 1.0], values, 2)
    assert found.value == 1.0
    assert found.at == 0.5
    assert found.stderr == 0  # the sample is everything
    assert found.interpolated == pytest.approx(1.5)


def test_error_of_a_barrier_is_paired_over_images():
    rng = np.random.default_rng(0)
    hard = rng.normal(size=1000) * 10  # shared by all positions: cancels
    values = np.stack([hard, hard + 1 + 0.1 * rng.normal(size=1000), hard - 1])
    found = barrier([0.0, 0.5, 1.0], values, 10**9)
    assert found.value == pytest.approx(1, abs=0.02)
    assert found.stderr == pytest.approx(0.1 / math.sqrt(1000), rel=0.1)


def test_a_barrier_of_zero_is_as_uncertain_as_the_highest_point_between_the_ends():
    """True heights 0, 0.06 and −1: where a sample shows the end on top, ε = 0.05 is not met for certain."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        middle = rng.normal(0.06, 1.0, size=200)
        found = barrier([0.0, 0.5, 1.0], np.stack([np.zeros(200), middle, np.full(200, -1.0)]), 10**9)
        assert found.value == max(0.0, middle.mean())
        assert found.stderr == pytest.approx(middle.std(ddof=1) / math.sqrt(200))
    assert math.isnan(barrier([0.0, 1.0], rng.normal(size=(2, 50)), 10**9).stderr)


@given(st.lists(st.floats(0, 10), min_size=2, max_size=9))
def test_barrier_is_never_negative_and_zero_where_an_end_is_highest(losses):
    ts = np.linspace(0, 1, len(losses)).tolist()
    found = barrier(ts, np.array(losses)[:, None], 1)
    assert found.value >= 0
    assert (found.value == 0) == (max(losses) == max(losses[0], losses[-1]))


def test_grid_without_ends_is_refused():
    with pytest.raises(ValueError, match="starts at 0"):
        barrier([0.1, 1.0], np.zeros((2, 1)), 1)


def heights(problem, start, end, count=101):
    path = line(start, end)
    ts = np.linspace(0, 1, count).tolist()
    losses = [evaluate(problem, path.at(t), {}, problem.train).losses.numpy() for t in ts]
    return barrier(ts, np.stack(losses), problem.train.population)


def test_the_pieces_of_the_hyperbola_are_apart_by_a_barrier_of_1(function_problem):
    problem = function_problem(lambda p: (p[:, 0] * p[:, 1] - 1) ** 2, 2)
    ones = torch.ones(2, dtype=torch.float64)
    assert heights(problem, ones, -ones).value == pytest.approx(1)


def test_rescaled_units_meet_at_1_125(function_problem):
    problem = function_problem(lambda p: p[:, 0] * p[:, 1], 2)
    path = line(torch.tensor([1.0, 1.0]).double(), torch.tensor([2.0, 0.5]).double())
    assert float(evaluate(problem, path.at(0.5), {}, problem.train).loss) == pytest.approx(1.125)


def test_two_relu_units_and_the_same_swapped_have_a_barrier():
    module = mlp((2,), 2, width=2, depth=1, bias=False).double()
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)).double()
    data = Batches(x, torch.relu(x), 100, population=400, dtype=torch.float64)
    problem = Problem(module, Layout.of(module), squared_error, data, data, classifies=False)
    eye = torch.eye(2).double()
    swap = eye[[1, 0]]
    one, two = torch.cat([eye.flatten(), eye.flatten()]), torch.cat([swap.flatten(), swap.T.flatten()])
    assert evaluate(problem, two, {}, problem.train).loss == 0
    assert heights(problem, one, two).value > 0.05
    assert evaluate(problem, one, {}, problem.train).loss == 0
