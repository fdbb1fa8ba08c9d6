"""What is known of a sweep before its models exist: the plans of its members, and whether they can be aligned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rashomon_cli.operations import align, connect, train
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Plan, Step
from rashomon_cli.operations.sweeping import pairs
from rashomon_cli.operations.sweeping.pairs import Trio
from rashomon_cli.operations.train import TrainConfig
from rashomon_cli.store import Job, Run

if TYPE_CHECKING:
    from rashomon_cli.operations.sweep import SweepConfig

Named = tuple[Plan, str]


def plans(context: Context, config: SweepConfig, trios: Sequence[Trio]) -> list[Named]:
    """The plans of all members in the order in which they are carried out, with the names that their runs will have.

    Args:
        context: store and circumstances.
        config: options of the sweep.
        trios: what there is.

    Returns:
        Models, alignments, curves. A plan that reads runs which do not exist yet tells its cost and no more.

    Raises:
        UsageError: if a name or value does not exist.
        Refused: if the data do not hold what they should.
    """
    data = context.source(config.data).load(context.store.cache)
    record = {"train_count": len(data.x_train), "test_count": len(data.x_test)}
    trainings: list[Named] = []
    alignments: list[Named] = []
    curves: list[Named] = []
    for trio in trios:
        models = [_training(context, run, member) for run, member in zip((trio.a, trio.b), trio.pair.models)]
        trainings += models
        (like, one), (_, two) = models
        alignments.append((_alignment(context, config, trio, like, record), f"{two}-on-{one}"))
        if config.bend:
            end = alignments[-1][1] if config.align_curve else two
            curves.append((_curve(context, config, trio, like, record), f"bezier-{one}-{end}"))
    return [*trainings, *alignments, *curves]


def _training(context: Context, run: Run | None, member: pairs.Training) -> Named:
    plan = train.plan(context, member.config)
    return plan, run.name if run else plan.suggestion + member.suffix(plan.told)


def _alignment(context: Context, config: SweepConfig, trio: Trio, like: Plan, record: Mapping[str, int]) -> Plan:
    asked = pairs.aligning(config, trio)
    if trio.a and trio.b:
        return align.plan(context, asked)
    return _later("align", like, align.steps(asked, record))


def _curve(context: Context, config: SweepConfig, trio: Trio, like: Plan, record: Mapping[str, int]) -> Plan:
    asked = pairs.connecting(config, trio)
    if trio.a and trio.b and (trio.aligned or not config.align_curve):
        return connect.plan(context, asked)
    return _later("connect", like, connect.steps(asked, record), precision=config.precision)


def _later(operation: str, like: Plan, steps: Sequence[Step], **config: Any) -> Plan:
    """A plan of what needs runs that do not exist yet, on the problem of another plan."""
    return Plan(operation, config, "", (), lambda: steps, like.problems, _too_early, batch_size=like.batch_size)


def _too_early(job: Job) -> Run:
    raise AssertionError("the models come first")


def check_symmetries(context: Context, config: TrainConfig) -> None:
    """Refuse a network whose models could not be aligned, before any is trained.

    Args:
        context: store and circumstances.
        config: of a training.

    Raises:
        UsageError: if a name or value does not exist.
        Refused: if model, data and loss do not fit, or the network's symmetries cannot be found.
    """
    from rashomon_cli.science import symmetries

    for load in train.plan(context, config).problems.values():
        loaded = load()
        x, _ = next(iter(loaded.batches("train")))
        symmetries.find(loaded.problem.module, x[:2])
