"""The shells know the commands and the names of runs."""

import pytest

from rashomon_cli.store import trash


@pytest.fixture
def complete(start, store, publish):
    for name in ("alpha", "also", "beta"):
        publish(store, name)

    def ask(shell, line, **environment):
        words = line.split()
        typed = line if line.endswith(" ") else " ".join(words[:-1]) + " "
        asked = {
            "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(typed.split()))},
            "zsh": {"_TYPER_COMPLETE_ARGS": line},
            "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
        }[shell]
        process = start(**{"_RASHOMON_COMPLETE": f"complete_{shell}"} | asked | environment)
        out, err = process.communicate()
        assert err == ""
        return out

    return ask


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_names_of_runs_are_offered(complete, shell, store):
    out = complete(shell, f"rashomon show --store {store.root} al")
    assert "alpha" in out
    assert "also" in out
    assert "beta" not in out


def test_commands_and_options_are_offered(complete):
    assert set(complete("bash", "rashomon re").split()) == {"rename", "restore", "reindex"}
    assert "--within" in complete("bash", "rashomon ls --w")


def test_restore_is_offered_what_is_in_the_trash(complete, store):
    trash.remove(store, ["also"])
    assert complete("bash", f"rashomon restore --store {store.root} al").split() == ["also"]
    assert complete("bash", f"rashomon show --store {store.root} al").split() == ["alpha"]
    assert complete("bash", f"rashomon tag --store {store.root} alpha al").strip() == ""


def test_where_there_is_no_store_nothing_is_offered(complete):
    assert complete("bash", "rashomon connect --store nowhere al").strip() == ""
