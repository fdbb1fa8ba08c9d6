"""A check while others work, and of what nobody may look at."""

import json
import os
import shutil
import subprocess

import pytest

from rashomon_cli.store import Store
from rashomon_cli.store.checks import check
from rashomon_cli.store.inspection import Inspector
from rashomon_cli.store.sweep import sweep
from rashomon_cli.store.trash import remove

ID = "01M87Z6FMF08B6XHQFHGGENGR1"


def found(store):
    return [(each.name, each.file, each.problem) for each in check(store).findings]


@pytest.fixture
def meanwhile(monkeypatch):
    """meanwhile(act): act before the first look at a run."""

    def set_up(act):
        look, done = Inspector.look, []

        def wrapper(self, run, row):
            if not done:
                done.append(run)
                act()
            return look(self, run, row)

        monkeypatch.setattr(Inspector, "look", wrapper)

    return set_up


def test_what_others_do_meanwhile_is_no_damage(store, publish, meanwhile):
    parent = publish(store, "a")
    publish(store, "b")
    publish(store, "child", parents=[(parent, "of", None)])
    job = store.begin("fake", {"x": 1}, name="open")
    other = Store.open(store.root)

    def work():
        job.publish("model", metrics={}, measurements={})
        other.rename("a", "a-2")
        remove(other, ["b"])

    meanwhile(work)
    report = check(store)
    assert (report.findings, report.runs) == ([], 3)


def test_a_parent_that_is_removed_meanwhile_is_found_in_the_trash(store, publish, meanwhile):
    parent = publish(store, "a")
    publish(store, "child", parents=[(parent, "of", None)])
    meanwhile(lambda: remove(Store.open(store.root), ["a"], force=True))
    assert found(store) == [("child", "run.json", f"its parent {parent.id} was removed")]


def test_a_folder_that_vanishes_while_it_is_listed_is_no_fault(store, publish, monkeypatch):
    publish(store, "a")
    run = publish(store, "b")
    finished = Inspector._finished

    def vanish(self, folder, record, request):
        if folder == run.folder and folder.is_dir():
            shutil.rmtree(folder)
        return finished(self, folder, record, request)

    monkeypatch.setattr(Inspector, "_finished", vanish)
    assert found(store) == []


def test_a_run_without_documents_is_found_and_spared(store, publish):
    run = publish(store, "a")
    for name in ("run.json", "request.json"):
        (run.folder / name).unlink()
    store.reindex()
    assert [(row["name"], row["status"]) for row in store.rows()] == [("a", "damaged")]
    assert found(store) == [("a", "run.json", "is missing"), ("a", "request.json", "is missing")]
    assert sweep(store).dropped == []
    assert (run.folder / "model.safetensors").exists()
    remove(store, ["a"])
    assert found(store) == []


@pytest.mark.parametrize("place", ["runs", "trash"])
def test_a_loop_of_links_among_the_runs_hinders_nobody(store, publish, place):
    publish(store, "a")
    (store.root / place).mkdir(exist_ok=True)
    (store.root / place / ID).symlink_to(ID)
    assert list(store.names().values()) == ["a"]
    assert found(store) == [(None, f"{place}/{ID}", "is no run")]
    sweep(store)


# Root may look everywhere, unless it lays this capability down (and the next) and starts anew.
AS_ANYBODY = """
import ctypes, json, os, sys
for capability in (1, 2):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
"""
LOOK = """
import json, sys
from rashomon_cli.store import Store
from rashomon_cli.store.checks import check
from rashomon_cli.store.sweep import sweep
store = Store.open(sys.argv[1])
rows = [(row["id"], row["status"]) for row in store.rows()]
found = [(each.run, each.file, each.problem) for each in check(store).findings]
sweep(store, interrupted=True)
print(json.dumps([rows, found]))
"""


@pytest.mark.parametrize("mode", ["000", "111", "444"])
def test_a_folder_that_nobody_may_read_is_a_damaged_run(store, publish, start, mode):
    shut, run = publish(store, "shut").id, publish(store, "a").id
    store.reindex()
    for path in store.root.glob("catalog.db*"):
        path.unlink()
    subprocess.run(["chmod", mode, str(store.runs_folder / shut)], check=True)
    process = start(LOOK, store.root, python=AS_ANYBODY)
    out, err = process.communicate()
    os.chmod(store.runs_folder / shut, 0o755)
    assert process.returncode == 0, err
    rows, findings = json.loads(out)
    if mode == "111":  # what is in it can be read by its name
        assert rows == [[shut, "finished"], [run, "finished"]]
        assert findings == [[shut, ".", "cannot be listed"]]
    else:
        assert rows == [[shut, "damaged"], [run, "finished"]]
        assert [shut, "run.json", "cannot be read: Permission denied"] in findings


def test_the_trash_and_the_store_itself_are_looked_at(store, publish):
    run = publish(store, "a")
    remove(store, ["a"])
    (store.trash_folder / run.id / "run.json").write_bytes(b"{")
    (store.trash_folder / "backup").mkdir()
    (store.root / "notes\x1b.txt").touch()
    assert found(store) == [
        (None, r"notes\x1b.txt", "does not belong to the store"),
        (None, "trash/backup", "is no run"),
        (None, f"trash/{run.id}/run.json", "is not readable JSON"),
    ]
