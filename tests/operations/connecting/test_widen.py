import numpy as np
import pytest
import torch

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.operations import connect as connecting
from rashomon_cli.operations.connect import ConnectConfig, connect
from rashomon_cli.operations.export import export
from rashomon_cli.operations.modules import load_module
from rashomon_cli.operations.plot import PlotConfig, plot
from rashomon_cli.operations.probe import probe

MODELS = """
import torch
from torch import nn

class Masked(nn.Module):
    # A mask that is not trained: of the inputs, the same for all units, and of each unit.
    def __init__(self, num_classes, width):
        super().__init__()
        self.up, self.head = nn.Linear(64, width), nn.Linear(width, num_classes)
        self.register_buffer("seen", torch.ones(64))
        self.register_buffer("gain", torch.linspace(0.5, 1.5, width))

    def forward(self, x):
        return self.head(torch.relu(self.gain * self.up(self.seen * x.flatten(1))))

def masked(num_classes, width=4):
    return Masked(num_classes, width)

def normed(num_classes, width=4):
    layers = nn.Linear(64, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, num_classes)
    return nn.Sequential(nn.Flatten(), *layers)

def uneven(num_classes, width=4):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width + 1), nn.ReLU(), nn.Linear(width + 1, num_classes))

def sizeless(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

def bent(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, reduction="none").sqrt()
"""


@pytest.fixture
def models(tmp_path, monkeypatch):
    (tmp_path / "models.py").write_text(MODELS)
    return lambda name: f"{tmp_path / 'models.py'}:{name}"


def widened(at, store, a, b, name=None, **options):
    return connect(at(store, name=name), ConnectConfig(a=a, b=b, via="widen", **{"samples": "all"} | options))


@pytest.mark.parametrize(("a", "b", "width"), [("a", "b", 16), ("c", "d", 8)])
def test_the_barrier_is_zero_and_the_ends_are_the_two_models(zoo, at, plain, a, b, width):
    run = widened(at, zoo, a, b)
    assert run.kind == "path"
    assert [(p.role, p.id) for p in run.record.parents] == [("a", zoo.find(a).id), ("b", zoo.find(b).id)]
    assert run.record.builder["arguments"]["width"] == width
    metrics = run.metrics
    assert metrics["max_output_difference"] <= 1e-10
    assert metrics["curve_barrier_loss"] <= 1e-6
    assert metrics["segment_barrier_loss"] == pytest.approx([0, 0, 0], abs=1e-6)
    assert metrics["segments"] == "grow, shift, erase"
    assert metrics["via"] == "widen"
    losses = run.measurements()["curve"]["train_loss"].values
    ends = [plain(zoo.find(name)).with_own_statistics().figures()["train_loss"] for name in (a, b)]
    assert losses[:5] == pytest.approx(ends[0], abs=1e-5)
    assert losses[8:] == pytest.approx(ends[1], abs=1e-5)
    share = np.linspace(0, 1, 5)
    assert (losses[4:9] <= (1 - share) * ends[0] + share * ends[1] + 1e-5).all()
    assert metrics["line_barrier_loss"] > 0.01 or a == "a"


def test_every_control_point_is_kept_and_evaluated(zoo, at):
    run = widened(at, zoo, "a", "b", points=5)
    points = run.tensors("path.safetensors")["points"]
    assert points.shape == (4, run.metrics["parameters"])
    assert run.metrics["bends"] == 2
    assert run.metrics["points"] == 7, "the least number that has one at each of the four"
    assert run.measurements()["curve"]["t"].values == pytest.approx(np.arange(7) / 6)
    table = run.measurements()["segments"]
    assert table["segment"].values.tolist() == ["grow", "shift", "erase"]
    assert table["begin"].values == pytest.approx([0, 1 / 3, 2 / 3])
    assert table["barrier_loss"].values.tolist() == run.metrics["segment_barrier_loss"]


def test_other_commands_take_the_path_and_models_on_it(zoo, at, tmp_path):
    run = widened(at, zoo, "c", "d", name="wide")
    probed = probe(at(zoo), run="wide", what="loss,distance", points=4)
    losses = run.measurements()["curve"]["train_loss"].values
    assert probed.metrics["train_loss"] == pytest.approx(losses[::4].tolist(), abs=1e-5)
    assert probed.metrics["arc_length"][-1] == pytest.approx(run.metrics["arc_length"], rel=1e-5)
    assert probe(at(zoo), run="wide@0.5", what="loss").metrics["train_loss"] == pytest.approx(losses[6], abs=1e-5)
    x = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        start, middle, end = (load_module(at(zoo), f"wide@{t}")(x) for t in (0, 0.5, 1))
    torch.testing.assert_close(middle, (start + end) / 2, rtol=0, atol=1e-5)
    assert {path.name for path in export(at(zoo), run="wide@0.5", out=tmp_path)} == {
        "wide-t0.5.safetensors",
        "wide-t0.5.json",
    }
    pictures = plot(at(zoo), PlotConfig(run="wide", out=tmp_path))
    assert "wide-profile.png" in {path.name for path in pictures}
    again = connect(at(zoo), a="wide@0.25", b="wide@0.75", epochs=1, points=3, samples=50, precision="float32")
    assert again.record.builder["arguments"]["width"] == 8
    assert again.metrics["end_distance"] > 0


