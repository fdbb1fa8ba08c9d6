import hashlib

import numpy as np
import pytest
import safetensors.torch
import torch

from rashomon_cli.core.errors import Damaged, Diverged, Refused, UsageError
from rashomon_cli.operations import problems, subjects
from rashomon_cli.operations.context import Context, Silence, Where
from rashomon_cli.operations.train import TrainConfig, plan, train
from rashomon_cli.operations.weights import load_mask, load_theta, model_files
from rashomon_cli.sources import builders, data
from rashomon_cli.store import Store, tensors

STEPS = 4  # an epoch of 200 examples in batches of 50


class StopAfter(Silence):
    """Ctrl-C in the middle of an epoch."""

    def __init__(self, steps):
        self.left = steps

    def tick(self, loss=None):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def weights(run):
    return hashlib.sha256((run.folder / "model.safetensors").read_bytes()).hexdigest()


def change(config, **options):
    return TrainConfig(**{**config.model_dump(), **options})


def own_loss(tmp_path, body):
    path = tmp_path / "losses.py"
    path.write_text(f"import torch\n{body}\n")
    return path


def test_a_trained_model_is_what_its_record_says(trained, tiny_config):
    run = trained.find("tiny")
    state = safetensors.torch.load_file(run.verified("model.safetensors"))
    module = builders.resolve("mlp(width=8)").make((1, 8, 8), 10)
    module.load_state_dict(state)
    found = data.resolve("digits").load()
    mean, std = run.record.data["mean"][0], run.record.data["std"][0]
    with torch.no_grad():
        outputs = module((torch.from_numpy(found.x_test).float() / 255 - mean) / std)
    accuracy = float((outputs.argmax(1).numpy() == found.y_test).mean())
    assert run.metrics["test_accuracy"] == pytest.approx(accuracy)
    assert run.metrics["parameters"] == 64 * 8 + 8 + 8 * 8 + 8 + 8 * 10 + 10
    assert run.record.config == tiny_config.record()
    assert run.record.seeds == {"seed": 0}
    assert run.record.versions["torch"] == torch.__version__
    history = run.measurements()["training"]
    assert history["epoch"].values.tolist() == [1, 2]
    assert history["train_loss"].values[-1] == pytest.approx(run.metrics["train_loss"])
    assert history["test_loss"].stderr.tolist() == [0, 0]


def test_the_same_request_is_found_and_a_seed_makes_another(trained, tiny_config):
    context = Context(trained, Where(device="cpu"))
    assert train(context, tiny_config).name == "tiny"
    other = train(context, change(tiny_config, seed=1, epochs=1))
    assert other.name == "mlp-digits-s1"
    assert weights(other) != weights(trained.find("tiny"))


@pytest.mark.parametrize("model", ["mlp(width=8)", "smallcnn(width=2)"])
@pytest.mark.parametrize("steps", [2, STEPS + 1, 3 * STEPS - 1])
def test_an_interrupted_training_resumes_bit_for_bit(tmp_path, tiny_config, model, steps):
    config = change(tiny_config, model=model, epochs=3)
    whole = train(Context(Store.open(tmp_path / "whole", create=True), Where(device="cpu")), config)
    store = Store.open(tmp_path / "stopped", create=True)
    with pytest.raises(KeyboardInterrupt):
        train(Context(store, Where(device="cpu"), StopAfter(steps)), config)
    context = Context(store, Where(device="cpu"))
    run = train(context, config)
    assert weights(run) == weights(whole)
    assert run.metrics == whole.metrics
    epochs = steps // STEPS
    assert context.notes == ([f"resumed {run.name} after epoch {epochs}"] if epochs else [])
    for name, variable in whole.measurements()["training"].items():
        np.testing.assert_array_equal(run.measurements()["training"][name].values, variable.values)


def test_the_three_kinds_of_loss(context, tiny_config, tmp_path):
    path = own_loss(tmp_path, "def quartic(o, y):\n    return (o - torch.eye(10)[y]).pow(4).mean(1)")
    config = change(tiny_config, epochs=1)
    runs = [train(context, change(config, loss=loss)) for loss in ("cross-entropy", "mse", f"{path}:quartic")]
    assert len({weights(run) for run in runs}) == 3
    assert runs[0].metrics["test_loss"] == runs[0].metrics["cross_entropy_test"]
    assert runs[1].metrics["test_loss"] < 1 < runs[1].metrics["cross_entropy_test"]
    assert all(0 <= run.metrics["test_accuracy"] <= 1 for run in runs)


def test_a_regression_on_float_targets(context, tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 3))
    y = x @ np.array([1.0, -2.0, 0.5])
    np.savez(tmp_path / "line.npz", x_train=x, y_train=y, x_test=x[:8], y_test=y[:8])
    run = train(
        context,
        TrainConfig(
            model="mlp(depth=0, bias=False)", data=f"npz:{tmp_path / 'line.npz'}", loss="mse", epochs=40,
            batch_size=64, weight_decay=0, lr=0.2, schedule="constant", precision="float32",
        ),
    )  # fmt: skip
    np.testing.assert_allclose(run.tensors()["layers.1.weight"], [[1, -2, 0.5]], atol=1e-3)
    assert run.metrics["test_loss"] < 1e-5
    assert run.metrics["test_accuracy"] is None
    assert run.record.data["regression"] is True


