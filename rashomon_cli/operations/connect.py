"""``rashomon connect``: a path between two models, and how high it rises beside the straight line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.options import Config, RunName, argument, option
from rashomon_cli.operations import problems, profiles, subjects
from rashomon_cli.operations.connecting import alignment, anchors, bends, constructed, several, starts, tries
from rashomon_cli.operations.context import Context, asked
from rashomon_cli.operations.plan import Plan, Step, execute
from rashomon_cli.operations.quantities.quantity import Samples, taken
from rashomon_cli.operations.states import arithmetic, space
from rashomon_cli.store import Job, Run, Store


class ConnectConfig(Config):
    """Options of ``connect``."""

    a: RunName | None = argument("Model at t = 0: a name, an id, or NAME@t on a path.", default=None)
    b: RunName | None = argument("Model at t = 1.", default=None)
    others: tuple[RunName, ...] = argument("More models, with --star, --simplex or --graph.", default=())
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
    start: starts.StartNames = option(
        starts.LINE,
        "What the bends start from: line, a path of the same two models, or a model a bend.",
        reference=True,
    )
    positions: Literal["uniform", "worst"] = option(
        "uniform", "Positions of the steps: uniform, or more often where the loss is worst.", later=True
    )
    tries: int = option(1, "Trainings with seeds of their own, of which the lowest is kept.", ge=1, le=100, later=True)
    watch_every: int | None = option(
        None,
        "Epochs between looks at the barrier as it trains; a tenth of them where left out, 0: none.",
        ge=0,
        later=True,
    )
    align: bool = option(
        False, "Move b onto a first, as rashomon align does with its defaults.", flag="--align", later=True
    )
    star: bool = option(False, "Train one hub from which the line to each model is low.", flag="--star", later=True)
    simplex: bool = option(
        False, "Train N vertices that span a simplex of low loss with each model.", flag="--simplex", later=True
    )
    graph: bool = option(
        False,
        "Which models are joined within ε, by straight lines and by what connect made before; all where none is named.",
        flag="--graph",
        later=True,
    )
    epsilon: float = option(0.05, "Bound ε on the rise of the loss, of --simplex and --graph.", ge=0, later=True)
    volume: float = option(0.01, "Weight λ of −λ log(volume) in the training of --simplex.", ge=0, later=True)
    draws: int = option(16, "Random points of each simplex at which --simplex is measured.", ge=2, later=True)
    via: Literal["bends", "widen", "transplant"] = option(
        "bends",
        "Train bends; or put both into a network of twice the width, or half of each into one of the same width.",
        later=True,
    )


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
    if (planner := several.planner(config)) is not None:
        return planner(context, config)
    if config.a is None or config.b is None:
        raise UsageError("connect takes two models", "rashomon connect a b")
    if config.align:
        return alignment.first(context, config, plan)
    ends = [subjects.find(context, name, "model") for name in (config.a, config.b)]
    if (ends[0].run.id, ends[0].t) == (ends[1].run.id, ends[1].t):
        raise Refused(f"both ends are {ends[0].label}", "name two different models")
    tries.check(config)
    anchors.check_fit(context, ends)
    if ends[0].t is None and ends[1].t is None and ends[0].parent("a").sha256 == ends[1].parent("b").sha256:
        words = f"{ends[0].label} and {ends[1].label} have equal parameters"
        if ends[1].run.record.operation == "align":
            raise Refused(f"{words}: the one that was moved is a copy of the other", f"rashomon show {ends[1].label}")
        raise Refused(words, "name two different models")
    if config.via != "bends":
        return constructed.plan(context, config, ends)
    start = starts.find(context, config.start, config.bend, config.kind, *ends)
    run = ends[0].run
    return Plan(
        "connect",
        config.record() | subjects.inherited(run, config.augment, config.weight_decay),
        suggestion=f"{config.kind}-{run.name}-{ends[1].run.name}",
        told=(),
        steps=lambda: steps(config, run.record.data or {}),
        problems=subjects.problems_of(context, run),
        carry_out=lambda job: _carry_out(context, config, job, ends, start),
        parents=[ends[0].parent("a"), ends[1].parent("b"), *start.parents],
        batch_size=config.batch_size,
    )


def steps(config: ConnectConfig, record: Mapping[str, Any]) -> list[Step]:
    """What it takes.

    Args:
        config: the options.
        record: of the data: ``train_count`` and ``test_count``.

    Returns:
        Training, then the evaluation of curve and line.
    """
    counts = [int(record["train_count"]), int(record["test_count"])]
    samples = [taken(config.samples, count) for count in counts]
    places = 2 * config.points - 2
    return [
        *bends.steps(config, counts[0]),
        Step(f"BatchNorm refreshed at {places} positions", places * samples[0]),
        Step(f"{places} positions of curve and line evaluated", places * sum(samples)),
    ]


def _carry_out(
    context: Context, config: ConnectConfig, job: Job, ends: list[subjects.Subject], start: starts.Start
) -> Run:
    import torch

    from rashomon_cli.science import curves

    device = context.torch_device()
    loaded = subjects.load_problem(context, ends[0].run, device)
    job.require(space(loaded.problem.layout, config.bend * config.tries))
    named = [*ends, *start.models]
    models = [subjects.load_model(context, loaded, each, device) for each in named]
    thetas = subjects.adopt(loaded, models, [each.label for each in named])
    if torch.equal(thetas[0], thetas[1]):
        raise Refused(f"{ends[0].label} and {ends[1].label} have equal parameters", "name two different models")
    decay = float(job.request.config["weight_decay"])
    loaded = replace(loaded, problem=replace(loaded.problem, weight_decay=decay))
    path = starts.build(context, start, loaded, thetas[:2], thetas[2:], config.bend, config.kind)
    trained = bends.train(context, config, job, loaded, path)
    path = curves.with_bends(path, trained.bends)
    measured = profiles.measure(context, job, loaded, path, config.points, config.samples, config.seed)
    along, metrics = profiles.summarise(config.points, path, measured)
    layout = loaded.problem.layout
    header = {"kind": config.kind, "layout": [[n, list(s)] for n, s in zip(layout.names, layout.shapes, strict=True)]}
    return job.publish(
        "path",
        metrics=metrics | {"bends": config.bend, "weight_decay": decay} | trained.metrics,
        measurements=problems.in_units(job.request.config["loss"], trained.groups | along),
        tensor_files={"path.safetensors": ({"bends": trained.bends.cpu().numpy()}, header)},
        builder=loaded.builder.record(),
        data=loaded.data_record,
        seeds={"seed": config.seed},
        **context.details(device, arithmetic(config.precision, device.type)),
    )
