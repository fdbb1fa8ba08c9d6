"""The documents of a run: sealed, migrated, and refused when damaged."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.core.errors import Damaged
from rashomon_cli.store import Parent, Store, durable, records, seals
from rashomon_cli.store.records import Label, Request, RunRecord

DOCUMENTS = {"run.json": RunRecord, "request.json": Request, "label.json": Label}


def edit(path, **changes):
    """Change fields and seal the document again."""
    document = json.loads(path.read_bytes())
    del document["sha256"]
    durable.write(path, seals.seal(document | changes))


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


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_flipped_bit_is_revealed(store, publish, name):
    path = publish(store, "a", metrics={"loss": 0.5, "who": "é"}).folder / name
    content = path.read_bytes()
    assert content.endswith(b'"\n}\n')
    assert json.loads(content)["sha256"] == list(json.loads(content).values())[-1]
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(Damaged) as caught:
            records.read(path, DOCUMENTS[name])
        assert name in caught.value.message
        assert caught.value.code == 12
    path.write_bytes(content)
    records.read(path, DOCUMENTS[name])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_truncation_is_revealed(store, publish, name):
    path = publish(store, "a").folder / name
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(Damaged):
            records.read(path, DOCUMENTS[name])


HOSTILE = [
    b"",
    b"\x00" * 99,
    b"[" * 100_000,
    b"{" * 100_000,
    b"9" * 100_000,
    b'{"schema_version": 1e999}',
    b'{"schema_version": 1, "name": NaN}',
    b'{"schema_version": 1, "name": "\\ud800"}',
    b'{"schema_version": 1, "name": "a\\u001b[2J"}',
    b'{"schema_version": 1, "name": 7}',
    b'{"schema_version": "2", "name": "a"}',
    b'{"schema_version": null}',
    b"null",
    b"[]",
    b'"' + b"x" * 99 + b'"',
    seals.seal({"schema_version": 2, "name": ["a"]}),
    seals.seal({"schema_version": 2, "name": "a/b"}),
    seals.seal({"schema_version": 2, "name": "a", "more": 1}),
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_document_is_damage(tmp_path, content):
    (tmp_path / "label.json").write_bytes(content)
    with pytest.raises(Damaged, match=r"label\.json"):
        records.read(tmp_path / "label.json", Label)


@given(st.binary(max_size=300))
def test_random_bytes_are_damage(tmp_path, content):
    for name, model in DOCUMENTS.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Damaged):
            records.read(tmp_path / name, model)


def test_nested_values_are_kept_up_to_a_depth(tmp_path):
    def request(depth):
        value = 1
        for _ in range(depth):
            value = [value]
        return Request(operation="fake", config={"x": value})

    records.write(tmp_path / "request.json", request(50))
    assert records.read(tmp_path / "request.json", Request) == request(50)
    records.write(tmp_path / "request.json", request(100))
    with pytest.raises(Damaged):
        records.read(tmp_path / "request.json", Request)


def test_a_document_of_the_first_schema_is_read_without_a_digest(store, publish):
    run = publish(store, "a")
    for name in DOCUMENTS:
        document = json.loads((run.folder / name).read_bytes()) | {"schema_version": 1}
        del document["sha256"]
        durable.write_json(run.folder / name, document)
    store.reindex()
    found = Store.open(store.root).find("a")
    assert found.record == run.record
    assert found.record.schema_version == records.SCHEMA == 2
    assert store.finished("fake", {"name": "a"}).id == run.id
    assert store.rename("a", "b").name == "b"
    assert json.loads((run.folder / "label.json").read_bytes())["schema_version"] == 2


@pytest.mark.parametrize("reindexed", [False, True])
@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "not readable JSON"),
        (lambda path: edit(path, kind="sculpture"), "damaged at 'kind'"),
        (lambda path: edit(path, id="01M87Z6FMF08B6XHQFHGGENGR1"), "that of run 01M87Z6FMF08B6XHQFHGGENGR1"),
        (lambda path: edit(path, schema_version=3), "has schema 3"),
        (lambda path: edit(path, artifacts=[{"path": "../x", "sha256": "", "bytes": 1, "kind": "x"}]), "artifacts.0"),
        (lambda path: path.write_text("[]"), "damaged"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
        (lambda path: (path.unlink(), path.symlink_to(path)), "cannot be read"),
    ],
)
def test_a_damaged_record_is_damage_and_hides_no_other_run(store, publish, harm, words, reindexed):
    harm(publish(store, "a", seed=1).folder / "run.json")
    publish(store, "b")
    if reindexed:
        assert store.reindex() == 2
        assert {row["name"]: row["status"] for row in store.rows()} == {"a": "damaged", "b": "finished"}
    for ask in (
        lambda: store.find("a"),
        lambda: store.begin("fake", {"seed": 1}),
        lambda: store.finished("fake", {"seed": 1}),
    ):
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


def test_a_damaged_label_is_written_anew_by_renaming(store, publish):
    run = publish(store, "a")
    (run.folder / "label.json").write_text("{}")
    store.reindex()
    with pytest.raises(Damaged, match=r"label\.json") as caught:
        store.find(run.id)
    assert caught.value.hint == f"rashomon rename {run.id} NAME writes it anew"
    assert store.rename(run.id, "b").name == "b"
    assert store.find("b").id == run.id
