"""What is deleted for good, and what is spared."""

import os
import shutil
import time

import numpy as np
import pytest

from rashomon_cli.core.results import Result
from rashomon_cli.store import Parent, Store
from rashomon_cli.store.disposal import size_of
from rashomon_cli.store.sweep import sweep
from rashomon_cli.store.trash import remove, restore, trashed


def told(found):
    return [(each.what, each.name) for each in found]


def interrupted(store, name, *, stage=None, **config):
    with store.begin("fake", {"name": name, **config}, name=name) as job:
        job.save("state", Result(tensors={"theta": np.zeros(99)}))
        if stage is not None:
            with job.stage({"recipe": stage}) as shared:
                shared.save("epoch-1", Result())
    return job.folder


def stages(store):
    return sorted(path.name for path in store.stages_folder.iterdir())


def test_a_store_in_use_loses_nothing(store, publish):
    publish(store, "a")
    folder = interrupted(store, "open", stage=1)
    store.cache.save("decoded", {"x": np.zeros(9)})
    before = sorted(store.root.rglob("*"))
    assert sweep(store).dropped == []
    assert [path for path in sorted(store.root.rglob("*")) if "catalog" not in path.name] == [
        path for path in before if "catalog" not in path.name
    ]
    assert folder.exists()


def test_the_trash_is_emptied_and_the_bytes_are_counted(store, publish):
    publish(store, "keep")
    folder = publish(store, "a").folder
    size = sum(path.stat().st_size for path in folder.iterdir())
    remove(store, ["a"])
    (would,) = sweep(store, dry_run=True).dropped
    assert (would.what, would.name, would.bytes) == ("removed run", "a", size)
    assert len(trashed(store)) == 1
    assert sweep(store).dropped == [would]
    assert list(store.trash_folder.iterdir()) == []
    assert list(store.names().values()) == ["keep"]
    assert sweep(store).dropped == []


def test_removed_parents_of_a_living_run_are_spared_so_that_it_can_be_healed(store, publish):
    a, b = publish(store, "a"), publish(store, "b")
    path = publish(store, "ab", parents=[(a, "start", None), (b, "end", None)])
    publish(store, "flat", parents=[(path, "of", 0.5)])
    publish(store, "other")
    remove(store, ["a", "ab", "other"], force=True)
    assert told(sweep(store).dropped) == [("removed run", "other")]
    restore(store, ["ab", "a"])
    remove(store, ["ab", "flat"])
    assert told(sweep(store).dropped) == [("removed run", "ab"), ("removed run", "flat")]


def test_stages_go_when_no_unfinished_run_needs_them(store):
    interrupted(store, "open", stage=1)
    (needed,) = stages(store)
    with store.begin("fake", {"x": 1}) as job:
        job.stage({"recipe": 2}).release()
        job.publish("model", metrics={}, measurements={})
    assert [each.what for each in sweep(store).dropped] == ["stage"]
    assert stages(store) == [needed]
    with store.begin("fake", {"name": "open"}) as job:
        job.publish("model", metrics={}, measurements={})
    assert told(sweep(store).dropped) == [("stage", needed[:12])]


def test_a_stage_under_way_is_left_alone(store):
    with store.begin("fake", {}) as job, job.stage({"recipe": 1}):
        (job.folder / "parts" / "stages.json").unlink()
        assert sweep(store, interrupted=True).dropped == []
    assert [each.what for each in sweep(store).dropped] == ["stage"]


def test_interrupted_runs_go_with_their_stages_only_when_asked_for(store, publish):
    parent = publish(store, "a")
    with store.begin("fake", {"x": 1}, parents=[Parent(id=parent.id, role="of")], name="child") as job:
        job.save("state", Result())
    remove(store, ["a"], force=True)
    interrupted(store, "open", stage=1)
    with store.begin("fake", {"x": 2}, name="running") as job:
        job.save("state", Result())
        assert sweep(store).dropped == []
        would = sweep(store, interrupted=True, dry_run=True).dropped
        assert [each.what for each in would] == ["interrupted run", "interrupted run", "removed run", "stage"]
        assert {each.name for each in would[:3]} == {"child", "open", "a"}
        assert sweep(store, interrupted=True).dropped == would
        assert [(row["name"], row["status"]) for row in store.rows()] == [("running", "running")]
    assert len(list(store.runs_folder.iterdir())) == 1


def test_the_cache_goes_only_when_asked_for(store, publish):
    publish(store, "a")
    store.cache.save("decoded", {"x": np.zeros(9)})
    store.cache.save("predicted", {"x": np.zeros(9)})
    assert sweep(store).dropped == []
    (found,) = sweep(store, cache=True).dropped
    assert (found.what, found.name) == ("cache", "2 files")
    assert store.cache.load("decoded") is None
    store.cache.save("decoded", {"x": np.zeros(9)})
    assert store.cache.load("decoded")["x"].shape == (9,)


