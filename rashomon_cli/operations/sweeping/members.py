"""The members of a sweep, looked up or carried out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rashomon_cli.core.errors import Damaged
from rashomon_cli.core.sweeps import Family, Member
from rashomon_cli.operations import families
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.families import Outcome, Planner
from rashomon_cli.operations.plan import Plan, finished
from rashomon_cli.store import Run


def apart(context: Context) -> Context:
    """A context for members: ``--name`` and ``--again`` are of the whole, and notes on a member are its own."""
    return replace(context, where=context.where.model_copy(update={"name": None, "again": False}), notes=[])


class Finished:
    """Looks requests up.

    Args:
        context: the store.
    """

    def __init__(self, context: Context) -> None:
        self.context = apart(context)

    def __call__(self, members: Sequence[Member[Any]], planner: Planner[Any]) -> list[Run | None]:
        """The finished run of each; None where there is none that can be read."""
        return [self._one(planner(self.context, member.config)) for member in members]

    def _one(self, plan: Plan) -> Run | None:
        try:
            return finished(self.context, plan)
        except Damaged:  # told when it is to be made
            return None


class Making:
    """Finds, resumes or carries requests out.

    Args:
        context: the store and circumstances.

    Attributes:
        outcomes: of all requests so far.
    """

    def __init__(self, context: Context) -> None:
        self.context = apart(context)
        self.outcomes: list[Outcome[Any]] = []

    def __call__(self, members: Sequence[Member[Any]], planner: Planner[Any]) -> list[Run | None]:
        """The run of each; None where it failed."""
        found = families.each(self.context, Family(tuple(members)), planner)
        self.outcomes += found
        return [outcome.run for outcome in found]
