"""Many processes publish into one store at once: no run is lost, none is doubled, and nobody sees a lock."""

import json
from collections import Counter

import pytest

from rashomon_cli.store import Store

# Forks children that all wait for one pipe to close, and prints a line of JSON from each.
TOGETHER = """
import json, os, sys, traceback
from rashomon_cli.core.errors import Busy
from rashomon_cli.store import Run, Store

gate, go = os.pipe()
answers = []
for who in range(int(sys.argv[2])):
    answer, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        answers.append((pid, answer))
        continue
    os.close(go)
    os.read(gate, 1)
    try:
        found = work(sys.argv[1], who)
    except BaseException:
        found = {"error": traceback.format_exc()}
    with os.fdopen(write, "w") as stream:
        json.dump(found, stream)
    os._exit(0)
os.close(go)
for pid, answer in answers:
    with os.fdopen(answer) as stream:
        print(stream.read())
    os.waitpid(pid, 0)
"""

FIFTY = """
def work(root, who):
    store = Store.open(root, create=True)
    ids = []
    for n in range(50):
        with store.begin("fake", {"who": who, "n": n}, suggestion="run") as job:
            ids.append(job.publish("model", metrics={"n": n}, measurements={}).id)
    return ids
"""


def together(start, root, count, work):
    process = start(root, count, python=work + TOGETHER)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    answers = [json.loads(line) for line in out.splitlines()]
    assert len(answers) == count
    assert not [answer["error"] for answer in answers if isinstance(answer, dict) and "error" in answer]
    return answers


@pytest.mark.slow
def test_no_run_of_eight_writers_at_once_is_lost(store, start):
    answers = together(start, store.root, 8, FIFTY)
    rows = store.rows()
    assert sorted(row["id"] for row in rows) == sorted(run for ids in answers for run in ids)
    assert len(rows) == len({row["name"] for row in rows}) == 400
    assert {row["status"] for row in rows} == {"finished"}
    wanted = {(who, n) for who in range(8) for n in range(50)}
    assert {(run.record.config["who"], run.metrics["n"]) for run in store.runs()} == wanted
    assert store.reindex() == 400
    assert store.rows() == rows


FIRST = """
def work(root, who):
    store = Store.open(root, create=True)
    config = {"who": "all"} if who % 2 else {"who": who}
    try:
        job = store.begin("fake", config, name=None if who % 2 else f"own-{who}", suggestion="shared")
    except Busy as error:
        return {"how": "busy", "code": error.code}
    if isinstance(job, Run):
        return {"how": "found", "id": job.id}
    with job:
        return {"how": "made", "id": job.publish("model", metrics={}, measurements={}).id}
"""


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(8))
def test_thirty_two_processes_make_one_store_and_one_run_of_each_request(tmp_path, start, attempt):
    answers = together(start, tmp_path / "store", 32, FIRST)
    assert {answer["how"] for answer in answers[::2]} == {"made"}
    same = answers[1::2]
    hows = Counter(answer["how"] for answer in same)
    assert hows["made"] == 1
    assert hows["busy"] + hows["found"] == 15
    assert len({answer["id"] for answer in same if "id" in answer}) == 1
    store = Store.open(tmp_path / "store")
    assert {row["id"] for row in store.rows()} == {answer["id"] for answer in answers if "id" in answer}
    assert sorted(store.names().values()) == sorted(["shared", *[f"own-{who}" for who in range(0, 32, 2)]])
    assert {row["status"] for row in store.rows()} == {"finished"}
