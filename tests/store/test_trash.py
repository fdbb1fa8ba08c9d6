"""Removing runs and bringing them back."""

import shutil

import pytest

from rashomon_cli.core.errors import Busy, Refused, UsageError
from rashomon_cli.core.results import Result
from rashomon_cli.store import Parent, Store, durable
from rashomon_cli.store.index import Index
from rashomon_cli.store.sweep import sweep
from rashomon_cli.store.trash import remove, restore, trashed


@pytest.fixture
def family(store, publish):
    """``a`` and ``b``, a path between them, a measurement of the path, a stranger."""
    a, b = publish(store, "a"), publish(store, "b")
    path = publish(store, "ab", kind="path", parents=[(a, "start", None), (b, "end", None)])
    publish(store, "flat", kind="measurement", parents=[(path, "of", 0.5)])
    publish(store, "stranger")
    return store


def names(store):
    return sorted(store.names().values())


def test_what_is_removed_comes_back_as_it_was(family):
    before = family.rows()
    run = family.find("flat")
    content = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    assert [row["name"] for row in remove(family, ["flat"])] == ["flat"]
    assert names(family) == ["a", "ab", "b", "stranger"]
    assert [(row["name"], row["status"]) for row in trashed(family)] == [("flat", "finished")]
    assert family.finished("fake", {"name": "flat"}) is None
    assert [row["id"] for row in restore(Store.open(family.root), ["flat"])] == [run.id]
    assert family.rows() == before
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == content
    assert trashed(family) == []


@pytest.mark.parametrize("reference", ["a", 0, 1], ids=["name", "id", "prefix"])
def test_both_take_names_ids_and_prefixes(family, reference):
    run = family.find("stranger")
    text = {"a": "stranger", 0: run.id.lower(), 1: run.id[:-2]}[reference]
    remove(family, [text, run.id])
    assert restore(family, [text, run.id])[0]["name"] == "stranger"


def test_runs_that_others_were_made_from_are_not_removed_alone(family):
    for refused, children, hint in (
        (["a"], "ab", "rashomon rm a ab flat"),
        (["b", "stranger"], "ab", "rashomon rm b stranger ab flat"),
        (["ab", "a"], "flat", "rashomon rm ab a flat"),
    ):
        with pytest.raises(Refused, match=f": {children}$") as caught:
            remove(family, refused)
        assert (caught.value.code, caught.value.hint) == (1, hint)
    assert len(names(family)) == 5
    remove(family, caught.value.hint.split()[2:])
    assert names(family) == ["b", "stranger"]
    restore(family, ["a"])
    remove(family, ["a", "b"])


def test_children_that_are_not_finished_count_too(family):
    a = family.find("stranger")
    with family.begin("fake", {"x": 1}, parents=[Parent(id=a.id, role="of")], name="child") as job:
        job.save("state", Result())
        with pytest.raises(Refused, match="child") as caught:
            remove(family, ["stranger"])
        assert caught.value.hint.startswith("wait until child is done")
        with pytest.raises(Busy, match="child"):
            remove(family, ["stranger", "child"])
    assert len(names(family)) == 6
    with pytest.raises(Refused) as caught:
        remove(family, ["stranger"])
    assert caught.value.hint == "rashomon rm stranger child"
    remove(family, ["stranger", "child"])
    assert {row["name"]: row["status"] for row in trashed(family)} == {"stranger": "finished", "child": "interrupted"}
    restore(family, ["child", "stranger"])
    with family.begin("fake", {"x": 1}, parents=[Parent(id=a.id, role="of")]) as job:
        assert job.part("state") is not None


def test_force_leaves_orphans(family):
    remove(family, ["ab"], force=True)
    assert names(family) == ["a", "b", "flat", "stranger"]


def test_many_children_are_hinted_at_in_one_word(store, publish):
    a = publish(store, "a")
    for number in range(25):
        publish(store, f"child-{number}", parents=[(a, "of", None)])
    with pytest.raises(Refused) as caught:
        remove(store, ["a"])
    assert caught.value.hint.startswith("rashomon rm a --force")


