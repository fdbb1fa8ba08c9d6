from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.core.errors import UsageError
from rashomon_cli.core.results import Result, series
from rashomon_cli.operations import subjects
from rashomon_cli.operations.connect import ConnectConfig, connect, plan
from rashomon_cli.operations.connecting.tries import Choice
from rashomon_cli.operations.connecting.watching import WATCHED, History, interval, watched_samples
from rashomon_cli.operations.profiles import drawn
from rashomon_cli.science.profile import Barrier, barrier, train_losses

SHAPE = {"epochs": 2, "batch_size": 50, "points": 5, "samples": 60, "precision": "float32", "seed": 5}
DEEP = {"tries": 2, "positions": "worst", "bend": 2, "start": "cd"}


def digest(run):
    return hashlib.sha256(run.verified("path.safetensors").read_bytes()).hexdigest()


def same(one, two):
    """Whether two runs hold the same to the bit."""
    groups = one.measurements(), two.measurements()
    for group, variables in groups[0].items():
        for name, variable in variables.items():
            np.testing.assert_array_equal(variable.values, groups[1][group][name].values)
    return digest(one) == digest(two) and one.metrics == two.metrics


@pytest.fixture
def listening(at):
    """listening(store): a context that keeps the words beside the bar."""

    def build(store):
        context = at(store)
        context.progress.told = []
        context.progress.tell = context.progress.told.append
        return context

    return build


def test_the_barrier_is_told_and_kept_as_it_trains(zoo, listening):
    context = listening(zoo)
    run = connect(context, a="c", b="d", **SHAPE | {"epochs": 5}, watch_every=2)
    watched = run.measurements()["training"]["watched_barrier"]
    assert watched.dims == ("epoch",)
    assert np.isfinite(watched.values).tolist() == [False, True, False, True, True]
    assert (watched.stderr[[1, 3, 4]] > 0).all()
    assert context.progress.told == [f"barrier {value:.4f}" for value in watched.values[[1, 3, 4]]]
    loaded = subjects.load_problem(context, run, torch.device("cpu"))
    path = subjects.load_path(context, loaded, run, torch.device("cpu"))
    sample = loaded.batches("train").sample(watched_samples(200), 5, "watched sample")
    losses = [train_losses(loaded.problem, path.at(t), sample) for t in WATCHED]
    expected = barrier(WATCHED, np.stack(losses), 200)
    assert watched.values[-1] == pytest.approx(expected.value, rel=1e-6)
    assert watched.stderr[-1] == pytest.approx(expected.stderr, rel=1e-6)


def test_watching_changes_nothing(zoo, listening):
    seen, unseen = (connect(listening(zoo), a="c", b="d", **SHAPE, watch_every=every) for every in (1, 0))
    assert digest(seen) == digest(unseen)
    assert seen.metrics == unseen.metrics
    assert "watched_barrier" not in unseen.measurements()["training"]


@pytest.mark.parametrize(("epochs", "looks"), [(1, 1), (10, 10), (20, 10), (25, 9), (100, 10)])
def test_ten_looks_at_most_unless_asked_for(epochs, looks):
    every = interval(epochs, None)
    assert len([e for e in range(1, epochs + 1) if e % every == 0 or e == epochs]) == looks


def test_a_training_that_an_earlier_version_began_goes_on_without_what_it_did_not_look_at():
    begun = Result({"epoch": series("epoch", [1, 2]), "mean_loss": series("epoch", [0.5, 0.25])})
    history = History.of(begun)
    history.add(0.125, Barrier(0.75, 0.01, 0.5, 0.7))
    found = history.variables(True)
    np.testing.assert_array_equal(found["mean_loss"].values, [0.5, 0.25, 0.125])
    np.testing.assert_array_equal(found["watched_barrier"].values, [np.nan, np.nan, 0.75])
    np.testing.assert_array_equal(found["watched_barrier"].stderr, [np.nan, np.nan, 0.01])


def test_the_best_of_several_tries_is_kept(zoo, join):
    single = join(zoo, "c", "d", **SHAPE)
    run = join(zoo, "c", "d", **SHAPE, tries=3)
    heights = run.metrics["tries_barrier_loss"]
    assert run.metrics["tries"] == len(heights) == 3
    assert heights[run.metrics["best_try"] - 1] == min(heights)
    assert len(set(heights)) == 3
    compared = run.measurements()["tries"]["barrier_loss"]
    assert compared.values.tolist() == heights
    assert compared.stderr.tolist() == run.metrics["tries_barrier_loss_stderr"]
    assert (compared.stderr > 0).all()
    # Other examples than those that the best one's barrier is reported on.
    assert min(heights) != run.metrics["curve_barrier_loss"]
    assert (digest(run) == digest(single)) == (run.metrics["best_try"] == 1)
    assert "tries" not in single.metrics


