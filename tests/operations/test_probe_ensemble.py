from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.options import build
from rashomon_cli.operations.probe import ProbeConfig, plan, probe
from rashomon_cli.operations.quantities import QUANTITIES
from rashomon_cli.operations.quantities.ensemble import EnsembleConfig
from rashomon_cli.science import ensembles
from rashomon_cli.sources.arrays import Data


def three_classes():
    """A data set of digits' shape with fewer classes."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (40, 1, 8, 8)).astype(np.uint8)
    return Data(x, np.arange(40) % 3, x[:10], np.arange(10) % 3)


def other_images():
    """As many classes as digits has, other test images."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (40, 1, 8, 8)).astype(np.uint8)
    return Data(x, np.arange(40) % 10, x[:10], np.arange(10))


def measure(context, run, settings=None, **options):
    chosen = build(EnsembleConfig, settings or {})
    return probe(context, build(ProbeConfig, {"run": run, "what": "ensemble"} | options), {"ensemble": chosen})


@pytest.fixture
def looked(monkeypatch):
    """How many models were looked at."""
    seen = []
    original = ensembles.predictions

    def counted(*given, **options):
        seen.append(given)
        return original(*given, **options)

    monkeypatch.setattr(ensembles, "predictions", counted)
    return seen


def test_quantities_that_need_more_are_measured_only_where_they_are_named():
    assert ProbeConfig(run="a").what == ("loss", "gradient", "hvp", "distance")
    assert {q.name for q in QUANTITIES if q.default} == {"loss", "gradient", "hvp", "distance"}
    roles = [(q.gathering.against or "").removeprefix(f"{q.name}_") for q in QUANTITIES if q.gathering]
    assert len(set(filter(None, roles))) == len(list(filter(None, roles))), "roles of parents tell the quantity"


def test_members_are_the_points_of_the_path_and_figures_those_of_plain_pytorch(zoo, at, plain):
    run = measure(at(zoo), "ab", {"ensemble_k": 3, "ensemble_against": "a,b"})
    a, b = (plain(zoo.find(name)) for name in "ab")
    bend = torch.from_numpy(zoo.find("ab").tensors("path.safetensors")["bends"].copy())[0]
    middle = a.flat() / 4 + bend / 2 + b.flat() / 4
    x, y = a.x["test"], a.y["test"]

    def probabilities(theta):
        torch.nn.utils.vector_to_parameters(theta, a.module.parameters())
        return a.module.eval()(x).softmax(1).detach().double()

    each = [probabilities(theta) for theta in (a.flat(), middle, b.flat())]
    for name, chosen in (("ensemble", each), ("independent", [each[0], each[2]])):
        mean = torch.stack(chosen).mean(0)
        assert run.metrics[f"{name}_loss"] == pytest.approx(float(-mean[range(len(y)), y].log().mean()), rel=1e-5)
        assert run.metrics[f"{name}_error"] == pytest.approx(100 * float((mean.argmax(1) != y).double().mean()))
    errors = [100 * float((p.argmax(1) != y).double().mean()) for p in each]
    assert run.metrics["member_error"] == pytest.approx(errors)
    assert run.metrics["member_error_best"] == pytest.approx(min(errors))
    assert run.metrics["member"] == [0, 0.5, 1]
    curve = zoo.find("ab").measurements()["curve"]
    assert run.metrics["member_loss"] == pytest.approx(curve["test_loss"].values[::2].tolist(), rel=1e-5)
    found = run.metrics["ensemble_minus_independent_loss"]
    assert found == pytest.approx(run.metrics["ensemble_loss"] - run.metrics["independent_loss"], abs=1e-9)
    assert run.metrics["ensemble_minus_independent_loss_low"] < found
    assert found < run.metrics["ensemble_minus_independent_loss_high"]
    assert run.metrics["ensemble_averages"] == "probabilities"


