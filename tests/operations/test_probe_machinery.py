from __future__ import annotations

import numpy as np
import pytest

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.options import build
from rashomon_cli.operations.compare import compare
from rashomon_cli.operations.probe import ProbeConfig, plan, probe
from rashomon_cli.operations.quantities.machinery import MachineryConfig
from rashomon_cli.science import machinery

CHANGES = ("cosine_change", "centred_change", "disagreement", "cka_change")


def measure(context, run, settings=None, **options):
    chosen = build(MachineryConfig, settings or {})
    given = {"run": run, "what": "machinery", "points": 3} | options
    return probe(context, build(ProbeConfig, given), {"machinery": chosen})


def test_the_two_ends_differ_as_compare_says(zoo, at):
    everything = {"machinery_ood": "photos", "machinery_samples": "all"}
    run = measure(at(zoo), "ab", everything)
    pair = compare(at(zoo), models=("a", "b"), ood="photos,digits")
    groups = pair.measurements()
    for name, data in (("ood", "photos"), ("test", "digits")):
        matrices = groups[data]
        assert run.metrics[f"machinery_{name}_cosine"][-1] == pytest.approx(matrices["cosine"].values[0, 1], abs=1e-6)
        centred = 1 - run.metrics[f"machinery_{name}_centred_change_ends"]
        assert centred == pytest.approx(matrices["cosine_centred"].values[0, 1], abs=1e-6)
        found = run.metrics[f"machinery_{name}_disagreement"][-1]
        assert found == pytest.approx(matrices["disagreement"].values[0, 1], abs=1e-6)
    assert run.metrics["machinery_module"] == "layers.5"


def test_nothing_has_changed_at_the_start_and_length_is_that_of_the_path(zoo, at):
    run = measure(at(zoo), "cd", points=4)
    curve = measure(at(zoo), "cd", what="distance", points=4)
    assert run.metrics["arc_length"] == pytest.approx(curve.metrics["arc_length"])
    for change in CHANGES:
        assert run.metrics[f"machinery_test_{change}"][0] == pytest.approx(0, abs=1e-12)
        assert run.metrics[f"machinery_test_{change}"][-1] == run.metrics[f"machinery_test_{change}_ends"]
        assert len(run.metrics[f"machinery_test_{change}_rate"]) == 3
        assert 1 / 3 <= run.metrics[f"machinery_test_{change}_largest_step_share"] <= 1
    assert run.metrics["machinery_test_cosine"][0] == 1
    assert not [name for name in run.metrics if "ood" in name]
    assert run.metrics["machinery_module"] == "head"
    assert run.measurements()["probe"]["step"].dims == ("step",)


def test_other_data_are_part_of_the_request(zoo, at):
    runs = [measure(at(zoo), "ab", {"machinery_ood": ood}) for ood in (None, "photos", "digits")]
    assert len({run.id for run in runs}) == 3
    assert measure(at(zoo), "ab", {"machinery_ood": " photos "}).id == runs[1].id
    assert runs[1].record.config["settings"]["machinery"]["machinery_ood"] == "photos"


def test_an_interrupted_one_goes_on_behind_the_last_position(zoo, at, monkeypatch):
    whole = measure(at(zoo), "ab")
    seen = []
    original = machinery.look

    def counted(problem, point, **options):
        seen.append(point.t)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return original(problem, point, **options)

    monkeypatch.setattr(machinery, "look", counted)
    with pytest.raises(KeyboardInterrupt):
        measure(at(zoo, again=True), "ab")
    run = measure(at(zoo, again=True), "ab")
    assert seen == [0, 0.5, 1, 1]
    assert run.metrics == whole.metrics


def test_a_sample_has_larger_errors_than_all_examples(zoo, at):
    part, whole = (measure(at(zoo), "ab", {"machinery_samples": n}) for n in (60, "all"))
    for change in CHANGES:
        errors = [run.metrics[f"machinery_test_{change}_stderr"][1] for run in (part, whole)]
        assert errors[0] > errors[1] > 0, change


def test_a_plan_counts_both_data_sets(zoo, at):
    settings = build(MachineryConfig, {"machinery_ood": "photos", "machinery_samples": 100})
    asked = build(ProbeConfig, {"run": "ab", "what": "machinery,loss", "points": 3, "refresh_samples": 50})
    steps = plan(at(zoo), asked, {"machinery": settings}).steps()
    assert {s.title: s.forward_passes for s in steps} == {
        "loss at 3 points": 3 * 560,
        "BatchNorm refreshed at 3 points": 3 * 50,
        "machinery: predictions and features at 3 points": 3 * 200,
        "machinery: BatchNorm refreshed at 3 points": 3 * 50,
    }


def test_what_does_not_fit_is_refused(zoo, at, regression):
    with pytest.raises(UsageError, match="no data set 'photoes'"):
        measure(at(zoo), "ab", {"machinery_ood": "photoes"})
    with pytest.raises(Refused, match="does not fit ab, which takes images") as refused:
        measure(at(zoo), "ab", {"machinery_ood": regression})
    assert refused.value.hint.startswith("--machinery-ood digits")
    with pytest.raises(UsageError, match="machinery needs a path, a is a model"):
        measure(at(zoo), "a")


def test_a_model_that_fails_on_other_data_is_named(zoo, at, teach, join, tmp_path):
    (tmp_path / "dark.py").write_text(
        "from torch import nn\n"
        "class Dark(nn.Sequential):\n"
        "    def forward(self, x):\n"
        "        if x.mean() > 0.9:\n"
        "            raise ValueError('too bright')\n"
        "        return super().forward(x)\n"
        "def make(num_classes):\n"
        "    return Dark(nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    white = np.full((20, 1, 8, 8), 255, np.uint8)
    np.savez(tmp_path / "white.npz", x_train=white, y_train=np.arange(20) % 2, x_test=white, y_test=np.arange(20) % 2)
    for seed in (1, 2):
        teach(zoo, f"dark{seed}", model=f"{tmp_path / 'dark.py'}:make", seed=seed, epochs=1)
    join(zoo, "dark1", "dark2", name="dark", epochs=1)
    with pytest.raises(Refused, match=r"dark@0 fails on npz:.*white.npz: too bright"):
        measure(at(zoo), "dark", {"machinery_ood": f"npz:{tmp_path / 'white.npz'}"})


def test_double_precision_agrees_with_single(zoo, at):
    single, double = (measure(at(zoo), "cd", {"machinery_ood": "photos"}, float64=wide) for wide in (False, True))
    for name in ("machinery_test_cka_change", "machinery_ood_cosine_change", "machinery_ood_cka_change"):
        assert single.metrics[name] == pytest.approx(double.metrics[name], rel=1e-3, abs=1e-5), name
        assert single.metrics[name] != double.metrics[name], name


def test_regression_has_cosines_of_its_outputs(zoo, at, teach, join, regression):
    for seed in (1, 2):
        teach(zoo, f"line{seed}", data=regression, loss="mse", seed=seed, lr=0.02)
    join(zoo, "line1", "line2", name="lines", lr=0.01)
    run = measure(at(zoo), "lines")
    assert run.metrics["machinery_test_cosine"][0] == 1
    assert not [name for name in run.metrics if "disagreement" in name]
    assert run.metrics["machinery_test_cka_change_ends"] > 0
