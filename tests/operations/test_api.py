"""The operations as functions, as a notebook uses them."""

import inspect

import numpy as np
import pytest
import torch

import rashomon_cli
from rashomon_cli import Context, Run, Where, compare, connect, load_module, probe, prune, train
from rashomon_cli.core.errors import UsageError
from rashomon_cli.operations.train import TrainConfig

TINY = {"model": "mlp(width=8)", "data": "digits(train=200)", "epochs": 1, "batch_size": 50, "precision": "float32"}


def test_the_whole_chain_takes_a_store_options_and_runs(store):
    a, b = (train(store, **TINY, seed=seed, device="cpu") for seed in (1, 2))
    path = connect(store, a=a, b=b.name, epochs=1, points=3, samples=100, name="ab")
    measured = probe(store, run=path, points=3, what="loss", loss_samples=50)
    small = prune(store, run=a, thr=0.01, epochs=1, epsilon=10.0, l1_step="subgradient")
    alike = compare(store, models=[a, b, small], ood=["digits", "digits(train=9)"])
    runs = [a, b, path, measured, small, alike]
    assert all(isinstance(run, Run) for run in runs)
    assert [run.kind for run in runs] == ["model", "model", "path", "measurement", "model", "comparison"]
    assert (path.name, path.record.parents[0].id) == ("ab", a.id)
    assert measured.record.config["settings"]["loss"] == {"loss_samples": 50}
    assert train(store, **TINY, seed=1).id == a.id
    assert train(store, **TINY, seed=1, again=True).id != a.id


def test_a_config_does_as_well_as_options_and_not_both(store):
    config = TrainConfig(**TINY, seed=3)
    run = train(Context(store, Where(name="mine")), config)
    assert (run.name, train(store, config).id, train(store, **TINY, seed=3).id) == ("mine", run.id, run.id)
    with pytest.raises(TypeError, match="not both: seed"):
        train(store, config, seed=4)


def test_the_store_of_a_call_is_a_store(tmp_path):
    with pytest.raises(TypeError, match=r"write Store\.open"):
        train(str(tmp_path), **TINY)


def test_a_context_can_be_used_again_for_other_files(store, tmp_path):
    context = Context(store)
    (tmp_path / "d.npz").write_bytes(b"")
    sizes = []
    for count in (40, 60):
        x, y = np.zeros((count, 3), np.float32), np.arange(count) % 2
        np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
        run = train(context, **TINY | {"data": f"npz:{tmp_path}/d.npz"})
        sizes.append(run.record.data["train_count"])
    assert sizes == [40, 60]
    with pytest.raises(UsageError, match="--device"):
        train(context, **TINY, device="banana")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sed": 1}, "--sed"),
        ({"seed": -1}, "--seed = -1"),
        ({"device": "tpu"}, "--device"),
        ({"lr": "x"}, "--lr = 'x'"),
    ],
)
def test_wrong_options_are_usage_errors(store, options, words):
    with pytest.raises(UsageError) as caught:
        train(store, **TINY | options)
    assert words in caught.value.message


def test_arrays_come_as_datasets_with_coordinates_units_and_errors(zoo):
    path = zoo.find("ab")
    curve = path.dataset("curve")
    assert curve.train_loss.dims == ("t",)
    assert curve.train_loss.sel(t=0.5).item() == path.measurements()["curve"]["train_loss"].values[2]
    assert curve.train_loss.attrs["units"] == "nat"
    assert curve.train_loss_stderr.shape == curve.train_loss.shape
    assert zoo.find("a").dataset().epoch.values.tolist() == [1, 2]
    with pytest.raises(UsageError, match="curve"):
        path.dataset()


def test_a_model_of_the_store_is_a_module(zoo, plain):
    module = load_module(zoo, "c")
    assert not module.training
    reference = plain(zoo.find("c"))
    reference.module.eval()
    with torch.no_grad():
        assert torch.equal(module(reference.x["test"]), reference.module(reference.x["test"]))
    middle = load_module(zoo, "cd@0.5")
    with torch.no_grad():
        wrong = middle(reference.x["test"]).argmax(1) != reference.y["test"]
    error = zoo.find("cd").measurements()["curve"]["test_error"].values[2]
    assert 100 * float(wrong.double().mean()) == pytest.approx(error)


def test_every_public_name_exists_and_says_what_it_is():
    for name in rashomon_cli.__all__:
        found = getattr(rashomon_cli, name)
        assert inspect.getdoc(found), name
    assert sorted(rashomon_cli.__all__) == sorted(rashomon_cli._HOMES)