def test_tries_on_all_examples_say_that_the_barrier_is_chosen_and_reported_on_the_same(zoo, at):
    context = at(zoo)
    run = connect(context, a="c", b="d", **SHAPE | {"samples": "all"}, tries=2)
    assert context.notes == ["the tries were compared on the examples that the barrier is reported on: these are all"]
    best = run.metrics["tries_barrier_loss"][run.metrics["best_try"] - 1]
    assert best == pytest.approx(run.metrics["curve_barrier_loss"], rel=1e-6)


def test_tries_are_compared_on_examples_that_are_not_reported_on(zoo, at, join):
    run = join(zoo, "c", "d", **SHAPE, tries=2)
    loaded = subjects.load_problem(at(zoo), run, torch.device("cpu"))
    train = loaded.batches("train")
    others = train.sample(60, 5, "train sample", skip=60)
    assert not set(others.order.tolist()) & set(drawn(loaded, 60, 5)[0].order.tolist())
    path = subjects.load_path(at(zoo), loaded, run, torch.device("cpu"))
    ts = np.linspace(0, 1, 5).tolist()
    expected = barrier(ts, np.stack([train_losses(loaded.problem, path.at(t), others) for t in ts]), 200)
    assert min(run.metrics["tries_barrier_loss"]) == pytest.approx(expected.value, rel=1e-6)


@pytest.mark.parametrize(
    ("samples", "count", "skip", "number", "shared"),
    [
        (60, 200, 60, 60, 0),
        (100, 200, 100, 100, 0),
        (120, 300, 120, 120, 0),
        (180, 300, 180, 120, 0),  # what is left
        (150, 200, 100, 100, 50),  # 50 would be too few to choose by
        (30, 40, 10, 30, 20),
        (200, 200, 0, 200, 200),
        ("all", 200, 0, 200, 200),
        (5000, 200, 0, 200, 200),
    ],
)
def test_which_examples_tries_are_compared_on(samples, count, skip, number, shared):
    assert Choice.of(samples, count) == Choice(skip, number, shared)


@given(st.integers(2, 3000), st.integers(2, 3000))
def test_the_examples_compared_on_share_as_few_as_they_say(samples, count):
    choice = Choice.of(samples, count)
    compared = set(range(choice.skip, choice.skip + choice.count))
    assert len(compared & set(range(min(samples, count)))) == choice.shared
    assert max(compared) < count
    assert choice.shared == 0 or count < samples + 100


def test_examples_that_are_shared_are_told(zoo, at):
    context = at(zoo)
    connect(context, a="a", b="b", **SHAPE | {"samples": 150, "epochs": 1}, tries=2)
    assert context.notes == ["the tries were compared on 100 examples; the barrier is reported on 50 of them, too"]


@pytest.fixture
def whole(zoo, join):
    return join(zoo, "c", "d", **SHAPE, **DEEP, name="whole")


@pytest.mark.parametrize("steps", [0, 3, 4, 8, 10, 13, 16, 17, 20, 35])
def test_tries_positions_and_starts_resume_bit_for_bit(zoo, at, whole, steps):
    # 4 steps an epoch, 8 a try; then 8 positions of two batches are compared, and 8 of three batches are measured.
    config = ConnectConfig(a="c", b="d", **SHAPE, **DEEP)
    with pytest.raises(KeyboardInterrupt):
        connect(at(zoo, steps, again=True), config)
    context = at(zoo, again=True)
    assert same(connect(context, config), whole)
    assert ("try 1 of 2" in str(context.notes)) == (4 <= steps < 8)
    assert ("try 2 of 2" in str(context.notes)) == (12 <= steps < 16)


def test_positions_where_the_loss_is_worst_are_another_training(zoo, join):
    uniform, worst = (join(zoo, "c", "d", **SHAPE | {"epochs": 3}, positions=p) for p in ("uniform", "worst"))
    assert uniform.id != worst.id
    assert digest(uniform) != digest(worst)


def test_a_plan_counts_watching_and_comparing(zoo, at):
    config = ConnectConfig(a="a", b="b", epochs=20, points=11, samples=100, tries=3)
    steps = {step.title: step.forward_passes for step in plan(at(zoo), config).steps()}
    assert steps == {
        "20 epochs of training the bends, 3 times": 3 * 20 * 200,
        "the barrier watched meanwhile": (3 * 10 * 5 + 2) * 2 * 100,
        "the best of 3 tries chosen": (3 * 9 + 2) * 2 * 100,
        "BatchNorm refreshed at 20 positions": 20 * 100,
        "20 positions of curve and line evaluated": 20 * 200,
    }


def test_watching_costs_a_few_percent_of_the_training():
    for count, share in ((10_000, 0.04), (50_000, 0.02)):
        passes = (10 * 5 + 2) * 2 * watched_samples(count)
        assert passes / (3 * 20 * count) < share  # a step is about three forward passes


def test_tries_need_positions_to_be_compared_at(zoo, at):
    with pytest.raises(UsageError, match="--tries 2 are compared at positions between the ends") as refused:
        plan(at(zoo), ConnectConfig(a="a", b="b", tries=2, points=2))
    assert refused.value.hint == "rashomon connect a b --tries 2 --points 11"
