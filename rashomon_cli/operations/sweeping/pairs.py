"""The pairs of a sweep over widths: what is trained, aligned and connected, as requests of those operations."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from rashomon_cli.core.errors import UsageError
from rashomon_cli.core.options import Config, build
from rashomon_cli.core.specs import Spec
from rashomon_cli.core.sweeps import Member
from rashomon_cli.operations import align, connect, train
from rashomon_cli.operations.align import AlignConfig
from rashomon_cli.operations.connect import ConnectConfig
from rashomon_cli.operations.families import Planner
from rashomon_cli.operations.train import TrainConfig
from rashomon_cli.sources import builders, widths
from rashomon_cli.store import Parent, Run

if TYPE_CHECKING:
    from rashomon_cli.operations.sweep import SweepConfig

Act = Callable[[Sequence[Member[Any]], Planner[Any]], Sequence[Run | None]]
"""What becomes of requests of one operation: a run each, or None."""
Training = Member[TrainConfig]
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Pair:
    """Two trainings that differ in nothing but their seeds.

    Attributes:
        factor: width multiplier.
        number: among the pairs of its width, from 1.
        models: the two requests.
    """

    factor: float
    number: int
    models: tuple[Training, Training]


@dataclass
class Trio:
    """What there is of a pair: models, one aligned to the other, and a curve.

    Attributes:
        pair: the requests.
        a: the first model.
        b: the second.
        aligned: ``b`` moved onto ``a``; it holds the barriers of the straight lines.
        path: between them.
    """

    pair: Pair
    a: Run | None
    b: Run | None
    aligned: Run | None = None
    path: Run | None = None

    def parents(self) -> Iterator[Parent]:
        """Links to the runs that there are."""
        for role in ("a", "b", "aligned", "path"):
            run: Run | None = getattr(self, role)
            if run is not None:
                digest = run.record.artifacts[0].sha256
                yield Parent(id=run.id, role=f"{role}-{self.pair.number}-width-{self.pair.factor:g}", sha256=digest)


def of(config: SweepConfig) -> list[Pair]:
    """All pairs, the width varying slowest; no two share a model, so that those of one width are independent.

    Args:
        config: options of the sweep.

    Returns:
        ``pairs`` for each width. Pair k has the seeds ``seed + 2(k − 1)`` and the one after it.

    Raises:
        UsageError: if the builder does not exist, an option does not fit, or a width is no whole number.
        Refused: if the builder has no argument ``width``.
    """
    builder = builders.resolve(config.model)
    base = widths.width_of(builder, "rashomon sweep --model 'mlp(width=64)'", "multiplied")
    shared = config.model_dump(include=set(TrainConfig.model_fields))
    found = []
    for factor in config.widths:
        width = _width(config, base, factor)
        # The builder as it was written, where the width is its own: models trained before are found.
        wide = Spec(builder.given, builder.spec.arguments | {widths.WIDTH: width})
        model = config.model if width == base else str(wide)
        for number in range(config.pairs):
            one, two = (
                Member(
                    build(TrainConfig, shared | {"model": model, "seed": seed}),
                    {"model": f"w{width:g}", "seed": f"s{seed}"},
                )
                for seed in (config.seed + 2 * number, config.seed + 2 * number + 1)
            )
            found.append(Pair(factor, number + 1, (one, two)))
    return found


def _width(config: SweepConfig, base: float, factor: float) -> float:
    """A builder's width times a factor: a whole number where the builder's is one.

    Raises:
        UsageError: if it is none, or less than 1.
    """
    width = base * factor
    if not isinstance(base, int):
        return width
    whole = round(width)
    if whole < 1 or abs(width - whole) > _ROUNDING * max(1.0, width):
        near = dict.fromkeys(str(Fraction(max(round(base * each), 1), base)) for each in config.widths)
        raise UsageError(
            f"--widths {factor:g}: {factor:g} times the width {base} is {width:g}, no whole number of units",
            f"rashomon sweep --model {shlex.quote(config.model)} --widths {','.join(near)}",
        )
    return whole


def trios(config: SweepConfig, pairs: Sequence[Pair], act: Act) -> list[Trio]:
    """Every pair's models, then every pair's alignment, then every pair's curve.

    Args:
        config: options of the sweep.
        pairs: what is asked for.
        act: looks requests up, or carries them out.

    Returns:
        What there is of each pair; what needs a run that there is not is not asked for.
    """
    models = list(act([member for pair in pairs for member in pair.models], train.plan))
    found = [Trio(pair, one, two) for pair, one, two in zip(pairs, models[::2], models[1::2], strict=True)]
    both = [trio for trio in found if trio.a and trio.b]
    for trio, run in zip(both, act([_member(aligning(config, trio)) for trio in both], align.plan), strict=True):
        trio.aligned = run
    if config.bend:
        ready = [trio for trio in both if trio.aligned or not config.align_curve]
        for trio, run in zip(ready, act([_member(connecting(config, t)) for t in ready], connect.plan), strict=True):
            trio.path = run
    return found


def _member(config: Config) -> Member[Any]:
    return Member(config, {})


def aligning(config: SweepConfig, trio: Trio) -> AlignConfig:
    """The alignment of a pair, with the seed of its first model: pairs share no sample."""
    given = config.model_dump(include={"method", "points", "samples"})
    return build(AlignConfig, given | _ends(trio, trio.b))


def connecting(config: SweepConfig, trio: Trio) -> ConnectConfig:
    """The curve of a pair, with the seed of its first model."""
    given = config.model_dump(include={"bend", "batch_size", "momentum", "precision", "points", "samples"})
    given |= {"epochs": config.connect_epochs, "lr": config.connect_lr}
    return build(ConnectConfig, given | _ends(trio, trio.aligned if config.align_curve else trio.b))


def _ends(trio: Trio, second: Run | None) -> dict[str, Any]:
    """Options that name the runs; of runs that there are not yet the names that they will have do not matter."""
    one, two = (run.id if run else name for run, name in ((trio.a, "a"), (second, "b")))
    return {"a": one, "b": two, "seed": trio.pair.models[0].config.seed}
