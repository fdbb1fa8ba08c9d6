from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from rashomon_cli.core.errors import Damaged, UsageError
from rashomon_cli.core.options import Config, build, option
from rashomon_cli.operations import problems
from rashomon_cli.operations.probe import _KNOWN, ProbeConfig, plan, probe
from rashomon_cli.operations.quantities import QUANTITIES, Quantity
from rashomon_cli.operations.quantities.gradient import GradientConfig
from rashomon_cli.operations.quantities.hvp import HvpConfig
from rashomon_cli.operations.quantities.loss import LossConfig
from rashomon_cli.science import curvature, losses
from rashomon_cli.sources.batches import cuts

ESTIMATES = {"train_loss", "test_loss", "train_error", "test_error", "ece", "gradient_norm"}
ON_PATHS = {f"{what}_{where}" for what in ("hvp_norm", "curvature") for where in ("straight", "detour", "tangent")}
RANDOM = {"hvp_norm_random", "curvature_random"}
WITHOUT_MODELS = ("straight", "detour", "tangent", "path", "distance", "arc")


def with_errors(names):
    return names | {f"{name}_stderr" for name in names}


def measure(context, run, settings=None, **options):
    return probe(context, build(ProbeConfig, {"run": run, "points": 3} | options), settings)


class Dense:
    """Loss of an MLP as a function of one vector, in plain PyTorch and float64."""

    def __init__(self, plain):
        self.module, self.x, self.y = plain.module.double(), plain.x["train"].double(), plain.y["train"]
        self.theta = plain.flat()

    def outputs(self, theta, x):
        named = dict(self.module.named_parameters())
        pieces = theta.split([p.numel() for p in named.values()])
        shaped = {name: piece.view_as(named[name]) for name, piece in zip(named, pieces, strict=True)}
        return torch.func.functional_call(self.module, shaped, (x,))

    def loss(self, theta):
        return nn.functional.cross_entropy(self.outputs(theta, self.x), self.y)


def test_a_path_gives_lists_over_its_points(zoo, at):
    run = measure(at(zoo), "cd")
    wanted = with_errors(ESTIMATES | ON_PATHS | RANDOM) | {"t", "eigenvalue_max", "distance", "arc_length"}
    assert set(run.metrics) >= wanted
    assert run.metrics["t"] == [0, 0.5, 1]
    for name in wanted:
        assert len(run.metrics[name]) == 3, name
        assert all(isinstance(value, float) for value in run.metrics[name]), name
    assert run.metrics["batchnorm"] == "refreshed"
    assert (run.kind, run.name, run.record.operation) == ("measurement", "probe-cd", "probe")
    assert [(p.id, p.role) for p in run.record.parents] == [(zoo.find("cd").id, "subject")]
    curve = zoo.find("cd").measurements()["curve"]
    for name in ("train_loss", "test_loss", "train_error", "test_error", "arc_length"):
        np.testing.assert_allclose(run.metrics[name], curve[name].values[::2], rtol=1e-5)


def test_a_model_gives_numbers_and_has_no_directions_of_a_path(zoo, at):
    run = measure(at(zoo), "c")
    wanted = with_errors(ESTIMATES | RANDOM) | {"eigenvalue_max"}
    assert set(run.metrics) >= wanted
    assert all(isinstance(run.metrics[name], float) for name in wanted)
    assert "t" not in run.metrics
    for metrics in (run.metrics, run.measurements()["probe"]):
        assert not [name for name in metrics for word in WITHOUT_MODELS if word in name]
    assert run.metrics["batchnorm"] == "stored"
    assert run.metrics["test_loss"] == pytest.approx(zoo.find("c").metrics["test_loss"], rel=1e-6)
    assert run.metrics["train_error"] == pytest.approx(100 - 100 * zoo.find("c").metrics["train_accuracy"])


def test_a_model_on_a_path_gives_numbers_and_its_t(zoo, at):
    whole, one = measure(at(zoo), "cd"), measure(at(zoo), "cd@0.5")
    assert one.metrics["t"] == 0.5
    assert one.name == "probe-cd-t0.5"
    assert one.record.parents[0].t == 0.5
    assert set(one.metrics) == set(whole.metrics)
    for name, value in whole.metrics.items():
        if isinstance(value, list):
            wanted = value[1] if isinstance(value[1], str) else pytest.approx(value[1], rel=1e-6)
            assert one.metrics[name] == wanted, name
    assert one.measurements()["probe"]["curvature_tangent"].dims == ()


