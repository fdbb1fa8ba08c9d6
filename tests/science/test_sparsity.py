import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Lasso
from torch import nn

from rashomon_cli.science.problem import Layout, Problem, squared_error
from rashomon_cli.science.sparsity import L1, cut, density, prunable, regularise, soft_threshold
from rashomon_cli.science.training import SGD, TrainState
from rashomon_cli.sources.batches import Batches


def descend(problem, l1, cfg, start, steps=50, mask=None):
    batch = next(iter(problem.train))
    state = TrainState(0, start, None, {})
    *_, state = regularise(problem, lambda epoch: iter([batch] * steps), steps, cfg, l1, state, mask)
    return state


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_lasso_with_optimum_070_ends_there_at_any_momentum(function_problem, momentum):
    # ½(θ − 1)² + 0.3|θ| has its minimum at 0.70; a threshold of lr·λ would return 0.97 at momentum 0.9.
    problem = function_problem(lambda p: 0.5 * (p - 1).square().sum(1), 1)
    ones = torch.ones(1, dtype=torch.float64)
    cfg = SGD(20, 0.02, momentum, schedule="constant")
    assert float(descend(problem, L1(0.3, ones), cfg, 2 * ones).theta) == pytest.approx(0.70, abs=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_correlated_lasso_is_sklearns(momentum):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 8)) @ (np.eye(8) + 0.3)
    y = x @ np.array([2.0, 0, 0, -1.0, 0.5, 0, 0, 0]) + 0.1 * rng.normal(size=60)
    expected = Lasso(alpha=0.15, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(x, y).coef_
    module = nn.Linear(8, 1, bias=False).double()
    data = Batches(torch.from_numpy(x), torch.from_numpy(y), 60, population=60, dtype=torch.float64)
    problem = Problem(module, Layout.of(module), lambda o, t: 0.5 * squared_error(o, t), data, data, classifies=False)
    l1 = L1(0.15, torch.ones(8, dtype=torch.float64))
    found = descend(problem, l1, SGD(100, 0.01, momentum, schedule="constant"), torch.zeros(8).double()).theta.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert ((found == 0) == (expected == 0)).all()  # exact zeros
    assert (expected == 0).any()


def test_the_subgradient_hovers_near_the_optimum_without_reaching_zeros(function_problem):
    problem = function_problem(lambda p: 0.5 * ((p - torch.tensor([1.0, 0.1])) ** 2).sum(1), 2)
    ones = torch.ones(2, dtype=torch.float64)
    found = descend(problem, L1(0.3, ones, proximal=False), SGD(40, 0.01, 0.9, schedule="constant"), 2 * ones).theta
    assert float(found[0]) == pytest.approx(0.70, abs=1e-3)
    assert float(found[1]) != 0
    assert abs(float(found[1])) < 0.05


@given(st.floats(-5, 5), st.floats(0, 3))
def test_soft_threshold_shrinks_towards_zero_and_no_further(value, threshold):
    theta = torch.tensor([value, value], dtype=torch.float64)
    found = soft_threshold(theta, threshold, torch.tensor([1.0, 0.0]))
    assert float(found[0]) == pytest.approx(math.copysign(max(abs(value) - threshold, 0), value))
    assert float(found[1]) == value


class WithNorms(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.bn = nn.BatchNorm2d(2)
        self.norm = nn.LayerNorm(2)
        self.head = nn.Linear(2, 3)


def test_biases_and_the_parameters_of_norms_are_exempt():
    module = WithNorms()
    layout = Layout.of(module)
    chosen = {name for name, value in layout.split(prunable(module, layout)).items() if value.all()}
    assert chosen == {"conv.weight", "head.weight"}
    assert prunable(module, layout, everything=True).sum() == layout.total


def test_a_pruned_weight_stays_zero_though_its_gradient_pulls(function_problem):
    problem = function_problem(lambda p: 0.5 * ((p - 1) ** 2).sum(1), 3)
    ones = torch.ones(3, dtype=torch.float64)
    theta, mask = cut(torch.tensor([0.01, -0.04, 0.9]).double(), 0.05, ones)
    assert theta.tolist() == [0, 0, pytest.approx(0.9)]
    end = descend(problem, L1(0.1, ones), SGD(5, 0.05, 0.9, schedule="constant"), theta, mask=mask)
    assert end.theta[:2].tolist() == [0, 0]
    assert end.velocity[:2].tolist() == [0, 0]
    assert float(end.theta[2]) == pytest.approx(0.9, abs=1e-2)
    _, both = cut(end.theta, 0.0, ones, mask)
    assert both.tolist() == [0, 0, 1]


def test_a_threshold_of_zero_cuts_nothing_and_exempt_weights_never_go():
    theta = torch.tensor([0.0, 0.01, 0.5])
    assert cut(theta, 0.0, torch.ones(3))[1].tolist() == [1, 1, 1]
    assert cut(theta, 1.0, torch.tensor([0.0, 1.0, 0.0]))[1].tolist() == [1, 0, 1]


def test_density_a_layer():
    module = WithNorms()
    layout = Layout.of(module)
    where = prunable(module, layout)
    theta = torch.ones(layout.total)
    theta[:9] = 0  # the first filter of the convolution
    found = density(layout, theta, where)
    assert found == {"conv.weight": (0.5, 18), "head.weight": (1.0, 6)}
