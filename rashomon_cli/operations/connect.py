"""``rashomon connect``: a path between two models, and how high it rises beside the straight line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.options import Config, argument, option
from rashomon_cli.core.results import Array, Result, Variable, series
from rashomon_cli.operations import problems, subjects
from rashomon_cli.operations.context import Context, DryRun
from rashomon_cli.operations.quantities.quantity import Samples
from rashomon_cli.operations.states import pack_state, training_stream, unpack_state, use_bf16
from rashomon_cli.store import Job, Run

if TYPE_CHECKING:
    from rashomon_cli.science.evaluation import Evaluation
    from rashomon_cli.science.paths import Path


class ConnectConfig(Config):
    """Options of ``connect``."""

    a: str = argument("Model at t = 0: a name, an id, or NAME@t on a path.")
    b: str = argument("Model at t = 1.")
    bend: int = option(1, "Number of trained bends N.", ge=1, le=32)
    kind: Literal["bezier", "polyline"] = option("bezier", "Bezier curve of degree N + 1, or polyline through N bends.")
    epochs: int = option(20, "Passes over the training data.", ge=1)
    batch_size: int = option(128, "Examples a step; one position t a step.", ge=1)
    lr: float = option(0.03, "Largest learning rate.", gt=0)
    momentum: float = option(0.9, "Nesterov momentum.", ge=0, lt=1)
    weight_decay: float | None = option(None, "L2 penalty on θ(t); that of a's training where left out.", ge=0)
    schedule: Literal["one-cycle", "step", "constant"] = option("one-cycle", "Learning-rate schedule.")
    augment: Literal["auto", "crop-flip", "none"] = option("auto", "Augmentation, as in train.")
    precision: Literal["auto", "bf16", "float32"] = option("auto", "Arithmetic of the training steps.")
    seed: int = option(0, "Seed of the positions, batches and samples.", ge=0)
    points: int = option(11, "Positions at which curve and line are evaluated, both ends included.", ge=2)
    samples: Samples = option(5000, "Examples of each split at each position, or all.")


def connect(context: Context, config: ConnectConfig) -> Run | DryRun:
    """Train the bends of a path between two models and publish it as a run of kind ``path``.

    Args:
        context: store and circumstances.
        config: the options.

    Returns:
        The run, newly made or found finished; or the steps of a dry run.

    Raises:
        UsageError: if a run does not exist or is no model.
        Refused: if the ends are equal or do not fit each other.
        Diverged: if a loss is not finite; the last good checkpoint is kept.
    """
    ends = [subjects.find(context, name, "model") for name in (config.a, config.b)]
    if (ends[0].run.id, ends[0].t) == (ends[1].run.id, ends[1].t):
        raise Refused(f"both ends are {ends[0].label}", "name two different models")
    _check_ends(context, *ends)
    if context.where.dry_run:
        return _plan(config, ends[0].run)
    job = context.store.begin(
        "connect",
        config.record() | subjects.inherited(ends[0].run, config.augment, config.weight_decay),
        parents=[ends[0].parent("a"), ends[1].parent("b")],
        name=context.where.name,
        suggestion=f"{config.kind}-{ends[0].run.name}-{ends[1].run.name}",
        again=context.where.again,
    )
    if isinstance(job, Run):
        return job
    with job:
        return _carry_out(context, config, job, ends)


def _check_ends(context: Context, a: subjects.Subject, b: subjects.Subject) -> None:
    shapes = [subjects.parameter_shapes(context, end) for end in (a, b)]
    if shapes[0] != shapes[1]:
        subjects.check_fit(shapes[0], shapes[1], b.label, a.label)
    if a.t is None and b.t is None and a.parent("a").sha256 == b.parent("b").sha256:
        raise Refused(f"{a.label} and {b.label} have equal parameters", "name two different models")
    if a.run.record.config["loss"] != b.run.record.config["loss"]:
        context.note(f"{a.label} and {b.label} were trained on different losses; that of {a.label} is used")
    one, two = (s.run.record.data or {} for s in (a, b))
    if one.get("fingerprint") != two.get("fingerprint"):
        context.note(f"{a.label} was trained on {one.get('spec')}, {b.label} on {two.get('spec')}; the first is used")


def _plan(config: ConnectConfig, run: Run) -> DryRun:
    record = run.record.data or {}
    counts = [int(record["train_count"]), int(record["test_count"])]
    samples = [n if config.samples == "all" else min(n, int(config.samples)) for n in counts]
    places = 2 * config.points - 2
    return DryRun(
        {
            f"{config.epochs} epochs of training the bends": config.epochs * counts[0],
            f"BatchNorm refreshed at {places} positions": places * samples[0],
            f"{places} positions of curve and line evaluated": places * sum(samples),
        }
    )


@dataclass
class _Measured:
    """Positions of one path, evaluated."""

    ts: list[float]
    train: list[Evaluation]
    test: list[Evaluation]


def _carry_out(context: Context, config: ConnectConfig, job: Job, ends: list[subjects.Subject]) -> Run:
    import torch

    from rashomon_cli.science import curves, paths

    device = context.torch_device()
    loaded = subjects.load_problem(context, ends[0].run, device)
    thetas = [subjects.load_model(context, loaded, end, device)[0] for end in ends]
    if torch.equal(thetas[0], thetas[1]):
        raise Refused(f"{ends[0].label} and {ends[1].label} have equal parameters", "name two different models")
    decay = float(job.request.config["weight_decay"])
    loaded = replace(loaded, problem=replace(loaded.problem, weight_decay=decay))
    path = paths.line(thetas[0], thetas[1], config.bend, config.kind)
    bends, training = _train(context, config, job, loaded, path)
    path = curves.with_bends(path, bends)
    measured = _measure(context, config, job, loaded, path)
    profiles, metrics = _summarise(config, path, measured, loaded)
    names = {"a": ends[0].run.name, "b": ends[1].run.name}
    header = {"kind": config.kind, "layout": {n: list(s) for n, s in zip(loaded.problem.layout.names, _shapes(loaded))}}
    return job.publish(
        "path",
        metrics=metrics | {"bends": config.bend, "weight_decay": decay},
        measurements={"training": training} | profiles,
        tensor_files={"path.safetensors": ({"bends": bends.cpu().numpy()}, header | names)},
        builder=loaded.builder.record(),
        data=loaded.data_record,
        seeds={"seed": config.seed},
        **context.details(device),
    )


def _shapes(loaded: problems.Loaded) -> list[tuple[int, ...]]:
    return [tuple(shape) for shape in loaded.problem.layout.shapes]


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


def _measure(
    context: Context, config: ConnectConfig, job: Job, loaded: problems.Loaded, path: Path
) -> dict[str, _Measured]:
    """Evaluate curve and straight line; their common ends once. Each position is kept as a part."""
    from rashomon_cli.science import paths
    from rashomon_cli.science.problem import fresh_buffers
    from rashomon_cli.science.profile import measure_point

    problem = loaded.problem
    count = None if config.samples == "all" else config.samples
    train, test = (loaded.batches(s).sample(count, config.seed, f"{s} sample") for s in ("train", "test"))
    straight = paths.line(path.points[0], path.points[-1])
    ts = [float(t) for t in np.linspace(0, 1, config.points)]
    per_point = 2 * len(list(train)) + len(list(test))
    context.progress.start("evaluate", per_point * (2 * len(ts) - 2))
    measured = {}
    for name, here in (("curve", path), ("line", straight)):
        measured[name] = _Measured(ts, [], [])
        for index, t in enumerate(ts):
            key = f"curve-{index}" if t in (0.0, 1.0) else f"{name}-{index}"
            kept = job.part(key)
            if kept is None:
                _, *both = measure_point(
                    problem, here.at(t), fresh_buffers(problem.module), train, test, context.progress.tick
                )
                job.save(key, _pack(*both))
                kept = _pack(*both)
            for split, evaluations in zip(("train", "test"), (measured[name].train, measured[name].test)):
                evaluations.append(_unpack(kept, split, (train if split == "train" else test).population))
    return measured


def _pack(train: Evaluation, test: Evaluation) -> Result:
    tensors: dict[str, Array] = {}
    for split, evaluation in (("train", train), ("test", test)):
        for field in ("losses", "cross_entropies", "wrong", "confidences"):
            value = getattr(evaluation, field)
            if value is not None:
                tensors[f"{split}/{field}"] = value.numpy()
    return Result(tensors=tensors)


def _unpack(part: Result, split: str, population: int) -> Evaluation:
    import torch

    from rashomon_cli.science.evaluation import Evaluation

    fields = {}
    for field in ("losses", "cross_entropies", "wrong", "confidences"):
        array = part.tensors.get(f"{split}/{field}")
        fields[field] = None if array is None else torch.from_numpy(np.array(array))
    losses = fields.pop("losses")
    assert losses is not None
    return Evaluation(losses, **fields, population=population)


def _summarise(
    config: ConnectConfig, path: Path, measured: dict[str, _Measured], loaded: problems.Loaded
) -> tuple[dict[str, dict[str, Variable]], dict[str, Any]]:
    """Profiles for ``metrics.h5`` and the headline numbers."""
    from rashomon_cli.science import paths
    from rashomon_cli.science.profile import barrier

    straight = paths.line(path.points[0], path.points[-1])
    profiles: dict[str, dict[str, Variable]] = {}
    metrics: dict[str, Any] = {}
    for name, found in measured.items():
        here = path if name == "curve" else straight
        profiles[name] = profile_variables(found.ts, found.train, found.test)
        profiles[name]["arc_length"] = series("t", here.arc_length(found.ts), "1", "arc length from the start")
        losses = np.stack([e.losses.numpy() for e in found.train])
        height = barrier(found.ts, losses, found.train[0].population)
        metrics[f"{name}_barrier_loss"] = height.value
        metrics[f"{name}_barrier_loss_stderr"] = height.stderr
        metrics[f"{name}_barrier_loss_interpolated"] = height.interpolated
        metrics[f"{name}_barrier_at"] = height.at
        wrong = [e.wrong for e in found.train if e.wrong is not None]
        if wrong:
            errors = barrier(found.ts, np.stack([w.numpy() for w in wrong]), found.train[0].population, 100.0)
            metrics[f"{name}_barrier_error"] = errors.value
            metrics[f"{name}_barrier_error_stderr"] = errors.stderr
    test_errors = [e.error for e in measured["curve"].test]
    metrics |= {
        "curve_max_test_error": max(test_errors),
        "curve_min_test_error": min(test_errors),
        "end_test_error_a": test_errors[0],
        "end_test_error_b": test_errors[-1],
        "arc_length": float(path.arc_length([1.0])[0]),
        "end_distance": path.distance(1.0),
        "points": config.points,
        "train_samples": len(measured["curve"].train[0].losses),
        "test_samples": len(measured["curve"].test[0].losses),
    }
    return profiles, metrics


def profile_variables(ts: list[float], train: list[Evaluation], test: list[Evaluation]) -> dict[str, Variable]:
    """Losses and errors along a path as variables over t."""
    found = {"t": series("t", np.array(ts), "1", "position on the path")}
    for split, evaluations, words in (("train", train, "training"), ("test", test, "test")):
        losses, loss_errors = [e.loss for e in evaluations], [e.loss_stderr for e in evaluations]
        errors, error_errors = [e.error for e in evaluations], [e.error_stderr for e in evaluations]
        found[f"{split}_loss"] = series("t", losses, "nat", f"{words} loss", loss_errors)
        found[f"{split}_error"] = series("t", errors, "percent", f"{words} error", error_errors)
    return found
