"""The catalog: rebuilt when lost, healed after a crash, shared by many writers."""

import shutil
import sqlite3

import pytest

from rashomon_cli.store import Store, records
from rashomon_cli.store.catalog import Catalog


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
    write = records.write

    def crash(path, document):
        write(path, document)
        raise KeyboardInterrupt

    monkeypatch.setattr(records, "write", crash)
    with pytest.raises(KeyboardInterrupt):
        store.rename("a", "b")
    assert other.find("b").id == run.id
    assert other.names() == {run.id: "b"}


def test_a_run_folder_that_was_removed_is_forgotten(store, publish):
    shutil.rmtree(publish(store, "a").folder)
    assert store.rows() == []


def test_a_store_that_cannot_be_written_is_still_read(store, publish, monkeypatch):
    publish(store, "a")
    refuse = Catalog.__init__

    def read_only(self, path):
        if path != ":memory:":
            error = sqlite3.OperationalError("attempt to write a readonly database")
            error.sqlite_errorcode = sqlite3.SQLITE_READONLY
            raise error
        refuse(self, path)

    monkeypatch.setattr(Catalog, "__init__", read_only)
    assert Store.open(store.root).find("a").name == "a"


def test_a_catalog_of_another_version_is_made_anew(store):
    store.begin("train", {"lr": 1}, name="x").publish("model", metrics={}, measurements={})
    with sqlite3.connect(store.root / "catalog.db") as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("DELETE FROM runs")
    connection.close()
    assert [run.name for run in Store.open(store.root).runs()] == ["x"]
