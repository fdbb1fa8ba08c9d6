"""What a check of a store reports."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from rashomon_cli.core.errors import Damaged
from rashomon_cli.core.text import printable


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        run: id of the run; None where it is of the store.
        name: of the run.
        file: in the run's folder; in the store's where ``run`` is None.
        problem: what is wrong.
        remedy: what to do.
    """

    run: str | None
    name: str | None
    file: str
    problem: str
    remedy: str


@dataclass
class Report:
    """What a check found.

    Attributes:
        runs: how many were looked at.
        findings: what is wrong.
        interrupted: names by id of unfinished runs that no process carries out; they are no fault.
        read_data: whether the content of every file was read.
    """

    runs: int = 0
    findings: list[Finding] = field(default_factory=list)
    interrupted: dict[str, str] = field(default_factory=dict)
    read_data: bool = False


def shown(name: str) -> str:
    """A file's name as it can be printed, whatever bytes it is made of."""
    return printable(os.fsencode(name).decode("utf-8", "backslashreplace"))


def told(error: Damaged, folder: Path, name: str) -> str:
    """What an error says of a file, without the file's name in front."""
    for front in (f"{name} of run {folder.name} ", f"{name} of {folder.name} "):
        if error.message.startswith(front):
            return error.message.removeprefix(front)
    return error.message
