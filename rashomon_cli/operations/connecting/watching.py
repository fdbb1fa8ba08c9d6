"""The barrier of a path while it trains: what it costs to look, when, and what is kept of it."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from rashomon_cli.core.results import Array, Result, Variable, series
from rashomon_cli.operations import problems
from rashomon_cli.operations.connecting.fitting import history

if TYPE_CHECKING:
    from rashomon_cli.science.paths import Path
    from rashomon_cli.science.profile import Barrier

LOOKS = 10
WATCHED = tuple(k / 6 for k in range(7))
_FEWEST, _MOST, _PART = 100, 500, 50


def interval(epochs: int, every: int | None) -> int:
    """Epochs between looks at the barrier, 0 for none: ten looks at most where ``every`` leaves it open."""
    return math.ceil(epochs / LOOKS) if every is None else every


def watched_samples(train_count: int) -> int:
    """Training examples of a look: a fiftieth, but 100 to 500, so that ten looks cost a few percent of 20 epochs."""
    return min(train_count, max(_FEWEST, min(_MOST, train_count // _PART)))


def forward_passes(epochs: int, every: int, tries: int, train_count: int) -> int:
    """What watching takes: BatchNorm refreshed and losses evaluated between the ends at each look, at the ends once."""
    looks = tries * sum(_is_due(epoch, every, epochs) for epoch in range(1, epochs + 1)) if every else 0
    return (looks * (len(WATCHED) - 2) + 2) * 2 * watched_samples(train_count) if looks else 0


class History:
    """What is known after each epoch: the mean loss, and the barrier where it was looked at."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.barriers: list[float] = []
        self.errors: list[float] = []

    @classmethod
    def of(cls, kept: Result) -> History:
        """From a state that was kept, also by a version that did not watch."""
        found = cls()
        found.losses = list(kept.variables["mean_loss"].values)
        watched = kept.variables.get("watched_barrier")
        blank = [math.nan] * len(found.losses)
        found.barriers = blank if watched is None else list(watched.values)
        found.errors = list(blank) if watched is None or watched.stderr is None else list(watched.stderr)
        return found

    def add(self, loss: float, seen: Barrier | None) -> None:
        """One more epoch."""
        self.losses.append(loss)
        self.barriers.append(math.nan if seen is None else seen.value)
        self.errors.append(math.nan if seen is None else seen.stderr)

    def variables(self, watched: bool) -> dict[str, Variable]:
        """For ``metrics.h5``, over epochs; the barrier is NaN after epochs in which nobody looked."""
        found = history(self.losses)
        if watched:
            words = "barrier at a few positions, on a small sample"
            found["watched_barrier"] = series("epoch", np.array(self.barriers), "nat", words, np.array(self.errors))
        return found


class Watch:
    """Looks at the barrier of a path under training now and then.

    Args:
        loaded: the problem.
        path: any path between the two ends.
        epochs: of the training; after the last one there is always a look.
        every: epochs between looks; 0: none.
        seed: of the sample, which is the same at every look.
    """

    def __init__(self, loaded: problems.Loaded, path: Path, epochs: int, every: int, seed: int) -> None:
        train = loaded.batches("train")
        self.looks = every > 0
        self._every, self._epochs = every, epochs
        self._problem = loaded.problem
        self._sample = train.sample(watched_samples(train.count), seed, "watched sample")
        self._path = path

    @functools.cached_property
    def _ends(self) -> list[Array]:
        """Losses at the ends, which stay: looked at once, and only if anybody looks."""
        return [self._losses(self._path, t) for t in (0.0, 1.0)]

    def _losses(self, path: Path, t: float) -> Array:
        from rashomon_cli.science.profile import train_losses

        return train_losses(self._problem, path.at(t), self._sample)

    def look(self, epoch: int, path: Path) -> Barrier | None:
        """The barrier of a path now; None after epochs in which nobody looks."""
        from rashomon_cli.science.profile import barrier

        if not self.looks or not _is_due(epoch, self._every, self._epochs):
            return None
        inner = [self._losses(path, t) for t in WATCHED[1:-1]]
        return barrier(WATCHED, np.stack([self._ends[0], *inner, self._ends[1]]), self._sample.population)


def _is_due(epoch: int, every: int, epochs: int) -> bool:
    return epoch % every == 0 or epoch == epochs
