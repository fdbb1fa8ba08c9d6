"""What ``connect --via`` does: paths that are put together instead of trained, and which options go with each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rashomon_cli.core.errors import UsageError
from rashomon_cli.core.options import flag_of
from rashomon_cli.operations import problems, subjects
from rashomon_cli.operations.connecting import transplant, widen
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Plan

if TYPE_CHECKING:
    from rashomon_cli.operations.connect import ConnectConfig

_PLANNERS = {"widen": widen.plan, "transplant": transplant.plan}
_OPTIONS = {"widen": widen.OPTIONS, "transplant": transplant.OPTIONS}
_MODELS = {"a", "b", "others"}


def plan(context: Context, config: ConnectConfig, ends: list[subjects.Subject]) -> Plan:
    """The plan of a path that is put together.

    Args:
        context: the store.
        config: the options; ``via`` is not ``bends``.
        ends: the two models, checked against each other.

    Returns:
        The plan.

    Raises:
        UsageError: if options do not go together.
        Refused: if the models cannot be joined so.
    """
    allowed = _OPTIONS[config.via] | _MODELS
    for name, field in type(config).model_fields.items():
        if name not in allowed and getattr(config, name) != field.default:
            flag = flag_of(name, field.json_schema_extra)
            example = f"rashomon connect {ends[0].label} {ends[1].label} --via {config.via}"
            raise UsageError(f"{flag} does not go with --via {config.via}", example)
    loss = str(ends[0].run.record.config["loss"])
    if loss not in problems.LOSSES:
        context.note(
            f"the loss {loss} may not be convex in the outputs: while they are shifted it may rise above its ends"
        )
    return _PLANNERS[config.via](context, config, ends)
