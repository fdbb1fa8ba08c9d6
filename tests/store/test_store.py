import json
import shutil
import sqlite3

import numpy as np
import pytest

from rashomon_cli.core.errors import Busy, Damaged, NoStore, Refused, UsageError
from rashomon_cli.core.results import Result
from rashomon_cli.store import Job, Parent, Run, Store, durable
from rashomon_cli.store.catalog import Catalog
from rashomon_cli.store.locks import FolderLock
from rashomon_cli.store.records import Request


def edit(path, **changes):
    durable.write_json(path, json.loads(path.read_text()) | changes)


def test_a_store_is_made_only_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("RASHOMON_STORE", str(tmp_path / "env"))
    with pytest.raises(NoStore) as caught:
        Store.open()
    assert caught.value.code == 10
    assert "rashomon train --seed 1" in caught.value.hint
    assert Store.open(create=True).root == tmp_path / "env"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(NoStore, match="not empty"):
        Store.open(tmp_path / "mine", create=True)


def test_a_newer_store_is_refused(store):
    edit(store.root / "store.json", version=2)
    with pytest.raises(Damaged, match="format 2"):
        Store.open(store.root)


def test_the_key_is_of_what_determines_the_result_and_of_nothing_else():
    parent = Parent(id="A", role="init", sha256="1")
    base = Request(operation="train", config={"seed": 1, "lr": 0.1}, parents=[parent], fingerprints={"data": "d"})
    assert base.key == Request(**{**base.model_dump(), "config": {"lr": 0.1, "seed": 1}}).key
    others = [
        {"operation": "prune"},
        {"config": {"seed": 2, "lr": 0.1}},
        {"config": {"seed": 1, "lr": 0.1, "epochs": 1}},
        {"parents": [Parent(id="B", role="init")]},
        {"parents": [Parent(id="A", role="end")]},
        {"parents": [Parent(id="A", role="init", t=0.5)]},
        {"parents": []},
        {"fingerprints": {"data": "e"}},
    ]
    keys = {Request(**{**base.model_dump(), **other}).key for other in others}
    assert len(keys | {base.key}) == 1 + len(others)


def test_the_same_request_is_the_same_run_whatever_its_name(store, publish):
    first = publish(store, "a", seed=1)
    again = store.begin("fake", {"seed": 1}, name="b")
    assert isinstance(again, Run)
    assert (again.id, again.name) == (first.id, "a")
    assert publish(store, "b", seed=2).id != first.id
    job = store.begin("fake", {"seed": 1}, again=True)
    assert isinstance(job, Job)
    assert job.id != first.id
    job.release()


def test_an_interrupted_request_resumes_with_its_parts(store):
    with store.begin("fake", {"seed": 1}, name="a") as job:
        job.save("state", Result(tensors={"theta": np.arange(3.0)}, metrics={"epoch": 2}))
    assert [row["status"] for row in store.rows()] == ["interrupted"]
    with pytest.raises(UsageError, match="a is interrupted, not finished"):
        store.find("a")
    with store.begin("fake", {"seed": 1}) as later:
        assert (later.id, later.label.name, later.resumed) == (job.id, "a", True)
        assert later.part("state").metrics == {"epoch": 2}
        assert later.part("other") is None
        run = later.publish("model", metrics={}, measurements={})
    assert store.find("a").id == run.id
    assert not (run.folder / "parts").exists()


def test_what_is_refused_before_its_first_step_leaves_no_trace(store, publish):
    with pytest.raises(Refused), store.begin("fake", {"seed": 1}, name="a"):
        raise Refused("does not fit")
    assert store.rows() == []
    assert publish(store, "a", seed=2).name == "a"


def test_a_damaged_part_is_computed_again(store):
    with store.begin("fake", {}) as job:
        job.save("state", Result())
        (job.folder / "parts" / "state.h5").write_bytes(b"garbage")
        assert job.part("state") is None


def test_a_request_under_way_is_busy_for_others(store):
    with store.begin("fake", {"seed": 1}, name="a"):
        with pytest.raises(Busy, match="run a is being carried out") as caught:
            Store.open(store.root).begin("fake", {"seed": 1})
        assert caught.value.code == 11
        assert [row["status"] for row in store.rows()] == ["running"]


def test_a_killed_process_leaves_a_run_that_resumes(store, start):
    code = """
import sys, time
from rashomon_cli.core.results import Result
from rashomon_cli.store import Store
job = Store.open(sys.argv[1]).begin("fake", {"seed": 1}, name="a")
job.save("state", Result(metrics={"epoch": 1}))
print(job.id, flush=True)
time.sleep(60)
"""
    process = start(store.root, python=code)
    run_id = process.stdout.readline().strip()
    with pytest.raises(Busy):
        store.begin("fake", {"seed": 1})
    process.kill()
    process.wait()
    assert [(row["id"], row["status"]) for row in store.rows()] == [(run_id, "interrupted")]
    with store.begin("fake", {"seed": 1}) as job:
        assert (job.id, job.part("state").metrics) == (run_id, {"epoch": 1})


