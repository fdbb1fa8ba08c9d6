"""What a user sees of the command line, whatever the command: exit codes, streams, hints, signals."""

import json
import re
import signal
import subprocess

import pytest

TRAIN = ["train", "--model", "mlp(width=8)", "--data", "digits(train=200)", "--epochs", "1", "--batch-size", "50"]


def is_error(outcome, code, words, hint):
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    lines = outcome.err.splitlines()
    assert len(lines) == 2, outcome.err
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert lines[1].startswith("hint: ")
    assert hint in lines[1]


@pytest.mark.parametrize(
    ("arguments", "code", "words", "hint"),
    [
        (["trian", "--seed", "1"], 2, "No such command 'trian'", "rashomon train --seed 1"),
        (["xyz"], 2, "No such command 'xyz'", "rashomon --help"),
        (["ls", "--bogus"], 2, "--bogus", "rashomon ls --help"),
        (["show"], 2, "NAME", "rashomon show --help"),
        (["train", "--seed", "x"], 2, "--seed", "rashomon train --help"),
        (["train", "--seed", "-1"], 2, "--seed = -1", "Seed"),
        (["train", "--momentum", "1"], 2, "--momentum = 1:", "momentum"),
        (["train", "--lr", "nan"], 2, "--lr = nan", "learning rate"),
        (["train", "--epochs", "0"], 2, "--epochs = 0", "Passes"),
        (["train", "--schedule", "cosine"], 2, "cosine", "rashomon train --help"),
        (["train", "--device", "tpu"], 2, "--device = 'tpu'", "cuda:N"),
        (["train", "--model", "preresnet21"], 2, "no model 'preresnet21'", "preresnet20"),
        (["train", "--model", "mlp(width=", "--data", "digits"], 2, "cannot read", "preresnet20(width=32)"),
        (["train", "--model", "mlp(__import__('os'))", "--data", "digits"], 2, "cannot read", "preresnet20(width=32)"),
        (["train", "--model", "nowhere.py:net"], 2, "no file nowhere.py", "factory"),
        (["train", "--model", "mlp", "--data", "digit"], 2, "no data set 'digit'", "did you mean digits?"),
        (["train", "--model", "mlp", "--data", "npz:nowhere.npz"], 2, "no file nowhere.npz", "numpy.savez"),
        (["train", "--model", "mlp", "--data", "folder:nowhere"], 2, "no images", "PATH/train/CLASS"),
        ([*TRAIN, "--loss", "cros-entropy"], 2, "no loss", "did you mean cross-entropy?"),
        ([*TRAIN, "--name", "a b"], 2, "'a b' cannot be a name", "for example"),
        ([*TRAIN, "--init", "nobody"], 2, "no run 'nobody'", "rashomon ls"),
        (["ls", "--store", "nowhere"], 10, "no store at nowhere", "rashomon train --seed 1"),
        (["show", "a", "--store", "nowhere"], 10, "no store at nowhere", "--store"),
    ],
)
def test_a_wrong_call_is_one_line_one_hint_and_a_code(rashomon, arguments, code, words, hint):
    is_error(rashomon(*arguments), code, words, hint)


@pytest.fixture
def inhabited(trained, publish):
    path = publish(trained, "ab", kind="path", parents=[(trained.find("tiny"), "start", None)])
    publish(
        trained, "flat", kind="measurement", parents=[(path, "of", 0.5)], metrics={"trace": 3.0, "worst": float("nan")}
    )
    return trained


@pytest.mark.parametrize(
    ("arguments", "code", "words", "hint"),
    [
        (["show", "tinny"], 2, "no run 'tinny'", "did you mean tiny?"),
        (["show", "zzz"], 2, "no run 'zzz'", "rashomon ls"),
        (["rename", "tiny", "ab"], 2, "'ab' is taken", "rashomon show ab"),
        (["rename", "tiny", "a/b"], 2, "cannot be a name", "for example"),
        (["rename", "tiny"], 2, "NEW", "rashomon rename --help"),
        ([*TRAIN, "--name", "tiny"], 2, "'tiny' is taken", "--name"),
        ([*TRAIN, "--init", "flat"], 2, "flat is a measurement", "rashomon ls"),
        ([*TRAIN, "--init", "tiny@0.5"], 2, "no position @0.5", "tiny"),
        ([*TRAIN, "--init", "ab@1.5"], 2, "outside [0, 1]", "ab@0.5"),
    ],
)
def test_a_wrong_name_is_explained(rashomon, inhabited, arguments, code, words, hint):
    is_error(rashomon(*arguments, "--store", inhabited.root), code, words, hint)