@pytest.mark.parametrize("name", ["run.json", "request.json", "label.json"])
def test_damaged_runs_can_be_removed_and_restored(store, publish, name):
    run = publish(store, "a")
    publish(store, "b")
    (run.folder / name).write_bytes(b"\xff")
    store.reindex()
    remove(store, [run.id])
    assert names(store) == ["b"]
    assert [row["id"] for row in restore(store, [run.id])] == [run.id]
    assert (run.folder / name).read_bytes() == b"\xff"


def test_a_name_taken_meanwhile_is_given_up_for_another(store, publish):
    old = publish(store, "a", seed=1)
    store.tag("a", ["good"])
    remove(store, ["a"])
    publish(store, "a", seed=2)
    with pytest.raises(UsageError, match="'a' is taken") as caught:
        restore(store, ["a"])
    assert caught.value.hint == f"rashomon restore {old.id} --name a-2"
    restore(store, [old.id], name="a-2")
    assert store.find("a-2").id == old.id
    assert store.find("a-2").label.tags == ["good"]


def test_runs_of_one_name_in_the_trash_are_told_apart(store, publish):
    ids = []
    for seed in (1, 2):
        ids.append(publish(store, "a", seed=seed).id)
        remove(store, ["a"])
    with pytest.raises(UsageError, match="ambiguous") as caught:
        restore(store, ["a"])
    assert all(run in caught.value.message for run in ids)
    assert caught.value.hint == f"rashomon restore {ids[0]}"
    with pytest.raises(UsageError, match="'a' is taken"):
        restore(store, ids)
    assert names(store) == []
    restore(store, ids[:1])
    assert store.find("a").id == ids[0]


def test_wrong_names_are_refused(store, publish):
    publish(store, "a")
    with pytest.raises(UsageError, match="no run 'b'"):
        remove(store, ["a", "b"])
    assert names(store) == ["a"]
    remove(store, ["a"])
    with pytest.raises(UsageError, match="no trashed run 'b'") as caught:
        restore(store, ["a", "b"])
    assert caught.value.hint == "rashomon restore"
    publish(store, "b")
    remove(store, ["b"])
    with pytest.raises(UsageError, match="one run"):
        restore(store, ["a", "b"], name="c")
    with pytest.raises(UsageError, match="cannot be a name"):
        restore(store, ["a"], name="a b")


@pytest.mark.parametrize("act", [remove, restore])
def test_a_crash_in_between_heals(store, publish, monkeypatch, act):
    run = publish(store, "a")
    if act is restore:
        remove(store, ["a"])

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(durable, "move", crash) if act is remove else patch.setattr(Index, "refresh", crash)
        with pytest.raises(KeyboardInterrupt):
            act(store, ["a"])
    again = Store.open(store.root)
    assert again.find("a").id == run.id
    assert trashed(again) == []


def test_a_run_that_the_trash_holds_already_can_be_removed(store, publish):
    run = publish(store, "a")
    copy = store.root.parent / "copy"
    shutil.copytree(run.folder, copy)
    remove(store, ["a"])
    shutil.copytree(copy, run.folder)
    assert names(store) == ["a"]
    remove(store, ["a"])
    assert [row["id"] for row in trashed(store)] == [run.id]
    assert names(store) == []
    assert [each.what for each in sweep(store).dropped] == ["removed run", "leftover"]


def test_a_refusal_names_some_children_and_counts_the_others(store, publish):
    a = publish(store, "a")
    for number in range(8):
        publish(store, f"child-{number}", parents=[(a, "of", None)])
    with pytest.raises(Refused, match=r": child-0, child-1, child-2, child-3, child-4 and 3 more$"):
        remove(store, ["a"])


def test_a_run_named_twice_is_one_run(store, publish):
    run = publish(store, "a")
    remove(store, ["a"])
    assert [row["name"] for row in restore(store, ["a", "a", run.id], name="b")] == ["b"]
    with pytest.raises(UsageError, match="--name is for one run"):
        restore(store, [], name="c")
