"""``rashomon probe``: quantities at a model, at NAME@t, or at points along a path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import field_validator

from rashomon_cli.core.errors import UsageError, no_such
from rashomon_cli.core.options import Config, RunName, argument, build, option
from rashomon_cli.core.results import Metric, Result, Variable, scalar, series, stack
from rashomon_cli.operations import problems, subjects
from rashomon_cli.operations.context import Context, asked
from rashomon_cli.operations.plan import Plan, Step, counted, execute
from rashomon_cli.operations.quantities import QUANTITIES, Quantity, Sizes
from rashomon_cli.operations.quantities.quantity import Samples, taken
from rashomon_cli.store import Job, Run, Store

if TYPE_CHECKING:
    import torch

    from rashomon_cli.science.paths import Path
    from rashomon_cli.science.problem import Point
    from rashomon_cli.sources.batches import Batches

_DIRECTIONS = 3  # straight, detour and tangent
_KNOWN = {quantity.name: quantity for quantity in QUANTITIES}


class ProbeConfig(Config):
    """Options of ``probe`` that do not belong to one quantity."""

    run: RunName = argument("Models, paths, or NAME@t for the model at t on a path.", metavar="NAME...", sweep="")
    what: tuple[str, ...] = option(tuple(_KNOWN), f"Quantities, comma-separated, of {', '.join(_KNOWN)}.")
    points: int = option(5, "Positions along a path, both ends included.", ge=2)
    refresh_samples: Samples = option(
        5000, "Training examples for the BatchNorm statistics of a point on a path, or all."
    )
    float64: bool = option(False, "Measure in double precision.", flag="--float64")
    seed: int = option(0, "Seed of samples and random directions.", ge=0, sweep="s")

    @field_validator("what", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        names = value.split(",") if isinstance(value, str) else value
        names = tuple(dict.fromkeys(str(name).strip() for name in names))
        if not names:
            raise ValueError(f"name at least one of {', '.join(_KNOWN)}")
        for name in names:
            if name not in _KNOWN:
                no_such("quantity", name, _KNOWN, f"one of {', '.join(_KNOWN)}")
        return names


def probe(
    context: Context | Store,
    config: ProbeConfig | None = None,
    settings: Mapping[str, Config] | None = None,
    /,
    **options: Any,
) -> Run:
    """Measure quantities and publish them as a run of kind ``measurement``.

    Args:
        context: store and circumstances, or a store.
        config: the options.
        settings: of the quantities, by name; defaults where left out.
        options: instead of ``config`` and ``settings``: fields of :class:`ProbeConfig`, of the quantities' settings
            (``hvp_samples`` …) and of :class:`~rashomon_cli.operations.context.Where`; ``run`` may be a run.

    Returns:
        The run, newly made or found finished.

    Raises:
        UsageError: if the run does not exist or is neither a model nor a path.
        Damaged: if a file of it was altered.
    """
    if config is None and settings is None:
        settings = {
            q.name: build(q.settings, {name: options.pop(name) for name in q.settings.model_fields if name in options})
            for q in QUANTITIES
        }
    context, config = asked(context, ProbeConfig, config, options)
    return execute(context, plan(context, config, settings), name=context.where.name)


def plan(context: Context, config: ProbeConfig, settings: Mapping[str, Config] | None = None) -> Plan:
    """Look up the subject without importing torch, and count what it takes.

    Raises:
        UsageError: if the run does not exist, is neither a model nor a path, or has nothing of what is asked.
    """
    subject = subjects.find(context, config.run, "model", "path")
    on_path = subject.run.kind == "path"
    chosen = [q for q in QUANTITIES if q.name in config.what and (on_path or q.subject == "point")]
    if not chosen:
        raise UsageError(f"{', '.join(config.what)} needs a path, {subject.label} is a model", "--what loss")
    given = {q.name: (settings or {}).get(q.name) or q.settings() for q in chosen}
    ts: list[float | None] = [subject.t]
    if on_path and subject.t is None:
        ts = [float(t) for t in np.linspace(0, 1, config.points)]
    record = config.record() | {"what": [q.name for q in chosen]}
    if not on_path:
        del record["refresh_samples"]
    if not on_path or subject.t is not None:
        del record["points"]
    return Plan(
        "probe",
        record | {"settings": {name: value.record() for name, value in given.items()}},
        suggestion=f"probe-{subject.label.replace('@', '-t')}",
        told=("run",),
        steps=lambda: _steps(config, subject.run, chosen, given, len(ts), on_path),
        problems=subjects.problems_of(context, subject.run, config.float64),
        carry_out=lambda job: _carry_out(context, config, job, subject, chosen, given, ts),
        parents=[subject.parent("subject")],
    )


def _steps(
    config: ProbeConfig,
    run: Run,
    chosen: list[Quantity],
    given: Mapping[str, Config],
    points: int,
    on_path: bool,
) -> list[Step]:
    record = run.record.data or {}
    sizes = Sizes(int(record["train_count"]), int(record["test_count"]), _DIRECTIONS if on_path else 0)
    steps = [
        replace(step, title=f"{step.title} at {counted(points, 'point')}", forward_passes=points * step.forward_passes)
        for q in chosen
        for step in q.steps(given[q.name], sizes)
    ]
    if on_path:
        refreshed = points * taken(config.refresh_samples, sizes.train)
        steps.append(Step(f"BatchNorm refreshed at {counted(points, 'point')}", refreshed))
    return steps


def _carry_out(
    context: Context,
    config: ProbeConfig,
    job: Job,
    subject: subjects.Subject,
    chosen: list[Quantity],
    given: Mapping[str, Config],
    ts: list[float | None],
) -> Run:
    device = context.torch_device()
    run = subject.run
    loaded = subjects.load_problem(context, run, device, config.float64)
    path = subjects.load_path(context, loaded, run, device) if run.kind == "path" else None
    sample = _Samples(loaded, config.seed)
    steps = _steps(config, run, chosen, given, len(ts), path is not None)
    context.progress.start("probe", sum(s.forward_passes for s in steps) // problems.EVALUATION_BATCH)
    results: list[Result] = []
    for index, t in enumerate(ts):
        merged: dict[str, Variable] = {}
        point: Point | None = None
        for quantity in (q for q in chosen if q.subject == "point"):
            kept = job.part(f"{quantity.name}-{index}")
            if kept is None:
                if point is None:
                    point = _point(context, config, loaded, subject, path, t, device)
                options = quantity.arguments(given[quantity.name], sample)
                kept = quantity.load()(loaded.problem, point, tick=context.progress.tick, **options)
                job.save(f"{quantity.name}-{index}", kept)
            merged |= kept.variables
        results.append(Result(merged))
    variables = _joined(results, ts, subject, config)
    if path is not None:
        positions = [t for t in ts if t is not None]
        for quantity in (q for q in chosen if q.subject == "path"):
            found = quantity.load()(path, positions, **quantity.arguments(given[quantity.name], sample)).variables
            variables |= found if subject.t is None else {n: _only(v) for n, v in found.items()}
    return job.publish(
        "measurement",
        metrics=_metrics(variables) | {"batchnorm": "stored" if path is None else "refreshed"},
        measurements=problems.in_units(run.record.config["loss"], {"probe": variables}),
        builder=loaded.builder.record(),
        data=loaded.data_record,
        seeds={"seed": config.seed},
        **context.details(device),
    )


@dataclass(frozen=True)
class _Samples:
    """The :class:`~rashomon_cli.operations.quantities.quantity.Sampler` of a loaded problem."""

    loaded: problems.Loaded
    seed: int

    def __call__(self, split: str, samples: Samples, batches: int = 1) -> Batches:
        """A sample of a split, the same for the same seed."""
        count = None if samples == "all" else samples
        found = self.loaded.batches(split).sample(count, self.seed, f"{split} sample")
        return replace(found, batch_size=max(1, min(found.batch_size, -(-found.count // batches))))


def _point(
    context: Context,
    config: ProbeConfig,
    loaded: problems.Loaded,
    subject: subjects.Subject,
    path: Path | None,
    t: float | None,
    device: torch.device,
) -> Point:
    """A model as it was stored, or a point of a path with BatchNorm statistics and directions of its own."""
    from rashomon_cli.science import paths
    from rashomon_cli.science.batchnorm import refresh
    from rashomon_cli.science.problem import Point, fresh_buffers

    if path is None or t is None:
        theta, buffers = subjects.load_model(context, loaded, subject, device)
        return Point(theta, buffers)
    theta = path.at(t)
    sample = _Samples(loaded, config.seed)("train", config.refresh_samples)
    buffers = refresh(loaded.problem, theta, fresh_buffers(loaded.problem.module), sample, context.progress.tick)
    return Point(theta, buffers, t, paths.directions(path, t), path.tangent(t), path.acceleration(t))


def _joined(
    results: list[Result], ts: list[float | None], subject: subjects.Subject, config: ProbeConfig
) -> dict[str, Variable]:
    if subject.run.kind == "path" and subject.t is None:
        return stack(results, "t") | {"t": series("t", np.array(ts), "1", "position on the path, t")}
    variables = dict(results[0].variables)
    if subject.t is not None:
        variables["t"] = scalar(subject.t, "1", "position on the path, t")
    return variables


def _only(variable: Variable) -> Variable:
    """The single entry of a variable over one position."""
    if variable.dims != ("t",):
        return variable
    return Variable((), np.asarray(variable.values[0]), variable.units, variable.long_name)


def _metrics(variables: Mapping[str, Variable]) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {}
    for name, variable in variables.items():
        metrics[name] = np.asarray(variable.values).tolist()
        if variable.stderr is not None:
            metrics[f"{name}_stderr"] = np.asarray(variable.stderr).tolist()
    return metrics
