"""Stages: computations that several runs share."""

import pytest

from rashomon_cli.core.errors import Busy
from rashomon_cli.core.results import Result
from rashomon_cli.store import Store
from rashomon_cli.store.stages import open_stage, stages_of

RECIPE = {"l1": 1e-4, "seed": 1}
SAME = {"seed": 1, "l1": 1e-4}


def test_a_stage_is_shared_and_locked(store):
    with store.begin("fake", {"thr": 1}) as job, store.begin("fake", {"thr": 2}) as other:
        with job.stage(RECIPE) as stage:
            stage.save("epoch-1", Result(metrics={"epoch": 1}))
            with pytest.raises(Busy, match="the same stage"):
                other.stage(SAME)
            other.stage({"l1": 1e-5, "seed": 1}).release()
        with other.stage(SAME) as stage:
            assert stage.part("epoch-1").metrics == {"epoch": 1}
            assert stage.part("epoch-2") is None


def test_what_is_saved_in_a_stage_can_be_looked_at_without_beginning(store):
    assert not store.saved_in_stage(RECIPE).has("epoch-1")
    assert not store.root.exists()
    with store.begin("fake", {}) as job, job.stage(RECIPE) as stage:
        stage.save("epoch-1", Result())
        saved = store.saved_in_stage(SAME)
        assert saved.has("epoch-1")
        assert not saved.has("epoch-2")


def test_an_interrupted_run_that_has_saved_nothing_but_in_a_stage_is_listed(store):
    def work():
        with store.begin("fake", {}, name="a") as job, job.stage(RECIPE) as stage:
            stage.save("epoch-1", Result())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    again = Store.open(store.root)
    assert [(row["name"], row["status"]) for row in again.rows()] == [("a", "interrupted")]
    with again.begin("fake", {}) as job:
        assert job.resumed
        assert len(stages_of(job.folder / "parts")) == 1
        job.stage({"other": 1}).release()
        job.stage(RECIPE).release()
        assert len(stages_of(job.folder / "parts")) == 2
        run = job.publish("model", metrics={}, measurements={})
    assert not (run.folder / "parts").exists()


def test_a_stage_that_was_cleared_away_at_this_moment_is_made_again(store, monkeypatch):
    from rashomon_cli.store.locks import FolderLock

    seize, moves = FolderLock.seize, []

    def clear_away_first(folder):
        if not moves:
            moves.append(folder)
            folder.rmdir()
        return seize(folder)

    monkeypatch.setattr(FolderLock, "seize", clear_away_first)
    stage = open_stage(store.stages_folder, RECIPE)
    stage.save("epoch-1", Result())
    assert stage.has("epoch-1")


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, null]", b"\xff"])
def test_an_unreadable_note_of_stages_names_none(store, content):
    with store.begin("fake", {}) as job:
        job.stage(RECIPE).release()
        (job.folder / "parts" / "stages.json").write_bytes(content)
        assert stages_of(job.folder / "parts") == set()
