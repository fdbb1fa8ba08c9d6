"""The L1 training that ``prune`` cuts: kept in a stage, which other thresholds and longer trainings start from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from rashomon_cli.core.options import Config, option
from rashomon_cli.core.results import Array, Result, Variable, scalar, series
from rashomon_cli.operations import problems
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.states import pack_state, training_stream, unpack_state, use_bf16
from rashomon_cli.store.parts import Stage

if TYPE_CHECKING:
    from torch import Tensor

    from rashomon_cli.science.training import TrainState


class L1Config(Config):
    """The options that determine the L1 training, which prunings with other thresholds share."""

    l1: float = option(1e-4, "λ of the penalty λ‖θ‖₁.", ge=0, sweep="l1-")
    epochs: int = option(4, "Passes over the training data with the penalty.", ge=0, sweep="e")
    lr: float = option(0.005, "Constant learning rate.", gt=0, sweep="lr-")
    momentum: float = option(0.9, "Nesterov momentum μ.", ge=0, lt=1, sweep="momentum-")
    l1_step: Literal["proximal", "subgradient"] = option(
        "proximal", "Soft threshold lr·λ/(1−μ) after each step, or λ·sign(θ) in the gradient."
    )
    all_: bool = option(False, "Penalise and prune BatchNorm parameters and biases too.", flag="--all")
    epsilon: float = option(0.05, "Stop where the loss exceeds its start by more.", ge=0, unit="nat", sweep="eps-")
    guard_every: int = option(100, "Steps between two looks at the loss.", ge=1, unit="steps")
    guard_samples: int = option(2000, "Training examples that the guard looks at.", ge=2, unit="examples")
    batch_size: int = option(128, "Examples a step.", ge=1, sweep="batch-")
    augment: Literal["auto", "crop-flip", "none"] = option("auto", "Augmentation, as in train.")
    precision: Literal["auto", "bf16", "float32"] = option("auto", "Arithmetic of the training steps.")
    seed: int = option(0, "Seed of the batches.", ge=0, sweep="s")


@dataclass(frozen=True)
class Regularised:
    """The outcome of the L1 training: a point within ε of the start, and what the guard saw."""

    theta: Tensor
    buffers: dict[str, Tensor]
    stopped: bool
    guard: dict[str, Variable]


def regularise(
    context: Context,
    config: L1Config,
    stage: Stage,
    loaded: problems.Loaded,
    theta: Tensor,
    buffers: dict[str, Tensor],
    where: Tensor,
    mask: Tensor | None,
    augment: str,
) -> Regularised:
    """Train with the penalty; each epoch is kept in the stage, so other thresholds and more epochs start from there."""
    from rashomon_cli.science import sparsity, training
    from rashomon_cli.science.batchnorm import refresh
    from rashomon_cli.science.evaluation import evaluate

    problem = loaded.problem
    watched = loaded.batches("train").sample(config.guard_samples, config.seed, "guard")

    def look(at: Tensor, its_buffers: dict[str, Tensor]) -> tuple[dict[str, Tensor], float]:
        own = refresh(problem, at, its_buffers, watched)
        return own, evaluate(problem, at, own, watched).loss

    stream = training_stream(loaded, config.batch_size, config.seed, augment)
    sgd = training.SGD(
        config.epochs,
        config.lr,
        config.momentum,
        schedule="constant",
        bf16=use_bf16(config.precision, theta.device.type),
        seed=config.seed,
    )
    start, start_loss = look(theta, dict(buffers))
    state = training.TrainState(0, theta, None, buffers)
    seen: list[tuple[int, float]] = [(0, start_loss)]
    good = (theta, start)
    for epoch in range(config.epochs, 0, -1):
        kept = stage.part(f"epoch-{epoch}")
        if kept is not None:
            state = unpack_state(kept, theta.device)
            seen = list(zip(kept.variables["step"].values.tolist(), kept.variables["loss"].values.tolist()))
            own = {name: _unpacked(kept, f"own/{name}", value) for name, value in start.items()}
            good = (_unpacked(kept, "good", theta), own)
            done = "1 epoch" if epoch == 1 else f"{epoch} epochs"
            context.note(f"found {done} of the L1 training in the store")
            break
    stopped = not seen[-1][1] <= start_loss + config.epsilon  # a NaN stops, too
    context.progress.start("prune", config.epochs * stream.steps)
    for _ in range(state.epoch * stream.steps):
        context.progress.tick()
    begin, l1 = state, sparsity.L1(config.l1, where, config.l1_step == "proximal")
    if not stopped:
        for state in sparsity.regularise(
            problem, stream, stream.steps, sgd, l1, begin, mask, config.guard_every, context.progress.tick
        ):
            own, loss = look(state.theta, dict(state.buffers))
            seen.append((state.step, loss))
            stopped = not loss <= start_loss + config.epsilon
            if not stopped:
                good = (state.theta, own)
            if stopped or state.step % stream.steps == 0:
                _keep(stage, -(-state.step // stream.steps), state, seen, good)
            if stopped:
                context.note(
                    f"the guard stopped at step {state.step}: loss {loss:.4f} exceeds {start_loss:.4f} + "
                    f"{config.epsilon:g}; the last point within it is pruned"
                )
                break
    guard = {
        "step": series("check", np.array([s for s, _ in seen]), "1", "steps with the penalty"),
        "loss": series("check", np.array([v for _, v in seen]), "nat", "guarded loss"),
        "start_loss": scalar(start_loss, "nat", "loss at the start"),
        "epsilon": scalar(config.epsilon, "nat", "rise of the loss at which the guard stops"),
        "l1_norm": scalar(float((good[0] * where).abs().sum()), "1", "‖θ‖₁ of the penalised weights after training"),
        "l1_norm_before": scalar(float((theta * where).abs().sum()), "1", "‖θ‖₁ of the penalised weights before"),
    }
    return Regularised(good[0], good[1], stopped, guard)


def _keep(
    stage: Stage,
    epoch: int,
    state: TrainState,
    seen: list[tuple[int, float]],
    good: tuple[Tensor, dict[str, Tensor]],
) -> None:
    packed = pack_state(replace(state, epoch=epoch), {})
    tensors: dict[str, Array] = dict(packed.tensors) | {"good": good[0].cpu().numpy()}
    tensors |= {f"own/{name}": value.cpu().numpy() for name, value in good[1].items()}
    history = {
        "step": series("check", np.array([s for s, _ in seen])),
        "loss": series("check", np.array([v for _, v in seen]), "nat"),
    }
    stage.save(f"epoch-{epoch}", Result(history, tensors, packed.metrics))


def _unpacked(part: Result, name: str, like: Tensor) -> Tensor:
    """One array of a part as a tensor on the device of another."""
    import torch

    return torch.from_numpy(np.array(part.tensors[name])).to(like.device)
