from __future__ import annotations

import hashlib

import numpy as np
import pytest

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.options import build
from rashomon_cli.operations.connect import ConnectConfig, connect, plan
from rashomon_cli.operations.probe import ProbeConfig, probe
from rashomon_cli.operations.quantities.loss import LossConfig

HEADLINES = {
    *(f"{name}_barrier_{what}" for name in ("curve", "line") for what in ("loss", "error")),
    *(f"{name}_barrier_{what}_stderr" for name in ("curve", "line") for what in ("loss", "error")),
    "curve_max_test_error",
    "curve_min_test_error",
    "end_test_error_a",
    "end_test_error_b",
}
TRAINING = 8  # steps of two epochs


def digest(run, path="path.safetensors"):
    return hashlib.sha256(run.verified(path).read_bytes()).hexdigest()


def barrier_of(profile, what):
    values = profile[what].values
    return values.max() - max(values[0], values[-1])


def test_the_headlines_are_those_of_the_stored_profiles(zoo):
    run = zoo.find("cd")
    assert set(run.metrics) >= HEADLINES
    assert all(isinstance(run.metrics[name], float) for name in HEADLINES)
    groups = run.measurements()
    for name in ("curve", "line"):
        for what in ("loss", "error"):
            found = run.metrics[f"{name}_barrier_{what}"]
            assert found == pytest.approx(barrier_of(groups[name], f"train_{what}"), abs=1e-9)
            assert found >= 0
        losses, ts = groups[name]["train_loss"].values, groups[name]["t"].values
        excess = losses - (1 - ts) * losses[0] - ts * losses[-1]
        assert run.metrics[f"{name}_barrier_loss_interpolated"] == pytest.approx(excess.max(), abs=1e-9)
        assert losses[ts == run.metrics[f"{name}_barrier_at"]] == losses.max()
    errors = groups["curve"]["test_error"].values
    assert run.metrics["curve_max_test_error"] == errors.max()
    assert run.metrics["curve_min_test_error"] == errors.min()
    assert [run.metrics[f"end_test_error_{end}"] for end in "ab"] == [errors[0], errors[-1]]
    assert run.metrics["line_barrier_loss"] > 0.01  # there is something to see


@pytest.mark.parametrize("ends", ["ab", "cd"])
def test_the_ends_are_the_two_models_with_statistics_of_their_own(zoo, plain, ends):
    groups = zoo.find(ends).measurements()
    for name in ("curve", "line"):
        for end, position in zip(ends, (0, -1), strict=True):
            figures = plain(zoo.find(end)).with_own_statistics().figures()
            for split in ("train", "test"):
                assert groups[name][f"{split}_loss"].values[position] == pytest.approx(
                    figures[f"{split}_loss"], rel=1e-5
                )
                error = 100 * (1 - figures[f"{split}_accuracy"])
                assert groups[name][f"{split}_error"].values[position] == pytest.approx(error)
    if ends == "cd":
        stored = zoo.find("c").metrics["train_loss"]
        assert groups["curve"]["train_loss"].values[0] != pytest.approx(stored, rel=1e-3)


def test_profiles_have_names_units_and_errors(zoo, join, plain):
    whole, part = zoo.find("cd"), join(zoo, "c", "d", samples=60)
    assert (part.metrics["train_samples"], part.metrics["test_samples"]) == (60, 60)
    for run in (whole, part):
        groups = run.measurements()
        assert set(groups) == {"training", "curve", "line"}
        for name in ("curve", "line"):
            group = groups[name]
            assert set(group) == {"t", "arc_length", "train_loss", "train_error", "test_loss", "test_error"}
            assert group["t"].values.tolist() == [0, 0.25, 0.5, 0.75, 1]
            assert {v.dims for v in group.values()} == {("t",)}
            assert (group["test_loss"].units, group["test_error"].units) == ("nat", "percent")
            for what in ("train_loss", "train_error", "test_loss", "test_error"):
                zero = group[what].stderr == 0
                assert zero.all() if run is whole else not zero.any()
        straight = np.linalg.norm(plain(zoo.find("c")).flat() - plain(zoo.find("d")).flat())
        np.testing.assert_allclose(
            groups["line"]["arc_length"].values, groups["line"]["t"].values * straight, rtol=1e-5
        )
        assert groups["curve"]["arc_length"].values[-1] > straight
        assert run.metrics["end_distance"] == pytest.approx(straight, rel=1e-5)
        assert run.metrics["arc_length"] == pytest.approx(groups["curve"]["arc_length"].values[-1])
    assert whole.metrics["line_barrier_loss_stderr"] == whole.metrics["line_barrier_error_stderr"] == 0
    assert part.metrics["line_barrier_loss_stderr"] > 0
    assert part.metrics["line_barrier_error_stderr"] > 0


