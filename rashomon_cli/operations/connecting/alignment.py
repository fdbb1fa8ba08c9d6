"""Aligning on the way to something else: ``connect --align``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.options import build
from rashomon_cli.operations import align
from rashomon_cli.operations.connecting import starts
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Plan

if TYPE_CHECKING:
    from rashomon_cli.operations.connect import ConnectConfig

Planner = Callable[[Context, "ConnectConfig"], Plan]


def first(context: Context, config: ConnectConfig, planner: Planner) -> Plan:
    """The plan of a path whose end ``b`` is moved onto ``a``: found moved, or with that as its first part.

    Args:
        context: the store.
        config: options with ``align``.
        planner: makes the plan of a path from options without it.

    Returns:
        The plan.

    Raises:
        UsageError: if a run does not exist or is no model.
        Refused: if the models do not fit each other, or a path to start from leads elsewhere than to the moved model.
    """
    aligning = align.plan(context, build(align.AlignConfig, {"a": config.a, "b": config.b}))
    shared = json.dumps([parent.model_dump(mode="json") for parent in aligning.parents])

    def then() -> Plan:
        moved = context.store.finished(**aligning.identity)
        assert moved is not None
        return planner(context, config.model_copy(update={"b": moved.id, "align": False}))

    if context.store.finished(**aligning.identity) is not None:
        return then()
    if (path := starts.whole_path(context, config.start)) is not None:
        raise Refused(
            f"{path.label} does not lead to {config.b} as aligned, which is not made yet",
            f"rashomon align {config.a} {config.b} makes it; connect to what it prints, then go on from that path",
        )
    own = planner(context, config.model_copy(update={"align": False}))
    return replace(
        own,
        config=dict(own.config) | {"align": True},
        steps=lambda: [
            *(replace(step, shared=f"align {shared} {step.title}") for step in aligning.steps()),
            *own.steps(),
        ],
        first=(aligning, then),
    )
