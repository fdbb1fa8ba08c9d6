"""Stochastic gradient descent on the flat vector: schedules, masks that hold, and states that resume bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from rashomon_cli.core.errors import Diverged
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.problem import Problem, Tick, autocast, silent, smoothed

Epochs = Callable[[int], Iterator[tuple[Tensor, Tensor]]]
Place = Callable[[Tensor, torch.Generator], tuple[Tensor, Callable[[Tensor], Tensor]]]
After = Callable[[Tensor, Tensor | None, float], None]


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
        theta: free parameters: (P,) of a model, (N, P) of a path with N bends.
        velocity: momentum buffer of their shape; None before the first step.
        buffers: of the model.
        mean_loss: mean loss over the last epoch's augmented batches, as optimised.
        step: steps done since the training began.
    """

    epoch: int
    theta: Tensor
    velocity: Tensor | None
    buffers: Mapping[str, Tensor]
    mean_loss: float = math.nan
    step: int = 0


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


def descend(
    problem: Problem,
    stream: Epochs,
    steps: int,
    cfg: SGD,
    state: TrainState,
    place: Place,
    after: After | None = None,
    every: int | None = None,
    tick: Tick = silent,
) -> Iterator[TrainState]:
    """Run SGD on free parameters that determine where in parameter space each batch is evaluated.

    Args:
        problem: the model and loss.
        stream: epoch number → its batches.
        steps: batches an epoch, for the schedule.
        cfg: hyperparameters.
        state: where to begin; ``epoch`` of it are already done.
        place: (free, random numbers of the epoch) → (θ (P,), pull), where ``pull`` maps ∂L/∂θ to the free gradient.
        after: called after each step with the free parameters, their momentum and the learning rate, to change them.
        every: yield a state after so many steps too, besides the ends of epochs; such a state cannot be resumed from.
        tick: called after each step with the loss.

    Yields:
        The state after each epoch (and after every ``every`` steps).

    Raises:
        Diverged: if a loss is not finite.
    """
    loss_of = smoothed(problem.loss, cfg.label_smoothing)
    free = state.theta.clone()
    buffers = {name: value.clone() for name, value in state.buffers.items()}
    optimiser = torch.optim.SGD(
        [free], cfg.lr, cfg.momentum, weight_decay=cfg.weight_decay, nesterov=cfg.nesterov and cfg.momentum > 0
    )
    if state.velocity is not None:
        optimiser.state[free]["momentum_buffer"] = state.velocity.clone()
    for epoch in range(state.epoch, cfg.epochs):
        total, count = 0.0, 0
        chooser = torch.Generator().manual_seed(derive(cfg.seed, "place", epoch))
        layers = torch.Generator().manual_seed(derive(cfg.seed, "layers", epoch)).get_state()
        for step, (x, y) in enumerate(stream(epoch)):
            rate = learning_rate(cfg, (epoch + step / steps) / cfg.epochs)
            optimiser.param_groups[0]["lr"] = rate
            theta, pull = place(free, chooser)
            theta = theta.detach().requires_grad_()
            with layer_randomness(layers) as after_layers:
                problem.module.train()
                with autocast(theta.device, cfg.bf16):
                    outputs = problem.outputs(theta, buffers, x)
                layers = after_layers()
            loss = loss_of(outputs.to(theta.dtype), y).mean()
            value = float(loss.detach())
            if not math.isfinite(value):
                raise Diverged(
                    f"the loss is {value} in epoch {epoch + 1}, step {step + 1}, at a learning rate of {rate:.3g}",
                    _advice(cfg, epoch),
                )
            free.grad = pull(*torch.autograd.grad(loss, theta))
            optimiser.step()
            if after is not None:
                with torch.no_grad():
                    after(free, optimiser.state[free].get("momentum_buffer"), rate)
            total, count = total + value * len(x), count + len(x)
            tick(value)
            last = step + 1 == steps
            if last and not bool(torch.isfinite(free).all()):
                raise Diverged(
                    f"parameters are not finite after epoch {epoch + 1}, at a learning rate of {rate:.3g}",
                    _advice(cfg, epoch),
                )
            if last or (every and (step + 1) % every == 0):
                velocity = optimiser.state[free].get("momentum_buffer")
                yield TrainState(
                    epoch + 1 if last else epoch,
                    free.detach().clone(),
                    None if velocity is None else velocity.clone(),
                    {name: value.clone() for name, value in buffers.items()},
                    total / count,
                    epoch * steps + step + 1,
                )


def train(
    problem: Problem,
    stream: Epochs,
    steps: int,
    cfg: SGD,
    state: TrainState,
    mask: Tensor | None = None,
    tick: Tick = silent,
) -> Iterator[TrainState]:
    """Train a model.

    Args:
        problem: the model and loss.
        stream: epoch number → its batches.
        steps: batches an epoch.
        cfg: hyperparameters.
        state: where to begin.
        mask: (P,), 0 where a parameter is pruned: it stays 0, and so does its momentum.
        tick: called after each step with the loss.

    Yields:
        The state after each epoch.

    Raises:
        Diverged: if a loss is not finite.
    """
    after = None if mask is None else lambda theta, velocity, rate: hold(theta, velocity, mask)
    yield from descend(problem, stream, steps, cfg, state, lambda theta, _: (theta, _same), after, tick=tick)


def _advice(cfg: SGD, epoch: int) -> str:
    kept = f"; the checkpoint after epoch {epoch} is kept" if epoch else ""
    return f"try --lr {cfg.lr / 5:.2g}{kept}"


def _same(gradient: Tensor) -> Tensor:
    return gradient


@contextmanager
def layer_randomness(state: Tensor) -> Iterator[Callable[[], Tensor]]:
    """Give dropout and the like numbers from a state of the CPU generator, leaving the global generators as they were.

    Args:
        state: of a CPU generator.

    Yields:
        A function that returns the state to go on from.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        torch.set_rng_state(state)
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(int(torch.randint(2**62, ()).item()))
        yield torch.get_rng_state


@torch.no_grad()
def hold(theta: Tensor, velocity: Tensor | None, mask: Tensor) -> None:
    """Keep pruned parameters at zero, and their momentum, in place: momentum alone would revive them."""
    theta.mul_(mask)
    if velocity is not None:
        velocity.mul_(mask)
