"""``rashomon sweep``: how the barriers between models from different seeds change with the width of their network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from rashomon_cli.core.errors import Diverged, PartlyDone, RashomonError
from rashomon_cli.core.options import Config, option
from rashomon_cli.core.specs import split_list
from rashomon_cli.operations import problems
from rashomon_cli.operations.align import AlignConfig
from rashomon_cli.operations.context import Context, asked
from rashomon_cli.operations.costs import Cost, costs
from rashomon_cli.operations.families import Outcome
from rashomon_cli.operations.origins import Origin
from rashomon_cli.operations.plan import Plan, execute
from rashomon_cli.operations.quantities.quantity import Samples
from rashomon_cli.operations.sweeping import barriers, forecasts, members, pairs
from rashomon_cli.operations.sweeping.pairs import Trio
from rashomon_cli.operations.train import TrainConfig
from rashomon_cli.store import Job, Run, Store


def _factors(value: Any) -> Any:
    """Multipliers as numbers, from text such as ``1/4,0.5,1``: each once, the narrowest first.

    Raises:
        ValueError: if one is no number.
    """
    several = split_list(value) if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    try:
        return tuple(sorted({float(Fraction(each)) for each in several}))
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        raise ValueError("numbers or fractions, separated by commas: 1/4,0.5,1,2") from None


Factors = Annotated[
    tuple[Annotated[float, Field(gt=0)], ...], BeforeValidator(_factors), Field(min_length=1, max_length=100)
]


def _of(model: type[Config], name: str) -> Any:
    """An option that another operation has: its default and its words. Its bounds are checked by that one's config."""
    its = model.model_fields[name]
    return option(its.default, its.description or "")


class SweepConfig(Config):
    """Options of ``sweep``."""

    model: str = option("preresnet8", "Builder with an argument width: a name, name(width=8), file.py:factory.")
    data: str = option("cifar10(train=10000)", "Data, as in train.")
    loss: str = _of(TrainConfig, "loss")
    widths: Factors = option(
        (0.25, 0.5, 1.0, 2.0), "Multipliers of the builder's width, fractions such as 1/4 among them."
    )
    pairs: int = option(3, "Pairs of models at each width; no model is in two.", ge=1, le=1000)
    seed: int = option(1, "Seed of the first model; the others follow it.", ge=0)
    epochs: int = _of(TrainConfig, "epochs")
    batch_size: int = _of(TrainConfig, "batch_size")
    lr: float = _of(TrainConfig, "lr")
    momentum: float = _of(TrainConfig, "momentum")
    weight_decay: float = _of(TrainConfig, "weight_decay")
    augment: Literal["auto", "crop-flip", "none"] = _of(TrainConfig, "augment")
    precision: Literal["auto", "bf16", "float32"] = _of(TrainConfig, "precision")
    eval_samples: int = _of(TrainConfig, "eval_samples")
    method: Literal["weights", "activations"] = _of(AlignConfig, "method")
    bend: int = option(1, "Trained bends of the Bezier curve between the two models; 0: no curve.", ge=0, le=32)
    connect_epochs: int = option(20, "Passes over the training data for each curve.", ge=1)
    connect_lr: float = option(0.03, "Largest learning rate of the curve's training.", gt=0)
    align_curve: bool = option(False, "End the curve at the aligned model, not at it as it is.", flag="--align-curve")
    points: int = option(11, "Positions at which lines and curve are evaluated, both ends included.", ge=3)
    samples: Samples = _of(AlignConfig, "samples")


@dataclass(frozen=True)
class Swept:
    """What became of a sweep.

    Attributes:
        run: the finished run; None where members are missing that the same call may still make.
        failed: members that were not made, and why.
        asked: number of members that were found, made, or failed.
    """

    run: Run | None
    failed: Sequence[tuple[Outcome[Any], RashomonError]] = ()
    asked: int = 0

    def error(self, again: str) -> PartlyDone | None:
        """What a user is told of the members that failed; None where none did.

        Args:
            again: the command that carries out what is missing.
        """
        if not self.failed:
            return None
        outcome, first = self.failed[0]
        words = f"{len(self.failed)} of {self.asked} runs failed, the first: {outcome.name}: {first.message}"
        end = f"{self.run.name} is without them" if self.run else "the sweep was not published"
        told = PartlyDone(f"{words}; {end}", first.hint or f"{again} again carries out what is missing", first.fix)
        if len(self.failed) == self.asked:
            told.code = first.code
        return told


