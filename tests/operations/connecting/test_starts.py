from __future__ import annotations

import numpy as np
import pytest

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.operations.connect import ConnectConfig, connect, plan
from rashomon_cli.operations.probe import ProbeConfig, probe
from rashomon_cli.operations.quantities.loss import LossConfig

STILL = 1e-12  # a learning rate at which nothing moves


def bends_of(run):
    return run.tensors("path.safetensors")["bends"]


def along(run, what="train_loss"):
    return run.measurements()["curve"][what].values


@pytest.mark.parametrize("ends", ["ab", "cd"])
def test_a_bezier_curve_is_taken_over_with_more_bends(zoo, join, ends):
    given = join(zoo, *ends, epochs=6, lr=0.1, name="given")
    run = join(zoo, *ends, bend=3, start="given", lr=STILL)
    assert bends_of(run).shape[0] == run.metrics["bends"] == 3
    for what in ("train_loss", "test_loss", "arc_length"):
        np.testing.assert_allclose(along(run, what), along(given, what), rtol=1e-4)
    assert along(run, "arc_length")[-1] > run.metrics["end_distance"] * (1 + 1e-3)  # it is not the line
    assert [(p.role, p.id) for p in run.record.parents] == [
        *((role, zoo.find(end).id) for role, end in zip("ab", ends, strict=True)),
        ("start", given.id),
    ]


def test_a_polyline_is_taken_over_as_a_set_of_points(zoo, join):
    given = join(zoo, "a", "b", kind="polyline", name="bent", epochs=5)
    run = join(zoo, "a", "b", kind="polyline", bend=3, start="bent", lr=STILL)
    assert run.metrics["arc_length"] == pytest.approx(given.metrics["arc_length"], rel=1e-5)
    assert any(np.array_equal(bends_of(given)[0], bend) for bend in bends_of(join(zoo, "a", "b", **_still(run))))
    assert any(np.allclose(bends_of(given)[0], bend, atol=1e-6) for bend in bends_of(run))


def _still(run):
    return {"kind": "polyline", "bend": run.metrics["bends"], "start": "bent", "lr": STILL, "epochs": 1}


def test_a_path_of_the_other_kind_gives_its_points_and_a_note(zoo, at):
    context = at(zoo)
    shape = {"epochs": 1, "batch_size": 50, "points": 2, "precision": "float32", "lr": STILL}
    run = connect(context, ConnectConfig(a="a", b="b", bend=3, kind="polyline", start="ab", **shape))
    assert context.notes == ["ab is a bezier: the polyline starts with its bends on it, as another curve"]
    curve = zoo.find("ab").measurements()["curve"]
    fine = probe(at(zoo), ProbeConfig(run=run.name, what="loss", points=5), {"loss": LossConfig(loss_samples="all")})
    np.testing.assert_allclose(fine.metrics["train_loss"], curve["train_loss"].values, rtol=1e-4)


def test_training_goes_on_from_a_path(zoo, join):
    # The line's mean loss is far above that of the curve that was trained: so is the first epoch's.
    trained = join(zoo, "a", "b", epochs=20, name="low")
    fresh, later = join(zoo, "a", "b", bend=2, lr=0.01), join(zoo, "a", "b", bend=2, lr=0.01, start="low")
    first = [run.measurements()["training"]["mean_loss"].values[0] for run in (fresh, later)]
    assert first[1] < first[0]
    assert later.metrics["curve_barrier_loss"] <= trained.metrics["curve_barrier_loss"] + 0.05


def test_models_become_the_bends(zoo, join, teach, plain):
    for seed in (5, 6):
        teach(zoo, f"m{seed}", seed=seed, epochs=1)
    run = join(zoo, "a", "b", bend=2, kind="polyline", start="m5,m6", lr=STILL)
    expected = [plain(zoo.find(name)).flat().numpy() for name in ("m5", "m6")]
    np.testing.assert_allclose(bends_of(run), expected, atol=1e-6)
    assert [p.role for p in run.record.parents] == ["a", "b", "start-1", "start-2"]
    assert join(zoo, "a", "b", start="ab@0.5").record.parents[2].t == 0.5
    one, two = zoo.find("m5"), zoo.find("m6")
    shape = {"bend": 2, "kind": "polyline", "lr": STILL}
    assert join(zoo, "a", "b", start=[one, two], **shape).id == run.id
    assert join(zoo, "a", "b", start=[two, one], **shape).id != run.id


