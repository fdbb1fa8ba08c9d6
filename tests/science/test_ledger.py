from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from rashomon_cli.science.idle import idle
from rashomon_cli.science.ledger import KINDS, ledger
from rashomon_cli.science.problem import Point, squared_error
from rashomon_cli.science.spectra.matrices import Dense
from rashomon_cli.science.symmetries import find
from rashomon_cli.science.visibility import responding
from rashomon_cli.sources.batches import Batches


class Net(nn.Module):
    """One hidden layer of ReLUs."""

    def __init__(self, inputs=4, hidden=5, outputs=2) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


def gauss_newton(problem, point):
    """The dense one of responses."""

    def outputs(theta):
        return torch.cat([problem.outputs(theta, point.buffers, x) for x, _ in problem.train]).reshape(-1)

    jacobian = torch.autograd.functional.jacobian(outputs, point.theta)
    return Dense(jacobian.T @ jacobian / problem.train.count)


def examples(x):
    return Batches(x.double(), torch.zeros(len(x)), 1000, population=len(x), dtype=torch.float64)


def shares(found):
    return {kind: float(found[f"flat_share_{kind}"].values) for kind in KINDS}


@pytest.fixture
def regression(make):
    """A network with squared error whose unit 0 is dead and whose third input is 0 on these data, not on others."""
    torch.manual_seed(0)
    module, x, elsewhere = Net(), torch.randn(60, 4), torch.randn(50, 4)
    with torch.no_grad():
        module.first.bias[0] = -50.0
    x[:, 2] = 0.0
    problem = make(module, x, torch.randn(60, 2), loss=squared_error)
    point = Point(problem.layout.flatten(dict(problem.module.named_parameters())), {})
    return problem, point, examples(elsewhere)


def generators(problem, point):
    """Rescalings of the hidden units at the point, orthonormal (5, P): w_in, b → α, w_out → 1/α."""
    own = problem.layout.split(point.theta)
    rows = torch.zeros(5, problem.layout.total, dtype=torch.float64)
    for unit, row in enumerate(rows):
        parts = problem.layout.split(row)
        parts["first.weight"][unit] = own["first.weight"][unit]
        parts["first.bias"][unit] = own["first.bias"][unit]
        parts["last.weight"][:, unit] = -own["last.weight"][:, unit]
    return rows / rows.norm(dim=1, keepdim=True)


def null_space(matrix):
    values, vectors = torch.linalg.eigh(matrix)
    return vectors[:, values < 1e-10].T


def measure(problem, point, rows, **options):
    given = {"symmetry": rows[:0]}
    given |= {"responses": gauss_newton(responding(problem), point), "tolerance": 1e-3, "batches": problem.train}
    return ledger(problem, point, rows, **given | options).variables


def test_of_a_whole_null_space_shares_are_dimensions(regression):
    problem, point, elsewhere = regression
    symmetries = find(problem.module, next(iter(problem.train))[0][:4])[1]
    none = idle(problem, point, problem.train, symmetries)
    matrix = gauss_newton(problem, point)
    rows = null_space(matrix.matrix)
    found = measure(
        problem, point, rows, symmetry=generators(problem, point), free=none, other=elsewhere, responses=matrix
    )
    # 5 rescalings. The dead unit has 4 + 1 + 2 parameters, of which its own rescaling is one direction. The four others
    # read the input that is always 0 by one weight each.
    assert len(rows) == 5 + 6 + 4
    expected = {"symmetry": 5, "dead": 6, "invisible": 4, "visible": 0}
    assert {kind: share * len(rows) for kind, share in shares(found).items()} == pytest.approx(expected, abs=1e-6)
    assert int(found["flat_dimension_symmetry"].values) == 5
    assert int(found["flat_dimension_dead"].values) == 6
    each = sum(found[f"flat_share_{kind}_each"].values for kind in KINDS)
    assert each == pytest.approx(np.ones(len(rows)), abs=1e-9)


def test_only_what_is_invisible_here_changes_predictions_elsewhere(regression):
    problem, point, elsewhere = regression
    symmetries = find(problem.module, next(iter(problem.train))[0][:4])[1]
    none = idle(problem, point, problem.train, symmetries)
    rows = null_space(gauss_newton(problem, point).matrix)
    found = measure(problem, point, rows, symmetry=generators(problem, point), free=none, other=elsewhere, step=1e-4)
    changes = {name.removeprefix("flat_change_"): float(v.values) for name, v in found.items() if "change" in name}
    for kind in ("symmetry", "dead", "invisible"):
        assert changes[kind] < 1e-3, kind
    assert changes["other_symmetry"] < 1e-3
    assert changes["other_dead"] < 1e-9  # −50 is out of reach for these, too
    assert changes["other_invisible"] > 0.05
    assert min(changes["random"], changes["other_random"]) > 0.05
    assert math.isnan(changes["visible"])


