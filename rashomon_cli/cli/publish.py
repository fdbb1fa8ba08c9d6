"""What every publishing command does around its operation: open the store, draw the bar, print the run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rashomon_cli.cli import console
from rashomon_cli.cli.options import Common
from rashomon_cli.operations.context import Context, DryRun, Where
from rashomon_cli.store import Run, Store

C = TypeVar("C")


def publish(
    common: Common,
    where: Where,
    config: C,
    operation: Callable[[Context, C], Run | DryRun],
    *,
    create_store: bool = False,
) -> None:
    """Carry out an operation and print its outcome.

    Args:
        common: options of every command.
        where: name, device and the like.
        config: the operation's options.
        operation: the function of the same name in ``rashomon_cli.operations``.
        create_store: whether the command makes a store where there is none.
    """
    store = Store.open(common.store, create=create_store)
    with console.Bar(common.quiet) as bar:
        context = Context(store, where, bar, ["rashomon", *sys.argv[1:]])
        outcome = operation(context, config)
        if isinstance(outcome, Run) and where.name not in (None, outcome.name):
            bar.note(f"this request is known as {outcome.name}: rashomon rename {outcome.name} {where.name}")
    if isinstance(outcome, DryRun):
        _show_plan(common, outcome)
        return
    show_run(common, outcome, store)


def show_run(common: Common, run: Run, store: Store) -> None:
    """Print one run as ``--json``, ``-q`` or a table."""
    if common.json_:
        console.show_json(describe(run, store))
    elif common.quiet:
        print(run.id)
    else:
        console.show_metrics(f"{run.name}  ({run.kind}, {run.id})", run.metrics)


def describe(run: Run, store: Store, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The JSON object of a run, with the keys that README.md documents.

    Args:
        run: a finished run.
        store: its store.
        names: what :meth:`Store.names` returned, where many runs are described.

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


def _show_plan(common: Common, plan: DryRun) -> None:
    if common.json_:
        console.show_json({"steps": dict(plan.steps), "forward_passes": sum(plan.steps.values())})
        return
    rows = [[step, f"{count:,}"] for step, count in plan.steps.items()]
    console.show_table(["step", "forward passes"], [*rows, ["total", f"{sum(plan.steps.values()):,}"]], numeric=[1])
