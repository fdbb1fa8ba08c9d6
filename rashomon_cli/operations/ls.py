"""``rashomon ls``: the runs of a store, from its catalog alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ulid import ULID

from rashomon_cli.store import Store

# What a person looks for first, by the kinds of runs that have it.
HEADLINES = (
    "test_accuracy",
    "curve_barrier_loss",
    "sparsity",
    "line_barrier_loss",
    "test_loss",
    "train_loss",
    "eigenvalue_max",
    "gradient_norm",
)


@dataclass(frozen=True)
class Entry:
    """One run of the list, finished or not.

    Attributes:
        id: the ULID.
        name: present name.
        kind: what it is; empty while unfinished.
        operation: what made it.
        status: ``finished``, ``running``, ``interrupted`` or ``damaged``.
        begun: when it was begun first.
        metrics: headline numbers.
    """

    id: str
    name: str
    kind: str
    operation: str
    status: str
    begun: datetime
    metrics: dict[str, Any]

    def headlines(self, count: int) -> dict[str, Any]:
        """The most telling numbers: those of :data:`HEADLINES`, then the others in their order."""
        numbers = {
            k: v
            for k, v in self.metrics.items()
            if (isinstance(v, int | float) or (isinstance(v, list) and k in HEADLINES)) and not k.endswith("_stderr")
        }
        ranked = [name for name in HEADLINES if name in numbers]
        ranked += [name for name in numbers if name not in ranked]
        return {name: numbers[name] for name in ranked[:count]}


def ls(store: Store) -> list[Entry]:
    """All runs, oldest first, with what is running or was interrupted.

    Args:
        store: the store.

    Returns:
        One entry a run folder.
    """
    return [
        Entry(
            row["id"],
            row["name"],
            row["kind"],
            row["operation"],
            row["status"],
            ULID.from_str(row["id"]).datetime.astimezone(UTC),
            json.loads(row["metrics"]),
        )
        for row in store.rows()
    ]