def test_damage_is_named_with_code_12(rashomon, inhabited):
    path = inhabited.find("tiny").folder / "run.json"
    path.write_bytes(path.read_bytes()[:99])
    is_error(rashomon("show", "tiny", "--store", inhabited.root), 12, "run.json", "restore")
    assert rashomon("reindex", "--store", inhabited.root).out == "3 runs\n"
    shown = rashomon("ls", "--json", "--store", inhabited.root)
    assert [run["name"] for run in json.loads(shown.out)["runs"]] == ["ab", "flat"]
    assert "note: damaged" in shown.err


def test_a_busy_request_has_code_11(rashomon, trained, tiny_config, start):
    code = """
import sys, time
from rashomon_cli.store import Store
job = Store.open(sys.argv[1]).begin("train", {**eval(sys.argv[2]), "seed": 5}, fingerprints={"data": sys.argv[3]})
print(flush=True)
time.sleep(60)
"""
    from rashomon_cli.sources import data

    start(trained.root, tiny_config.record(), data.resolve(tiny_config.data).fingerprint, python=code).stdout.readline()
    call = [*TRAIN, "--epochs", 2, "--precision", "float32", "--seed", 5, "--store", trained.root]
    is_error(rashomon(*call), 11, "being carried out by another process", "wait")


def test_a_fault_of_ours_shows_its_traceback_only_on_demand(rashomon, inhabited, monkeypatch):
    def fail(*_):
        raise KeyError("oops\nand more")

    monkeypatch.setattr("rashomon_cli.cli.ls.ls", fail)
    is_error(rashomon("ls", "--store", inhabited.root), 1, "KeyError", "--debug")
    assert "Traceback" in rashomon("ls", "--debug", "--store", inhabited.root).err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), 1, "out of memory"),
        (OSError(28, "No space left on device", "x.h5"), 1, "no space left while writing x.h5"),
    ],
)
def test_a_machine_at_its_limits_is_explained(rashomon, inhabited, monkeypatch, error, code, words):
    def fail(*_):
        raise error

    monkeypatch.setattr("rashomon_cli.cli.ls.ls", fail)
    is_error(rashomon("ls", "--store", inhabited.root), code, words, "")


def test_training_prints_one_object_an_id_or_a_table(rashomon):
    call = [*TRAIN, "--name", "mine"]
    first = rashomon(*call, "--json")
    found = json.loads(first.out)
    assert (first.code, first.err) == (0, "")
    assert first.out.count("\n") == 1
    assert set(found) == {"id", "name", "kind", "operation", "parents", "metrics", "files"}
    assert (found["name"], found["kind"], found["operation"], found["parents"]) == ("mine", "model", "train", [])
    assert 0 <= found["metrics"]["test_accuracy"] <= 1
    assert set(found["files"]) == {"model.safetensors", "metrics.h5"}
    assert rashomon(*call, "-q").out == found["id"] + "\n"
    table = rashomon(*call)
    assert (table.code, table.err) == (0, "")
    assert "mine  (model, " in table.out
    assert "test_accuracy" in table.out
    later = json.loads(rashomon(*TRAIN, "--init", "mine", "--json").out)
    assert later["parents"] == [{"id": found["id"], "name": "mine", "role": "init"}]