def test_xarray_opens_a_profile_with_its_coordinate(zoo):
    xarray = pytest.importorskip("xarray")
    run = zoo.find("ab")
    with xarray.open_dataset(run.verified("metrics.h5"), group="curve", engine="h5netcdf") as found:
        assert found.test_error.sel(t=0).item() == run.metrics["end_test_error_a"]
        assert found.train_loss_stderr.dims == ("t",)


@pytest.mark.parametrize("kind", ["bezier", "polyline"])
def test_several_bends_start_evenly_on_the_line(zoo, join, plain, kind):
    run = join(zoo, "a", "b", bend=3, kind=kind, lr=1e-12, points=3)
    bends = run.tensors("path.safetensors")["bends"]
    assert bends.shape == (3, zoo.find("a").metrics["parameters"])
    a, b = (plain(zoo.find(name)).flat().numpy() for name in "ab")
    np.testing.assert_allclose(bends, [a + share * (b - a) for share in (0.25, 0.5, 0.75)], atol=1e-6)
    assert run.metrics["bends"] == 3
    assert run.name == f"{kind}-a-b"
    groups = run.measurements()
    for what in ("train_loss", "test_loss", "arc_length"):
        np.testing.assert_allclose(groups["curve"][what].values, groups["line"][what].values, rtol=1e-5)


def test_training_lowers_the_loss_along_the_curve(zoo, join):
    run = join(zoo, "a", "b", epochs=20)
    curve, line = (run.measurements()[name]["train_loss"].values for name in ("curve", "line"))
    assert curve[1:-1].mean() < line[1:-1].mean()
    assert (curve[[0, -1]] == line[[0, -1]]).all()
    assert run.measurements()["training"]["mean_loss"].values.shape == (20,)


def everything(store):
    return sorted(path.name for path in store.runs_folder.iterdir()), len(store.rows())


def test_ends_that_are_equal_are_refused_and_leave_nothing_behind(zoo, at, teach):
    from rashomon_cli.operations.train import TrainConfig, train

    same = train(at(zoo, again=True, name="a2"), TrainConfig(**zoo.find("a").record.config))
    before = everything(zoo)
    cases = [("a", "a", "both ends are a"), ("a", same.name, "a and a2 have equal parameters")]
    cases += [("ab@0", "a", "ab@0 and a have equal parameters"), ("ab@0.5", "ab@0.5", "both ends are ab@0.5")]
    for a, b, words in cases:
        with pytest.raises(Refused, match=words) as refused:
            connect(at(zoo), ConnectConfig(a=a, b=b))
        assert (refused.value.code, refused.value.hint) == (1, "name two different models")
        assert everything(zoo) == before


def test_ends_that_do_not_fit_are_refused_with_the_first_keys_and_shapes(zoo, at, teach):
    teach(zoo, "wide", model="mlp(width=9)", epochs=1)
    before = everything(zoo)
    with pytest.raises(Refused, match=r"^wide does not fit a: .*layers\.1\.weight is \(9, 64\), not \(8, 64\); layers"):
        connect(at(zoo), ConnectConfig(a="a", b="wide"))
    with pytest.raises(Refused, match=r"^c does not fit a: lacks layers\.1\..*; has features\.0\.weight, "):
        connect(at(zoo), ConnectConfig(a="a", b="c"))
    with pytest.raises(Refused, match=r"cd@0\.5 does not fit ab@0\.5"):
        connect(at(zoo), ConnectConfig(a="ab@0.5", b="cd@0.5"))
    assert everything(zoo) == before


@pytest.mark.parametrize(
    ("name", "words", "hint"),
    [
        ("nobody", "no run 'nobody'", "rashomon ls"),
        ("ab", "ab is a path; this takes a model", "write ab@0.5 for a model on it"),
        ("b@0.5", "b is a model, it has no position @0.5", "write b"),
        ("ab@1.5", "outside", "write ab@0.5"),
    ],
)
def test_what_is_no_model_is_a_usage_error(zoo, at, name, words, hint):
    before = everything(zoo)
    with pytest.raises(UsageError, match=words) as wrong:
        connect(at(zoo), ConnectConfig(a="a", b=name))
    assert wrong.value.hint == hint
    assert everything(zoo) == before