def test_values_are_those_of_dense_matrices(zoo, at, plain):
    start = plain(zoo.find("a"))
    dense, test_x, test_y = Dense(start), start.x["test"].double(), start.y["test"]
    a, b = dense.theta, Dense(plain(zoo.find("b"))).theta
    bend = torch.from_numpy(zoo.find("ab").tensors("path.safetensors")["bends"].copy()).double()[0]
    seed = 4
    settings = {"hvp": HvpConfig(hvp_samples="all", hvp_random=3)}
    t = 0.25
    found = measure(at(zoo), "ab", settings, points=5, float64=True, seed=seed).metrics
    theta = (1 - t) ** 2 * a + 2 * t * (1 - t) * bend + t**2 * b
    straight = (b - a) / (b - a).norm()
    detour = (bend - a) - ((bend - a) @ straight) * straight
    velocity = 2 * (1 - t) * (bend - a) + 2 * t * (b - bend)
    directions = {"straight": straight, "detour": detour / detour.norm(), "tangent": velocity / velocity.norm()}
    hessian = torch.autograd.functional.hessian(dense.loss, theta)
    gradient = torch.autograd.functional.jacobian(dense.loss, theta)
    for name, v in directions.items():
        assert found[f"hvp_norm_{name}"][1] == pytest.approx(float((hessian @ v).norm()), rel=1e-6)
        assert found[f"curvature_{name}"][1] == pytest.approx(float(v @ hessian @ v), rel=1e-6)
        assert found[f"curvature_{name}_stderr"][1] == found[f"hvp_norm_{name}_stderr"][1] == 0
    units = curvature.random_units(theta, 3, seed)
    assert found["hvp_norm_random"][1] == pytest.approx(float((units @ hessian).norm(dim=1).mean()), rel=1e-6)
    assert found["curvature_random"][1] == pytest.approx(float(((units @ hessian) * units).sum(1).mean()), rel=1e-6)
    assert found["eigenvalue_max"][1] == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=2e-2)
    assert found["gradient_norm"][1] == pytest.approx(float(gradient.norm()), rel=1e-6)
    decay = zoo.find("ab").record.config["weight_decay"]
    assert decay == 5e-4
    assert found["gradient_norm_with_penalty"][1] == pytest.approx(float((gradient + decay * theta).norm()), rel=1e-6)
    assert found["train_loss"][1] == pytest.approx(float(dense.loss(theta)), rel=1e-9)
    probabilities = dense.outputs(theta, test_x).softmax(1).max(1)
    right = (probabilities.indices == test_y).double()
    assert found["test_error"][1] == pytest.approx(100 * (1 - float(right.mean())))
    bins = (probabilities.values * 15).long()
    gaps = [float((probabilities.values - right)[bins == k].sum().abs()) for k in range(15)]
    assert found["ece"][1] == pytest.approx(sum(gaps) / len(right))
    assert found["distance"][1] == pytest.approx(float((theta - a).norm()), rel=1e-6)


def test_single_precision_is_close_to_double(zoo, at):
    single, double = (measure(at(zoo), "ab@0.25", float64=wide).metrics for wide in (False, True))
    for name in ESTIMATES | ON_PATHS | RANDOM:
        assert single[name] == pytest.approx(double[name], rel=1e-3, abs=1e-5), name


def test_the_penalty_of_the_training_is_added_to_gradient_and_hessian(zoo, at, teach, plain):
    teach(zoo, "heavy", weight_decay=0.1, epochs=1)
    dense = Dense(plain(zoo.find("heavy")))
    theta = dense.theta
    gradient = torch.autograd.functional.jacobian(dense.loss, theta)
    found = measure(at(zoo), "heavy", float64=True).metrics
    assert found["gradient_norm"] == pytest.approx(float(gradient.norm()), rel=1e-6)
    assert found["gradient_norm_with_penalty"] == pytest.approx(float((gradient + 0.1 * theta).norm()), rel=1e-6)
    decayed = measure(at(zoo), "heavy", {"hvp": HvpConfig(with_decay=True)}, float64=True).metrics
    assert decayed["curvature_random"] == pytest.approx(found["curvature_random"] + 0.1)
    assert decayed["eigenvalue_max"] == pytest.approx(found["eigenvalue_max"] + 0.1)


