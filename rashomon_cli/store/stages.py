"""Computations that several runs share, such as an L1 training cut at several thresholds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rashomon_cli.core.errors import Busy, Damaged
from rashomon_cli.store import durable
from rashomon_cli.store.locks import FolderLock
from rashomon_cli.store.parts import Parts, Stage

MARKER = "stages.json"


def open_stage(folder: Path, recipe: Mapping[str, Any]) -> Stage:
    """The locked stage of a recipe, whoever began it.

    Args:
        folder: of all stages; made where it does not exist.
        recipe: JSON values that determine the computation.

    Returns:
        Its parts.

    Raises:
        Busy: if another process works on it.
        OSError: if the disk refuses.
    """
    place = _place(folder, recipe)
    while True:
        place.mkdir(parents=True, exist_ok=True)
        try:
            lock = FolderLock.seize(place)
            break
        except FileNotFoundError:  # another process has just cleared the stages away
            continue
    if lock is None:
        raise Busy("another process computes the same stage", "wait for it to end, then run the same command")
    if not (place / "recipe.json").exists():
        durable.write_json(place / "recipe.json", dict(recipe))
    return Stage(place, lock)


def saved_in(folder: Path, recipe: Mapping[str, Any]) -> Parts:
    """What a stage holds, for a look: it is neither made nor locked.

    Args:
        folder: of all stages.
        recipe: JSON values that determine the computation.

    Returns:
        Its parts; none where nobody began it.
    """
    return Parts(_place(folder, recipe))


def _place(folder: Path, recipe: Mapping[str, Any]) -> Path:
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
    return folder / hashlib.sha256(text.encode()).hexdigest()


def note_stage(parts: Path, key: str) -> None:
    """Write into an unfinished run's parts that it needs a stage, durably.

    Raises:
        OSError: if the disk refuses.
    """
    noted = stages_of(parts)
    if key not in noted:
        parts.mkdir(exist_ok=True)
        durable.write_json(parts / MARKER, [*sorted(noted), key])


def stages_of(parts: Path) -> set[str]:
    """Keys of the stages that an unfinished run needs; none where no readable file tells."""
    try:
        found = durable.read_json(parts / MARKER)
    except (FileNotFoundError, Damaged):
        return set()
    return {key for key in found if isinstance(key, str)} if isinstance(found, list) else set()
