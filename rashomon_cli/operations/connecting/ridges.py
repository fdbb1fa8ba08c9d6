"""``rashomon connect --graph``: which models are joined within ε, by what paths, and at what common level."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.results import Array, Result
from rashomon_cli.core.specs import Reference
from rashomon_cli.operations import problems, subjects
from rashomon_cli.operations.connecting import anchors, graphs, nodes, routes, spokes
from rashomon_cli.operations.connecting.routes import ALIGNED, Route
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Plan, Step, counted
from rashomon_cli.operations.profiles import drawn
from rashomon_cli.operations.quantities.quantity import taken
from rashomon_cli.operations.subjects import Subject
from rashomon_cli.store import Job, Parent, Run

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from rashomon_cli.operations.connect import ConnectConfig
    from rashomon_cli.sources.batches import Batches
    from rashomon_cli.store.parts import Parts, Stage

_LISTED = 3


def plan(context: Context, config: ConnectConfig) -> Plan:
    """Choose the models and what is known of paths between them, without importing torch.

    Raises:
        UsageError: if a run does not exist or is no model, or there are fewer than two models.
        Refused: if the models are not of one builder, data and loss.
    """
    everything = list(context.store.runs())
    models = nodes.choose(context, anchors.names_of(config), everything)
    known = routes.leading(everything, {subject.run.id for subject in models})
    recipe = _recipe(config, models[0].run)
    links = [subject.parent("model") for subject in models]
    return Plan(
        "connect",
        anchors.record(config, "graph") | {"loss": models[0].run.record.config["loss"]},
        suggestion=f"graph-{models[0].run.name}",
        told=(),
        steps=lambda: _steps(config, models, context.store.saved_in_stage(recipe)),
        problems=subjects.problems_of(context, models[0].run),
        carry_out=lambda job: _carry_out(context, config, job, models, known, routes.originals(everything)),
        parents=[*links, *(_link(run) for run in known if run.id not in {link.id for link in links})],
    )


def _link(run: Run) -> Parent:
    return Subject(run, Reference(run.id)).parent("path")


def _recipe(config: ConnectConfig, run: Run) -> dict[str, Any]:
    """What determines the straight lines, whichever models and ε a graph is of: graphs with more paths share them."""
    builder, data = run.record.builder or {}, run.record.data or {}
    named = {name: data.get(name) for name in ("fingerprint", "mean", "std", "loss")}
    shared = {"points": config.points, "samples": config.samples, "seed": config.seed}
    kept = {name: builder.get(name) for name in ("target", "arguments", "sha256")}
    return {"stage": "lines", "builder": kept, "data": named, "loss": run.record.config["loss"]} | shared


def _key(one: Run, other: Run) -> str:
    return "-".join(["line", *sorted((one.id, other.id))])


def _steps(config: ConnectConfig, models: Sequence[Subject], saved: Parts) -> list[Step]:
    record = models[0].run.record.data or {}
    samples = taken(config.samples, int(record["train_count"]))
    ends = sum(not saved.has(f"end-{subject.run.id}") for subject in models)
    lines = sum(not saved.has(_key(one.run, two.run)) for one, two in itertools.combinations(models, 2))
    return [
        Step(f"{counted(ends, 'model')} evaluated, BatchNorm refreshed", 2 * ends * samples),
        Step(
            f"{counted(lines, 'straight line')} evaluated, {counted(config.points - 2, 'position')} of each",
            2 * lines * (config.points - 2) * samples,
        ),
    ]


def _carry_out(
    context: Context,
    config: ConnectConfig,
    job: Job,
    models: list[Subject],
    known: list[Run],
    copies: Mapping[str, str],
) -> Run:
    device = context.torch_device()
    loaded = subjects.load_problem(context, models[0].run, device)
    train, _ = drawn(loaded, config.samples, config.seed)
    with job.stage(_recipe(config, models[0].run)) as stage:
        losses, lines = _lines(context, config, loaded, models, stage, train, device)
    ids = [subject.run.id for subject in models]
    found = lines + routes.read(known, set(ids), copies)
    variables, metrics = graphs.summary(models, losses, train.population, found, config.epsilon)
    _tell_missing(context, models, found)
    return job.publish(
        "comparison",
        metrics=metrics | {"points": config.points, "train_samples": train.count},
        measurements=problems.in_units(models[0].run.record.config["loss"], {"graph": variables}),
        seeds={"seed": config.seed},
        **context.details(device),
    )


def _lines(
    context: Context,
    config: ConnectConfig,
    loaded: problems.Loaded,
    models: Sequence[Subject],
    stage: Stage,
    train: Batches,
    device: torch.device,
) -> tuple[Array, list[Route]]:
    """Losses of each model on the sample (n, N), and the straight line of each pair; both are kept in the stage."""
    import torch

    from rashomon_cli.science.batchnorm import refresh
    from rashomon_cli.science.evaluation import Evaluation, evaluate
    from rashomon_cli.science.problem import fresh_buffers

    problem = loaded.problem
    first = subjects.load_model(context, loaded, models[0], device)

    def theta_of(subject: Subject) -> Tensor:
        its = subjects.load_model(context, loaded, subject, device)
        return subjects.adopt(loaded, [first, its], [models[0].label, subject.label])[1]

    def look(theta: Tensor) -> Evaluation:
        own = refresh(problem, theta, fresh_buffers(problem.module), train, context.progress.tick)
        return evaluate(problem, theta, own, train, context.progress.tick)

    pairs = len(models) * (len(models) - 1) // 2
    context.progress.start("evaluate", 2 * train.steps * (len(models) + pairs * (config.points - 2)))
    ends: list[Evaluation] = []
    for subject in models:
        kept = stage.part(f"end-{subject.run.id}")
        if kept is None:
            seen = look(theta_of(subject))
            arrays = {"losses": seen.losses.numpy()} | ({} if seen.wrong is None else {"wrong": seen.wrong.numpy()})
            kept = Result(tensors=arrays)
            stage.save(f"end-{subject.run.id}", kept)
        values = {name: torch.from_numpy(np.array(array)) for name, array in kept.tensors.items()}
        ends.append(Evaluation(values["losses"], None, values.get("wrong"), None, train.population))
    ts = np.linspace(0, 1, config.points)[1:-1].tolist()
    found = []
    for i, one in enumerate(models):
        start: Tensor | None = None
        for j in range(i + 1, len(models)):
            kept = stage.part(_key(one.run, models[j].run))
            if kept is None:
                start = theta_of(one) if start is None else start
                stop = theta_of(models[j])
                h = spokes.height([ends[i], *(look((1 - t) * start + t * stop) for t in ts), ends[j]])
                numbers = {"barrier": h.loss.value, "stderr": h.loss.stderr}
                kept = Result(metrics=numbers | {"level": h.level, "level_stderr": h.level_stderr})
                stage.save(_key(one.run, models[j].run), kept)
            told: dict[str, Any] = dict(kept.metrics)
            found.append(Route("line", one.run.id, models[j].run.id, "", **told))
    return np.stack([end.losses.numpy() for end in ends]), found


def _tell_missing(context: Context, models: Sequence[Subject], found: Sequence[Route]) -> None:
    """Note the pairs between which only the straight line is known, with a command that trains a path."""
    known = {frozenset((route.one, route.other)) for route in found if route.kind not in ("line", ALIGNED)}
    missing = [
        (one.label, two.label)
        for one, two in itertools.combinations(models, 2)
        if frozenset((one.run.id, two.run.id)) not in known
    ]
    if missing:
        pairs = len(models) * (len(models) - 1) // 2
        listed = ", ".join(" and ".join(pair) for pair in missing[:_LISTED]) + (", …" if missing[_LISTED:] else "")
        context.note(
            f"only the straight line is known between {len(missing)} of {counted(pairs, 'pair')} ({listed}); "
            f"train a path: rashomon connect {' '.join(missing[0])}"
        )
