"""``sweep``: its numbers are those of its members; what is there is found; what diverges is left out and told."""

import math
import shutil

import numpy as np
import pytest

from rashomon_cli import sweep as swept
from rashomon_cli.core.errors import Busy, Diverged, PartlyDone, Refused, UsageError
from rashomon_cli.core.options import build
from rashomon_cli.operations import align as aligning
from rashomon_cli.operations import train as training
from rashomon_cli.operations.sweep import SweepConfig, carry_out, dry_run, sweep
from rashomon_cli.store import Store

SMALL = {"model": "mlp(width=4)", "data": "digits(train=200)", "widths": (0.5, 1), "pairs": 2, "epochs": 1}
SMALL |= {"batch_size": 50, "connect_epochs": 1, "points": 3, "samples": "all", "precision": "float32"}
WAYS = ("naive", "reset", "aligned", "aligned_reset", "curve")


def parameters(width, inputs=64, classes=10):
    """Weights and biases of an MLP with two hidden layers."""
    return inputs * width + width + width * width + width + width * classes + classes


@pytest.fixture(scope="module")
def _made_once(tmp_path_factory):
    store = Store.open(tmp_path_factory.mktemp("sweep") / "store", create=True)
    swept(store, **SMALL, device="cpu", name="whole")
    return store.root


@pytest.fixture
def made(_made_once, tmp_path):
    """A store with the sweep ``whole`` and its members."""
    shutil.copytree(_made_once, tmp_path / "made")
    return Store.open(tmp_path / "made")


def member(store, run, role):
    (found,) = [p.id for p in run.record.parents if p.role == role]
    return store.find(found)


def test_sizes_are_those_of_the_networks(made):
    run = made.find("whole")
    assert run.kind == "measurement"
    assert run.metrics["width"] == [0.5, 1.0]
    assert run.metrics["parameters"] == [parameters(2), parameters(4)]
    assert run.metrics["parameters_per_constraint"] == [parameters(w) / (200 * 10) for w in (2, 4)]
    assert run.metrics["pairs"] == [2, 2]


def test_numbers_are_those_of_the_members(made):
    run = made.find("whole")
    group = run.measurements()["sweep"]
    assert len(run.record.parents) == 2 * 2 * 4
    for (i, width), j in ((w, j) for w in enumerate((0.5, 1)) for j in range(2)):
        a, b, moved, path = (
            member(made, run, f"{role}-{j + 1}-width-{width:g}") for role in ("a", "b", "aligned", "path")
        )
        assert [p.id for p in moved.record.parents] == [p.id for p in path.record.parents] == [a.id, b.id]
        assert [a.record.config["seed"], b.record.config["seed"]] == [2 * j + 1, 2 * j + 2]
        assert moved.record.config["seed"] == path.record.config["seed"] == 2 * j + 1
        for kind, way in ((k, w) for k in ("barrier_loss", "barrier_error") for w in WAYS):
            name = f"curve_{kind}" if way == "curve" else f"{kind}_{way}"
            source = path if way == "curve" else moved
            assert group[f"{kind}_{way}_pairs"].values[i, j] == source.metrics[name]
            assert group[f"{kind}_{way}_pairs"].stderr[i, j] == source.metrics[f"{name}_stderr"]
        for way in WAYS[:4]:
            assert group[f"midpoint_test_error_{way}_pairs"].values[i, j] == pytest.approx(
                moved.metrics[f"midpoint_test_error_{way}"]
            )
        curve = path.measurements()["curve"]
        assert group["midpoint_test_error_curve_pairs"].values[i, j] == curve["test_error"].values[1]
        start, middle, end = curve["test_loss"].values
        assert group["midpoint_test_rise_curve_pairs"].values[i, j] == pytest.approx(middle - (start + end) / 2)
        for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
            expected = (a.metrics[name] + b.metrics[name]) / 2
            assert group[f"{name}_pairs"].values[i, j] == pytest.approx(expected)