def test_the_paths_ends_are_the_independents_where_none_are_named(zoo, at):
    ends, named = measure(at(zoo), "ab"), measure(at(zoo), "ab", {"ensemble_against": ("a", "b")})
    assert ends.id != named.id
    assert ends.metrics.keys() == named.metrics.keys()
    for name in [name for name, value in ends.metrics.items() if isinstance(value, float)]:
        value = ends.metrics[name]
        assert named.metrics[name] == pytest.approx(value, rel=1e-5, abs=1e-7), name
    assert [p.role for p in ends.record.parents] == ["subject"]
    assert [(p.role, p.id) for p in named.record.parents[1:]] == [
        ("against-1", zoo.find("a").id), ("against-2", zoo.find("b").id),
    ]  # fmt: skip


def test_ends_with_batchnorm_are_the_same_models_beside_the_path(zoo, at):
    ends, named = measure(at(zoo), "cd"), measure(at(zoo), "cd", {"ensemble_against": "c,d"})
    for name in ("independent_loss", "independent_error", "independent_disagreement"):
        assert named.metrics[name] == pytest.approx(ends.metrics[name], rel=1e-5), name


def test_models_of_another_network_may_stand_beside(zoo, at):
    run = measure(at(zoo), "ab", {"ensemble_against": "c,d"})
    alone = measure(at(zoo), "cd", {"ensemble_k": 2})
    assert run.metrics["independent_loss"] == pytest.approx(alone.metrics["ensemble_loss"], rel=1e-5)
    assert {step.problem for step in plan_of(at(zoo), "ab", ensemble_against="c,d").steps()} == set(
        plan_of(at(zoo), "ab", ensemble_against="c,d").problems
    )


def plan_of(context, run, **settings):
    given = {"ensemble": build(EnsembleConfig, settings)}
    return plan(context, build(ProbeConfig, {"run": run, "what": "ensemble", "refresh_samples": 50}), given)


def test_the_key_knows_the_models_not_their_names_and_no_points(zoo, at, looked):
    run = measure(at(zoo), "ab", {"ensemble_against": "c"})
    count = len(looked)
    assert measure(at(zoo), "ab", {"ensemble_against": zoo.find("c").id}, points=9).id == run.id
    assert measure(at(zoo), "ab", {"ensemble_against": "d"}).id != run.id
    assert len(looked) == count + 6
    assert run.record.config["settings"] == {"ensemble": {"ensemble_k": 5, "ensemble_samples": "all"}}
    assert "points" not in run.record.config


@pytest.mark.parametrize(("stop", "left"), [(0, 5), (2, 3), (4, 1)])
def test_an_interrupted_ensemble_goes_on_behind_the_last_model(zoo, at, looked, stop, left):
    # A model takes one step: the MLP has no BatchNorm to refresh, and its test examples are one batch.
    settings = {"ensemble_k": 3, "ensemble_against": "a,d"}
    whole = measure(at(zoo), "ab", settings)
    with pytest.raises(KeyboardInterrupt):
        measure(at(zoo, stop, again=True), "ab", settings)
    looked.clear()
    run = measure(at(zoo, again=True), "ab", settings)
    assert len(looked) == left
    assert run.metrics == whole.metrics


def test_a_plan_counts_each_model(zoo, at):
    steps = {s.title: s.forward_passes for s in plan_of(at(zoo), "ab", ensemble_against="c", ensemble_k=4).steps()}
    assert steps == {
        "ensemble: predictions at 4 points": 4 * 360,
        "ensemble: BatchNorm refreshed at 4 points": 4 * 50,
        "ensemble: predictions at c": 360,
        "ensemble: BatchNorm refreshed at c": 50,
    }


