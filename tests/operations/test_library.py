"""``ls`` and ``show --lineage`` over a small family: two models, a path between them, a measurement of the path."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from rashomon_cli.operations.ls import ls
from rashomon_cli.operations.show import lineage, show


@pytest.fixture
def family(store, publish):
    a, b, _stranger = (publish(store, name) for name in ("a", "b", "stranger"))
    path = publish(store, "ab", kind="path", parents=[(a, "start", None), (b, "end", None)])
    publish(store, "flat", kind="measurement", parents=[(path, "of", 0.5)], metrics={"trace": 3.0, "trace_stderr": 0.1})
    publish(store, "pair", kind="comparison", parents=[(a, "1", None), (path, "2", 0.25)])
    return store


def shape(nodes):
    return [(node.run.name if node.run else None, node.chosen, node.repeated, shape(node.children)) for node in nodes]


def test_the_list_is_in_the_order_of_beginning(family):
    with family.begin("train", {"seed": 9}, name="open"):
        entries = ls(family)
    assert [entry.name for entry in entries] == ["a", "b", "stranger", "ab", "flat", "pair", "open"]
    assert [entry.status for entry in entries] == ["finished"] * 6 + ["running"]
    assert all(timedelta(0) <= datetime.now(UTC) - entry.begun < timedelta(minutes=2) for entry in entries)


def test_headlines_are_what_one_looks_for_first(store, publish):
    publish(store, "a", metrics={"seconds": 3.0, "why": "x", "test_accuracy": 0.9, "t": [0, 1], "sparsity": 0.5})
    publish(store, "b", metrics={"trace": 3.0, "trace_stderr": 0.1, "gone": float("nan")})
    first, second = ls(store)
    assert first.headlines(2) == {"test_accuracy": 0.9, "sparsity": 0.5}
    assert list(first.headlines(9)) == ["test_accuracy", "sparsity", "seconds"]
    assert second.headlines(3) == {"trace": 3.0}


def test_a_lineage_leads_from_each_root_through_the_run_to_its_descendants(family):
    below = [("flat", False, False, []), ("pair", False, False, [])]
    assert shape(lineage(family, show(family, "ab"))) == [
        ("a", False, False, [("ab", True, False, below), ("pair", False, False, [])]),
        ("b", False, False, [("ab", True, True, [])]),
    ]
    assert shape(lineage(family, show(family, "flat"))) == [
        ("a", False, False, [("ab", False, False, [("flat", True, False, [])])]),
        ("b", False, False, [("ab", False, True, [])]),
    ]
    assert shape(lineage(family, show(family, "stranger"))) == [("stranger", True, False, [])]


def test_an_ancestor_that_is_gone_is_a_root_without_a_run(family):
    shutil.rmtree(show(family, "b").folder)
    nodes = lineage(family, show(family, "ab"))
    assert [node.run.name if node.run else None for node in nodes] == ["a", None]