def test_means_and_intervals_are_over_the_pairs(made):
    run = made.find("whole")
    group = run.measurements()["sweep"]
    for name in (f"{kind}_{way}" for kind in ("barrier_loss", "midpoint_test_rise") for way in WAYS):
        pairs = group[f"{name}_pairs"].values
        half = np.abs(pairs[:, 0] - pairs[:, 1]) / 2  # s/√n of two
        assert group[name].values == pytest.approx(pairs.mean(1))
        assert group[name].stderr == pytest.approx(half)
        assert group[f"{name}_interval"].values == pytest.approx(12.7062047 * half)
    assert run.metrics["barrier_loss_curve"] == group["barrier_loss_curve"].values.tolist()
    assert run.metrics["barrier_loss_curve_stderr"] == group["barrier_loss_curve"].stderr.tolist()
    assert all(variable.long_name for variable in group.values())


def test_a_second_call_finds_it_at_once(made, at):
    context = at(made)
    again = sweep(context, SweepConfig(**SMALL | {"widths": "1,1/2"}))
    assert (again.name, context.progress.ticks, context.progress.notes) == ("whole", 0, [])
    assert len(made.rows()) == 2 * 2 * 4 + 1


def test_a_wider_sweep_makes_only_what_is_missing(made, at):
    context = at(made)
    before = {row["id"] for row in made.rows()}
    run = sweep(context, SweepConfig(**SMALL | {"widths": (0.5, 1, 2)}))
    new = [row for row in made.rows() if row["id"] not in before]
    assert sorted(row["operation"] for row in new) == sorted(
        ["train"] * 4 + ["align"] * 2 + ["connect"] * 2 + ["sweep"]
    )
    assert run.metrics["barrier_loss_naive"][:2] == made.find("whole").metrics["barrier_loss_naive"]


def test_members_are_the_runs_that_the_other_commands_make(store, at, teach):
    shared = {n: SMALL[n] for n in ("model", "data", "epochs", "batch_size", "precision")}
    one, two = (teach(store, name, seed=seed, **shared | {"lr": 0.1}) for name, seed in (("x", 1), ("y", 2)))
    moved = aligning.align(at(store), a=one, b=two, points=3, samples="all", seed=1)
    run = sweep(at(store), SweepConfig(**SMALL | {"widths": (1,), "pairs": 1, "bend": 0}))
    assert [p.id for p in run.record.parents] == [one.id, two.id, moved.id]
    assert not any("curve" in name for name in run.metrics)


@pytest.mark.parametrize("stop_after", [2, 6, 12, 26])
def test_an_interrupted_sweep_goes_on(made, store, at, stop_after):
    config = SweepConfig(**SMALL | {"pairs": 1, "widths": (0.5,)})
    expected = sweep(at(made), config)
    with pytest.raises(KeyboardInterrupt):
        sweep(at(store, stop_after), config)
    run = sweep(at(store), config)
    assert run.metrics == expected.metrics
    assert len(store.rows()) == 5


def test_a_single_pair_has_no_interval(made, at):
    run = sweep(at(made), SweepConfig(**SMALL | {"pairs": 1}))
    group = run.measurements()["sweep"]
    assert np.isfinite(group["barrier_loss_aligned"].values).all()
    assert np.isnan(group["barrier_loss_aligned"].stderr).all()
    assert np.isnan(group["barrier_loss_aligned_interval"].values).all()
    assert run.metrics["barrier_loss_aligned_interval"] == [None, None]


def test_a_curve_to_the_aligned_model(made, at):
    run = sweep(at(made), SweepConfig(**SMALL | {"align_curve": True, "widths": (1,), "pairs": 1}))
    moved, path = (member(made, run, f"{role}-1-width-1") for role in ("aligned", "path"))
    assert path.record.parents[1].id == moved.id


def test_an_even_grid_has_no_middle(made, at):
    run = sweep(at(made), SweepConfig(**SMALL | {"points": 4, "widths": (1,), "pairs": 1, "bend": 0}))
    assert not any("midpoint" in name for name in run.measurements()["sweep"])


def fail(monkeypatch, error, which):
    """Trainings for which ``which`` holds raise an error."""
    real = training._carry_out

    def act(context, config, *more):
        if which(config):
            raise error
        return real(context, config, *more)

    monkeypatch.setattr(training, "_carry_out", act)