def test_what_is_made_from_a_start_is_a_path_like_others(zoo, join):
    run = join(zoo, "c", "d", bend=2, start="cd", name="further")
    end = join(zoo, "further@0.5", "d", points=3)
    assert along(end)[0] == pytest.approx(along(run)[2], rel=1e-5)
    again = join(zoo, "further@0.5", "d", points=3, bend=2, start=end.name, lr=STILL)
    np.testing.assert_allclose(along(again), along(end), rtol=1e-4)


def test_the_default_is_the_line_and_the_same_request_as_ever(zoo, join):
    assert join(zoo, "a", "b", start="line", positions="uniform", tries=1, watch_every=None).id == zoo.find("ab").id
    assert join(zoo, "a", "b", start="ab").id != zoo.find("ab").id


@pytest.mark.parametrize(
    ("options", "error", "words", "hint"),
    [
        ({"start": "nobody"}, UsageError, "no run 'nobody'", "rashomon ls"),
        ({"start": "cd"}, Refused, "cd leads from c to d, not from a to b", "rashomon connect c d --start cd"),
        ({"a": "b", "b": "a", "start": "ab"}, Refused, "from a to b, not from b to a", "connect a b --start ab"),
        ({"a": "a", "b": "ab@0.5", "start": "ab"}, Refused, "not from a to ab@0.5", "rashomon connect a b --start ab"),
        (
            {"start": "three", "bend": 2},
            UsageError,
            "three has 3 bends, --bend 2 is fewer",
            "rashomon connect a b --start three --bend 3",
        ),
        (
            {"start": "a,b", "bend": 3},
            UsageError,
            "--start a,b for --bend 3: bends start from one model each",
            "rashomon connect a b --start a,b --bend 2",
        ),
        ({"start": "ab@0.5", "bend": 2}, UsageError, "from a model each", "--start ab@0.5 --bend 1"),
        ({"start": "ab,a", "bend": 2}, UsageError, "ab is a path; this takes a model", "write ab@0.5"),
        ({"start": "c"}, Refused, "c does not fit a", "check the builder"),
        ({"start": ""}, UsageError, "a run name is empty", "rashomon ls"),
    ],
    ids=str,
)
def test_a_start_that_does_not_fit_is_refused_before_anything_is_done(zoo, join, at, options, error, words, hint):
    join(zoo, "a", "b", bend=3, epochs=1, points=2, name="three")
    with pytest.raises(error) as refused:
        plan(at(zoo), ConnectConfig(**{"a": "a", "b": "b"} | options))
    assert words in refused.value.message
    assert hint in refused.value.hint


@pytest.mark.parametrize("via", ["widen", "transplant"])
def test_a_path_that_was_put_together_has_no_bends_to_go_on_from(zoo, join, at, via):
    options = {"epochs": 1, "batch_size": 50} if via == "transplant" else {}
    given = {"a": "a", "b": "b", "via": via, "points": 2, "samples": 20}
    connect(at(zoo, name="built"), ConnectConfig(**given | options))
    for ends in ("ab", "ba"):
        with pytest.raises(Refused, match=f"built was put together by --via {via}, it has no bends") as refused:
            plan(at(zoo), ConnectConfig(a=ends[0], b=ends[1], start="built", bend=8, kind="polyline"))
        assert refused.value.hint == f"rashomon connect {ends[0]} {ends[1]} --start line"


def test_a_path_to_a_model_that_is_to_be_aligned_first_is_refused_before_that(zoo, join, at):
    options = {"a": "a", "b": "b", "align": True, "points": 3, "samples": 20, "epochs": 1, "batch_size": 50}
    before = len(list(zoo.runs()))
    with pytest.raises(Refused, match="ab does not lead to b as aligned, which is not made yet") as refused:
        connect(at(zoo), ConnectConfig(**options, start="ab"))
    assert refused.value.hint.startswith("rashomon align a b ")
    assert len(list(zoo.runs())) == before
    first = connect(at(zoo, name="to-copy"), ConnectConfig(**options))
    later = connect(at(zoo), ConnectConfig(**options, start="to-copy", bend=2))
    assert [p.id for p in later.record.parents if p.role == "start"] == [first.id]


def test_the_command_line_goes_on_from_a_path(zoo, rashomon):
    call = ["connect", "a", "b", "--bend", 3, "--start", "ab", "--epochs", 1, "--points", 3, "--store", zoo.root]
    assert rashomon(*call).code == 0
    refused = rashomon(*call[:4], 3, "--start", "cd", "--store", zoo.root)
    assert refused.code == 1
    assert "hint: rashomon connect c d --start cd" in refused.err
