"""``rashomon sweep``: what is printed, and the exit code where members failed."""

import json
import shlex

import pytest

from rashomon_cli.core.errors import Diverged
from rashomon_cli.operations import train

CALL = ["sweep", "--model", "mlp(width=4)", "--data", "digits(train=200)", "--widths", "1/2,1", "--pairs", "1"]
CALL += ["--epochs", "1", "--batch-size", "50", "--bend", "0", "--points", "3", "--samples", "50"]


def test_it_prints_one_run_and_finds_it_again(rashomon):
    first = rashomon(*CALL, "--name", "mine", "--json")
    found = json.loads(first.out)
    assert (first.code, found["name"], found["kind"], found["operation"]) == (0, "mine", "measurement", "sweep")
    assert found["metrics"]["width"] == [0.5, 1]
    assert json.loads(rashomon("show", "mine", "--json").out)["argv"] == ["rashomon", *CALL, "--name", "mine", "--json"]
    assert {p["role"] for p in found["parents"]} == {
        f"{role}-1-width-{w}" for role in ("a", "b", "aligned") for w in ("0.5", "1")
    }
    assert rashomon(*CALL, "-q").out == found["id"] + "\n"
    table = rashomon(*CALL, "--name", "other")
    assert "barrier_loss_aligned_reset" in table.out
    assert "known as mine: rashomon rename mine other" in table.err
    files = rashomon("plot", "mine", "-q").out.split()
    assert files == ["mine-sweep.png", "mine-sweep.svg"]


def test_a_dry_run_makes_nothing(rashomon):
    found = json.loads(rashomon(*CALL, "--dry-run", "--json").out)
    assert len(found["runs"]) == 2 * 3 + 1
    assert found["forward_passes"] == sum(run["forward_passes"] for run in found["runs"]) > 0
    assert rashomon("ls").code == 10
    assert "7 of 7 runs are missing" in rashomon(*CALL, "--dry-run").out


@pytest.mark.parametrize(("fails", "code", "published"), [({3}, 3, True), ({1, 2, 3, 4}, 1, False)])
def test_what_failed_is_told_and_is_the_exit_code(rashomon, monkeypatch, fails, code, published):
    real = train._carry_out

    def act(context, config, *more):
        if config.seed in fails:
            raise Diverged("the loss is nan")
        return real(context, config, *more)

    monkeypatch.setattr(train, "_carry_out", act)
    call = [*CALL, "--pairs", "2", "--json"]
    found = rashomon(*call)
    assert found.code == code
    assert bool(found.out) == published
    *_, error, hint = found.err.splitlines()
    assert "mlp-digits-s" in error
    assert "the loss is nan" in error
    assert hint == f"hint: {shlex.join(['rashomon', *call])} again carries out what is missing"
