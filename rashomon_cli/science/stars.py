"""Star domains: one trained hub from which the straight line to every anchor is low.

Sonthalia et al. 2024 ("Do deep neural network solutions form a star domain?", arXiv 2403.07968) ask whether the
solutions of a task are a star domain: whether there is a model h that the straight line joins with every other one at
a low loss. Their objective, without the permutations that they search for besides (anchors may be aligned beforehand),
is E over anchors i and t ~ U(0, 1) of L((1 − t) h + t aᵢ).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from rashomon_cli.science.problem import Problem, Tick, silent
from rashomon_cli.science.training import SGD, Epochs, TrainState, descend


def fit(
    problem: Problem, anchors: Tensor, stream: Epochs, steps: int, cfg: SGD, state: TrainState, tick: Tick = silent
) -> Iterator[TrainState]:
    """Train the hub: one anchor, chosen at random, and one position t ~ U(0, 1) a batch.

    The weight decay penalises the point on the line, as in the training of a path.

    Args:
        problem: the model and loss.
        anchors: fixed ends of the spokes (A, P).
        stream: epoch number → its batches.
        steps: batches an epoch.
        cfg: hyperparameters.
        state: ``theta`` holds the hub (P,).
        tick: called after each step with the loss.

    Yields:
        The state after each epoch.

    Raises:
        Diverged: if a loss is not finite.
    """

    def place(hub: Tensor, chooser: torch.Generator) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        anchor = int(torch.randint(len(anchors), (), generator=chooser))
        t = float(torch.rand((), generator=chooser, dtype=torch.float64))
        theta = (1 - t) * hub + t * anchors[anchor]
        return theta, lambda gradient: (1 - t) * (gradient + cfg.weight_decay * theta)

    yield from descend(problem, stream, steps, replace(cfg, weight_decay=0.0), state, place, tick=tick)
