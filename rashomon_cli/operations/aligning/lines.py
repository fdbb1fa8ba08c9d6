"""The straight line between two models four ways: as they are or aligned, statistics interpolated or reset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rashomon_cli.core.results import Variable
from rashomon_cli.operations import problems, profiles
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.profiles import Measured
from rashomon_cli.operations.quantities.quantity import Samples, taken
from rashomon_cli.store import Job

if TYPE_CHECKING:
    from torch import Tensor

    from rashomon_cli.science.evaluation import Evaluation
    from rashomon_cli.sources.batches import Batches

    End = tuple[Tensor, Mapping[str, Tensor]]

WAYS = {"naive": ("b", False), "reset": ("b", True), "aligned": ("aligned", False), "aligned_reset": ("aligned", True)}
"""For each way, the model at t = 1 and whether statistics are reset."""


class Options(Protocol):
    """What measuring lines takes from an operation's options."""

    @property
    def points(self) -> int:
        """Positions, both ends included."""
        ...

    @property
    def samples(self) -> Samples:
        """Examples of each split."""
        ...

    @property
    def seed(self) -> int:
        """Of the samples."""
        ...

    @property
    def reset(self) -> bool:
        """Whether the lines are measured with statistics reset too."""
        ...


def steps(points: int, samples: Samples, record: Mapping[str, Any], *, reset: bool) -> list[Step]:
    """What the lines cost."""
    train, test = (taken(samples, int(record[f"{split}_count"])) for split in ("train", "test"))
    ways = 4 if reset else 2
    places = ways * (points - 2) + (4 if reset else 2)
    found = [Step(f"{places} positions of {ways} straight lines evaluated", places * (train + test))]
    if reset:
        found.append(Step(f"statistics reset at {2 * points - 2} positions", (2 * points - 2) * train))
    return found


def measure(
    context: Context,
    job: Job,
    loaded: problems.Loaded,
    ends: Mapping[str, End],
    config: Options,
    made: Sequence[str],
) -> dict[str, Measured]:
    """Evaluate the lines from ``a`` to ``b`` and to ``aligned``; each position is kept as a part.

    Both ends of a line compute what they do however the other one was moved, so they are evaluated once.

    Args:
        context: circumstances.
        job: keeps the parts.
        loaded: the problem.
        ends: parameters and buffers of ``a``, ``b`` and ``aligned``.
        config: the options.
        made: parameters whose outputs REPAIR resets where there is no BatchNorm.

    Returns:
        The lines by the names of :data:`WAYS`, without those that were not asked for.
    """
    train, test = profiles.drawn(loaded, config.samples, config.seed)
    ts = [float(t) for t in np.linspace(0, 1, config.points)]
    ways = {way: told for way, told in WAYS.items() if config.reset or not told[1]}
    context.progress.start("evaluate", (train.steps + test.steps) * len(ways) * len(ts))
    found = {}
    for way, (end, reset) in ways.items():
        measure_at = _Reset(context, loaded, ends["a"], ends[end], train, test, made) if reset else None
        found[way] = Measured(ts, [], [])
        for index, t in enumerate(ts):
            key = f"{'reset' if reset else 'naive'}-{index}" if t in (0.0, 1.0) else f"{way}-{index}"

            def look(t: float = t, end: str = end, at: _Reset | None = measure_at) -> tuple[Evaluation, Evaluation]:
                if at is not None:
                    return at(t)
                return _interpolated(context, loaded, ends["a"], ends[end], t, train, test)

            on_train, on_test = profiles.kept(job, key, look, train, test)
            found[way].train.append(on_train)
            found[way].test.append(on_test)
    return found


def _interpolated(
    context: Context, loaded: problems.Loaded, a: End, b: End, t: float, train: Batches, test: Batches
) -> tuple[Evaluation, Evaluation]:
    """Parameters and statistics both on the straight line."""
    from rashomon_cli.science.evaluation import evaluate

    theta = a[0] if t == 0 else b[0] if t == 1 else (1 - t) * a[0] + t * b[0]
    buffers = {
        name: (1 - t) * value + t * b[1][name] if value.is_floating_point() else value for name, value in a[1].items()
    }
    one, two = (evaluate(loaded.problem, theta, buffers, s, context.progress.tick) for s in (train, test))
    return one, two


