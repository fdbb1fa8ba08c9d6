"""``rashomon connect``: a path between two models, and how high it rises beside the straight line."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.options import Config, RunName, argument, option
from rashomon_cli.core.results import Variable, series
from rashomon_cli.operations import problems, profiles, subjects, weights
from rashomon_cli.operations.context import Context, asked
from rashomon_cli.operations.plan import Plan, Step, counted, execute
from rashomon_cli.operations.quantities.quantity import Samples
from rashomon_cli.operations.states import arithmetic, pack_state, space, training_stream, unpack_state, use_bf16
from rashomon_cli.store import Job, Run, Store

if TYPE_CHECKING:
    from rashomon_cli.science.paths import Path


class ConnectConfig(Config):
    """Options of ``connect``."""

    a: RunName | None = argument("Model at t = 0: a name, an id, or NAME@t on a path.", default=None)
    b: RunName | None = argument("Model at t = 1.", default=None)
    bend: int = option(1, "Number of trained bends N.", ge=1, le=32, sweep="bend-")
    kind: Literal["bezier", "polyline"] = option("bezier", "Bezier curve of degree N + 1, or polyline through N bends.")
    epochs: int = option(20, "Passes over the training data.", ge=1, sweep="e")
    batch_size: int = option(128, "Examples a step; one position t a step.", ge=1, sweep="batch-")
    lr: float = option(0.03, "Largest learning rate.", gt=0, sweep="lr-")
    momentum: float = option(0.9, "Nesterov momentum.", ge=0, lt=1, sweep="momentum-")
    weight_decay: float | None = option(None, "L2 penalty on θ(t); that of a's training where left out.", ge=0)
    schedule: Literal["one-cycle", "step", "constant"] = option("one-cycle", "Learning-rate schedule.")
    augment: Literal["auto", "crop-flip", "none"] = option("auto", "Augmentation, as in train.")
    precision: Literal["auto", "bf16", "float32"] = option("auto", "Arithmetic of the training steps.")
    seed: int = option(0, "Seed of the positions, batches and samples.", ge=0, sweep="s")
    points: int = option(11, "Positions at which curve and line are evaluated, both ends included.", ge=2)
    samples: Samples = option(5000, "Examples of each split at each position, or all.")


def connect(context: Context | Store, config: ConnectConfig | None = None, /, **options: Any) -> Run:
    """Train the bends of a path between two models and publish it as a run of kind ``path``.

    Args:
        context: store and circumstances, or a store.
        config: the options.
        options: instead of ``config``: fields of :class:`ConnectConfig` and of
            :class:`~rashomon_cli.operations.context.Where`; ``a`` and ``b`` may be runs.

    Returns:
        The run, newly made or found finished.

    Raises:
        UsageError: if a run does not exist or is no model.
        Refused: if the ends are equal or do not fit each other.
        Diverged: if a loss is not finite; the last good checkpoint is kept.
    """
    context, config = asked(context, ConnectConfig, config, options)
    return execute(context, plan(context, config), name=context.where.name)


def plan(context: Context, config: ConnectConfig) -> Plan:
    """Check both ends without importing torch, and count what it takes.

    Raises:
        UsageError: if a run does not exist or is no model.
        Refused: if the ends are equal or do not fit each other.
    """
    if config.a is None or config.b is None:
        raise UsageError("connect takes two models", "rashomon connect a b")
    ends = [subjects.find(context, name, "model") for name in (config.a, config.b)]
    if (ends[0].run.id, ends[0].t) == (ends[1].run.id, ends[1].t):
        raise Refused(f"both ends are {ends[0].label}", "name two different models")
    _check_ends(context, *ends)
    run = ends[0].run
    return Plan(
        "connect",
        config.record() | subjects.inherited(run, config.augment, config.weight_decay),
        suggestion=f"{config.kind}-{run.name}-{ends[1].run.name}",
        told=(),
        steps=lambda: _steps(config, run),
        problems=subjects.problems_of(context, run),
        carry_out=lambda job: _carry_out(context, config, job, ends),
        parents=[ends[0].parent("a"), ends[1].parent("b")],
        batch_size=config.batch_size,
    )


def _check_ends(context: Context, a: subjects.Subject, b: subjects.Subject) -> None:
    shapes = [subjects.parameter_shapes(context, end) for end in (a, b)]
    if shapes[0] != shapes[1]:
        weights.check_fit(shapes[0], shapes[1], b.label, a.label)
    subjects.check_statistics(a, b)
    if a.t is None and b.t is None and a.parent("a").sha256 == b.parent("b").sha256:
        raise Refused(f"{a.label} and {b.label} have equal parameters", "name two different models")
    if a.run.record.config["loss"] != b.run.record.config["loss"]:
        context.note(f"{a.label} and {b.label} were trained on different losses; that of {a.label} is used")
    one, two = (s.run.record.data or {} for s in (a, b))
    if one.get("fingerprint") != two.get("fingerprint"):
        context.note(f"{a.label} was trained on {one.get('spec')}, {b.label} on {two.get('spec')}; the first is used")


def _steps(config: ConnectConfig, run: Run) -> list[Step]:
    record = run.record.data or {}
    counts = [int(record["train_count"]), int(record["test_count"])]
    samples = [n if config.samples == "all" else min(n, int(config.samples)) for n in counts]
    places = 2 * config.points - 2
    return [
        Step(f"{counted(config.epochs, 'epoch')} of training the bends", config.epochs * counts[0], "train"),
        Step(f"BatchNorm refreshed at {places} positions", places * samples[0]),
        Step(f"{places} positions of curve and line evaluated", places * sum(samples)),
    ]


def _carry_out(context: Context, config: ConnectConfig, job: Job, ends: list[subjects.Subject]) -> Run:
    import torch

    from rashomon_cli.science import curves, paths

    device = context.torch_device()
    loaded = subjects.load_problem(context, ends[0].run, device)
    job.require(space(loaded.problem.layout, config.bend))
    models = [subjects.load_model(context, loaded, end, device) for end in ends]
    thetas = subjects.adopt(loaded, models, [end.label for end in ends])
    if torch.equal(thetas[0], thetas[1]):
        raise Refused(f"{ends[0].label} and {ends[1].label} have equal parameters", "name two different models")
    decay = float(job.request.config["weight_decay"])
    loaded = replace(loaded, problem=replace(loaded.problem, weight_decay=decay))
    path = paths.line(thetas[0], thetas[1], config.bend, config.kind)
    bends, training = _train(context, config, job, loaded, path)
    path = curves.with_bends(path, bends)
    measured = profiles.measure(context, job, loaded, path, config.points, config.samples, config.seed)
    along, metrics = profiles.summarise(config.points, path, measured)
    layout = loaded.problem.layout
    header = {"kind": config.kind, "layout": [[n, list(s)] for n, s in zip(layout.names, layout.shapes, strict=True)]}
    return job.publish(
        "path",
        metrics=metrics | {"bends": config.bend, "weight_decay": decay},
        measurements=problems.in_units(job.request.config["loss"], {"training": training} | along),
        tensor_files={"path.safetensors": ({"bends": bends.cpu().numpy()}, header)},
        builder=loaded.builder.record(),
        data=loaded.data_record,
        seeds={"seed": config.seed},
        **context.details(device, arithmetic(config.precision, device.type)),
    )


def _train(
    context: Context, config: ConnectConfig, job: Job, loaded: problems.Loaded, path: Path
) -> tuple[Any, dict[str, Variable]]:
    """Train the bends, or take up where an interrupted call stopped."""
    from rashomon_cli.science import curves, training
    from rashomon_cli.science.problem import fresh_buffers

    problem, device = loaded.problem, path.points.device
    stream = training_stream(loaded, config.batch_size, config.seed, job.request.config["augment"])
    sgd = training.SGD(
        config.epochs,
        config.lr,
        config.momentum,
        weight_decay=problem.weight_decay,
        schedule=config.schedule,
        bf16=use_bf16(config.precision, device.type),
        seed=config.seed,
    )
    kept = job.part("state")
    if kept is None:
        state = training.TrainState(0, path.points[1:-1].clone(), None, fresh_buffers(problem.module))
        losses: list[float] = []
    else:
        state, losses = unpack_state(kept, device), list(kept.variables["mean_loss"].values)
        context.note(f"resumed {job.label.name} after epoch {state.epoch}")
    context.progress.start("connect", config.epochs * stream.steps)
    for _ in range(state.epoch * stream.steps):
        context.progress.tick()
    history = _history(losses)
    for now in curves.fit(problem, path, stream, stream.steps, sgd, state, context.progress.tick):
        losses.append(now.mean_loss)
        state, history = now, _history(losses)
        job.save("state", pack_state(state, history))
    return state.theta, history


def _history(losses: list[float]) -> dict[str, Variable]:
    return {
        "epoch": series("epoch", np.arange(1, len(losses) + 1), "epoch", "epochs done"),
        "mean_loss": series("epoch", np.array(losses), "nat", "mean loss at random positions, as optimised"),
    }