def test_other_data_and_another_loss_are_told(zoo, at, teach):
    teach(zoo, "other", data="digits(train=100)", loss="mse", epochs=1)
    context = at(zoo)
    run = connect(context, ConnectConfig(a="a", b="other", epochs=1, points=2, precision="float32"))
    assert context.progress.notes == [
        "a and other were trained on different losses; that of a is used",
        "a was trained on digits(train=200), other on digits(train=100); the first is used",
    ]
    assert run.record.notes == context.progress.notes
    assert run.record.data["spec"] == "digits(train=200)"
    assert run.record.config["loss"] == "cross-entropy"


@pytest.mark.parametrize("ends", ["ab", "cd"])
@pytest.mark.parametrize("steps", [2, 5, TRAINING, TRAINING + 7, TRAINING + 13])
def test_an_interrupted_connection_resumes_bit_for_bit(zoo, join, at, ends, steps):
    options = {"seed": 5, "samples": 150}
    whole = join(zoo, *ends, name="whole", **options)
    before = everything(zoo)
    with pytest.raises(KeyboardInterrupt):
        connect(at(zoo, steps, again=True), _same(whole, ends))
    assert everything(zoo) == before if steps < 4 else len(zoo.rows()) == before[1] + 1
    context = at(zoo, again=True)
    run = connect(context, _same(whole, ends))
    assert run.id != whole.id
    assert digest(run) == digest(whole)
    assert run.metrics == whole.metrics
    for group, variables in whole.measurements().items():
        for name, variable in variables.items():
            np.testing.assert_array_equal(run.measurements()[group][name].values, variable.values)
    epochs = min(steps, TRAINING) // 4
    assert context.notes == ([f"resumed {run.name} after epoch {epochs}"] if epochs else [])
    assert not (run.folder / "parts").exists()


def _same(run, ends):
    kept = {k: v for k, v in run.record.config.items() if k in ConnectConfig.model_fields}
    return ConnectConfig(a=ends[0], b=ends[1], **kept | {"weight_decay": None})


def test_positions_evaluated_before_an_interruption_are_not_evaluated_again(zoo, join, at):
    whole = at(zoo)
    config = ConnectConfig(a="a", b="b", epochs=1, batch_size=50, points=5, samples=100, precision="float32")
    connect(whole, config)
    with pytest.raises(KeyboardInterrupt):
        connect(at(zoo, 4 + 7, again=True), config)  # an epoch, three positions, half a position
    later = at(zoo, again=True)
    connect(later, config)
    assert (whole.progress.ticks, later.progress.ticks) == (4 + 8 * 2, 4 + 5 * 2)


def test_the_same_request_by_any_name_is_the_same_run(zoo, join, at):
    run = join(zoo, "a", "b")
    assert run.name == "ab"
    zoo.rename("a", "first")
    ids = [zoo.find(name).id for name in ("first", "b")]
    for a, b in (("first", "b"), ids, (ids[0].lower(), ids[1])):
        assert join(zoo, a, b).id == run.id
    assert join(zoo, "first", "b", stop_after=0).id == run.id  # not one step
    assert join(zoo, "b", "first").id != run.id
    assert join(zoo, "first", "b", seed=1).id != run.id


def test_a_model_on_a_path_is_an_end(zoo, join):
    run = join(zoo, "cd@0.5", "d", points=3)
    assert [(p.id, p.role, p.t) for p in run.record.parents] == [
        (zoo.find("cd").id, "a", 0.5),
        (zoo.find("d").id, "b", None),
    ]
    middle = zoo.find("cd").measurements()["curve"]
    curve = run.measurements()["curve"]
    for what in ("train_loss", "test_loss", "train_error"):
        assert curve[what].values[0] == pytest.approx(middle[what].values[2], rel=1e-5)
        assert curve[what].values[-1] == pytest.approx(middle[what].values[-1], rel=1e-5)
    further = join(zoo, f"{run.name}@0.5", "c", points=3)
    start = further.measurements()["curve"]["train_loss"].values[0]
    assert start == pytest.approx(curve["train_loss"].values[1], rel=1e-5)