class _Reset:
    """Evaluates points of one line with statistics reset."""

    def __init__(
        self,
        context: Context,
        loaded: problems.Loaded,
        a: End,
        b: End,
        train: Batches,
        test: Batches,
        made: Sequence[str],
    ) -> None:
        from rashomon_cli.science import batchnorm, repair

        self.context, self.loaded, self.a, self.b, self.train, self.test = context, loaded, a, b, train, test
        module = loaded.problem.module
        self.layers = [] if batchnorm.has_statistics(module) else repair.layers(module, made)
        self.statistics: list[Any] = []

    def __call__(self, t: float) -> tuple[Evaluation, Evaluation]:
        """The line at t."""
        from rashomon_cli.science import repair
        from rashomon_cli.science.evaluation import evaluate
        from rashomon_cli.science.profile import measure_point

        problem, tick = self.loaded.problem, self.context.progress.tick
        theta = self.a[0] if t == 0 else self.b[0] if t == 1 else (1 - t) * self.a[0] + t * self.b[0]
        if not self.layers or t in (0.0, 1.0):
            _, *both = measure_point(problem, theta, self.a[1], self.train, self.test, tick)
            return both[0], both[1]
        aim = self._aim(t)
        if not aim:
            _, *both = measure_point(problem, theta, self.a[1], self.train, self.test, tick)
            return both[0], both[1]
        found = repair.measure(problem, theta, self.a[1], self.train, self.layers, aim, tick)
        with repair.reset(problem, found, aim):
            one, two = (evaluate(problem, theta, self.a[1], sample, tick) for sample in (self.train, self.test))
        return one, two

    def _aim(self, t: float) -> dict[str, Any]:
        """What statistics are reset to: between those of the ends."""
        from rashomon_cli.science import repair

        if not self.statistics:
            problem, tick = self.loaded.problem, self.context.progress.tick
            self.statistics = [
                repair.measure(problem, *end, self.train, self.layers, tick=tick) for end in (self.a, self.b)
            ]
            if lacking := [name for name in self.layers if name not in self.statistics[0]]:
                self.context.note(f"not reset, since they are read without being called: {', '.join(lacking)}")
        one, other = self.statistics
        return {call: one[call].between(other[call], t) for call in one if call in other}


def summarise(measured: Mapping[str, Measured]) -> tuple[dict[str, dict[str, Variable]], dict[str, Any]]:
    """Profiles for ``metrics.h5`` and the barriers of each way."""
    from rashomon_cli.science.profile import barrier

    groups: dict[str, dict[str, Variable]] = {}
    metrics: dict[str, Any] = {}
    for way, found in measured.items():
        groups[way] = profiles.profile_variables(found.ts, found.train, found.test)
        population = found.train[0].population
        height = barrier(found.ts, np.stack([e.losses.numpy() for e in found.train]), population)
        metrics[f"barrier_loss_{way}"] = height.value
        metrics[f"barrier_loss_{way}_stderr"] = height.stderr
        metrics[f"barrier_loss_{way}_interpolated"] = height.interpolated
        wrong = [e.wrong for e in found.train if e.wrong is not None]
        if wrong:
            errors = barrier(found.ts, np.stack([w.numpy() for w in wrong]), population, 100.0)
            metrics[f"barrier_error_{way}"] = errors.value
            metrics[f"barrier_error_{way}_stderr"] = errors.stderr
        if 0.5 in found.ts:
            metrics[f"midpoint_test_error_{way}"] = found.test[found.ts.index(0.5)].error
    first = next(iter(measured.values()))
    metrics |= {
        "points": len(first.ts),
        "train_samples": len(first.train[0].losses),
        "test_samples": len(first.test[0].losses),
    }
    return groups, metrics
