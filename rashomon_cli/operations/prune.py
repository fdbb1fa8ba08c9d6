"""``rashomon prune``: keep training on L + λ‖θ‖₁ under a guard, then set small weights to zero for good."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rashomon_cli.core.options import Config, RunName, argument, option
from rashomon_cli.core.results import Array, Result, Variable, scalar, series
from rashomon_cli.operations import problems, subjects, weights
from rashomon_cli.operations.context import Context, asked
from rashomon_cli.operations.plan import Plan, Step, execute
from rashomon_cli.operations.quantities.quantity import Samples
from rashomon_cli.operations.states import arithmetic, pack_state, space, training_stream, unpack_state, use_bf16
from rashomon_cli.store import Job, Run, Store
from rashomon_cli.store.parts import Stage

if TYPE_CHECKING:
    from torch import Tensor

    from rashomon_cli.science.evaluation import Evaluation
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


class PruneConfig(L1Config):
    """Options of ``prune``."""

    run: RunName = argument("Models to prune: names, ids, or NAME@t on a path.", metavar="NAME...", sweep="")
    thr: float = option(0.05, "Weights of smaller magnitude become zero for good.", ge=0, sweep="thr-")
    samples: Samples = option("all", "Examples of each split in the figures, or all.")


@dataclass(frozen=True)
class _Regularised:
    """The outcome of the L1 training: a point within ε of the start, and what the guard saw."""

    theta: Tensor
    buffers: dict[str, Tensor]
    stopped: bool
    guard: dict[str, Variable]


def prune(context: Context | Store, config: PruneConfig | None = None, /, **options: Any) -> Run:
    """Regularise and prune one model and publish it as a run of kind ``model`` with its mask.

    Args:
        context: store and circumstances, or a store.
        config: the options.
        options: instead of ``config``: fields of :class:`PruneConfig` and of
            :class:`~rashomon_cli.operations.context.Where`; ``run`` may be a run.

    Returns:
        The run, newly made or found finished.

    Raises:
        UsageError: if the run does not exist or is no model.
        Busy: if another process works on the same L1 training.
        Diverged: if a loss is not finite; the last good checkpoint is kept.
    """
    context, config = asked(context, PruneConfig, config, options)
    return execute(context, plan(context, config), name=context.where.name)


def plan(context: Context, config: PruneConfig) -> Plan:
    """Look up the model without importing torch, and count what it takes.

    Raises:
        UsageError: if the run does not exist or is no model.
    """
    subject = subjects.find(context, config.run, "model")
    kept = subjects.inherited(subject.run, config.augment)
    recipe = _recipe(config, subject, kept["augment"])
    return Plan(
        "prune",
        config.record() | kept,
        suggestion=f"{subject.label.replace('@', '-t')}-l1-{config.l1:g}-thr-{config.thr:g}",
        told=("run", "l1", "thr"),
        steps=lambda: _steps(context, config, subject.run, recipe),
        load=lambda: subjects.load_problem(context, subject.run, context.torch_device()),
        timed_by=subject.run.id,
        carry_out=lambda job: _carry_out(context, config, job, subject, recipe),
        parents=[subject.parent("model")],
        batch_size=config.batch_size,
    )


def _recipe(config: PruneConfig, subject: subjects.Subject, augment: str) -> dict[str, Any]:
    """What determines the L1 training, whatever its length: prunings with the same recipe share it."""
    options = config.model_dump(mode="json", include=set(L1Config.model_fields) - {"epochs"})
    parent = subject.parent("model").model_dump(mode="json")
    return {"stage": "l1", "config": options | {"augment": augment}, "parent": parent}


def _steps(context: Context, config: PruneConfig, run: Run, recipe: dict[str, Any]) -> list[Step]:
    record = run.record.data or {}
    train, test = int(record["train_count"]), int(record["test_count"])
    saved = context.store.saved_in_stage(recipe)
    done = next((epoch for epoch in range(config.epochs, 0, -1) if saved.has(f"epoch-{epoch}")), 0)
    left = config.epochs - done
    looks = 1 + left * math.ceil(math.ceil(train / config.batch_size) / config.guard_every)
    samples = sum(n if config.samples == "all" else min(n, int(config.samples)) for n in (train, test))
    shared = json.dumps(recipe, sort_keys=True)
    return [
        Step(f"{left} epochs of training with the penalty", left * train, "train", shared=shared),
        Step(f"{looks} looks of the guard", 2 * looks * min(config.guard_samples, train), shared=f"guard {shared}"),
        Step("figures before, regularised, unrefreshed and after", 4 * samples),
        Step("BatchNorm refreshed", train),
    ]


def _carry_out(
    context: Context, config: PruneConfig, job: Job, subject: subjects.Subject, recipe: dict[str, Any]
) -> Run:
    from rashomon_cli.science import evaluation, sparsity
    from rashomon_cli.science.batchnorm import refresh

    device = context.torch_device()
    loaded = subjects.load_problem(context, subject.run, device)
    problem, layout = loaded.problem, loaded.problem.layout
    job.require(space(layout))
    theta, buffers = subjects.load_model(context, loaded, subject, device)
    old_mask = weights.load_mask(loaded, subject.run, device) if subject.t is None else None
    where = sparsity.prunable(problem.module, layout, config.all_).to(device)
    with job.stage(recipe) as stage:
        regularised = _regularise(
            context, config, stage, loaded, theta, buffers, where, old_mask, recipe["config"]["augment"]
        )
    pruned, mask = sparsity.cut(regularised.theta, config.thr, where, old_mask)
    count = None if config.samples == "all" else config.samples
    samples = {s: loaded.batches(s).sample(count, 0) for s in ("train", "test")}
    fresh = refresh(
        problem, pruned, regularised.buffers, loaded.batches("train").sample(None, 0), context.progress.tick
    )
    figures = {
        suffix: {s: evaluation.evaluate(problem, t, b, samples[s], context.progress.tick) for s in samples}
        for suffix, t, b in (
            ("_before", theta, buffers),
            ("_regularised", regularised.theta, regularised.buffers),
            ("_unrefreshed", pruned, regularised.buffers),
            ("", pruned, fresh),
        )
    }
    densities = sparsity.density(layout, pruned, where)
    metrics = _metrics(config, figures, densities, layout.total, int((pruned != 0).sum()), regularised.stopped)
    return job.publish(
        "model",
        metrics=metrics,
        measurements=problems.in_units(
            subject.run.record.config["loss"], {"guard": regularised.guard, "layers": _layers(densities)}
        ),
        tensor_files=weights.model_files(loaded, pruned, fresh, mask),
        builder=loaded.builder.record(),
        data=loaded.data_record,
        seeds={"seed": config.seed},
        **context.details(device, arithmetic(config.precision, device.type)),
    )


def _regularise(
    context: Context,
    config: PruneConfig,
    stage: Stage,
    loaded: problems.Loaded,
    theta: Tensor,
    buffers: dict[str, Tensor],
    where: Tensor,
    mask: Tensor | None,
    augment: str,
) -> _Regularised:
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
            own = {name: unpack_tensor(kept, f"own/{name}", value) for name, value in start.items()}
            good = (unpack_tensor(kept, "good", theta), own)
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
    return _Regularised(good[0], good[1], stopped, guard)


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


def unpack_tensor(part: Result, name: str, like: Tensor) -> Tensor:
    """One array of a part as a tensor on the device of another."""
    import torch

    return torch.from_numpy(np.array(part.tensors[name])).to(like.device)


def _metrics(
    config: PruneConfig,
    figures: dict[str, dict[str, Evaluation]],
    densities: dict[str, tuple[float, int]],
    parameters: int,
    nonzero: int,
    stopped: bool,
) -> dict[str, Any]:
    weights = sum(n for _, n in densities.values())
    kept = sum(share * n for share, n in densities.values())
    metrics: dict[str, Any] = {
        "sparsity": 1 - kept / weights if weights else math.nan,
        "nonzero": nonzero,
        "parameters": parameters,
        "within_epsilon": figures[""]["train"].loss <= figures["_before"]["train"].loss + config.epsilon,
        "guard_stopped": stopped,
    }
    for suffix, splits in figures.items():
        for split, e in splits.items():
            metrics |= {f"{split}_loss{suffix}": e.loss, f"{split}_accuracy{suffix}": e.accuracy}
    metrics["cross_entropy_test"] = figures[""]["test"].cross_entropy
    return metrics


def _layers(densities: dict[str, tuple[float, int]]) -> dict[str, Variable]:
    return {
        "layer": series("layer", np.array(list(densities)), "1", "parameter"),
        "density": series("layer", np.array([d for d, _ in densities.values()]), "1", "share of weights kept"),
        "weights": series("layer", np.array([n for _, n in densities.values()]), "1", "number of weights"),
    }