def test_a_three_times_finer_grid_finds_the_same_barrier(zoo, join, at):
    # The fine grid has every coarse position, measured on the same examples with BatchNorm of the same sample: the
    # common positions agree to rounding, so the finer barrier is no lower, and on a smooth path hardly higher.
    run = join(zoo, "c", "d", samples=100, seed=3)
    config = ProbeConfig(run=run.name, what="loss", points=13, refresh_samples=100, seed=3)
    fine = probe(at(zoo), config, {"loss": LossConfig(loss_samples=100)}).metrics
    coarse = run.measurements()["curve"]
    for what in ("train_loss", "test_loss", "train_error", "test_error"):
        np.testing.assert_allclose(fine[what][::3], coarse[what].values, rtol=1e-6)
        np.testing.assert_allclose(fine[f"{what}_stderr"][::3], coarse[what].stderr, rtol=1e-6)
    finer = max(fine["train_loss"]) - max(fine["train_loss"][0], fine["train_loss"][-1])
    height, error = run.metrics["curve_barrier_loss"], run.metrics["curve_barrier_loss_stderr"]
    assert error > 0
    assert height - 1e-6 <= finer <= height + 3 * error


def test_any_model_of_the_users_with_dropout_resumes_bit_for_bit(zoo, teach, join, at, own_model):
    for seed in (1, 2):
        teach(zoo, f"own{seed}", model=own_model, seed=seed, epochs=1)
    whole = join(zoo, "own1", "own2")
    assert set(whole.metrics) >= HEADLINES
    for end, position in (("own1", 0), ("own2", -1)):
        stored = zoo.find(end).metrics["test_loss"]
        assert whole.measurements()["curve"]["test_loss"].values[position] == pytest.approx(stored, rel=1e-5)
    with pytest.raises(KeyboardInterrupt):
        connect(at(zoo, 6, again=True), _same(whole, ("own1", "own2")))
    again = connect(at(zoo, again=True), _same(whole, ("own1", "own2")))
    assert digest(again) == digest(whole)


def test_regression_has_a_loss_barrier_and_no_errors(zoo, teach, join, regression):
    for seed in (1, 2):
        teach(zoo, f"line{seed}", data=regression, loss="mse", seed=seed, lr=0.02)
    run = join(zoo, "line1", "line2", lr=0.01)
    assert run.metrics["curve_barrier_loss"] >= 0
    assert not any("barrier_error" in name for name in run.metrics)
    assert [run.metrics[n] for n in ("curve_max_test_error", "curve_min_test_error", "end_test_error_a")] == [None] * 3
    curve = run.measurements()["curve"]
    assert np.isnan(curve["test_error"].values).all()
    assert curve["test_loss"].values[0] == pytest.approx(zoo.find("line1").metrics["test_loss"], rel=1e-5)


def test_weight_decay_loss_and_augmentation_come_from_the_first_end(zoo, join, teach):
    teach(zoo, "light", weight_decay=0.01, seed=3, epochs=1)
    inherited = join(zoo, "light", "a", epochs=1, points=2)
    assert inherited.metrics["weight_decay"] == inherited.record.config["weight_decay"] == 0.01
    assert join(zoo, "light", "a", epochs=1, points=2, weight_decay=0.01).id == inherited.id
    heavy = join(zoo, "light", "a", epochs=1, points=2, weight_decay=1.0)
    assert heavy.metrics["weight_decay"] == 1.0
    bends = [np.linalg.norm(run.tensors("path.safetensors")["bends"]) for run in (inherited, heavy)]
    assert bends[1] < bends[0]


def test_a_plan_counts_forward_passes_and_starts_nothing(zoo, at):
    before = everything(zoo)
    steps = plan(at(zoo), ConnectConfig(a="a", b="b", epochs=3, points=11, samples=100, seed=9)).steps()
    watched = (3 * 5 + 2) * 2 * 100
    assert [step.forward_passes for step in steps] == [3 * 200, watched, 20 * 100, 20 * 200]
    assert everything(zoo) == before


@pytest.mark.parametrize(
    ("option", "value"), [("samples", 0), ("samples", "-5"), ("points", 1), ("bend", 0), ("kind", "spline")]
)
def test_values_out_of_range_are_usage_errors(option, value):
    with pytest.raises(UsageError, match=f"--{option} = "):
        build(ConnectConfig, {"a": "a", "b": "b", option: value})


def test_the_command_line_prints_the_headlines(zoo, rashomon):
    import json

    found = rashomon("connect", "a", "b", "--bend", 1, "--epochs", 1, "--points", 3, "--store", zoo.root, "--json")
    assert found.code == 0, found.err
    shown = json.loads(found.out)
    assert set(shown["metrics"]) >= HEADLINES
    assert (shown["kind"], [p["role"] for p in shown["parents"]]) == ("path", ["a", "b"])
    refused = rashomon("connect", "a", "c", "--store", zoo.root)
    assert refused.code == 1
    assert "c does not fit a" in refused.err
    assert "hint: " in refused.err
