"""``tag``, ``rm``, ``restore``, ``gc`` and ``check`` as a user sees them."""

import json
import shlex

import pytest

from rashomon_cli.core.results import Result
from rashomon_cli.store.trash import trashed


@pytest.fixture
def here(store, publish, rashomon):
    """``model``, ``pruned`` made from it, and ``other``."""
    model = publish(store, "model")
    publish(store, "pruned", parents=[(model, "model", None)])
    publish(store, "other")

    def call(*arguments):
        return rashomon(*arguments, "--store", store.root)

    call.store = store
    return call


def names(here):
    return [run["name"] for run in json.loads(here("ls", "--json").out)["runs"]]


def is_error(outcome, code, words, hint):
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    error, way_out = outcome.err.splitlines()
    assert words in error
    assert hint in way_out


def obey(here, outcome):
    """Type the command that a hint names."""
    words = shlex.split(outcome.err.splitlines()[-1].partition("rashomon ")[2])
    return here(*words)


def test_tags_are_given_shown_and_taken_away(here):
    run = here.store.find("model")
    assert here("tag", "model", "thesis", "figure-2").out == "model has thesis, figure-2\n"
    assert here("tag", "model", "thesis", "-q").out == run.id + "\n"
    assert json.loads(here("show", "model", "--json").out)["tags"] == ["thesis", "figure-2"]
    assert "thesis, figure-2" in here("show", "model").out
    assert here("ls", "-q", "--tag", "thesis").out == run.id + "\n"
    assert json.loads(here("tag", run.id, "thesis", "--remove", "--json").out)["tags"] == ["figure-2"]
    assert here("tag", "model", "figure-2", "--remove").out == "model has no tags\n"
    assert here("reindex").out == "3 runs\n"
    assert here.store.find("model").label.tags == []
    is_error(here("tag", "model", "a b"), 2, "'a b' cannot be a tag", "for example")
    is_error(here("tag", "model", "new", "--remove"), 2, "no tag 'new'", "rashomon show model")
    is_error(here("tag", "model"), 2, "TAG", "rashomon tag --help")
    is_error(here("tag", "modle", "x"), 2, "no run 'modle'", "rashomon tag model x")


def test_runs_are_removed_and_restored(here):
    ids = {name: here.store.find(name).id for name in ("model", "pruned", "other")}
    removed = here("rm", "other")
    assert removed.out == f"{ids['other']} other is in the trash\n"
    assert "rashomon restore" in removed.err
    assert names(here) == ["model", "pruned"]
    assert here("restore", "-q").out == ids["other"] + "\n"
    assert [line.split() for line in here("restore").out.splitlines()] == [
        ["id", "name", "kind", "operation", "status"],
        [ids["other"], "other", "model", "fake", "finished"],
    ]
    assert here("restore", "other").out == f"{ids['other']} other is back\n"
    empty = here("restore")
    assert (empty.code, empty.out) == (0, "")
    assert "the trash is empty" in empty.err
    assert json.loads(here("rm", "pruned", "model", "--json").out) == {
        "removed": [{"id": ids[name], "name": name} for name in ("pruned", "model")]
    }
    assert [run["name"] for run in json.loads(here("restore", "--json").out)["trash"]] == ["model", "pruned"]
    assert here("restore", ids["model"][:-1], "-q").out == ids["model"] + "\n"
    found = json.loads(here("restore", "pruned", "--json").out)
    assert found == {"restored": [{"id": ids["pruned"], "name": "pruned"}]}
    assert names(here) == ["model", "pruned", "other"]


def test_the_hint_of_a_refused_removal_does_it(here):
    refused = here("rm", "model")
    is_error(refused, 1, "made from model: pruned", "rashomon rm model pruned")
    assert obey(here, refused).code == 0
    assert names(here) == ["other"]
    assert here("restore", "model", "pruned").code == 0
    assert here("rm", "model", "--force").code == 0
    assert names(here) == ["pruned", "other"]


def test_the_hint_of_a_refused_restoration_does_it(here, publish):
    here("rm", "other")
    publish(here.store, "other", seed=2)
    refused = here("restore", "other")
    is_error(refused, 2, "'other' is taken", "--name other-2")
    assert obey(here, refused).code == 0
    assert names(here) == ["model", "pruned", "other-2", "other"]


def test_a_run_under_way_is_not_removed(here):
    with here.store.begin("fake", {"x": 1}, name="open") as job:
        job.save("state", Result())
        is_error(here("rm", "open"), 11, "open is being carried out", "wait")
    assert here("rm", "open").code == 0


def test_wrong_names_are_explained(here):
    is_error(here("rm", "oter"), 2, "no run 'oter'", "rashomon rm other")
    is_error(here("restore", "other"), 2, "no trashed run 'other'", "rashomon restore")
    is_error(here("rm"), 2, "NAME", "rashomon rm --help")
    here("rm", "other")
    is_error(here("restore", "othr"), 2, "no trashed run 'othr'", "rashomon restore other")


