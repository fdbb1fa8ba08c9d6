"""``rashomon show``: one run, and the runs that it came from and that came of it."""

from __future__ import annotations

from dataclasses import dataclass

from rashomon_cli.operations.ls import Entry
from rashomon_cli.store import Run, Store
from rashomon_cli.store.records import Parent


@dataclass(frozen=True)
class Node:
    """A run in a lineage.

    Attributes:
        id: the ULID.
        run: the run; None where this store does not have it.
        link: how it was made from the node above; None at a root.
        chosen: whether it is the run whose lineage this is.
        repeated: whether its children are drawn where it occurs first.
        children: what was made of it, as far as it belongs to the lineage.
    """

    id: str
    run: Entry | None
    link: Parent | None
    chosen: bool
    repeated: bool
    children: tuple[Node, ...]


def show(store: Store, reference: str) -> Run:
    """Look up one run.

    Args:
        store: the store.
        reference: name, id or unique prefix of an id.

    Returns:
        The run.

    Raises:
        UsageError: if none or several match, or it is unfinished.
        Damaged: if its record cannot be read.
    """
    return store.find(reference)


def lineage(store: Store, run: Run) -> list[Node]:
    """The ancestors of a run up to their roots, and its descendants.

    Args:
        store: the store.
        run: whose lineage it is.

    Returns:
        One tree for each root ancestor; each tree leads through the run to its descendants.
    """
    runs = {row["id"]: Entry.of(row) for row in store.rows("finished = 1 OR id = ?", (run.id,))}
    children: dict[str, list[tuple[str, Parent]]] = {}
    for found in runs.values():
        for parent in found.parents:
            children.setdefault(parent["id"], []).append((found.id, Parent(**parent)))
    above = _reach(run.id, {key: [parent["id"] for parent in found.parents] for key, found in runs.items()})
    scope = above | _reach(run.id, {key: [child for child, _ in made] for key, made in children.items()})
    seen: set[str] = set()

    def grow(key: str, link: Parent | None) -> Node:
        made = [(child, edge) for child, edge in children.get(key, []) if child in scope]
        repeated = key in seen and bool(made)
        seen.add(key)
        below = () if repeated else tuple(grow(child, edge) for child, edge in made)
        return Node(key, runs.get(key), link, key == run.id, repeated, below)

    return [grow(key, None) for key in sorted(above) if key not in runs or not runs[key].parents]


def _reach(start: str, edges: dict[str, list[str]]) -> set[str]:
    found, open_ = {start}, [start]
    while open_:
        new = [key for key in edges.get(open_.pop(), []) if key not in found]
        found.update(new)
        open_.extend(new)
    return found
