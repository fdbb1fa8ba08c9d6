"""The store's folder: made with the first run, by one process or by many, and not before."""

import json
import threading

import pytest

from rashomon_cli.core.cache import NoCache
from rashomon_cli.core.errors import Damaged, NoStore, Refused, UsageError
from rashomon_cli.store import Store
from rashomon_cli.store.cache import FolderCache
from rashomon_cli.store.sweep import sweep
from rashomon_cli.store.trash import remove, restore


def be_refused(store, meanwhile, **config):
    def work():
        with store.begin("fake", config or {"seed": 1}):
            meanwhile()
            raise Refused("does not fit")

    with pytest.raises(Refused):
        work()


def test_a_store_is_made_only_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("RASHOMON_STORE", str(tmp_path / "env"))
    with pytest.raises(NoStore) as caught:
        Store.open()
    assert caught.value.code == 10
    assert "rashomon train --seed 1" in caught.value.hint
    assert Store.open(create=True).root == tmp_path / "env"


@pytest.mark.parametrize("inside", ["thesis.tex", "runs/events.out.tfevents"])
def test_a_folder_with_other_things_is_no_store(tmp_path, inside):
    (tmp_path / inside).parent.mkdir(exist_ok=True)
    (tmp_path / inside).touch()
    with pytest.raises(NoStore, match="not empty"):
        Store.open(tmp_path, create=True)
    with pytest.raises(NoStore, match="no store at"):
        Store.open(tmp_path)
    with pytest.raises(NoStore, match="not empty"):
        Store.open(tmp_path / inside, create=True)


def test_nothing_is_written_before_the_first_run(tmp_path, publish):
    store = Store.open(tmp_path / "deep" / "store", create=True)
    assert (store.rows(), list(store.runs()), store.names()) == ([], [], {})
    with pytest.raises(UsageError, match="no run 'a'"):
        store.find("a")
    with pytest.raises(UsageError, match="cannot be a name"):
        store.begin("fake", {}, name="a b")
    assert store.finished("fake", {}) is store.unfinished("fake", {}) is None
    assert isinstance(store.cache, NoCache)
    assert list(tmp_path.iterdir()) == []
    run = publish(store, "a")
    assert isinstance(store.cache, FolderCache)
    assert Store.open(store.root).find("a").id == run.id


@pytest.mark.parametrize("there", [[], ["deep"], ["deep", "deep/store"]], ids=len)
def test_a_first_run_that_is_refused_leaves_no_folder_behind(tmp_path, there):
    for folder in there:
        (tmp_path / folder).mkdir()
    before = sorted(tmp_path.rglob("*"))
    store = Store.open(tmp_path / "deep" / "store", create=True)
    be_refused(store, lambda: store.cache.save("decoded", {}))
    assert sorted(tmp_path.rglob("*")) == before
    with store.begin("fake", {"seed": 1}) as job:
        assert job.publish("model", metrics={}, measurements={}).id == job.id


def test_a_refused_run_takes_nothing_from_others(tmp_path, publish):
    store = Store.open(tmp_path / "store", create=True)
    be_refused(store, lambda: publish(Store.open(store.root), "other"))
    assert [row["name"] for row in Store.open(store.root).rows()] == ["other"]


def test_a_newer_store_is_refused(store):
    store.reindex()
    (store.root / "store.json").write_text(json.dumps({"format": "rashomon-store", "version": 2}))
    for mend in (False, True):
        with pytest.raises(Damaged, match="format 2") as caught:
            Store.open(store.root, mend=mend)
        assert caught.value.hint == "upgrade rashomon-cli"


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b'{"format": "rashomon-store", "version": "x"}', b"\xff"])
def test_a_damaged_marker_is_written_anew_by_reindexing(store, publish, content):
    publish(store, "a")
    if content is None:
        (store.root / "store.json").unlink()
    else:
        (store.root / "store.json").write_bytes(content)
    with pytest.raises(Damaged, match=r"store\.json") as caught:
        Store.open(store.root)
    assert caught.value.hint == "rashomon reindex writes it anew"
    assert Store.open(store.root, mend=True).reindex() == 1
    assert Store.open(store.root).find("a").name == "a"


def test_a_process_that_takes_a_store_back_disturbs_no_other(tmp_path, publish):
    """Many begin in the same new store; those that are refused take it back as long as nobody else is in it."""
    failed = []

    def work(number):
        try:
            for _ in range(20):
                be_refused(Store.open(tmp_path / "store", create=True), lambda: None, number=number)
            publish(Store.open(tmp_path / "store", create=True), f"mine-{number}")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(Store.open(tmp_path / "store").rows()) == 8


@pytest.mark.slow
def test_32_processes_make_the_same_store_at_once(tmp_path, start):
    code = """
import sys, time
from rashomon_cli.store import Store
store = Store.open(sys.argv[1], create=True)
with store.begin("fake", {"who": sys.argv[2]}) as job:
    job.publish("model", metrics={}, measurements={})
"""
    makers = [start(tmp_path / "store", who, python=code) for who in range(32)]
    assert [maker.communicate()[1] for maker in makers] == [""] * 32
    rows = Store.open(tmp_path / "store").rows()
    assert len({row["name"] for row in rows}) == 32
    assert {row["status"] for row in rows} == {"finished"}
    assert sorted(path.name for path in (tmp_path / "store").iterdir() if "catalog" not in path.name) == [
        "runs",
        "store.json",
    ]


def test_a_working_directory_that_was_deleted_ends_with_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("rashomon_cli.store.root._PAUSE_S", 0)
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    (tmp_path / "x").rmdir()
    try:
        with pytest.raises(FileNotFoundError):
            Store.open("store", create=True).begin("fake", {"seed": 1})
    finally:
        monkeypatch.chdir(tmp_path)


def test_a_store_whose_runs_are_all_in_the_trash_is_one_without_its_marker_too(store, publish):
    run = publish(store, "a")
    remove(store, ["a"])
    (store.root / "store.json").unlink()
    for create in (False, True):
        with pytest.raises(Damaged) as caught:
            Store.open(store.root, create=create)
        assert caught.value.hint == "rashomon reindex writes it anew"
    assert Store.open(store.root, mend=True).reindex() == 0
    assert restore(Store.open(store.root), ["a"])[0]["id"] == run.id


def test_an_empty_store_without_its_marker_can_be_mended_or_used(store, publish):
    publish(store, "a")
    remove(store, ["a"])
    sweep(store)
    (store.root / "store.json").unlink()
    assert Store.open(store.root, mend=True).rows() == []
    with pytest.raises(NoStore):
        Store.open(store.root)
    publish(Store.open(store.root, create=True), "b")
    assert list(Store.open(store.root).names().values()) == ["b"]
