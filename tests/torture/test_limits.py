"""Where the machine says no: full disks, stores that cannot be written, closed pipes, narrow and ASCII terminals."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rashomon_cli.cli.app import COMMANDS
from rashomon_cli.store import Job, Store

TRAIN = [
    "train",
    "--model",
    "mlp(width=8)",
    "--data",
    "digits(train=200)",
    "--batch-size",
    50,
    "--precision",
    "float32",
]
TRAIN += ["--epochs", 2, "--seed", 7]


def is_explained(code, err, *words):
    """One line of what is wrong, one of what to do."""
    assert code == 1, err
    lines = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert [line.partition(" ")[0] for line in lines] == ["error:", "hint:"], err
    assert all(word in lines[0] for word in words), err


LIMITED = """
import json, resource, signal, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from rashomon_cli.cli.app import main

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in map(int, sys.argv[1].split(",")):
    out, err = StringIO(), StringIO()
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit or resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with redirect_stdout(out), redirect_stderr(err):
        code = main(sys.argv[2:])
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with redirect_stdout(StringIO()) as found, redirect_stderr(found):
        checked = main(["check", "--read-data", "--json"])
    print(json.dumps([limit, code, out.getvalue(), err.getvalue(), checked, found.getvalue()]))
"""


def test_no_file_may_grow(start, pair, fingerprints, sums):
    """The kernel ends every file at a size, that of the catalog too; with 0 there is no limit any more."""
    earlier = fingerprints(pair)
    limits = [1, 100, 1000, 3000, 6000, 10_000, 20_000, 40_000, 0]
    process = start(",".join(map(str, limits)), *TRAIN, "-q", python=LIMITED)
    out, err = process.communicate()
    assert process.returncode == 0, err
    ends = [json.loads(line) for line in out.splitlines()]
    assert [end[0] for end in ends] == limits
    assert sum(end[1] for end in ends) >= 4, "the limits are too wide to test anything"
    for limit, code, text, errors, checked, found in ends:
        assert checked == 0, f"{limit}: {found}"
        if code:
            assert text == ""
            is_explained(code, errors, "no space left")
        else:
            assert text.strip() in {path.name for path in (pair / "runs").iterdir()}
    assert ends[-1][1] == 0
    now = fingerprints(pair)
    assert earlier.items() <= now.items()
    (new,) = set(now) - set(earlier)
    assert sorted(sums(pair, new)) == ["metrics.h5", "model.safetensors"]


@pytest.fixture
def small_disk(tmp_path):
    """small_disk(KiB): a folder on a file system of its own, of that size; a second call changes it."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def act(size):
        remount = ",remount" if os.path.ismount(folder) else ""
        call = ["mount", "-t", "tmpfs", "-o", f"size={size}k{remount}", "tmpfs", str(folder)]
        if subprocess.run(call, capture_output=True, check=False).returncode != 0:
            pytest.skip("no file system can be mounted here")
        return folder

    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a file system")
    yield act
    subprocess.run(["umount", "--lazy", str(folder)], check=False)


def test_too_small_a_disk_is_refused_before_the_first_step(rashomon, small_disk):
    store = small_disk(600) / "store"
    found = rashomon(*TRAIN, "--store", store)
    is_explained(found.code, found.err, "MiB of disk")
    assert list(store.glob("runs/*")) == []


def test_a_disk_that_fills_up_under_way(rashomon, small_disk, monkeypatch):
    reference = json.loads(rashomon(*TRAIN, "--json").out)["metrics"]
    monkeypatch.setattr(Job, "require", lambda *_: None)  # as if the space went after it was looked at
    refusals = 0
    for size in (8, 24, 48, 72, 96, 128, 192, 256, 512, 1024, 4096):
        store = small_disk(size) / "store"
        found = rashomon(*TRAIN, "--json", "--store", store)
        if (store / "store.json").exists():
            checked = rashomon("check", "--read-data", "--store", store)
            assert checked.code == 0, f"{size} KiB, {found}, {checked}"
        if found.code == 0:
            break
        refusals += 1
        is_explained(found.code, found.err, "no space left")
    assert refusals >= 3
    assert json.loads(found.out)["metrics"] == reference
    assert len(list(store.glob("runs/*"))) == 1


