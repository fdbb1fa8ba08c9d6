"""The commands give on CUDA what they give on the CPU; skipped where there is no CUDA device."""

import math

import numpy as np
import pytest
import torch

from rashomon_cli.store import Store

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

TRAIN = ["--data", "photos(train=300)", "--batch-size", "50", "--precision", "float32"]
SHORT = ["--points", "3", "--samples", "200", "--precision", "float32"]
TRAINED = {  # chaotic in the last digits: only as close as a few steps leave it
    "train": ["train", "--model", "preresnet8(width=4)", *TRAIN, "--epochs", "1", "--seed", "4", "--lr", "0.02"],
    "connect": ["connect", "a", "b", "--epochs", "1", "--lr", "0.005", *SHORT],
    "star": ["connect", "a", "b", "c", "--star", "--epochs", "1", "--lr", "0.005", *SHORT],
    "simplex": ["connect", "a", "b", "--simplex", "--draws", "2", "--epochs", "1", "--lr", "0.005", *SHORT],
    "prune": ["prune", "a", "--l1", "1e-4", "--thr", "0.05", "--epochs", "1", "--precision", "float32"],
}
MEASURED = {
    "widen": ["connect", "a", "b", "--via", "widen", "--points", "3", "--samples", "200"],
    "graph": ["connect", "--graph", "a", "b", "c", "--points", "3", "--samples", "200"],
    "activations": ["align", "a", "b", "--points", "3", "--samples", "200", "--match-samples", "200"],
    "weights": ["align", "a", "b", "--method", "weights", "--points", "3", "--samples", "200"],
    "universe": ["align", "a", "b", "c", "--points", "3", "--samples", "200", "--match-samples", "200"],
    "path": ["probe", "ab", "--points", "3", "--hvp-samples", "100", "--hvp-eigenvalue-samples", "50"],
    "float64": ["probe", "ab@0.5", "--hvp-samples", "100", "--hvp-eigenvalue-samples", "50", "--float64"],
    "ensemble": ["probe", "ab", "--what", "ensemble", "--ensemble-k", "3"],
    "machinery": ["probe", "ab", "--what", "machinery", "--machinery-ood", "digits", "--points", "3"],
    "width": ["probe", "ab@0.5", "--what", "width", "--width-random", "2", "--width-project", "2",
              "--width-samples", "100", "--width-project-samples", "50"],
    "top": ["probe", "ab@0.5", "--what", "top", "--samples", "100", "--top-bottom", "0"],
    "spectrum": ["probe", "ab@0.5", "--what", "top,trace,density", "--samples", "100", "--float64"],
    "by layer": ["probe", "ab@0.5", "--what", "trace", "--by", "layer", "--matrix", "ggn", "--samples", "100"],
    "dimension": ["probe", "ab", "--points", "2", "--what", "dimension", "--samples", "50", "--dimension-probes", "2",
                  "--dimension-steps", "30", "--dimension-limit", "40", "--float64"],
    "flatness": ["probe", "ab@0.5", "--what", "reach,flat", "--reach-samples", "50", "--reach-matrix-samples", "50",
                 "--flat-samples", "50", "--flat-near-null", "2", "--flat-ood", "digits", "--float64"],
    "llc": ["probe", "a", "--what", "llc", "--llc-samples", "100", "--llc-draws", "20", "--llc-burn-in", "10",
            "--llc-chains", "2", "--float64"],
    "compare": ["compare", "a", "b", "--ood", "digits"],
}  # fmt: skip
NOT_COMPARED = "max_output_difference"  # rounding itself


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Three models and a path, made on the CPU."""
    from rashomon_cli.cli.app import main

    store = tmp_path_factory.mktemp("cuda") / "store"
    for seed, name in enumerate("abc", 1):
        made = ["train", "--model", "preresnet8(width=4)", *TRAIN, "--epochs", "3", "--lr", "0.05", "--seed", str(seed)]
        assert main([*made, "--name", name, "--device", "cpu", "--store", str(store)]) == 0
    path = ["connect", "a", "b", "--epochs", "2", "--lr", "0.02", *SHORT, "--name", "ab", "--device", "cpu"]
    assert main([*path, "--store", str(store)]) == 0
    return store


def both(store, arguments):
    """The metrics of a command on the CPU and on CUDA."""
    from rashomon_cli.cli.app import main

    found = []
    for device in ("cpu", "cuda"):
        assert main([*arguments, "--again", "--name", f"on-{device}", "--device", device, "--store", str(store)]) == 0
        runs = [run for run in Store.open(store).runs() if run.name.startswith(f"on-{device}")]
        metrics = {(n, name): value for n, run in enumerate(runs) for name, value in run.metrics.items()}
        found.append({key: value for key, value in metrics.items() if not key[1].startswith(NOT_COMPARED)})
        assert main(["rm", *(run.name for run in runs), "--force", "--store", str(store)]) == 0
    return found


def same(one, two, rtol):
    assert one.keys() == two.keys()
    differ = {}
    for key, value in one.items():
        name, other = key[1], two[key]
        if value == other:  # words among them
            continue
        x, y = np.asarray(value, dtype=float), np.asarray(other, dtype=float)
        # An image whose two largest outputs are equal to rounding may count either way; errors are in points.
        atol = 1.5 if "error" in name else 0.015 if "accuracy" in name or "agreement" in name else rtol
        if x.shape != y.shape or not np.allclose(x, y, rtol=rtol, atol=atol, equal_nan=True):
            differ[name] = (value, other, math.inf if x.shape != y.shape else float(np.abs(x - y).max()))
    assert not differ, differ


@pytest.mark.parametrize("arguments", MEASURED.values(), ids=MEASURED.keys())
def test_measures_the_same(models, arguments):
    same(*both(models, arguments), rtol=2e-3)


@pytest.mark.parametrize("arguments", TRAINED.values(), ids=TRAINED.keys())
def test_trains_to_the_same(models, arguments):
    same(*both(models, arguments), rtol=2e-2)
