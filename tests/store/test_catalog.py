"""The catalog: rebuilt when lost, healed after a crash, shared by many writers."""

import shutil
import sqlite3

import pytest

from rashomon_cli.core.errors import UsageError
from rashomon_cli.store import Store, records, seals
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


def fresh_names(store):
    return list(Store.open(store.root).names().values())


def test_a_catalog_that_another_process_rebuilt_is_the_one_that_is_used(store, publish):
    publish(store, "a")
    other = Store.open(store.root)
    assert fresh_names(other) == ["a"]
    for path in store.root.glob("catalog.db*"):
        path.unlink()
    assert Store.open(store.root).reindex() == 1
    other.rename("a", "b")
    assert fresh_names(store) == ["b"]
    assert list(store.names().values()) == ["b"]
    store.tag("b", ["x"])
    assert Store.open(store.root).find("b").label.tags == ["x"]


def test_a_label_that_came_back_from_a_copy_counts(store, publish):
    run = publish(store, "a")
    store.tag("a", ["x"])
    copy = (run.folder / "label.json").read_bytes()
    store.tag("a", ["x"], remove=True)
    (run.folder / "label.json").write_bytes(copy)
    assert Store.open(store.root).rows()[0]["tags"] == ["x"]
    assert store.rename("a", "b").label.tags == ["x"]


@pytest.fixture
def occupied(store, publish, monkeypatch):
    """A store with a run ``a`` whose catalog another process keeps locked; call it to unlock it."""
    publish(store, "a")
    store._index.close()
    monkeypatch.setattr("rashomon_cli.store.catalog.TIMEOUT_S", 0.01)
    connection = sqlite3.connect(store.root / "catalog.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield connection.close
    connection.close()


def test_a_catalog_that_cannot_be_written_hinders_no_renaming(store, occupied):
    store.rename("a", "b")
    assert store.tag("b", ["x"]).label.tags == ["x"]
    occupied()
    assert fresh_names(store) == ["b"]
    assert Store.open(store.root).rows()[0]["tags"] == ["x"]


def test_a_new_catalog_that_cannot_be_filled_is_replaced_by_one_in_memory(store, publish, monkeypatch):
    publish(store, "a")
    store._index.close()
    (store.root / "catalog.db").write_bytes(b"no database" * 1000)
    put = Catalog.put

    def refuse(self, *arguments):
        if self._path != ":memory:":
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        put(self, *arguments)

    monkeypatch.setattr(Catalog, "put", refuse)
    assert fresh_names(store) == ["a"]


def test_a_look_between_the_steps_of_a_renaming_does_not_keep_the_old_name(store, publish, monkeypatch):
    publish(store, "a")
    reader = Store.open(store.root)
    write = records.write

    def look_and_crash(path, document):
        assert list(reader.names().values()) == ["a"]
        write(path, document)
        raise KeyboardInterrupt

    monkeypatch.setattr(records, "write", look_and_crash)
    with pytest.raises(KeyboardInterrupt):
        store.rename("a", "b")
    assert fresh_names(store) == ["b"]


def test_a_lost_label_leaves_a_finished_run_the_name_that_is_known(store, publish):
    run = publish(store, "a")
    store.tag("a", ["x"])
    (run.folder / "label.json").write_bytes(b"{}")
    assert [(row["name"], row["status"]) for row in store.rows()] == [("a", "damaged")]
    assert store.rename(run.id, "b").label.tags == ["x"]
    assert [(row["name"], row["status"]) for row in store.rows()] == [("b", "finished")]


@pytest.mark.parametrize("column", ["record", "listing", "finished", "kind"])
@pytest.mark.parametrize("value", ["{", "[]", '{"tags": 1, "parents": [1], "metrics": [], "files": {}}', 7, b"\xff"])
def test_a_row_that_was_altered_is_read_again_from_its_folder(store, publish, column, value):
    parent = publish(store, "a")
    publish(store, "b", parents=[(parent, "of", None)])
    before = store.rows()
    with sqlite3.connect(store.root / "catalog.db") as connection:
        connection.execute(f"UPDATE runs SET {column} = ? WHERE name = 'b'", (value,))
    connection.close()
    assert Store.open(store.root).rows() == before


def test_a_name_that_is_no_text_is_read_again_from_its_folder(store, publish):
    publish(store, "a")
    with sqlite3.connect(store.root / "catalog.db") as connection:
        connection.execute("UPDATE runs SET name = ?", (b"\xff",))
    connection.close()
    assert list(Store.open(store.root).names().values()) == ["a"]


def test_one_run_is_looked_up_without_a_look_at_the_others(store, publish, monkeypatch):
    first, second = publish(store, "a"), publish(store, "b")
    assert [row["name"] for row in store.rows()] == ["a", "b"]
    monkeypatch.setattr("rashomon_cli.store.index.present_runs", lambda folder: pytest.fail("all folders are read"))
    for reference in ("b", second.id, second.id.lower()):
        assert store.find(reference).id == second.id
    monkeypatch.undo()
    label = first.folder / "label.json"
    label.write_bytes(seals.seal({"schema_version": 2, "name": "c", "tags": []}))
    assert store.find("c").id == first.id
    with pytest.raises(UsageError, match="no run 'a'"):
        store.find("a")
    shutil.rmtree(second.folder)
    with pytest.raises(UsageError, match="no run 'b'"):
        store.find("b")
