"""What the three ways to join more than two models have in common."""

import numpy as np
import pytest

from rashomon_cli.operations.connect import ConnectConfig, connect
from rashomon_cli.operations.plot import PlotConfig, plot

SMALL = {"epochs": 2, "batch_size": 50, "points": 3, "samples": 50, "precision": "float32"}
WAYS = {"star": SMALL, "simplex": SMALL | {"draws": 2}, "graph": {"points": 3, "samples": 50}}
FIGURES = {"star": ["training", "spokes"], "simplex": ["training", "spokes", "simplex"], "graph": ["graph"]}


def join_all(context, way, *names, **options):
    named = {"a": names[0], "b": names[1], "others": names[2:]}
    return connect(context, ConnectConfig(**named, **{way: True}, **WAYS[way] | options))


@pytest.mark.parametrize("way", WAYS)
def test_each_is_drawn(zoo, at, tmp_path, way):
    run = join_all(at(zoo, name="it"), way, "a", "b")
    files = plot(at(zoo), PlotConfig(run=run.name, out=tmp_path))
    assert [file.name for file in files if file.suffix == ".png"] == [f"it-{name}.png" for name in FIGURES[way]]
    assert all(file.stat().st_size > 2000 for file in files)


@pytest.mark.parametrize("way", WAYS)
def test_regression_has_losses_in_its_own_units_and_no_errors(zoo, teach, at, regression, way):
    for seed in (1, 2):
        teach(zoo, f"r{seed}", model="mlp(width=4)", data=regression, loss="mse", seed=seed, lr=0.01)
    run = join_all(at(zoo), way, "r1", "r2")
    assert not any("error" in name for name in run.metrics)
    found = [v for group in run.measurements().values() for n, v in group.items() if n.endswith("loss")]
    assert {variable.units for variable in found} == {"1"}
    assert all(np.isfinite(v.values).any() for v in found)


@pytest.mark.parametrize("way", ["star", "simplex"])
def test_a_point_of_a_path_may_be_an_anchor(zoo, at, way):
    run = join_all(at(zoo), way, "c", "cd@0.5", "d")
    assert [parent.t for parent in run.record.parents] == [None, 0.5, None]
    assert run.measurements()["anchors"]["anchor"].values.tolist() == ["c", "cd@0.5", "d"]


@pytest.mark.parametrize("way", ["star", "simplex"])
def test_other_data_and_losses_are_told(zoo, teach, at, way):
    teach(zoo, "x", data="digits(train=150)", seed=7)
    context = at(zoo)
    join_all(context, way, "a", "x")
    assert any("x on digits(train=150); the first is used" in note for note in context.progress.notes)


@pytest.mark.parametrize("way", WAYS)
def test_the_seed_decides(zoo, at, way):
    one, same, other = (join_all(at(zoo, again=True), way, "a", "b", seed=seed) for seed in (1, 1, 2))
    assert one.metrics == same.metrics
    assert one.metrics != other.metrics


def test_requests_of_two_models_keep_their_keys():
    record = ConnectConfig(a="a", b="b").record()
    assert not {"others", "star", "simplex", "graph", "epsilon", "volume", "draws"} & set(record)
