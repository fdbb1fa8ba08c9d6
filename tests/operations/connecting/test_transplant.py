import numpy as np
import pytest
import torch

from rashomon_cli.core.errors import Refused
from rashomon_cli.operations import connect as connecting
from rashomon_cli.operations.connect import ConnectConfig, connect
from rashomon_cli.operations.connecting import routes
from rashomon_cli.operations.modules import load_module
from rashomon_cli.operations.plot import PlotConfig, plot
from rashomon_cli.operations.probe import probe

NAMES = ["prune a", "grow b", "shift", "erase a", "restore b"]
SMALL = {"via": "transplant", "epochs": 4, "batch_size": 50, "lr": 0.1, "samples": "all", "precision": "float32"}


@pytest.mark.parametrize(("a", "b"), ["ab", "cd"])
def test_growing_and_erasing_change_nothing_and_shifting_stays_below_its_ends(zoo, at, plain, a, b):
    run = connect(at(zoo), ConnectConfig(a=a, b=b, points=16, **SMALL))
    metrics, groups = run.metrics, run.measurements()
    assert metrics["max_output_difference"] <= 1e-10
    losses = groups["curve"]["train_loss"].values
    ends = [plain(zoo.find(name)).with_own_statistics().figures()["train_loss"] for name in (a, b)]
    assert losses[[0, -1]] == pytest.approx(ends, abs=1e-5)
    assert losses[3:7] == pytest.approx(losses[3], abs=1e-5)
    assert losses[9:13] == pytest.approx(losses[9], abs=1e-5)
    assert metrics["segment_barrier_loss"][1:4] == pytest.approx([0, 0, 0], abs=1e-5)
    assert metrics["segment_end_loss"] == pytest.approx(losses[3::3].tolist())
    table = groups["segments"]
    assert table["segment"].values.tolist() == NAMES
    parts = [losses[3 * k : 3 * k + 4] for k in range(5)]
    expected = [part.max() - max(part[0], part[-1]) for part in parts]
    assert table["barrier_loss"].values == pytest.approx(expected, abs=1e-6)
    assert metrics["curve_barrier_loss"] == pytest.approx(losses.max() - max(losses[0], losses[-1]), abs=1e-6)
    assert metrics["curve_barrier_loss"] >= 0


@pytest.mark.parametrize(("a", "b"), ["ab", "cd"])
def test_the_halves_lie_beside_each_other_and_the_end_is_a_copy_of_b(zoo, at, a, b):
    context = at(zoo, name="path")
    run = connect(context, ConnectConfig(a=a, b=b, **SMALL))
    points = run.tensors("path.safetensors")["points"]
    assert points.shape[0] == 6
    one, other = points[1] != 0, points[4] != 0
    widest = 0.5 if a == "c" else 0.55
    assert one.mean() < widest
    assert other.mean() < widest
    assert (one & other).sum() == 10, "both write to the biases of the ten outputs"
    assert run.metrics["kept_fraction_a"] == pytest.approx(one.mean(), abs=0.02)
    x = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        copy, b_module = load_module(at(zoo), "path@1"), load_module(at(zoo), b)
        for module in (copy, b_module):  # statistics of one's own; those of b are a running mean
            for part in module.modules():
                if isinstance(part, torch.nn.BatchNorm2d):
                    part.track_running_stats, part.running_mean, part.running_var = False, None, None
        torch.testing.assert_close(copy(x), b_module(x), rtol=0, atol=1e-4)
    assert any("with its units at other places" in note for note in context.progress.notes)


@pytest.mark.parametrize("stop_after", [15, 30, 40, 60])
def test_an_interrupted_one_ends_as_it_would_have(zoo, twin, at, stop_after):
    config = ConnectConfig(a="c", b="d", **SMALL)
    expected = connect(at(zoo), config)
    with pytest.raises(KeyboardInterrupt):
        connect(at(twin, stop_after), config)
    run = connect(at(twin), config)
    assert run.metrics == expected.metrics
    same = np.array_equal(*(r.tensors("path.safetensors")["points"] for r in (run, expected)))
    assert same
    assert connect(at(twin), config).id == run.id


