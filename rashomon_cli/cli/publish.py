"""What every publishing command does around its operation: open the store, draw the bar, print the runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, TypeVar

from rashomon_cli.cli import console
from rashomon_cli.cli.invocation import command_line
from rashomon_cli.cli.metrics import show_metrics
from rashomon_cli.cli.objects import describe
from rashomon_cli.cli.options import Common, Publishing
from rashomon_cli.core.errors import PartlyDone
from rashomon_cli.core.options import Config
from rashomon_cli.core.sweeps import Family
from rashomon_cli.operations.context import Context, Where
from rashomon_cli.operations.costs import Cost
from rashomon_cli.operations.families import Outcome, Planner, carry_out, dry_run
from rashomon_cli.operations.headlines import headlines
from rashomon_cli.store import Run, Store

C = TypeVar("C", bound=Config)
_FIGURES = 2


def publish(
    common: Publishing, where: Where, family: Family[C], planner: Planner[C], *, create_store: bool = False
) -> None:
    """Carry out an operation, or a family of it, and print the outcome.

    Args:
        common: options of every publishing command.
        where: name, device and the like.
        family: the operation's options, once for each run that is asked for.
        planner: the operation's ``plan``.
        create_store: whether the command makes a store where there is none.

    Raises:
        PartlyDone: if members of a family failed; with the first one's exit code where all did.
    """
    with console.Bar(common.quiet) as bar:
        argv = command_line()
        context = Context.open(common.store, create=create_store, where=where, progress=bar, argv=argv)
        if common.dry_run:
            found = dry_run(context, family, planner)
        else:
            outcomes = carry_out(context, family, planner)
    if common.dry_run:
        show_costs(common, found)
        return
    if len(family.members) > 1:
        _show_family(common, outcomes, context)
        return
    run = outcomes[0].run
    assert run is not None
    tell_name(bar, where, run)
    show_run(common, run, context.store)


def tell_name(bar: console.Bar, where: Where, run: Run) -> None:
    """Say so where a run that was found has another name than the one asked for."""
    if where.name not in (None, run.name):
        bar.note(f"this request is known as {run.name}: rashomon rename {run.name} {where.name}")


def show_run(common: Common, run: Run, store: Store) -> None:
    """Print one run as ``--json``, ``-q`` or a table."""
    if common.json_:
        console.show_json(describe(run, store))
    elif common.quiet:
        print(run.id)
    else:
        show_metrics(f"{run.name}  ({run.kind}, {run.id})", run.metrics)


def _show_family(common: Common, outcomes: Sequence[Outcome[Any]], context: Context) -> None:
    runs = [outcome.run for outcome in outcomes if outcome.run is not None]
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if common.json_:
        names = context.store.names()
        listed = [{"name": f.name, "error": f.error.message, "code": f.error.code} for f in failed if f.error]
        console.show_json({"runs": [describe(run, context.store, names) for run in runs], "failed": listed})
    elif common.quiet:
        for run in runs:
            print(run.id)
    else:
        console.show_table(["name", "status", "figures"], [_line(outcome) for outcome in outcomes])
    if not failed:
        return
    first = failed[0].error
    assert first is not None
    words = f"{len(failed)} of {len(outcomes)} runs failed, the first: {failed[0].name}: {first.message}"
    error = PartlyDone(words, first.hint or f"{shlex.join(context.argv)} again carries out what is missing", first.fix)
    if not runs:
        error.code = first.code
    raise error


def _line(outcome: Outcome[Any]) -> list[str]:
    if outcome.run is None:
        return [outcome.name, "failed", outcome.error.message if outcome.error else ""]
    figures = headlines(outcome.run.metrics, _FIGURES).items()
    words = ", ".join(f"{name} {console.figure(value)}" for name, value in figures)
    return [outcome.name, "found" if outcome.found else "done", words]


def show_costs(common: Common, found: Sequence[Cost]) -> None:
    """Print what is missing and what it costs."""
    steps: dict[str, int] = {}
    for cost in found:
        for step in cost.steps:
            steps[step.title] = steps.get(step.title, 0) + step.forward_passes
    passes = sum(steps.values())
    seconds = sum(cost.seconds or 0.0 for cost in found)
    missing = [cost for cost in found if cost.status != "finished"]
    if common.json_:
        members = [
            {"name": c.name, "status": c.status, "forward_passes": c.forward_passes, "seconds": c.seconds}
            for c in found
        ]
        console.show_json({"steps": steps, "forward_passes": passes, "seconds": seconds, "runs": members})
        return
    if len(found) > 1:
        rows = [[c.name, c.status, f"{c.forward_passes:,}", console.duration(c.seconds)] for c in found]
        console.show_table(["run", "status", "forward passes", "time"], rows, numeric=[2, 3])
        print()
        print(f"{len(missing)} of {len(found)} runs are missing")
    elif not missing:
        print(f"finished already: {found[0].name}")
        return
    rows = [[step, f"{count:,}"] for step, count in steps.items()]
    console.show_table(["step", "forward passes"], [*rows, ["total", f"{passes:,}"]], numeric=[1])
    print(f"{console.duration(seconds)} here, by the time that a step takes now")
