"""Whatever is wrong with a store is found and named, with what to do; nothing makes a check fail itself."""

import json
import os
import shutil
import sqlite3

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.core.errors import UsageError
from rashomon_cli.core.results import Result
from rashomon_cli.store import Parent, Store, durable, seals
from rashomon_cli.store.checks import check
from rashomon_cli.store.trash import remove

FILES = ("run.json", "request.json", "label.json", "model.safetensors", "metrics.h5")


@pytest.fixture
def pair(store, publish):
    """A model ``a`` and a measurement ``b`` of it."""
    a = publish(store, "a")
    with store.begin("fake", {"of": "a"}, parents=[parent_of(a)], name="b") as job:
        job.publish("measurement", metrics={}, measurements={}, tensor_files={"x.safetensors": ({"x": np.ones(3)}, {})})
    return store


def parent_of(run):
    return Parent(id=run.id, role="of", sha256=run.record.artifacts[0].sha256)


def found(store, *references, **how):
    return [(each.name, each.file, each.problem) for each in check(store, references, **how).findings]


def only(store, *references, **how):
    (finding,) = check(store, references, **how).findings
    return finding


@pytest.mark.parametrize("read_data", [False, True])
def test_a_sound_store_is_clean(pair, read_data):
    with pair.begin("fake", {"x": 1}, name="open") as job:
        job.save("state", Result())
        job.stage({"recipe": 1}).save("epoch-1", Result())
        report = check(pair, read_data=read_data)
        assert report.interrupted == {}
    remove(pair, ["b"])
    report = check(pair, read_data=read_data)
    assert (report.findings, report.runs, report.interrupted) == ([], 2, {job.id: "open"})


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
def test_any_flipped_bit_is_found_with_its_run_and_file(pair, name, data):
    run = pair.find("a")
    path = run.folder / name
    content = path.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        path.write_bytes(flipped)
        finding = only(pair, read_data=True)
        assert (finding.run, finding.file) == (run.id, name)
        assert finding.remedy
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_any_missing_file_is_found(pair, name):
    (pair.find("a").folder / name).unlink()
    assert found(pair) == [("a", name, "is missing")]
    assert found(pair, "b") == []


def test_a_run_that_nothing_tells_was_finished_counts_as_interrupted(pair):
    (pair.find("a").folder / "run.json").unlink()
    pair.reindex()
    report = check(pair)
    assert list(report.interrupted.values()) == ["a"]
    assert report.findings == []


@pytest.mark.parametrize("name", FILES)
@given(content=st.binary(max_size=40) | st.sampled_from([b"[" * 99_999, b"9" * 9_999, b'{"schema_version": 1e999}']))
def test_no_content_makes_a_check_fail(pair, name, content):
    run = pair.find("b") if name == "x.safetensors" else pair.find("a")
    path = run.folder / name
    before = path.read_bytes()
    try:
        path.write_bytes(content)
        assert (run.name, name) in [(each[0], each[1]) for each in found(pair, read_data=True)]
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(
    "put",
    [
        lambda path: path.mkdir(),
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to("/nowhere"),
        lambda path: path.symlink_to("/dev/zero"),
        os.mkfifo,
    ],
    ids=["folder", "loop", "dangling", "device", "pipe"],
)
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_is_found(pair, name, put):
    run = pair.find("a")
    (run.folder / name).unlink()
    put(run.folder / name)
    report = check(pair, read_data=True)
    assert {each.file for each in report.findings} == {name}
    pair.reindex()
    assert len(pair.rows()) == 2


def test_without_reading_only_sizes_are_compared(pair):
    path = pair.find("a").folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    assert found(pair) == []
    assert found(pair, read_data=True) == [("a", path.name, "was altered: its SHA-256 does not match run.json")]
    path.write_bytes(content + b"x")
    assert found(pair) == [("a", path.name, f"has {len(content) + 1} bytes, not {len(content)}")]


def test_a_missing_parent_is_an_orphan_s_finding_with_the_way_back(pair):
    a, b = pair.find("a"), pair.find("b")
    remove(pair, ["a"], force=True)
    finding = only(pair)
    assert (finding.run, finding.name, finding.file) == (b.id, "b", "run.json")
    assert finding.problem == f"its parent {a.id} was removed"
    assert finding.remedy == f"rashomon restore {a.id}"
    shutil.rmtree(pair.trash_folder)
    finding = only(pair)
    assert finding.problem == f"its parent {a.id} is missing"
    assert f"rashomon rm {b.id}" in finding.remedy


def test_a_parent_that_was_replaced_is_found(pair, publish):
    a = pair.find("a")
    document = json.loads((a.folder / "run.json").read_bytes())
    del document["sha256"]
    document["artifacts"][0]["sha256"] = "0" * 64
    durable.write(a.folder / "run.json", seals.seal(document))
    pair.reindex()
    assert found(pair) == [("b", "run.json", f"its parent {a.id} is not what it was made from")]


def test_a_record_that_answers_another_request_is_found(pair):
    a, b = pair.find("a"), pair.find("b")
    shutil.copy(b.folder / "request.json", a.folder)
    assert found(pair) == [("a", "run.json", "is not the answer to request.json: their keys differ")]


