"""Training the bends of a path so that the mean loss along it is low (Garipov et al. 2018, arXiv 1802.10026, eq. 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from rashomon_cli.science.paths import Path
from rashomon_cli.science.problem import Problem, Tick, silent
from rashomon_cli.science.training import SGD, Epochs, TrainState, descend


def fit(
    problem: Problem, path: Path, stream: Epochs, steps: int, cfg: SGD, state: TrainState, tick: Tick = silent
) -> Iterator[TrainState]:
    """Train the bends: a position t ~ U(0, 1) a batch, the ends fixed.

    The weight decay penalises θ(t), as it does along the training of a model, not the control points one by one.

    Args:
        problem: the model and loss.
        path: kind and control points; the bends of ``state`` replace its own.
        stream: epoch number → its batches.
        steps: batches an epoch.
        cfg: hyperparameters.
        state: ``theta`` holds the bends (N, P).
        tick: called after each step with the loss.

    Yields:
        The state after each epoch.

    Raises:
        Diverged: if a loss is not finite.
    """

    def place(bends: Tensor, chooser: torch.Generator) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        t = float(torch.rand((), generator=chooser, dtype=torch.float64))
        here = with_bends(path, bends)
        theta = here.at(t)
        shares = torch.tensor(here.weights(t)[1:-1], dtype=bends.dtype, device=bends.device)
        return theta, lambda gradient: shares[:, None] * (gradient + cfg.weight_decay * theta)

    undecayed = replace(cfg, weight_decay=0.0)
    yield from descend(problem, stream, steps, undecayed, state, place, tick=tick)


def with_bends(path: Path, bends: Tensor) -> Path:
    """A path with other bends (N, P) between the same ends."""
    return Path(path.kind, torch.cat([path.points[:1], bends.to(path.points), path.points[-1:]]))
