"""Errors that a user sees: one line of what is wrong, one line of what to do, one exit code.

The exit codes are part of the command line's contract (see the table in README.md).
"""

from __future__ import annotations


class RashomonError(Exception):
    """Base of every error that is shown without a traceback.

    Args:
        message: one line that names what is wrong and the offending value.
        hint: one line with a command or value that is valid; shown after ``hint:``.
    """

    code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(RashomonError):
    """A name or value that does not exist or does not fit (exit 2)."""

    code = 2


class Refused(RashomonError):
    """Content that was read and refused: models that do not fit, data of the wrong shape (exit 1)."""


class Diverged(RashomonError):
    """A loss that is no longer finite (exit 1); the last good checkpoint is kept."""


class NoStore(RashomonError):
    """No store where one was looked for (exit 10)."""

    code = 10


class Busy(RashomonError):
    """Another process carries out the same run (exit 11)."""

    code = 11


class Damaged(RashomonError):
    """A file of the store is missing, truncated or altered (exit 12)."""

    code = 12