def test_an_unsealed_record_with_another_config_is_found(pair):
    a = pair.find("a")
    document = json.loads((a.folder / "run.json").read_bytes())
    del document["sha256"]
    durable.write_json(a.folder / "run.json", document | {"schema_version": 1, "config": {"name": "c"}})
    pair.reindex()
    assert found(pair) == [("a", "run.json", "is not the answer to request.json: their keys differ")]


def test_a_copied_run_is_not_another_run(pair):
    copy = pair.runs_folder / "01M87Z6FMF08B6XHQFHGGENGR1"
    shutil.copytree(pair.find("a").folder, copy)
    finding = only(pair)
    assert (finding.run, finding.file) == (copy.name, "run.json")
    assert finding.problem == f"is that of run {pair.find('b').record.parents[0].id}"


def test_things_out_of_place_are_found(pair):
    run = pair.find("a")
    for path in (run.folder / "notes.txt", pair.runs_folder / "old", pair.runs_folder / "01M87Z6FMF08B6XHQFHGGENGR1"):
        path.write_text("x")
    (pair.runs_folder / "backup").mkdir()
    name = os.fsencode(run.folder) + b"/\xff\n\x1b[2J"
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    assert found(pair) == [
        ("a", "notes.txt", "does not belong to the run"),
        ("a", r"\xff\n\x1b[2J", "does not belong to the run"),
        (None, "runs/01M87Z6FMF08B6XHQFHGGENGR1", "is no run"),
        (None, "runs/backup", "is no run"),
        (None, "runs/old", "is no run"),
    ]


def test_what_a_crash_leaves_is_no_fault(pair):
    run = pair.find("a")
    (run.folder / ".model.safetensors.1-a.tmp").write_text("x")
    (run.folder / "parts").mkdir()
    (pair.runs_folder / "01M87Z6FMF08B6XHQFHGGENGR1").mkdir()
    assert found(pair) == []


@pytest.mark.parametrize("column", ["name", "kind", "listing", "record"])
def test_a_wrong_row_is_found_and_reindexing_mends_it(pair, column):
    for value in ("[1]", "{]"):
        with sqlite3.connect(pair.root / "catalog.db") as connection:
            connection.execute(f"UPDATE runs SET {column} = ? WHERE name = 'a'", (value,))
        connection.close()
        report = check(Store.open(pair.root))
        assert [each.remedy for each in report.findings] in ([], ["rashomon reindex"])
        pair.reindex()
        assert check(pair).findings == []
        assert pair.find("a").name == "a"


def test_a_damaged_marker_is_found(pair):
    (pair.root / "store.json").write_text("{}")
    store = Store.open(pair.root, mend=True)
    finding = only(store)
    assert (finding.run, finding.file, finding.problem) == (None, "store.json", "is that of no store")
    assert finding.remedy == "rashomon reindex writes it anew"
    store.reindex()
    assert found(store) == []


def test_damaged_steps_of_unfinished_work_are_found(pair):
    with pair.begin("fake", {"x": 1}, name="open") as job:
        job.save("state", Result())
        job.stage({"recipe": 1}).save("epoch-1", Result())
    part = job.folder / "parts" / "state.h5"
    content = part.read_bytes()
    part.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (stage,) = pair.stages_folder.iterdir()
    (stage / "epoch-1.h5").write_bytes(b"")
    (stage / "recipe.json").write_bytes(b"{")
    assert found(pair) == [(None, f"stages/{stage.name}/recipe.json", "is not readable JSON")]
    assert [each[1] for each in found(pair, read_data=True)] == [
        "parts/state.h5",
        f"stages/{stage.name}/epoch-1.h5",
        f"stages/{stage.name}/recipe.json",
    ]


def test_one_run_can_be_looked_at_alone(pair):
    for name in "ab":
        (pair.find(name).folder / "label.json").unlink()
    (pair.runs_folder / "old").mkdir()
    b = pair.find(pair.rows()[1]["id"])
    ticks = []
    assert found(pair, b.id, tick=lambda: ticks.append(1)) == [("b", "label.json", "is missing")]
    assert ticks == [1]
    with pytest.raises(UsageError, match="no run 'c'"):
        check(pair, ["c"])


@given(
    documents=st.dictionaries(
        st.sampled_from(["run.json", "request.json", "label.json"]),
        st.dictionaries(
            st.sampled_from(["schema_version", "id", "name", "parents", "artifacts", "metrics", "config", "key"]),
            st.recursive(
                st.none()
                | st.integers()
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
                lambda inner: st.lists(inner, max_size=2),
            ),
            min_size=1,
        ),
        min_size=1,
    )
)
def test_sealed_documents_of_any_content_make_no_command_fail(pair, documents):
    run = pair.find("a")
    kept = {name: (run.folder / name).read_bytes() for name in documents}
    try:
        for name, changes in documents.items():
            document = json.loads(kept[name])
            del document["sha256"]
            durable.write(run.folder / name, seals.seal(document | changes))
        check(pair, read_data=True)
        pair.reindex()
        check(pair, read_data=True)
        assert len(pair.rows()) == 2
    finally:
        for name, content in kept.items():
            (run.folder / name).write_bytes(content)
        pair.reindex()
