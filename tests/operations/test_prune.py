from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch

from rashomon_cli.core.errors import UsageError
from rashomon_cli.core.options import build
from rashomon_cli.operations import subjects, weights
from rashomon_cli.operations.prune import PruneConfig, plan, prune
from rashomon_cli.science import evaluation

CPU = torch.device("cpu")
EPOCH = 4  # steps: 200 examples in batches of 50
SUFFIXES = ("", "_before", "_unrefreshed")
FIGURES = {f"{split}_{what}" for split in ("train", "test") for what in ("loss", "accuracy")}
HEADLINES = {"sparsity", "nonzero", "parameters", "within_epsilon", "guard_stopped"}


def cut(context, run, **options):
    given = {"l1": 0.01, "epochs": 2, "batch_size": 50, "precision": "float32", "epsilon": 10.0}
    return prune(context, build(PruneConfig, {"run": run} | given | options))


def digest(run, path="model.safetensors"):
    return hashlib.sha256(run.verified(path).read_bytes()).hexdigest()


def weights_and_mask(run):
    weights, mask = run.tensors(), run.tensors("mask.safetensors")
    return {name: (weights[name], mask[name]) for name in mask}


@pytest.fixture
def steps(monkeypatch):
    """How many steps of the optimiser were taken."""
    taken = []
    original = torch.optim.SGD.step

    def counted(self, *arguments):
        taken.append(1)
        return original(self, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", counted)
    return taken


@pytest.mark.parametrize("model", ["a", "c"])
def test_weights_are_zero_exactly_where_the_mask_is_and_large_elsewhere(zoo, at, model):
    run = cut(at(zoo), model, thr=0.1)
    found = weights_and_mask(run)
    pruned = {name for name, (weight, _) in found.items() if weight.ndim > 1}
    for name, (weight, mask) in found.items():
        assert mask.dtype == bool
        if name in pruned:
            assert 0 < mask.mean() < 1, name
            assert (weight[~mask] == 0).all()
            assert (np.abs(weight[mask]) >= 0.1).all()
        else:  # biases and BatchNorm
            assert mask.all(), name
            assert (weight != 0).any()
    assert set(found) | {n for n in run.tensors() if "running" in n or "num_batches" in n} == set(run.tensors())
    kept = sum(found[name][1].sum() for name in pruned)
    total = sum(found[name][1].size for name in pruned)
    assert run.metrics["sparsity"] == pytest.approx(1 - kept / total)
    assert run.metrics["parameters"] == sum(weight.size for weight, _ in found.values())
    assert run.metrics["nonzero"] == sum(np.count_nonzero(weight) for weight, _ in found.values())
    layers = run.measurements()["layers"]
    assert set(layers["layer"].values.tolist()) == pruned
    for name, density, count in zip(*(layers[n].values for n in ("layer", "density", "weights")), strict=True):
        assert density == pytest.approx(found[name][1].mean())
        assert count == found[name][1].size


@pytest.mark.parametrize("model", ["a", "c"])
def test_the_figures_are_those_of_the_published_weights(zoo, at, plain, model):
    run = cut(at(zoo), model, thr=0.1)
    assert set(run.metrics) >= HEADLINES | {f"{name}{suffix}" for name in FIGURES for suffix in SUFFIXES}
    published, before = plain(run).figures(), plain(zoo.find(model)).figures()
    fresh = plain(run).with_own_statistics().figures()
    for name in FIGURES:
        assert run.metrics[name] == pytest.approx(published[name], rel=1e-5), name
        assert run.metrics[name] == pytest.approx(fresh[name], rel=1e-5), name
        assert run.metrics[f"{name}_before"] == pytest.approx(before[name], rel=1e-5), name
    refreshed = {suffix: run.metrics[f"test_loss{suffix}"] for suffix in ("", "_unrefreshed")}
    assert (refreshed[""] == refreshed["_unrefreshed"]) == (model == "a")
    assert isinstance(run.metrics["nonzero"], int)
    assert (run.kind, run.name) == ("model", f"{model}-l1-0.01-thr-0.1")
    assert [(p.id, p.role) for p in run.record.parents] == [(zoo.find(model).id, "model")]


def test_without_epochs_it_only_cuts(zoo, at, plain, steps):
    run = cut(at(zoo), "c", epochs=0, thr=0.1)
    assert steps == []
    start = zoo.find("c").tensors()
    for name, (weight, _) in weights_and_mask(run).items():
        expected = np.where(np.abs(start[name]) < 0.1, 0, start[name]) if weight.ndim > 1 else start[name]
        np.testing.assert_array_equal(weight, expected)
    own = plain(zoo.find("c")).with_own_statistics()
    statistics = {n: v.numpy() for n, v in own.module.state_dict().items() if "running" in n or "num_batches" in n}
    unrefreshed = plain(run, run.tensors() | statistics).figures()
    for name, value in own.figures().items():
        assert run.metrics[f"{name}_regularised"] == pytest.approx(value, rel=1e-5)
        assert run.metrics[f"{name}_unrefreshed"] == pytest.approx(unrefreshed[name], rel=1e-5)
    assert run.measurements()["guard"]["step"].values.tolist() == [0]
    assert run.metrics["guard_stopped"] is False


def test_within_epsilon_compares_the_published_loss_with_the_start(zoo, at):
    rough, gentle = (cut(at(zoo), "a", epochs=0, thr=thr, epsilon=0.05) for thr in (10, 0.001))
    assert (rough.metrics["within_epsilon"], gentle.metrics["within_epsilon"]) == (False, True)
    assert (rough.metrics["sparsity"], gentle.metrics["sparsity"]) == (1, pytest.approx(0, abs=0.05))
    assert rough.metrics["train_loss"] > rough.metrics["train_loss_before"] + 0.05
    assert rough.metrics["guard_stopped"] is False


def test_all_takes_biases_and_batchnorm_too(zoo, at):
    run = cut(at(zoo), "c", epochs=0, thr=10, all_=True)
    assert (run.metrics["sparsity"], run.metrics["nonzero"]) == (1, 0)
    assert not any(mask.any() for _, mask in weights_and_mask(run).values())
    assert set(run.measurements()["layers"]["layer"].values) == set(run.tensors("mask.safetensors"))


def test_the_guard_stops_and_the_last_point_within_epsilon_is_pruned(zoo, at, steps):
    context = at(zoo)
    options = {"l1": 0.1, "lr": 0.02, "epsilon": 0.05, "guard_every": 1, "guard_samples": 80, "seed": 3}
    run = cut(context, "a", epochs=5, thr=0, **options)
    guard = run.measurements()["guard"]
    assert run.metrics["guard_stopped"] is True
    seen, start = guard["loss"].values, float(guard["start_loss"].values)
    assert len(seen) >= 3
    assert seen[0] == start
    assert (seen[:-1] <= start + 0.05).all()
    assert seen[-1] > start + 0.05
    assert guard["step"].values.tolist() == list(range(len(seen)))
    assert len(steps) == len(seen) - 1
    assert context.notes[0].startswith(f"the guard stopped at step {len(steps)}: loss {seen[-1]:.4f} exceeds")
    loaded = subjects.load_problem(context, run, CPU)
    theta, buffers = weights.load_theta(loaded, run, CPU)
    watched = loaded.batches("train").sample(80, 3, "guard")
    assert evaluation.evaluate(loaded.problem, theta, buffers, watched).loss == pytest.approx(seen[-2], rel=1e-6)
    assert float(guard["l1_norm"].values) < float(guard["l1_norm_before"].values)
    again = cut(at(zoo), "a", epochs=9, thr=0.01, **options)
    assert again.metrics["guard_stopped"] is True
    assert len(steps) == len(seen) - 1
    np.testing.assert_array_equal(again.measurements()["guard"]["loss"].values, seen)


def test_a_guard_that_saw_nan_has_stopped_for_other_thresholds_too(zoo, at, steps, monkeypatch):
    original, calls = evaluation.evaluate, []

    def broken(*arguments):
        calls.append(1)
        found = original(*arguments)
        found.losses.mul_(float("nan") if len(calls) == 2 else 1.0)
        return found

    monkeypatch.setattr(evaluation, "evaluate", broken)
    first = cut(at(zoo), "a", thr=0.1)
    assert len(steps) == EPOCH
    second = cut(at(zoo), "a", thr=0.2)
    assert len(steps) == EPOCH
    assert first.metrics["guard_stopped"] is second.metrics["guard_stopped"] is True
    assert second.metrics["train_loss_regularised"] == first.metrics["train_loss_before"]


def test_another_threshold_reuses_the_training(zoo, at, steps):
    first = cut(at(zoo), "c", thr=0.05)
    assert len(steps) == 2 * EPOCH
    context = at(zoo)
    second = cut(context, "c", thr=0.2)
    assert len(steps) == 2 * EPOCH
    assert context.notes == ["found 2 epochs of the L1 training in the store"]
    assert second.metrics["sparsity"] > first.metrics["sparsity"]
    assert second.metrics["test_loss_regularised"] == first.metrics["test_loss_regularised"]
    for name, (weight, mask) in weights_and_mask(second).items():
        np.testing.assert_array_equal(weight, first.tensors()[name] * mask)
    cut(at(zoo), "c", thr=0.2, l1=0.02)
    assert len(steps) == 4 * EPOCH


def test_more_and_fewer_epochs_share_the_training(zoo, twin, at, steps):
    cut(at(zoo), "c", epochs=1)
    longer = cut(at(zoo), "c", epochs=3)
    assert len(steps) == 3 * EPOCH
    middle = cut(at(zoo), "c", epochs=2)
    assert len(steps) == 3 * EPOCH
    for run in (longer, middle):
        direct = cut(at(twin, again=True), "c", epochs=run.record.config["epochs"])
        assert (digest(run), run.metrics) == (digest(direct), direct.metrics)
        np.testing.assert_array_equal(
            run.measurements()["guard"]["loss"].values, direct.measurements()["guard"]["loss"].values
        )


@pytest.mark.parametrize("model", ["a", "c"])
@pytest.mark.parametrize("stop", [2, EPOCH + 1, 3 * EPOCH - 1, 3 * EPOCH, 3 * EPOCH + 3])
def test_an_interrupted_pruning_resumes_bit_for_bit(zoo, twin, at, steps, model, stop):
    whole = cut(at(twin), model, epochs=3, guard_every=3)
    steps.clear()
    with pytest.raises(KeyboardInterrupt):
        cut(at(zoo, stop), model, epochs=3, guard_every=3)
    assert [run.name for run in zoo.runs() if run.record.operation == "prune"] == []
    run = cut(at(zoo), model, epochs=3, guard_every=3)
    assert (digest(run), digest(run, "mask.safetensors")) == (digest(whole), digest(whole, "mask.safetensors"))
    assert run.metrics == whole.metrics
    assert len(steps) <= 4 * EPOCH
    for name, variable in whole.measurements()["guard"].items():
        np.testing.assert_array_equal(run.measurements()["guard"][name].values, variable.values)


def test_pruning_again_keeps_the_old_mask(zoo, at):
    first = cut(at(zoo), "a", thr=0.15, epochs=0)
    second = cut(at(zoo), first.name, thr=0.01, l1=0.0, lr=0.1)
    pairs = [(first.tensors("mask.safetensors")[n], *found) for n, found in weights_and_mask(second).items()]
    for old, weight, new in pairs:
        assert not new[~old].any()
        assert (weight[~old] == 0).all()
    assert second.metrics["sparsity"] >= first.metrics["sparsity"] > 0.1
    assert any((weight != before).any() for (_, weight, _), before in zip(pairs, first.tensors().values()))


def test_training_on_from_a_pruned_model_keeps_its_zeros(zoo, at, teach):
    pruned = cut(at(zoo), "c", thr=0.1)
    after = teach(zoo, "after", model="smallcnn(width=4)", init=pruned.name, seed=9, lr=0.3)
    assert digest(after, "mask.safetensors") == digest(pruned, "mask.safetensors")
    moved = 0
    for name, (weight, mask) in weights_and_mask(after).items():
        assert (weight[~mask] == 0).all()
        moved += int((weight != pruned.tensors()[name]).sum())
    assert moved > 0.5 * pruned.metrics["nonzero"]
    again = cut(at(zoo), "after", thr=0.01)
    assert again.metrics["sparsity"] >= pruned.metrics["sparsity"]


def test_a_model_on_a_path_can_be_pruned(zoo, at, plain):
    run = cut(at(zoo), "cd@0.5", epochs=0, thr=0.0)
    assert run.name == "cd-t0.5-l1-0.01-thr-0"
    assert run.record.parents[0].t == 0.5
    bend = torch.from_numpy(zoo.find("cd").tensors("path.safetensors")["bends"].copy())[0]
    c, d = (plain(zoo.find(name)).flat() for name in "cd")
    torch.testing.assert_close(plain(run).flat(), 0.25 * c + 0.5 * bend + 0.25 * d)
    curve = zoo.find("cd").measurements()["curve"]
    assert run.metrics["test_loss_before"] == pytest.approx(curve["test_loss"].values[2], rel=1e-5)
    assert cut(at(zoo), "cd@0.25", epochs=0, thr=0.0).id != run.id


def test_proximal_steps_make_exact_zeros_and_the_subgradient_does_not(zoo, at):
    exact, hovering = (cut(at(zoo), "a", l1=0.1, thr=0.0, l1_step=step) for step in ("proximal", "subgradient"))
    assert exact.metrics["sparsity"] > 0.1
    assert hovering.metrics["sparsity"] == 0
    for run in (exact, hovering):
        norms = [float(run.measurements()["guard"][name].values) for name in ("l1_norm_before", "l1_norm")]
        assert norms[1] < 0.9 * norms[0]
        prunable = [weight for weight, _ in weights_and_mask(run).values() if weight.ndim > 1]
        assert norms[1] == pytest.approx(sum(float(np.abs(weight).sum()) for weight in prunable), rel=1e-5)
    start = [w for w in zoo.find("a").tensors().values() if w.ndim > 1]
    assert norms[0] == pytest.approx(sum(float(np.abs(weight).sum()) for weight in start), rel=1e-5)


def test_the_penalty_takes_the_place_of_weight_decay(zoo, at, teach):
    # Without a penalty two trainings that differ in the decay of the model they start from are the same.
    given = {"seed": 5, "epochs": 1, "lr": 1e-12}
    runs = [teach(zoo, f"decay{k}", weight_decay=k / 10, **given) for k in range(2)]
    found = [cut(at(zoo), run.name, l1=0.0, thr=0.0) for run in runs]
    assert found[0].record.config["weight_decay"] == 0
    np.testing.assert_allclose(*(run.tensors()["layers.1.weight"] for run in found), rtol=1e-5)


def test_the_same_request_by_any_name_is_the_same_run(zoo, at, steps):
    run = cut(at(zoo), "a")
    zoo.rename("a", "first")
    assert cut(at(zoo, 0), "first").id == run.id
    assert cut(at(zoo, 0), zoo.find("first").id[:12].lower()).id == run.id
    assert len(steps) == 2 * EPOCH
    other = cut(at(zoo, again=True), "first")
    assert other.id != run.id
    assert digest(other) == digest(run)
    assert len(steps) == 2 * EPOCH


def test_a_model_of_the_users_keeps_its_norms(zoo, at, teach, own_model):
    teach(zoo, "own", model=own_model, epochs=1)
    run = cut(at(zoo), "own", thr=0.1)
    found = weights_and_mask(run)
    assert {name for name, (_, mask) in found.items() if not mask.all()} == {"0.weight", "5.weight"}
    assert found["1.weight"][1].all()  # GroupNorm


def test_a_regression_is_pruned_by_its_loss(zoo, at, teach, regression):
    start = teach(zoo, "line", data=regression, loss="mse", lr=0.02)
    run = cut(at(zoo), "line", thr=0.2)
    assert run.metrics["test_loss_before"] == pytest.approx(start.metrics["test_loss"], rel=1e-6)
    assert 0 < run.metrics["sparsity"] < 1
    assert [run.metrics[f"{split}_accuracy{end}"] for split in ("train", "test") for end in SUFFIXES] == [None] * 6
    assert isinstance(run.metrics["within_epsilon"], bool)


def test_what_is_no_model_is_a_usage_error(zoo, at):
    before = len(zoo.rows())
    with pytest.raises(UsageError, match="ab is a path; this takes a model") as wrong:
        cut(at(zoo), "ab")
    assert wrong.value.hint == "write ab@0.5 for a model on it"
    with pytest.raises(UsageError, match="no run 'nobody'"):
        cut(at(zoo), "nobody")
    assert len(zoo.rows()) == before


@pytest.mark.parametrize(
    ("name", "value"), [("samples", 0), ("thr", -0.1), ("l1", "nan"), ("epochs", -1), ("guard_every", 0)]
)
def test_values_out_of_range_are_usage_errors(name, value):
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} = "):
        build(PruneConfig, {"run": "a", name: value})