def test_a_pair_that_diverges_is_left_out_and_told(made, at, monkeypatch):
    fail(monkeypatch, Diverged("the loss is nan after epoch 1", "--lr 0.02"), lambda config: config.seed == 6)
    config = SweepConfig(**SMALL | {"pairs": 3, "widths": (1,)})
    result = carry_out(at(made, name="three"), config)
    assert (result.run.metrics["pairs"], result.asked) == ([2], 6 + 2 + 2)
    told = result.error("again")
    assert (told.code, told.hint) == (3, "--lr 0.02")
    assert told.message == (
        "1 of 10 runs failed, the first: mlp-digits-s6-w4: the loss is nan after epoch 1; three is without them"
    )
    assert result.run.record.notes == ["left out is what needs mlp-digits-s6-w4: the loss is nan after epoch 1"]
    group = result.run.measurements()["sweep"]
    pairs = group["barrier_loss_naive_pairs"].values
    assert np.isnan(pairs).tolist() == [[False, False, True]]
    assert np.isnan(group["train_loss_pairs"].values).tolist() == [[False, False, True]]
    assert group["barrier_loss_naive"].values == pytest.approx(np.nanmean(pairs, 1))
    assert result.run.metrics["barrier_loss_naive"][0] == made.find("whole").metrics["barrier_loss_naive"][1]
    assert carry_out(at(made, name="three"), config).run.id == result.run.id
    monkeypatch.undo()
    whole = sweep(at(made), config)
    assert whole.id != result.run.id
    assert whole.metrics["pairs"] == [3]


def test_a_width_without_pairs_is_empty_and_the_others_stay(made, at, monkeypatch):
    fail(monkeypatch, Diverged("the loss is nan"), lambda config: "width=8" in config.model)
    run = sweep(at(made), SweepConfig(**SMALL | {"widths": (1, 2)}))
    assert run.metrics["parameters"] == [parameters(4), None]
    assert run.metrics["barrier_loss_curve"][1] is None
    assert run.metrics["pairs"] == [2, 0]


def test_what_may_yet_be_made_is_not_left_out(made, at, monkeypatch):
    fail(monkeypatch, Busy("run x is being carried out by another process"), lambda config: config.seed == 6)
    config = SweepConfig(**SMALL | {"pairs": 3, "widths": (1,)})
    with pytest.raises(PartlyDone, match="the sweep was not published"):
        sweep(at(made), config)
    assert [row["name"] for row in made.rows() if row["operation"] == "sweep"] == ["whole"]
    assert sum(row["operation"] == "connect" for row in made.rows()) == 4
    monkeypatch.undo()
    assert sweep(at(made), config).metrics["pairs"] == [3]


def test_nothing_left_is_an_error_with_its_own_code(store, at):
    config = SweepConfig(**SMALL | {"lr": 1e30, "pairs": 1, "widths": (1,)})
    told = carry_out(at(store), config).error("rashomon sweep")
    assert (told.code, told.hint) == (1, "try --lr 2e+29")
    assert "2 of 2 runs failed" in told.message


def test_a_dry_run_names_every_member_and_counts_what_it_takes(made, store, at):
    config = SweepConfig(**SMALL)
    before = dry_run(at(store), config)
    assert [cost.status for cost in before] == ["missing"] * 17
    assert store.rows() == []
    names = [cost.name for cost in before]
    assert names[:2] == ["mlp-digits-s1-w2", "mlp-digits-s2-w2"]
    assert "mlp-digits-s4-w4-on-mlp-digits-s3-w4" in names
    assert "bezier-mlp-digits-s1-w4-mlp-digits-s2-w4" in names
    assert {row["name"] for row in made.rows()} == {*names[:-1], "whole"}
    after = dry_run(at(made), config)
    assert [(cost.status, cost.forward_passes) for cost in after] == [("finished", 0)] * 17


def test_what_a_dry_run_forecasts_is_what_it_says_once_the_models_exist(made, store, at):
    config = SweepConfig(**SMALL | {"points": 5, "connect_epochs": 2, "method": "activations"})
    forecast = {cost.name: cost.forward_passes for cost in dry_run(at(store), config)}
    known = {cost.name: cost for cost in dry_run(at(made), config)}
    missing = {name: cost.forward_passes for name, cost in known.items() if cost.status == "missing"}
    assert len(missing) == 4 + 4 + 1
    assert missing == {name: forecast[name] for name in missing}


