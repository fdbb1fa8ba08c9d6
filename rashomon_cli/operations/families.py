"""Families: many requests of one operation, each found, resumed or carried out; one that fails stops no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from rashomon_cli.core.errors import Damaged, RashomonError, UsageError, explained
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
    if len(family.members) == 1:
        (member,) = family.members
        context.begin()
        plan = planner(context, member.config)
        before = finished(context, plan)
        run = before or execute(context, plan, name=context.where.name)
        return [Outcome(member, run.name, run, None, before is not None)]
    return each(context, family, planner)


def each(context: Context, family: Family[C], planner: Planner[C]) -> list[Outcome[C]]:
    """The same as :func:`carry_out`, but the error of an only member is in its outcome, too.

    Args:
        context: store and circumstances.
        family: the requests.
        planner: the operation's ``plan``.

    Returns:
        One outcome a member.

    Raises:
        RashomonError: if a member cannot work.
    """
    _check(replace(context, progress=Silence(), notes=[]), family, planner)
    return [_one(context, family, number, planner) for number in range(len(family.members))]


def _one(context: Context, family: Family[C], number: int, planner: Planner[C]) -> Outcome[C]:
    """One member of several; whatever goes wrong with it is in its outcome."""
    member = family.members[number]
    called = name_of(context, family, member)
    place = f"{number + 1} of {len(family.members)}"
    context.notes.clear()
    try:
        plan = planner(context, member.config)
        suffix = member.suffix(plan.told)
        name, called = called, called or plan.suggestion + suffix
        before = finished(context, plan)
        if before is not None:
            context.progress.note(f"{place}: {before.name} found finished")
            return Outcome(member, before.name, before, None, True)
        context.progress.note(f"{place}: {called}")
        run = execute(context, plan, name=name, suffix=suffix)
    except Exception as error:  # of the user's code, of a damaged run, of the machine: the others go on
        told = explained(error)
        context.progress.note(f"{called or place} failed: {told.message}")
        return Outcome(member, called or f"member {place}", None, told)
    return Outcome(member, run.name, run)


def _check(context: Context, family: Family[C], planner: Planner[C]) -> None:
    """Refuse what can be refused before the first member begins: names, values, and models that do not fit data.

    Raises:
        UsageError: if a name is taken.
    """
    taken = set(context.store.names().values()) if context.where.again else set()
    loaded: set[str] = set()
    for member in family.members:
        plan = planner(context, member.config)
        name = name_of(context, family, member)
        if name in taken:
            raise UsageError(f"the name {name!r} is taken", "give another --name, or none: --again makes new runs")
        try:
            if finished(context, plan) is not None:
                continue
        except Damaged:  # told when its turn comes; the others are made
            continue
        if name is not None:
            context.store.check_free(name, **plan.identity)
        for problem, load in plan.problems.items():
            if problem not in loaded:
                load()
                loaded.add(problem)
