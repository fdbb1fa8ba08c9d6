from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rashomon_cli.science.problem import Point, fresh_buffers
from rashomon_cli.science.representations import debiased_cka, groups, jackknife, last_input, view


def normal(rows, columns, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain_cka(x, y):
    """The biased linear CKA of Kornblith et al. 2019, eq. 3."""
    x, y = x - x.mean(0), y - y.mean(0)
    return float((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))


def slow_cka(x, y):
    """HSIC₁ of Song et al. 2012, eq. 5, from whole Gram matrices."""
    n = len(x)

    def hsic(a, b):
        k, m = a @ a.T, b @ b.T
        k.fill_diagonal_(0)
        m.fill_diagonal_(0)
        crossed = k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * (k.sum(0) @ m.sum(0)) / (n - 2)
        return ((k * m).sum() + crossed) / (n * (n - 3))

    return float(hsic(x, y) / (hsic(x, x) * hsic(y, y)).sqrt())


def test_independent_wide_representations_are_unlike_where_the_plain_measure_calls_them_alike():
    pairs = [(normal(256, 1024, seed), normal(256, 1024, seed + 100)) for seed in range(8)]
    assert plain_cka(*pairs[0]) == pytest.approx(0.80, abs=0.01)
    found = [debiased_cka(*pair) for pair in pairs]
    assert max(abs(each.value) for each in found) < 0.02
    assert abs(np.mean([each.value for each in found])) <= 0.01


@given(st.integers(8, 45), st.integers(1, 6), st.integers(1, 6), st.integers(0, 1000))
def test_it_is_the_formula_and_every_group_left_out_is_the_formula_on_the_rest(rows, d, e, seed):
    x = normal(rows, d, seed)
    y = normal(rows, e, seed + 1) + x[:, :1]
    found = debiased_cka(x, y)
    expected = [slow_cka(x, y)]
    member = groups(rows)
    expected += [slow_cka(x[member != g], y[member != g]) for g in range(len(found.left_out))]
    given_ = [found.value, *found.left_out]
    for one, two in zip(given_, expected, strict=True):
        assert math.isnan(one) or one == pytest.approx(two, rel=1e-6, abs=1e-8)


def test_rotations_shifts_and_scales_change_nothing_and_equal_ones_score_one():
    x, y = normal(60, 5), normal(60, 5, 1) + normal(60, 5)
    rotation = torch.linalg.qr(normal(5, 5, 2))[0]
    value = debiased_cka(x, y).value
    assert 0.1 < value < 0.9
    assert debiased_cka(x @ rotation, 1e3 * y + 7).value == pytest.approx(value, abs=1e-9)
    assert debiased_cka(1e-9 * x, y).value == pytest.approx(value, abs=1e-9)
    same = debiased_cka(x, x @ rotation)
    assert same.value == pytest.approx(1, abs=1e-12)
    assert same.stderr == pytest.approx(0, abs=1e-12)


def test_its_standard_error_is_the_spread_over_samples():
    mixed = [(normal(200, 3, s), normal(200, 3, s) + 1.5 * normal(200, 3, s + 500)) for s in range(120)]
    found = [debiased_cka(*pair) for pair in mixed]
    spread = np.std([each.value for each in found], ddof=1)
    assert np.mean([each.stderr for each in found]) == pytest.approx(spread, rel=0.25)


def test_its_standard_error_does_not_depend_on_the_order_of_the_inputs():
    """Data in folders lie class by class; half of a class left out at a time is no sample of the rest."""
    classes = torch.arange(10).repeat_interleave(40)
    means = 3 * normal(10, 4, 9)[classes]
    ratios = []
    for seed in range(10):
        x, y = means + normal(400, 4, seed), means + normal(400, 4, seed + 100)
        order = torch.randperm(400, generator=torch.Generator().manual_seed(seed))
        ratios.append(debiased_cka(x, y).stderr / debiased_cka(x[order], y[order]).stderr)
    assert np.mean(ratios) == pytest.approx(1, abs=0.2)


def test_a_constant_representation_and_too_few_inputs_have_none():
    assert math.isnan(debiased_cka(torch.full((20, 3), 1e3), normal(20, 2)).value)
    assert math.isnan(debiased_cka(normal(7, 2), normal(7, 2)).value)
    with pytest.raises(ValueError, match="20 and 21 inputs"):
        debiased_cka(normal(20, 1), normal(21, 1))


def test_the_jackknife_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(0).normal(size=30)
    left = (x.sum() - x) / 29
    assert jackknife(left) == pytest.approx(x.std(ddof=1) / math.sqrt(30))


class Reordered(nn.Module):
    """The head is declared first, a layer that is never called last, and weights of the root are used at the end."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.body = nn.Sequential(nn.Linear(2, 4), nn.Tanh())
        self.unused = nn.Linear(3, 3)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.head(self.body(x).unsqueeze(1))[:, 0] * self.scale


def test_the_layer_is_the_one_called_last_not_the_one_declared_last():
    module = Reordered()
    x = torch.randn(6, 2)
    with last_input(module) as seen:
        module(x)
        assert seen.module == "head"
        assert torch.equal(seen.value.flatten(1), module.body(x))
        seen.value = None
    module(x)
    assert seen.value is None, "the network is left unwatched"


def test_a_network_without_layers_has_no_representation(function_problem):
    problem = function_problem(lambda theta: theta.square().sum(-1), 3)
    found = view(problem, Point(torch.ones(3, dtype=torch.float64), {}), problem.train)
    assert (found.features, found.module) == (None, None)
    assert found.outputs.shape == (8, 3)


def test_features_of_a_point_are_those_of_its_theta(cnn_case):
    problem, point = cnn_case
    moved = Point(point.theta * 1.1, fresh_buffers(problem.module))
    found, other = (view(problem, each, problem.train) for each in (point, moved))
    assert found.module == "head"
    assert found.features.shape == (130, 2)
    weights = problem.layout.split(point.theta)
    expected = found.features @ weights["head.weight"].T + weights["head.bias"]
    assert found.outputs.numpy() == pytest.approx(expected.numpy(), abs=1e-12)
    assert not torch.equal(found.features, other.features)
