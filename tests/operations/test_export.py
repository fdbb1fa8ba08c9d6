"""What leaves the store: a state dict that plain PyTorch loads, its card, and its mask."""

from __future__ import annotations

import hashlib
import json
import os
from importlib.metadata import version

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.operations.export import ExportConfig, export
from rashomon_cli.operations.import_ import import_
from rashomon_cli.operations.modules import load_module
from rashomon_cli.operations.prune import prune

VIT = "timm:vit_tiny_patch16_224(img_size=8, patch_size=4, embed_dim=12, depth=1, num_heads=2)"


@pytest.fixture
def out(at, tmp_path):
    """out(store, name, **options): the exported files by the ends of their names."""

    def act(store, name, **options):
        files = export(at(store), ExportConfig(run=name, **{"out": tmp_path / "out"} | options))
        return {path.name.partition(".")[2]: path for path in files}

    return act


def loaded_by(card, folder, monkeypatch):
    """The module that the card's own lines make, run as they stand in the folder of the files."""
    monkeypatch.chdir(folder)
    names = {}
    exec("\n".join(card["load"]), names)
    return names["module"]


@pytest.mark.parametrize(
    "model", ["smallcnn(width=2)", "torchvision:squeezenet1_1", VIT, "FILE:net(width=3)"], ids=lambda m: m[:8]
)
def test_the_lines_of_a_card_load_the_model_in_plain_pytorch(store, teach, out, tmp_path, monkeypatch, model):
    (tmp_path / "own.py").write_text(
        "from torch import nn\ndef net(input_shape, num_classes, width=2):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, num_classes))\n"
    )
    data = "digits(train=100)"
    if model.startswith("torchvision"):
        data = "photos(train=60)"
    teach(store, "m", model=model.replace("FILE", str(tmp_path / "own.py")), data=data, epochs=1, lr=0.001)
    files = out(store, "m")
    card = json.loads(files["json"].read_text())
    module = loaded_by(card, files["json"].parent, monkeypatch)
    expected = load_module(store, "m")
    x = torch.randn(4, *card["data"]["input_shape"], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(module(x), expected(x))
    assert len(card["load"]) == 3
    assert not module.training
    if model.startswith("FILE"):
        digest = hashlib.sha256((tmp_path / "own.py").read_bytes()).hexdigest()
        assert card["needs"].startswith(f"the file own.py, SHA-256 {digest}")
    else:
        package = {"s": "rashomon-cli", "to": "torchvision", "ti": "timm"}[model[:1] if model[0] == "s" else model[:2]]
        assert card["needs"] == f"the package {package} {version(package)}"


def test_a_card_says_what_the_model_is(zoo, out):
    files = out(zoo, "c")
    run, card = zoo.find("c"), json.loads(files["json"].read_text())
    assert card["id"] == run.id
    assert card["builder"] == {"target": "smallcnn", "arguments": {"width": 4}, "sha256": None}
    assert {name: card["data"][name] for name in ("spec", "input_shape", "num_classes")} == {
        "spec": "digits(train=200)", "input_shape": [1, 8, 8], "num_classes": 10
    }  # fmt: skip
    assert card["data"]["mean"] == run.record.data["mean"]
    assert card["metrics"] == run.metrics
    assert card["versions"]["torch"] == torch.__version__
    content = files["safetensors"].read_bytes()
    assert card["files"] == {"c.safetensors": {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}}
    with safe_open(files["safetensors"], framework="pt") as file:
        assert file.metadata()["format"] == "pt"


def test_a_model_on_a_path_is_exported_with_statistics_and_ancestors_of_its_own(zoo, out, at):
    weights, about = out(zoo, "cd@0.5").values()
    card = json.loads(about.read_text())
    assert weights.name == "cd-t0.5.safetensors"
    assert (card["t"], card["metrics"]) == (0.5, {})
    expected = load_module(at(zoo), "cd@0.5").state_dict()
    found = load_file(weights)
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in found)
    path, *ends = card["lineage"]
    assert (path["operation"], [parent["role"] for parent in path["parents"]]) == ("connect", ["a", "b"])
    assert [end["id"] for end in ends] == [zoo.find("c").id, zoo.find("d").id]


def test_a_pruned_model_comes_back_with_its_mask(zoo, at, out):
    pruned = prune(at(zoo, name="p"), None, run="a", l1=1e-3, thr=0.05, epochs=1, batch_size=50, precision="float32")
    files = out(zoo, "p")
    assert list(files) == ["safetensors", "mask.safetensors", "json"]
    given = {"file": files["safetensors"], "model": "mlp(width=8)", "data": "digits(train=200)", "device": "cpu"}
    back = import_(zoo, **given, mask=files["mask.safetensors"], name="back")
    again = prune(at(zoo), None, run="back", l1=0, thr=0, epochs=1, batch_size=50, precision="float32")
    mask = pruned.tensors("mask.safetensors")
    for name, kept in back.tensors("mask.safetensors").items():
        assert (kept == mask[name]).all()
        assert not again.tensors()[name][~mask[name]].any()
    assert back.metrics["test_loss"] == pruned.metrics["test_loss"]


def test_the_same_export_again_changes_nothing(zoo, out):
    files = out(zoo, "a")
    before = {path: (path.read_bytes(), os.stat(path).st_mtime_ns) for path in files.values()}
    assert out(zoo, "a") == files
    assert {path: (path.read_bytes(), os.stat(path).st_mtime_ns) for path in files.values()} == before


def test_another_file_is_replaced_only_by_force(zoo, out, tmp_path):
    out(zoo, "a", out=tmp_path / "m.safetensors")
    before = (tmp_path / "m.safetensors").read_bytes()
    with pytest.raises(Refused, match=r"m\.safetensors is there already, with other content") as caught:
        out(zoo, "b", out=tmp_path / "m.safetensors")
    assert caught.value.hint == "--force, or another --out"
    assert (tmp_path / "m.safetensors").read_bytes() == before
    out(zoo, "b", out=tmp_path / "m.safetensors", force=True)
    assert (tmp_path / "m.safetensors").read_bytes() != before
    assert sorted(path.name for path in tmp_path.glob("m*")) == ["m.json", "m.safetensors"]


def test_what_cannot_be_exported_is_told(zoo, out, tmp_path):
    (tmp_path / "file").write_text("")
    for name, place, error, words in (
        ("ab", None, UsageError, "ab is a path"),
        ("nobody", None, UsageError, "nobody"),
        ("a", tmp_path / "file", UsageError, "is a file"),
    ):
        with pytest.raises(error, match=words):
            out(zoo, name, **({"out": place} if place else {}))


def test_the_command_prints_the_files(rashomon, trained):
    shown = rashomon("export", "tiny", "--store", trained.root)
    assert shown.out == "tiny.safetensors\ntiny.json\n"
    again = rashomon("export", "tiny", "--store", trained.root, "--out", "models", "--json")
    assert json.loads(again.out) == {"files": ["models/tiny.safetensors", "models/tiny.json"]}
