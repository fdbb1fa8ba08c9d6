from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.core.results import Result
from rashomon_cli.science.ensembles import combine, ensemble, middles, predictions
from rashomon_cli.science.paths import Path
from rashomon_cli.science.problem import Point, squared_error

PATH = Path("polyline", torch.zeros(2, 1))


def outputs_of(tensor):
    return Result(tensors={"outputs": np.asarray(tensor)})


def values(result):
    return {name: variable.values.tolist() for name, variable in result.variables.items()}


def random_members(problem, count, seed=0):
    rng = np.random.default_rng(seed)
    return [outputs_of(2 * rng.normal(size=(problem.test.count, 3))) for _ in range(count)]


def test_probabilities_are_averaged_not_logits(mlp_case):
    problem, _ = mlp_case
    outputs = torch.tensor([[[0.0, 2000.0, 0.0]], [[2000.0, 0.0, 0.0]]], dtype=torch.float64)
    assert combine(problem, outputs).exp().numpy() == pytest.approx(np.array([[0.5, 0.5, 0]]))
    squared = dataclasses.replace(problem, loss=squared_error)
    assert torch.equal(combine(squared, outputs), outputs.mean(0))


def test_equal_members_are_as_good_as_one_and_independents_are_the_ends(mlp_case):
    problem, _ = mlp_case
    one = random_members(problem, 1)[0]
    found = values(ensemble(problem, PATH, [0, 0.5, 1], [one] * 3, [], batches=problem.test))
    for name, value in found.items():
        if "_minus_" in name or "disagreement" in name:
            assert value == pytest.approx(0, abs=1e-12), name
    assert found["ensemble_loss"] == pytest.approx(found["member_loss_mean"])
    assert found["ensemble_accuracy"] == pytest.approx(1 - found["ensemble_error"] / 100)


def test_figures_are_those_of_a_slow_loop(mlp_case):
    problem, _ = mlp_case
    members, others = random_members(problem, 4), random_members(problem, 2, 1)
    found = ensemble(problem, PATH, [0, 1 / 3, 2 / 3, 1], members, others, batches=problem.test)
    y = problem.test.y.numpy()
    p = np.exp([m.tensors["outputs"] for m in members + others])
    p /= p.sum(-1, keepdims=True)
    rows = np.arange(len(y))
    each = -np.log(p[:, rows, y])
    wrong = 100.0 * (p.argmax(-1) != y)

    def whole(chosen):
        mean = p[chosen].mean(0)
        return {"loss": -np.log(mean[rows, y]), "error": 100.0 * (mean.argmax(-1) != y)}

    groups = {"ensemble": whole([0, 1, 2, 3]), "independent": whole([4, 5]), "equal": whole([1, 2])}
    got = found.variables
    for measure, singles in (("loss", each[:4]), ("error", wrong[:4])):
        best = singles[singles.mean(1).argmin()]
        assert got[f"member_{measure}"].values == pytest.approx(singles.mean(1))
        assert float(got[f"member_{measure}_best"].values) == pytest.approx(best.mean())
        for name, group in groups.items():
            assert float(got[f"{name}_{measure}"].values) == pytest.approx(group[measure].mean()), name
        pairs = {
            "ensemble_minus_member_mean": groups["ensemble"][measure] - singles.mean(0),
            "ensemble_minus_member_best": groups["ensemble"][measure] - best,
            "ensemble_minus_independent": groups["ensemble"][measure] - groups["independent"][measure],
            "equal_minus_independent": groups["equal"][measure] - groups["independent"][measure],
        }
        for name, difference in pairs.items():
            variable = got[f"{name}_{measure}"]
            error = difference.std(ddof=1) / math.sqrt(len(y))
            assert float(variable.values) == pytest.approx(difference.mean(), abs=1e-10), name
            assert float(variable.stderr) == pytest.approx(error), name
            ends = [float(got[f"{name}_{measure}_{side}"].values) for side in ("low", "high")]
            assert ends == pytest.approx([difference.mean() + z * error for z in (-1.96, 1.96)], abs=1e-4 * error)
    classes = p.argmax(-1)
    pairs = [(classes[i] != classes[j]).mean() for i, j in itertools.combinations(range(4), 2)]
    assert float(got["member_disagreement"].values) == pytest.approx(np.mean(pairs))
    assert float(got["independent_disagreement"].values) == pytest.approx((classes[4] != classes[5]).mean())
    assert got["equal_member"].values.tolist() == pytest.approx([1 / 3, 2 / 3])


def test_the_ensembles_loss_is_never_above_its_mean_members(mlp_case):
    problem, _ = mlp_case
    found = ensemble(problem, PATH, [0, 1], random_members(problem, 2), [], batches=problem.test).variables
    assert float(found["ensemble_minus_member_mean_loss"].values) < 0  # −log is convex


@given(st.integers(1, 30).flatmap(lambda k: st.tuples(st.just(k), st.integers(1, k))))
def test_the_middles_are_different_members(sizes):
    members, count = sizes
    found = middles(members, count)
    assert len(set(found)) == count
    assert found == sorted(found)
    assert min(found) >= 0
    assert max(found) < members


@given(st.integers(1, 60).flatmap(lambda k: st.tuples(st.just(k), st.integers(1, k))))
def test_the_middles_of_a_path_are_those_of_its_reverse(sizes):
    members, count = sizes
    found = middles(members, count)
    mirrored = [members - 1 - each for each in reversed(found)]
    if members % 2 == 0 and count % 2:  # none of the members is in the middle
        middle = count // 2
        assert (found.pop(middle), mirrored.pop(middle)) == (members // 2 - 1, members // 2)
    assert found == mirrored
    for i, member in enumerate(middles(members, count)):
        assert abs(member - (2 * i + 1) * (members - 1) / (2 * count)) <= 0.5


def test_two_of_five_are_those_at_a_quarter_and_three_quarters():
    assert middles(5, 2) == [1, 3]
    assert middles(5, 5) == [0, 1, 2, 3, 4]
    assert middles(5, 1) == [2]
    assert middles(5, 4) == [0, 1, 3, 4]
    assert middles(4, 3) == [0, 1, 3]


def test_more_independents_than_members_leave_no_equal_ensemble(mlp_case):
    problem, _ = mlp_case
    found = ensemble(
        problem, PATH, [0, 1], random_members(problem, 2), random_members(problem, 3, 1), batches=problem.test
    )
    assert not [name for name in found.variables if "equal" in name]


def test_regression_averages_outputs_and_has_losses_only(function_problem):
    problem = dataclasses.replace(
        function_problem(lambda theta: theta.sum(-1), 1), loss=squared_error, classifies=False
    )
    members = [outputs_of(np.full((8, 1), value)) for value in (1.0, -1.0)]
    found = ensemble(problem, PATH, [0, 1], members, [], batches=problem.test)
    got = values(found)
    assert (got["ensemble_loss"], got["member_loss_mean"]) == (0, 1)
    assert not [name for name in got if "error" in name or "accuracy" in name or "disagreement" in name]
    assert found.metrics["ensemble_averages"] == "outputs"


def test_predictions_are_outputs_in_order_and_in_the_problems_precision(mlp_case):
    problem, point = mlp_case
    found = predictions(problem, Point(point.theta, {}), batches=dataclasses.replace(problem.test, batch_size=50))
    whole = problem.outputs(point.theta, {}, problem.test.x)
    assert found.tensors["outputs"] == pytest.approx(whole.detach().numpy(), abs=1e-14)
    assert found.tensors["outputs"].dtype == np.float64
