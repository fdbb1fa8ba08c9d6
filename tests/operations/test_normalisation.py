"""A run's images are normalised by the statistics in its record, wherever they came from."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.operations import subjects
from rashomon_cli.operations.compare import compare
from rashomon_cli.operations.export import ExportConfig, export
from rashomon_cli.operations.import_ import import_
from rashomon_cli.operations.probe import probe
from rashomon_cli.operations.prune import prune
from rashomon_cli.sources import builders, data

GIVEN = {"model": "smallcnn(width=2)", "data": "digits(train=100)", "device": "cpu"}
FIGURES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


@pytest.fixture
def module():
    torch.manual_seed(3)
    return builders.resolve(GIVEN["model"]).make((1, 8, 8), 10).eval()


@pytest.fixture
def file(module, tmp_path):
    torch.save(module.state_dict(), tmp_path / "w.pt")
    return tmp_path / "w.pt"


def test_loss(module, mean, std):
    found = data.resolve(GIVEN["data"]).load()
    with torch.no_grad():
        outputs = module((torch.from_numpy(found.x_test).float() / 255 - mean) / std)
    return float(nn.functional.cross_entropy(outputs, torch.from_numpy(found.y_test)))


test_loss.__test__ = False


@pytest.mark.parametrize(
    ("options", "mean", "std"),
    [
        ({"plain": True}, 0.0, 1.0),
        ({"mean": "0.4", "std": "0.2"}, 0.4, 0.2),
        ({"mean": 0.4, "std": [0.2]}, 0.4, 0.2),
    ],
)
def test_the_statistics_of_its_training_are_obeyed_and_recorded(store, module, file, options, mean, std):
    run = import_(store, file=file, name="mine", **options, **GIVEN)
    assert run.metrics["test_loss"] == pytest.approx(test_loss(module, mean, std), rel=1e-5)
    assert (run.record.data["mean"], run.record.data["std"]) == ([mean], [std])
    assert not any("normalised" in note for note in run.record.notes)
    assert run.id != import_(store, file=file, **GIVEN).id
    again = probe(store, run="mine", what="loss", loss_samples="all", device="cpu")
    assert again.metrics["test_loss"] == pytest.approx(run.metrics["test_loss"], rel=1e-6)


def test_plain_is_mean_0_and_std_1(store, file):
    assert import_(store, file=file, plain=True, **GIVEN).id == import_(store, file=file, mean=0, std=1, **GIVEN).id


def test_without_them_those_of_the_training_images_are_used_and_told(store, module, file):
    run = import_(store, file=file, **GIVEN)
    (mean,), (std,) = data.resolve(GIVEN["data"]).load().statistics()
    assert run.metrics["test_loss"] == pytest.approx(test_loss(module, mean, std), rel=1e-5)
    told = f"--mean {mean:.4g} --std {std:.4g}"
    assert run.record.notes[-1] == f"images are normalised as the training images of digits(train=100) are: {told}"


def test_an_export_comes_back_as_the_same_function_whatever_the_subset(zoo, at, tmp_path):
    weights, card = export(at(zoo), ExportConfig(run="c", out=tmp_path))
    given = {"file": weights, "model": "smallcnn(width=4)", "data": "digits(train=60)", "device": "cpu"}
    own, back = zoo.find("c"), import_(zoo, name="back", **given)
    assert back.metrics["test_loss"] == own.metrics["test_loss"]
    assert (
        back.record.data["mean"] == own.record.data["mean"] != data.resolve("digits(train=60)").load().statistics()[0]
    )
    assert back.record.notes[-1].startswith("images are normalised as its card says: --mean 0.30")
    assert import_(zoo, plain=True, **given).record.data["mean"] == [0.0]
    found = json.loads(card.read_text())
    found["files"]["c.safetensors"]["sha256"] = "0" * 64
    card.write_text(json.dumps(found))
    assert "training images" in import_(zoo, **given).record.notes[-1], "the card is another file's"
    for text in ("no json", "[]", "{}", '{"files": {"c": 3}}', "[" * 10**5):
        card.write_text(text)
        assert "training images" in import_(zoo, again=True, **given).record.notes[-1]


def test_a_card_says_nothing_about_data_that_are_no_images(zoo, at, tmp_path):
    weights, _ = export(at(zoo), ExportConfig(run="a", out=tmp_path))
    x = np.random.default_rng(0).normal(size=(40, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x_train=x, y_train=np.arange(40) % 10, x_test=x, y_test=np.arange(40) % 10)
    given = {"file": weights, "model": "mlp(width=8)", "data": f"npz:{tmp_path / 'd.npz'}", "device": "cpu"}
    assert import_(zoo, **given).record.data["mean"] is None
    with pytest.raises(UsageError, match="--plain are for images"):
        import_(zoo, plain=True, **given)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"mean": "0.5"}, UsageError, "--mean and --std have 1 and 0 numbers"),
        ({"mean": "0.5,0.5", "std": "0.5"}, UsageError, "--mean and --std have 2 and 1 numbers"),
        ({"mean": "0.5,0.5", "std": "0.5,0.5"}, Refused, "2 and 2 numbers, images 1 channels"),
        ({"mean": "0.5", "std": "0.5", "plain": True}, UsageError, "--plain is --mean 0 --std 1, and others"),
        ({"mean": "127", "std": "0.5"}, UsageError, "--mean = '127': "),
        ({"mean": "0.5", "std": "0"}, UsageError, "--std = 0: "),
        ({"mean": "0.5", "std": "x"}, UsageError, "--std = 'x': "),
        ({"mean": "nan", "std": "1"}, UsageError, "--mean = "),
    ],
)
def test_statistics_that_cannot_be_are_refused(store, file, options, error, words):
    with pytest.raises(error, match=words.replace("'127'", "127")):
        import_(store, file=file, **options, **GIVEN)


def test_the_command_takes_them(rashomon, file):
    call = ["import", file, "--model", GIVEN["model"], "--data", GIVEN["data"], "--json"]
    by_flags = rashomon(*call, "--mean", "0.4", "--std", "0.25")
    assert by_flags.code == 0, by_flags.err
    plain = rashomon(*call, "--plain")
    assert json.loads(plain.out)["metrics"]["test_loss"] != json.loads(by_flags.out)["metrics"]["test_loss"]


def test_what_is_made_of_a_run_inherits_its_statistics_and_compare_obeys_them(store, module, file):
    one = import_(store, file=file, name="one", plain=True, **GIVEN)
    quick = {"epochs": 1, "batch_size": 50, "precision": "float32", "device": "cpu"}
    pruned = prune(store, run=one, l1=0, thr=0, **quick | {"epochs": 0})
    assert (pruned.record.data["mean"], pruned.record.data["std"]) == ([0.0], [1.0])
    assert pruned.metrics["test_loss_before"] == pytest.approx(one.metrics["test_loss"], rel=1e-6)
    import_(store, file=file, name="two", mean=0.3, std=0.3, **GIVEN)
    run = compare(store, models=("one", "two"), ood="digits", device="cpu")
    found = data.resolve("digits").load().x_test
    with torch.no_grad():
        plain = torch.from_numpy(found).float() / 255
        cosine = nn.functional.cosine_similarity(
            module(plain).softmax(1), module((plain - 0.3) / 0.3).softmax(1)
        ).mean()
    assert run.metrics["cosine_min"] == pytest.approx(float(cosine), abs=1e-5)


def test_models_of_other_statistics_are_told_apart(store, file, at):
    for name, options in {
        "plain": {"plain": True},
        "near": {"mean": 0.003, "std": 1.0},
        "far": {"mean": 0.3, "std": 0.4},
        "steep": {"mean": 0.0, "std": 0.99},
    }.items():
        import_(store, file=file, name=name, **options, **GIVEN)
    plain, near, far, steep = (subjects.find(at(store), name, "model") for name in ("plain", "near", "far", "steep"))
    subjects.check_statistics(plain, near)
    subjects.check_statistics(near, plain)
    for other in (far, steep):
        with pytest.raises(Refused, match="normalised differently: plain by mean 0, std 1 and "):
            subjects.check_statistics(plain, other)
