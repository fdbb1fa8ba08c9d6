"""The numbers in the examples' READMEs are those of the committed files."""

import importlib.util
import math
import re
from pathlib import Path

import numpy as np
import pytest

from rashomon_cli import Store

FOLDER = Path(__file__).parents[1] / "examples" / "cifar10"
OWN = FOLDER.parent / "own_model.py"
README = (FOLDER / "README.md").read_text()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The committed runs, with a catalog of their own: the checkout is left as it is."""
    root = committed(FOLDER, tmp_path_factory.mktemp("cifar10") / "store")
    return root, {run.name: run for run in Store.open(root).runs()}


def stated(pattern):
    """The number that the README states where a pattern with one group matches."""
    (found,) = set(re.findall(pattern, README))
    return float(found)


def committed(folder, root):
    """A store with the committed runs of a folder and a catalog of its own."""
    root.mkdir()
    (root / "runs").symlink_to(folder / "store" / "runs")
    (root / "store.json").write_bytes((folder / "store" / "store.json").read_bytes())
    return root


@pytest.mark.parametrize("name", ["cifar10", "curvature", "ridge", "width"])
def test_every_table_of_a_folder_is_made_from_its_store(tmp_path, name):
    folder = FOLDER.parent / name
    spec = importlib.util.spec_from_file_location(f"{name}_tables", folder / "tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    readme = (folder / "README.md").read_text()
    blocks = tables.blocks(committed(folder, tmp_path / "store"))
    assert blocks.keys() == set(re.findall(r"<!-- (\w+) -->", readme))
    for title, block in blocks.items():
        assert f"<!-- {title} -->\n{block}" in readme


def test_distances_to_the_aligned_model_are_those_of_the_committed_weights(tmp_path):
    store = Store.open(committed(FOLDER.parent / "ridge", tmp_path / "store"))
    moved = store.find("b-on-a-activations")
    a, b, there = (
        np.concatenate([run.tensors()[n].ravel() for n in names_of(run)]).astype(float)
        for run in (store.find("a"), store.find("b"), moved)
    )
    assert moved.metrics["distance_before"] == pytest.approx(np.linalg.norm(a - b), rel=1e-5)
    assert moved.metrics["distance_after"] == pytest.approx(np.linalg.norm(a - there), rel=1e-5)


def names_of(run):
    return sorted(n for n in run.tensors() if not re.search(r"running_|num_batches", n))


def test_sparsity_is_that_of_the_committed_weights(runs):
    for name in ("a-pruned", "b-pruned"):
        tensors = runs[1][name].tensors()
        masks = runs[1][name].tensors("mask.safetensors")
        weights = [n for n in masks if tensors[n].ndim > 1]
        zeros = sum(int((tensors[n] == 0).sum()) for n in weights)
        assert all(not tensors[n][~masks[n]].any() for n in masks)
        share = 100 * zeros / sum(tensors[n].size for n in weights)
        assert stated(rf"\| {name} \| ([\d.]+) \|") == pytest.approx(share, rel=1e-2)


def test_length_of_the_bezier_is_that_of_the_committed_ends_and_bend(runs):
    a, b = (runs[1][name].tensors() for name in ("a", "b"))
    names = [n for n in a if not re.search(r"running_|num_batches", n)]
    bends = runs[1]["bridge"].tensors("path.safetensors")["bends"]
    order = [n for n, _ in layout_of(runs[1]["bridge"])]
    assert sorted(order) == sorted(names)
    start, end = (np.concatenate([m[n].ravel() for n in order]).astype(float) for m in (a, b))
    bend = bends[0].astype(float)
    chord = np.linalg.norm(end - start)
    ts = (np.arange(2000) + 0.5) / 2000
    speed = [np.linalg.norm(2 * (1 - t) * (bend - start) + 2 * t * (end - bend)) for t in ts]
    length, straight = re.search(r"\| length \| ([\d.]+) \| ([\d.]+) \|", README).groups()
    assert float(length) == pytest.approx(np.mean(speed), rel=1e-3)
    assert float(straight) == pytest.approx(chord, rel=1e-3)


def layout_of(run):
    import json

    import safetensors

    with safetensors.safe_open(run.verified("path.safetensors"), framework="numpy") as file:
        return json.loads(file.metadata()["rashomon"])["layout"]


def test_barriers_are_those_of_the_committed_profiles(runs):
    groups = runs[1]["bridge"].measurements()
    for index, name in enumerate(("curve", "line")):
        losses = groups[name]["train_loss"].values
        barrier = losses.max() - max(losses[0], losses[-1])
        row = re.search(r"\| barrier, train loss \[nat\] \| ([\d.]+)[^|]*\| ([\d.]+)", README)
        assert float(row.group(index + 1)) == pytest.approx(barrier, rel=1e-2)


def test_cosines_are_those_of_the_committed_matrix(runs):
    for block, name in (("similarity", "similar"), ("six", "six")):
        matrix = runs[1][name].measurements()["mnist"]["cosine"].values
        above = matrix[np.triu_indices(len(matrix), 1)]
        (table,) = re.findall(rf"<!-- {block} -->\n((?:\|.*\n)+)", README)
        found = re.findall(r"^\| [\w-]+, [\w-]+ \| ([\d.]+) ±", table, re.MULTILINE)
        assert [float(v) for v in found] == pytest.approx(above.tolist(), rel=1e-2)
    matrix = runs[1]["similar"].measurements()["mnist"]["cosine"].values
    above = matrix[np.triu_indices(len(matrix), 1)]
    assert math.isclose(runs[1]["similar"].metrics["cosine_median"], float(np.median(above)), rel_tol=1e-9)


@pytest.mark.slow
def test_the_example_of_an_own_model_runs(tmp_path, start):
    out, err = start(
        tmp_path / "store", python=f"import runpy; runpy.run_path({str(OWN)!r}, run_name='__main__')"
    ).communicate()
    assert err == ""
    numbers = [float(text) for text in re.findall(r"accuracy (\d\.\d+)", out)]
    assert min(numbers) > 0.8
    assert "cosine of predictions on other sequences" in out
