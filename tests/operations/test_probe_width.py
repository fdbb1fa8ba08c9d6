from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from rashomon_cli.core.options import build
from rashomon_cli.operations.probe import ProbeConfig, plan, probe
from rashomon_cli.operations.quantities.width import WidthConfig
from rashomon_cli.science import reach
from rashomon_cli.science.curvature import random_units

SMALL = {"width_random": 2, "width_samples": 100, "width_project": 0}


def measure(context, run, settings=None, **options):
    chosen = build(WidthConfig, SMALL | (settings or {}))
    return probe(context, build(ProbeConfig, {"run": run, "what": "width", "points": 3} | options), {"width": chosen})


def test_the_loss_rises_by_epsilon_where_it_says(zoo, at, plain):
    run = measure(at(zoo), "a", {"width_samples": "all", "width_epsilon": 0.2}, float64=True, seed=3)
    model = plain(zoo.find("a"))
    theta, module = model.flat().double(), model.module.double().eval()
    x, y = model.x["train"].double(), model.y["train"]

    @torch.no_grad()
    def loss(at_):
        nn.utils.vector_to_parameters(at_, module.parameters())
        return float(nn.functional.cross_entropy(module(x), y))

    base = loss(theta)
    each = run.measurements()["probe"]["width_random_each"]
    assert each.dims == ("direction", "side")
    for unit, distances in zip(random_units(theta, 2, 3), each.values):
        for sign, distance in zip((1, -1), distances):
            assert (
                loss(theta + sign * 0.99 * distance * unit) < base + 0.2 < loss(theta + sign * 1.01 * distance * unit)
            )
    assert run.metrics["width_loss"] == pytest.approx(base)
    assert run.metrics["width_random"] == pytest.approx(each.values.mean())
    assert "width_random_each" not in run.metrics
    assert "width_random_ratio" not in run.metrics, "a single model does not vary"


def test_a_path_has_widths_at_its_points_across_it_and_their_ratio(zoo, at):
    run = measure(at(zoo), "ab", {"width_project": 2, "width_project_samples": 50})
    found = run.measurements()["probe"]
    for kind in ("random", "hessian_free"):
        assert found[f"width_{kind}"].dims == ("t",)
        assert found[f"width_{kind}"].stderr is not None
        assert found[f"width_{kind}_each"].dims == ("t", "direction", "side")
        assert (found[f"width_{kind}"].values > 0).all()
        widths = np.log(found[f"width_{kind}_each"].values.mean(2)).mean(1)
        assert run.metrics[f"width_{kind}_ratio"] == pytest.approx(np.exp(widths.max() - widths.min()))
    assert found["width_removed"].values.tolist() == [2, 2, 2]
    assert (found["width_hessian_free"].values != found["width_random"].values).all()
    one = measure(at(zoo), "ab@0.5", {"width_project": 2, "width_project_samples": 50})
    assert one.metrics["width_random"] == pytest.approx(run.metrics["width_random"][1], rel=1e-4)


def test_a_cut_off_is_told(zoo, at):
    run = measure(at(zoo), "ab", {"width_max": 0.001})
    assert run.metrics["width_random"] == pytest.approx([0.001] * 3)
    assert run.metrics["width_random_censored"] == [1] * 3
    assert (run.metrics["width_random_ratio"], run.metrics["width_random_ratio_censored"]) == (None, 1)
    assert run.metrics["width_max"] == [0.001] * 3


def test_statistics_are_frozen_at_the_point_unless_they_are_to_be_refreshed(zoo, at):
    frozen, refreshed = (measure(at(zoo), "cd", {"width_batchnorm": how}) for how in ("frozen", "refreshed"))
    assert frozen.metrics["width_random"] != refreshed.metrics["width_random"]
    assert frozen.metrics["width_loss"][0] != refreshed.metrics["width_loss"][0]
    kept = frozen.record.config["settings"]["width"]
    assert (kept["width_batchnorm"], kept["width_epsilon"]) == ("frozen", 0.05)


def test_an_interrupted_one_goes_on_behind_the_last_point(zoo, at, monkeypatch):
    whole = measure(at(zoo), "ab")
    seen = []
    original = reach.reach

    def counted(problem, point, **options):
        seen.append(point.t)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return original(problem, point, **options)

    monkeypatch.setattr(reach, "reach", counted)
    with pytest.raises(KeyboardInterrupt):
        measure(at(zoo, again=True), "ab")
    run = measure(at(zoo, again=True), "ab")
    assert seen == [0, 0.5, 0.5, 1]
    assert run.metrics == whole.metrics


def test_regression_has_a_width(zoo, at, teach, regression):
    teach(zoo, "line", data=regression, loss="mse", lr=0.02)
    run = measure(at(zoo), "line", {"width_project": 2})
    assert run.metrics["width_random"] > 0
    assert run.measurements()["probe"]["width_epsilon"].units == "1"


def test_a_plan_counts_what_a_run_takes_at_most(zoo, at):
    settings = build(WidthConfig, {"width_random": 2, "width_samples": 100, "width_project": 3})
    asked = build(ProbeConfig, {"run": "cd", "what": "width", "points": 3, "refresh_samples": 50})
    steps = plan(at(zoo), asked, {"width": settings}).steps()
    assert {s.title: s.forward_passes for s in steps} == {
        "width of 8 rays, 17 losses each at most at 3 points": 3 * (8 * 17 + 1) * 100,
        "width: 3 eigenvectors in about 21 products at 3 points": 3 * 21 * 200,
        "width: curvatures at 3 points": 3 * 2 * 200,
        "BatchNorm refreshed at 3 points": 3 * 50,
    }
    small = build(WidthConfig, SMALL)
    rays, refreshed = plan(at(zoo), asked, {"width": small}).steps()
    context = at(zoo)
    probe(context, asked, {"width": small})
    # One step a batch, and these samples are one batch each.
    assert context.progress.ticks <= rays.forward_passes / 100 + refreshed.forward_passes / 50
    assert context.progress.ticks > rays.forward_passes / 100 / 4


def test_directions_are_the_same_at_every_point(zoo, at, monkeypatch):
    drawn = []
    original = reach.without

    def kept(vectors, removed):
        drawn.append(vectors.clone())
        return original(vectors, removed)

    monkeypatch.setattr(reach, "without", kept)
    measure(at(zoo), "ab", points=2)
    assert torch.equal(*drawn)
