"""``rashomon align``: a model moved onto another by the symmetries of their network, computing what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.options import Config, RunName, argument, option
from rashomon_cli.core.specs import Reference
from rashomon_cli.operations import problems, subjects, weights
from rashomon_cli.operations.aligning import lines, matches
from rashomon_cli.operations.connecting import anchors
from rashomon_cli.operations.context import Context, asked
from rashomon_cli.operations.plan import Plan, Step, counted, execute
from rashomon_cli.operations.quantities.quantity import Samples, taken
from rashomon_cli.operations.subjects import Subject
from rashomon_cli.store import Job, Run, Store

if TYPE_CHECKING:
    from torch import Tensor, nn

CHECKED = 64


class AlignConfig(Config):
    """Options of ``align``."""

    a: RunName = argument("Model that stays: a name, an id, or NAME@t on a path.")
    b: RunName = argument("Model that is moved onto it.")
    others: tuple[RunName, ...] = argument("More models to move, all into one universe.", default=())
    method: Literal["activations", "weights"] = option(
        "activations", "Match units by their activations or by their weights."
    )
    scales: bool = option(True, "Bring positive factors between layers to one standard.", flag="--scales")
    reset: bool = option(
        True, "Measure the lines with statistics reset, too: BatchNorm refreshed, REPAIR without it.", flag="--reset"
    )
    match_samples: int = option(1000, "Training examples whose activations are compared.", ge=matches.BATCH)
    points: int = option(11, "Positions at which the straight lines are evaluated, both ends included.", ge=3)
    samples: Samples = option(5000, "Examples of each split at each position, or all.")
    seed: int = option(0, "Seed of the order of matching and of the samples.", ge=0)


def align(context: Context | Store, config: AlignConfig | None = None, /, **options: Any) -> Run:
    """Move one model onto another and publish it as a run of kind ``model`` that computes the same function.

    Args:
        context: store and circumstances, or a store.
        config: the options.
        options: instead of ``config``: fields of :class:`AlignConfig` and of
            :class:`~rashomon_cli.operations.context.Where`; ``a``, ``b`` and ``others`` may be runs.

    Returns:
        The run, newly made or found finished: ``b`` moved onto ``a``. Others are matched along, in one universe, and
        are not published.

    Raises:
        UsageError: if a run does not exist or is no model.
        Refused: if the models do not fit each other, or the symmetries of their network cannot be found.
    """
    context, config = asked(context, AlignConfig, config, options)
    return execute(context, plan(context, config), name=context.where.name)


def plan(context: Context, config: AlignConfig) -> Plan:
    """Check the models without importing torch, and count what it takes.

    Raises:
        UsageError: if a run does not exist or is no model.
        Refused: if the models do not fit each other.
    """
    a, b, *others = (subjects.find(context, name, "model") for name in (config.a, config.b, *config.others))
    several = {(each.run.id, each.t): each for each in (a, b, *others)}
    if len(several) < 2 + len(others):
        raise UsageError("a model is named twice", "name different models: rashomon ls --kind model")
    anchors.check_fit(context, [a, b, *others])
    others.sort(key=lambda each: (each.run.id, each.t or 0.0))
    parents = [a.parent("a"), b.parent("b"), *(o.parent(f"with-{n}") for n, o in enumerate(others, 1))]
    record = config.record() | subjects.inherited(b.run, "auto") | {"loss": a.run.record.config["loss"]}
    if config.method == "weights":
        del record["match_samples"]
    return Plan(
        "align",
        record,
        suggestion=f"{b.label}-on-{a.label}".replace("@", "-t"),
        told=("b",),
        steps=lambda: steps(config, a.run.record.data or {}, 2 + len(others)),
        problems=subjects.problems_of(context, a.run),
        carry_out=lambda job: _carry_out(context, config, job, [a, b, *others]),
        parents=parents,
    )


def steps(config: AlignConfig, record: Mapping[str, Any], models: int = 2) -> list[Step]:
    """What it takes.

    Args:
        config: the options.
        record: of the data: ``train_count`` and ``test_count``.
        models: number of models.

    Returns:
        Activations where they are compared, then the lines.
    """
    found = []
    if config.method == "activations":
        count = taken(config.match_samples, int(record["train_count"]))
        found.append(Step(f"activations of {counted(models, 'model')}", models * count))
    return [*found, *lines.steps(config.points, config.samples, record, reset=config.reset)]


def _carry_out(context: Context, config: AlignConfig, job: Job, found: list[Subject]) -> Run:
    from rashomon_cli.science import symmetries as science
    from rashomon_cli.science.alignment.move import move
    from rashomon_cli.science.batchnorm import constants
    from rashomon_cli.science.problem import untrained

    device = context.torch_device()
    loaded = subjects.load_problem(context, found[0].run, device)
    problem, layout = loaded.problem, loaded.problem.layout
    models = [subjects.load_model(context, loaded, each, device) for each in found]
    subjects.adopt(loaded, models, [each.label for each in found])
    networks = [
        {name: _double(value) for name, value in (layout.split(theta) | buffers).items()} for theta, buffers in models
    ]
    names, fixed = frozenset(layout.names), frozenset(constants(problem.module))
    some = next(iter(loaded.batches("train")))[0]
    _, symmetries, readings = science.find(problem.module, some[:2], fixed)
    several = matches.find(context, config, job, loaded, symmetries, readings, networks, fixed, found)
    match = several[1]
    like = networks[0] if config.scales else None
    sample = loaded.batches("train").sample(CHECKED, config.seed, "check")
    inputs = [x for x, _ in sample]
    _check_builders(context, problem.module, found, networks, inputs)
    kept = layout.split(models[1][0]) | models[1][1]
    moved = move(problem.module, symmetries, networks[1], match.source, like, names, inputs, kept)
    theta = layout.flatten(moved.tensors).to(models[1][0])
    buffers = {name: moved.tensors[name].to(models[1][1][name]) for name in untrained(problem.module)}
    ends = {"a": models[0], "b": models[1], "aligned": (theta, buffers)}
    made = [axis.tensor for axis in symmetries.axes if axis.axis == 0 and (axis.units != 0).all()]
    measured = lines.measure(context, job, loaded, ends, config, made)
    profiles, metrics = lines.summarise(measured)
    mask = weights.load_mask(loaded, found[1].run, device) if found[1].t is None else None
    if mask is not None:
        held = science.permute(symmetries, {n: _double(v) for n, v in layout.split(mask).items()}, match.source)
        mask = layout.flatten(held).to(mask)
    before, after = (float((end - models[0][0]).double().norm()) for end in (models[1][0], theta))
    units = matches.by_group(symmetries.groups, match)
    return job.publish(
        "model",
        metrics={
            "distance_before": before,
            "distance_after": after,
            "max_output_difference": moved.difference,
            "max_output_difference_stored": moved.stored,
            **metrics,
            "units": int(units["units"].values.sum()),
            "units_moved": int(units["moved"].values.sum()),
            "units_tied": int(units["tied"].values.sum()),
            "parameters": layout.total,
        },
        measurements=problems.in_units(job.request.config["loss"], profiles | {"groups": units}),
        tensor_files=weights.model_files(loaded, theta, buffers, mask),
        builder=loaded.builder.record(),
        data=loaded.data_record,
        seeds={"seed": config.seed},
        **context.details(device),
    )


def _check_builders(
    context: Context,
    module: nn.Module,
    found: Sequence[Subject],
    networks: Sequence[Mapping[str, Tensor]],
    inputs: Sequence[Tensor],
) -> None:
    """Refuse a model that computes something else in the network of the first one, whose tensors have equal shapes.

    Raises:
        Refused: if one does.
    """
    from rashomon_cli.operations.modules import load_module
    from rashomon_cli.science.agreement import TOLERANCE, deviation
    from rashomon_cli.science.alignment.move import outputs

    for subject, network in zip(found[1:], networks[1:]):
        if subject.run.record.builder == found[0].run.record.builder:
            continue
        own = load_module(context, str(Reference(subject.run.id, subject.t)))
        there = outputs(own, {name: _double(value) for name, value in _named(own).items()}, inputs)
        if not deviation(there, outputs(module, network, inputs)) <= TOLERANCE:
            raise Refused(
                f"{subject.label} computes something else with the network of {found[0].label} despite equal shapes",
                "name models of one builder: rashomon ls --kind model",
            )


def _named(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())


def _double(value: Tensor) -> Tensor:
    return value.detach().cpu().double() if value.is_floating_point() else value.detach().cpu()
