"""Training a free point of parameter space, a hub or a vertex, so that an interrupted call resumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.results import Variable, series
from rashomon_cli.operations import problems
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.states import pack_state, training_stream, unpack_state, use_bf16
from rashomon_cli.store import Job

if TYPE_CHECKING:
    from torch import Tensor

    from rashomon_cli.operations.connect import ConnectConfig
    from rashomon_cli.science.training import SGD, Epochs, TrainState

    Fit = Callable[[Epochs, int, SGD, TrainState, Callable[[float | None], None]], Iterator[TrainState]]


def fit(
    context: Context,
    config: ConnectConfig,
    job: Job,
    loaded: problems.Loaded,
    start: Tensor,
    descend: Fit,
    part: str = "state",
    seed: int | None = None,
) -> tuple[Tensor, list[float]]:
    """Train a point from its start, or take up where an interrupted call stopped.

    Args:
        context: told of every step.
        config: options of the training.
        job: keeps the state after each epoch.
        loaded: the problem; its ``weight_decay`` is that of the training.
        start: the point before the first step (P,).
        descend: yields the states, given batches, their number an epoch, hyperparameters, a state and a tick.
        part: under which the state is kept.
        seed: of positions and batches; that of ``config`` where left out.

    Returns:
        The point, and the mean loss of each epoch at random positions, as optimised.

    Raises:
        Diverged: if a loss is not finite.
    """
    from rashomon_cli.science import training
    from rashomon_cli.science.problem import fresh_buffers

    seed = config.seed if seed is None else seed
    stream = training_stream(loaded, config.batch_size, seed, job.request.config["augment"])
    sgd = training.SGD(
        config.epochs,
        config.lr,
        config.momentum,
        weight_decay=loaded.problem.weight_decay,
        schedule=config.schedule,
        bf16=use_bf16(config.precision, start.device.type),
        seed=seed,
    )
    kept = job.part(part)
    losses: list[float] = []
    if kept is None:
        state = training.TrainState(0, start, None, fresh_buffers(loaded.problem.module))
    else:
        state, losses = unpack_state(kept, start.device), kept.variables["mean_loss"].values.tolist()
        if state.epoch < config.epochs:
            context.note(f"resumed {job.label.name} after epoch {state.epoch}")
    context.progress.start("connect", config.epochs * stream.steps)
    for _ in range(state.epoch * stream.steps):
        context.progress.tick()
    for now in descend(stream, stream.steps, sgd, state, context.progress.tick):
        state = now
        losses.append(now.mean_loss)
        job.save(part, pack_state(now, history(losses)))
    return state.theta, losses


def history(losses: list[float], **more: Variable) -> dict[str, Variable]:
    """The training as variables over its epochs."""
    told: dict[str, Any] = {
        "epoch": series("epoch", np.arange(1, len(losses) + 1), "epoch", "epochs done"),
        "mean_loss": series("epoch", np.array(losses), "nat", "mean loss at random positions, as optimised"),
    }
    return told | more