# Root may write everywhere, unless it lays these two capabilities down and starts anew.
AS_ANYBODY = """
import ctypes, os, sys
for capability in (1, 2):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
"""
CALLS = """
import json, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from rashomon_cli.cli.app import main

for arguments in json.loads(sys.argv[1]):
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


@pytest.fixture
def read_only(pair):
    """A store that nobody may write."""
    subprocess.run(["chmod", "-R", "a-w", str(pair)], check=True)
    yield pair
    subprocess.run(["chmod", "-R", "u+w", str(pair)], check=True)


@pytest.mark.parametrize("catalog", ["catalog", "no catalog"])
def test_a_store_that_cannot_be_written_is_read_and_says_why_it_takes_nothing(start, read_only, digest, catalog):
    if catalog == "no catalog":
        for path in read_only.glob("catalog.db*"):
            subprocess.run(["chmod", "u+w", str(read_only)], check=True)
            path.unlink()
            subprocess.run(["chmod", "a-w", str(read_only)], check=True)
    before = digest(read_only)
    calls = [["ls", "--json"], ["ls"], ["show", "a"], ["show", "b", "--lineage"], ["check", "--read-data"]]
    refused = [["rename", "a", "c"], ["rm", "b"], ["gc"], [*map(str, TRAIN)]]
    calls = [[*call, "--store", str(read_only)] for call in (*calls, *refused)]
    process = start(CALLS, json.dumps(calls), python=AS_ANYBODY)
    out, err = process.communicate()
    assert process.returncode == 0, err
    ends = [json.loads(line) for line in out.splitlines()]
    assert [code for code, _, _ in ends] == [0] * 5 + [1] * 2 + [ends[7][0], 1], ends
    assert [run["name"] for run in json.loads(ends[0][1])["runs"]] == ["a", "b"]
    assert all("test_accuracy" in text for _, text, _ in ends[1:3])
    for code, text, errors in (*ends[5:7], ends[8]):
        assert text == ""
        is_explained(code, errors, "ermission denied", str(read_only))
    assert digest(read_only) == before


@pytest.mark.parametrize("arguments", [["show", "a"], ["show", "a", "--json"], ["show", "a", "--lineage"], ["check"]])
def test_a_closed_pipe_ends_quietly_with_141(start, pair, arguments):
    process = start(*arguments)
    process.stdout.close()
    process.wait()
    assert (process.returncode, process.stderr.read()) == (141, "")


@pytest.mark.slow
def test_a_training_whose_reader_went_away_is_a_run_all_the_same(start, rashomon, pair):
    process = start(*TRAIN, "--name", "late")
    process.stdout.close()
    process.wait()
    assert (process.returncode, process.stderr.read()) == (141, "")
    assert json.loads(rashomon("show", "late", "--json").out)["name"] == "late"


HEADS = {"name", "file", "step"}  # of first columns: where rows become blocks of lines, they go without saying
LINES = [["ls"], ["show", "a"], ["show", "a", "--lineage"], ["check"], TRAIN, ["train", "--help"], ["--help"]]


def squeezed(text):
    """The text without spaces, line ends and frames."""
    return re.sub(r"[\s│╭╮╰╯─]", "", text)


@pytest.mark.parametrize("columns", [20, 40])
@pytest.mark.parametrize("arguments", LINES, ids=lambda a: " ".join(map(str, a[:3])))
def test_nothing_is_lost_on_a_narrow_terminal(rashomon, pair, monkeypatch, arguments, columns):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "1000")
    wide = rashomon(*arguments)
    monkeypatch.setenv("COLUMNS", str(columns))
    narrow = rashomon(*arguments)
    assert (wide.code, narrow.code) == (0, 0)
    assert "Traceback" not in narrow.err
    before, found = (re.sub(r"\x1b\[[0-9;]*m", "", outcome.out) for outcome in (wide, narrow))
    if arguments == ["--help"]:  # of the commands' descriptions the first words are enough
        words = [*COMMANDS, *re.findall(r"--[a-z-]+", before)]
    else:
        words = [word for word in before.split() if squeezed(word) and word != "<bool>"]  # the frame's word for a flag
    assert len(words) > 3
    lost = [word for word in words if squeezed(word) not in squeezed(found)]
    assert [word for word in lost if word not in HEADS] == []


ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
AS_ASCII = """
import sys
from rashomon_cli.cli.app import main
import json
before = sys.stdout.encoding.lower()
codes = []
for arguments in json.loads(sys.argv[1]):
    codes.append(main(arguments))
    print("=" * 20, flush=True)
