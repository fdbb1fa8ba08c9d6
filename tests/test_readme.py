"""The README's commands do what it says."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(marker):
    return re.findall(re.escape(marker) + r"\n```\w+\n(.*?)```", README, re.DOTALL)


@pytest.mark.slow
def test_the_commands_run_one_after_the_other(tmp_path):
    lines = "".join(blocks("<!-- run by tests/test_readme.py -->")).splitlines()
    commands = [shlex.split(line, comments=True) for line in lines]
    assert len(commands) >= 30
    for command in commands:
        assert command[0] == "rashomon"
        done = subprocess.run(
            [sys.executable, "-m", "rashomon_cli", *command[1:]], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert done.stdout.strip()
    assert list(tmp_path.glob("bridge-profile.png"))
    assert list(tmp_path.glob("exported/a.json"))


@pytest.mark.slow
def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(code.replace("seed=seed", "seed=seed, epochs=1").replace("bend=1", "bend=1, epochs=1"), found)
    assert "train_loss" in capsys.readouterr().out
    assert not found["middle"].training


def test_exit_codes_are_those_of_the_errors():
    from rashomon_cli.core import errors

    table = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    found = {e.code for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.RashomonError)}
    assert found <= table


def test_every_command_is_in_the_readme():
    from rashomon_cli.cli.app import COMMANDS

    for name in COMMANDS:
        assert f"`{name}" in README


def test_make_targets_named_in_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([\w-]+)|`make ([\w-]+)`", README, re.MULTILINE):
        assert f"\n{''.join(target)}:" in makefile
