"""Damaged files, thousands of them: each is refused or loads what was in the original, and none ends the process."""

import json
import time
from pathlib import Path

import pytest

from rashomon_cli.core.errors import Damaged, Refused
from rashomon_cli.store import Store, records
from rashomon_cli.store.records import Label, Request, RunRecord

HERE = Path(__file__).parent
BRIEF = 5.0  # seconds that no damaged file may take


@pytest.fixture(scope="session")
def mutated(mutations):
    return mutations.mutated


def same(found, wanted):
    return (
        list(found) == list(wanted)
        and all(found[name].dtype == wanted[name].dtype for name in wanted)
        and all(found[name].shape == wanted[name].shape for name in wanted)
        and all(found[name].tobytes() == wanted[name].tobytes() for name in wanted)
    )


@pytest.mark.slow
def test_five_thousand_damaged_exports_are_refused_or_load_the_same(rashomon, pair, tmp_path, mutated):
    from rashomon_cli.operations import import_

    path = tmp_path / "a.safetensors"
    assert rashomon("export", "a", "--out", path).code == 0

    def load():
        found = import_._read(path)
        return {name: found.read(name).numpy().copy() for name in found.shapes}

    wanted, content = load(), path.read_bytes()
    refused = 0
    for number, damaged in enumerate(mutated(content, 5000, 1)):
        path.write_bytes(damaged)
        begun = time.perf_counter()
        try:
            found = load()
        except Refused:
            refused += 1
        else:
            assert same(found, wanted), f"mutation {number} loads something else"
        assert time.perf_counter() - begun < BRIEF
    assert refused > 4500


def test_a_damaged_export_is_refused_by_the_command(rashomon, pair, tmp_path, mutated):
    path = tmp_path / "a.safetensors"
    assert rashomon("export", "a", "--out", path).code == 0
    content = path.read_bytes()
    call = ["import", path, "--model", "mlp(width=8)", "--data", "digits(train=200)"]
    before = {run.name for run in Store.open(pair).runs()}
    for damaged in mutated(content, 40, 2):
        path.write_bytes(damaged)
        found = rashomon(*call, "--dry-run")
        if found.code:
            assert found.code == 1
            assert [line.partition(" ")[0] for line in found.err.splitlines()] == ["error:", "hint:"]
    assert {run.name for run in Store.open(pair).runs()} == before


@pytest.mark.slow
def test_every_damaged_tensor_file_of_a_run_is_found_and_never_opened(rashomon, pair, mutated, monkeypatch):
    run = Store.open(pair).find("a")
    path = run.folder / "model.safetensors"
    content = path.read_bytes()
    opened = []
    monkeypatch.setattr("safetensors.safe_open", lambda *a, **k: opened.append(a))
    for number, damaged in enumerate(mutated(content, 5000, 3)):
        path.write_bytes(damaged)
        with pytest.raises(Damaged, match=r"model\.safetensors"):
            run.tensors()
        if number % 100 == 0:
            assert finds(rashomon, "a", "model.safetensors", 12)
            assert rashomon("show", "a").code == 0, "its record is whole"
    assert opened == []
    path.write_bytes(content)
    assert rashomon("check", "--read-data").code == 0


def finds(rashomon, name, file, code, *more):
    """Whether ``check`` tells of a file of a run."""
    found = rashomon("check", "--read-data", "--json", *more)
    assert found.code == code
    text = found.out + found.err
    json.loads(found.out)
    return file in text and name in text


