"""``rashomon train``: one model from a seed."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rashomon_cli.core.errors import Diverged, UsageError
from rashomon_cli.core.options import Config, RunName, option
from rashomon_cli.core.results import Variable, series
from rashomon_cli.operations import problems, subjects, weights
from rashomon_cli.operations.context import Context, asked
from rashomon_cli.operations.origins import Origin
from rashomon_cli.operations.plan import Plan, Step, counted, execute
from rashomon_cli.operations.states import arithmetic, pack_state, space, training_stream, unpack_state, use_bf16
from rashomon_cli.sources import builders, data
from rashomon_cli.store import Job, Run, Store

if TYPE_CHECKING:
    from rashomon_cli.science.training import TrainState

_CURVES = {
    "train_loss": ("nat", "loss on un-augmented training examples"),
    "train_accuracy": ("1", "accuracy on un-augmented training examples"),
    "test_loss": ("nat", "loss on test examples"),
    "test_accuracy": ("1", "accuracy on test examples"),
}


class TrainConfig(Config):
    """Options of ``train``."""

    model: str = option("preresnet20", "Builder: a name, name(width=8), file.py:factory or module:factory.", sweep="")
    data: str = option("cifar10", "Data: digits, photos, mnist, cifar10, folder:PATH, npz:PATH, module:factory.")
    loss: str = option("cross-entropy", "Loss: cross-entropy, mse, or module:function giving one value an example.")
    init: RunName | None = option(None, "Run whose weights to start from; its pruning mask holds.", reference=True)
    seed: int = option(0, "Seed of the initial parameters, the batches and the augmentation.", ge=0, sweep="s")
    epochs: int = option(24, "Passes over the training data.", ge=1, sweep="e")
    batch_size: int = option(128, "Examples a step.", ge=1, sweep="batch-")
    lr: float = option(0.1, "Largest learning rate.", gt=0, sweep="lr-")
    momentum: float = option(0.9, "Nesterov momentum; 0 for plain SGD.", ge=0, lt=1, sweep="momentum-")
    weight_decay: float = option(5e-4, "L2 penalty on all parameters.", ge=0, sweep="wd-")
    schedule: Literal["one-cycle", "step", "constant"] = option("one-cycle", "Learning-rate schedule.")
    label_smoothing: float = option(
        0.0, "Share of the uniform distribution in the training targets.", ge=0, lt=1, sweep="smoothing-"
    )
    augment: Literal["auto", "crop-flip", "none"] = option("auto", "Augmentation; auto: crop and flip natural images.")
    precision: Literal["auto", "bf16", "float32"] = option("auto", "Arithmetic of the training steps.")
    eval_samples: int = option(5000, "Examples of each split in the per-epoch figures.", ge=1, unit="examples")


def train(context: Context | Store, config: TrainConfig | None = None, /, **options: Any) -> Run:
    """Train one model and publish it as a run of kind ``model``.

    Args:
        context: store and circumstances, or a store.
        config: the options.
        options: instead of ``config``: fields of :class:`TrainConfig` and of
            :class:`~rashomon_cli.operations.context.Where`.

    Returns:
        The run, newly made or found finished.

    Raises:
        UsageError: if a name or value does not exist.
        Refused: if model, data and loss do not fit.
        Diverged: if a loss is not finite; the last good checkpoint is kept.
    """
    context, config = asked(context, TrainConfig, config, options)
    return execute(context, plan(context, config), name=context.where.name)


def plan(context: Context, config: TrainConfig) -> Plan:
    """Check a training as far as that goes without importing torch, and count what it takes.

    Raises:
        UsageError: if a name or value does not exist.
    """
    origin = Origin.of(context, config.model, config.data, config.loss)
    if config.label_smoothing and config.loss != "cross-entropy":
        raise UsageError("--label-smoothing needs the loss cross-entropy", "--label-smoothing 0")
    start = subjects.find(context, config.init, "model") if config.init else None
    statistics = problems.statistics_of(start.run.record.data) if start and start.run.record.data else None
    load = functools.partial(origin.load, context, statistics=statistics)
    builder, source = origin.builder, origin.source
    known = builder.spec.target in builders.BUILT_IN and not builder.spec.arguments
    return Plan(
        "train",
        config.record() | origin.record,
        suggestion=f"{builder.short}-{source.spec.target.rpartition(':')[2].rpartition('/')[2]}-s{config.seed}",
        told=("seed", "model") if known else ("seed",),
        steps=lambda: _steps(config, source.load(context.store.cache)),
        problems={origin.name: lambda: load(device=context.torch_device())},
        carry_out=lambda job: _carry_out(context, config, job, load, start),
        parents=[start.parent("init")] if start else [],
        fingerprints=origin.fingerprints,
        batch_size=config.batch_size,
    )


def _steps(config: TrainConfig, found: data.Data) -> list[Step]:
    train, test = len(found.x_train), len(found.x_test)
    each = min(config.eval_samples, train) + min(config.eval_samples, test)
    return [
        Step(f"{counted(config.epochs, 'epoch')} of training", config.epochs * train, "train"),
        Step("figures after each epoch", config.epochs * each),
        Step("final figures on all data", train + test),
    ]


def _carry_out(
    context: Context,
    config: TrainConfig,
    job: Job,
    load: Callable[..., problems.Loaded],
    start: subjects.Subject | None,
) -> Run:
    from rashomon_cli.science import evaluation, training
    from rashomon_cli.science.problem import fresh_buffers

    device = context.torch_device()
    loaded = load(device=device, weight_decay=config.weight_decay, seed=config.seed)
    problem = loaded.problem
    job.require(space(problem.layout))
    stream = training_stream(loaded, config.batch_size, config.seed, config.augment)
    bf16 = use_bf16(config.precision, device.type)
    sgd = training.SGD(
        config.epochs,
        config.lr,
        config.momentum,
        weight_decay=config.weight_decay,
        schedule=config.schedule,
        label_smoothing=config.label_smoothing,
        bf16=bf16,
        seed=config.seed,
    )
    samples = {s: loaded.batches(s).sample(config.eval_samples, 0) for s in ("train", "test")}
    kept = job.part("state")
    mask = weights.load_mask(loaded, start.run, device) if start else None
    if kept is None:
        theta = problem.layout.flatten(dict(problem.module.named_parameters()))
        buffers = fresh_buffers(problem.module)
        if start:
            theta, buffers = subjects.load_model(context, loaded, start, device)
        state = training.TrainState(0, theta, None, buffers)
        history: dict[str, Variable] = {}
    else:
        state, history = unpack_state(kept, device), dict(kept.variables)
        context.note(f"resumed {job.label.name} after epoch {state.epoch}")
    context.progress.start("train", config.epochs * stream.steps)
    for _ in range(state.epoch * stream.steps):
        context.progress.tick()
    for now in training.train(problem, stream, stream.steps, sgd, state, mask, tick=context.progress.tick):
        state = now
        figures = {s: evaluation.evaluate(problem, state.theta, state.buffers, samples[s]) for s in samples}
        if not math.isfinite(figures["train"].loss):
            raise Diverged(
                f"the loss is {figures['train'].loss} after epoch {state.epoch}", f"--lr {config.lr / 5:.2g}"
            )
        history = _longer(history, state, figures)
        job.save("state", pack_state(state, history))
    final = {s: evaluation.evaluate(problem, state.theta, state.buffers, loaded.batches(s)) for s in samples}
    metrics = {
        "train_loss": final["train"].loss,
        "train_accuracy": final["train"].accuracy,
        "test_loss": final["test"].loss,
        "test_accuracy": final["test"].accuracy,
        "cross_entropy_test": final["test"].cross_entropy,
        "parameters": problem.layout.total,
        "epochs": config.epochs,
    }
    return job.publish(
        "model",
        metrics=metrics,
        measurements=problems.in_units(config.loss, {"training": history}),
        tensor_files=weights.model_files(loaded, state.theta, state.buffers, mask),
        builder=loaded.builder.record(),
        data=loaded.data_record,
        seeds={"seed": config.seed},
        **context.details(device, arithmetic(config.precision, device.type)),
    )


def _longer(history: dict[str, Variable], state: TrainState, figures: dict[str, Any]) -> dict[str, Variable]:
    values = {
        "train_loss": (figures["train"].loss, figures["train"].loss_stderr),
        "train_accuracy": (figures["train"].accuracy, figures["train"].error_stderr / 100),
        "test_loss": (figures["test"].loss, figures["test"].loss_stderr),
        "test_accuracy": (figures["test"].accuracy, figures["test"].error_stderr / 100),
    }
    longer = {}
    for name, (units, words) in _CURVES.items():
        before = history.get(name)
        old, old_error = ([], []) if before is None else (list(before.values), list(before.stderr))  # type: ignore[arg-type]
        value, error = values[name]
        longer[name] = series("epoch", [*old, value], units, words, [*old_error, error])
    before = history.get("optimised_loss")
    losses = [] if before is None else list(before.values)
    longer["optimised_loss"] = series(
        "epoch", [*losses, state.mean_loss], "nat", "mean loss of the augmented batches, as optimised"
    )
    longer["epoch"] = series("epoch", np.arange(1, state.epoch + 1), "epoch", "epochs done")
    return longer
