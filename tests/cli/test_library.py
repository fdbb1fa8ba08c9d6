"""``ls``, ``show``, ``rename`` and ``reindex`` as a user sees them."""

import json
import re

import pytest


@pytest.fixture
def here(store, publish, rashomon):
    first = publish(store, "first", metrics={"test_accuracy": 0.912345, "test_loss": 0.25, "parameters": 12345})
    path = publish(store, "walk", kind="path", parents=[(first, "start", None), (first, "end", None)])
    publish(store, "flat", kind="measurement", parents=[(path, "of", 0.5)], metrics={"trace": 3.0})

    def call(*arguments):
        return rashomon(*arguments, "--store", store.root)

    call.store = store
    return call


def listed(here):
    return json.loads(here("ls", "--json").out)["runs"]


def test_ls_is_the_same_before_and_after_reindexing_a_lost_catalog(here):
    before = here("ls", "--json").out
    for path in here.store.root.glob("catalog.db*"):
        path.unlink()
    assert here("reindex").out == "3 runs\n"
    assert here("ls", "--json").out == before
    assert json.loads(here("reindex", "--json").out) == {"indexed": 3}
    assert here("reindex", "-q").out == ""


def test_ls_in_json_lists_finished_runs_with_their_parents(here):
    with here.store.begin("fake", {"seed": 5}, name="open"):
        first, path, flat = listed(here)
        assert here("ls", "-q").out.split() == [first["id"], path["id"], flat["id"]]
    assert path["parents"] == [{"id": first["id"], "name": "first", "role": role} for role in ("start", "end")]
    assert flat["parents"] == [{"id": path["id"], "name": "walk", "role": "of"}]
    assert flat["metrics"] == {"trace": 3.0}


def test_the_table_shows_unfinished_runs_too(here):
    with here.store.begin("fake", {"seed": 5}, name="open"):
        running = here("ls").out
    lines = {line.split()[0]: line for line in running.splitlines()}
    assert list(lines) == ["name", "first", "walk", "flat", "open"]
    assert "running" in lines["open"]
    assert "test_accuracy 0.9123, test_loss 0.25, parameters 12,345" in lines["first"]
    assert "trace 3" in lines["flat"]


def test_an_empty_store_is_no_error(rashomon, store):
    store.reindex()
    shown = rashomon("ls", "--store", store.root)
    assert (shown.code, shown.out) == (0, "")
    assert "rashomon train --seed 1" in shown.err
    assert rashomon("ls", "--where", "anything>1", "--store", store.root).code == 0


@pytest.mark.parametrize("command", [["ls"], ["show", "flat"], ["show", "flat", "--lineage"]], ids=" ".join)
def test_everything_fits_a_narrow_terminal(here, monkeypatch, command):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(here.store.root.parent)
    shown = here(*command)
    assert shown.code == 0
    assert "flat" in shown.out
    lines = re.sub(r"\x1b\[[\d;]*m", "", shown.out).splitlines()
    assert all(len(line) <= 40 for line in lines if str(here.store.root) not in line and "(measurement, " not in line)


@pytest.mark.parametrize(("columns", "figures"), [("120", 3), ("90", 2), ("70", 1)])
def test_the_table_keeps_as_many_figures_as_fit(here, monkeypatch, columns, figures):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", columns)
    line = next(line for line in here("ls").out.splitlines() if line.startswith("first"))
    assert line.count(",") - line.count(",345") == figures - 1
    assert len(line) <= int(columns)


def test_show_tells_how_a_run_was_made(here):
    run = here.store.find("flat")
    out = here("show", run.id[:-2]).out
    for text in ("flat  (measurement, ", "trace", "walk@0.5", "metrics.h5", "--name"):
        assert text in out
    found = json.loads(here("show", "flat", "--json").out)
    assert found["config"] == {"name": "flat"}
    assert {"builder", "data", "versions", "seeds", "notes", "files", "parents", "metrics"} <= set(found)
    assert here("show", "flat", "-q").out == run.id + "\n"


def test_a_lineage_is_drawn_as_a_tree(here):
    lines = here("show", "walk", "--lineage").out.splitlines()
    assert [line.strip("├└─│ ").split("  ")[0] for line in lines] == ["first", "→ walk", "flat", "→ walk"]
    assert "as above" in lines[3]
    (root,) = json.loads(here("show", "walk", "--lineage", "--json").out)["lineage"]
    assert (root["name"], root["chosen"], root["role"]) == ("first", False, None)
    path, second = root["children"]
    assert (path["name"], path["chosen"], path["role"], second["role"]) == ("walk", True, "start", "end")
    assert [(child["name"], child["t"]) for child in path["children"]] == [("flat", 0.5)]


def test_renaming_changes_the_name_everywhere_and_nothing_else(here):
    before = listed(here)
    assert here("rename", "first", "base").out == f"{before[0]['id']} is now base\n"
    assert here("rename", "walk", "path", "-q").out == before[1]["id"] + "\n"
    assert json.loads(here("rename", "flat", "hills", "--json").out)["name"] == "hills"
    after = listed(here)
    assert [run["name"] for run in after] == ["base", "path", "hills"]
    assert after[1]["parents"][0]["name"] == "base"
    assert [run["files"] for run in after] == [run["files"] for run in before]


def test_names_with_brackets_or_markup_cannot_break_the_output(here, publish):
    publish(here.store, "red", metrics={"[bold]x[/]": 1.0})
    assert "[bold]x[/] 1" in here("ls").out
    assert "[bold]x[/]" in here("show", "red").out


def test_no_text_of_a_record_reaches_the_terminal_as_a_command(here, publish):
    evil = "x\x1b[2Jy\n"
    parent = here.store.find("first")
    publish(here.store, "red", operation=evil, parents=[(parent, evil, None)], metrics={evil: 1.0, "list": [evil]})
    for command in (["ls"], ["show", "red"], ["show", "red", "--lineage"], ["restore"]):
        shown = here(*command)
        assert shown.code == 0
        assert "\x1b" not in shown.out
    assert r"x\x1b[2Jy\n" in here("ls").out