@pytest.mark.parametrize(
    ("options", "words", "hint"),
    [
        (
            {"widths": (0.3, 1)},
            r"0\.3 times the width 4 is 1\.2",
            "rashomon sweep --model 'mlp(width=4)' --widths 1/4,1",
        ),
        ({"widths": "1/16"}, "0.25, no whole number", "rashomon sweep --model 'mlp(width=4)' --widths 1/4"),
        ({"lr": 0}, "--lr = 0", None),
        ({"epochs": 0}, "--epochs = 0", None),
        ({"model": "mlq"}, "no model 'mlq'", None),
        ({"data": "digit"}, "no data set", None),
        ({"loss": "cros-entropy"}, "no loss", None),
    ],
)
def test_what_cannot_work_is_refused_first(store, at, options, words, hint):
    with pytest.raises(UsageError, match=words) as error:
        sweep(at(store), SweepConfig(**SMALL | options))
    assert hint in (None, error.value.hint)
    assert store.rows() == []


@pytest.mark.parametrize("widths", ["", "1,,2", "x", "1/0", "0", "-1", "nan", (), None])
def test_widths_are_positive_numbers(widths):
    with pytest.raises(UsageError, match="--widths"):
        build(SweepConfig, {"widths": widths})


def test_a_third_of_a_width_is_exact(made, at):
    costs = dry_run(at(made), SweepConfig(**SMALL | {"model": "mlp(width=48)", "widths": "1/3,2/3", "pairs": 1}))
    assert [cost.name for cost in costs[:4]] == [f"mlp-digits-s{s}-w{w}" for w in (16, 32) for s in (1, 2)]


def test_the_builder_as_it_was_written_is_found(store, at, teach):
    shared = {n: SMALL[n] for n in ("data", "epochs", "batch_size", "precision")}
    teach(store, "plain", model="mlp", seed=1, **shared | {"lr": 0.1})
    costs = dry_run(at(store), SweepConfig(**SMALL | {"model": "mlp", "widths": "1/16,1", "pairs": 1}))
    assert [(cost.name, cost.status) for cost in costs[2:4]] == [("plain", "finished"), ("mlp-digits-s2", "missing")]


OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.one, self.two = nn.Linear(64, width), nn.Linear(width, 10)

    def forward(self, x):
        return self.two(torch.fft.fft(self.one(x.flatten(1))).real)

def strange(input_shape, num_classes, width=4):
    return Net(width)

def grouped(input_shape, num_classes, width=4):
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.GroupNorm(4, width), nn.Flatten(), nn.Linear(36 * width, 10))

def fixed(input_shape, num_classes):
    return Net(4)
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("strange", "fft"),
        ("grouped", r"own\.py:grouped\(width=2\) failed: .* divisible"),
        ("fixed", "no argument width with a default, so none can be multiplied"),
    ],
)
def test_networks_that_cannot_be_swept_are_refused_before_any_is_trained(store, at, tmp_path, name, words):
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(Refused, match=words):
        sweep(at(store), SweepConfig(**SMALL | {"model": f"{tmp_path}/own.py:{name}"}))
    assert store.rows() == []


def test_a_name_that_is_taken_is_refused_first(made, at, teach):
    teach(made, "mine", seed=9)
    with pytest.raises(UsageError, match="'mine' is taken"):
        sweep(at(made, name="mine"), SweepConfig(**SMALL | {"pairs": 3}))
    assert sum(row["operation"] == "train" for row in made.rows()) == 8 + 1


def test_regression_has_losses_only(store, at, regression):
    options = SMALL | {"data": regression, "loss": "mse", "widths": (1,), "pairs": 1, "lr": 0.01}
    run = sweep(at(store), SweepConfig(**options))
    group = run.measurements()["sweep"]
    assert group["barrier_loss_naive"].units == "1"
    assert "barrier_error_naive" not in group
    assert run.metrics["parameters_per_constraint"] == [parameters(4, 3, 2) / (80 * 2)]
    assert math.isfinite(run.metrics["barrier_loss_curve"][0])
