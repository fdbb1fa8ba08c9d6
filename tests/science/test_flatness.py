from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from rashomon_cli.figures.flat import flat as draw
from rashomon_cli.science import flatness
from rashomon_cli.science.directions import directions
from rashomon_cli.science.flatness import flat
from rashomon_cli.science.ledger import KINDS
from rashomon_cli.science.problem import Point, squared_error
from rashomon_cli.science.spectra.null_directions import null_directions
from rashomon_cli.sources.batches import Batches


class Net(nn.Module):
    """One hidden layer of ReLUs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


@pytest.fixture
def fitted(make):
    """Squared error 0: targets are the network's own outputs. Unit 0 is dead, the third input 0 but on other data."""
    torch.manual_seed(0)
    module, x = Net(), torch.randn(60, 4)
    with torch.no_grad():
        module.first.bias[0] = -50.0
        x[:, 2] = 0.0
        targets = module(x)
    problem = make(module, x, targets.double(), loss=squared_error)
    point = Point(problem.layout.flatten(dict(module.named_parameters())), {})
    exact = problem.outputs(point.theta, {}, x.double()).detach()
    other = Batches(torch.randn(50, 4).double(), torch.zeros(50), 1000, population=50, dtype=torch.float64)
    return replace(problem, train=replace(problem.train, y=exact)), point, other


def test_at_an_exact_fit_the_whole_null_space_is_accounted_for(fitted):
    problem, point, other = fitted
    total, rank = problem.layout.total, 22
    result = flat(
        problem, point, batches=problem.train, other=other, tau=1e-8, near_null=total - rank, deflate=rank, degree=20
    )
    found = result.variables
    dimensions = {kind: float(found[f"flat_share_{kind}"].values) * (total - rank) for kind in KINDS}
    # 5 rescalings; 4 + 1 + 2 parameters of the dead unit less its rescaling; a weight of each live unit at the input.
    assert dimensions == pytest.approx({"symmetry": 5, "dead": 6, "invisible": 4, "visible": 0}, abs=1e-3)
    assert found["flat_curvature"].values == pytest.approx(np.zeros(total - rank), abs=1e-9)
    here, elsewhere = (float(found[f"flat_change{data}_invisible"].values) for data in ("", "_other"))
    assert elsewhere > 0.05
    assert here < 0.01 * elsewhere
    assert int(found["flat_units_known"].values) == 1
    assert str(found["flat_symmetries_lacking"].values) == ""
    assert float(found["flat_within"].values) == 1
    assert float(found["flat_tolerance"].values) == pytest.approx(math.sqrt(1e-8), rel=0.1)
    assert result.tensors["vectors_near_null"].shape == (total - rank, total)


@pytest.mark.parametrize(
    ("layer", "null", "shares"),
    [
        ("first", 9, {"symmetry": 0, "dead": 5, "invisible": 4, "visible": 0}),  # a rescaling moves both layers
        ("last", 2, {"symmetry": 0, "dead": 2, "invisible": 0, "visible": 0}),
    ],
)
def test_within_a_layer_only_what_it_can_do_alone_is_flat(fitted, layer, null, shares):
    problem, point, _ = fitted
    options = {"batches": problem.train, "tau": 1e-8, "near_null": null, "deflate": 25, "degree": 20}
    result = flat(problem, point, layers=layer, **options)
    found = {kind: float(result.variables[f"flat_share_{kind}"].values) * null for kind in KINDS}
    assert found == pytest.approx(shares, abs=1e-3)
    assert result.variables["flat_curvature"].values == pytest.approx(np.zeros(null), abs=1e-9)
    assert result.tensors["vectors_near_null"].shape == (null, {"first": 25, "last": 12}[layer])


def test_where_every_direction_is_steep_there_is_nothing_to_explain(make):
    x = torch.randn(30, 3)
    problem = make(nn.Linear(3, 1, bias=False), x, torch.randn(30, 1), loss=squared_error)
    point = Point(torch.zeros(3, dtype=torch.float64), {})
    found = flat(problem, point, batches=problem.train, tau=0.01, near_null=4).variables
    assert found["flat_share_visible_each"].values.shape == found["flat_curvature"].values.shape == (4,)
    for name in ("flat_share_visible", "flat_change_visible", "flat_within"):
        assert math.isnan(float(found[name].values)), name


def test_symmetries_that_do_not_fit_are_not_told_and_count_as_invisible(fitted, monkeypatch):
    problem, point, _ = fitted
    options = {"batches": problem.train, "tau": 1e-8, "near_null": 15, "deflate": 22, "degree": 20}
    order = []
    monkeypatch.setattr(flatness, "null_directions", lambda *a: order.append("symmetries") or null_directions(*a))
    monkeypatch.setattr(flatness, "directions", lambda *a, **k: order.append("search") or directions(*a, **k))
    found = flat(problem, point, memory=1000, **options).variables
    assert order == ["symmetries", "search"]
    assert "at least 5 directions of symmetries of 37 parameters take" in str(found["flat_symmetries_lacking"].values)
    shares = {kind: float(found[f"flat_share_{kind}"].values) * 15 for kind in KINDS}
    assert shares == pytest.approx(
        {"symmetry": math.nan, "dead": 7, "invisible": 8, "visible": 0}, abs=1e-3, nan_ok=True
    )
    assert math.isnan(float(found["flat_dimension_symmetry"].values))
    assert draw(found) is not None


class Branching(nn.Module):
    """Its control flow depends on the data, and no operation of it has a rule."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x):
        h = torch.relu(self.first(x))
        return self.last(torch.cumsum(h, 1) if bool(h.sum() > 0) else h)


def test_where_units_cannot_be_told_dead_ones_are_still_found_by_what_makes_them(make):
    torch.manual_seed(1)
    module, x = Branching(), torch.randn(40, 4)
    with torch.no_grad():
        module.first.bias[3] = -50.0
    problem = make(module, x, torch.randn(40, 2), loss=squared_error)
    point = Point(problem.layout.flatten(dict(module.named_parameters())), {})
    found = flat(problem, point, batches=problem.train, tau=1e-3, near_null=4, deflate=0, visible=1e-4).variables
    assert int(found["flat_units_known"].values) == 0
    assert math.isnan(float(found["flat_share_symmetry"].values))
    assert str(found["flat_symmetries_lacking"].values)
    assert int(found["flat_dimension_dead"].values) == 5
    others = [float(found[f"flat_share_{kind}"].values) for kind in KINDS if kind != "symmetry"]
    assert sum(others) == pytest.approx(1)
