"""``rashomon probe``: quantities at a model, at NAME@t, or at points along a path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import field_validator

from rashomon_cli.core.errors import UsageError, no_such
from rashomon_cli.core.options import Config, RunName, argument, build, flag_of, option
from rashomon_cli.operations import subjects
from rashomon_cli.operations.context import Context, asked
from rashomon_cli.operations.plan import Plan, execute
from rashomon_cli.operations.probing.measurements import Work
from rashomon_cli.operations.quantities import QUANTITIES, Quantity
from rashomon_cli.operations.quantities.quantity import Samples
from rashomon_cli.store import Run, Store

_KNOWN = {quantity.name: quantity for quantity in QUANTITIES}
_DEFAULT = tuple(quantity.name for quantity in QUANTITIES if quantity.default)


class ProbeConfig(Config):
    """Options of ``probe`` that do not belong to one quantity."""

    run: RunName = argument("Models, paths, or NAME@t for the model at t on a path.", metavar="NAME...", sweep="")
    what: tuple[str, ...] = option(_DEFAULT, f"Quantities, comma-separated, of {', '.join(_KNOWN)}.")
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
        UsageError: if the run does not exist or is neither a model nor a path, or an option is set that no quantity
            takes.
        Damaged: if a file of it was altered.
    """
    if config is None and settings is None:
        settings = {
            q.name: build(q.settings, {name: options[name] for name in q.settings.model_fields if name in options})
            for q in QUANTITIES
        }
        known = {name for q in QUANTITIES for name in q.settings.model_fields}
        options = {name: value for name, value in options.items() if name not in known}
    context, config = asked(context, ProbeConfig, config, options)
    return execute(context, plan(context, config, settings), name=context.where.name)


def plan(context: Context, config: ProbeConfig, settings: Mapping[str, Config] | None = None) -> Plan:
    """Look up the subject without importing torch, and count what it takes.

    Raises:
        UsageError: if the run does not exist, is neither a model nor a path, or has nothing of what is asked; if an
            option is set that no quantity takes.
        Refused: if models or data that are to be looked at besides do not fit it.
    """
    subject = subjects.find(context, config.run, "model", "path")
    how = config.points, config.refresh_samples, config.seed, config.float64
    chosen = _chosen(config, subject)
    _refuse_idle(chosen, settings or {})
    work = Work(context, subject, chosen, dict(settings or {}), *how)
    on_path = subject.run.kind == "path"
    record = config.record() | {"what": [q.name for q in work.chosen]}
    if not on_path:
        del record["refresh_samples"]
    if not on_path or subject.t is not None or not work.uses_points:
        del record["points"]
    beside = [model for planned in work.gathered.values() for model in planned.against]
    return Plan(
        "probe",
        record | {"settings": {q.name: work.record(q) for q in work.chosen}},
        suggestion=f"probe-{subject.label.replace('@', '-t')}",
        told=("run",),
        steps=work.steps,
        problems={
            name: load
            for run in [subject.run, *(model.run for model in beside)]
            for name, load in subjects.problems_of(context, run, config.float64).items()
        },
        carry_out=work.carry_out,
        parents=[subject.parent("subject"), *(p for planned in work.gathered.values() for p in planned.parents)],
        fingerprints=work.fingerprints,
    )


def _chosen(config: ProbeConfig, subject: subjects.Subject) -> list[Quantity]:
    """The quantities that are asked for and exist at the subject, in the order of their list.

    Raises:
        UsageError: if there is none, or one that no request has without naming it does not.
    """
    on_path = subject.run.kind == "path"
    named = [q for q in QUANTITIES if q.name in config.what]
    whole = on_path and subject.t is None
    chosen = [q for q in named if q.subject == "point" or (whole if q.gathering else on_path)]
    lacking = [q.name for q in named if q not in chosen]
    if not chosen or any(not _KNOWN[name].default for name in lacking):
        words = f"{', '.join(lacking)} needs a path, {subject.label} is a model"
        if on_path:
            raise UsageError(words, f"name the path: {subject.run.name}", (config.run, subject.run.name))
        raise UsageError(words, "--what loss", (",".join(config.what), "loss"))
    return chosen


def _refuse_idle(chosen: Sequence[Quantity], settings: Mapping[str, Config]) -> None:
    """Refuse options that would change nothing: set to another value than their default, and taken by nothing chosen.

    Raises:
        UsageError: naming the option, and the quantities that take it.
    """
    used = {name for q in chosen for name in q.settings.model_fields}
    for given in settings.values():
        for name, field in type(given).model_fields.items():
            if name in used or getattr(given, name) == field.get_default(call_default_factory=True):
                continue
            who = f"{', '.join(q.name for q in chosen)} {'knows' if len(chosen) == 1 else 'know'}"
            takers = ", ".join(q.name for q in QUANTITIES if name in q.settings.model_fields)
            hint = f"leave it out, or add to --what {'one of ' if ',' in takers else ''}{takers}"
            raise UsageError(f"{who} no {flag_of(name, field.json_schema_extra)}", hint)