def test_regression_averages_outputs(zoo, at, teach, join, regression):
    for seed in (1, 2):
        teach(zoo, f"line{seed}", data=regression, loss="mse", seed=seed, lr=0.02)
    join(zoo, "line1", "line2", name="lines", lr=0.01)
    run = measure(at(zoo), "lines")
    assert run.metrics["ensemble_averages"] == "outputs"
    assert run.metrics["ensemble_minus_member_mean_loss"] < 0
    assert not [name for name in run.metrics if "error" in name or "accuracy" in name]
    assert run.measurements()["probe"]["ensemble_loss"].units == "1"
    with pytest.raises(Refused, match="a does classify, lines does not"):
        measure(at(zoo), "lines", {"ensemble_against": "a"})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ensemble_against": "a,a"}, "--ensemble-against names a twice"),
        ({"ensemble_against": "a,nobody"}, "no run 'nobody'"),
        ({"ensemble_against": "cd"}, "cd is a path"),
        ({"ensemble_against": "ab"}, "--ensemble-against names ab itself"),
        ({"ensemble_k": 1}, "--ensemble-k = 1"),
        ({"ensemble_samples": 1}, "--ensemble-samples = 1"),
    ],
)
def test_what_cannot_be_an_ensemble_is_refused_before_anything_begins(zoo, at, settings, words):
    before = len(zoo.rows())
    with pytest.raises(UsageError, match=words):
        measure(at(zoo), "ab", settings)
    assert len(zoo.rows()) == before


@pytest.mark.parametrize("subject", ["a", "ab@0.5"])
def test_a_model_is_no_path_also_beside_what_it_has(zoo, at, subject):
    for what in ("ensemble", "loss,ensemble"):
        with pytest.raises(UsageError, match=f"ensemble needs a path, {subject} is a model"):
            measure(at(zoo), subject, what=what)


def test_models_of_other_classes_or_test_examples_are_refused(zoo, at, teach):
    teach(zoo, "few", data=f"{__file__}:three_classes", epochs=1)
    teach(zoo, "foreign", data=f"{__file__}:other_images", epochs=1)
    teach(zoo, "more", data="digits(train=300)", epochs=1)
    with pytest.raises(Refused, match="few and ab have different numbers of outputs: 3 and 10"):
        measure(at(zoo), "ab", {"ensemble_against": "few"})
    with pytest.raises(Refused, match="foreign and ab have different test examples"):
        measure(at(zoo), "ab", {"ensemble_against": "foreign"})
    assert measure(at(zoo), "ab", {"ensemble_against": "more"}).metrics["ensemble_independent_models"] == 1


def test_the_command_line_shows_members_in_a_table_of_their_own(zoo, rashomon):
    flags = ["--what", "ensemble,distance", "--ensemble-k", 3, "--points", 2, "--ensemble-against", "a,c"]
    shown = rashomon("probe", "ab", *flags, "--store", zoo.root, "--name", "ens")
    assert shown.code == 0, shown.err
    assert ["member", "0", "0.5", "1"] in [line.split() for line in shown.out.splitlines()]
    found = json.loads(rashomon("show", "ens", "--json", "--store", zoo.root).out)
    assert [p["role"] for p in found["parents"]] == ["subject", "against-1", "against-2"]
    assert found["metrics"]["t"] == [0, 1]
    drawn = rashomon("plot", "ens", "--what", "ensemble", "--store", zoo.root)
    assert drawn.out.split() == ["ens-ensemble.png", "ens-ensemble.svg"]


def test_members_and_positions_of_one_number_stand_in_tables_of_their_own(zoo, at, rashomon):
    chosen = {"ensemble": build(EnsembleConfig, {"ensemble_k": 3})}
    run = probe(at(zoo), build(ProbeConfig, {"run": "ab", "what": "ensemble,machinery,loss", "points": 3}), chosen)
    table, under = "", {}
    for line in rashomon("show", run.name, "--store", zoo.root).out.splitlines():
        first = (line.split() or [""])[0]
        table = first if first in ("t", "member", "step") else table
        under.setdefault(first, table)
    assert (under["train_loss"], under["member_loss"]) == ("t", "member")
    assert (under["machinery_test_cosine"], under["machinery_test_cosine_change_rate"]) == ("t", "step")
