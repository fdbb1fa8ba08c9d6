"""Errors that a user sees: one line of what is wrong, one line of what to do, one exit code.

The exit codes are part of the command line's contract (see the table in README.md).
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from typing import NoReturn


class RashomonError(Exception):
    """Base of every error that is shown without a traceback.

    Args:
        message: one line that names what is wrong and the offending value.
        hint: one line with a command or value that is valid; shown after ``hint:``.
        fix: a word of the request that is wrong, and the one that was probably meant.
    """

    code = 1

    def __init__(self, message: str, hint: str | None = None, fix: tuple[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.fix = fix


class UsageError(RashomonError):
    """A name or value that does not exist or does not fit (exit 2)."""

    code = 2


class Refused(RashomonError):
    """Content that was read and refused: models that do not fit, data of the wrong shape (exit 1)."""


class Diverged(RashomonError):
    """A loss that is no longer finite (exit 1); the last good checkpoint is kept."""


class PartlyDone(RashomonError):
    """Some members of a family failed (exit 3)."""

    code = 3


class NoStore(RashomonError):
    """No store where one was looked for (exit 10)."""

    code = 10


class Busy(RashomonError):
    """Another process carries out the same run (exit 11)."""

    code = 11


class Damaged(RashomonError):
    """A file of the store is missing, truncated or altered (exit 12)."""

    code = 12


def explained(error: Exception) -> RashomonError:
    """Any error as one that is shown in a line.

    Args:
        error: what was raised.

    Returns:
        The error itself where it is one; else what a person can do about a disk, memory, or a fault of this package.
    """
    if isinstance(error, RashomonError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        where = f" while writing {error.filename}" if error.filename else ""
        return RashomonError(f"no space left{where}", "free some space, then run the same command again to resume")
    if isinstance(error, OSError):
        return RashomonError(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), "see --debug")
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return RashomonError("out of memory", "use fewer --samples, a smaller batch, or --device cpu")
    hint = "this is a fault of rashomon; --debug shows the place"
    return RashomonError(f"{type(error).__name__}: {error}", hint)


def no_such(what: str, word: str, known: Iterable[str], otherwise: str) -> NoReturn:
    """Refuse a word that does not exist, with the nearest one that does.

    Args:
        what: what there is none of: ``model``.
        word: the wrong word.
        known: the words that exist.
        otherwise: the hint where none is near.

    Raises:
        UsageError: always.
    """
    near = difflib.get_close_matches(word, list(known), 1)
    hint = f"did you mean {near[0]}?" if near else otherwise
    raise UsageError(f"no {what} {word!r}", hint, (word, near[0]) if near else None)
