from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.problem import Point, cross_entropy, squared_error
from rashomon_cli.science.spectra.matrices import Dense
from rashomon_cli.science.visibility import blind, centred, prediction_changes, responding, visible_change

STEPPED = [0.0] * 10 + [1e-6] * 5 + list(np.linspace(0.5, 9.0, 25))


def turned(values, seed=0):
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator, dtype=torch.float64))[0]
    return Dense((basis * torch.tensor(values, dtype=torch.float64)) @ basis.T), basis.T


def test_the_blind_part_is_the_projection_on_small_eigenvalues():
    matrix, rows = turned(STEPPED)
    vectors = torch.randn(4, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    vectors[2] = 0.0
    found = blind(matrix, vectors, 0.01, steps=40)
    expected = (vectors @ rows[:15].T) @ rows[:15]
    torch.testing.assert_close(found.parts, expected, atol=1e-4, rtol=0)
    squares = expected.square().sum(1).numpy()
    assert (found.low <= squares + 1e-9).all()
    assert (found.high >= squares - 1e-9).all()
    assert found.tolerance == 0.01


@pytest.mark.parametrize("steps", [2, 4, 8, 16])
def test_the_bracket_holds_the_truth_after_any_number_of_steps(steps):
    matrix, rows = turned(list(np.linspace(0, 1, 40) ** 3))
    vectors = torch.randn(6, 40, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = blind(matrix, vectors, math.sqrt(0.05), steps=steps)
    below = np.linspace(0, 1, 40) ** 3 <= 0.05
    squares = (vectors @ rows.T).square().numpy()[:, below].sum(1)
    assert (found.low <= squares).all()
    assert (squares <= found.high).all()
    parts = found.parts.square().sum(1).numpy()
    assert ((found.low <= parts + 1e-9) & (parts <= found.high + 1e-9)).all()


def test_no_more_steps_are_taken_than_prove_the_share_to_2_percent():
    matrix, rows = turned([*[0.0] * 60, *np.linspace(1, 2, 140)])
    vectors = torch.randn(2, 200, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = blind(matrix, vectors, 0.1, steps=100)
    assert matrix.matvecs == 12 + 2 * 20
    squares = (vectors @ rows[:60].T).square().sum(1).numpy()
    assert (found.high - found.low <= 0.02 * vectors.square().sum(1).numpy()).all()
    assert found.parts.square().sum(1).numpy() == pytest.approx(squares, rel=1e-3)


def test_what_rounding_cannot_tell_from_0_counts_as_unseen():
    matrix, rows = turned([0.0, 1e-14, *[1.0] * 8])
    found = blind(matrix, rows[:2] + rows[5:7], 1e-9)
    assert found.tolerance == pytest.approx(1e-6, rel=0.1)
    torch.testing.assert_close(found.parts, rows[:2], atol=1e-9, rtol=0)


class Linear(nn.Module):
    def __init__(self, inputs=3, outputs=4) -> None:
        super().__init__()
        self.map = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x):
        return self.map(x)


@pytest.fixture
def linear(make):
    torch.manual_seed(0)
    x = torch.randn(20, 3, dtype=torch.float64)
    problem = make(Linear(), x, torch.randint(0, 4, (20,)))
    return problem, Point(problem.layout.flatten(dict(problem.module.named_parameters())), {}), x


def test_responses_are_mean_squares_of_what_predictions_depend_on(linear, dense):
    problem, point, x = linear
    found = dense(responding(problem), point)  # its outputs are linear in θ: the Hessian is the Gauss-Newton matrix
    shift = torch.full((4, 4), 0.25, dtype=torch.float64)
    second = x.T @ x / len(x)
    torch.testing.assert_close(found, torch.kron(torch.eye(4).double() - shift, second))


def test_of_a_regression_outputs_are_taken_as_they_are(linear):
    problem, _, x = linear
    regression = replace(problem, loss=squared_error, classifies=False)
    assert centred(regression, x) is x
    assert float(centred(problem, x).sum(1).abs().max()) < 1e-12


def test_the_change_that_a_curvature_needs(linear):
    problem, point, _ = linear
    assert visible_change(problem, point, problem.train, 0.02) == pytest.approx(0.2)
    four = replace(problem, loss=squared_error)
    assert visible_change(four, point, problem.train, 0.02) == pytest.approx(math.sqrt(0.02 / (2 / 4)))
    scaled = replace(problem, loss=lambda outputs, y: 3 * cross_entropy(outputs, y))
    columns = torch.cat([problem.outputs(point.theta, {}, x) for x, _ in problem.train]).softmax(1)
    largest = max(float(torch.linalg.eigvalsh(3 * (torch.diag(p) - torch.outer(p, p)))[-1]) for p in columns)
    assert visible_change(scaled, point, problem.train, 0.02) == pytest.approx(math.sqrt(0.02 / largest))


@pytest.mark.parametrize("loss", [lambda o, y: -o.square().sum(1), lambda o, y: o.sum(1)])
def test_where_the_loss_has_no_such_curvature_the_user_is_asked(linear, loss):
    problem, point, _ = linear
    with pytest.raises(Refused) as caught:
        visible_change(replace(problem, loss=loss), point, problem.train, 0.02)
    assert "--flat-visible" in caught.value.hint


def test_changes_of_predictions_are_those_of_the_function(linear):
    problem, point, x = linear
    unit = torch.zeros(1, 12, dtype=torch.float64)
    unit[0, 3] = 1.0  # what the second output reads of the first input
    step = 0.3
    found = prediction_changes(problem, point, unit, problem.train, step)
    weights = point.theta.reshape(4, 3)
    logits = x @ weights.T
    moved = []
    for sign in (1, -1):
        other = logits.clone()
        other[:, 1] += sign * step * x[:, 0]
        moved.append((other.softmax(1) - logits.softmax(1)).norm(dim=1))
    torch.testing.assert_close(found, ((moved[0] + moved[1]) / (2 * step))[None])
