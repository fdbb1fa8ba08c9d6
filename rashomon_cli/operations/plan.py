"""What an operation would do, before anything is done: its request, its cost, and how it is carried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from rashomon_cli.store import Job, Parent, Run

if TYPE_CHECKING:
    from rashomon_cli.operations.context import Context
    from rashomon_cli.operations.problems import Loaded


@dataclass(frozen=True)
class Step:
    """A part of an operation's work.

    Attributes:
        title: what it is.
        forward_passes: of one example each.
        kind: what comes with a forward pass: nothing, a training step, or a gradient and ``vectors`` Hessian products.
        vectors: Hessian products a forward pass.
        shared: names work that other runs of a family need too, such as an L1 training; the longest is done once.
        problem: names the one of the plan's problems that it is done on; the first where left out.
        batch: examples between two moves of the progress bar, at most as many as an evaluation takes at once.
    """

    title: str
    forward_passes: int
    kind: Literal["evaluate", "train", "product"] = "evaluate"
    vectors: int = 0
    shared: str | None = None
    problem: str | None = None
    batch: int | None = None


@dataclass(frozen=True)
class Plan:
    """One request, checked as far as that goes without a first step.

    Attributes:
        operation: its name.
        config: resolved options, JSON values; with ``parents`` and ``fingerprints`` they are the run's key.
        suggestion: a name for the run.
        told: the options that the suggestion tells.
        steps: finds out what it costs; may read the data.
        problems: what loads the problems that it works on, by names that are the same for the same problem.
        carry_out: does the work in a locked job and publishes.
        parents: the runs that it reads.
        fingerprints: digests of what else the result depends on.
        batch_size: of the training steps.
        first: what must be carried out before it: another request, and the plan to go on with after it.
    """

    operation: str
    config: Mapping[str, Any]
    suggestion: str
    told: Sequence[str]
    steps: Callable[[], Sequence[Step]]
    problems: Mapping[str, Callable[[], Loaded]]
    carry_out: Callable[[Job], Run]
    parents: Sequence[Parent] = ()
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    batch_size: int = 128
    first: tuple[Plan, Callable[[], Plan]] | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What the run's key is made of, as the store's functions take it."""
        names = ("operation", "config", "parents", "fingerprints")
        return {name: getattr(self, name) for name in names}


def counted(number: int, what: str) -> str:
    """A number of things: ``1 epoch``, ``2 epochs``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def finished(context: Context, plan: Plan) -> Run | None:
    """The finished run of a plan, if the store has one and ``--again`` was not asked for."""
    if context.where.again:
        return None
    found: Run | None = context.store.finished(**plan.identity)
    return found


def execute(context: Context, plan: Plan, *, name: str | None = None, suffix: str = "") -> Run:
    """Find the run of a plan, or carry it out.

    Args:
        context: store and circumstances.
        plan: the request.
        name: of the new run, or None.
        suffix: end of the name that is made where none was asked for.

    Returns:
        The run, newly made or found finished.

    Raises:
        Busy: if another process carries out the same request.
        UsageError: if the name is no valid name or taken by another request.
    """
    if plan.first is not None:
        before, then = plan.first
        if name is not None:
            context.store.check_free(name, **plan.identity)
        execute(replace(context, where=context.where.model_copy(update={"again": False})), before)
        plan = then()
    job = context.store.begin(
        **plan.identity, name=name, suggestion=plan.suggestion + suffix, again=context.where.again
    )
    if isinstance(job, Run):
        return job
    with job:
        return plan.carry_out(job)
