"""``rashomon connect a b c … --simplex``: vertices that span a simplex of low loss with each anchor, and its volume."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rashomon_cli.core.results import Variable, series
from rashomon_cli.core.seeds import derive
from rashomon_cli.operations import problems, subjects
from rashomon_cli.operations.connecting import anchors, clouds, fitting, spokes
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Plan, Step, counted
from rashomon_cli.operations.quantities.quantity import taken
from rashomon_cli.operations.states import arithmetic, space
from rashomon_cli.store import Job, Run

if TYPE_CHECKING:
    from torch import Tensor

    from rashomon_cli.operations.connect import ConnectConfig

FILE = "vertices.safetensors"


def plan(context: Context, config: ConnectConfig) -> Plan:
    """Check the anchors without importing torch, and count what it takes.

    Raises:
        UsageError: if there are fewer than two models, or a run does not exist or is no model.
        Refused: if two anchors are the same or do not fit each other.
    """
    return anchors.plan(context, config, "simplex", _steps, _carry_out)


def _steps(config: ConnectConfig, run: Run, count: int) -> list[Step]:
    record = run.record.data or {}
    train, test = (taken(config.samples, int(record[f"{split}_count"])) for split in ("train", "test"))
    epochs = config.bend * config.epochs
    title = f"{counted(epochs, 'epoch')} of training {config.bend} vertices one after another"
    positions, passes = spokes.passes(count + 1, count, config.points, train, test)
    random = count * config.draws
    return [
        Step(
            title if config.bend > 1 else f"{counted(epochs, 'epoch')} of training a vertex",
            epochs * int(record["train_count"]),
            "train",
        ),
        Step(f"{positions} positions of lines from the centre evaluated, BatchNorm refreshed at each", passes),
        Step(f"{random} random points evaluated, BatchNorm refreshed at each", random * (2 * train + test)),
    ]


def _carry_out(context: Context, config: ConnectConfig, job: Job, found: list[subjects.Subject]) -> Run:
    import torch

    device = context.torch_device()
    loaded = subjects.load_problem(context, found[0].run, device)
    layout = loaded.problem.layout
    job.require(space(layout, config.bend))
    models = [subjects.load_model(context, loaded, subject, device) for subject in found]
    thetas = torch.stack(subjects.adopt(loaded, models, [subject.label for subject in found]))
    decay = float(job.request.config["weight_decay"])
    loaded = replace(loaded, problem=replace(loaded.problem, weight_decay=decay))
    vertices, training = _train(context, config, job, loaded, thetas)
    points = {"centre": vertices.mean(0)} | {str(number): theta for number, theta in enumerate(thetas, 1)}
    outward = [("centre", name) for name in list(points)[1:]]
    lines = spokes.measure(context, job, loaded, points, outward, config.points, config.samples, config.seed)
    cloud = clouds.draw(context, config, job, loaded, thetas, vertices)
    groups, metrics = clouds.summary(config, [subject.label for subject in found], lines, cloud)
    header = {"layout": [[n, list(s)] for n, s in zip(layout.names, layout.shapes, strict=True)]}
    return job.publish(
        "simplex",
        metrics=metrics
        | {"anchors": len(found), "dimension": config.bend, "epsilon": config.epsilon, "weight_decay": decay},
        measurements=problems.in_units(job.request.config["loss"], {"training": training} | groups),
        tensor_files={FILE: ({"vertices": vertices.cpu().numpy()}, header)},
        builder=loaded.builder.record(),
        data=loaded.data_record,
        seeds={"seed": config.seed},
        **context.details(device, arithmetic(config.precision, device.type)),
    )


def _train(
    context: Context, config: ConnectConfig, job: Job, loaded: problems.Loaded, thetas: Tensor
) -> tuple[Tensor, dict[str, Variable]]:
    """Train the vertices one after another, each from the mean of all corners that there are."""
    import torch

    from rashomon_cli.science import simplices

    vertices = thetas[:0]
    losses: list[float] = []
    numbers: list[int] = []
    for number in range(1, config.bend + 1):
        log = fitting.Log()
        vertex = fitting.fit(
            context,
            config,
            job,
            loaded,
            torch.cat([thetas, vertices]).mean(0),
            partial(simplices.fit, loaded.problem, thetas, vertices, config.volume),
            log,
            part=f"state-{number}",
            seed=config.seed if number == 1 else derive(config.seed, "vertex", number),
            title=f", vertex {number} of {config.bend}" if config.bend > 1 else "",
        )
        vertices = torch.cat([vertices, vertex[None]])
        losses += log.losses
        numbers += [number] * len(log.losses)
    return vertices, fitting.history(losses, vertex=series("epoch", numbers, "1", "number of the vertex in training"))
