"""Stores that earlier versions wrote go on working as they are: listed, shown, checked, used, renamed."""

import json
import shutil
from pathlib import Path

import pytest

from rashomon_cli.store import Store

HERE = Path(__file__).parent
STORES = {"schema-1": HERE.parent / "examples" / "cifar10" / "store", "schema-2": HERE / "data" / "schema-2"}
DOCUMENTS = ("request.json", "run.json", "label.json")


@pytest.fixture(params=STORES)
def old(request, tmp_path, rashomon):
    """The command line in a copy of an old store."""
    shutil.copytree(STORES[request.param] / "runs", tmp_path / "rashomon-store" / "runs")
    shutil.copy(STORES[request.param] / "store.json", tmp_path / "rashomon-store")
    return rashomon


def test_each_schema_has_a_store():
    for schema, folder in STORES.items():
        for name in DOCUMENTS:
            found = [json.loads(path.read_bytes()) for path in (folder / "runs").glob(f"*/{name}")]
            assert {f"schema-{document['schema_version']}" for document in found} == {schema}


def test_its_runs_are_listed_and_shown(old):
    listed = json.loads(old("ls", "--json").out)["runs"]
    assert {"model", "path", "measurement"} <= {run["kind"] for run in listed}
    assert len(listed) == len(old("ls", "-q").out.split()) == len(list(Path("rashomon-store/runs").iterdir()))
    for run in listed:
        shown = json.loads(old("show", run["name"], "--json").out)
        assert (shown["id"], shown["metrics"]) == (run["id"], run["metrics"])
        assert old("show", run["name"], "--lineage").code == 0


def test_it_is_found_sound_and_is_not_written_to(old):
    before = {path: path.read_bytes() for path in Path("rashomon-store/runs").rglob("*") if path.is_file()}
    checked = old("check", "--read-data")
    assert checked.code == 0, checked.out
    assert "no fault (contents read)" in checked.out
    assert {path: path.read_bytes() for path in Path("rashomon-store/runs").rglob("*") if path.is_file()} == before


def test_its_runs_are_renamed_tagged_removed_and_restored(old):
    name = json.loads(old("ls", "--json").out)["runs"][-1]["name"]
    for call in (["rename", name, "other"], ["tag", "other", "old"], ["rm", "other"], ["restore", "other"]):
        assert old(*call).code == 0
    assert json.loads(old("show", "other", "--json").out)["tags"] == ["old"]
    assert old("check").code == 0


@pytest.fixture
def small(tmp_path, rashomon):
    shutil.copytree(STORES["schema-2"], tmp_path / "rashomon-store")
    return rashomon


def test_its_requests_are_found_finished(small):
    call = ["--batch-size", "50", "--precision", "float32", "-q"]
    store = Store.open()
    for words in (
        ["train", "--model", "mlp(width=8)", "--data", "digits(train=200)", "--epochs", "2", "--seed", "1"],
        ["connect", "a", "b", "--epochs", "1", "--points", "3", "--samples", "all"],
        ["prune", "a", "--epochs", "1", "--guard-samples", "50"],
    ):
        found = small(*words, *call)
        assert (found.code, found.err) == (0, "")
        assert found.out.strip() in {run.id for run in store.runs()}
    assert len(store.rows()) == 5


def test_its_models_and_paths_are_measured_to_the_same_numbers(small):
    before = Store.open().find("probed").metrics
    again = json.loads(small("probe", "path", "--what", "loss", "--points", "3", "--again", "--json").out)
    for name in ("t", "train_loss", "test_loss"):
        assert again["metrics"][name] == pytest.approx(before[name], rel=1e-4)
    model = json.loads(small("probe", "a", "--what", "loss", "--json").out)["metrics"]
    assert model["train_loss"] == pytest.approx(Store.open().find("a").metrics["train_loss"], rel=1e-4)
