from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from rashomon_cli.core.results import Result
from rashomon_cli.science.machinery import look, machinery
from rashomon_cli.science.paths import Path
from rashomon_cli.science.problem import Point
from rashomon_cli.science.representations import debiased_cka
from rashomon_cli.science.similarity import similarity

STEPS = [0.0, 0.5, 1.0]
CHANGES = ("cosine_change", "centred_change", "disagreement", "cka_change")


def looked(problem, thetas, other=None):
    return [look(problem, Point(theta, {}), test=problem.test, other=other) for theta in thetas]


@pytest.fixture
def measured(mlp_case):
    problem, point = mlp_case
    rng = torch.Generator().manual_seed(5)
    end = point.theta + torch.randn(point.theta.shape, generator=rng, dtype=torch.float64)
    path = Path("polyline", torch.stack([point.theta, end]))
    seen = looked(problem, [path.at(t) for t in STEPS], dataclasses.replace(problem.test, x=problem.test.x.flip(1)))
    return problem, path, seen, machinery(problem, path, STEPS, seen)


def test_a_constant_path_changes_nothing(mlp_case):
    problem, point = mlp_case
    path = Path("polyline", torch.stack([point.theta, point.theta]))
    found = machinery(problem, path, STEPS, looked(problem, [point.theta] * 3)).variables
    assert found["machinery_test_cosine"].values.tolist() == [1, 1, 1]
    for change in CHANGES:
        assert found[f"machinery_test_{change}"].values == pytest.approx(np.zeros(3), abs=1e-12), change
        assert found[f"machinery_test_{change}"].stderr == pytest.approx(np.zeros(3), abs=1e-12), change
    assert math.isnan(found["machinery_test_cosine_change_largest_step_share"].values)


def test_changes_are_those_of_compare_and_of_cka(measured):
    _, _, seen, result = measured
    found = result.variables
    for name in ("test", "ood"):
        matrices = similarity([each.tensors[f"{name}_outputs"] for each in seen])
        assert found[f"machinery_{name}_cosine"].values == pytest.approx(matrices["cosine"].values[0], abs=1e-12)
        assert found[f"machinery_{name}_cosine"].stderr[1:] == pytest.approx(matrices["cosine"].stderr[0, 1:])
        assert 1 - found[f"machinery_{name}_centred_change"].values == pytest.approx(
            matrices["cosine_centred"].values[0], abs=1e-12
        )
        assert found[f"machinery_{name}_disagreement"].values == pytest.approx(matrices["disagreement"].values[0])
        features = [torch.from_numpy(each.tensors[f"{name}_features"]) for each in seen]
        assert found[f"machinery_{name}_cka_change"].values == pytest.approx(
            [1 - debiased_cka(features[0], each).value for each in features], abs=1e-12
        )
        for change in CHANGES:
            ends = found[f"machinery_{name}_{change}_ends"]
            assert float(ends.values) == found[f"machinery_{name}_{change}"].values[-1] > 0
            assert float(ends.stderr) > 0
    assert result.metrics == {"machinery_module": "layers.5"}


def test_rates_are_changes_from_a_position_to_the_next_a_unit_of_length(measured):
    _, path, seen, result = measured
    found = result.variables
    length = path.arc_length([1.0])[0]
    assert found["arc_length"].values == pytest.approx([0, length / 2, length])
    assert found["step"].values == pytest.approx([length / 4, 3 * length / 4])
    matrices = similarity([each.tensors["test_outputs"] for each in seen])
    steps = np.diag(1 - matrices["cosine"].values, 1)
    rate = found["machinery_test_cosine_change_rate"]
    assert rate.values == pytest.approx(steps / (length / 2))
    share = found["machinery_test_cosine_change_largest_step_share"]
    assert float(share.values) == pytest.approx(steps.max() / steps.sum())
    assert 0 < float(share.stderr) < 0.2


def test_a_jump_shows_as_one_steps_share(mlp_case):
    problem, point = mlp_case
    path = Path("polyline", torch.stack([point.theta, point.theta + 1]))
    thetas = [point.theta, point.theta, -point.theta, -point.theta]
    found = machinery(problem, path, np.linspace(0, 1, 4).tolist(), looked(problem, thetas)).variables
    for change in CHANGES:
        assert float(found[f"machinery_test_{change}_largest_step_share"].values) == pytest.approx(1), change
        assert found[f"machinery_test_{change}_rate"].values.argmax() == 1


def test_regression_has_cosines_of_outputs_and_no_disagreement(mlp_case):
    problem, point = mlp_case
    problem = dataclasses.replace(problem, classifies=False)
    path = Path("polyline", torch.stack([point.theta, -point.theta]))
    seen = [Result(tensors={"test_outputs": np.full((10, 2), value)}, metrics={"module": None}) for value in (1, -1)]
    found = machinery(problem, path, [0, 1], seen).variables
    assert found["machinery_test_cosine"].values.tolist() == pytest.approx([1, -1])
    assert not [name for name in found if "disagreement" in name or "cka" in name]
