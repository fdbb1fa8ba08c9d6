"""Four trained models and two paths between them, made once; a store of one's own with copies of them for each test."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from torch import nn

from rashomon_cli.operations.connect import ConnectConfig, connect
from rashomon_cli.operations.context import Context, Silence, Where
from rashomon_cli.operations.train import TrainConfig, train
from rashomon_cli.science.problem import Problem
from rashomon_cli.sources import builders, data
from rashomon_cli.store import Store

OWN_MODEL = """
from torch import nn

def make(input_shape, num_classes, width=4):
    return nn.Sequential(
        nn.Conv2d(input_shape[0], width, 3), nn.GroupNorm(2, width), nn.ReLU(), nn.Dropout(0.2),
        nn.Flatten(), nn.Linear(36 * width, num_classes),
    )
"""


class Watch(Silence):
    """Counts steps, keeps notes, and stops like Ctrl-C after so many steps."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.ticks = 0
        self.notes = []

    def tick(self, loss=None):
        if self.ticks == self.stop_after:
            raise KeyboardInterrupt
        self.ticks += 1

    def note(self, text):
        self.notes.append(text)


def context_of(store, stop_after=None, **where):
    return Context(store, Where(device="cpu", **where), Watch(stop_after))


def train_one(store, name, **options):
    given = {"model": "mlp(width=8)", "data": "digits(train=200)", "epochs": 2, "batch_size": 50, "lr": 0.1}
    return train(context_of(store, name=name), TrainConfig(**given | {"precision": "float32"} | options))


def connect_two(store, a, b, *, name=None, stop_after=None, **options):
    given = {"epochs": 2, "batch_size": 50, "points": 5, "samples": "all", "precision": "float32"}
    return connect(context_of(store, stop_after, name=name), ConnectConfig(a=a, b=b, **given | options))


@pytest.fixture(scope="session")
def _zoo_once(tmp_path_factory):
    store = Store.open(tmp_path_factory.mktemp("zoo") / "store", create=True)
    for seed, (one, two) in enumerate(("ac", "bd"), 1):
        train_one(store, one, seed=seed, lr=0.3)
        train_one(store, two, seed=seed, model="smallcnn(width=4)", lr=0.3)
    connect_two(store, "a", "b", name="ab")
    connect_two(store, "c", "d", name="cd")
    return store.root


@pytest.fixture
def zoo(_zoo_once, tmp_path):
    """``a`` and ``b`` are MLPs, ``c`` and ``d`` CNNs with BatchNorm, ``ab`` and ``cd`` Bezier curves between them."""
    shutil.copytree(_zoo_once, tmp_path / "zoo")
    return Store.open(tmp_path / "zoo")


@pytest.fixture
def twin(_zoo_once, tmp_path):
    """A second copy of the same store, for runs to compare with."""
    shutil.copytree(_zoo_once, tmp_path / "twin")
    return Store.open(tmp_path / "twin")


class Plain:
    """A model run in plain PyTorch.

    Attributes:
        module: with the run's weights and statistics.
    """

    def __init__(self, run, weights=None):
        state = {n: torch.from_numpy(np.array(v)) for n, v in (run.tensors() if weights is None else weights).items()}
        self.module = builders.of_record(run.record.builder)[0].make((1, 8, 8), 10)
        self.module.load_state_dict(state)
        self.names = [name for name, _ in self.module.named_parameters()]
        found = data.resolve(run.record.data["spec"]).load()
        mean, std = run.record.data["mean"][0], run.record.data["std"][0]
        self.x, self.y = {}, {}
        for split, x, y in (("train", found.x_train, found.y_train), ("test", found.x_test, found.y_test)):
            self.x[split] = (torch.from_numpy(x).float() / 255 - mean) / std
            self.y[split] = torch.from_numpy(y).long()

    def flat(self):
        """All parameters in the order of the module."""
        return torch.cat([p.detach().flatten() for p in self.module.parameters()])

    def with_own_statistics(self):
        """BatchNorm averaged anew over all training images, here one batch."""
        for layer in self.module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.reset_running_stats()
                layer.momentum = None
        with torch.no_grad():
            self.module.train()(self.x["train"])
        return self

    def matrices(self, split="train", kind="hessian"):
        """The mean loss's gradient (P,) and its Hessian, Gauss-Newton or empirical Fisher matrix (P, P), in float64."""
        module, x, y = self.module.double().eval(), self.x[split].double(), self.y[split]
        named = {name: p.detach() for name, p in module.named_parameters()}
        sizes, theta = [p.numel() for p in named.values()], self.flat().double()

        def outputs(at):
            pieces = {n: piece.view_as(named[n]) for n, piece in zip(named, at.split(sizes), strict=True)}
            return torch.func.functional_call(module, pieces, (x,))

        def losses(at):
            return nn.functional.cross_entropy(outputs(at), y, reduction="none")

        def loss(at):
            return losses(at).mean()

        gradient = torch.func.grad(loss)(theta)
        if kind == "hessian":
            return gradient, torch.autograd.functional.hessian(loss, theta)
        if kind == "fisher":
            each = torch.autograd.functional.jacobian(losses, theta)
            return gradient, each.T @ each / len(x)
        p = outputs(theta).softmax(1).detach()
        inner = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        jacobian = torch.autograd.functional.jacobian(outputs, theta)
        return gradient, torch.einsum("ncp,ncd,ndq->pq", jacobian, inner, jacobian) / len(x)

    @torch.no_grad()
    def figures(self):
        """Loss and accuracy on both splits."""
        self.module.eval()
        found = {}
        for split, x in self.x.items():
            outputs = self.module(x)
            found[f"{split}_loss"] = float(nn.functional.cross_entropy(outputs, self.y[split]))
            found[f"{split}_accuracy"] = float((outputs.argmax(1) == self.y[split]).double().mean())
        return found


@pytest.fixture
def plain():
    """plain(run, weights=None): a model without rashomon, its figures and its parameters."""
    return Plain


@pytest.fixture
def at():
    """at(store, stop_after=None, **where): a context."""
    return context_of


@pytest.fixture
def teach():
    """teach(store, name, **options): a trained model."""
    return train_one


@pytest.fixture
def join():
    """join(store, a, b, name=None, stop_after=None, **options): a path."""
    return connect_two


@pytest.fixture
def own_model(tmp_path):
    """The specification of a user's model with GroupNorm and dropout."""
    (tmp_path / "own.py").write_text(OWN_MODEL)
    return f"{tmp_path / 'own.py'}:make(width=2)"


@pytest.fixture
def regression(tmp_path):
    """The specification of a data set with float targets."""
    x = np.random.default_rng(0).normal(size=(120, 3))
    y = x @ np.array([[1.0, 0.5], [-2.0, 0.0], [0.5, 1.0]]) + x[:, :1] ** 2
    np.savez(tmp_path / "line.npz", x_train=x[:80], y_train=y[:80], x_test=x[80:], y_test=y[80:])
    return f"npz:{tmp_path / 'line.npz'}"


@pytest.fixture
def passes(monkeypatch):
    """How many examples went through a model: ``evaluate`` without a graph, ``train`` with one."""
    found = {"evaluate": 0, "train": 0}
    original = Problem.apply

    def counted(problem, parameters, buffers, x):
        found["train" if torch.is_grad_enabled() else "evaluate"] += len(x)
        return original(problem, parameters, buffers, x)

    monkeypatch.setattr(Problem, "apply", counted)
    return found