def test_a_plan_counts_forward_passes_and_starts_nothing(zoo, at):
    before = len(zoo.rows())
    asked = {"run": "a", "epochs": 3, "batch_size": 50, "guard_every": 3, "guard_samples": 100, "samples": 50}
    steps = plan(at(zoo), build(PruneConfig, asked)).steps()
    looks = 1 + 3 * 2  # at the start, then after the third and the last step of every epoch
    assert [step.forward_passes for step in steps] == [3 * 200, looks * 2 * 100, 4 * 2 * 50, 200]
    assert len(zoo.rows()) == before
    seen = cut(at(zoo), "a", epochs=3, guard_every=3, guard_samples=100).measurements()["guard"]["step"]
    assert seen.values.tolist() == [0, 3, 4, 7, 8, 11, 12]


def test_the_command_line_prints_the_headlines(zoo, rashomon):
    flags = ["--l1", "1e-3", "--thr", "0.1", "--epochs", 1, "--batch-size", 50, "--all", "--l1-step", "subgradient"]
    shown = rashomon("prune", "a", *flags, "--store", zoo.root, "--json")
    assert shown.code == 0, shown.err
    found = json.loads(shown.out)
    assert set(found["metrics"]) >= HEADLINES
    assert set(found["files"]) == {"model.safetensors", "mask.safetensors", "metrics.h5"}
    refused = rashomon("prune", "a", "--l1-step", "sideways", "--store", zoo.root)
    assert refused.code == 2
