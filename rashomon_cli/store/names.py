"""What a run may be called: names, tags and ids."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from datetime import UTC, datetime, timedelta

from rashomon_cli.core.errors import UsageError, no_such

NAME = r"^[A-Za-z0-9][A-Za-z0-9._+=-]{0,119}$"
_NAME = re.compile(NAME)
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID = re.compile(rf"[0-7][{_DIGITS}]{{25}}")
_PREFIX = 4  # shortest beginning of an id that is looked up
_SHOWN = 8


def check_name(name: str, what: str = "name") -> None:
    """Refuse what cannot be a run's name or tag.

    Raises:
        UsageError: if it has other characters than letters, digits and ``. _ + = -``, is too long, or is like an id.
    """
    if not _NAME.fullmatch(name):
        words = "letters, digits and . _ + = - only, 120 at most"
        raise UsageError(f"{name!r} cannot be a {what}: {words}", "for example a-s1")
    if what == "name" and is_id(name.upper()):
        raise UsageError(f"{name!r} cannot be a name: it looks like the id of a run", "for example a-s1")


def free_name(suggestion: str, taken: Container[str]) -> str:
    """A valid name like a suggestion, with a number behind where it is taken."""
    base = re.sub(r"[^A-Za-z0-9._+=-]+", "-", suggestion).strip("._+=-")[:100] or "run"
    number, name = 1, base
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def new_id() -> str:
    """A ULID: its order is that of time."""
    from ulid import ULID

    return str(ULID())


def is_id(text: str) -> bool:
    """Whether a text is a ULID as this package writes it."""
    return _ID.fullmatch(text) is not None


def begun(run_id: str) -> datetime:
    """When a run was begun, as its id tells."""
    milliseconds = 0
    for digit in run_id[:10]:
        milliseconds = 32 * milliseconds + _DIGITS.index(digit)
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def find_id(
    reference: str, names: Mapping[str, str], *, what: str = "run", show: str = "rashomon show", ls: str = "rashomon ls"
) -> str:
    """Look up a run by name, id or unique prefix of an id.

    Args:
        reference: what the user wrote.
        names: of the runs that it may be, by id.
        what: they are, for the error.
        show: a command that takes an id, for the hint.
        ls: a command that lists them, for the hint.

    Returns:
        The id.

    Raises:
        UsageError: if none or several match.
    """
    wanted = reference.upper()
    found = [run for run, name in names.items() if name == reference or run == wanted]
    if not found and len(reference) >= _PREFIX:
        found = [run for run in names if run.startswith(wanted)]
    if not found:
        no_such(what, reference, names.values(), ls)
    if len(found) > 1:
        candidates = ", ".join(f"{run} ({names[run]})" for run in found[:_SHOWN]) + ", …" * (len(found) > _SHOWN)
        raise UsageError(f"{reference!r} is ambiguous: {candidates}", f"{show} {found[0]}")
    return found[0]
