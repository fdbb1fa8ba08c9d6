"""The dimension by every route, where theory says what it is, and what is made of routes that differ."""

from __future__ import annotations

from dataclasses import replace

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import nn

from rashomon_cli.science.problem import Point, squared_error
from rashomon_cli.science.spectra import constancy, counting, dimensions, slq
from rashomon_cli.science.spectra.deflation import Complement
from rashomon_cli.science.spectra.dimensions import Count, reconcile
from rashomon_cli.science.spectra.generators import generators
from rashomon_cli.science.spectra.gram import spectrum
from rashomon_cli.science.spectra.matrices import Dense
from rashomon_cli.science.spectra.outside import LIMIT, outside
from rashomon_cli.sources.models.mlp import mlp

TAUS = dimensions.grid(1e-6, 2, 2)


def point_of(problem):
    return Point(problem.layout.flatten(dict(problem.module.named_parameters())), {})


def curve(route, value, low, high):
    return Count(np.array([0.1, 1.0]), *(np.array(each, dtype=float) for each in (value, low, high)), route)


def by_every_route(problem, point, dense, penalty=0.0, limit=LIMIT):
    """Counts of the Hessian; at a point where it is the Gauss-Newton matrix."""
    hessian = dense(problem, point)
    hessian = hessian + penalty * torch.eye(len(hessian), dtype=torch.float64)
    return [
        spectrum(problem, point, problem.train, shift=penalty).count(TAUS),
        outside(Dense(hessian), TAUS[0], limit=limit).count(TAUS),
        counting.count(slq.density(Dense(hessian), probes=4, steps=60), TAUS),
    ]


@hypothesis.given(st.floats(1e-9, 10), st.floats(1e-3, 1e3))
@hypothesis.settings(max_examples=50)
def test_a_step_along_the_tolerance_raises_the_loss_by_epsilon(epsilon, step):
    tau = dimensions.tolerance(epsilon, step)
    assert 0.5 * tau * step**2 == pytest.approx(epsilon)
    assert tau in dimensions.grid(tau)


def test_the_grid_is_even_in_its_logarithm():
    found = dimensions.grid(0.02, decades=2, each=4)
    assert (len(found), found[0], found[-1]) == (17, pytest.approx(2e-4), pytest.approx(2.0))
    np.testing.assert_allclose(np.diff(np.log10(found)), 0.25)


def regression(make, rank, count, parameters=20):
    """Linear regression on data of a rank, without noise."""
    random = torch.Generator().manual_seed(0)
    basis = torch.randn(rank, parameters, generator=random)
    x = torch.randn(count, rank, generator=random) @ basis
    y = x @ torch.randn(parameters, 1, generator=random)
    return make(nn.Linear(parameters, 1, bias=False), x, y.double(), loss=squared_error)


def test_linear_regression_has_p_less_r_directions_by_every_route(make, dense):
    problem = regression(make, rank=7, count=50)
    gram, top, quadrature = by_every_route(problem, point_of(problem), dense)
    for exact in (gram, top):
        assert (exact.value == 13).all()
        assert (exact.low == 13).all()
        assert (exact.high == 13).all()
    assert (quadrature.low <= 13).all()
    assert (quadrature.high >= 13).all()
    assert (quadrature.high - quadrature.low).max() < 10
    for none in by_every_route(problem, point_of(problem), dense, penalty=0.1):
        np.testing.assert_allclose(none.value, 0, atol=1e-9, err_msg=none.route)
        assert not none.low.any()


def test_more_examples_change_the_count_until_the_rank_is_full(make):
    counts, ratios = [], []
    for number in (2, 4, 8, 16, 32):
        problem = regression(make, rank=7, count=number)
        found = spectrum(problem, point_of(problem), problem.train)
        counts.append(found.count(TAUS).value[4])
        ratios.append(found.rank_bound / 20)
    assert counts == [18, 16, 13, 13, 13]
    assert ratios == [0.1, 0.2, 0.4, 0.8, 1.6]


