"""Calls that cannot work: each says in one line what is wrong, and in one line a command that is valid."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer

from rashomon_cli.cli.app import COMMANDS, make_app
from rashomon_cli.operations.compare import compare
from rashomon_cli.operations.connect import connect
from rashomon_cli.operations.context import Context, Where
from rashomon_cli.operations.probe import probe
from rashomon_cli.operations.train import TrainConfig, train
from rashomon_cli.store import Store
from rashomon_cli.store.trash import remove

USAGE, FAILED, NO_STORE, DAMAGED = 2, 1, 10, 12
TINY = ["--model", "mlp(width=8)", "--data", "digits(train=200)"]
TRAIN = ["train", *TINY, "--epochs", "1"]
SWEEP = ["sweep", *TINY, "--widths", "1", "--pairs", "1", "--epochs", "1"]
SPECTRA = ["probe", "tiny", "--what", "top,trace,density,dimension,reach,flat,llc"]
OWN = """
from torch import nn

NUMBER = 3

def make(input_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

def nothing():
    return 7

def fails():
    raise ValueError("it never works")

def wide(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(65, num_classes))

def one_number(outputs, targets):
    return outputs.mean()
"""


def _archive(path, **changes):
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.normal(size=(20, 4)), "y_train": np.arange(20) % 3}
    arrays |= {"x_test": rng.normal(size=(10, 4)), "y_test": np.arange(10) % 3}
    arrays = {name: value for name, value in (arrays | changes).items() if value is not None}
    np.savez(path, **arrays)


@pytest.fixture(scope="session")
def _place_once(tmp_path_factory):
    """A folder with a store and with files that are wrong in many ways."""
    folder = tmp_path_factory.mktemp("bad-calls")
    store = Store.open(folder / "rashomon-store", create=True)

    def at(name):
        return Context(store, Where(device="cpu", name=name))

    small = {"data": "digits(train=200)", "epochs": 1, "batch_size": 50, "precision": "float32"}
    for seed, name in enumerate(("tiny", "other", "alone")):
        train(at(name), TrainConfig(model="mlp(width=8)", seed=seed, **small))
    train(at("wide"), TrainConfig(model="mlp(width=9)", **small))
    rng = np.random.default_rng(0)
    _archive(folder / "line.npz", y_train=rng.normal(size=20), y_test=rng.normal(size=10))
    train(at("line"), TrainConfig(model="mlp(width=4)", loss="mse", **small | {"data": f"npz:{folder / 'line.npz'}"}))
    connect(at("path"), a="tiny", b="other", epochs=1, points=2, samples=20, batch_size=50)
    probe(at("numbers"), run="tiny", what="loss")
    compare(at("table"), models=("tiny", "other"), ood="digits")
    train(at("gone"), TrainConfig(model="mlp(width=8)", seed=8, **small))
    train(at("gone-too"), TrainConfig(model="mlp(width=8)", seed=9, **small))
    remove(store, ["gone"])
    remove(store, ["gone-too"])
    store.rename("alone", "gone-too")
    (folder / "own.py").write_text(OWN)
    (folder / "broken.py").write_text("def make(:\n")
    _archive(folder / "good.npz")
    _archive(folder / "nan.npz", x_train=np.full((20, 4), np.nan))
    _archive(folder / "lengths.npz", y_train=np.arange(19) % 3)
    _archive(folder / "shapes.npz", x_test=rng.normal(size=(10, 5)))
    _archive(folder / "words.npz", y_train=np.array(["a"] * 20))
    _archive(folder / "negative.npz", y_train=np.arange(20) - 5)
    _archive(folder / "empty.npz", x_train=np.zeros((0, 4)), y_train=np.zeros(0, int))
    _archive(folder / "lacking.npz", y_test=None)
    content = (folder / "good.npz").read_bytes()
    (folder / "half.npz").write_bytes(content[: len(content) // 2])
    (folder / "text.npz").write_text("no archive")
    model = store.find("tiny").folder / "model.safetensors"
    content = model.read_bytes()
    (folder / "weights.safetensors").write_bytes(content)
    (folder / "half.safetensors").write_bytes(content[: len(content) // 2])
    (folder / "bits.safetensors").write_bytes(b"\xff" * 100)
    (folder / "weights.zip").write_bytes(content)
    (folder / "code.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    (folder / "taken.safetensors").write_text("something else")
    return folder


@pytest.fixture
def place(_place_once, rashomon, monkeypatch):
    monkeypatch.chdir(_place_once)
    return _place_once


BAD = [
    # words that do not exist
    (["trian"], USAGE, "'trian'", "rashomon"),
    (["--bogus"], USAGE, "--bogus", "rashomon"),
    (["train", "--sede", "1"], USAGE, "--sede", "--seed"),
    (["ls", "--jsno"], USAGE, "--jsno", "--json"),
    (["ls", "extra"], USAGE, "extra", "rashomon ls"),
    (["show"], USAGE, "NAME", "rashomon show"),
    (["show", "tinny"], USAGE, "no run 'tinny'", "rashomon show tiny"),
    (["show", "zzzz"], USAGE, "no run 'zzzz'", "rashomon ls"),
    (["show", ""], USAGE, "no run ''", "rashomon ls"),
    (["show", "numbers", "--symmetries"], USAGE, "numbers is a measurement", "rashomon ls --kind model"),
    (["show", "path", "--symmetries"], USAGE, "path is a path", "rashomon show path@0.5 --symmetries"),
    (["show", "tiny@0.5", "--symmetries"], USAGE, "no position @0.5", "rashomon show tiny --symmetries"),
    (["show", "tiny", "other"], USAGE, "other", "rashomon show"),
    (["train", "--model", "preresnet21"], USAGE, "no model 'preresnet21'", "rashomon train --model preresnet20"),
    (["train", "--model", "mlpp(width=8)", "--data", "digits"], USAGE, "no model 'mlpp'", "'mlp(width=8)'"),
    (["train", "--model", "torchvision:resnet19", "--data", "digits"], USAGE, "resnet19", "torchvision:resnet18"),
    ([*TRAIN, "--data", "digit"], USAGE, "no data set 'digit'", "--data digits"),
    ([*TRAIN, "--data", "cifar11"], USAGE, "no data set 'cifar11'", "--data cifar10"),
    ([*TRAIN, "--loss", "cros-entropy"], USAGE, "no loss 'cros-entropy'", "--loss cross-entropy"),
    ([*TRAIN, "--init", "tinny"], USAGE, "no run 'tinny'", "--init tiny"),
    ([*TRAIN, "--schedule", "cosine"], USAGE, "cosine", "rashomon train"),
    ([*TRAIN, "--device", "tpu"], USAGE, "--device = 'tpu'", "rashomon train"),
    (["probe", "tiny", "--what", "los"], USAGE, "no quantity 'los'", "rashomon probe tiny --what loss"),
    (
        ["probe", "path", "--what", "ensmble"],
        USAGE,
        "no quantity 'ensmble'",
        "rashomon probe path --what ensemble",
    ),
    (
        ["probe", "path", "--what", "ensemble", "--ensemble-against", "tiny,othr"],
        USAGE,
        "no run 'othr'",
        "--ensemble-against tiny,other",
    ),
    (
        ["probe", "path", "--what", "machinery", "--machinery-ood", "photoes"],
        USAGE,
        "no data set 'photoes'",
        "--machinery-ood photos",
    ),
    (["compare", "--ood", "mnits"], USAGE, "no data set 'mnits'", "rashomon compare --ood mnist"),
    (["plot", "path", "--what", "profil"], USAGE, "profil", "rashomon plot"),
    (["connect", "tiny", "othr"], USAGE, "no run 'othr'", "rashomon connect tiny other"),
    (["align", "tiny", "othr"], USAGE, "no run 'othr'", "rashomon align tiny other"),
    (["align", "tiny"], USAGE, "Missing argument", "rashomon align"),
    (["align", "tiny", "tiny"], USAGE, "named twice", "rashomon ls"),
    (["align", "tiny", "other", "tiny"], USAGE, "named twice", "rashomon ls"),
    (["align", "tiny", "other", "other"], USAGE, "named twice", "rashomon ls"),
    (["align", "tiny", "other", "--points", "2"], USAGE, "--points = 2", "rashomon align"),
    (["align", "tiny", "path"], USAGE, "path is a path", "path@0.5"),
    (["align", "tiny", "wide"], FAILED, "does not fit", "rashomon"),
    (["align", "tiny", "other", "--method", "magic"], USAGE, "magic", "rashomon align"),
    (["align", "tiny", "other", "--match-samples", "1"], USAGE, "--match-samples = 1", "rashomon align"),
    (["prune", "tinny"], USAGE, "no run 'tinny'", "rashomon prune tiny"),
    ([*SWEEP, "--method", "weight"], USAGE, "weight", "rashomon sweep"),
    (["sweep", "--model", "mlpp", "--data", "digits"], USAGE, "no model 'mlpp'", "rashomon sweep --model mlp"),
    (["sweep", "--model", "mlp", "--data", "digit"], USAGE, "no data set 'digit'", "--data digits"),
    # values out of range, and lists
    ([*TRAIN, "--seed", "-1"], USAGE, "--seed = ", "rashomon train"),
    ([*TRAIN, "--seed", "3-1"], USAGE, "runs backwards", "--seed 1-3"),
    ([*TRAIN, "--seed", "1,,2"], USAGE, "empty value", "--seed 1,2,3"),
    ([*TRAIN, "--seed", ""], USAGE, "--seed", "rashomon train"),
    ([*TRAIN, "--seed", "1.5"], USAGE, "--seed = 1.5", "rashomon train"),
    ([*TRAIN, "--seed", "1-100000"], USAGE, "more than 10,000", "rashomon train"),
    ([*TRAIN, "--seed", "1-200", "--lr", "1,2,3,4,5,6,7,8", "--batch-size", "1-9"], USAGE, "14,400", "rashomon train"),
    ([*TRAIN, "--lr", "nan"], USAGE, "--lr = nan", "rashomon train"),
    ([*TRAIN, "--lr", "0"], USAGE, "--lr = ", "rashomon train"),
    ([*TRAIN, "--momentum", "1"], USAGE, "--momentum = ", "rashomon train"),
    ([*TRAIN, "--label-smoothing", "0.1", "--loss", "mse"], USAGE, "--label-smoothing", "rashomon train"),
    ([*TRAIN, "--epochs", "0"], USAGE, "--epochs = ", "rashomon train"),
    ([*TRAIN, "--epochs", "many"], USAGE, "--epochs", "rashomon train"),
    (["connect", "tiny", "other", "--bend", "0"], USAGE, "--bend = ", "rashomon connect"),
    (["connect", "tiny", "other", "--positions", "best"], USAGE, "best", "rashomon connect"),
    (["connect", "tiny", "other", "--tries", "0"], USAGE, "--tries = ", "rashomon connect"),
    (["connect", "tiny", "other", "--tries", "2", "--points", "2"], USAGE, "between the ends", "--points 11"),
    (["connect", "tiny", "other", "--watch-every", "-1"], USAGE, "--watch-every = ", "rashomon connect"),
    (["connect", "tiny", "other", "--start", "pth"], USAGE, "no run 'pth'", "--start path"),
    (["connect", "tiny", "other", "--start", "tiny,alone"], USAGE, "no run 'alone'", "rashomon"),
    (["connect", "tiny", "other", "--start", "tiny,other"], USAGE, "--bend 1", "--start tiny,other --bend 2"),
    (["connect", "tiny", "other", "--bend", "2", "--start", "path,tiny"], USAGE, "path is a path", "path@0.5,tiny"),
    (["connect", "tiny", "other", "--start", "numbers"], USAGE, "numbers is a measurement", "rashomon"),
    (["connect", "tiny", "other", "--start", "wide"], FAILED, "does not fit", "rashomon"),
    (
        ["connect", "tiny", "other", "--align", "--start", "path"],
        FAILED,
        "path does not lead to other as aligned",
        "rashomon align tiny other",
    ),
    (["connect", "tiny", "numbers@0.5"], USAGE, "no position @0.5", "rashomon ls --kind model"),
    (["connect", "other", "tiny", "--start", "path"], FAILED, "from tiny to other", "connect tiny other --start path"),
    (["connect", "tiny", "other", "--points", "1"], USAGE, "--points = ", "rashomon connect"),
    (["connect", "tiny", "other", "--samples", "1"], USAGE, "--samples = ", "rashomon connect"),
    (["prune", "tiny", "--thr", "-1"], USAGE, "--thr = ", "rashomon prune"),
    (["compare", "tiny", "other", "--samples", "none"], USAGE, "--samples = ", "rashomon compare"),
    (["probe", "path", "--what", "ensemble", "--ensemble-k", "1"], USAGE, "--ensemble-k = 1", "rashomon probe"),
    (
        ["probe", "path", "--what", "ensemble", "--ensemble-against", "tiny,tiny"],
        USAGE,
        "names tiny twice",
        "rashomon ls",
    ),
    (["probe", "tiny", "--what", "width", "--width-epsilon", "0"], USAGE, "--width-epsilon = 0", "rashomon probe"),
    (["probe", "tiny", "--what", "width", "--width-max", "-1"], USAGE, "--width-max = -1", "rashomon probe"),
    (["probe", "tiny", "--what", "width", "--width-batchnorm", "thawed"], USAGE, "thawed", "rashomon probe"),
    (
        ["probe", "path", "--what", "machinery", "--machinery-samples", "1"],
        USAGE,
        "--machinery-samples",
        "rashomon probe",
    ),
    *[
        ([*SPECTRA, flag, value], USAGE, f"{flag} = {value}", "rashomon probe")
        for flag, value in (
            ("--trace-matvecs", "9"),
            ("--top-k", "0"),
            ("--density-steps", "0"),
            ("--dimension-epsilon", "0"),
            ("--dimension-step", "0"),
            ("--reach-epsilon", "-1"),
            ("--reach-step", "0"),
            ("--flat-epsilon", "0"),
            ("--flat-visible", "0"),
            ("--llc-draws", "3"),
        )
    ],
    ([*SPECTRA, "--matrix", "hesse"], USAGE, "hesse", "rashomon probe"),
    *[
        ([*SPECTRA, "--backend", "pyhessian", *more], USAGE, "knows the whole Hessian only", "rashomon probe")
        for more in (["--matrix", "ggn"], ["--layers", "layers.*"], ["--by", "layer"])
    ],
    *[
        (
            ["probe", "tiny", "--what", "top,trace,density", "--backend", "pyhessian", flag, value],
            USAGE,
            flag,
            "rashomon",
        )
        for flag, value in (
            ("--top-bottom", "2"),
            ("--top-products", "9"),
            ("--trace-method", "xtrace"),
            ("--density-deflate", "5"),
        )
    ],
    *[
        (["probe", "tiny", "--what", what, *more], USAGE, f"{what} knows no {more[0]}", "rashomon probe")
        for what, *more in (
            ("llc", "--matrix", "ggn", "--layers", "nonsense"),
            ("loss", "--split", "test", "--layers", "nonsense"),
            ("loss", "--by", "layer"),
            ("dimension", "--backend", "pyhessian"),
            ("llc", "--with-decay"),
            ("loss", "--hvp-samples", "9"),
        )
    ],
    (["probe", "tiny", "--what", "reach", "--matrix", "gnn"], USAGE, "'--matrix': 'gnn' is not one", "rashomon probe"),
    ([*SPECTRA, "--layers", "layers.1,blocks.*", "--dry-run"], USAGE, "no layer 'blocks.*'", "rashomon probe"),
    ([*SPECTRA, "--layers", "layers.1,blocks.*"], USAGE, "no layer 'blocks.*'", "rashomon probe"),
    (["probe", "tiny", "--what", "reach,llc", "--layers", "block"], USAGE, "no layer 'block'", "rashomon probe"),
    (["probe", "tiny", "--what", "llc,top", "--layers", "", "--by", "layer"], USAGE, "no layer ''", "rashomon probe"),
    (["probe", "tiny", "--what", "llc", "--layers", "", "--dry-run"], USAGE, "no layer ''", "rashomon probe"),
    ([*SPECTRA, "--dimension-routes", "gramm"], USAGE, "no route 'gramm'", "--dimension-routes gram"),
    (["probe", "tiny", "--what", "flat", "--flat-ood", "photoes"], USAGE, "'photoes'", "--flat-ood photos"),
    ([*SWEEP, "--widths", "0.3,1"], USAGE, "0.3 times the width 8 is 2.4", "--model 'mlp(width=8)' --widths 1/4,1"),
    ([*SWEEP, "--widths", "1/16"], USAGE, "no whole number of units", "rashomon sweep --model 'mlp(width=8)'"),
    ([*SWEEP, "--widths", "1,,2"], USAGE, "--widths = '1,,2'", "rashomon sweep"),
    ([*SWEEP, "--widths", "0"], USAGE, "--widths = ", "rashomon sweep"),
    ([*SWEEP, "--widths", "wide"], USAGE, "numbers or fractions", "rashomon sweep"),
    ([*SWEEP, "--pairs", "0"], USAGE, "--pairs = 0", "rashomon sweep"),
    ([*SWEEP, "--bend", "-1"], USAGE, "--bend = -1", "rashomon sweep"),
    ([*SWEEP, "--epochs", "0"], USAGE, "--epochs = 0", "rashomon sweep"),
    ([*SWEEP, "--lr", "0"], USAGE, "--lr = 0", "rashomon sweep"),
    ([*SWEEP, "--connect-epochs", "0"], USAGE, "--connect-epochs = 0", "rashomon sweep"),
    ([*SWEEP, "--points", "1"], USAGE, "--points = 1", "rashomon sweep"),
    ([*SWEEP, "--samples", "1"], USAGE, "--samples = ", "rashomon sweep"),
    ([*SWEEP, "--augment", "crop-flip", "--data", "npz:good.npz"], USAGE, "needs images", "--augment none"),
    (
        ["sweep", "--model", "own.py:make", "--data", "digits"],
        FAILED,
        "own.py:make has no argument width",
        "rashomon sweep --model 'mlp(width=64)'",
    ),
    (
        ["sweep", "--model", "torchvision:resnet18", "--data", "digits"],
        FAILED,
        "torchvision:resnet18 has no argument width",
        "rashomon sweep --model 'mlp(width=64)'",
    ),
    ([*SWEEP, "--name", "tiny"], USAGE, "'tiny' is taken", "rashomon"),
    ([*SWEEP, "--name", "a b"], USAGE, "cannot be a name", "rashomon sweep"),
    (["probe", "path@1.5"], USAGE, "outside [0, 1]", "rashomon probe path@0.5"),
    (["probe", "path@x"], USAGE, "not a number", "rashomon probe path@0.5"),
    (["probe", "@0.5"], USAGE, "empty", "rashomon ls"),
    # specifications
    (["train", "--model", "mlp(width=", "--data", "digits"], USAGE, "cannot read", "rashomon train"),
    (["train", "--model", "mlp(8)", "--data", "digits"], USAGE, "name=value", "rashomon train"),
    (["train", "--model", "mlp(widht=8)", "--data", "digits"], USAGE, "no argument 'widht'", "mlp(width=8)"),
    (["train", "--model", "mlp(width='a')", "--data", "digits"], FAILED, "failed", "rashomon train"),
    (["train", "--model", "nowhere.py:net", "--data", "digits"], USAGE, "no file nowhere.py", "rashomon train"),
    (["train", "--model", "own.py:net", "--data", "digits"], USAGE, "has no 'net'", "own.py:"),
    (["train", "--model", "own.py:NUMBER", "--data", "digits"], USAGE, "no function", "rashomon train"),
    (["train", "--model", "own.py:nothing", "--data", "digits"], FAILED, "no torch.nn.Module", "rashomon train"),
    (["train", "--model", "own.py:fails", "--data", "digits"], FAILED, "it never works", "rashomon train"),
    (["train", "--model", "own.py:wide", "--data", "digits"], FAILED, "do not fit", "rashomon train"),
    (["train", "--model", "broken.py:make", "--data", "digits"], USAGE, "SyntaxError", "rashomon train"),
    (["train", "--model", "no.such.module:make", "--data", "digits"], USAGE, "no.such.module", "rashomon train"),
    ([*TRAIN, "--loss", "own.py:one_number"], FAILED, "gives () for 2 examples", "rashomon train"),
    ([*TRAIN, "--data", "digits(train=0)"], USAGE, "train=0", "rashomon train"),
    ([*TRAIN, "--data", "digits(size=3)"], USAGE, "no arguments", "rashomon train"),
    # data files
    ([*TRAIN, "--data", "npz:nowhere.npz"], USAGE, "no file nowhere.npz", "rashomon train"),
    ([*TRAIN, "--data", "folder:nowhere"], USAGE, "nowhere", "rashomon train"),
    ([*TRAIN, "--data", "npz:half.npz"], FAILED, "half.npz", "rashomon train"),
    ([*TRAIN, "--data", "npz:text.npz"], FAILED, "text.npz", "rashomon train"),
    ([*TRAIN, "--data", "npz:lacking.npz"], FAILED, "y_test", "rashomon train"),
    ([*TRAIN, "--data", "npz:nan.npz"], FAILED, "not finite", "rashomon train"),
    ([*TRAIN, "--data", "npz:lengths.npz"], FAILED, "y_train has 19", "rashomon train"),
    ([*TRAIN, "--data", "npz:shapes.npz"], FAILED, "(4,)", "rashomon train"),
    ([*TRAIN, "--data", "npz:words.npz"], FAILED, "no array of numbers", "rashomon train"),
    ([*TRAIN, "--data", "npz:negative.npz"], FAILED, "negative", "rashomon train"),
    ([*TRAIN, "--data", "npz:empty.npz"], FAILED, "empty", "rashomon train"),
    ([*TRAIN, "--data", "npz:good.npz", "--augment", "crop-flip"], USAGE, "needs images", "--augment none"),
    # runs of the wrong kind, and runs that do not fit
    ([*TRAIN, "--init", "numbers"], USAGE, "numbers is a measurement", "rashomon"),
    ([*TRAIN, "--init", "path"], USAGE, "path is a path", "--init path@0.5"),
    ([*TRAIN, "--init", "tiny@0.5"], USAGE, "no position @0.5", "--init tiny"),
    ([*TRAIN, "--init", "wide"], FAILED, "does not fit", "rashomon"),
    (["connect", "tiny", "tiny"], FAILED, "both ends", "rashomon"),
    (["connect", "tiny", "path"], USAGE, "path is a path", "rashomon connect tiny path@0.5"),
    (["connect", "tiny", "wide"], FAILED, "does not fit", "rashomon"),
    (["connect", "tiny"], USAGE, "connect takes two models", "rashomon connect"),
    # paths that are put together
    (["connect", "tiny", "other", "--via", "widn"], USAGE, "widn", "rashomon connect"),
    (["connect", "tiny", "wide", "--via", "widen"], FAILED, "does not fit", "rashomon"),
    (["connect", "tiny", "tiny", "--via", "widen"], FAILED, "both ends", "rashomon"),
    (["connect", "tiny", "--via", "transplant"], USAGE, "connect takes two models", "rashomon connect"),
    (["connect", "tiny", "path", "--via", "widen"], USAGE, "path is a path", "tiny path@0.5 --via widen"),
    *[
        (
            ["connect", "tiny", "other", "--via", via, f"--{flag}", value],
            USAGE,
            f"--{flag} does not go with --via {via}",
            f"rashomon connect tiny other --via {via}",
        )
        for via, flag, value in (
            ("widen", "lr", "1"),
            ("widen", "bend", "2"),
            ("transplant", "kind", "polyline"),
            ("transplant", "tries", "3"),
        )
    ],
    (
        ["connect", "tiny", "other", "--via", "widen", "--star"],
        USAGE,
        "--via does not go with --star",
        "rashomon connect tiny other --star",
    ),
    # more than two models
    (
        ["connect", "tiny", "other", "gone-too"],
        USAGE,
        "a path joins two models, not 3",
        "rashomon connect tiny other gone-too --star",
    ),
    (["connect", "tiny", "other", "--star", "--simplex"], USAGE, "exclude each other", "connect tiny other --star"),
    (
        ["connect", "tiny", "other", "--star", "--bend", "2"],
        USAGE,
        "--bend does not go with --star",
        "rashomon connect",
    ),
    (["connect", "tiny", "other", "--graph", "--lr", "1"], USAGE, "--lr does not go with --graph", "rashomon connect"),
    (
        ["connect", "tiny", "other", "--simplex", "--kind", "polyline"],
        USAGE,
        "--kind does not go with --simplex",
        "rashomon",
    ),
    (
        ["connect", "tiny", "other", "--epsilon", "1"],
        USAGE,
        "--epsilon needs --simplex",
        "rashomon connect tiny other --simplex",
    ),
    (
        ["connect", "tiny", "other", "--volume", "1"],
        USAGE,
        "--volume needs --simplex",
        "rashomon connect tiny other --simplex",
    ),
    (["connect", "tiny", "other", "--simplex", "--volume", "-1"], USAGE, "--volume = -1", "rashomon connect"),
    (["connect", "tiny", "other", "--simplex", "--draws", "1"], USAGE, "--draws = 1", "rashomon connect"),
    *[
        (
            ["connect", "tiny", "other", f"--{mode}", "--points", "2"],
            USAGE,
            "--points 2 has no position there",
            f"rashomon connect tiny other --{mode} --points 11",
        )
        for mode in ("star", "simplex", "graph")
    ],
    (["connect", "--graph", "--points", "2"], USAGE, "--points 2", "rashomon connect --graph --points 11"),
    (["connect", "tiny", "--star"], USAGE, "two models or more, not 1", "rashomon connect a b c --star"),
    (["connect", "--simplex"], USAGE, "two models or more, not 0", "rashomon connect a b c --simplex"),
    (["connect", "tiny", "other", "tiny", "--star"], FAILED, "tiny is named twice", "connect tiny other --star"),
    (["connect", "tiny", "other", "wide", "--star"], FAILED, "does not fit", "rashomon"),
    (["connect", "tiny", "line", "--simplex"], FAILED, "does not fit", "rashomon"),
    (["connect", "tiny", "path", "--star"], USAGE, "path is a path", "rashomon connect tiny path@0.5 --star"),
    (["connect", "tiny", "othr", "--simplex"], USAGE, "no run 'othr'", "rashomon connect tiny other --simplex"),
    (["connect", "tiny", "--graph"], USAGE, "needs two models", "rashomon ls --kind model"),
    (["connect", "tiny", "wide", "--graph"], FAILED, "wide is not of the builder", "rashomon ls --kind model"),
    (["connect", "tiny", "line", "--graph"], FAILED, "line is not of the builder", "rashomon ls --kind model"),
    (["connect", "tiny", "tiny", "--graph"], FAILED, "tiny is named twice", "rashomon connect --graph"),
    (["connect", "tiny", "path@0.5", "--graph"], USAGE, "point of a path", "rashomon connect --graph"),
    (["connect", "tiny", "table", "--graph"], USAGE, "table is a comparison", "rashomon ls --kind model"),
    (["prune", "table"], USAGE, "table is a comparison", "rashomon"),
    (["probe", "tiny", "--what", "ensemble"], USAGE, "ensemble needs a path", "rashomon probe tiny --what loss"),
    (
        ["probe", "path@0.5", "--what", "machinery"],
        USAGE,
        "machinery needs a path",
        "rashomon probe path --what machinery",
    ),
    (
        ["probe", "path", "--what", "ensemble", "--ensemble-against", "path"],
        USAGE,
        "--ensemble-against names path itself",
        "rashomon ls --kind model",
    ),
    (
        ["probe", "path", "--what", "ensemble", "--ensemble-against", "tiny,path@0.5"],
        USAGE,
        "--ensemble-against names path@0.5, which lies on the path",
        "rashomon ls --kind model",
    ),
    (
        ["probe", "path", "--what", "ensemble", "--ensemble-against", "numbers"],
        USAGE,
        "numbers is a measurement",
        "rashomon",
    ),
    (
        ["probe", "path", "--what", "ensemble", "--ensemble-against", "line"],
        FAILED,
        "line does not classify, path does",
        "rashomon ls --kind model",
    ),
    (
        ["probe", "path", "--what", "machinery", "--machinery-ood", "npz:good.npz"],
        FAILED,
        "does not fit path",
        "rashomon probe",
    ),
    (
        ["probe", "path", "--what", "machinery", "--machinery-ood", "npz:no.npz"],
        USAGE,
        "no file no.npz",
        "rashomon probe",
    ),
    (["probe", "table"], USAGE, "table is a comparison", "rashomon"),
    (["compare", "tiny", "numbers", "--ood", "digits"], USAGE, "numbers is a measurement", "rashomon"),
    (["compare", "tiny", "line", "--ood", "digits"], FAILED, "does not classify", "rashomon compare"),
    (["compare", "tiny", "--ood", "digits"], USAGE, "two models", "rashomon"),
    (["plot", "numbers", "--what", "training"], FAILED, "numbers has nothing to plot", "rashomon show numbers"),
    (["plot", "tiny", "--what", "profile"], FAILED, "tiny has no profile", "rashomon plot tiny --what training"),
    (["plot", "path", "--out", "no/such/folder/x"], USAGE, "no folder", "rashomon plot"),
    # names, tags, the trash
    ([*TRAIN, "--name", "a b"], USAGE, "cannot be a name", "rashomon train"),
    ([*TRAIN, "--name", "tiny"], USAGE, "'tiny' is taken", "rashomon"),
    (["rename", "tiny", "other"], USAGE, "'other' is taken", "rashomon show other"),
    (["rename", "tiny", "a/b"], USAGE, "cannot be a name", "rashomon rename"),
    (["rename", "tiny"], USAGE, "NEW", "rashomon rename"),
    (["rename", "nobody", "x"], USAGE, "no run 'nobody'", "rashomon ls"),
    (["tag", "tiny", "a b"], USAGE, "'a b' cannot be a tag", "rashomon tag"),
    (["tag", "tiny", "x", "--remove"], USAGE, "tiny has no tag 'x'", "rashomon show tiny"),
    (["tag", "tiny"], USAGE, "TAG", "rashomon tag"),
    (["tag", "nobody", "x"], USAGE, "no run 'nobody'", "rashomon ls"),
    (["rm"], USAGE, "NAME", "rashomon rm"),
    (["rm", "nobody"], USAGE, "no run 'nobody'", "rashomon ls"),
    (["rm", "tiny"], FAILED, "made from tiny: path, numbers, table", "rashomon rm tiny path numbers table"),
    (["restore", "tiny"], USAGE, "tiny", "rashomon"),
    (["restore", "gon"], USAGE, "no trashed run 'gon'", "rashomon restore gone"),
    (["restore", "gone-too"], USAGE, "'gone-too' is taken", "--name gone-too-2"),
    (["restore", "gone", "--name", "a b"], USAGE, "cannot be a name", "rashomon restore"),
    (["ls", "--where", "nonsense"], USAGE, "nonsense", "rashomon ls"),
    (["ls", "--where", "test_accuracy>"], USAGE, "test_accuracy>", "rashomon ls"),
    (["ls", "--where", "nothing>1"], USAGE, "nothing", "rashomon show"),
    (["ls", "--parent", "nobody"], USAGE, "no run 'nobody'", "rashomon ls"),
    (["check", "nobody"], USAGE, "no run 'nobody'", "rashomon ls"),
    (["gc", "now"], USAGE, "now", "rashomon gc"),
    (["reindex", "now"], USAGE, "now", "rashomon reindex"),
    # import and export
    (["import", "nowhere.safetensors", *TINY], USAGE, "no file nowhere.safetensors", "rashomon import"),
    (["import", "weights.zip", *TINY], USAGE, "weights.zip", "rashomon import"),
    (["import", "weights.safetensors"], USAGE, "--model", "rashomon import"),
    (["import", "half.safetensors", *TINY], FAILED, "half.safetensors", "rashomon import"),
    (["import", "bits.safetensors", *TINY], FAILED, "bits.safetensors", "rashomon import"),
    (["import", "code.pt", *TINY], FAILED, "code.pt", "rashomon import"),
    (
        ["import", "weights.safetensors", "--model", "mlp(width=9)", "--data", TINY[3]],
        FAILED,
        "does not fit",
        "rashomon",
    ),
    (["import", "weights.safetensors", "--model", "mlpp", "--data", TINY[3]], USAGE, "no model 'mlpp'", "--model mlp"),
    (["export", "nobody"], USAGE, "no run 'nobody'", "rashomon ls"),
    (["export", "table"], USAGE, "table is a comparison", "rashomon"),
    (["export", "tiny", "--out", "taken.safetensors"], FAILED, "taken.safetensors", "rashomon export"),
    # no store
    *[
        ([*call, "--store", "nowhere"], NO_STORE, "no store at nowhere", "rashomon train --seed 1")
        for call in (
            ["ls"],
            ["show", "a"],
            ["rm", "a"],
            ["gc"],
            ["check"],
            ["reindex"],
            ["probe", "a"],
            ["export", "a"],
        )
    ],
    (["ls", "--store", "own.py"], NO_STORE, "own.py", "rashomon"),
    (["train", *TINY, "--store", "."], NO_STORE, "not empty", "--store"),
    (["train", *TINY, "--store", "own.py"], NO_STORE, "own.py", "--store"),
]


def listing(folder):
    """Every path below a folder with its size, but for the index and the cache, which may change at any time."""
    passing = re.compile(r"catalog\.db|/cache(/|$)|__pycache__")
    found = {str(p): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    return {path: size for path, size in found.items() if not passing.search(path)}


@pytest.mark.parametrize(("arguments", "code", "words", "hint"), BAD, ids=[" ".join(bad[0]) for bad in BAD])
def test_a_bad_call_is_one_line_one_valid_hint_and_a_code(rashomon, place, arguments, code, words, hint):
    before = listing(place)
    found = rashomon(*arguments)
    assert (found.code, found.out) == (code, ""), found
    lines = [line for line in found.err.splitlines() if not line.startswith("note: ")]
    assert [line.partition(" ")[0] for line in lines] == ["error:", "hint:"], found.err
    assert words in lines[0]
    assert hint in lines[1]
    commands = commands_in(lines[1])
    assert commands, f"no command in {lines[1]!r}"
    for command in commands:
        see_that_it_parses(command)
    assert listing(place) == before, "a refused call leaves no trace"


def test_the_table_covers_every_command():
    assert {bad[0][0] for bad in BAD} >= set(COMMANDS)
    assert len(BAD) >= 60


def commands_in(hint):
    """The words after each ``rashomon`` of a hint, up to the end, a semicolon or a closing parenthesis."""
    found = re.findall(r"(?<![\w./-])rashomon ((?:'[^']*'|[^;)'])+)", hint)
    return [shlex.split(text) for text in found]


def see_that_it_parses(words):
    """A command of ours exists, has every option that is named, and takes its words, up to where prose begins."""
    if words[0].startswith("-"):
        assert words[0] in ("--help", "--version")
        return
    assert words[0] in COMMANDS, words
    app = typer.main.get_command(make_app((words[0],)))
    top = app.make_context("rashomon", [words[0]], resilient_parsing=True)
    command = app.get_command(top, words[0])
    known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word for word in words[1:] if word.startswith("--") and word not in known | {"--help"}]
    assert not unknown, words
    least = max([at + 1 for at, word in enumerate(words) if word.startswith("-")], default=1)
    assert any(parses(command, top, words[1:end]) for end in range(len(words), least - 1, -1)), words


def parses(command, top, words):
    """Whether a command takes these words; nothing is executed."""
    if "--help" in words:
        return words == ["--help"]
    try:
        command.make_context(command.name, list(words), parent=top)
    except typer.TyperException:
        return False
    return True


@pytest.mark.parametrize(
    ("hint", "commands"),
    [
        ("rashomon ls", [["ls"]]),
        ("did you mean a? rashomon show a", [["show", "a"]]),
        ("give a number (rashomon train --help)", [["train", "--help"]]),
        ("rashomon train --seed 1 makes one; --store names another", [["train", "--seed", "1", "makes", "one"]]),
        ("rashomon train --model 'mlp(width=8)'", [["train", "--model", "mlp(width=8)"]]),
        ("pip install 'rashomon-cli[timm]'", []),
    ],
)
def test_commands_are_found_in_hints(hint, commands):
    assert commands_in(hint) == commands


@pytest.mark.parametrize("words", [["shw", "a"], ["show", "--sede", "1"], ["show"], ["train", "--epochs"]])
def test_a_hint_that_is_no_command_is_seen(words):
    with pytest.raises(AssertionError):
        see_that_it_parses(words)


def test_a_damaged_run_is_named(rashomon, place, tmp_path):
    shutil.copytree(place / "rashomon-store", tmp_path / "store")
    run = Store.open(tmp_path / "store").find("tiny")
    for name in ("model.safetensors", "metrics.h5", "run.json"):
        content = (run.folder / name).read_bytes()
        (run.folder / name).write_bytes(content[: len(content) // 2])
        calls = [["connect", "tiny", "other"], ["prune", "tiny"], ["export", "tiny"]]
        calls = {"metrics.h5": [["plot", "tiny"]], "run.json": [*calls, ["show", "tiny"]]}.get(name, calls)
        for call in calls:
            found = rashomon(*call, "--store", Path(tmp_path / "store"))
            assert found.code == DAMAGED, found
            assert name in found.err
            commands = commands_in(found.err.splitlines()[-1])
            assert commands
            for command in commands:
                see_that_it_parses(command)
        (run.folder / name).write_bytes(content)
