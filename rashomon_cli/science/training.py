"""Stochastic gradient descent on the flat vector: schedules, masks that hold, and states that resume bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rashomon_cli.core.errors import Diverged
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.problem import Problem, Tick, autocast, silent, smoothed

Epochs = Callable[[int], Iterator[tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class SGD:
    """Hyperparameters of one training.

    Attributes:
        epochs: passes over the data.
        lr: largest learning rate.
        momentum: of SGD, in [0, 1).
        nesterov: whether the momentum is Nesterov's.
        weight_decay: of all parameters.
        schedule: ``one-cycle``, ``step`` (÷10 at half and three quarters) or ``constant``.
        label_smoothing: share of the uniform distribution in the targets.
        bf16: whether forward and backward run under bf16 autocast.
        seed: determines dropout and the like.
    """

    epochs: int
    lr: float
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    schedule: str = "one-cycle"
    label_smoothing: float = 0.0
    bf16: bool = False
    seed: int = 0


@dataclass(frozen=True)
class TrainState:
    """A training after a number of epochs: all that is needed to go on exactly.

    Attributes:
        epoch: epochs done.
        theta: parameters (P,).
        velocity: momentum buffer (P,); None before the first step.
        buffers: of the model.
        mean_loss: mean loss over the last epoch's augmented batches, as optimised.
    """

    epoch: int
    theta: Tensor
    velocity: Tensor | None
    buffers: Mapping[str, Tensor]
    mean_loss: float = math.nan


def learning_rate(cfg: SGD, progress: float) -> float:
    """The rate at a share of the training done.

    ``one-cycle`` rises linearly from a tenth to the largest rate over the first quarter, then falls along a cosine to
    (nearly) zero (Smith & Topin 2017, arXiv 1708.07120).

    Args:
        cfg: the hyperparameters.
        progress: in [0, 1).

    Returns:
        The learning rate.
    """
    if cfg.schedule == "constant":
        return cfg.lr
    if cfg.schedule == "step":
        return cfg.lr * (1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01)
    rise = 0.25
    if progress < rise:
        return cfg.lr * (0.1 + 0.9 * progress / rise)
    return cfg.lr * 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))


def train(
    problem: Problem,
    stream: Epochs,
    steps: int,
    cfg: SGD,
    state: TrainState,
    mask: Tensor | None = None,
    tick: Tick = silent,
) -> Iterator[TrainState]:
    """Train, yielding a state after every epoch.

    Args:
        problem: the model and loss.
        stream: epoch number → its batches.
        steps: batches an epoch, for the schedule.
        cfg: hyperparameters.
        state: where to begin; ``epoch`` of it are already done.
        mask: (P,), 0 where a parameter is pruned: it stays 0, and so does its momentum.
        tick: called after each step with the loss.

    Yields:
        The state after each epoch.

    Raises:
        Diverged: if a loss is not finite.
    """
    loss_of = smoothed(problem.loss, cfg.label_smoothing)
    theta = state.theta.clone().requires_grad_()
    buffers = {name: value.clone() for name, value in state.buffers.items()}
    optimiser = torch.optim.SGD(
        [theta], cfg.lr, cfg.momentum, weight_decay=cfg.weight_decay, nesterov=cfg.nesterov and cfg.momentum > 0
    )
    if state.velocity is not None:
        optimiser.state[theta]["momentum_buffer"] = state.velocity.clone()
    for epoch in range(state.epoch, cfg.epochs):
        total, count = 0.0, 0
        with torch.random.fork_rng(devices=[theta.device] if theta.is_cuda else []):
            torch.manual_seed(derive(cfg.seed, "layers", epoch))
            problem.module.train()
            for step, (x, y) in enumerate(stream(epoch)):
                rate = learning_rate(cfg, (epoch + step / steps) / cfg.epochs)
                optimiser.param_groups[0]["lr"] = rate
                with autocast(theta.device, cfg.bf16):
                    outputs = problem.outputs(theta, buffers, x)
                loss = loss_of(outputs if outputs.dtype == theta.dtype else outputs.to(theta.dtype), y).mean()
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise Diverged(
                        f"the loss is {value} in epoch {epoch + 1}, step {step + 1}, at a learning rate of {rate:.3g}",
                        f"try --lr {cfg.lr / 5:.2g}; the checkpoint after epoch {epoch} is kept",
                    )
                (theta.grad,) = torch.autograd.grad(loss, theta)
                optimiser.step()
                if mask is not None:
                    hold(theta, optimiser.state[theta].get("momentum_buffer"), mask)
                total, count = total + value * len(x), count + len(x)
                tick(value)
        velocity = optimiser.state[theta].get("momentum_buffer")
        yield TrainState(
            epoch + 1,
            theta.detach().clone(),
            None if velocity is None else velocity.clone(),
            {name: value.clone() for name, value in buffers.items()},
            total / count,
        )


@torch.no_grad()
def hold(theta: Tensor, velocity: Tensor | None, mask: Tensor) -> None:
    """Keep pruned parameters at zero, and their momentum, in place: momentum alone would revive them."""
    theta.mul_(mask)
    if velocity is not None:
        velocity.mul_(mask)
