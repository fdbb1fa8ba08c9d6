"""``show --symmetries``: a table for a person, one object for a program."""

from __future__ import annotations

import json

import pytest

from rashomon_cli.cli import console


def test_the_table(rashomon, trained):
    found = rashomon("show", "tiny", "--symmetries", "--store", trained.root)
    assert (found.code, found.err) == (0, "")
    heads, *rows = found.out.splitlines()
    assert heads.split() == ["group", "number", "what", "rescalings"]
    assert [row.split()[1:] for row in rows[:2]] == [["8", "units", "8"]] * 2
    assert "10^9.2" in found.out
    assert "continuous dimensions  16" in found.out
    assert "not counted" in found.out


@pytest.mark.parametrize("width", [40, 80])
def test_it_fits_a_terminal(width, rashomon, trained, monkeypatch):
    monkeypatch.setattr(console, "room", lambda: width)
    found = rashomon("show", "tiny", "--symmetries", "--store", trained.root)
    assert found.code == 0
    assert max(map(len, found.out.splitlines())) <= width


def test_the_lineage_and_the_table(rashomon, trained):
    words = ("show", "tiny", "--store", trained.root)
    lineage, table = (rashomon(*words, flag).out for flag in ("--lineage", "--symmetries"))
    assert rashomon(*words, "--symmetries", "--lineage").out == f"{lineage}\n{table}"


def test_what_is_not_counted_is_named(rashomon, trained):
    out = " ".join(rashomon("show", "tiny", "--symmetries", "--store", trained.root).out.split())
    assert "units within attention without softmax" in out
    assert "normalised or rotated queries and keys" in out
    assert "a factor common to all that a normalisation reads" in out


def test_the_object(rashomon, trained):
    found = rashomon("show", "tiny", "--symmetries", "--json", "--store", trained.root)
    document = json.loads(found.out)
    assert document["name"] == "tiny"
    assert set(document["symmetries"]) == {
        "groups",
        "log10_permutations",
        "rescalings",
        "absorbed",
        "qk_dimensions",
        "ov_dimensions",
        "continuous_dimensions",
        "not_counted",
    }
    assert [group["size"] for group in document["symmetries"]["groups"]] == [8, 8]
    assert set(document["symmetries"]["groups"][0]) == {"name", "what", "size", "parts", "rescalings"}
    assert "symmetries" not in json.loads(rashomon("show", "tiny", "--json", "--store", trained.root).out)
