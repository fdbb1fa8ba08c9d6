"""Families: many requests of one operation, each found, resumed or carried out; one that fails stops no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from rashomon_cli.core.errors import RashomonError
from rashomon_cli.core.options import Config
from rashomon_cli.core.sweeps import Family, Member
from rashomon_cli.operations.context import Context, Silence
from rashomon_cli.operations.costs import Cost, costs
from rashomon_cli.operations.plan import Plan, execute, finished
from rashomon_cli.store import Run

C = TypeVar("C", bound=Config)
Planner = Callable[[Context, C], Plan]


@dataclass(frozen=True)
class Outcome(Generic[C]):
    """What became of one member.

    Attributes:
        member: the request.
        name: of its run, or what it was to be called.
        run: the finished run, or None.
        error: why there is none.
        found: whether it was finished before.
    """

    member: Member[C]
    name: str
    run: Run | None
    error: RashomonError | None = None
    found: bool = False


def name_of(context: Context, family: Family[Any], member: Member[Any]) -> str | None:
    """The name that was asked for, with the member's labels behind it where there are several."""
    name = context.where.name
    return name if name is None or len(family.members) == 1 else name + member.suffix()


def dry_run(context: Context, family: Family[C], planner: Planner[C]) -> list[Cost]:
    """What a family would cost.

    Args:
        context: store and circumstances.
        family: the requests.
        planner: the operation's ``plan``.

    Returns:
        One cost a member.

    Raises:
        RashomonError: if a member cannot work.
    """
    plans = []
    for member in family.members:
        plan = planner(context, member.config)
        plans.append((plan, name_of(context, family, member) or plan.suggestion + member.suffix(plan.told)))
    return costs(context, plans)


def carry_out(context: Context, family: Family[C], planner: Planner[C]) -> list[Outcome[C]]:
    """Find, resume or carry out every member, in order.

    All members are planned before the first one begins, so that what can be refused early is.

    Args:
        context: store and circumstances.
        family: the requests.
        planner: the operation's ``plan``.

    Returns:
        One outcome a member; an error of one is in its outcome, and the others are carried out all the same.

    Raises:
        RashomonError: if a member cannot work, or the only one fails.
    """
    alone = len(family.members) == 1
    if not alone:
        _check(replace(context, progress=Silence(), notes=[]), family, planner)
    outcomes: list[Outcome[C]] = []
    for number, member in enumerate(family.members, 1):
        context.notes.clear()
        plan = planner(context, member.config)
        suffix = member.suffix(plan.told)
        name = name_of(context, family, member)
        called = name or plan.suggestion + suffix
        before = finished(context, plan)
        if not alone:
            what = "found finished" if before else called
            context.progress.note(f"{number} of {len(family.members)}: {before.name + ' ' if before else ''}{what}")
        try:
            run = before or execute(context, plan, name=name, suffix=suffix)
        except RashomonError as error:
            if alone:
                raise
            context.progress.note(f"{called} failed: {error.message}")
            outcomes.append(Outcome(member, called, None, error))
        else:
            outcomes.append(Outcome(member, run.name, run, None, before is not None))
    return outcomes


def _check(context: Context, family: Family[C], planner: Planner[C]) -> None:
    """Plan every member, and see that its name is free or its own."""
    for member in family.members:
        plan = planner(context, member.config)
        name = name_of(context, family, member)
        if name is not None and finished(context, plan) is None:
            context.store.check_free(name, **plan.identity)