def test_a_name_belongs_to_one_run(store, publish):
    publish(store, "a")
    with pytest.raises(UsageError, match="'a' is taken") as caught:
        store.begin("fake", {"seed": 7}, name="a")
    assert caught.value.code == 2
    with store.begin("fake", {"seed": 7}, suggestion="a") as job:
        assert job.label.name == "a-2"


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "../a", "a@0.5", "a\n", "ä", "x" * 121])
def test_a_name_is_one_word(store, name):
    with pytest.raises(UsageError, match="cannot be a name"):
        store.begin("fake", {}, name=name)
    assert store.rows() == []


@pytest.mark.parametrize("suggestion", ["_make-x y(1)", "---", "mlp/digits", "é" * 200])
def test_a_suggested_name_is_always_made_valid(store, publish, suggestion):
    with store.begin("fake", {}, suggestion=suggestion) as job:
        run = job.publish("model", metrics={}, measurements={})
    assert store.rename(run.id, run.name).name == run.name


def test_a_run_is_found_by_name_id_and_unique_prefix(store, publish):
    run = publish(store, "baseline")
    for reference in ("baseline", run.id, run.id.lower(), run.id[:-3]):
        assert store.find(reference).id == run.id
    with pytest.raises(UsageError) as caught:
        store.find("baselin")
    assert caught.value.hint == "did you mean baseline?"
    other = publish(store, "other")
    with pytest.raises(UsageError, match="ambiguous") as caught:
        store.find(run.id[:4])
    assert all(text in caught.value.message for text in (run.id, other.id, "baseline", "other"))


def test_renaming_touches_no_hash(store, publish):
    run = publish(store, "a")
    before = durable.sha256(run.folder / "run.json")
    assert store.rename("a", "b").id == run.id
    assert durable.sha256(run.folder / "run.json") == before
    with pytest.raises(UsageError, match="no run 'a'"):
        store.find("a")
    publish(store, "c")
    with pytest.raises(UsageError, match="'c' is taken"):
        store.rename("b", "c")


def garbage(path):
    path.write_bytes(b"no database" * 1000)


def truncated(path):
    path.write_bytes(path.read_bytes()[:5000])


def overwritten(path):
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), garbage, truncated, overwritten])
def test_a_lost_or_broken_catalog_is_rebuilt(store, publish, harm):
    parent = publish(store, "a")
    publish(store, "b", parents=[(parent, "init", None)])
    rows = store.rows()
    with store.begin("fake", {"seed": 3}, name="c"):
        pass
    store._index.look().close()
    for log in store.root.glob("catalog.db-*"):
        log.unlink()
    harm(store.root / "catalog.db")
    again = Store.open(store.root)
    assert again.rows()[:2] == rows
    assert again.find("b").record.parents[0].id == parent.id
    assert again.reindex() == 3
    assert again.rows()[:2] == rows


def test_a_crash_between_the_record_and_its_row_heals(store, publish, monkeypatch):
    monkeypatch.setattr(Store, "_published", lambda self, run: None)
    run = publish(store, "a")
    assert Store.open(store.root).find("a").id == run.id


def test_a_crash_in_a_renaming_heals(store, publish, monkeypatch):
    run = publish(store, "a")
    other = Store.open(store.root)
    assert other.names() == {run.id: "a"}
    write = durable.write_json

    def crash(path, value):
        write(path, value)
        raise KeyboardInterrupt

    monkeypatch.setattr(durable, "write_json", crash)
    with pytest.raises(KeyboardInterrupt):
        store.rename("a", "b")
    assert other.find("b").id == run.id
    assert other.names() == {run.id: "b"}


def test_a_run_folder_that_was_removed_is_forgotten(store, publish):
    shutil.rmtree(publish(store, "a").folder)
    assert store.rows() == []


