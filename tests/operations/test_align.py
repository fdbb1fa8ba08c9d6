"""``align``: the published model computes what it did, lies nearer, and every line between the two is measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.operations.align import AlignConfig, align
from rashomon_cli.operations.connect import ConnectConfig, connect
from rashomon_cli.science.symmetries import check, find, permute, rescale
from rashomon_cli.sources import builders


@pytest.fixture
def move(at):
    """move(store, a, b, stop_after=None, name=None, **options): b moved onto a."""

    def act(store, a, b, stop_after=None, name=None, **options):
        given = {"points": 5, "samples": "all"}
        return align(at(store, stop_after, name=name), AlignConfig(a=a, b=b, **given | options))

    return act


@pytest.mark.parametrize("method", ["weights", "activations"])
@pytest.mark.parametrize("ends", ["ab", "cd"])
def test_it_computes_what_it_did_and_lies_nearer(zoo, move, plain, ends, method):
    run = move(zoo, *ends, method=method)
    found, before = run.metrics, plain(zoo.find(ends[1]))
    assert found["max_output_difference"] < 1e-10 < found["max_output_difference_stored"] < 1e-4
    assert 0 < found["distance_after"] < found["distance_before"]
    after = plain(run)
    torch.testing.assert_close(after.figures(), before.figures(), rtol=1e-5, atol=1e-6)
    first = plain(zoo.find(ends[0])).flat()
    assert found["distance_before"] == pytest.approx(float((before.flat() - first).norm()), rel=1e-5)
    assert found["distance_after"] == pytest.approx(float((after.flat() - first).norm()), rel=1e-5)


def test_its_lines_are_those_of_plain_pytorch(zoo, move, plain):
    run = move(zoo, "c", "d")
    a, b, moved = plain(zoo.find("c")), plain(zoo.find("d")), plain(run)
    states = {name: model.module.state_dict() for name, model in (("a", a), ("b", b), ("moved", moved))}
    for way, end in (("naive", "b"), ("aligned", "moved")):
        middle = {k: 0.5 * (v + states[end][k]) if v.is_floating_point() else v for k, v in states["a"].items()}
        weights = {name: value.numpy() for name, value in middle.items()}
        for reset in ("", "_reset" if way == "aligned" else "reset"):
            model = plain(run, weights)
            name = way if not reset else "aligned_reset" if way == "aligned" else "reset"
            losses = run.measurements()[name]["train_loss"].values
            wanted = (model.with_own_statistics() if reset else model).figures()["train_loss"]
            assert losses[2] == pytest.approx(wanted, rel=1e-3)


def test_the_barriers_are_read_off_the_profiles(zoo, move):
    run = move(zoo, "c", "d")
    for way in ("naive", "reset", "aligned", "aligned_reset"):
        losses = run.measurements()[way]["train_loss"].values
        assert run.metrics[f"barrier_loss_{way}"] == pytest.approx(losses.max() - max(losses[0], losses[-1]))
        errors = run.measurements()[way]["train_error"].values
        top = errors.max() - max(errors[0], errors[-1])
        assert run.metrics[f"barrier_error_{way}"] == pytest.approx(top)
        assert run.metrics[f"midpoint_test_error_{way}"] == run.measurements()[way]["test_error"].values[2]
    groups = run.measurements()["groups"]
    assert groups["units"].values.tolist() == [4, 8, 16]
    assert run.metrics["units"] == 28


def test_a_copy_with_other_units_and_factors_comes_back_to_the_model(zoo, move, rashomon, tmp_path):
    store = zoo
    tensors = {n: torch.from_numpy(np.array(v)) for n, v in store.find("c").tensors().items()}
    module = builders.of_record(store.find("c").record.builder)[0].make((1, 8, 8), 10)
    module.load_state_dict(tensors)
    graph, symmetries, _ = find(module, torch.rand(2, 1, 8, 8))
    source = check.shuffled(symmetries, symmetries.groups, 1)
    copy = rescale(symmetries, permute(symmetries, graph.values, source), check.stretched(symmetries, graph.values, 1))
    torch.save({n: v.float() if v.is_floating_point() else v for n, v in copy.items()}, tmp_path / "copy.pt")
    data = store.find("c").record.data
    words = ["--mean", str(data["mean"][0]), "--std", str(data["std"][0]), "--name", "copy", "--store", store.root]
    words = ["--model", "smallcnn(width=4)", "--data", data["spec"], *words]
    assert rashomon("import", tmp_path / "copy.pt", *words).code == 0
    for method in ("weights", "activations"):
        found = move(store, "c", "copy", method=method).metrics
        assert found["distance_before"] > 1
        assert found["barrier_loss_naive"] > 0.01
        if found["units_tied"] == 0:
            assert found["distance_after"] < 1e-4
            assert abs(found["barrier_loss_aligned"]) < 1e-5
    assert found["barrier_loss_reset"] >= 0


def test_without_the_reset_two_lines_are_measured(zoo, move):
    found = move(zoo, "a", "b", reset=False)
    assert {"barrier_loss_naive", "barrier_loss_aligned"} <= set(found.metrics)
    assert not {"barrier_loss_reset", "barrier_loss_aligned_reset"} & set(found.metrics)


def test_repair_lowers_the_line_of_a_network_without_batchnorm(zoo, move):
    found = move(zoo, "a", "b").metrics
    assert found["barrier_loss_aligned"] < found["barrier_loss_naive"]
    assert found["barrier_loss_reset"] != found["barrier_loss_naive"]


def test_an_interrupted_alignment_resumes_and_a_finished_one_is_found(zoo, twin, move):
    with pytest.raises(KeyboardInterrupt):
        move(zoo, "c", "d", stop_after=9)
    again, whole = move(zoo, "c", "d"), move(twin, "c", "d")
    assert again.metrics == whole.metrics
    assert all(np.array_equal(again.tensors()[name], value) for name, value in whole.tensors().items())
    assert move(zoo, "c", "d").id == again.id


def test_a_pruned_model_keeps_its_mask_in_the_units_new_places(zoo, at, move):
    from rashomon_cli.operations.prune import PruneConfig, prune

    pruned = prune(at(zoo, name="gone"), PruneConfig(run="d", epochs=0, thr=0.05))
    moved = move(zoo, "c", pruned.id, scales=False)
    masks, values = moved.tensors("mask.safetensors"), moved.tensors()
    assert sum(int((~m).sum()) for m in masks.values()) == sum(
        int((~m).sum()) for m in pruned.tensors("mask.safetensors").values()
    )
    assert all(not values[name][~masks[name]].any() for name in masks)


def test_three_models_into_one_universe(zoo, teach, rashomon):
    teach(zoo, "e", seed=5, lr=0.3)
    outcome = rashomon("align", "a", "b", "e", "--points", "3", "--samples", "all", "--json", "--store", zoo.root)
    assert outcome.code == 0
    runs = json.loads(outcome.out)["runs"]
    assert [run["name"] for run in runs] == ["b-on-a", "e-on-a"]
    roles = [[(parent["name"], parent["role"]) for parent in run["parents"]] for run in runs]
    assert roles == [[("a", "a"), ("b", "b"), ("e", "with-1")], [("a", "a"), ("e", "b"), ("b", "with-1")]]
    assert all(run["metrics"]["distance_after"] < run["metrics"]["distance_before"] for run in runs)


def test_connect_aligns_on_the_way(zoo, at):
    given = {"epochs": 1, "batch_size": 50, "points": 3, "samples": "all", "precision": "float32", "align": True}
    run = connect(at(zoo), ConnectConfig(a="c", b="d", **given))
    moved = zoo.find(next(parent.id for parent in run.record.parents if parent.role == "b"))
    assert (moved.record.operation, [p.role for p in moved.record.parents]) == ("align", ["a", "b"])
    losses = moved.measurements()["aligned_reset"]["train_loss"].values
    assert run.metrics["line_barrier_loss"] == pytest.approx(losses[5] - max(losses[0], losses[-1]), rel=1e-4)
    assert moved.id == align(at(zoo), AlignConfig(a="c", b="d")).id
    assert connect(at(zoo), ConnectConfig(a="c", b="d", **given)).id == run.id
    plain = connect(at(zoo), ConnectConfig(a="c", b=moved.id, **given | {"align": False}))
    assert plain.id == run.id


def test_a_dry_run_counts_the_alignment_too(zoo, rashomon):
    words = ["connect", "c", "d", "--epochs", "1", "--points", "3", "--samples", "all", "--dry-run", "--json"]
    with_, without = (
        json.loads(rashomon(*words, *more, "--store", zoo.root).out)["forward_passes"] for more in (["--align"], [])
    )
    lines = json.loads(rashomon("align", "c", "d", "--dry-run", "--json", "--store", zoo.root).out)["forward_passes"]
    both = json.loads(rashomon(*words, "--align", "--bend", "1,2", "--store", zoo.root).out)["forward_passes"]
    assert both == 2 * without + lines
    assert with_ == without + lines
    assert not [row for row in zoo.rows() if row["operation"] == "align"]


def test_what_cannot_be_traced_is_refused_with_its_place(zoo, teach, move, tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Spectral(nn.Module):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__()\n"
        "        self.hidden, self.head = nn.Linear(64, 5), nn.Linear(5, num_classes)\n"
        "    def forward(self, x):\n"
        "        return self.head(torch.fft.fft(self.hidden(x.flatten(1))).real)\n"
        "def make(num_classes):\n    return Spectral(num_classes)\n"
    )
    for seed in (1, 2):
        teach(zoo, f"r{seed}", model=f"{tmp_path / 'own.py'}:make", seed=seed, epochs=1)
    with pytest.raises(Refused, match=r"fft.*hidden"):
        move(zoo, "r1", "r2")


def test_the_same_model_twice_is_refused(zoo, move):
    with pytest.raises(UsageError, match="named twice"):
        move(zoo, "a", "a")


OWN = Path(__file__).parents[2] / "examples" / "own_model.py"


def test_a_transformer_whose_attention_reads_weights_without_calling_them(store, teach, at):
    for seed in (1, 2):
        teach(store, f"t{seed}", model=f"{OWN}:network", data=f"{OWN}:sequences", seed=seed, epochs=1)
    context = at(store)
    found = align(context, AlignConfig(a="t1", b="t2", points=3, samples=200)).metrics
    assert found["max_output_difference"] < 1e-10 < found["max_output_difference_stored"] < 1e-4
    assert found["barrier_loss_aligned_reset"] != found["barrier_loss_aligned"]
    assert any("attention.out_proj" in note for note in context.progress.notes)


NETS = """
from torch import nn