@pytest.mark.parametrize("kind", ["bezier", "polyline"])
def test_a_collinear_path_has_no_detour(zoo, at, join, kind):
    join(zoo, "a", "b", name="straight", kind=kind, lr=1e-12, epochs=1, points=2)
    run = measure(at(zoo), "straight")
    for names in (run.metrics, run.measurements()["probe"]):
        assert [name for name in names if "detour" in name] == ["detour_share"]
    assert run.metrics["detour_share"] is None
    assert run.metrics["curvature_tangent"] == pytest.approx(run.metrics["curvature_straight"], rel=1e-3, abs=1e-5)


def test_samples_have_standard_errors_and_all_examples_none(zoo, at, monkeypatch):
    monkeypatch.setattr(problems, "EVALUATION_BATCH", 20)
    settings = {
        "loss": LossConfig(loss_samples=100),
        "gradient": GradientConfig(gradient_samples=100),
        "hvp": HvpConfig(hvp_samples=100),
    }
    names = ESTIMATES | ON_PATHS | RANDOM
    part, whole = (measure(at(zoo), "ab", chosen, points=2) for chosen in (settings, {}))
    for name in names:
        assert min(part.metrics[f"{name}_stderr"]) > 0, name
        if name not in RANDOM:  # those have the spread over directions
            assert whole.metrics[f"{name}_stderr"] == [0, 0], name
    assert all(part.metrics[name] != whole.metrics[name] for name in names)
    other = measure(at(zoo), "ab", settings, points=2, seed=1)
    assert other.metrics["train_loss"] != part.metrics["train_loss"]


def test_batchnorm_of_a_point_is_refreshed_on_the_sample_asked_for(zoo, at):
    few, many = (measure(at(zoo), "cd", what="loss", refresh_samples=n) for n in (20, "all"))
    assert few.metrics["test_loss"] != many.metrics["test_loss"]
    curve = zoo.find("cd").measurements()["curve"]
    assert many.metrics["test_loss"] == pytest.approx(curve["test_loss"].values[::2].tolist(), rel=1e-5)


@pytest.fixture
def calls(monkeypatch):
    """The positions at which losses and gradients are measured."""
    seen = {"losses": [], "gradient": []}
    for module, name in ((losses, "losses"), (curvature, "gradient")):
        original = getattr(module, name)

        def counted(problem, point, *rest, original=original, name=name, **options):
            seen[name].append(point.t)
            return original(problem, point, *rest, **options)

        monkeypatch.setattr(module, name, counted)
    return seen


