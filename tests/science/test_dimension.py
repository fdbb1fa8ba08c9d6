"""The dimension at a point and along a path, against the Hessian written out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import series, stack
from rashomon_cli.figures.dimension import dimension as draw
from rashomon_cli.science.dimension import dimension
from rashomon_cli.science.problem import Point, squared_error
from rashomon_cli.science.spectra.along import along
from rashomon_cli.science.spectra.generators import generators
from rashomon_cli.sources.models.mlp import mlp

TAU = {"epsilon": 0.01, "step": 1.0}


def values(result):
    return {name: variable.values.tolist() for name, variable in result.variables.items()}


def complement(problem, point, hessian):
    rows = generators(problem, point, *next(iter(problem.train))).basis().rows
    rest = torch.linalg.svd(rows)[2][len(rows) :]
    return rest @ hessian @ rest.T


def within(matrix, taus):
    sizes = torch.linalg.eigvalsh(matrix).abs().numpy()
    return np.array([(sizes <= tau).sum() for tau in np.atleast_1d(taus)])


@pytest.mark.parametrize("kind", ["hessian", "ggn", "fisher"])
def test_every_route_s_interval_has_the_dense_count_with_and_without_symmetries(mlp_case, dense, kind):
    problem, point = mlp_case
    found = values(dimension(problem, point, batches=problem.train, kind=kind, **TAU))
    assert found["tau"] == pytest.approx(0.02)
    assert found["dimension_symmetries"] == 16
    assert found["dimension_low"] <= found["dimension"] <= found["dimension_high"]
    assert found["dimension_agrees"]
    assert found["dimension_resolved"]
    taus = np.array(found["dimension_curve_taus"])
    if kind == "hessian":
        hessian = dense(problem, point)
        apart = complement(problem, point, hessian)
        for name, true in (("dimension", within(hessian, taus)), ("dimension_less_symmetries", within(apart, taus))):
            for route in ("gram", "top", "quadrature"):
                assert (np.array(found[f"{name}_curve_{route}_low"]) <= true).all(), (name, route)
                assert (np.array(found[f"{name}_curve_{route}_high"]) >= true).all(), (name, route)
            assert found[name] == within(hessian if name == "dimension" else apart, 0.02)[0]
        assert found["dimension_route"] == "top"
        assert found["gram_residual"] > 0
    else:
        assert found["dimension_route"] == "gram"
        assert found["dimension"] - 16 == found["dimension_less_symmetries"]
    assert found["dimension_rank_ratio"] == 130 * (1 if kind == "fisher" else 2) / len(point.theta)
    assert (
        found["dimension_gram_refused"] == found["dimension_top_refused"] == found["dimension_quadrature_refused"] == ""
    )


@pytest.mark.parametrize("kind", ["hessian", "ggn", "fisher"])
def test_symmetries_take_no_products(mlp_case, kind):
    problem, point = mlp_case
    options = {"batches": problem.train, "kind": kind, "routes": ["quadrature"], "probes": 2, "steps": 5, **TAU}
    found, without = (values(dimension(problem, point, symmetries=each, **options)) for each in (True, False))
    assert (found["dimension_symmetries"], without["dimension_symmetries"]) == (16, 0)
    assert found["matvecs"] == without["matvecs"]


def test_blocks_of_probes_say_what_one_block_says_with_no_product_more(mlp_case):
    problem, point = mlp_case
    options = {"batches": problem.train, "routes": ["quadrature"], "probes": 5, "steps": 12, "deflate": 3, **TAU}
    one, several = (dimension(problem, point, block=block, **options).variables for block in (5, 2))
    assert one.keys() == several.keys()
    for name, variable in one.items():
        if variable.values.dtype.kind == "f":
            np.testing.assert_allclose(several[name].values, variable.values, rtol=1e-8, atol=1e-10, err_msg=name)
        else:
            assert several[name].values.tolist() == variable.values.tolist(), name


def test_of_a_matrix_that_is_not_finite_nothing_is_counted(mlp_case):
    problem, point = mlp_case
    lost = Point(torch.full_like(point.theta, torch.nan), point.buffers)
    options = {"batches": problem.train, "probes": 3, "block": 2, "symmetries": False, **TAU}
    with pytest.raises(Refused, match="not finite"):
        dimension(problem, lost, routes=["quadrature"], **options)
    found = values(dimension(problem, lost, routes=["top", "quadrature"], **options))
    assert "not finite" in found["dimension_quadrature_refused"]
    assert math.isnan(found["dimension"])
    assert (found["dimension_low"], found["dimension_high"]) == (0, len(point.theta))
    more = values(dimension(problem, lost, routes=["top", "quadrature"], **options | {"probes": 40}))
    assert more["matvecs"] - found["matvecs"] == 0, "the first block tells that there is nothing to find"


def test_a_penalty_is_added(mlp_case, dense):
    problem, point = mlp_case
    problem = replace(problem, weight_decay=0.015)
    found = values(dimension(problem, point, batches=problem.train, with_decay=True, routes=["top", "gram"], **TAU))
    hessian = dense(problem, point) + 0.015 * torch.eye(len(point.theta), dtype=torch.float64)
    assert found["dimension"] == within(hessian, 0.02)[0]
    lifted = {**TAU, "epsilon": 0.005}
    found = values(dimension(problem, point, batches=problem.train, kind="ggn", with_decay=True, **lifted))
    assert found["dimension"] == found["dimension_low"] == found["dimension_less_symmetries"] == 0


def test_layers_are_a_principal_block(mlp_case, dense):
    problem, point = mlp_case
    layer = problem.layout.names[0].rpartition(".")[0]
    size = sum(n for name, n in zip(problem.layout.names, problem.layout.sizes) if name.startswith(layer))
    block = dense(problem, point)[:size, :size]
    found = values(dimension(problem, point, batches=problem.train, layers=layer, routes=["top"], **TAU))
    assert found["dimension"] == within(block, 0.02)[0]
    assert found["dimension_symmetries"] == 0


def test_symmetries_can_be_left(mlp_case):
    problem, point = mlp_case
    found = values(dimension(problem, point, batches=problem.train, routes=["top"], symmetries=False, **TAU))
    assert found["dimension_symmetries"] == 0
    assert not [name for name in found if "less_symmetries" in name]
    assert found["dimension_symmetries_lacking"] == "not asked for"


def test_without_symmetries_a_path_has_no_count_of_the_others(path):
    problem, points = path
    options = {"batches": problem.train, "routes": ["top"], "symmetries": False, **TAU}
    change = values(along(stacked([dimension(problem, p, **options) for p in points], points)))
    assert change["dimension_differs"] == [False, False, True]
    assert not [name for name in change if "less_symmetries" in name]


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_symmetries_that_do_not_fit_leave_no_count_but_an_interval(mlp_case, dense, kind):
    """Of the Hessian any number may be flat where symmetries are not; the Gauss-Newton matrix is flat along them."""
    problem, point = mlp_case
    options = {"batches": problem.train, "kind": kind, "routes": ["top", "quadrature"], "decades": 1, **TAU}
    full, short = (values(dimension(problem, point, memory=memory, **options)) for memory in (2**31, 10_000))
    assert short["dimension_symmetries"] == 0
    assert "at least 10 directions of symmetries of 73 parameters take" in short["dimension_symmetries_lacking"]
    assert math.isnan(short["dimension_less_symmetries"])
    assert np.isnan(short["dimension_less_symmetries_curve"]).all()
    assert not np.any(short["dimension_less_symmetries_curve_low"])
    most = short["dimension_curve_high"] if kind == "ggn" else [len(point.theta)] * len(short["dimension_curve_high"])
    assert short["dimension_less_symmetries_curve_high"] == most
    assert (np.array(full["dimension_less_symmetries_curve_high"]) <= most).all()
    assert short["dimension"] == full["dimension"]
    assert draw(dimension(problem, point, memory=10_000, **options).variables) is not None


def bumpy(outputs, targets):
    return outputs.sin().sum(1)


def test_a_route_that_cannot_be_gone_is_named_and_the_others_are_taken(make):
    torch.manual_seed(0)
    problem = make(nn.Linear(3, 2), torch.randn(20, 3), torch.zeros(20), loss=bumpy)
    point = Point(problem.layout.flatten(dict(problem.module.named_parameters())), {})
    found = values(dimension(problem, point, batches=problem.train, routes=["gram", "top"], **TAU))
    assert "not convex" in found["dimension_gram_refused"]
    assert found["dimension_route"] == "top"
    with pytest.raises(Refused, match="not convex"):
        dimension(problem, point, batches=problem.train, routes=["gram"], **TAU)


@pytest.fixture
def path(make):
    """Points of a network from one that fits its targets without curvature in most directions to a random one."""
    torch.manual_seed(0)
    problem = make(mlp((4,), 1, width=6, depth=1), torch.randn(12, 4), torch.randn(12, 1), loss=squared_error)
    theta = problem.layout.flatten(dict(problem.module.named_parameters()))
    return problem, [Point(scale * theta, {}, t) for t, scale in ((0.0, 0.05), (0.5, 0.05), (1.0, 3.0))]


def stacked(results, points):
    return stack(results, "t") | {"t": series("t", [point.t for point in points])}


@pytest.mark.parametrize("routes", [["top"], ["quadrature"], ["top", "quadrature"]])
def test_along_a_path_points_are_compared_with_the_first(path, routes):
    problem, points = path
    found = [dimension(problem, p, batches=problem.train, routes=routes, probes=16, **TAU) for p in points]
    change = values(along(stacked(found, points)))
    for name in ("dimension", "dimension_less_symmetries"):
        assert change[f"{name}_change"][:2] == pytest.approx([0, 0])
        assert change[f"{name}_differs"][:2] == [False, False]
    exact = [result.variables["dimension"].values.item() for result in found]
    if "top" in routes:
        assert change["dimension_change"][2] == exact[2] - exact[0]
        assert change["dimension_change_low"][2] == change["dimension_change_high"][2] == exact[2] - exact[0]
    assert change["dimension_differs"][2]
    assert change["dimension_constant"].startswith("not constant: another than at t = 0 at t = 1; first by -")


def test_intervals_that_only_hold_with_some_probability_are_not_compared_as_bounds(path):
    """Of one probe each point's interval is known, and that of a difference is not; bounds elsewhere still tell."""
    problem, points = path
    options = {"batches": problem.train, "probes": 1, **TAU}
    probed = [dimension(problem, p, routes=["quadrature"], **options) for p in points]
    bounded = [dimension(problem, p, routes=["top", "quadrature"], **options) for p in points]
    for mixed in (probed, [probed[0], *bounded[1:]]):
        change = values(along(stacked(mixed, points)))
        assert change["dimension_change_high"] == [0, np.inf, np.inf]
        assert change["dimension_differs"] == [False, False, False]
        assert "cannot be told" in change["dimension_constant"]
    change = values(along(stacked([bounded[0], probed[1], bounded[2]], points)))
    assert change["dimension_differs"] == [False, False, True]
    assert change["dimension_constant"].startswith("not constant: another than at t = 0 at t = 1; first by -")


