import math

import numpy as np
import pytest

from rashomon_cli.core.errors import UsageError
from rashomon_cli.operations.check import CheckConfig, check
from rashomon_cli.operations.connect import ConnectConfig, connect
from rashomon_cli.operations.connecting import simplex
from rashomon_cli.operations.headlines import headlines
from rashomon_cli.operations.ls import LsConfig, ls
from rashomon_cli.operations.probe import probe

SMALL = {"epochs": 2, "batch_size": 50, "points": 3, "draws": 3, "samples": "all", "precision": "float32"}
SMALL |= {"simplex": True}


def test_a_complex_is_a_run_of_its_own_kind(zoo, at):
    run = connect(at(zoo, name="complex"), ConnectConfig(a="a", b="b", bend=2, **SMALL))
    assert run.kind == "simplex"
    assert [(p.role, p.id) for p in run.record.parents] == [
        ("anchor-1", zoo.find("a").id),
        ("anchor-2", zoo.find("b").id),
    ]
    vertices = run.tensors("vertices.safetensors")["vertices"]
    assert vertices.shape == (2, zoo.find("a").metrics["parameters"])
    assert [entry.name for entry in ls(zoo, LsConfig(kind="simplex"))] == ["complex"]
    assert check(zoo, CheckConfig(read_data=True)).findings == []
    assert (run.metrics["anchor"], run.metrics["pair"]) == (["a", "b"], ["1-2"])
    assert list(headlines(run.metrics, 2)) == ["share_within", "via_barrier_loss_max"]
    with pytest.raises(UsageError, match="complex is a simplex"):
        probe(at(zoo), run="complex")


def test_the_volume_is_that_of_the_corners(zoo, at, plain):
    run = connect(at(zoo), ConnectConfig(a="a", b="b", bend=2, **SMALL))
    first, second = np.array(run.tensors("vertices.safetensors")["vertices"], dtype=np.float64)

    def area(anchor):
        one, two = first - anchor, second - anchor
        return math.sqrt((one @ one) * (two @ two) - (one @ two) ** 2) / 2

    areas = [area(plain(zoo.find(name)).flat().double().numpy()) for name in "ab"]
    assert run.metrics["log_volume"] == pytest.approx(math.log(sum(areas)), rel=1e-4)
    assert np.exp(run.measurements()["complex"]["log_volume"].values) == pytest.approx(areas, rel=1e-3)


def test_random_points_are_evaluated_with_statistics_of_their_own(zoo, at, plain):
    run = connect(at(zoo), ConnectConfig(a="c", b="d", **SMALL))
    group = run.measurements()["complex"]
    names = plain(zoo.find("c")).names
    vertex = np.array(run.tensors("vertices.safetensors")["vertices"])[0]
    for point in (0, 5):
        anchor = zoo.find("cd"[int(group["simplex"].values[point]) - 1])
        share, rest = group["weight"].values[point]
        state, at_ = dict(anchor.tensors()), 0
        for name in names:
            size = np.array(state[name]).size
            part = vertex[at_ : at_ + size].reshape(np.array(state[name]).shape)
            state[name], at_ = (share * np.array(state[name]) + rest * part).astype(np.float32), at_ + size
        expected = plain(anchor, state).with_own_statistics().figures()
        assert group["train_loss"].values[point] == pytest.approx(expected["train_loss"], abs=2e-3)
    assert group["weight"].values.sum(1) == pytest.approx(np.ones(6))


def test_the_share_within_and_its_volume(zoo, at):
    wide = connect(at(zoo), ConnectConfig(a="a", b="b", epsilon=100, **SMALL)).metrics
    assert wide["share_within"] == pytest.approx(1.0)
    assert wide["log_volume_within"] == pytest.approx(wide["log_volume"])
    assert 0 < wide["log_volume_within_stderr"] < 1
    run = connect(at(zoo), ConnectConfig(a="a", b="b", epsilon=0, **SMALL))
    none = run.metrics
    group = run.measurements()["complex"]
    low = (group["train_loss"].values <= max(none["anchor_loss"])).reshape(2, 3).mean(1)
    assert none["share_within"] == pytest.approx(float(low @ group["share"].values))
    assert none["max_loss"] == group["train_loss"].values.max()


def test_a_vertex_between_two_anchors_makes_a_polyline_that_is_lower_than_the_line(zoo, teach, at):
    teach(zoo, "x", seed=3, lr=0.3, epochs=10)
    teach(zoo, "y", seed=4, lr=0.3, epochs=10)
    options = SMALL | {"epochs": 30, "lr": 0.1, "points": 5}
    bent = connect(at(zoo), ConnectConfig(a="x", b="y", volume=0, **options)).metrics["via_barrier_loss_max"]
    del options["simplex"], options["draws"]
    line = connect(at(zoo), ConnectConfig(a="x", b="y", **options | {"epochs": 1})).metrics["line_barrier_loss"]
    assert bent < line / 2


def test_a_heavier_volume_makes_a_larger_complex(zoo, at):
    volumes = [
        connect(at(zoo), ConnectConfig(a="a", b="b", volume=weight, **SMALL | {"epochs": 6})).metrics["log_volume"]
        for weight in (0.0, 1.0)
    ]
    assert volumes[1] > volumes[0]


@pytest.mark.parametrize("stop_after", [3, 11, 20, 25])
def test_an_interrupted_complex_ends_as_it_would_have(zoo, twin, at, stop_after):
    config = ConnectConfig(a="a", b="b", bend=2, **SMALL)
    expected = connect(at(zoo), config)
    with pytest.raises(KeyboardInterrupt):
        connect(at(twin, stop_after), config)
    run = connect(at(twin), config)
    assert run.metrics == expected.metrics
    one, two = (r.tensors("vertices.safetensors")["vertices"] for r in (expected, run))
    assert np.array_equal(one, two)


def test_the_plan_counts_every_forward_pass(zoo, at):
    steps = [s.forward_passes for s in simplex.plan(at(zoo), ConnectConfig(a="a", b="b", bend=2, **SMALL)).steps()]
    each = 400 + zoo.find("a").record.data["test_count"]
    assert steps == [2 * 2 * 200, (3 + 2) * each, 2 * 3 * each]
