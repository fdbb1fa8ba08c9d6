"""``rashomon prune``: keep training on L + λ‖θ‖₁ under a guard, then set small weights to zero for good."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.options import RunName, argument, option
from rashomon_cli.core.results import Variable, series
from rashomon_cli.operations import problems, subjects, weights
from rashomon_cli.operations.context import Context, asked
from rashomon_cli.operations.plan import Plan, Step, counted, execute
from rashomon_cli.operations.quantities.quantity import Samples
from rashomon_cli.operations.regularisation import L1Config, regularise
from rashomon_cli.operations.states import arithmetic, space
from rashomon_cli.store import Job, Run, Store

if TYPE_CHECKING:
    from rashomon_cli.science.evaluation import Evaluation


class PruneConfig(L1Config):
    """Options of ``prune``."""

    run: RunName = argument("Models to prune: names, ids, or NAME@t on a path.", metavar="NAME...", sweep="")
    thr: float = option(0.05, "Weights of smaller magnitude become zero for good.", ge=0, sweep="thr-")
    samples: Samples = option("all", "Examples of each split in the figures, or all.")


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
        problems=subjects.problems_of(context, subject.run),
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
        Step(f"{counted(left, 'epoch')} of training with the penalty", left * train, "train", shared=shared),
        Step(
            f"{counted(looks, 'look')} of the guard",
            2 * looks * min(config.guard_samples, train),
            shared=f"guard {shared}",
        ),
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
        regularised = regularise(
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
