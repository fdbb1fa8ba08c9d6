"""A hint ends in a command that can be typed."""

import pytest

from rashomon_cli.cli.hints import with_command

COMMANDS = {"train", "show", "ls"}


@pytest.mark.parametrize(
    ("hint", "fix", "given", "expected"),
    [
        ("rashomon ls", None, ["show", "x"], "rashomon ls"),
        (None, None, ["show", "x"], None),
        ("give a number", None, ["train", "--lr", "x"], "give a number (rashomon train --help)"),
        ("did you mean tiny?", ("tinny", "tiny"), ["show", "tinny"], "did you mean tiny? rashomon show tiny"),
        (
            "did you mean width?",
            ("widht", "width"),
            ["train", "--model", "mlp(widht=8)"],
            "did you mean width? rashomon train --model 'mlp(width=8)'",
        ),
        ("did you mean a?", ("b", "a"), ["show", "bb"], "did you mean a? (rashomon show --help)"),
        ("did you mean a-2?", ("a", "a-2"), ["show", "a-b", "a"], "did you mean a-2? rashomon show a-b a-2"),
        ("", ("x", "y"), ["show", "x"], "rashomon show y"),
        ("", ("tag", "tags"), ["tag", "tag", "x"], "rashomon tag tags x"),
        ("", ("lss", "ls"), ["lss", "--json"], "rashomon ls --json"),
        ("", ("b.1", "b.2"), ["show", "--store", "b.1", "b.1"], "rashomon show --store b.1 b.2"),
        (
            "rashomon rm a b, or --force",
            None,
            ["rm", "a", "--store", "my runs"],
            "rashomon rm --store 'my runs' a b, or --force",
        ),
        ("rashomon ls", None, ["show", "x", "--store=s"], "rashomon ls --store s"),
    ],
)
def test_a_hint_with_its_command(hint, fix, given, expected):
    assert with_command(hint, fix, given, COMMANDS) == expected
