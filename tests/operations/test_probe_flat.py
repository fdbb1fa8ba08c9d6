"""The ledger of flat directions, as ``probe`` stores it."""

from __future__ import annotations

import numpy as np
import pytest

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.options import build
from rashomon_cli.operations.probe import ProbeConfig, plan, probe
from rashomon_cli.operations.quantities.flat import FlatConfig
from rashomon_cli.operations.quantities.reach import ReachConfig

SMALL = {"flat_samples": 60, "flat_near_null": 3, "flat_degree": 10, "flat_steps": 20, "flat_ood_samples": 40}
KINDS = ("symmetry", "dead", "invisible", "visible")
REACH = {"reach_near_null": 0, "reach_top": 0, "reach_random": 1, "reach_samples": 50}


def measure(context, run, settings=None, **options):
    chosen = {"flat": build(FlatConfig, SMALL | (settings or {})), "reach": build(ReachConfig, REACH)}
    given = {"run": run, "what": "flat", "points": 2} | options
    return probe(context, build(ProbeConfig, given), {name: chosen[name] for name in given["what"].split(",")})


def test_shares_of_a_model_sum_to_one_and_other_data_are_looked_at(zoo, at):
    run = measure(at(zoo), "a", {"flat_ood": "photos"})
    m = run.metrics
    assert sum(m[f"flat_share_{kind}"] for kind in KINDS) == pytest.approx(1)
    assert m["flat_share_symmetry_each"] == pytest.approx(
        (1 - sum(np.array(m[f"flat_share_{kind}_each"]) for kind in KINDS[1:])).tolist(), abs=1e-9
    )
    assert m["flat_tau"] == pytest.approx(0.1)
    assert m["flat_units_known"] == 1
    assert m["flat_change_random"] > 0
    assert m["flat_change_other_random"] > 0
    assert len(m["flat_curvature"]) == len(m["flat_residual"]) == 3
    assert m["matvecs"] > 3 * 10
    assert run.tensors("vectors.safetensors")["0/flat/vectors_near_null"].shape[0] == 3
    assert run.record.config["settings"]["flat"]["flat_ood"] == "photos"
    without = measure(at(zoo), "a")
    assert without.id != run.id
    assert not [name for name in without.metrics if "other" in name]
    assert without.metrics["flat_share_visible"] == m["flat_share_visible"]


def test_of_another_split_and_of_some_layers(zoo, at):
    train, test, layer = (measure(at(zoo), "a", more) for more in ({}, {"split": "test"}, {"layers": "layers.1"}))
    assert test.metrics["flat_curvature"] != train.metrics["flat_curvature"]
    tensors = zoo.find("a").tensors()
    size = sum(tensors[f"layers.1.{kind}"].size for kind in ("weight", "bias"))
    assert layer.tensors("vectors.safetensors")["0/flat/vectors_near_null"].shape == (3, size)
    assert sum(layer.metrics[f"flat_share_{kind}"] for kind in KINDS) == pytest.approx(1)
    each = measure(at(zoo), "a", {"by": "layer"}).metrics
    assert [each[f"flat_share_{kind}"][0] for kind in KINDS] == [layer.metrics[f"flat_share_{kind}"] for kind in KINDS]


def test_a_path_beside_another_quantity_with_directions(zoo, at):
    run = measure(at(zoo), "cd", what="flat,reach")
    found = run.measurements()["probe"]
    for kind in KINDS:
        assert found[f"flat_share_{kind}"].dims == ("t",)
    assert found["flat_curvature"].dims == ("t", "flat_direction")
    assert found["flat_curvature"].values.shape == (2, 3)
    assert found["reach_plus"].dims == ("t", "direction")
    assert found["reach_plus"].values.shape == (2, 2)
    one = measure(at(zoo), "cd@1")
    assert one.metrics["flat_share_symmetry"] == pytest.approx(run.metrics["flat_share_symmetry"][1], abs=1e-2)


def test_other_data_that_do_not_fit_are_refused(zoo, at, regression):
    before = len(zoo.rows())
    with pytest.raises(Refused, match="does not fit a, which takes images") as refused:
        measure(at(zoo), "a", {"flat_ood": regression})
    assert refused.value.hint.startswith("--flat-ood digits")
    assert len(zoo.rows()) == before


def test_a_run_takes_what_its_plan_says(zoo, at, passes):
    asked = build(ProbeConfig, {"run": "a", "what": "flat"})
    settings = {"flat": build(FlatConfig, SMALL | {"flat_ood": "photos"})}
    *products, changes = plan(at(zoo), asked, settings).steps()
    run = probe(at(zoo), asked, settings)
    own = [step for step in products if "dead" not in step.title]
    planned = sum(step.forward_passes * step.vectors for step in own) / 60
    assert run.metrics["matvecs"] == pytest.approx(planned, rel=0.05)  # the search for pairs may take a little more
    # Each of the three directions has all four parts, and four random ones are beside them.
    assert changes.forward_passes == (60 + 40) * (1 + 2 * (4 * 3 + 4))
    assert 0 <= passes["evaluate"] - changes.forward_passes < 10, "few to try the module"
