"""Other data and other architectures than images and convolutions, each through the whole chain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rashomon_cli.core.errors import Refused
from rashomon_cli.operations.compare import compare
from rashomon_cli.operations.connect import connect
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.export import ExportConfig, export
from rashomon_cli.operations.import_ import import_
from rashomon_cli.operations.modules import load_module
from rashomon_cli.operations.probe import probe
from rashomon_cli.operations.prune import prune
from rashomon_cli.operations.train import train
from rashomon_cli.store import durable

DATA = """
import numpy as np
import rashomon_cli

def split(x, y):
    return rashomon_cli.Data(x[:96], y[:96], x[96:], y[96:])

def table(seed=0):
    x = np.random.default_rng(seed).normal(size=(144, 5)).astype("float32")
    return split(x, (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype("int64"))

def tokens(seed=0, words=11):
    x = np.random.default_rng(seed).integers(0, words, size=(144, 6))
    return split(x, (x == 3).sum(1).clip(0, 2))
"""

MODELS = """
import torch
from torch import nn

class Reader(nn.Module):
    def __init__(self, num_classes, words=11, width=8, tied=True):
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.place = nn.Parameter(torch.zeros(6, width))
        layer = nn.TransformerEncoderLayer(width, 2, 16, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.unembed = nn.Linear(width, words, bias=False)
        if tied:
            self.unembed.weight = self.embed.weight
        self.head = nn.Linear(words, num_classes)
        self.register_buffer("scale", torch.tensor(0.5), persistent=False)

    def forward(self, x):
        return self.head(self.unembed(self.encoder(self.embed(x) + self.place)).mean(1) * self.scale)

def reader(num_classes, tied=True):
    return Reader(num_classes, tied=tied)
"""

VIT = "timm:vit_tiny_patch16_224(img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3)"
QUICK = {"device": "cpu", "precision": "float32", "epochs": 1, "batch_size": 48}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with data and models of the user's, to work in."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "own_data.py").write_text(DATA)
    (tmp_path / "own" / "own_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path / "own")


CHAINS = {
    "table": ("mlp(width=8)", "own_data.py:table", "own_data.py:table(seed=1)"),
    "transformer": ("own_models.py:reader", "own_data.py:tokens", "own_data.py:tokens(seed=1)"),
    "untied": ("own_models.py:reader(tied=False)", "own_data.py:tokens", "own_data.py:tokens(seed=1)"),
    "vit": (VIT, "photos(train=96)", "digits"),
    "resnet18": ("torchvision:resnet18", "photos(train=48)", "digits"),
}


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "resnet18" else n for n in CHAINS])
def test_any_model_and_data_go_through_the_whole_chain(store, name):
    model, data, elsewhere = CHAINS[name]
    for seed in (1, 2):
        train(store, model=model, data=data, seed=seed, lr=0.02, name=f"m{seed}", **QUICK)
    path = connect(store, a="m1", b="m2", points=2, samples=48, name="path", **QUICK)
    assert 0 < path.metrics["curve_max_test_error"] <= 100
    sizes = {f"{what}_samples": 4 if name == "resnet18" else 48 for what in ("loss", "gradient", "hvp", "refresh")}
    found = probe(store, run="path", points=2, hvp_random=1, hvp_eigenvalue_samples=0, device="cpu", **sizes).metrics
    for key in ("train_loss", "gradient_norm_plain", "curvature_straight", "hvp_norm_plain_random"):
        assert np.isfinite(found[key]).all()
        assert np.any(found[key])
    assert found["distance"] == sorted(found["distance"])
    pruned = prune(store, run="m1", l1=1e-3, lr=0.01, thr=0.02, epsilon=1.0, **QUICK)
    assert 0 < pruned.metrics["sparsity"] < 1
    kept = {n: not (v == 0).any() for n, v in pruned.tensors("mask.safetensors").items()}
    vectors = {n for n, value in pruned.tensors().items() if value.ndim < 2 and n in kept}
    assert vectors
    assert all(kept[n] for n in vectors)
    compared = compare(store, models=("m1", "m2", pruned), ood=elsewhere, device="cpu")
    assert -1 <= compared.metrics["cosine_min"] <= compared.metrics["cosine_max"] <= 1 + 1e-6


@pytest.mark.usefixtures("own")
def test_a_tied_transformer_is_a_plain_state_dict_and_survives_the_round_trip(store, tmp_path):
    model, data, _ = CHAINS["transformer"]
    run = train(store, model=model, data=data, name="m", **QUICK)
    module = load_module(store, run)
    state = load_file(run.verified("model.safetensors"))
    assert set(state) == set(module.state_dict())
    assert {"embed.weight", "unembed.weight"} < set(state)
    assert "scale" not in state
    module.load_state_dict(state, strict=True)
    weights, _ = export(Context(store), ExportConfig(run="m", out=tmp_path / "out"))
    back = import_(store, file=weights, model=model, data=data, device="cpu")
    for name in ("train_loss", "test_loss", "test_accuracy"):
        assert back.metrics[name] == run.metrics[name]
    assert {n: v.tolist() for n, v in back.tensors().items()} == {n: v.tolist() for n, v in run.tensors().items()}


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("elsewhere", "words"),
    [
        ("own_data.py:table", "integers of the shape"),
        ("digits", "integers of the shape"),
        ("own_data.py:tokens(words=12)", r"m1 fails on own_data\.py:tokens\(words=12\): index out of range"),
    ],
)
def test_data_that_a_token_model_cannot_read_are_refused(store, elsewhere, words):
    model, data, _ = CHAINS["transformer"]
    for seed in (1, 2):
        train(store, model=model, data=data, seed=seed, name=f"m{seed}", **QUICK)
    with pytest.raises(Refused, match=words):
        compare(store, ood=elsewhere, device="cpu")


@pytest.mark.usefixtures("own")
def test_probing_what_has_no_second_derivative_says_what_to_leave_out(store, tmp_path):
    (tmp_path / "own" / "hard.py").write_text(
        "from torch import nn\n"
        "def net(num_classes):\n"
        "    return nn.Sequential(nn.Linear(5, 4), nn.Hardsigmoid(), nn.Linear(4, num_classes))\n"
    )
    train(store, model="hard.py:net", data="own_data.py:table", name="hard", **QUICK)
    with pytest.raises(Refused, match="no second derivative of hardsigmoid") as caught:
        probe(store, run="hard", device="cpu")
    assert caught.value.hint.endswith("--what loss,gradient,distance")
    assert probe(store, run="hard", what="loss,gradient", device="cpu").metrics["gradient_norm"] > 0


@pytest.mark.usefixtures("own")
def test_files_are_found_from_another_folder_and_their_place_is_not_part_of_a_request(store, tmp_path, monkeypatch):
    (tmp_path / "own" / "losses.py").write_text(
        "import torch\ndef loss(o, y):\n    return torch.nn.functional.cross_entropy(o, y, reduction='none')\n"
    )
    x = np.random.default_rng(0).normal(size=(60, 5)).astype("float32")
    np.savez(tmp_path / "own" / "d.npz", x_train=x[:40], y_train=x[:40, 0] > 0, x_test=x[40:], y_test=x[40:, 0] > 0)
    one = {"model": "own_models.py:reader", "data": "own_data.py:tokens", "loss": "losses.py:loss"}
    two = {"model": "mlp(width=4)", "data": "npz:d.npz"}
    runs = [train(store, **given, **QUICK) for given in (one, two)]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for run in runs:
        found = probe(store, run=run, what="loss", device="cpu")
        assert found.metrics["test_loss"] == pytest.approx(run.metrics["test_loss"], rel=1e-6)
        assert found.record.notes == []
    moved = train(store, **two | {"data": "npz:../own/d.npz"}, **QUICK)
    assert moved.id == runs[1].id
    (tmp_path / "own").rename(tmp_path / "elsewhere" / "own")
    monkeypatch.chdir(tmp_path / "elsewhere" / "own")
    assert probe(store, run=runs[0], what="gradient", device="cpu").record.notes == []


@pytest.mark.usefixtures("own")
def test_source_files_that_changed_are_told_with_both_fingerprints(store, tmp_path):
    own = tmp_path / "own"
    loss = "import torch\ndef loss(o, y):\n    return torch.nn.functional.cross_entropy(o, y, reduction='none')\n"
    (own / "losses.py").write_text(loss)
    given = {"model": "own_models.py:reader", "data": "own_data.py:tokens", "loss": "losses.py:loss"}
    run = train(store, **given, **QUICK)
    before = {name: durable.sha256(own / f"{name}.py")[:12] for name in ("own_models", "losses")}
    for name in ("own_models", "own_data", "losses"):
        with (own / f"{name}.py").open("a") as file:
            file.write("\n# changed\n")
    model, data, loss = probe(store, run=run, what="loss", device="cpu").record.notes
    after = {name: durable.sha256(own / f"{name}.py")[:12] for name in before}
    told = "changed since the run was made:"
    assert model == f"{own}/own_models.py:reader {told} {before['own_models']} then, {after['own_models']} now"
    assert data.startswith(f"the data {own}/own_data.py:tokens {told} {run.record.data['fingerprint'][:12]} then, ")
    assert loss == f"the loss {own}/losses.py:loss {told} {before['losses']} then, {after['losses']} now"


def test_products_of_a_transformer_are_those_of_its_dense_hessian():
    from torch import nn
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from rashomon_cli.science.problem import Layout, Point, Problem, cross_entropy
    from rashomon_cli.science.spectra.curvatures import Curvature
    from rashomon_cli.sources.batches import Batches

    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(5, 4)
            self.layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, activation="gelu")
            self.head = nn.Linear(4, 5, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x):
            return self.head(self.layer(self.embed(x)).mean(1))

    torch.manual_seed(0)
    module = Tiny().double().eval()
    x, y = torch.randint(0, 5, (30, 4)), torch.randint(0, 5, (30,))
    data = Batches(x, y, 8, population=30, dtype=torch.float64)
    problem = Problem(module, Layout.of(module), cross_entropy, data, data)
    theta = problem.layout.flatten(dict(module.named_parameters()))

    def total(at):
        with sdpa_kernel(SDPBackend.MATH):
            return problem.mean_loss(at, {}, x, y)

    hessian = torch.autograd.functional.hessian(total, theta)
    vectors = torch.randn(3, len(theta), dtype=torch.float64)
    found = Curvature(problem, Point(theta, {}), data)(vectors)
    assert float(hessian.abs().max()) > 0.01
    assert float((found - vectors @ hessian).abs().max()) < 1e-10