@pytest.mark.parametrize("path", ["model.safetensors", "metrics.h5"])
def test_an_altered_file_is_never_opened(store, publish, path, monkeypatch):
    run = publish(store, "a")
    content = bytearray((run.folder / path).read_bytes())
    content[len(content) // 2] ^= 1
    (run.folder / path).write_bytes(content)
    opened = []
    monkeypatch.setattr("safetensors.safe_open", lambda *a, **k: opened.append(a))
    monkeypatch.setattr("h5py.File", lambda *a, **k: opened.append(a))
    with pytest.raises(Damaged, match=f"{path} of run a was altered") as caught:
        run.tensors() if path == "model.safetensors" else run.measurements()
    assert caught.value.code == 12
    assert opened == []
    (run.folder / path).unlink()
    with pytest.raises(Damaged, match="is missing"):
        run.verified(path)
    with pytest.raises(Refused, match="has no path"):
        run.tensors("path.safetensors")


@pytest.mark.parametrize("reindexed", [False, True])
@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "not readable JSON"),
        (lambda path: edit(path, kind="sculpture"), "damaged at 'kind'"),
        (lambda path: edit(path, schema_version=2), "has schema 2"),
        (lambda path: path.write_text("[]"), "damaged"),
    ],
)
def test_a_damaged_record_is_damage_and_hides_no_other_run(store, publish, harm, words, reindexed):
    harm(publish(store, "a", seed=1).folder / "run.json")
    publish(store, "b")
    if reindexed:
        assert store.reindex() == 2
        assert {row["name"]: row["status"] for row in store.rows()} == {"a": "damaged", "b": "finished"}
    for ask in (lambda: store.find("a"), lambda: store.begin("fake", {"seed": 1})):
        with pytest.raises(Damaged, match=words):
            ask()
    assert "b" in [run.name for run in store.runs()]


def test_a_restored_record_is_a_run_again(store, publish):
    path = publish(store, "a").folder / "run.json"
    content = path.read_bytes()
    path.write_bytes(content[:100])
    store.reindex()
    path.write_bytes(content)
    assert store.find("a").kind == "model"
    assert [row["status"] for row in store.rows()] == ["finished"]


def test_a_store_that_cannot_be_written_is_still_read(store, publish, monkeypatch):
    publish(store, "a")
    refuse = Catalog.__init__

    def read_only(self, path):
        if path != ":memory:":
            import sqlite3

            raise sqlite3.OperationalError("attempt to write a readonly database")
        refuse(self, path)

    monkeypatch.setattr(Catalog, "__init__", read_only)
    assert Store.open(store.root).find("a").name == "a"


def test_a_stage_is_shared_and_locked(store):
    with store.stage({"l1": 1e-4, "seed": 1}) as stage:
        stage.save("epoch-1", Result(metrics={"epoch": 1}))
        with pytest.raises(Busy):
            store.stage({"seed": 1, "l1": 1e-4})
        store.stage({"l1": 1e-5, "seed": 1}).release()
    with Store.open(store.root).stage({"seed": 1, "l1": 1e-4}) as stage:
        assert stage.part("epoch-1").metrics == {"epoch": 1}
    assert store.rows() == []


@pytest.mark.slow
def test_no_run_of_eight_writers_at_once_is_lost(store, start):
    code = """
import sys
from rashomon_cli.store import Store
store = Store.open(sys.argv[1])
for n in range(20):
    with store.begin("fake", {"who": sys.argv[2], "n": n}, suggestion="run") as job:
        job.publish("model", metrics={"n": n}, measurements={})
"""
    writers = [start(store.root, who, python=code) for who in range(8)]
    assert [writer.communicate()[1] for writer in writers] == [""] * 8
    rows = store.rows()
    assert len(rows) == len({row["name"] for row in rows}) == 160
    assert {row["status"] for row in rows} == {"finished"}
    assert {(run.record.config["who"], run.metrics["n"]) for run in store.runs()} == {
        (str(who), n) for who in range(8) for n in range(20)
    }


def test_a_catalog_of_another_version_is_made_anew(store):
    store.begin("train", {"lr": 1}, name="x").publish("model", metrics={}, measurements={})
    with sqlite3.connect(store.root / "catalog.db") as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("DELETE FROM runs")
    connection.close()
    assert [run.name for run in Store.open(store.root).runs()] == ["x"]


def test_a_run_published_since_the_catalog_was_read_is_found_not_carried_out_again(store, monkeypatch):
    job = store.begin("train", {"lr": 1}, name="x")
    late = Store.open(store.root)
    seize = FolderLock.seize

    def publish_first(folder):
        job.publish("model", metrics={}, measurements={})
        return seize(folder)

    monkeypatch.setattr(FolderLock, "seize", publish_first)
    found = late.begin("train", {"lr": 1})
    assert isinstance(found, Run)
    assert found.id == job.id


def test_a_name_held_by_an_interrupted_run_goes_to_another_request_and_the_run_still_resumes(store):
    with store.begin("train", {"lr": 1}, name="x") as job:
        job.save("state", Result())
    other = store.begin("train", {"lr": 2}, name="x")
    other.publish("model", metrics={}, measurements={})
    assert store.find("x").id == other.id
    resumed = store.begin("train", {"lr": 1})
    assert resumed.resumed
    assert resumed.label.name == "x-interrupted"