def make(num_classes, function="ReLU"):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), getattr(nn, function)(), nn.Linear(6, num_classes))

class Mixed(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        FIRST
        SECOND
        self.head = nn.Linear(9, num_classes)

    def forward(self, x):
        return self.head(self.two(self.one(x.flatten(1)).relu()).relu())
"""
LAYERS = ("self.one = nn.Linear(64, 7)", "self.two = nn.Linear(7, 9)")


def test_equal_shapes_are_not_enough(store, teach, move, at, tmp_path):
    (tmp_path / "nets.py").write_text(NETS.replace("FIRST", LAYERS[0]).replace("SECOND", LAYERS[1]))
    for seed, function in ((1, "ReLU"), (2, "Tanh")):
        teach(store, function, model=f"{tmp_path / 'nets.py'}:make(function='{function}')", seed=seed, epochs=1)
    with pytest.raises(Refused, match="computes something else"):
        move(store, "ReLU", "Tanh")
    context = at(store)
    connect(context, ConnectConfig(a="ReLU", b="Tanh", epochs=1, points=3, precision="float32"))
    assert any("the network of the first is used" in note for note in context.progress.notes)


def test_kept_matches_are_not_used_for_units_in_another_order(store, teach, move, tmp_path):
    file = tmp_path / "nets.py"
    file.write_text(NETS.replace("FIRST", LAYERS[0]).replace("SECOND", LAYERS[1]))
    for seed in (1, 2):
        teach(store, f"n{seed}", model=f"{file}:Mixed", seed=seed, epochs=1)
    first = move(store, "n1", "n2").metrics
    file.write_text(NETS.replace("FIRST", LAYERS[1]).replace("SECOND", LAYERS[0]))
    again = move(store, "n1", "n2", points=3).metrics
    assert again["distance_after"] == pytest.approx(first["distance_after"], rel=1e-2)  # another local optimum


def test_the_loss_that_is_measured_is_the_one_that_is_recorded(zoo, teach, move):
    teach(zoo, "squares", loss="mse", seed=7, lr=0.3)
    run = move(zoo, "a", "squares")
    assert run.record.config["loss"] == "cross-entropy"
    assert run.measurements()["naive"]["train_loss"].units == "nat"


def test_a_name_that_is_taken_is_refused_before_anything_is_aligned(zoo, at):
    with pytest.raises(UsageError, match="ab"):
        connect(at(zoo, name="ab"), ConnectConfig(a="c", b="d", epochs=1, points=3, align=True))
    assert not [row for row in zoo.rows() if row["operation"] == "align"]