def test_starting_from_a_pruned_run_its_mask_holds(context, tiny_config):
    start = train(context, tiny_config)
    loaded = subjects.load_problem(context, start, torch.device("cpu"))
    theta, buffers = load_theta(loaded, start, torch.device("cpu"))
    mask = (torch.arange(len(theta)) % 4 > 0).float()
    with context.store.begin("prune", {}, parents=[subjects.find(context, start.name, "model").parent("of")]) as job:
        pruned = job.publish(
            "model",
            metrics={},
            measurements={},
            tensor_files=model_files(loaded, theta * mask, buffers, mask),
            builder=start.record.builder,
            data=start.record.data,
        )
    again = train(context, change(tiny_config, init=pruned.name, seed=5))
    after = load_theta(loaded, again, torch.device("cpu"))[0]
    assert torch.all(after[mask == 0] == 0)
    assert torch.any(after != theta * mask)
    assert torch.equal(load_mask(loaded, again, torch.device("cpu")), mask)
    assert [(p.id, p.role) for p in again.record.parents] == [(pruned.id, "init")]
    assert set(again.tensors("mask.safetensors")) == set(loaded.problem.layout.names)


def test_a_plan_counts_forward_passes_and_starts_nothing(store, tiny_config):
    steps = plan(Context(store, Where(device="cpu")), tiny_config).steps()
    assert [step.forward_passes for step in steps] == [2 * 200, 2 * (200 + 360), 200 + 360]
    assert [step.kind for step in steps] == ["train", "evaluate", "evaluate"]
    assert store.rows() == []


def test_divergence_keeps_the_last_checkpoint_and_resumes_from_it(context, tiny_config, tmp_path):
    body = (
        "calls = []\n"
        "def loss(o, y):\n"
        "    calls.append(torch.is_grad_enabled())\n"
        "    each = torch.nn.functional.cross_entropy(o, y, reduction='none')\n"
        f"    return each * float('nan') if calls.count(True) > {STEPS} and broken else each\n"
        "broken = True"
    )
    path = own_loss(tmp_path, body)
    config = change(tiny_config, loss=f"{path}:loss")
    with pytest.raises(Diverged, match="nan in epoch 2, step 1") as caught:
        train(context, config)
    assert caught.value.code == 1
    (row,) = context.store.rows()
    assert row["status"] == "interrupted"
    with pytest.raises(Diverged):
        train(context, config)
    assert context.notes == [f"resumed {row['name']} after epoch 1"]
    problems.imports.load(f"{path}:loss").__globals__["broken"] = False
    run = train(context, config)
    assert run.id == row["id"]
    assert run.metrics["epochs"] == 2


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"model": "preresnet21"}, UsageError, "no model"),
        ({"model": "mlp(w=1)"}, UsageError, "no argument 'w'"),
        ({"data": "digitz"}, UsageError, "no data set"),
        ({"loss": "cros-entropy"}, UsageError, "no loss"),
        ({"loss": "math:nothing"}, UsageError, "has no 'nothing'"),
        ({"init": "nobody"}, UsageError, "no run 'nobody'"),
        ({"loss": "torch.nn.functional:cross_entropy"}, Refused, "gives"),
        ({"model": "mlp(num_classes=5)"}, Refused, "for 10 classes"),
        ({"model": "torch.nn:Flatten"}, Refused, "no parameters"),
        ({"model": "mlp(input_shape=(3,))"}, Refused, "do not fit"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_step(context, tiny_config, options, error, words):
    with pytest.raises(error, match=words):
        train(context, change(tiny_config, **options))
    assert context.store.rows() == []


def test_augmentation_needs_images(context, tiny_config, tmp_path):
    np.savez(tmp_path / "d.npz", x_train=np.ones((4, 3)), y_train=np.arange(4), x_test=np.ones((1, 3)), y_test=[0])
    with pytest.raises(UsageError, match="crop-flip needs images"):
        train(context, change(tiny_config, data=f"npz:{tmp_path / 'd.npz'}", augment="crop-flip"))


def test_a_model_of_another_shape_or_an_altered_file_is_no_start(context, tiny_config, trained):
    own = Context(trained, Where(device="cpu"))
    with pytest.raises(Refused, match=r"layers\.1\.weight is \(8, 64\), not \(9, 64\)"):
        train(own, change(tiny_config, model="mlp(width=9)", init="tiny"))
    path = trained.find("tiny").folder / "model.safetensors"
    found, header = tensors.load(path)
    tensors.save(path, {name: array + 1 for name, array in found.items()}, header)
    with pytest.raises(Damaged, match="altered"):
        train(own, change(tiny_config, seed=2, init="tiny"))


def test_a_missing_gpu_is_a_usage_error(store, tiny_config, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device") as caught:
        train(Context(store, Where(device="cuda:3")), tiny_config)
    assert caught.value.hint == "--device cpu"
    assert store.rows() == []


def test_a_last_step_that_diverges_is_an_error_not_a_result(store, tiny_config):
    from rashomon_cli.core.errors import Diverged

    config = tiny_config.model_copy(update={"epochs": 1, "batch_size": 200, "lr": 1e30, "momentum": 0.0})
    with pytest.raises(Diverged):
        train(Context(store), config)
    assert not list(store.runs())