# In a process of its own, so that a crash of the HDF5 library is seen as one.
HDF5 = """
import json, sys
sys.path.insert(0, sys.argv[1])
import h5py
from mutations import mutated
from rashomon_cli.core.errors import Damaged
from rashomon_cli.cli.app import main
from rashomon_cli.store import Store

store = Store.open(sys.argv[2])
run = store.find("a")
path = run.folder / "metrics.h5"
content = path.read_bytes()
refused = found = 0
h5py.File = None
for number, damaged in enumerate(mutated(content, 300, 4)):
    path.write_bytes(damaged)
    try:
        run.measurements()
    except Damaged:
        refused += 1
    if number % 10 == 0:
        found += main(["check", "--read-data", "-q", "--store", sys.argv[2]]) == 12
path.write_bytes(content)
print("refused", refused, "found", found, "whole", main(["check", "--read-data", "-q", "--store", sys.argv[2]]))
"""


def test_three_hundred_damaged_hdf5_files_are_refused_before_they_are_opened(start, pair):
    process = start(HERE, pair, python=HDF5)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.splitlines()[-1] == "refused 300 found 30 whole 0", err


CHECKPOINTS = """
import sys
sys.path.insert(0, sys.argv[1])
from mutations import mutated
import numpy as np
from rashomon_cli.core.results import Result, series
from rashomon_cli.store import Store

job = Store.open(sys.argv[2], create=True).begin("fake", {"n": 1})
theta = np.arange(50.0)
job.save("state", Result({"loss": series("epoch", [1.0, 2.0])}, {"theta": theta}, {"epoch": 2}))
path = job.folder / "parts" / "state.h5"
content = path.read_bytes()
refused = 0
for damaged in mutated(content, 300, 5):
    path.write_bytes(damaged)
    found = job.part("state")
    refused += found is None
    assert found is None or (found.tensors["theta"].tobytes() == theta.tobytes() and found.metrics == {"epoch": 2})
path.write_bytes(content)
assert job.part("state").metrics == {"epoch": 2}
print("refused", refused)
"""


def test_three_hundred_damaged_checkpoints_count_as_absent(start, store):
    process = start(HERE, store.root, python=CHECKPOINTS)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out == "refused 300\n"


@pytest.mark.parametrize(
    ("file", "model"), [("label.json", Label), ("request.json", Request), ("run.json", RunRecord)], ids=lambda x: str(x)
)
def test_every_flipped_bit_of_a_record_is_damage(pair, file, model):
    path = Store.open(pair).find("a").folder / file
    content = path.read_bytes()
    kept = []
    for at in range(len(content)):
        for bit in range(8):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
            try:
                records.read(path, model)
            except Damaged:
                continue
            kept.append((at, bit))
    assert kept == []


@pytest.mark.slow
@pytest.mark.parametrize("file", ["label.json", "request.json", "run.json", "model.safetensors", "metrics.h5"])
def test_check_finds_every_flipped_bit(rashomon, pair, file):
    """All bits of small files would take minutes: every 8th bit of each 97 th byte or so, and the ends."""
    path = Store.open(pair).find("a").folder / file
    content = path.read_bytes()
    step = max(len(content) // 24, 1)
    for number, at in enumerate(sorted({*range(0, len(content), step), len(content) - 1})):
        bit = 1 << number % 8
        path.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
        assert finds(rashomon, path.parent.name, file, 12), f"bit {bit} of byte {at}"
    path.write_bytes(content)
    assert rashomon("check", "--read-data").code == 0


def test_damaged_records_end_no_command(rashomon, pair, mutated):
    """Whatever lies in run.json: every command says something sensible and ends with a documented code."""
    path = Store.open(pair).find("a").folder / "run.json"
    content = path.read_bytes()
    for damaged in mutated(content, 30, 6):
        path.write_bytes(damaged)
        for call in (["ls"], ["ls", "--json"], ["show", "b"], ["reindex"]):
            found = rashomon(*call)
            assert found.code == 0, f"{call} {found}"
        found = rashomon("show", "a")
        assert found.code in (2, 12), found
        assert rashomon("check").code == 12
        assert "Traceback" not in found.err
    path.write_bytes(content)
    assert rashomon("reindex").code == 0
    assert rashomon("show", "a").code == 0
    assert isinstance(Store.open(pair).find("a").metrics["test_accuracy"], float)
