"""How far the loss stays within ε along chosen directions, as ``probe`` stores it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rashomon_cli.core.errors import UsageError
from rashomon_cli.core.options import build
from rashomon_cli.operations.probe import ProbeConfig, plan, probe
from rashomon_cli.operations.quantities.reach import ReachConfig
from rashomon_cli.science import rays

SMALL = {"reach_near_null": 2, "reach_random": 1, "reach_top": 1, "reach_degree": 10, "reach_samples": 100}
LINEAR = """
from torch import nn

def make(input_shape, num_classes):
    return nn.Linear(3, 2)
"""


def measure(context, run, settings=None, **options):
    chosen = build(ReachConfig, SMALL | {"reach_matrix_samples": 100} | (settings or {}))
    return probe(context, build(ProbeConfig, {"run": run, "what": "reach", "points": 3} | options), {"reach": chosen})


def test_along_the_steepest_direction_of_a_quadratic_it_solves_an_equation(zoo, at, teach, regression, tmp_path):
    (tmp_path / "linear.py").write_text(LINEAR)
    model = teach(zoo, "line", model=f"{tmp_path / 'linear.py'}:make", data=regression, loss="mse", lr=0.02)
    run = measure(at(zoo), "line", {"reach_samples": "all", "reach_epsilon": 0.3, "reach_near_null": 0}, float64=True)
    weights = {name: torch.from_numpy(np.array(value)).double() for name, value in model.tensors().items()}
    with np.load(regression.removeprefix("npz:")) as data:
        x, y = (torch.from_numpy(data[f"{name}_train"]) for name in "xy")
    inputs = torch.cat([x, torch.ones(len(x), 1)], 1)
    hessian = inputs.T @ inputs / len(x)  # of each output; the loss is the mean over two, half the sum of squares
    values, vectors = torch.linalg.eigh(hessian)
    assert run.metrics["reach_kind"] == ["top", "random"]
    curvature = run.metrics["reach_curvature"][0]
    assert curvature == pytest.approx(float(values[-1]), rel=1e-3)
    residual = inputs @ torch.cat([weights["weight"], weights["bias"][:, None]], 1).T - y
    gradient = residual.T @ inputs / len(x)
    # Both outputs have the same Hessian: the direction is the eigenvector, shared among them in some way.
    steep = gradient @ vectors[:, -1]
    slope = run.metrics["reach_order_1"][0]
    assert abs(slope) <= float(steep.norm()) * (1 + 1e-6)
    roots = [(-s * slope + np.sqrt(slope**2 + 2 * curvature * 0.3)) / curvature for s in (1, -1)]
    assert [run.metrics[f"reach_{side}"][0] for side in ("plus", "minus")] == pytest.approx(roots, rel=1e-2)
    assert run.metrics["reach_order_2"][0] == pytest.approx(curvature / 2, rel=1e-6)
    assert run.metrics["reach_tau"] == pytest.approx(0.6)


def test_a_path_has_directions_of_each_kind_at_its_points(zoo, at):
    run = measure(at(zoo), "cd")
    found = run.measurements()["probe"]
    assert found["reach_kind"].values.tolist() == [["top", "near_null", "near_null", "tangent", "random"]] * 3
    for name in ("reach_plus", "reach_minus", "reach_curvature", "reach_order_4"):
        assert found[name].dims == ("t", "direction"), name
        assert np.shape(run.metrics[name]) == (3, 5), name
    assert run.metrics["reach_kind"] == found["reach_kind"].values.tolist()
    assert np.shape(run.metrics["reach_plus_stderr"]) == (3, 5)
    assert (found["reach_plus"].values > 0).all()
    assert found["reach_plus"].stderr.shape == (3, 5)
    assert len(run.metrics["matvecs"]) == 3
    vectors = run.tensors("vectors.safetensors")
    assert {n: v.shape for n, v in vectors.items()}.keys() == {f"{k}/reach/vectors_near_null" for k in range(3)}
    one = measure(at(zoo), "cd@0.5")
    assert one.metrics["reach_kind"] == found["reach_kind"].values[1].tolist()
    assert one.metrics["reach_plus"] == pytest.approx(found["reach_plus"].values[1].tolist(), rel=1e-2)


def test_of_another_split_matrix_and_of_some_layers(zoo, at):
    train, test, ggn, layer = (
        measure(at(zoo), "a", more) for more in ({}, {"split": "test"}, {"matrix": "ggn"}, {"layers": "layers.1"})
    )
    loss = probe(at(zoo), run="a", what="loss").metrics["test_loss"]
    assert measure(at(zoo), "a", {"split": "test", "reach_samples": "all"}).metrics["reach_loss"] == pytest.approx(loss)
    assert test.metrics["reach_loss"] != train.metrics["reach_loss"] == ggn.metrics["reach_loss"]
    assert ggn.metrics["reach_curvature"] != train.metrics["reach_curvature"]
    size = zoo.find("a").tensors()["layers.1.weight"].size + zoo.find("a").tensors()["layers.1.bias"].size
    assert layer.tensors("vectors.safetensors")["0/reach/vectors_near_null"].shape == (2, size)
    each = measure(at(zoo), "a", {"by": "layer"})
    assert each.metrics["reach_plus"][0] == layer.metrics["reach_plus"]
    assert each.metrics["reach_kind"] == [layer.metrics["reach_kind"]] * 3
    assert "0/reach/layers.3/vectors_near_null" in each.tensors("vectors.safetensors")


def test_without_a_direction_a_model_is_refused_and_a_path_has_its_tangent(zoo, at):
    none = {"reach_near_null": 0, "reach_random": 0, "reach_top": 0}
    before = len(zoo.rows())
    with pytest.raises(UsageError, match="no direction to follow"):
        measure(at(zoo), "a", none)
    assert len(zoo.rows()) == before
    assert measure(at(zoo), "ab@0.5", none).metrics["reach_kind"] == ["tangent"]


def test_refreshed_statistics_and_a_cut_off(zoo, at):
    few = {"reach_near_null": 0, "reach_top": 0}
    frozen, refreshed, cut = (
        measure(at(zoo), "c", few | more) for more in ({}, {"reach_batchnorm": "refreshed"}, {"reach_max": 1e-3})
    )
    assert frozen.metrics["reach_plus"] != refreshed.metrics["reach_plus"]
    assert cut.metrics["reach_censored_plus"] == cut.metrics["reach_censored_minus"] == [1]
    assert cut.metrics["reach_plus"] == [1e-3]
    assert "vectors.safetensors" not in {artifact.path for artifact in cut.record.artifacts}


def test_an_interrupted_one_goes_on_behind_the_last_point(zoo, at, monkeypatch):
    whole = measure(at(zoo), "ab", points=2)
    seen = []
    original = rays.rays

    def counted(problem, point, **options):
        seen.append(point.t)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return original(problem, point, **options)

    monkeypatch.setattr(rays, "rays", counted)
    with pytest.raises(KeyboardInterrupt):
        measure(at(zoo, again=True), "ab", points=2)
    run = measure(at(zoo, again=True), "ab", points=2)
    assert seen == [0, 1, 1]
    assert run.metrics == whole.metrics


def test_a_run_takes_the_losses_of_its_plan_or_fewer(zoo, at, passes):
    settings = build(ReachConfig, SMALL | {"reach_matrix_samples": 100, "reach_near_null": 0, "reach_top": 0})
    asked = build(ProbeConfig, {"run": "a", "what": "reach"})
    losses, curvatures = plan(at(zoo), asked, {"reach": settings}).steps()
    run = probe(at(zoo), asked, {"reach": settings})
    ends = run.metrics["reach_plus"] + run.metrics["reach_minus"]
    # Doubling from max/1024 passes the end, six bisections follow, and the fit takes six distances of each ray.
    searched = [1 + math.ceil(math.log2(1024 * end / settings.reach_max)) + 6 for end in ends]
    assert 0 <= passes["evaluate"] - 100 * (1 + sum(searched) + 2 * 6) < 10, "few to try the module"
    assert losses.forward_passes == 100 * (1 + 2 * (11 + 6) + 2 * 6)
    assert max(searched) <= 17
    assert (curvatures.forward_passes, curvatures.vectors) == (100, 1) == (100, run.metrics["matvecs"])


def test_a_run_takes_the_products_of_its_plan(zoo, at, passes):
    settings = {"reach": build(ReachConfig, SMALL | {"reach_matrix_samples": 100})}
    asked = build(ProbeConfig, {"run": "a", "what": "reach"})
    losses, *products = plan(at(zoo), asked, settings).steps()
    run = probe(at(zoo), asked, settings)
    planned = sum(step.forward_passes * step.vectors for step in products) / 100
    assert run.metrics["matvecs"] == pytest.approx(planned, rel=0.1)  # the search for pairs may take a little more
    assert losses.forward_passes / 2 < passes["evaluate"] <= losses.forward_passes + 10