def trained(make, seed=0, examples=40):
    """An MLP of 621 parameters, trained to a squared error of 0 by Gauss-Newton steps of least length."""
    torch.manual_seed(seed)
    x, y = torch.randn(examples, 8), torch.randn(examples, 1, dtype=torch.float64)
    problem = make(mlp((8,), 1, width=20, depth=2), x, y, loss=squared_error)
    theta, x = point_of(problem).theta, x.double()
    for _ in range(60):
        rows = torch.autograd.functional.jacobian(lambda at: problem.outputs(at, {}, x)[:, 0], theta)
        off = problem.outputs(theta, {}, x)[:, 0] - y[:, 0]
        theta = theta - 0.7 * torch.linalg.lstsq(rows, off, driver="gelsd").solution
    return problem, Point(theta.detach(), {})


def test_a_network_that_fits_has_the_nullity_of_its_hessian_by_every_route(make, dense):
    problem, point = trained(make)
    x, y = next(iter(problem.train))
    assert float(problem.mean_loss(point.theta, {}, x, y)) < 1e-25
    hessian = dense(problem, point)
    sizes = torch.linalg.eigvalsh(hessian).abs().numpy()
    nullity = int((sizes <= TAUS[4]).sum())
    assert nullity == 621 - 40
    found = reconcile(by_every_route(problem, point, dense, limit=620))
    for count in found.counts:
        assert count.low[4] <= nullity <= count.high[4], count.route
    assert found.value[4] == nullity
    assert found.agree.all()
    assert found.counts[0].low[4] == found.counts[0].high[4] == nullity
    assert found.counts[1].low[4] == found.counts[1].high[4] == nullity
    rows = generators(problem, point, x[:8], y[:8]).basis().rows
    assert len(rows) == 20 + 20
    assert float((rows @ hessian).norm()) < 1e-12 * float(hessian.norm())


def test_on_the_complement_of_symmetries_the_count_is_that_of_the_matrix_there(mlp_case, dense):
    problem, point = mlp_case
    rows = generators(problem, point, *next(iter(problem.train))).basis().rows
    hessian = dense(problem, point)
    _, _, basis = torch.linalg.svd(rows)
    rest = basis[len(rows) :]
    sizes = torch.linalg.eigvalsh(rest @ hessian @ rest.T).abs().numpy()
    taus = np.geomspace(1e-3, 1, 9)
    count = outside(Complement(Dense(hessian), symmetry=rows), taus[0]).count(taus).without(len(rows))
    true = [(sizes <= tau).sum() for tau in taus.tolist()]
    assert count.value.tolist() == count.low.tolist() == count.high.tolist() == true
    ggn = spectrum(problem, point, problem.train)
    sizes = np.sort(np.concatenate([ggn.values, np.zeros(ggn.zeros)]))[len(rows) :]
    assert ggn.count(taus).without(len(rows)).value.tolist() == [(sizes <= tau).sum() for tau in taus.tolist()]
    assert len(rows) == 10 + 6


def test_the_narrowest_interval_is_taken_at_each_tolerance():
    one = curve("quadrature", [10, 20], [8, 19], [12, 21])
    other = curve("gram", [11, 22], [11, 18], [11, 25])
    found = reconcile([one, other])
    assert found.routes.tolist() == ["gram", "quadrature"]
    assert (found.value.tolist(), found.low.tolist(), found.high.tolist()) == ([11, 20], [11, 19], [11, 21])
    assert found.agree.all()
    assert found.apart == ()
    assert found.counts == (one, other)


def test_routes_that_contradict_each_other_are_named_and_kept():
    counts = [curve("quadrature", [10, 20], [9, 19], [11, 21]), curve("top", [14, 20], [13, 20], [15, 20])]
    found = reconcile([*counts, curve("gram", [12, 20], [9, 19], [15, 21])])
    assert found.agree.tolist() == [False, True]
    assert found.apart == (("quadrature", "top"),)
    assert [count.route for count in found.counts] == ["quadrature", "top", "gram"]