def sweep(context: Context | Store, config: SweepConfig | None = None, /, **options: Any) -> Run:
    """Train, align and connect pairs of models of several widths, and publish their barriers as a ``measurement``.

    Every model, alignment and curve is a run of its own: those that exist are found, so an interrupted sweep goes on.

    Args:
        context: store and circumstances, or a store.
        config: the options.
        options: instead of ``config``: fields of :class:`SweepConfig` and of
            :class:`~rashomon_cli.operations.context.Where`.

    Returns:
        The run, newly made or found finished. Pairs whose training diverged are left out; its notes name them.

    Raises:
        UsageError: if a name or value does not exist, or a width is no whole number.
        Refused: if model, data and loss do not fit, or the network's symmetries cannot be found.
        PartlyDone: if a member failed by something else than divergence, or no pair is left; the same call goes on.
    """
    context, config = asked(context, SweepConfig, config, options)
    swept = carry_out(context, config)
    if swept.run is None:
        error = swept.error("the same call")
        assert error is not None
        raise error
    return swept.run


def carry_out(context: Context, config: SweepConfig) -> Swept:
    """Find or make every member, then the sweep.

    Args:
        context: store and circumstances.
        config: the options.

    Returns:
        The run, and what failed.

    Raises:
        UsageError: if a name or value does not exist, or a width is no whole number.
        Refused: if model, data and loss do not fit, or the network's symmetries cannot be found.
    """
    origin = Origin.of(context, config.model, config.data, config.loss)
    wanted = pairs.of(config)
    found = pairs.trios(config, wanted, members.Finished(context))
    making = members.Making(context)
    if any(_missing(config, trio) for trio in found):
        _check_name(context, _record(config, origin))
        forecasts.check_symmetries(context, wanted[0].models[0].config)
        found = pairs.trios(config, wanted, making)
    failed = [(outcome, outcome.error) for outcome in making.outcomes if outcome.error is not None]
    run = None
    if any(trio.aligned or trio.path for trio in found) and all(isinstance(error, Diverged) for _, error in failed):
        for outcome, error in failed:
            context.note(f"left out is what needs {outcome.name}: {error.message}")
        run = execute(context, _plan(context, config, origin, found), name=context.where.name)
    return Swept(run, failed, len(making.outcomes))


def dry_run(context: Context, config: SweepConfig) -> list[Cost]:
    """What each member would cost, and the sweep itself, which costs nothing once they are made.

    Args:
        context: store and circumstances.
        config: the options.

    Returns:
        One cost a run.

    Raises:
        UsageError: if a name or value does not exist, or a width is no whole number.
        Refused: if model, data and loss do not fit.
    """
    origin = Origin.of(context, config.model, config.data, config.loss)
    found = pairs.trios(config, pairs.of(config), members.Finished(context))
    own = _plan(context, config, origin, found)
    apart = members.apart(context)
    named = forecasts.plans(apart, config, found)
    return [*costs(apart, named), *costs(context, [(own, context.where.name or own.suggestion)])]


def _missing(config: SweepConfig, trio: Trio) -> bool:
    wanted = [trio.a, trio.b, trio.aligned, *([trio.path] if config.bend else [])]
    return any(run is None for run in wanted)


def _check_name(context: Context, record: Mapping[str, Any]) -> None:
    """Refuse a name that the sweep could not have, before its members are made.

    Raises:
        UsageError: if it is no valid name, or that of another request.
    """
    name = context.where.name
    if name is None:
        return
    for run in context.store.runs():
        # A sweep from which pairs were left out has other parents than the whole one.
        if run.name == name and run.record.operation == "sweep" and run.record.config == record:
            return
    context.store.check_free(name, "sweep", record)


def _plan(context: Context, config: SweepConfig, origin: Origin, found: Sequence[Trio]) -> Plan:
    """The sweep itself, of the members that there are."""
    return Plan(
        "sweep",
        _record(config, origin),
        suggestion=f"sweep-{origin.builder.short}-{origin.source.spec.target.rpartition(':')[2].rpartition('/')[2]}",
        told=(),
        steps=lambda: [],
        problems={},
        carry_out=lambda job: _publish(context, config, job, found),
        parents=[parent for trio in found for parent in trio.parents()],
    )


def _record(config: SweepConfig, origin: Origin) -> dict[str, Any]:
    """The options as the key has them: without those of a curve where there is none."""
    left_out = set() if config.bend else {"connect_epochs", "connect_lr", "align_curve"}
    return {name: value for name, value in (config.record() | origin.record).items() if name not in left_out}


def _publish(context: Context, config: SweepConfig, job: Job, found: Sequence[Trio]) -> Run:
    variables, metrics = barriers.summary(config.widths, config.pairs, found)
    return job.publish(
        "measurement",
        metrics=metrics,
        measurements=problems.in_units(config.loss, {"sweep": variables}),
        seeds={"seed": config.seed},
        **context.details(context.torch_device()),
    )
