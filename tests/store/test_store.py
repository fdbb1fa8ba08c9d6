"""Runs: begun once a request, found again, resumed, named."""

import os

import numpy as np
import pytest

from rashomon_cli.core.errors import Busy, Damaged, Refused, UsageError
from rashomon_cli.core.results import Result
from rashomon_cli.store import Job, Parent, Run, Store, durable
from rashomon_cli.store.checks import check
from rashomon_cli.store.locks import FolderLock
from rashomon_cli.store.trash import remove, restore


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
job = Store.open(sys.argv[1], create=True).begin("fake", {"seed": 1}, name="a")
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


def test_a_run_whose_parent_was_removed_meanwhile_is_not_begun(store, publish):
    parent = Parent(id=publish(store, "a").id, role="of")
    remove(store, ["a"])
    with pytest.raises(Refused, match="was removed") as caught:
        store.begin("fake", {"x": 1}, parents=[parent])
    assert caught.value.hint == f"rashomon restore {parent.id}"
    assert store.rows() == []
    restore(store, ["a"])
    with store.begin("fake", {"x": 1}, parents=[parent]) as job:
        assert job.request.parents == [parent]


def test_what_is_finished_or_unfinished_is_told_without_beginning(store, publish):
    run = publish(store, "a", seed=1)
    asked = {"operation": "fake", "config": {"seed": 2}}
    assert store.finished("fake", {"seed": 1}).id == run.id
    assert store.finished(**asked) is store.unfinished(**asked) is None
    with store.begin(**asked, name="b") as job:
        assert (store.unfinished(**asked)["id"], store.unfinished(**asked)["status"]) == (job.id, "running")
        job.save("state", Result())
    assert store.unfinished(**asked)["status"] == "interrupted"
    assert store.finished(**asked) is None
    assert store.unfinished("fake", {"seed": 1}) is None


def test_a_name_is_free_for_the_request_that_has_it(store, publish):
    publish(store, "a", seed=1)
    store.check_free("a", "fake", {"seed": 1})
    store.check_free("b", "fake", {"seed": 2})
    with pytest.raises(UsageError, match="'a' is taken"):
        store.check_free("a", "fake", {"seed": 2})
    with pytest.raises(UsageError, match="cannot be a name"):
        store.check_free("a b", "fake", {"seed": 2})
    with store.begin("fake", {"seed": 3}, name="c") as job:
        job.save("state", Result())
        with pytest.raises(UsageError, match="'c' is taken"):
            store.check_free("c", "fake", {"seed": 2})
    store.check_free("c", "fake", {"seed": 2})


def test_tags_touch_no_hash_and_are_found_without_opening_files(store, publish):
    run = publish(store, "a")
    before = durable.sha256(run.folder / "run.json")
    assert store.tag("a", ["x", "y", "x"]).label.tags == ["x", "y"]
    assert store.tag("a", ["x"], remove=True).label.tags == ["y"]
    assert store.rename("a", "b").label.tags == ["y"]
    assert durable.sha256(run.folder / "run.json") == before
    assert [row["tags"] for row in store.rows()] == [["y"]]
    assert next(store.runs()).label.tags == ["y"]
    with pytest.raises(UsageError, match="no tag 'x'"):
        store.tag("b", ["y", "x"], remove=True)
    with pytest.raises(UsageError, match="cannot be a tag"):
        store.tag("b", ["no good"])
    assert store.find("b").label.tags == ["y"]


@pytest.mark.parametrize("call", range(1, 9))
def test_a_disk_that_refuses_at_the_beginning_leaves_nothing_locked(store, monkeypatch, call):
    fsync, calls = os.fsync, []

    def refuse(descriptor):
        calls.append(descriptor)
        if len(calls) == call:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        try:
            store.begin("fake", {"seed": 1}, name="a").release()
        except OSError:
            assert Store.open(store.root, create=True).rows() == []
    with store.begin("fake", {"seed": 1}, name="a") as job:
        assert job.publish("model", metrics={}, measurements={}).name == "a"


@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_a_run_that_was_killed_before_it_had_a_name_gets_one_when_it_resumes(store, content):
    with store.begin("fake", {"seed": 1}, name="a") as job:
        job.save("state", Result())
    (job.folder / "label.json").unlink()
    if content is not None:
        (job.folder / "label.json").write_bytes(content)
    with Store.open(store.root).begin("fake", {"seed": 1}, suggestion="b") as job:
        assert job.resumed
        assert job.publish("model", metrics={}, measurements={}).name == "b"
    assert store.find("b").id == job.id
    assert check(store, read_data=True).findings == []


def test_half_written_files_are_cleared_away_when_a_run_resumes(store):
    with store.begin("fake", {"seed": 1}) as job:
        job.save("state", Result())
    for name in (".metrics.h5.1-a.tmp", "parts/.state.h5.1-b.tmp"):
        (job.folder / name).write_bytes(b"x")
    with store.begin("fake", {"seed": 1}) as job:
        assert not list(job.folder.rglob(".*.tmp"))
        assert job.part("state") is not None


def test_a_damaged_run_does_not_hide_an_older_one_of_the_same_request(store, publish):
    first = publish(store, "a", seed=1)
    with store.begin("fake", {"seed": 1}, again=True) as job:
        second = job.publish("model", metrics={}, measurements={})
    (second.folder / "run.json").write_bytes(b"{")
    for _ in range(2):
        assert store.finished("fake", {"seed": 1}).id == store.begin("fake", {"seed": 1}).id == first.id
        store.reindex()
    (first.folder / "run.json").write_bytes(b"{")
    with pytest.raises(Damaged):
        store.finished("fake", {"seed": 1})


@pytest.mark.parametrize("change", [str, str.lower])
def test_a_name_is_not_another_run_s_id(store, publish, change):
    a, _ = publish(store, "a"), publish(store, "b")
    with pytest.raises(UsageError, match="looks like the id of a run"):
        store.rename("b", change(a.id))
    assert store.find(a.id).name == "a"
