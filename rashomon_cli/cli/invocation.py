"""The command line that is carried out, for the record of a run and for hints that repeat it."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

_GIVEN: ContextVar[tuple[str, ...]] = ContextVar("given", default=())


def begin(arguments: Sequence[str]) -> None:
    """Remember what stands behind ``rashomon``."""
    _GIVEN.set(tuple(arguments))


def command_line() -> list[str]:
    """The words of the command line, ``rashomon`` first."""
    return ["rashomon", *_GIVEN.get()]
