import itertools

import numpy as np
import pytest
import torch

from rashomon_cli.core.errors import Refused
from rashomon_cli.operations.compare import compare
from rashomon_cli.operations.connect import ConnectConfig, connect
from rashomon_cli.operations.connecting import star
from rashomon_cli.operations.headlines import headlines
from rashomon_cli.operations.ls import LsConfig, ls
from rashomon_cli.operations.probe import probe

SMALL = {"epochs": 4, "batch_size": 50, "points": 5, "samples": "all", "precision": "float32", "star": True}


@pytest.fixture
def three(zoo, teach):
    """The zoo with a third CNN, ``e``."""
    teach(zoo, "e", seed=3, model="smallcnn(width=4)", lr=0.3)
    return zoo


def flat(run):
    names = [n for n in run.tensors() if "running" not in n and "num_batches" not in n]
    return {n: torch.from_numpy(np.array(run.tensors()[n])) for n in names}


def test_a_star_is_a_model_with_figures_of_its_own(three, at, plain):
    run = connect(at(three, name="hub"), ConnectConfig(a="c", b="d", others=("e",), **SMALL))
    assert (run.kind, run.record.operation) == ("model", "connect")
    assert [(p.role, p.id) for p in run.record.parents] == [
        (f"anchor-{k}", three.find(n).id) for k, n in enumerate("cde", 1)
    ]
    twin = plain(run).with_own_statistics().figures()
    for name, value in twin.items():
        assert run.metrics[name] == pytest.approx(value, abs=2e-3), name
    assert run.metrics["anchors"] == 3


def test_barriers_are_those_of_the_lines_in_plain_pytorch(three, at, plain):
    run = connect(at(three), ConnectConfig(a="c", b="d", others=("e",), **SMALL))
    anchors = [three.find(name) for name in "cde"]

    def losses(one, other):
        found = []
        for t in np.linspace(0, 1, 5):
            state = dict(one.tensors())
            state |= {
                n: np.array((1 - t) * np.array(v) + t * np.array(other.tensors()[n]))
                for n, v in state.items()
                if "num_batches" not in n
            }
            state = {n: v.astype(np.array(one.tensors()[n]).dtype) for n, v in state.items()}
            found.append(plain(one, state).with_own_statistics().figures()["train_loss"])
        return np.array(found)

    spokes = [losses(run, anchor) for anchor in anchors]
    expected = [s.max() - max(s[0], s[-1]) for s in spokes]
    assert run.metrics["barrier_loss"] == pytest.approx(expected, abs=2e-3)
    assert run.metrics["barrier_loss_max"] == max(run.metrics["barrier_loss"])
    via = [
        np.concatenate([one, other]).max() - max(one[-1], other[-1]) for one, other in itertools.combinations(spokes, 2)
    ]
    assert run.metrics["via_barrier_loss"] == pytest.approx(via, abs=2e-3)
    straight = losses(anchors[0], anchors[1])
    assert run.metrics["line_barrier_loss"][0] == pytest.approx(
        straight.max() - max(straight[0], straight[-1]), abs=2e-3
    )
    groups = run.measurements()
    assert {f"spoke-{k}" for k in (1, 2, 3)} < set(groups)
    assert groups["spoke-2"]["train_loss"].values == pytest.approx(spokes[1], abs=2e-3)
    matrix = groups["anchors"]["via_barrier_loss"].values
    assert matrix[0, 2] == matrix[2, 0] == run.metrics["via_barrier_loss"][1]
    assert groups["anchors"]["anchor"].values.tolist() == ["c", "d", "e"]
    assert (run.metrics["anchor"], run.metrics["pair"]) == (["c", "d", "e"], ["1-2", "1-3", "2-3"])
    assert list(headlines(run.metrics, 2)) == ["test_accuracy", "via_barrier_loss_max"]


def test_training_lowers_the_barriers(zoo, teach, at):
    teach(zoo, "x", seed=3, lr=0.3, epochs=10)
    teach(zoo, "y", seed=4, lr=0.3, epochs=10)
    metrics = connect(at(zoo), ConnectConfig(a="x", b="y", **SMALL | {"epochs": 30, "lr": 0.1})).metrics
    assert metrics["via_barrier_loss_max"] < metrics["line_barrier_loss_max"] / 2


def test_all_data_leave_no_error_and_a_sample_does(three, at):
    whole = connect(at(three), ConnectConfig(a="c", b="d", **SMALL)).metrics
    assert whole["barrier_loss_stderr"] == [0.0, 0.0]
    part = connect(at(three), ConnectConfig(a="c", b="d", **SMALL | {"samples": 60})).metrics
    assert part["line_barrier_loss_max_stderr"] > 0


@pytest.mark.parametrize("stop_after", [3, 12, 25])
def test_an_interrupted_star_ends_as_it_would_have(zoo, twin, at, stop_after):
    config = ConnectConfig(a="a", b="b", **SMALL)
    expected = connect(at(zoo), config)
    with pytest.raises(KeyboardInterrupt):
        connect(at(twin, stop_after), config)
    run = connect(at(twin), config)
    assert run.metrics == expected.metrics
    assert all(np.array_equal(value, run.tensors()[name]) for name, value in expected.tensors().items())
    assert connect(at(twin), config).id == run.id


def test_other_commands_take_the_hub_as_a_model(zoo, at):
    connect(at(zoo, name="hub"), ConnectConfig(a="a", b="b", **SMALL))
    probed = probe(at(zoo), run="hub", what="loss")
    assert probed.metrics["train_loss"] == pytest.approx(zoo.find("hub").metrics["train_loss"], abs=1e-6)
    assert compare(at(zoo), models=("hub", "a"), ood="digits").metrics["pairs"] == 1
    again = connect(at(zoo), ConnectConfig(a="hub", b="a", epochs=1, points=3, samples=50, precision="float32"))
    assert again.kind == "path"
    assert "hub" in {entry.name for entry in ls(zoo, LsConfig(kind="model", within=100.0))}


def test_the_plan_counts_every_forward_pass(zoo, at):
    context = at(zoo)
    config = ConnectConfig(a="c", b="d", **SMALL)
    steps = {step.title: step.forward_passes for step in star.plan(context, config).steps()}
    test = zoo.find("c").record.data["test_count"]
    positions = 3 + 3 * 3  # the hub and two anchors; two spokes and a line with three positions inside each
    assert list(steps.values()) == [4 * 200, 2 * 200 + test, positions * (400 + test)]


def test_options_of_other_ways_leave_the_key_alone(zoo, at):
    plan = star.plan(at(zoo), ConnectConfig(a="a", b="b", **SMALL))
    assert not {"bend", "kind", "epsilon", "volume", "draws", "graph", "simplex"} & set(plan.config)
    assert {"loss", "augment", "weight_decay", "star", "epochs", "seed"} <= set(plan.config)


def test_copies_of_one_model_are_no_anchors(zoo, at):
    with pytest.raises(Refused, match="a is named twice"):
        connect(at(zoo), a="a", b="b", others=("a",), star=True)
