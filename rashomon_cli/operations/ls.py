"""``rashomon ls``: the runs of a store, from its catalog alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from rashomon_cli.core.options import Config, option
from rashomon_cli.operations.conditions import check_names, parse_conditions
from rashomon_cli.operations.headlines import headlines
from rashomon_cli.operations.rashomon_sets import rashomon_sets
from rashomon_cli.store import Store
from rashomon_cli.store.names import begun, find_id, is_id


class LsConfig(Config):
    """Filters of ``ls``; a run must pass all of them."""

    kind: Literal["model", "path", "simplex", "measurement", "comparison"] | None = option(
        None, "Only runs of this kind."
    )
    tag: str | None = option(None, "Only runs with this tag; several, separated by commas: with all of them.")
    parent: str | None = option(None, "Only runs made from this one.", reference=True)
    where: str | None = option(
        None, "Only runs whose figures or options compare so: 'test_accuracy>0.9,seed=1'; a list if all its values do."
    )
    within: float | None = option(
        None,
        "Only models whose train_loss is at most this far above the lowest of all in the store of the same builder, "
        "data and loss: the Rashomon set of this width.",
        ge=0,
        unit="nat",
    )


_COLUMNS = ("id", "name", "tags", "kind", "operation", "status", "parents", "metrics", "files", "record")


@dataclass
class Entry:
    """One run of the list, finished or not.

    Attributes:
        id: the ULID.
        name: present name.
        tags: present tags.
        kind: what it is; empty while unfinished.
        operation: what made it.
        status: ``finished``, ``running``, ``interrupted`` or ``damaged``.
        parents: the runs that it was made from, each with ``id`` and ``role``.
        metrics: headline numbers.
        files: names of its files.
        text: its record as JSON; empty while unfinished.
        group: of the Rashomon set that it belongs to; empty where none was asked for.
    """

    id: str
    name: str
    tags: list[str]
    kind: str
    operation: str
    status: str
    parents: list[dict[str, Any]]
    metrics: dict[str, Any]
    files: list[str]
    text: str
    group: str = ""

    @classmethod
    def of(cls, row: dict[str, Any]) -> Entry:
        """The entry of a row of the catalog."""
        return cls(*(row[column] for column in _COLUMNS))

    @property
    def begun(self) -> datetime:
        """When it was begun first."""
        return begun(self.id)

    @cached_property
    def record(self) -> dict[str, Any]:
        """What ``run.json`` says; nothing while unfinished."""
        found: dict[str, Any] = json.loads(self.text) if self.text else {}
        return found

    def value(self, name: str) -> Any:
        """A metric, or else an option; None where there is neither."""
        return self.metrics[name] if name in self.metrics else self.record.get("config", {}).get(name)

    def headlines(self, count: int) -> dict[str, Any]:
        """The numbers that a person looks for first."""
        return headlines(self.metrics, count)


def ls(store: Store, config: LsConfig | None = None) -> list[Entry]:
    """The runs of a store, oldest first, with what is running or was interrupted.

    Args:
        store: the store.
        config: filters; none where left out.

    Returns:
        One entry a run folder that passes.

    Raises:
        UsageError: if a filter names what does not exist, or cannot be read.
    """
    config = config or LsConfig()
    conditions = parse_conditions(config.where) if config.where is not None else []
    found = [Entry.of(row) for row in store.rows()]
    kept = found
    if config.kind is not None:
        kept = [entry for entry in kept if entry.kind == config.kind]
    if config.tag is not None:
        wanted = {tag.strip() for tag in config.tag.split(",")}
        kept = [entry for entry in kept if wanted <= set(entry.tags)]
    if config.parent is not None:
        parent = _parent(config.parent, found)
        kept = [entry for entry in kept if any(each["id"] == parent for each in entry.parents)]
    if conditions:
        check_names(conditions, _names(found, {condition.name for condition in conditions}))
        kept = [entry for entry in kept if all(c.holds(entry.value(c.name)) for c in conditions)]
    if config.within is not None:
        finished = [entry for entry in found if entry.status == "finished"]
        for name, models in rashomon_sets(finished, config.within).items():
            for model in models:
                model.group = name
        kept = [entry for entry in kept if entry.group]
    return kept


def _parent(reference: str, entries: list[Entry]) -> str:
    """The id of a run that others may have been made from; it need not be in the store any more."""
    if is_id(reference) and any(parent["id"] == reference for entry in entries for parent in entry.parents):
        return reference
    return find_id(reference, {entry.id: entry.name for entry in entries})


def _names(entries: list[Entry], wanted: set[str]) -> set[str]:
    """Names of metrics, and of options where those do not suffice."""
    names = {name for entry in entries for name in entry.metrics}
    for entry in entries:
        if wanted <= names:
            break
        names.update(entry.record.get("config", {}))
    return names
