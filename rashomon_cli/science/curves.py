"""Training the bends of a path so that the mean loss along it is low (Garipov et al. 2018, arXiv 1802.10026, eq. 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from rashomon_cli.science.paths import Path
from rashomon_cli.science.positions import Worst
from rashomon_cli.science.problem import Problem, Tick, silent
from rashomon_cli.science.training import SGD, Epochs, TrainState, descend


def fit(
    problem: Problem,
    path: Path,
    stream: Epochs,
    steps: int,
    cfg: SGD,
    state: TrainState,
    tick: Tick = silent,
    worst: Worst | None = None,
) -> Iterator[TrainState]:
    """Train the bends: one position a batch, the ends fixed.

    The weight decay penalises θ(t), as it does along the training of a model, not the control points one by one.

    Args:
        problem: the model and loss.
        path: kind and control points; the bends of ``state`` replace its own.
        stream: epoch number → its batches.
        steps: batches an epoch.
        cfg: hyperparameters.
        state: ``theta`` holds the bends (N, P).
        tick: called after each step with the loss.
        worst: draws the positions and learns from each step's loss, in place; t ~ U(0, 1) where left out.

    Yields:
        The state after each epoch.

    Raises:
        Diverged: if a loss is not finite.
    """
    moving = Path(path.kind, path.points.clone())
    bends_of, pulled = moving.points[1:-1], torch.empty_like(moving.points[1:-1])
    t = 0.0

    def place(bends: Tensor, chooser: torch.Generator) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        nonlocal t
        t = float(torch.rand((), generator=chooser, dtype=torch.float64))
        t = t if worst is None else worst.draw(t)
        bends_of.copy_(bends)
        theta = moving.at(t)
        shares = torch.tensor(moving.weights(t)[1:-1], dtype=bends.dtype, device=bends.device)

        def pull(gradient: Tensor) -> Tensor:
            # In place, since nobody needs θ or its gradient any more: with N bends every copy counts N-fold.
            return torch.mul(shares[:, None], gradient.add_(theta.mul_(cfg.weight_decay)), out=pulled)

        return theta, pull

    def tock(loss: float | None = None) -> None:
        if worst is not None and loss is not None:
            worst.saw(t, loss)
        tick(loss)

    undecayed = replace(cfg, weight_decay=0.0)
    yield from descend(problem, stream, steps, undecayed, state, place, tick=tock)


def with_bends(path: Path, bends: Tensor) -> Path:
    """A path with other bends (N, P) between the same ends."""
    return Path(path.kind, torch.cat([path.points[:1], bends.to(path.points), path.points[-1:]]))