def test_on_a_widened_path_a_path_between_narrow_models_cannot_start(zoo, at):
    widened(at, zoo, "a", "b", name="wide")
    with pytest.raises(Refused, match="wide was put together by --via widen, it has no bends to go on from"):
        connect(at(zoo), a="a", b="b", start="wide", bend=2, epochs=1)


def test_a_model_that_does_not_fit_a_widened_one_is_refused(zoo, at):
    widened(at, zoo, "a", "b", name="wide")
    with pytest.raises(Refused, match="does not fit"):
        connect(at(zoo), a="wide@0.5", b="a")


def test_the_same_request_again_is_the_same_run(zoo, at, twin):
    config = ConnectConfig(a="c", b="d", via="widen", samples=50)
    run = connect(at(zoo), config)
    assert connect(at(zoo), config).id == run.id
    with pytest.raises(KeyboardInterrupt):
        connect(at(twin, 6), config)
    assert connect(at(twin), config).metrics == run.metrics


def test_the_plan_counts_every_forward_pass(zoo, at):
    config = ConnectConfig(a="c", b="d", via="widen", samples=50)
    steps = [step.forward_passes for step in connecting.plan(at(zoo), config).steps()]
    ticks = at(zoo)
    connect(ticks, config)
    # On the path and on the line 11 inner positions and, once, two ends; 9 points on up to 256 examples, twice.
    assert steps == [2 * 9 * 200, 24 * 50, 24 * 100]
    assert ticks.progress.ticks == 24 * 3


def test_requests_for_trained_bends_keep_their_keys(zoo, at):
    config = connecting.plan(at(zoo), ConnectConfig(a="a", b="b")).config
    assert "via" not in config
    wide = connecting.plan(at(zoo), ConnectConfig(a="a", b="b", via="widen")).config
    assert set(wide) == {"via", "kind", "points", "samples", "seed", "loss", "augment", "weight_decay"}


def test_what_is_not_trained_is_taken_along(zoo, at, teach, models):
    for seed in (1, 2):
        teach(zoo, f"masked-{seed}", seed=seed, model=models("masked"), lr=0.3)
    run = widened(at, zoo, "masked-1", "masked-2", name="wide")
    assert run.metrics["curve_barrier_loss"] <= 1e-6
    stored = run.tensors("path.safetensors")
    assert stored["constant/gain"] == pytest.approx(np.tile(np.linspace(0.5, 1.5, 4), 2))
    losses = run.measurements()["curve"]["train_loss"].values
    assert probe(at(zoo), run="wide@1", what="loss").metrics["train_loss"] == pytest.approx(losses[-1], abs=1e-5)
    module = load_module(at(zoo), "wide@0")
    assert module.gain.tolist() == pytest.approx(stored["constant/gain"].tolist())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("normed", r"does not hold two networks side by side: the outputs of 2 \(LayerNorm\)"),
        ("uneven", r"twice the width makes 1.weight \(9, 64\) of \(5, 64\)"),
        ("sizeless", "has no argument width with a default"),
    ],
)
def test_networks_that_cannot_be_side_by_side_are_refused(zoo, at, teach, models, name, words):
    for seed in (1, 2):
        teach(zoo, f"{name}-{seed}", seed=seed, model=models(name))
    before = len(list(zoo.runs()))
    with pytest.raises(Refused, match=words) as error:
        widened(at, zoo, f"{name}-1", f"{name}-2")
    assert "rashomon connect" in error.value.hint
    assert len(list(zoo.runs())) == before


def test_a_loss_of_ones_own_may_not_be_convex(zoo, at, teach, models):
    for seed in (1, 2):
        teach(zoo, f"own-{seed}", seed=seed, loss=models("bent"))
    context = at(zoo)
    connect(context, a="own-1", b="own-2", via="widen", samples=50)
    assert any("may not be convex" in note for note in context.progress.notes)


@pytest.mark.parametrize("options", [{"bend": 2}, {"epochs": 3}, {"tries": 2}, {"lr": 0.1}, {"start": "ab"}])
def test_options_of_a_training_do_not_go_with_it(zoo, at, options):
    with pytest.raises(UsageError, match=f"--{next(iter(options))} does not go with --via widen") as error:
        widened(at, zoo, "a", "b", **options)
    assert error.value.hint == "rashomon connect a b --via widen"