def test_a_weight_of_an_absent_input_changes_other_predictions_by_that_input(make):
    # y = w·x: along the weight of the third input predictions change by |x₃| per unit step.
    torch.manual_seed(1)
    x, elsewhere = torch.randn(30, 3), torch.randn(80, 3)
    x[:, 2] = 0.0
    problem = make(nn.Linear(3, 1, bias=False), x, torch.randn(30, 1), loss=squared_error)
    point = Point(torch.ones(3, dtype=torch.float64), {})
    row = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    found = measure(problem, point, row, other=examples(elsewhere))
    assert shares(found)["invisible"] == pytest.approx(1)
    assert float(found["flat_change_invisible"].values) == 0
    size = elsewhere[:, 2].double().abs()
    assert float(found["flat_change_other_invisible"].values) == pytest.approx(float(size.mean()))


def test_a_loss_that_does_not_mind_is_no_flat_function(function_problem):
    # x²y² at the origin: its Hessian is 0, and both outputs change at full speed.
    problem = function_problem(lambda p: p[:, 0] ** 2 * p[:, 1] ** 2, 2)
    point = Point(torch.zeros(2, dtype=torch.float64), {})
    found = measure(problem, point, torch.eye(2, dtype=torch.float64), tolerance=0.1)
    assert shares(found) == pytest.approx({"symmetry": 0, "dead": 0, "invisible": 0, "visible": 1})
    assert float(found["flat_change_visible"].values) == pytest.approx(1)


def test_a_mixed_direction_is_shared_and_the_error_is_over_directions(regression):
    problem, point, _ = regression
    rows = torch.zeros(3, problem.layout.total, dtype=torch.float64)
    parts = [problem.layout.split(row) for row in rows]
    for weight, own in zip((0.0, 0.6, 1.0), parts):
        own["first.weight"][1, 2] = weight  # invisible
        own["last.bias"][0] = math.sqrt(1 - weight**2)  # visible
    found = measure(problem, point, rows)
    assert found["flat_share_invisible_each"].values == pytest.approx([0, 0.36, 1], abs=1e-9)
    assert found["flat_share_visible_each"].values == pytest.approx([1, 0.64, 0], abs=1e-9)
    spread = float(np.std([0, 0.36, 1], ddof=1)) / math.sqrt(3)
    assert float(found["flat_share_invisible"].stderr) == pytest.approx(spread)
    low, high = (float(found[f"flat_share_invisible_{side}"].values) for side in ("low", "high"))
    assert low - 1e-9 <= shares(found)["invisible"] <= high + 1e-9


def test_of_symmetries_that_are_not_known_nothing_is_said_and_the_others_have_what_they_hold(regression):
    problem, point, _ = regression
    rows = generators(problem, point)[1:3]  # of live units
    found = measure(problem, point, rows, symmetry=None, other=examples(torch.randn(9, 4)))
    for name in ("share_symmetry", "dimension_symmetry", "change_symmetry", "change_other_symmetry"):
        assert math.isnan(float(found[f"flat_{name}"].values)), name
    assert np.isnan(found["flat_share_symmetry_each"].values).all()
    assert float(found["flat_share_invisible"].values) == pytest.approx(1, abs=1e-6)


class Clipped(Net):
    """Its units are stuck at 6 where they get more."""

    def forward(self, x):
        return self.last(torch.nn.functional.relu6(self.first(x)))


def test_a_symmetry_among_the_directions_of_a_stuck_unit_is_counted_once(make):
    torch.manual_seed(2)
    module, x = Clipped(), torch.randn(40, 4)
    symmetries = find(module, x[:4])[1]
    with torch.no_grad():
        module.first.bias[:] = 0.0
        module.first.bias[1] = 100.0
    problem = make(module, x, torch.randn(40, 2), loss=squared_error)
    point = Point(problem.layout.flatten(dict(module.named_parameters())), {})
    free = idle(problem, point, problem.train, symmetries)
    assert free.dimension == 4 + 1 + 2
    drawn = torch.randn(3, problem.layout.total, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    within = free.project(drawn)
    found = measure(problem, point, within, symmetry=within[:1], free=free)
    assert int(found["flat_dimension_symmetry"].values) == 1
    assert int(found["flat_dimension_dead"].values) == 6
    assert found["flat_share_symmetry_each"].values[0] == pytest.approx(1)
    together = found["flat_share_symmetry_each"].values + found["flat_share_dead_each"].values
    assert together == pytest.approx(np.ones(3))
