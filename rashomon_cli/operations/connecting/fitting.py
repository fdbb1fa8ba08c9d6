"""Training points of parameter space, bends, a hub or a vertex, so that an interrupted call resumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.results import Array, Result, Variable, series
from rashomon_cli.operations import problems
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.states import pack_state, training_stream, unpack_state, use_bf16
from rashomon_cli.store import Job

if TYPE_CHECKING:
    from torch import Tensor

    from rashomon_cli.operations.connect import ConnectConfig
    from rashomon_cli.science.training import SGD, Epochs, TrainState

    Fit = Callable[[Epochs, int, SGD, TrainState, Callable[[float | None], None]], Iterator[TrainState]]


class Log:
    """What is kept of a training beside its state: here the mean loss of each epoch."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def resume(self, kept: Result) -> None:
        """Take up what was kept when an earlier call was interrupted."""
        self.losses = list(kept.variables["mean_loss"].values)

    def add(self, state: TrainState) -> None:
        """One more epoch is done."""
        self.losses.append(state.mean_loss)

    def variables(self) -> dict[str, Variable]:
        """For ``metrics.h5``, over epochs."""
        return history(self.losses)

    def tensors(self) -> dict[str, Array]:
        """What the next epoch needs besides the state of the training."""
        return {}


def fit(
    context: Context,
    config: ConnectConfig,
    job: Job,
    loaded: problems.Loaded,
    start: Tensor,
    descend: Fit,
    log: Log,
    *,
    part: str = "state",
    seed: int | None = None,
    title: str = "",
) -> Tensor:
    """Train points of parameter space from their start, or take up where an interrupted call stopped.

    Args:
        context: told of every step.
        config: options of the training.
        job: keeps the state after each epoch.
        loaded: the problem; its ``weight_decay`` is that of the training.
        start: before the first step: a point (P,), or bends (N, P).
        descend: yields the states, given batches, their number an epoch, hyperparameters, a state and a tick.
        log: told of every epoch; kept with the state.
        part: under which both are kept.
        seed: of positions and batches; that of ``config`` where left out.
        title: which one of several trainings it is.

    Returns:
        The points after the last epoch.

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
    state = training.TrainState(0, start, None, fresh_buffers(loaded.problem.module))
    if (kept := job.part(part)) is not None:
        state = unpack_state(kept, start.device)
        log.resume(kept)
        # Of several, those that were done before the interruption go without saying.
        if state.epoch < config.epochs or not title:
            context.note(f"resumed {job.label.name}{title} after epoch {state.epoch}")
    context.progress.start(f"connect{title}", config.epochs * stream.steps)
    for _ in range(state.epoch * stream.steps):
        context.progress.tick()
    for now in descend(stream, stream.steps, sgd, state, context.progress.tick):
        state = now
        log.add(now)
        packed = pack_state(now, log.variables())
        job.save(part, replace(packed, tensors={**packed.tensors, **log.tensors()}))
    return state.theta


def history(losses: list[float], **more: Variable) -> dict[str, Variable]:
    """The training as variables over its epochs."""
    told: dict[str, Any] = {
        "epoch": series("epoch", np.arange(1, len(losses) + 1), "epoch", "epochs done"),
        "mean_loss": series("epoch", np.array(losses), "nat", "mean loss at random positions, as optimised"),
    }
    return told | more
