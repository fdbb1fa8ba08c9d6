"""``rashomon connect a b c … --star``: a trained hub from which the straight line to each anchor is low."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rashomon_cli.operations import problems, subjects, weights
from rashomon_cli.operations.connecting import anchors, fitting, spokes
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Plan, Step, counted
from rashomon_cli.operations.quantities.quantity import taken
from rashomon_cli.operations.states import arithmetic, space
from rashomon_cli.store import Job, Run

if TYPE_CHECKING:
    from torch import Tensor

    from rashomon_cli.operations.connect import ConnectConfig


def plan(context: Context, config: ConnectConfig) -> Plan:
    """Check the anchors without importing torch, and count what it takes.

    Raises:
        UsageError: if there are fewer than two models, or a run does not exist or is no model.
        Refused: if two anchors are the same or do not fit each other.
    """
    return anchors.plan(context, config, "star", _steps, _carry_out)


def _steps(config: ConnectConfig, run: Run, count: int) -> list[Step]:
    record = run.record.data or {}
    train, test = int(record["train_count"]), int(record["test_count"])
    lines = count + count * (count - 1) // 2
    positions, passes = spokes.passes(
        count + 1, lines, config.points, taken(config.samples, train), taken(config.samples, test)
    )
    return [
        Step(f"{counted(config.epochs, 'epoch')} of training the hub", config.epochs * train, "train"),
        Step("BatchNorm refreshed and final figures on all data", 2 * train + test),
        Step(f"{positions} positions of spokes and lines evaluated, BatchNorm refreshed at each", passes),
    ]


def _carry_out(context: Context, config: ConnectConfig, job: Job, found: list[subjects.Subject]) -> Run:
    import torch

    from rashomon_cli.science import stars

    device = context.torch_device()
    loaded = subjects.load_problem(context, found[0].run, device)
    job.require(space(loaded.problem.layout))
    models = [subjects.load_model(context, loaded, subject, device) for subject in found]
    thetas = torch.stack(subjects.adopt(loaded, models, [subject.label for subject in found]))
    decay = float(job.request.config["weight_decay"])
    loaded = replace(loaded, problem=replace(loaded.problem, weight_decay=decay))
    # The mean is where the bend of a path starts, too: the point nearest to all anchors.
    log, descend = fitting.Log(), partial(stars.fit, loaded.problem, thetas)
    hub = fitting.fit(context, config, job, loaded, thetas.mean(0), descend, log)
    buffers, figures = _figures(context, loaded, hub)
    points = {"hub": hub} | {str(number): theta for number, theta in enumerate(thetas, 1)}
    outward = [("hub", name) for name in list(points)[1:]]
    pairs = list(itertools.combinations(list(points)[1:], 2))
    measured = spokes.measure(context, job, loaded, points, outward + pairs, config.points, config.samples, config.seed)
    heights = [spokes.height(measured[line].train) for line in outward]
    straight = [spokes.height(measured[line].train) for line in pairs]
    via = [spokes.height(spokes.through(measured["hub", one], measured["hub", other])) for one, other in pairs]
    labels = [subject.label for subject in found]
    groups = {"training": log.variables()} | spokes.profiles(measured, outward)
    groups["anchors"] = (
        spokes.names(labels)
        | spokes.matrices("via", "the path through the hub", len(found), via)
        | spokes.matrices("line", "the straight line", len(found), straight)
    )
    return job.publish(
        "model",
        metrics=figures
        | {"anchor": labels}
        | spokes.metrics("", heights)
        | {"distance": (thetas - hub).norm(dim=1).tolist(), "pair": spokes.pairs(len(found))}
        | spokes.metrics("via_", via)
        | spokes.metrics("line_", straight)
        | {
            "anchors": len(found),
            "points": config.points,
            "weight_decay": decay,
        },
        measurements=problems.in_units(job.request.config["loss"], groups),
        tensor_files=weights.model_files(loaded, hub, buffers, None),
        builder=loaded.builder.record(),
        data=loaded.data_record,
        seeds={"seed": config.seed},
        **context.details(device, arithmetic(config.precision, device.type)),
    )


def _figures(context: Context, loaded: problems.Loaded, hub: Tensor) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The hub's BatchNorm statistics, and its figures as those of a trained model: on all data."""
    from rashomon_cli.science.batchnorm import refresh
    from rashomon_cli.science.evaluation import evaluate
    from rashomon_cli.science.problem import fresh_buffers

    problem, everything = loaded.problem, loaded.batches("train").sample(None, 0)
    context.progress.start("figures", 2 * everything.steps + loaded.batches("test").steps)
    buffers = refresh(problem, hub, fresh_buffers(problem.module), everything, context.progress.tick)
    train, test = (
        evaluate(problem, hub, buffers, loaded.batches(split), context.progress.tick) for split in ("train", "test")
    )
    return buffers, {
        "train_loss": train.loss,
        "train_accuracy": train.accuracy,
        "test_loss": test.loss,
        "test_accuracy": test.accuracy,
        "cross_entropy_test": test.cross_entropy,
        "parameters": problem.layout.total,
    }
