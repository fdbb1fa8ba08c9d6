"""The models that a graph is of: those named, or the largest group of the store that paths can join."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.specs import Reference
from rashomon_cli.operations import subjects
from rashomon_cli.operations.connecting import anchors
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.rashomon_sets import rashomon_sets
from rashomon_cli.operations.subjects import Subject
from rashomon_cli.store import Run

_DERIVED = {"align", "connect"}


def choose(context: Context, names: Sequence[str], everything: Sequence[Run]) -> list[Subject]:
    """The models named, or the store's largest group of one builder, data and loss, without copies and hubs.

    Args:
        context: the store.
        names: of models; none for all.
        everything: all runs of the store.

    Returns:
        Two models or more.

    Raises:
        UsageError: if a name is wrong, or there are fewer than two models.
        Refused: if they are not of one group, or one is named twice.
    """
    example = "rashomon connect --graph"
    named = [subjects.find(context, name, "model") for name in names]
    for number, subject in enumerate(named):
        if subject.t is not None:
            raise UsageError(f"{subject.label} is a point of a path; --graph takes runs of kind model", example)
        if subject.run.id in {other.run.id for other in named[:number]}:
            raise Refused(f"{subject.label} is named twice", f"name each model once: {example}")
    runs = [subject.run for subject in named] or _own(everything)
    groups = rashomon_sets([_Entry(run) for run in runs], math.inf)
    largest = max(groups.values(), key=len, default=[])
    ids = {entry.run.id for entry in largest}
    left = [run.name for run in runs if run.id not in ids]
    if named and left:
        words = f"{left[0]} is not of the builder, data and loss of {largest[0].run.name}" if largest else left[0]
        raise Refused(f"{words}: a graph is of one kind of model", "rashomon ls --kind model")
    if len(largest) < 2:
        words = f"a graph needs two models of one builder, data and loss, not {len(largest)}"
        raise UsageError(words, "rashomon train --seed 1-3" if not names else "rashomon ls --kind model")
    if left:
        listed = ", ".join(left[:5] + ["…"] * (len(left) > 5))
        what = next(name for name, group in groups.items() if group is largest)
        context.note(f"the graph is of {what}; skipped {len(left)}: {listed}")
    found = [Subject(run, Reference(run.name)) for run in runs if run.id in ids]
    anchors.check_fit(context, found)
    return found


def _own(everything: Sequence[Run]) -> list[Run]:
    """The models that are such by themselves: no aligned copy of another, no hub, and nothing made from either."""
    runs = {run.id: run for run in everything}

    def derived(run: Run | None) -> bool:
        if run is None:  # a parent that is gone
            return False
        made_to_join = run.record.operation in _DERIVED
        return made_to_join or any(derived(runs.get(parent.id)) for parent in run.record.parents)

    return [run for run in everything if run.kind == "model" and not derived(run)]


class _Entry:
    """A run as :func:`~rashomon_cli.operations.rashomon_sets.rashomon_sets` reads it."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @property
    def kind(self) -> str:
        """What the run is."""
        return self.run.kind

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Headline numbers."""
        return self.run.metrics

    @property
    def record(self) -> Mapping[str, Any]:
        """What ``run.json`` says."""
        return self.run.record.model_dump(mode="json")