def test_a_route_without_a_value_is_taken_last():
    nothing = curve("top", [np.nan, 20], [0, 20], [1, 20])
    found = reconcile([nothing, curve("quadrature", [3, 20], [0, 10], [30, 30])])
    assert found.routes.tolist() == ["quadrature", "top"]


def test_counts_at_other_tolerances_are_not_reconciled():
    one = curve("top", [1, 2], [1, 2], [1, 2])
    with pytest.raises(ValueError, match="same tolerances"):
        reconcile([one, replace(one, taus=np.array([0.1, 2.0]))])
    with pytest.raises(ValueError, match="must be one"):
        reconcile([])


def test_the_result_has_the_count_at_one_tolerance_and_every_curve():
    counts = [curve("quadrature", [10, 20], [9, 19], [11, 21]), curve("top", [14, 20], [13, 20], [15, 20])]
    found = dimensions.result(reconcile(counts), 1.0).variables
    single = {name: variable.values.item() for name, variable in found.items() if not variable.dims}
    assert single == {
        "tau": 1.0,
        "dimension": 20.0,
        "dimension_low": 20.0,
        "dimension_high": 20.0,
        "dimension_route": "top",
        "dimension_agrees": True,
    }
    assert found["dimension_curve_quadrature_high"].values.tolist() == [11, 21]
    assert found["dimension_curve_route"].values.tolist() == ["quadrature", "top"]
    assert {variable.dims for variable in found.values()} == {(), ("tolerance",)}


def test_null_directions_are_taken_off_but_never_below_none():
    count = curve("gram", [10, 20], [2, 19], [11, 21]).without(5)
    assert (count.value.tolist(), count.low.tolist(), count.high.tolist()) == ([5, 15], [0, 14], [6, 16])


def test_a_path_is_constant_where_no_difference_is_told():
    found = constancy.constancy([0.0, 0.5, 1.0], [0, 2, -1], [0, -3, -4], [0, 7, 2])
    assert not found.differs.any()
    assert found.statement == "no difference is shown: nowhere can it be more than 7 from that at t = 0"


def test_a_path_s_first_other_dimensions_are_named():
    found = constancy.constancy([0.0, 0.25, 0.5, 1.0], [0, 2, 40, -30], [0, -3, 31, -39], [0, 7, 49, -21])
    assert found.differs.tolist() == [False, False, True, True]
    assert found.statement == "not constant: another than at t = 0 at t = 0.5, 1; first by +40"
    result = constancy.result(found)
    assert result.variables["dimension_constant"].values == found.statement
    assert result.variables["dimension_differs"].values.tolist() == [False, False, True, True]


def test_exact_counts_are_compared_by_their_bounds():
    counts = [10, 12, 20], [8, 9, 18], [11, 15, 21]
    found = constancy.separate([0.0, 0.5, 1.0], *counts, bounds=[True] * 3)
    assert (found.low.tolist(), found.high.tolist()) == ([0, -2, 7], [0, 7, 13])
    assert found.differs.tolist() == [False, False, True]


def test_counts_are_compared_only_where_both_have_bounds():
    counts = [10, 30, 20], [8, 29, 18], [11, 31, 21]
    found = constancy.separate([0.0, 0.5, 1.0], *counts, bounds=[True, False, True])
    assert (found.low.tolist(), found.high.tolist()) == ([0, -np.inf, 7], [0, np.inf, 13])
    assert found.statement == "not constant: another than at t = 0 at t = 1; first by +10"
    found = constancy.separate([0.0, 0.5, 1.0], *counts, bounds=[False, True, True])
    assert not found.differs.any()


def test_nothing_is_told_from_a_single_probe():
    found = constancy.constancy([0.0, 1.0], [0, 3], [0, -np.inf], [0, np.inf])
    assert "cannot be told" in found.statement


def test_all_comparisons_hold_together():
    assert constancy.level(2) == pytest.approx(0.95)
    assert constancy.level(6) == pytest.approx(0.99)
    assert constancy.level(1) == pytest.approx(0.95)
