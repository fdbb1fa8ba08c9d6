"""Errors and notes on stderr: one line of what is wrong, and one with a command that is valid."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Container, Sequence


def show_error(message: str, hint: str | None) -> None:
    """One line of what is wrong, one of what to do."""
    print(f"error: {_flat(message)}", file=sys.stderr)
    if hint:
        print(f"hint: {_flat(hint)}", file=sys.stderr)


def show_note(text: str) -> None:
    """A line on stderr that is no error."""
    print(f"note: {_flat(text)}", file=sys.stderr)


def with_command(
    hint: str | None, fix: tuple[str, str] | None, given: Sequence[str], commands: Container[str]
) -> str | None:
    """A hint that ends in a command which can be typed.

    Args:
        hint: what to do; may hold a command already.
        fix: a wrong word of the command line, and the one that was probably meant.
        given: the command line.
        commands: names of commands.

    Returns:
        The hint with the corrected command, or with the one that shows the help; as it is where it names one.
    """
    if fix is not None and (better := corrected(given, *fix)) is not None:
        return f"{hint + ' ' if hint else ''}{better}"
    if hint is None or re.search(r"\brashomon [a-z]", hint):
        return hint
    command = next((word for word in given if word in commands), None)
    return f"{hint} (rashomon {command} --help)" if command else hint


def corrected(given: Sequence[str], wrong: str, right: str) -> str | None:
    """The command line with a word put right.

    Args:
        given: the command line.
        wrong: the word.
        right: what is to stand there.

    Returns:
        What can be typed, or None where the command line does not have that word.
    """
    word = re.compile(rf"(?<![\w.@-]){re.escape(wrong)}(?![\w.@-])")
    better = [word.sub(lambda _: right, text, count=1) for text in given]
    return None if better == list(given) else shlex.join(["rashomon", *better])


def _flat(text: str) -> str:
    return " ".join(text.split())