assert "ascii" in before or "ansi" in before, before
print(json.dumps(codes))
"""


@pytest.mark.parametrize("errors", ["", "ascii:strict"])
def test_a_terminal_without_unicode_gets_ascii(start, rashomon, pair, publish, errors):
    store = Store.open(pair)
    parent = store.find("a")
    spread = {"loss": 0.5, "loss_stderr": 0.25, "worst": float("nan"), "t": [0.0, 1.0], "curve": [1.5, None]}
    publish(store, "odd", kind="measurement", parents=[(parent, "of", None)], metrics=spread, text="naïve λ → “x” 🦆")
    calls = [[*map(str, TRAIN)], ["ls"], ["ls", "--json"], ["show", "odd"], ["show", "odd", "--json"]]
    calls += [["show", "a", "--lineage"], ["check"], ["train", "--help"], ["--help"]]
    calls += [["show", "ödd"], ["train", "--model", "λ"]]
    wide = [rashomon(*call) for call in calls]
    extra = {"PYTHONIOENCODING": errors} if errors else {}
    process = start(json.dumps(calls), python=AS_ASCII, **ASCII, **extra)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.isascii()
    assert err.isascii()
    assert "UnicodeEncodeError" not in err
    *texts, codes = out.split("=" * 20 + "\n")
    assert json.loads(codes) == [0] * 9 + [2] * 2 == [outcome.code for outcome in wide]
    for at in (2, 4):
        assert json.loads(texts[at]) == json.loads(wide[at].out)
    assert "0.5 +- 0.2" in texts[3]
    assert re.search(r"worst +-\n", texts[3])
    assert "-> a" in texts[5]
    assert "--weight-decay" in texts[7]
    assert "no run" in err
    assert "no model" in err


def test_paths_of_other_encodings_are_shown(start, tmp_path, pair):
    """A store in a folder whose name is no UTF-8."""
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    shutil.copytree(pair, os.fsdecode(folder + b"/store"))
    environment = {key: value for key, value in os.environ.items() if key != "RASHOMON_STORE"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    for arguments in (["show", "a"], ["show", "a", "--json"], ["ls", "--store", "nowhere"]):
        call = [sys.executable, "-m", "rashomon_cli", *arguments]
        if "--store" not in arguments:
            call += ["--store", folder + b"/store"]
        found = subprocess.run(call, cwd=folder, capture_output=True, env=environment, check=False)
        assert found.returncode == (10 if "nowhere" in arguments else 0), found.stderr
        assert b"Traceback" not in found.stderr
        if "--json" in arguments:
            (path,) = [p for name, p in json.loads(found.stdout)["files"].items() if name == "model.safetensors"]
            assert (
                os.fsencode(path)
                == folder + b"/store" + path.encode("utf-8", "surrogateescape").rpartition(b"/store")[2]
            )
            assert os.path.exists(path)
