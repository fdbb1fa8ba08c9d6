"""Errors and notes on stderr: one line of what is wrong, and one with a command that is valid."""

from __future__ import annotations

import itertools
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
        The hint with the corrected command, or with the one that shows the help; as it is where it names one, with
        the store that the command line names.
    """
    if fix is not None and (better := corrected(given, *fix)) is not None:
        return f"{hint + ' ' if hint else ''}{better}"
    if hint is None:
        return None
    if re.search(r"\brashomon [a-z]", hint):
        return _in_store(hint, given)
    command = next((word for word in given if word in commands), None)
    return f"{hint} (rashomon {command} --help)" if command else hint


def corrected(given: Sequence[str], wrong: str, right: str) -> str | None:
    """The command line with a word put right.

    Args:
        given: the command line.
        wrong: the word; an argument of its own, or else a part of one.
        right: what is to stand there.

    Returns:
        What can be typed, or None where the command line does not have that word.
    """
    word = re.compile(rf"(?<![\w.@-]){re.escape(wrong)}(?![\w.@-])")
    # The command comes first and is right where the word stands behind it, too; the store is no place for names.
    places = [i for i, before in enumerate(["", *given[:-1]]) if before != "--store"]
    places = sorted(places, key=lambda i: (given[i] != wrong, i == 0))
    for place in places:
        better = word.sub(lambda _: right, given[place], count=1)
        if better != given[place]:
            return shlex.join(["rashomon", *given[:place], better, *given[place + 1 :]])
    return None


def _in_store(hint: str, given: Sequence[str]) -> str:
    """The commands of a hint with the ``--store`` of the command line."""
    store = next((following for word, following in itertools.pairwise(given) if word == "--store"), None)
    store = store or next((word.partition("=")[2] for word in given if word.startswith("--store=")), None)
    if store is None or "--store" in hint:
        return hint
    if re.fullmatch(r"rashomon ([\w.=@/<>'-]|,(?! )| )+", hint):
        return f"{hint} --store {shlex.quote(store)}"
    return re.sub(r"\brashomon ([a-z]+)", lambda found: f"{found[0]} --store {shlex.quote(store)}", hint)


def _flat(text: str) -> str:
    return " ".join(text.split())
