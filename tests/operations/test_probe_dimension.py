"""The number of eigenvalues near 0, as ``probe`` stores it."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.options import build
from rashomon_cli.operations.probe import ProbeConfig, plan, probe
from rashomon_cli.operations.quantities.density import DensityConfig
from rashomon_cli.operations.quantities.dimension import DimensionConfig
from rashomon_cli.operations.train import TrainConfig, train
from rashomon_cli.science import dimension as science
from rashomon_cli.science.spectra import null_directions
from rashomon_cli.science.spectra.generators import Generators

QUICK = {"dimension_routes": "quadrature", "dimension_probes": 2, "dimension_steps": 10, "dimension_deflate": 3}
NAMES = ("tau", "dimension", "dimension_low", "dimension_high", "dimension_route", "matvecs")


def measure(context, run, settings=None, **options):
    chosen = build(DimensionConfig, QUICK | {"samples": "all"} | (settings or {}))
    given = {"run": run, "what": "dimension", "points": 3} | options
    density = build(DensityConfig, {"samples": "all", "density_probes": 3, "density_steps": 6})
    several = {"dimension": chosen, "density": density}
    asked = {name: several[name] for name in given["what"].split(",")}
    return probe(context, build(ProbeConfig, given), asked)


def counted(matrix, taus):
    sizes = torch.linalg.eigvalsh(matrix).abs().numpy()
    return (sizes <= np.reshape(taus, (-1, 1))).sum(1)


def test_the_interval_of_each_route_has_the_count_of_the_dense_hessian(zoo, at, plain):
    settings = {"dimension_routes": "gram,top,quadrature", "dimension_steps": 40, "dimension_limit": 700}
    run = measure(at(zoo), "a", settings, float64=True)
    m, found = run.metrics, {name: v.values for name, v in run.measurements()["probe"].items()}
    _, hessian = plain(zoo.find("a")).matrices()
    assert m["tau"] == pytest.approx(0.1)
    assert m["dimension_low"] <= counted(hessian, m["tau"])[0] <= m["dimension_high"]
    assert m["dimension_low"] <= m["dimension"] <= m["dimension_high"]
    assert m["dimension_route"] in ("gram", "top", "quadrature")
    assert m["dimension_agrees"] is True
    assert m["dimension_less_symmetries"] < m["dimension"]
    assert not [name for name in m if "curve" in name], "curves are in metrics.h5"
    exact = counted(hessian, found["dimension_curve_taus"])
    for route in ("gram", "top", "quadrature"):
        assert (found[f"dimension_curve_{route}_low"] <= exact).all(), route
        assert (exact <= found[f"dimension_curve_{route}_high"]).all(), route
    assert m["dimension_rank_ratio"] == pytest.approx(200 * 9 / len(hessian), rel=0.2)


def test_by_layer_each_interval_has_the_count_of_the_dense_block(zoo, at, plain):
    model, settings = plain(zoo.find("a")), {"dimension_routes": "top,quadrature", "dimension_steps": 40, "by": "layer"}
    run = measure(at(zoo), "a", settings, float64=True)
    owners = [n.rpartition(".")[0] for n, p in model.module.named_parameters() for _ in range(p.numel())]
    m, (_, hessian) = run.metrics, model.matrices()
    assert m["layer"] == list(dict.fromkeys(owners))
    masks = [torch.tensor([owner == layer for owner in owners]) for layer in m["layer"]]
    exact = np.array([counted(hessian[mask][:, mask], 0.1)[0] for mask in masks])
    assert (np.array(m["dimension_low"]) <= exact).all()
    assert (exact <= np.array(m["dimension_high"])).all()
    assert isinstance(m["matvecs"], int)
    # What moves one layer alone: unit 0 of the last gains and another loses, of its biases and weights.
    assert m["dimension_symmetries"] == [0, 0, 9]
    one = measure(at(zoo), "a", settings | {"by": "whole", "layers": "layers.3"}, float64=True)
    assert one.metrics["dimension"] == m["dimension"][1]


def test_by_layer_along_a_path_it_is_constant_or_not_in_each(zoo, at, monkeypatch):
    settings = {"by": "layer", "layers": "layers.3,layers.5"}
    run = measure(at(zoo), "ab", settings, points=2)
    m = run.metrics
    assert np.shape(m["dimension"]) == np.shape(m["dimension_change"]) == (2, 2)
    assert len(m["dimension_constant"]) == 2
    change = np.array(m["dimension"])[1] - np.array(m["dimension"])[0]
    assert (np.array(m["dimension_change_low"])[1] <= change + 1e-6).all()
    assert (change - 1e-6 <= np.array(m["dimension_change_high"])[1]).all()
    seen, original = [], science.one_piece

    def counting(problem, point, **options):
        seen.append((point.t, options["layers"]))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return original(problem, point, **options)

    monkeypatch.setattr(science, "one_piece", counting)
    with pytest.raises(KeyboardInterrupt):
        measure(at(zoo, again=True), "ab", settings, points=2)
    again = measure(at(zoo, again=True), "ab", settings, points=2)
    assert seen == [(0, "layers.3"), (0, "layers.5"), (0, "layers.5"), (1, "layers.3"), (1, "layers.5")]
    assert again.metrics == m
    assert list(again.metrics) == list(m), "in the same order, too"


@pytest.mark.parametrize(
    "settings", [{"by": "layer", "dimension_probes": 5}, {"dimension_probes": 5, "dimension_routes": "top,quadrature"}]
)
def test_of_all_layers_and_pieces_of_a_point_symmetries_are_found_once(zoo, at, monkeypatch, settings):
    seen, bases, original, basis = [], [], null_directions.generators, Generators.basis
    monkeypatch.setattr(
        null_directions, "generators", lambda p, point, *a: seen.append(point.t) or original(p, point, *a)
    )
    monkeypatch.setattr(Generators, "basis", lambda self, memory: bases.append(1) or basis(self, memory))
    measure(at(zoo), "ab", settings | {"dimension_steps": 2, "dimension_deflate": 0}, points=2)
    assert seen == [0, 1]
    assert len(bases) == 2 * (3 if "by" in settings else 1)
    gc.collect()
    held = null_directions._DIRECTIONS._held, null_directions._GENERATORS._held
    assert held == (None, None), "the points are gone, and with them what was found there"


def test_a_path_has_a_list_of_them_and_says_whether_it_is_constant(zoo, at):
    run = measure(at(zoo), "cd", points=2)
    for name in NAMES:
        assert len(run.metrics[name]) == 2, name
    assert run.metrics["dimension_route"] == ["quadrature", "quadrature"]
    found = run.measurements()["probe"]
    assert found["dimension_curve"].dims == found["dimension_curve_route"].dims == ("t", "tolerance")
    assert found["dimension_density_alpha"].values.shape == (2, 2, 10)
    assert run.metrics["dimension_change"][0] == 0
    assert run.metrics["dimension_change_low"][1] <= run.metrics["dimension_change"][1]
    one = measure(at(zoo), "cd@1")
    assert one.metrics["dimension"] == pytest.approx(run.metrics["dimension"][1], rel=1e-3)
    assert one.metrics["dimension_route"] == "quadrature"
    assert "dimension_change" not in one.metrics


def test_words_survive_an_interruption(zoo, at, monkeypatch):
    whole = measure(at(zoo), "ab", points=2)
    seen = []
    original = science.one_piece

    def counts(problem, point, **options):
        seen.append(point.t)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return original(problem, point, **options)

    monkeypatch.setattr(science, "one_piece", counts)
    with pytest.raises(KeyboardInterrupt):
        measure(at(zoo, again=True), "ab", points=2)
    run = measure(at(zoo, again=True), "ab", points=2)
    assert seen == [0, 1, 1]
    assert run.metrics == whole.metrics
    routes = run.measurements()["probe"]["dimension_curve_route"].values
    assert set(routes.ravel().tolist()) == {"quadrature"}


@pytest.mark.parametrize("by", ["whole", "layer"])
def test_an_interrupted_one_goes_on_behind_the_last_piece(zoo, at, monkeypatch, by):
    settings = {"dimension_routes": "gram,top,quadrature", "dimension_probes": 9, "by": by, "layers": "layers.5"}
    whole = measure(at(zoo), "a", settings)
    seen, original = [], science.one_piece

    def counted(problem, point, **options):
        seen.append(options["index"])
        if seen.count(seen[-1]) == 1 and seen[-1] in (1, 2, 4):
            raise KeyboardInterrupt
        null_directions._DIRECTIONS.drop()
        null_directions._GENERATORS.drop()
        return original(problem, point, **options)

    monkeypatch.setattr(science, "one_piece", counted)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            measure(at(zoo, again=True), "a", settings)
    run = measure(at(zoo, again=True), "a", settings)
    assert seen == [0, 1, 1, 2, 2, 3, 4, 4], "three blocks of probes, then gram, then top"
    assert run.metrics == whole.metrics
    assert list(run.metrics) == list(whole.metrics)
    found, wanted = (each.measurements()["probe"] for each in (run, whole))
    for name, variable in wanted.items():
        np.testing.assert_array_equal(found[name].values, variable.values, err_msg=name)
    assert wanted["dimension_density_alpha"].values.shape[-2:] == (9, 10)
    assert [each.path for each in run.record.artifacts] == ["metrics.h5"], "what pieces need is not published"


def test_a_plan_counts_what_its_blocks_take(zoo, at):
    asked = build(ProbeConfig, {"run": "a", "what": "dimension"})
    settings = build(DimensionConfig, QUICK | {"dimension_probes": 9, "samples": 100, "dimension_deflate": 0})
    steps = [step for step in plan(at(zoo), asked, {"dimension": settings}).steps() if "probes" in step.title]
    assert [(step.forward_passes, step.vectors) for step in steps] == [(20 * 100, 4), (10 * 100, 1)]
    run = measure(at(zoo), "a", {"dimension_probes": 9, "samples": 100, "dimension_deflate": 0})
    assert run.metrics["matvecs"] == 9 * 10


def test_a_density_beside_it_keeps_its_own_probes(zoo, at):
    run = measure(at(zoo), "a", what="density,dimension")
    found = run.measurements()["probe"]
    assert found["density_alpha"].values.shape == (3, 6)
    assert found["dimension_density_alpha"].values.shape == (2, 10)
    assert found["dimension_density_alpha"].dims == ("dimension_probe", "dimension_lanczos_step")
    alone = [measure(at(zoo), "a", what=what).metrics["matvecs"] for what in ("density", "dimension")]
    assert run.metrics["matvecs"] == sum(alone)


def test_some_layers_of_another_matrix_with_the_penalty(zoo, at, plain):
    settings = {"layers": "layers.5", "matrix": "ggn", "dimension_routes": "gram", "dimension_epsilon": 1e-4}
    run = measure(at(zoo), "a", settings, float64=True)
    _, ggn = plain(zoo.find("a")).matrices(kind="ggn")
    block = ggn[-90:, -90:]
    assert run.metrics["dimension"] == counted(block, 2e-4)[0] > 9, "a shift of all logits is free in 9 rows"
    decayed = measure(at(zoo), "a", settings | {"with_decay": True}, float64=True)
    assert decayed.metrics["dimension"] == 0, "the penalty of 5e-4 is above τ"


def test_routes_are_checked(zoo, at):
    with pytest.raises(UsageError, match="no route 'topp'"):
        build(DimensionConfig, {"dimension_routes": "gram,topp"})
    with pytest.raises(UsageError, match="name at least one"):
        build(DimensionConfig, {"dimension_routes": ()})
    assert build(DimensionConfig, {"dimension_routes": " top,gram,top"}).dimension_routes == ("top", "gram")
    asked = build(ProbeConfig, {"run": "a", "what": "dimension"})
    passes = {"hessian": {"gram": 2, "top": 1, "quadrature": 3, "gram,top,quadrature": 6}, "ggn": {"gram": 1}}
    for matrix, counts in passes.items():
        for routes, count in counts.items():
            settings = build(DimensionConfig, {"dimension_routes": routes, "matrix": matrix})
            steps = plan(at(zoo), asked, {"dimension": settings}).steps()
            assert sum(step.title.startswith("dimension") for step in steps) == count, (matrix, routes)
    gram = plan(at(zoo), asked, {"dimension": build(DimensionConfig, {"dimension_routes": "gram"})}).steps()[0]
    assert (gram.forward_passes, gram.vectors) == (200, 5), "10 outputs, each half a product"
    tight = {"dimension_routes": "gram", "dimension_memory": 5e-4, "samples": 20}
    for more, calls in (({}, 6), ({"by": "layer"}, 6), ({"layers": "layers.5"}, 1)):
        settings = build(DimensionConfig, tight | more)
        gram = plan(at(zoo), asked, {"dimension": settings}).steps()[0]
        assert gram.forward_passes == 20 * calls, more


def test_memory_is_in_gib_and_bounds_routes_and_symmetries(zoo, at):
    settings = {"dimension_routes": "gram,quadrature", "matrix": "ggn"}
    ample = measure(at(zoo), "a", settings)
    small = measure(at(zoo), "a", settings | {"dimension_memory": 1e-4})
    found = small.measurements()["probe"]
    assert (ample.metrics["dimension_route"], small.metrics["dimension_route"]) == ("gram", "quadrature")
    assert str(found["dimension_gram_refused"].values).endswith("more than 0.0001")
    assert ample.metrics["dimension_symmetries"] > 0 == small.metrics["dimension_symmetries"]
    assert "directions of symmetries of" in str(found["dimension_symmetries_lacking"].values)
    assert np.isnan(found["dimension_less_symmetries"].values)
    assert found["dimension_less_symmetries_low"].values == 0
    assert "dimension_memory" not in build(DimensionConfig, {"dimension_memory": 2}).record()
    with pytest.raises(UsageError, match="dimension-memory"):
        build(DimensionConfig, {"dimension_memory": 0})


ONCE = """
from torch import nn