@pytest.mark.parametrize("routes", [["top"], ["quadrature"]])
def test_where_symmetries_were_not_told_nothing_is_said_of_the_others_being_as_many(path, routes):
    problem, points = path
    options = {"batches": problem.train, "routes": routes, "probes": 4, **TAU}
    told, untold = ([dimension(problem, p, memory=m, **options) for p in points] for m in (2**31, 1_000))
    cases = {"0, 0.5, 1": untold}
    if routes == ["top"]:
        cases |= {"0": [untold[0], *told[1:]], "0.5, 1": [told[0], *untold[1:]]}
    for lost, mixed in cases.items():
        change = values(along(stacked(mixed, points)))
        assert change["dimension_less_symmetries_change_low"] == [0, -np.inf, -np.inf]
        assert change["dimension_less_symmetries_differs"] == [False, False, False]
        words = f"whether it is constant cannot be told: symmetries could not be at t = {lost}"
        assert change["dimension_less_symmetries_constant"] == words
        assert change["dimension_differs"] == [False, False, True]


def test_a_position_without_symmetries_does_not_hide_that_another_differs(path):
    problem, points = path
    options = {"batches": problem.train, "routes": ["top"], **TAU}
    found = [dimension(problem, p, memory=m, **options) for p, m in zip(points, (2**31, 1_000, 2**31))]
    change = values(along(stacked(found, points)))
    assert change["dimension_less_symmetries_differs"] == [False, False, True]
    assert np.isnan(change["dimension_less_symmetries_change"]).tolist() == [False, True, False]


def test_pairs_that_do_not_get_to_tau_leave_an_interval(mlp_case, dense):
    problem, point = mlp_case
    found = values(dimension(problem, point, batches=problem.train, routes=["top"], limit=40, decades=1, **TAU))
    hessian = dense(problem, point)
    taus = np.array(found["dimension_curve_taus"])
    assert np.isnan(found["dimension"])
    for name, matrix in (("dimension", hessian), ("dimension_less_symmetries", complement(problem, point, hessian))):
        assert (np.array(found[f"{name}_curve_low"]) <= within(matrix, taus)).all()
        assert (np.array(found[f"{name}_curve_high"]) >= within(matrix, taus)).all()
        assert found[f"{name}_low"] < found[f"{name}_high"]