def test_a_dry_run_prints_its_steps_and_makes_nothing(rashomon):
    plan = json.loads(rashomon(*TRAIN, "--dry-run", "--json").out)
    assert plan["forward_passes"] == sum(plan["steps"].values()) == 200 + 560 + 560
    assert "1,320" in rashomon(*TRAIN, "--dry-run").out
    assert plan["seconds"] > 0
    assert plan["runs"] == [
        {"name": "mlp-digits-s0", "status": "missing", "forward_passes": 1320, "seconds": plan["seconds"]}
    ]
    assert rashomon("ls", "--json").code == 10  # not even the store was made


def test_no_number_is_null_in_json(rashomon, inhabited):
    found = json.loads(rashomon("show", "flat", "--json", "--store", inhabited.root).out)
    assert found["metrics"] == {"trace": 3.0, "worst": None}


def test_help_and_version(rashomon):
    shown = rashomon("--help")
    assert shown.code == 0
    assert all(name in shown.out for name in ("train", "ls", "show", "rename", "reindex"))
    assert "Example: rashomon train" in rashomon("train", "--help").out
    assert rashomon("--version").out.strip()
    assert rashomon().code == 2


NO_TORCH = """
import sys, time
begun = time.perf_counter()
from rashomon_cli.cli.app import main
code = main(sys.argv[1:])
heavy = [name for name in ("torch", "torchvision", "sklearn", "matplotlib", "scipy") if name in sys.modules]
print(code, heavy, round(time.perf_counter() - begun, 2), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["ls"], ["ls", "--json"], ["show", "tiny", "--lineage"], ["rename", "tiny", "t"], ["reindex"]],
    ids=" ".join,
)
def test_commands_on_the_store_import_no_torch(start, inhabited, arguments, record_property):
    store = [] if arguments == ["--help"] else ["--store", inhabited.root]
    _, err = start(*arguments, *store, python=NO_TORCH).communicate()
    assert err.startswith("0 [] "), err
    record_property("seconds", float(err.split()[-1]))


def test_what_can_be_refused_early_is_refused_before_torch(start):
    _, err = start("train", "--model", "preresnet21", python=NO_TORCH).communicate()
    assert err.splitlines()[-1].startswith("2 [] "), err


def test_no_bar_and_no_colour_in_a_pipe(start, inhabited):
    process = start("ls", "--store", inhabited.root, NO_COLOR="1", COLUMNS="40")
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "\x1b" not in out
    assert all(len(line.split()) >= 5 for line in out.splitlines())


def test_no_colour_on_a_terminal_that_asks_for_none(rashomon, inhabited, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    out = rashomon("show", "tiny", "--lineage", "--store", inhabited.root).out
    assert "tiny" in out
    assert not re.search(r"\x1b\[[349]", out)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["ls", "--json"], ["ls"]], ids=" ".join)
def test_a_closed_pipe_ends_quietly_with_141(start, inhabited, arguments, unbuffered):
    process = start(*arguments, "--store", inhabited.root, PYTHONUNBUFFERED=unbuffered)
    process.stdout.close()
    process.wait()
    assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_the_same_command_resumes(start, tmp_path):
    call = [*TRAIN[:-3], "80", "--batch-size", "10", "--lr", "0.01", "--json"]
    process = start(*call)
    parts = tmp_path / "rashomon-store" / "runs"
    while process.poll() is None and not list(parts.glob("*/parts/state.h5")):
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    line, hint = err.splitlines()
    assert line == "error: interrupted"
    assert hint.startswith("hint: the same command resumes: rashomon train --model 'mlp(width=8)'")
    (run_id,) = (path.name for path in parts.iterdir())
    again = start(*call)
    out, err = again.communicate()
    assert again.returncode == 0
    assert json.loads(out)["id"] == run_id
    assert "note: resumed mlp-digits-s0 after epoch" in err


DROPS_CTRL_C = """
import signal

import torch


class Dying:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def network():
    Dying()
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
"""


def test_a_ctrl_c_that_falls_into_a_finaliser_is_not_lost(start, tmp_path):
    (tmp_path / "dying.py").write_text(DROPS_CTRL_C)
    process = start("train", "--model", "dying.py:network", "--data", "digits(train=200)", "--epochs", "2000")
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert [line.split(":")[0] for line in err.splitlines()] == ["error", "hint"], err