def test_the_plan_counts_every_forward_pass(zoo, at):
    context, config = at(zoo), ConnectConfig(a="c", b="d", **SMALL)
    steps = [step.forward_passes for step in connecting.plan(context, config).steps()]
    test = zoo.find("c").record.data["test_count"]
    assert steps == [2 * 200, 2 * 200, 2 * 18 * 200, 2 * 4 * 200, 20 * 200, 20 * (200 + test)]
    connect(context, config)
    # Batches: one refresh and ten of importance for each model; four an epoch for each half; three a position.
    assert context.progress.ticks == 2 * (1 + 10) + 2 * 4 * 4 + 20 * 3


def test_more_training_of_the_halves_lowers_the_barrier(zoo, at, teach):
    for seed in (5, 6):
        teach(zoo, f"deep-{seed}", seed=seed, model="mlp(width=16)", epochs=15, lr=0.3)
    heights = [
        connect(at(zoo), ConnectConfig(a="deep-5", b="deep-6", **SMALL | {"epochs": epochs})).metrics
        for epochs in (1, 20)
    ]
    assert heights[1]["curve_barrier_loss"] < heights[0]["curve_barrier_loss"]
    assert heights[1]["curve_barrier_loss"] < heights[1]["line_barrier_loss"]


def test_other_commands_take_the_path(zoo, at, tmp_path):
    run = connect(at(zoo, name="path"), ConnectConfig(a="c", b="d", **SMALL))
    probed = probe(at(zoo), run="path", what="loss", points=6)
    losses = run.measurements()["curve"]["train_loss"].values
    assert probed.metrics["train_loss"] == pytest.approx(losses[::2].tolist(), abs=1e-5)
    assert "path-profile.png" in {p.name for p in plot(at(zoo), PlotConfig(run="path", out=tmp_path))}
    with pytest.raises(Refused, match="path was put together by --via transplant, it has no bends to go on from"):
        connect(at(zoo), a="c", b="d", start="path", kind="polyline", bend=4, epochs=1)


def test_a_network_with_layer_norm_is_refused_before_anything_is_trained(zoo, at, teach, tmp_path):
    (tmp_path / "normed.py").write_text(
        "from torch import nn\n"
        "def make(num_classes, width=6):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.LayerNorm(width), nn.ReLU(),\n"
        "                         nn.Linear(width, num_classes))\n"
    )
    for seed in (1, 2):
        teach(zoo, f"n{seed}", seed=seed, model=f"{tmp_path / 'normed.py'}:make")
    context, before = at(zoo), sorted(zoo.runs_folder.iterdir())
    with pytest.raises(Refused, match="does not hold two halves side by side") as error:
        connect(context, ConnectConfig(a="n1", b="n2", **SMALL))
    assert "rashomon connect" in error.value.hint
    assert context.progress.ticks == 0
    assert sorted(zoo.runs_folder.iterdir()) == before, "a refused call leaves no trace"


def test_a_network_of_one_unit_cannot_be_halved(zoo, at, teach):
    for seed in (1, 2):
        teach(zoo, f"one-{seed}", seed=seed, model="mlp(width=1)")
    with pytest.raises(Refused, match="cannot be halved"):
        connect(at(zoo), ConnectConfig(a="one-1", b="one-2", **SMALL))


def test_a_graph_counts_it_as_a_path_up_to_symmetry(zoo, at):
    run = connect(at(zoo), ConnectConfig(a="c", b="d", **SMALL))
    (route,) = routes.read([run], {zoo.find("c").id, zoo.find("d").id}, {})
    assert route.kind == "aligned"
    assert route.barrier == run.metrics["curve_barrier_loss"]
    wide = connect(at(zoo), a="c", b="d", via="widen", samples="all")
    assert routes.read([wide], {zoo.find("c").id, zoo.find("d").id}, {}) == []
