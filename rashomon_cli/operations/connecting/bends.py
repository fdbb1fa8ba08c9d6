"""Training the bends of a path: resumable, the barrier shown as it goes, the best of several tries kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from rashomon_cli.core.results import Array, Metric, Result, Variable, series
from rashomon_cli.core.seeds import derive
from rashomon_cli.operations import problems
from rashomon_cli.operations.connecting import fitting, tries, watching
from rashomon_cli.operations.connecting.watching import History, Watch
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Step, counted
from rashomon_cli.store import Job

if TYPE_CHECKING:
    from torch import Tensor

    from rashomon_cli.operations.connect import ConnectConfig
    from rashomon_cli.science.paths import Path
    from rashomon_cli.science.positions import Worst
    from rashomon_cli.science.training import TrainState


@dataclass(frozen=True)
class Trained:
    """What came of the training.

    Attributes:
        bends: (N, P), of the best try.
        groups: variables by group, for ``metrics.h5``: the training, and the tries where there were several.
        metrics: headline numbers of the tries.
    """

    bends: Tensor
    groups: dict[str, dict[str, Variable]]
    metrics: dict[str, Metric]


def steps(config: ConnectConfig, train_count: int) -> list[Step]:
    """What training and choosing take.

    Args:
        config: the options.
        train_count: number of training examples.

    Returns:
        Steps; a look refreshes BatchNorm and evaluates on its sample, the ends once for all looks.
    """
    found = [
        Step(
            f"{counted(config.epochs, 'epoch')} of training the bends"
            + (f", {config.tries} times" if config.tries > 1 else ""),
            config.tries * config.epochs * train_count,
            "train",
        )
    ]
    every = watching.interval(config.epochs, config.watch_every)
    watched = watching.forward_passes(config.epochs, every, config.tries, train_count)
    compared = tries.forward_passes(config.tries, config.points, config.samples, train_count)
    found += [Step("the barrier watched meanwhile", watched)] if watched else []
    return found + ([Step(f"the best of {config.tries} tries chosen", compared)] if compared else [])


def train(context: Context, config: ConnectConfig, job: Job, loaded: problems.Loaded, path: Path) -> Trained:
    """Train the bends as often as is asked for, and keep those of the path with the lowest barrier.

    The first try is what a single one would be. Each further one has batches, positions and dropout of its own, and
    starts with the bends pushed off at right angles to the line between the ends
    (:func:`~rashomon_cli.science.bends.pushed`).

    Args:
        context: circumstances.
        config: the options.
        job: where states are kept.
        loaded: the problem, with the weight decay of this training.
        path: where to start.

    Returns:
        The bends of the best try and how it was trained.

    Raises:
        Diverged: if a loss is not finite.
    """
    import torch

    from rashomon_cli.science.bends import pushed
    from rashomon_cli.science.curves import with_bends

    watch = Watch(loaded, path, config.epochs, watching.interval(config.epochs, config.watch_every), config.seed)
    outcomes = []
    for number in range(config.tries):
        seed, start = config.seed, path
        if number:
            seed = derive(config.seed, "try", number)
            start = pushed(path, torch.Generator().manual_seed(derive(seed, "push")))
        outcomes.append(_one(context, config, job, loaded, start, watch, number, seed))
    if config.tries == 1:
        return Trained(outcomes[0][0], {"training": outcomes[0][1]}, {})
    found = [with_bends(path, bends) for bends, _ in outcomes]
    heights, best = tries.compare(context, job, loaded, found, config.points, config.samples, config.seed)
    values, errors = [float(h.value) for h in heights], [float(h.stderr) for h in heights]
    compared = series("try", values, "nat", "barrier of each try, on the examples that they were compared on", errors)
    metrics: dict[str, Metric] = {
        "tries": config.tries,
        "best_try": best + 1,
        "tries_barrier_loss": list(values),
        "tries_barrier_loss_stderr": list(errors),
    }
    return Trained(outcomes[best][0], {"training": outcomes[best][1], "tries": {"barrier_loss": compared}}, metrics)


class _Log(fitting.Log):
    """Looks at the barrier as the bends move, and keeps what the positions are drawn by.

    Args:
        context: told of the barrier.
        watch: looks at it.
        path: whose bends are in training.
        worst: draws positions where the loss is worst; None for uniform ones.
    """

    def __init__(self, context: Context, watch: Watch, path: Path, worst: Worst | None) -> None:
        self._context, self._watch, self._path = context, watch, path
        self._history = History()
        self.worst = worst

    def resume(self, kept: Result) -> None:
        """Take up what was kept when an earlier call was interrupted."""
        self._history = History.of(kept)
        if self.worst is not None:
            self.worst.losses = np.array(kept.tensors["positions"])

    def add(self, state: TrainState) -> None:
        """One more epoch is done."""
        from rashomon_cli.science.curves import with_bends

        seen = self._watch.look(state.epoch, with_bends(self._path, state.theta))
        if seen is not None:
            self._context.progress.tell(f"barrier {seen.value:.4f}")
        self._history.add(state.mean_loss, seen)

    def variables(self) -> dict[str, Variable]:
        """For ``metrics.h5``, over epochs."""
        return self._history.variables(self._watch.looks)

    def tensors(self) -> dict[str, Array]:
        """What the next epoch needs besides the state of the training."""
        return {} if self.worst is None else {"positions": self.worst.losses}


def _one(
    context: Context,
    config: ConnectConfig,
    job: Job,
    loaded: problems.Loaded,
    path: Path,
    watch: Watch,
    number: int,
    seed: int,
) -> tuple[Tensor, dict[str, Variable]]:
    """Train the bends once, or take up where an interrupted call stopped."""
    from rashomon_cli.science import curves, positions

    log = _Log(context, watch, path, positions.Worst() if config.positions == "worst" else None)
    descend = partial(curves.fit, loaded.problem, path, worst=log.worst)
    part = f"state-{number + 1}" if number else "state"
    title = f", try {number + 1} of {config.tries}" if config.tries > 1 else ""
    start = path.points[1:-1].clone()
    bends = fitting.fit(context, config, job, loaded, start, descend, log, part=part, seed=seed, title=title)
    return bends, log.variables()