def test_garbage_is_collected_after_it_was_announced(here):
    folder = here.store.find("other").folder
    size = sum(path.stat().st_size for path in folder.iterdir())
    run_id = folder.name
    assert here("gc").out == "0 bytes freed\n"
    here("rm", "other")
    would = here("gc", "--dry-run")
    assert would.out.splitlines()[1].split() == ["removed", "run", "other", f"{size:,}"]
    assert would.out.splitlines()[-1] == f"{size:,} bytes would be freed"
    assert here("gc", "--dry-run", "-q").out == run_id + "\n"
    assert json.loads(here("gc", "--json").out) == {
        "dropped": [{"what": "removed run", "name": "other", "bytes": size}],
        "bytes": size,
        "spared": [],
        "dry_run": False,
    }
    assert trashed(here.store) == []
    is_error(here("restore", "other"), 2, "no trashed run 'other'", "rashomon restore")


def test_interrupted_runs_and_the_cache_go_when_asked_for(here):
    with here.store.begin("fake", {"x": 1}, name="open") as job:
        job.save("state", Result())
    here.store.cache.save("decoded", {})
    assert here("gc").out == "0 bytes freed\n"
    assert here("gc", "--interrupted", "-q").out == job.id + "\n"
    assert "1 file" in here("gc", "--cache").out
    assert not job.folder.exists()


def test_a_sound_store_is_checked_with_code_0(here):
    with here.store.begin("fake", {"x": 1}, name="open") as job:
        job.save("state", Result())
    checked = here("check")
    assert checked.code == 0
    first, last = checked.out.splitlines()
    assert first.startswith(f"open ({job.id}): interrupted")
    assert last == "4 runs, no fault (contents not read; --read-data does)"
    assert here("check", "model").out == "1 run, no fault (contents not read; --read-data does)\n"
    assert here("check", "--read-data").out.splitlines()[-1] == "4 runs, no fault (contents read)"
    assert here("check", "-q").out == ""
    assert json.loads(here("check", "--json").out) == {
        "runs": 4,
        "findings": [],
        "interrupted": [{"id": job.id, "name": "open"}],
        "read_data": False,
    }
    is_error(here("check", "modle"), 2, "no run 'modle'", "rashomon check model")


def test_damage_is_listed_with_code_12_and_its_remedy_works(here):
    run = here.store.find("model")
    (run.folder / "label.json").write_bytes(b"{}")
    content = bytearray((run.folder / "metrics.h5").read_bytes())
    content[100] ^= 1
    (run.folder / "metrics.h5").write_bytes(content)
    checked = here("check", "--read-data")
    assert (checked.code, checked.err) == (12, "")
    assert checked.out.splitlines() == [
        f"model ({run.id}): label.json is damaged: it does not end with its SHA-256",
        f"  rashomon rename {run.id} NAME writes it anew",
        f"model ({run.id}): metrics.h5 was altered: its SHA-256 does not match run.json",
        f"  restore it from a copy, or rashomon rm {run.id} and make the run again",
        "3 runs, 2 faults (contents read)",
    ]
    assert here("check", "--read-data", "-q").out == run.id + "\n"
    found = json.loads(here("check", "--json").out)
    assert found["findings"] == [
        {
            "run": run.id,
            "name": "model",
            "file": "label.json",
            "problem": "is damaged: it does not end with its SHA-256",
            "remedy": f"rashomon rename {run.id} NAME writes it anew",
        }
    ]
    assert here("rename", run.id, "model").code == 0
    assert here("check").code == 0


def test_an_orphan_is_listed_with_the_command_that_heals_it(here):
    here("rm", "model", "--force")
    here("gc")
    checked = here("check")
    assert checked.code == 12
    remedy = checked.out.splitlines()[1].strip()
    assert remedy == f"rashomon restore {here('restore', '-q').out.strip()}"
    assert here(*remedy.split()[1:]).code == 0
    assert here("check").code == 0


def test_a_lost_marker_is_found_and_reindexing_writes_it(here):
    (here.store.root / "store.json").unlink()
    is_error(here("ls"), 12, "store.json", "rashomon reindex")
    checked = here("check")
    assert checked.code == 12
    assert "store.json" in checked.out
    assert here("reindex").code == 0
    assert here("check").code == 0


@pytest.mark.parametrize("command", ["tag", "rm", "restore", "gc", "check"])
def test_every_command_has_an_example_and_needs_a_store(rashomon, command):
    assert f"Example: rashomon {command}" in rashomon(command, "--help").out
    words = {"tag": ["a", "b"], "rm": ["a"]}.get(command, [])
    assert rashomon(command, *words).code == 10


def test_gc_says_what_it_spares_and_why(here):
    run = here.store.find("model")
    assert "that no run of the store was made from" in here("rm", "model", "--force").err
    assert here("gc").out.splitlines() == [
        f"spared: removed run model ({run.id}): pruned was made from it",
        "0 bytes freed",
    ]
    (spared,) = json.loads(here("gc", "--json").out)["spared"]
    path = str(here.store.trash_folder / run.id)
    assert spared == {"what": "removed run", "name": "model", "why": "pruned was made from it", "path": path}
    assert here("gc", "-q").out == ""


def test_a_name_for_no_run_is_refused(here):
    here("rm", "other")
    is_error(here("restore", "--name", "x"), 2, "--name is for one run", "rashomon restore")
    assert here("restore", "other", "other", "--name", "x").code == 0
    assert names(here) == ["model", "pruned", "x"]
