"""The JSON objects of runs, with the keys that README.md documents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rashomon_cli.operations.ls import Entry
from rashomon_cli.store import Run, Store


def describe(run: Run, store: Store, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The object of a run.

    Args:
        run: a finished run.
        store: its store.
        names: of all runs by id, where many are described.

    Returns:
        JSON values.
    """
    if names is None:
        names = store.names() if run.record.parents else {}
    return {
        "id": run.id,
        "name": run.name,
        "kind": run.kind,
        "operation": run.record.operation,
        "parents": [{"id": p.id, "name": names.get(p.id), "role": p.role} for p in run.record.parents],
        "metrics": run.metrics,
        "files": {a.path: str(run.folder / a.path) for a in run.record.artifacts},
    }


def listed(entry: Entry, runs: Path, names: Mapping[str, str]) -> dict[str, Any]:
    """The object of a run as the catalog knows it, the same as that of :func:`describe`.

    Args:
        entry: a finished run.
        runs: the folder of all runs.
        names: of all runs by id.

    Returns:
        JSON values.
    """
    folder = f"{runs}/{entry.id}/"
    return {
        "id": entry.id,
        "name": entry.name,
        "kind": entry.kind,
        "operation": entry.operation,
        "parents": [{"id": p["id"], "name": names.get(p["id"]), "role": p["role"]} for p in entry.parents],
        "metrics": entry.metrics,
        "files": {name: folder + name for name in entry.files},
    }
