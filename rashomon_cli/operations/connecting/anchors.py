"""The models that ``connect`` joins when they are more than two, and which options go with each way to do so."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.options import flag_of
from rashomon_cli.core.specs import Spec
from rashomon_cli.operations import subjects, weights
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Plan, Step
from rashomon_cli.operations.subjects import Subject
from rashomon_cli.store import Job, Run

if TYPE_CHECKING:
    from rashomon_cli.operations.connect import ConnectConfig

MODES = ("star", "simplex", "graph")
_MODELS = {"a", "b", "others"}
_LEAST_POINTS = 3  # two are the ends of a line, whose barrier is 0 by definition
_TRAINED = {
    *("epochs", "batch_size", "lr", "momentum", "weight_decay", "schedule", "augment", "precision"),
    *("seed", "points", "samples"),
}
OPTIONS = {
    "star": {"star", *_TRAINED},
    "simplex": {"simplex", "bend", "volume", "draws", "epsilon", *_TRAINED},
    "graph": {"graph", "epsilon", "points", "samples", "seed"},
}


def mode_of(config: ConnectConfig) -> str | None:
    """Which of :data:`MODES` is asked for; None for a path between two models.

    Raises:
        UsageError: if options do not go together.
    """
    asked = [mode for mode in MODES if getattr(config, mode)]
    if len(asked) > 1:
        flags = " and ".join(f"--{mode}" for mode in asked)
        raise UsageError(f"{flags} exclude each other", example(asked[0], names_of(config)))
    if not asked:
        if config.others:
            words = f"a path joins two models, not {2 + len(config.others)}"
            raise UsageError(words, example("star", names_of(config)))
        only = set().union(*OPTIONS.values()) - _TRAINED - {"bend"}
        if wrong := _given(config, only):
            mode = next(mode for mode in MODES if wrong[0] in OPTIONS[mode])
            raise UsageError(f"{_flag(config, wrong[0])} needs --{mode}", example(mode, names_of(config)))
        return None
    (mode,) = asked
    if wrong := _given(config, set(type(config).model_fields) - OPTIONS[mode] - _MODELS):
        raise UsageError(f"{_flag(config, wrong[0])} does not go with --{mode}", example(mode, names_of(config)))
    if config.points < _LEAST_POINTS:
        raise UsageError(
            f"--{mode} measures lines between their ends; --points {config.points} has no position there",
            f"{example(mode, names_of(config))} --points 11",
        )
    return mode


def example(mode: str, names: Sequence[str]) -> str:
    """A command that is valid, of the models that were named where those are two or more."""
    several = list(dict.fromkeys(names))
    if len(several) < 2:
        several = [] if mode == "graph" else ["a", "b", "c"]
    return " ".join(["rashomon connect", *several, f"--{mode}"])


def _given(config: ConnectConfig, names: set[str]) -> list[str]:
    """Which of these options differ from their default."""
    return [n for n, field in type(config).model_fields.items() if n in names and getattr(config, n) != field.default]


def _flag(config: ConnectConfig, name: str) -> str:
    return flag_of(name, type(config).model_fields[name].json_schema_extra)


def names_of(config: ConnectConfig) -> list[str]:
    """The models named on the command line, in order."""
    return [name for name in (config.a, config.b, *config.others) if name is not None]


def find(context: Context, config: ConnectConfig, mode: str) -> list[Subject]:
    """The anchors, checked against each other without importing torch.

    Args:
        context: the store.
        config: names of the models.
        mode: ``star`` or ``simplex``.

    Returns:
        Two or more models of equal shapes.

    Raises:
        UsageError: if there are fewer than two, or a run does not exist or is no model.
        Refused: if two are the same or do not fit each other.
    """
    names = names_of(config)
    if len(names) < 2:
        raise UsageError(f"--{mode} joins two models or more, not {len(names)}", example(mode, names))
    found = [subjects.find(context, name, "model") for name in names]
    for one, other in itertools.combinations(found, 2):
        hint = f"name different models: {example(mode, [each.label for each in found if each is not other])}"
        if (one.run.id, one.t) == (other.run.id, other.t):
            raise Refused(f"{one.label} is named twice", hint)
        if one.t is None and other.t is None and one.parent("").sha256 == other.parent("").sha256:
            raise Refused(f"{one.label} and {other.label} have equal parameters", hint)
    check_fit(context, found)
    return found


def plan(
    context: Context,
    config: ConnectConfig,
    mode: str,
    steps: Callable[[ConnectConfig, Run, int], list[Step]],
    carry_out: Callable[[Context, ConnectConfig, Job, list[Subject]], Run],
) -> Plan:
    """The plan of one point or more that are trained between anchors.

    Args:
        context: the store.
        config: the options.
        mode: ``star`` or ``simplex``.
        steps: (options, first anchor, number of anchors) → what it takes.
        carry_out: does the work and publishes.

    Returns:
        The plan.

    Raises:
        UsageError: if there are fewer than two models, or a run does not exist or is no model.
        Refused: if two anchors are the same or do not fit each other.
    """
    found = find(context, config, mode)
    run = found[0].run
    return Plan(
        "connect",
        record(config, mode) | subjects.inherited(run, config.augment, config.weight_decay),
        suggestion="-".join([mode, *(subject.run.name for subject in found[:3]), *["more"] * (len(found) > 3)]),
        told=(),
        steps=lambda: steps(config, run, len(found)),
        problems=subjects.problems_of(context, run),
        carry_out=lambda job: carry_out(context, config, job, found),
        parents=[subject.parent(f"anchor-{number}") for number, subject in enumerate(found, 1)],
        batch_size=config.batch_size,
    )


def check_fit(context: Context, found: Sequence[Subject]) -> None:
    """Refuse models that no line joins; tell where they were trained on different losses or data.

    Args:
        context: the store.
        found: the models; the others are compared with the first.

    Raises:
        Refused: if shapes, or the normalisation of images, differ.
    """
    first = found[0]
    shapes = subjects.parameter_shapes(context, first)
    for other in found[1:]:
        its = subjects.parameter_shapes(context, other)
        if its != shapes:
            weights.check_fit(shapes, its, other.label, first.label)
        subjects.check_statistics(first, other)
        if first.run.record.config["loss"] != other.run.record.config["loss"]:
            context.note(
                f"{first.label} and {other.label} were trained on different losses; that of {first.label} is used"
            )
        networks = [_network(subject) for subject in (first, other)]
        if networks[0] != networks[1]:
            words = f"{first.label} is a {networks[0]}, {other.label} a {networks[1]}"
            context.note(f"{words}; the network of the first is used")
        one, two = (subject.run.record.data or {} for subject in (first, other))
        if one.get("fingerprint") != two.get("fingerprint"):
            words = f"{first.label} was trained on {one.get('spec')}, {other.label} on {two.get('spec')}"
            context.note(f"{words}; the first is used")


def _network(subject: Subject) -> str:
    """The builder of a model as it is written on the command line."""
    builder = subject.run.record.builder or {}
    return str(Spec(str(builder.get("target")), dict(builder.get("arguments") or {})))


def record(config: ConnectConfig, mode: str) -> dict[str, object]:
    """The options that a mode has, for the run's record and key."""
    return {name: value for name, value in config.record().items() if name in OPTIONS[mode]}
