"""The local learning coefficient, as ``probe`` stores it."""

from __future__ import annotations

import math

import pytest

from rashomon_cli.core.options import build
from rashomon_cli.operations.probe import ProbeConfig, plan, probe
from rashomon_cli.operations.quantities.llc import LlcConfig
from rashomon_cli.operations.quantities.machinery import MachineryConfig
from rashomon_cli.science import learning_coefficient

SMALL = {"llc_samples": 60, "llc_chains": 2, "llc_draws": 12, "llc_burn_in": 6, "llc_batch": 30}


def measure(context, run, settings=None, **options):
    chosen = {"llc": build(LlcConfig, SMALL | (settings or {})), "machinery": MachineryConfig(machinery_samples=40)}
    return probe(context, build(ProbeConfig, {"run": run, "what": "llc", "points": 2} | options), chosen)


def test_a_model_has_a_coefficient_with_its_error_and_the_walks(zoo, at):
    run = measure(at(zoo), "a")
    m, found = run.metrics, run.measurements()["probe"]
    assert m["llc_low"] < m["llc"] < m["llc_high"]
    assert m["llc_stderr"] > 0
    assert found["llc_excess"].dims == ("chain", "step")
    assert found["llc_excess"].values.shape == (2, 18)
    # λ̂ = nβ · mean excess of the draws, β = 1 / log n
    assert m["llc"] == pytest.approx(60 / math.log(60) * found["llc_excess"].values[:, 6:].mean())
    assert isinstance(m["llc_concerns"], str)
    assert measure(at(zoo, again=True), "a").metrics == m
    assert measure(at(zoo), "a", seed=1).metrics["llc"] != m["llc"]


def test_a_path_beside_another_quantity_with_steps(zoo, at):
    run = measure(at(zoo), "cd", what="llc,machinery")
    found = run.measurements()["probe"]
    assert found["llc_excess"].dims == ("t", "chain", "llc_step_index")
    assert found["step"].dims == ("step",)
    assert len(run.metrics["llc"]) == len(run.metrics["llc_stderr"]) == 2
    assert measure(at(zoo), "cd@1").metrics["llc"] == pytest.approx(run.metrics["llc"][1], rel=0.1)


def test_an_interrupted_one_goes_on_behind_the_last_point(zoo, at, monkeypatch):
    whole = measure(at(zoo), "ab")
    seen = []
    original = learning_coefficient.learning_coefficient

    def counted(problem, point, **options):
        seen.append(point.t)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return original(problem, point, **options)

    monkeypatch.setattr(learning_coefficient, "learning_coefficient", counted)
    with pytest.raises(KeyboardInterrupt):
        measure(at(zoo, again=True), "ab")
    run = measure(at(zoo, again=True), "ab")
    assert seen == [0, 1, 1]
    assert run.metrics == whole.metrics


def test_a_plan_counts_steps(zoo, at):
    asked = build(ProbeConfig, {"run": "a", "what": "llc"})
    (step,) = plan(at(zoo), asked, {"llc": build(LlcConfig, SMALL)}).steps()
    assert step.forward_passes == 2 * 18 * 30