@pytest.mark.parametrize(
    ("positions", "more", "left"),
    [
        (0, 2, ([0.5, 1], [0, 0.5, 1])),
        (1, 1, ([0.5, 1], [0.5, 1])),
        (1, 2, ([1], [0.5, 1])),
        (2, 2, ([], [1])),
    ],
)
def test_an_interrupted_probe_goes_on_where_it_stopped(zoo, at, calls, positions, more, left):
    # A position takes a step for the losses of train and of test each, and one a batch of the gradient.
    count = zoo.find("a").record.data["train_count"]
    steps = positions * (2 + len(cuts(count, -(-count // 16)))) + more
    whole = measure(at(zoo), "ab", what="loss,gradient")
    with pytest.raises(KeyboardInterrupt):
        measure(at(zoo, steps, again=True), "ab", what="loss,gradient")
    assert [row["status"] for row in zoo.rows()].count("interrupted") == 1
    for seen in calls.values():
        seen.clear()
    run = measure(at(zoo, again=True), "ab", what="loss,gradient")
    assert (calls["losses"], calls["gradient"]) == left
    assert run.metrics == whole.metrics
    assert run.id != whole.id


def test_what_picks_quantities_and_the_same_request_is_found(zoo, at, calls):
    run = measure(at(zoo), "ab", what="loss")
    assert not [name for name in run.metrics if "gradient" in name or "curvature" in name or "distance" in name]
    assert measure(at(zoo), "ab", what=" loss,loss").id == run.id
    assert len(calls["losses"]) == 3
    assert measure(at(zoo), "ab", what=("loss", "gradient")).id != run.id
    assert set(measure(at(zoo), "ab", what="distance").metrics) == {
        "distance", "arc_length", "detour_share", "t", "batchnorm",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("los", "no quantity 'los' did you mean loss?"),
        ("loss,gradiant", "no quantity 'gradiant' did you mean gradient?"),
        ("xyz", "no quantity 'xyz' one of loss, gradient, hvp, distance"),
        ("", "no quantity '' one of loss, gradient, hvp, distance"),
        ((), "name at least one of loss, gradient, hvp, distance"),
    ],
)
def test_unknown_quantities_are_refused_with_a_suggestion(what, words):
    with pytest.raises(UsageError) as wrong:
        build(ProbeConfig, {"run": "a", "what": what})
    assert words in f"{wrong.value.message} {wrong.value.hint}"


@pytest.mark.parametrize(
    ("config", "option_name", "value"),
    [
        (ProbeConfig, "refresh_samples", 0),
        (ProbeConfig, "points", 1),
        (LossConfig, "loss_samples", "0"),
        (GradientConfig, "gradient_samples", -3),
        (HvpConfig, "hvp_samples", "some"),
        (HvpConfig, "hvp_random", -1),
    ],
)
def test_values_out_of_range_are_usage_errors(config, option_name, value):
    with pytest.raises(UsageError, match=f"--{option_name.replace('_', '-')} = "):
        build(config, {"run": "a", option_name: value} if config is ProbeConfig else {option_name: value})


def test_settings_of_the_quantities_measured_are_in_the_key_and_no_others(zoo, at):
    run = measure(at(zoo), "ab", what="loss")
    assert run.record.config["settings"] == {"loss": {"loss_samples": "all"}}
    assert measure(at(zoo), "ab", {"hvp": HvpConfig()}, what="loss").id == run.id
    with pytest.raises(UsageError, match="loss knows no --hvp-random"):
        measure(at(zoo), "ab", {"hvp": HvpConfig(hvp_random=7)}, what="loss")
    assert measure(at(zoo), "ab", {"loss": LossConfig(loss_samples=50)}, what="loss").id != run.id
    model = measure(at(zoo), "a", what="loss,distance", points=3)
    assert measure(at(zoo), "a", what="loss,distance", points=9).id == model.id


def test_a_path_quantity_of_a_model_is_a_usage_error(zoo, at):
    before = len(zoo.rows())
    with pytest.raises(UsageError, match="distance needs a path, a is a model"):
        measure(at(zoo), "a", what="distance")
    with pytest.raises(UsageError, match="a is a model, it has no position"):
        measure(at(zoo), "a@0.5")
    probed = measure(at(zoo), "a", what="loss")
    with pytest.raises(UsageError, match="probe-a is a measurement; this takes a model or a path"):
        measure(at(zoo), probed.name)
    assert len(zoo.rows()) == before + 1


def test_a_new_quantity_is_one_more_object(zoo, at, plain, monkeypatch, tmp_path):
    (tmp_path / "weightnorms.py").write_text(
        "from rashomon_cli.core.results import Result, scalar\n"
        "def norm(problem, point, *, order, tick):\n"
        "    tick(None)\n"
        "    return Result({'weight_norm': scalar(float(point.theta.norm(order)), '1', 'norm of the weights')})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    class NormConfig(Config):
        norm_order: int = option(2, "norm: its order.", ge=1)

    quantity = Quantity(
        "norm", "norm of the weights", NormConfig, "point", "weightnorms:norm",
        lambda settings, sample: {"order": settings.norm_order}, lambda settings, sizes: [],
    )  # fmt: skip
    monkeypatch.setattr("rashomon_cli.operations.probe.QUANTITIES", (*QUANTITIES, quantity))
    monkeypatch.setitem(_KNOWN, "norm", quantity)
    found = measure(at(zoo), "ab", {"norm": NormConfig(norm_order=1)}, what="norm,loss").metrics
    assert found["weight_norm"][0] == pytest.approx(float(plain(zoo.find("a")).flat().norm(1)), rel=1e-5)
    assert len(found["train_loss"]) == 3


def test_xarray_opens_it_with_t_as_coordinate(zoo, at):
    xarray = pytest.importorskip("xarray")
    run = measure(at(zoo), "ab")
    with xarray.open_dataset(run.verified("metrics.h5"), group="probe", engine="h5netcdf") as found:
        assert found.coords["t"].values.tolist() == [0, 0.5, 1]
        assert found.train_loss.sel(t=0.5).item() == run.metrics["train_loss"][1]
        assert found.curvature_tangent.attrs["units"] == "nat"
        assert found.curvature_tangent_stderr.dims == ("t",)


def test_a_path_whose_end_is_gone_or_altered_is_damaged(zoo, twin, at, rashomon):
    gone = zoo.find("a").id
    shutil.rmtree(zoo.find("a").folder)
    path = twin.find("b").folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for store, words in (
        (zoo, f"the end a of ab, run {gone}, is gone"),
        (twin, "model.safetensors of run b was altered: its SHA-256 does not match run.json"),
    ):
        with pytest.raises(Damaged, match=words):
            measure(at(store), "ab", what="loss")
        assert not [row for row in store.rows() if row["operation"] == "probe"]
        shown = rashomon("probe", "ab", "--what", "loss", "--store", store.root)
        assert shown.code == 12
        assert words in shown.err
        assert "hint: " in shown.err


def test_an_altered_path_is_damaged(zoo, at):
    path = zoo.find("ab").folder / "path.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(Damaged, match=r"path\.safetensors of run ab was altered"):
        measure(at(zoo), "ab", what="distance")


def test_a_model_of_the_users_with_dropout_is_measured_in_eval_mode(zoo, at, teach, own_model):
    run = teach(zoo, "own", model=own_model, epochs=1)
    found = measure(at(zoo), "own").metrics
    assert found["test_loss"] == pytest.approx(run.metrics["test_loss"], rel=1e-6)
    assert measure(at(zoo, again=True), "own").metrics == found


def test_regression_has_losses_and_curvature_but_no_errors(zoo, at, teach, join, regression):
    for seed in (1, 2):
        teach(zoo, f"line{seed}", data=regression, loss="mse", seed=seed, lr=0.02)
    join(zoo, "line1", "line2", name="lines", lr=0.01)
    found = measure(at(zoo), "lines").metrics
    assert not [name for name in found if "error" in name or "ece" in name or "cross" in name]
    for name in ("test_loss", "gradient_norm", "curvature_tangent", "eigenvalue_max"):
        assert all(math.isfinite(value) for value in found[name])


def test_a_plan_counts_forward_passes_and_starts_nothing(zoo, at):
    before = len(zoo.rows())
    settings = {"hvp": HvpConfig(hvp_samples=100, hvp_eigenvalue_samples=0)}
    asked = build(ProbeConfig, {"run": "ab", "points": 4, "refresh_samples": 50})
    assert {step.title: step.forward_passes for step in plan(at(zoo), asked, settings).steps()} == {
        "loss at 4 points": 4 * 560,
        "gradient at 4 points": 4 * 200,
        "hvp at 4 points": 4 * 100,
        "BatchNorm refreshed at 4 points": 4 * 50,
    }
    assert len(zoo.rows()) == before


def test_the_command_line_takes_the_settings_of_every_quantity(zoo, rashomon):
    flags = ["--what", "loss,hvp", "--loss-samples", 100, "--hvp-samples", "all", "--hvp-random", 1, "--points", 2]
    shown = rashomon("probe", "ab", *flags, "--store", zoo.root, "--json")
    assert shown.code == 0, shown.err
    metrics = json.loads(shown.out)["metrics"]
    assert metrics["t"] == [0, 1]
    assert metrics["random_directions"] == [1, 1]
    assert min(metrics["train_loss_stderr"]) > 0
    wrong = rashomon("probe", "ab", "--what", "los", "--store", zoo.root)
    assert wrong.code == 2
    assert "did you mean loss?" in wrong.err
