"""Which of several tries at a path is best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rashomon_cli.core.errors import UsageError
from rashomon_cli.core.results import Array, Result
from rashomon_cli.operations import problems
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.profiles import purpose
from rashomon_cli.operations.quantities.quantity import Samples, taken
from rashomon_cli.store import Job

if TYPE_CHECKING:
    from rashomon_cli.operations.connect import ConnectConfig
    from rashomon_cli.science.paths import Path
    from rashomon_cli.science.profile import Barrier


_FEWEST = 100  # examples on which barriers can be told apart at all


def check(config: ConnectConfig) -> None:
    """Refuse tries that nothing tells apart.

    Raises:
        UsageError: if there are several, and no positions between the ends to compare them at.
    """
    if config.tries > 1 and config.points < 3:
        raise UsageError(
            f"--tries {config.tries} are compared at positions between the ends; --points {config.points} has none",
            f"rashomon connect {config.a} {config.b} --tries {config.tries} --points 11",
        )


@dataclass(frozen=True)
class Choice:
    """Which examples tries are compared on, in the order that those which are reported on come first of.

    Attributes:
        skip: number of examples before them.
        count: number of these.
        shared: number of those among them that are reported on, too.
    """

    skip: int
    count: int
    shared: int

    @classmethod
    def of(cls, samples: Samples, train_count: int) -> Choice:
        """As many as are reported on, of the others; where these are fewer, what is left, but a hundred if need be."""
        reported = taken(samples, train_count)
        left = train_count - reported
        # Where all are reported on, their barrier is no estimate that a choice could bend.
        count = min(reported, max(left, _FEWEST)) if left else train_count
        shared = max(count - left, 0)
        return cls(reported - shared, count, shared)


def forward_passes(tries: int, points: int, samples: Samples, train_count: int) -> int:
    """What comparing takes: BatchNorm refreshed and losses evaluated between the ends of each try, at the ends once."""
    return (tries * (points - 2) + 2) * 2 * Choice.of(samples, train_count).count if tries > 1 else 0


def compare(
    context: Context, job: Job, loaded: problems.Loaded, paths: list[Path], points: int, samples: Samples, seed: int
) -> tuple[list[Barrier], int]:
    """The barriers of paths with common ends, on other training examples than those that are reported on.

    The lowest of several estimates is too low on the examples that it was chosen on.

    Args:
        context: circumstances.
        job: where losses are kept, a part for each path.
        loaded: the problem.
        paths: one for each try.
        points: positions, both ends included.
        samples: training examples that are reported on.
        seed: of the samples.

    Returns:
        A barrier each, and the number of the lowest: of equal ones that of the path with the lowest mean loss.
    """
    from rashomon_cli.science.profile import barrier, train_losses

    train = loaded.batches("train")
    choice = Choice.of(samples, train.count)
    sample = train.sample(choice.count, seed, purpose("train"), skip=choice.skip)
    ts = [float(t) for t in np.linspace(0, 1, points)]
    grids = {"ends": (paths[0], [0.0, 1.0])} | {str(n): (path, ts[1:-1]) for n, path in enumerate(paths, 1)}
    places = sum(len(inner) for _, inner in grids.values())
    context.progress.start("compare the tries", places * 2 * sample.steps)
    found: dict[str, Array] = {}
    for name, (path, inner) in grids.items():
        kept = job.part(f"compared-{name}")
        if kept is None:
            rows = [train_losses(loaded.problem, path.at(t), sample, context.progress.tick) for t in inner]
            kept = Result(tensors={"losses": np.stack(rows)})
            job.save(f"compared-{name}", kept)
        found[name] = kept.tensors["losses"]
    ends = found.pop("ends")
    grid = [np.stack([ends[0], *rows, ends[1]]) for rows in found.values()]
    heights = [barrier(ts, losses, sample.population) for losses in grid]
    best = min(range(len(grid)), key=lambda n: (heights[n].value, float(grid[n].mean())))
    if choice.count == train.count:
        context.note("the tries were compared on the examples that the barrier is reported on: these are all")
    elif choice.shared:
        words = f"the tries were compared on {choice.count} examples"
        context.note(f"{words}; the barrier is reported on {choice.shared} of them, too")
    return heights, best
