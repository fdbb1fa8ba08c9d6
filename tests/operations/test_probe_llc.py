"""The local learning coefficient, as ``probe`` stores it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rashomon_cli.core.errors import UsageError
from rashomon_cli.core.options import build
from rashomon_cli.operations.probe import ProbeConfig, plan, probe
from rashomon_cli.operations.quantities.llc import LlcConfig
from rashomon_cli.operations.quantities.machinery import MachineryConfig
from rashomon_cli.science import learning_coefficient

SMALL = {"llc_samples": 60, "llc_chains": 2, "llc_draws": 12, "llc_burn_in": 6, "llc_batch": 30}


def measure(context, run, settings=None, **options):
    chosen = {"llc": build(LlcConfig, SMALL | (settings or {})), "machinery": MachineryConfig(machinery_samples=40)}
    given = {"run": run, "what": "llc", "points": 2} | options
    return probe(context, build(ProbeConfig, given), {name: chosen[name] for name in given["what"].split(",")})


def test_a_model_has_a_coefficient_with_its_error_and_the_walks(zoo, at):
    run = measure(at(zoo), "a")
    m, found = run.metrics, run.measurements()["probe"]
    assert m["llc_low"] < m["llc"] < m["llc_high"]
    assert m["llc_stderr"] > 0
    assert found["llc_excess"].dims == ("chain", "step")
    assert found["llc_excess"].values.shape == (2, 18)
    # λ̂ = nβ · mean excess of the draws, β = 1 / log n, less what minibatches add
    assert m["llc"] + m["llc_heat"] == pytest.approx(60 / math.log(60) * found["llc_excess"].values[:, 6:].mean())
    assert m["llc_heat"] > 0
    assert isinstance(m["llc_concerns"], str)
    assert measure(at(zoo, again=True), "a").metrics == m
    assert measure(at(zoo), "a", seed=1).metrics["llc"] != m["llc"]


def test_of_another_split_and_of_some_layers(zoo, at):
    found = [measure(at(zoo), "a", more).metrics["llc"] for more in ({}, {"split": "test"}, {"layers": "layers.1"})]
    assert len(set(found)) == 3
    layers = measure(at(zoo), "a", {"by": "layer"})
    assert layers.metrics["layer"] == ["layers.1", "layers.3", "layers.5"]
    assert layers.metrics["llc"][0] == found[2]
    assert layers.measurements()["probe"]["llc_excess"].dims == ("layer", "chain", "step")


def test_a_path_beside_another_quantity_with_steps(zoo, at):
    run = measure(at(zoo), "cd", what="llc,machinery")
    found = run.measurements()["probe"]
    assert found["llc_excess"].dims == ("t", "chain", "llc_step_index")
    assert found["step"].dims == ("step",)
    assert len(run.metrics["llc"]) == len(run.metrics["llc_stderr"]) == 2
    assert measure(at(zoo), "cd@1").metrics["llc"] == pytest.approx(run.metrics["llc"][1], rel=0.1)


def test_an_interrupted_one_goes_on_behind_the_last_chain(zoo, at, monkeypatch):
    whole = measure(at(zoo), "ab")
    seen = []
    original = learning_coefficient.one_chain

    def counted(problem, point, **options):
        seen.append((point.t, options["index"]))
        if len(seen) == 4:
            raise KeyboardInterrupt
        return original(problem, point, **options)

    monkeypatch.setattr(learning_coefficient, "one_chain", counted)
    with pytest.raises(KeyboardInterrupt):
        measure(at(zoo, again=True), "ab")
    run = measure(at(zoo, again=True), "ab")
    assert seen == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 1)]
    assert run.metrics == whole.metrics
    found = [r.measurements()["probe"]["llc_excess"].values for r in (run, whole)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("batch", [30, 60], ids=["minibatches", "all examples"])
def test_a_run_takes_what_its_plan_says(zoo, at, passes, batch):
    asked = build(ProbeConfig, {"run": "a", "what": "llc"})
    small = SMALL | {"llc_draws": 45, "llc_burn_in": 20, "llc_batch": batch}
    given = {"llc": build(LlcConfig, small | {"llc_step": 1e-4})}
    context = at(zoo)
    probe(context, asked, given)
    assert passes["train"] == {step.kind: step.forward_passes for step in plan(context, asked, given).steps()}["train"]
    assert passes["evaluate"] - 2 * 60 < 10, "the losses of the point, once a chain; few to try the module"
    # What the search for a first step adds is not known beforehand.
    passes["train"], found = 0, {"llc": build(LlcConfig, small)}
    probe(context, asked, found)
    assert passes["train"] == pytest.approx(plan(context, asked, found).steps()[1].forward_passes, rel=0.1)


def test_the_step_and_the_temperature_may_be_given(zoo, at):
    found = measure(at(zoo), "a", {"llc_step": 1e-5, "llc_inverse_temperature": 30.0})
    assert found.metrics["llc_step"] == 1e-5
    assert found.metrics["llc_inverse_temperature"] == 30.0
    assert found.metrics["llc"] + found.metrics["llc_heat"] == pytest.approx(
        30 * found.measurements()["probe"]["llc_excess"].values[:, 6:].mean(), rel=1e-9
    )
    for name in ("llc_step", "llc_inverse_temperature"):
        with pytest.raises(UsageError, match=name.replace("_", "-")):
            build(LlcConfig, {name: 0.0})


def test_the_progress_bar_knows_the_minibatches(zoo, at, monkeypatch):
    context, announced = at(zoo), []
    monkeypatch.setattr(context.progress, "start", lambda title, steps: announced.append(steps))
    measure(context, "a", {"llc_draws": 45, "llc_burn_in": 20, "llc_step": 1e-4})
    # Of those that look at themselves the halves come one by one: 5 of 91 gradients.
    assert context.progress.ticks == pytest.approx(announced[0], rel=0.07)