def network(input_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Hardsigmoid(), nn.Linear(4, num_classes))
"""


def test_where_every_route_is_refused_nothing_is_left(zoo, at, tmp_path):
    (tmp_path / "once.py").write_text(ONCE)
    settings = {"model": f"{tmp_path}/once.py:network", "data": "digits(train=100)", "epochs": 1, "lr": 1e-3}
    context = at(zoo)
    name = train(context, build(TrainConfig, settings)).name
    before = {run.id for run in zoo.runs()}
    with pytest.raises(Refused, match="no second derivative"):
        measure(context, name, {"dimension_routes": "top,quadrature", "dimension_probes": 9, "samples": 20})
    assert {run.id for run in zoo.runs()} == before
    assert {path.name for path in (zoo.root / "runs").iterdir()} == before


def test_a_point_that_is_finished_keeps_no_pieces(zoo, at, monkeypatch):
    original = science.one_piece

    def counted(problem, point, **options):
        if point.t == 1:
            raise KeyboardInterrupt
        return original(problem, point, **options)

    monkeypatch.setattr(science, "one_piece", counted)
    with pytest.raises(KeyboardInterrupt):
        measure(at(zoo), "ab", {"dimension_probes": 5}, points=2)
    assert [path.name for path in zoo.root.glob("runs/*/parts/*")] == ["dimension-0.h5"]