def test_what_crashes_left_goes_and_what_is_being_written_stays(store, publish):
    run = publish(store, "a")
    folder = interrupted(store, "open")
    store.cache.save("decoded", {"x": np.zeros(9)})
    remove(store, [publish(store, "b").id])
    for place in (store.root, run.folder, folder / "parts", store.root / "cache"):
        for name, age in ((".old.1-a.tmp", 7200), (".new.1-b.tmp", 0)):
            (place / name).write_bytes(b"12345")
            os.utime(place / name, (time.time() - age,) * 2)
    (run.folder / "parts").mkdir()
    (run.folder / "parts" / "state.h5").touch()
    empty = store.runs_folder / "01M87Z6FMF08B6XHQFHGGENGR1"
    empty.mkdir()
    (store.trash_folder / ".gone-x").mkdir()
    (store.trash_folder / ".gone-x" / "model.safetensors").write_bytes(b"123")
    found = sweep(store).dropped
    assert told(found)[0] == ("removed run", "b")
    assert {(each.what, each.bytes) for each in found[1:]} == {("leftover", size) for size in (5, 0, 3)}
    assert len(found) == 1 + 4 + 1 + 1 + 1
    assert not list(store.root.rglob(".old*"))
    assert len(list(store.root.rglob(".new*"))) == 4
    assert not empty.exists()
    assert list(store.trash_folder.iterdir()) == []
    assert store.find("a").tensors()["w"].shape == (2,)
    assert not (run.folder / "parts").exists()
    assert (folder / "parts" / "state.h5").exists()


def test_a_crash_while_deleting_leaves_no_half_run(store, publish, monkeypatch):
    publish(store, "a")
    remove(store, ["a"])
    folder = interrupted(store, "open")

    def crash(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", crash)
        with pytest.raises(KeyboardInterrupt):
            sweep(store, interrupted=True)
    again = Store.open(store.root)
    assert (again.rows(), trashed(again), folder.exists()) == ([], [], False)
    assert [each.what for each in sweep(again).dropped] == ["leftover", "leftover"]
    assert list(store.trash_folder.iterdir()) == []


def test_sizes_are_of_all_files_below(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x").write_bytes(b"123")
    (tmp_path / "a" / "y").write_bytes(b"12")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert size_of(tmp_path / "a") == 5
    assert size_of(tmp_path / "a" / "y") == 2
    assert size_of(tmp_path / "nothing") == 0


def test_what_is_spared_is_told_with_the_reason(store, publish):
    a = publish(store, "a")
    b = publish(store, "b", parents=[(a, "of", None)])
    publish(store, "c", parents=[(b, "of", None)])
    remove(store, ["a", "b"], force=True)
    swept = sweep(store)
    assert swept.dropped == []
    assert {(each.name, each.why, each.path.name) for each in swept.spared} == {
        ("b", "c was made from it", b.id),
        ("a", "b was made from it", a.id),
    }


def test_links_are_unlinked_and_never_followed(store, publish, tmp_path):
    publish(store, "a")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "big").write_bytes(b"x" * 999_999)
    (elsewhere / ".old.1-a.tmp").touch()
    os.utime(elsewhere / ".old.1-a.tmp", (0, 0))
    store.stages_folder.mkdir()
    (store.trash_folder).mkdir()
    links = [store.stages_folder / "stage", store.stages_folder / "dangling", store.trash_folder / ".gone-x"]
    for link in links:
        link.symlink_to("/nowhere" if link.name == "dangling" else elsewhere)
    empty = tmp_path / "empty"
    empty.mkdir()
    links.append(store.runs_folder / "01M87Z6FMF08B6XHQFHGGENGR1")
    links[-1].symlink_to(empty)
    found = sweep(store)
    assert len(found.dropped) == len(links)
    assert found.spared == []
    assert max(each.bytes for each in found.dropped) < 999
    assert not any(os.path.lexists(link) for link in links)
    assert sorted(path.name for path in elsewhere.iterdir()) == [".old.1-a.tmp", "big"]


def test_an_interrupted_run_behind_a_link_is_unlinked(store, tmp_path):
    folder = interrupted(store, "open")
    shutil.move(folder, tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    (found,) = sweep(store, interrupted=True).dropped
    assert found.bytes < 999
    assert not os.path.lexists(folder)
    assert (tmp_path / "moved" / "request.json").exists()


def test_what_cannot_be_deleted_is_not_counted_as_freed(store, publish, monkeypatch):
    run = publish(store, "a")
    remove(store, ["a"])
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        swept = sweep(store)
    assert swept.dropped == []
    assert [(each.name, each.path.name) for each in swept.spared] == [("a", run.id)]
    assert "cannot be deleted" in swept.spared[0].why
    assert [each.what for each in sweep(store).dropped] == ["leftover"]


def test_a_draft_that_its_writer_renames_meanwhile_is_passed_over(store, publish, monkeypatch):
    publish(store, "a")
    draft = store.root / ".store.json.1-a.tmp"
    draft.touch()
    lstat = type(draft).lstat

    def vanish(path):
        if path == draft:
            draft.unlink(missing_ok=True)
        return lstat(path)

    monkeypatch.setattr(type(draft), "lstat", vanish)
    assert sweep(store).dropped == []


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_the_drafts_of_a_catalog_go_too(store, publish, suffix):
    publish(store, "a")
    draft = store.root / f".catalog.db.1-a.tmp{suffix}"
    draft.touch()
    os.utime(draft, (0, 0))
    assert told(sweep(store).dropped) == [("leftover", draft.name)]
