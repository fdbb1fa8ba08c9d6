"""``rashomon connect a b --via widen``: each in its half of a network of twice the width, the outputs shifted over."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from rashomon_cli.core.errors import Refused
from rashomon_cli.operations import problems, subjects
from rashomon_cli.operations.connecting import segments
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Plan, Step
from rashomon_cli.sources import builders, widths
from rashomon_cli.sources.builders import Builder
from rashomon_cli.store import Job, Run

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from rashomon_cli.operations.connect import ConnectConfig
    from rashomon_cli.science.problem import Batches, Problem
    from rashomon_cli.science.widening import Widening

OPTIONS = frozenset({"via", "points", "samples", "seed"})
_POINTS = 9  # outputs of a and b, four control points, three points between them


def plan(context: Context, config: ConnectConfig, ends: list[subjects.Subject]) -> Plan:
    """Find the builder of the wide network without importing torch, and count what it takes.

    Args:
        context: the store.
        config: the options.
        ends: the two models, checked against each other.

    Returns:
        The plan.

    Raises:
        Refused: if the builder has no width to double.
    """
    run = ends[0].run
    record = run.record.data or {}
    if run.record.builder is None:
        raise Refused(f"run {run.name} keeps no model", "rashomon ls")
    narrow, _ = builders.of_record(run.record.builder)
    wide = widths.doubled(narrow, f"rashomon connect {ends[0].label} {ends[1].label}")
    asked = {name: value for name, value in config.record().items() if name in OPTIONS}
    key = json.dumps([wide.record(), run.record.data, run.record.config["loss"]], sort_keys=True)
    return Plan(
        "connect",
        asked | {"kind": "polyline"} | subjects.inherited(run, "auto"),
        suggestion=f"widen-{run.name}-{ends[1].run.name}",
        told=(),
        steps=lambda: [
            Step("outputs of the wide network compared in float64", segments.compared(record, _POINTS)),
            *segments.steps(config.points, 3, config.samples, record),
        ],
        problems={key: lambda: load(context, run, wide, context.torch_device())[1]},
        carry_out=lambda job: _carry_out(context, config, job, ends, wide),
        parents=[ends[0].parent("a"), ends[1].parent("b")],
    )


def load(context: Context, run: Run, wide: Builder, device: torch.device) -> tuple[problems.Loaded, problems.Loaded]:
    """The problem of a model, and the same problem for the wide network.

    Raises:
        Refused: if one of the two cannot be made.
    """
    import torch

    from rashomon_cli.core.seeds import derive
    from rashomon_cli.science.problem import Layout

    loaded = subjects.load_problem(context, run, device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(0, "init"))
        module = wide.make(loaded.data.input_shape, loaded.data.num_classes).to(device)
    return loaded, replace(
        loaded, builder=wide, problem=replace(loaded.problem, module=module, layout=Layout.of(module))
    )


def _carry_out(
    context: Context, config: ConnectConfig, job: Job, ends: list[subjects.Subject], wide_builder: Builder
) -> Run:
    import torch

    from rashomon_cli.science import halves
    from rashomon_cli.science.widening import Widening

    device = context.torch_device()
    loaded, wide = load(context, ends[0].run, wide_builder, device)
    widening = Widening(loaded.problem.layout, wide.problem.layout)
    job.require(5 * 4 * wide.problem.layout.total + 2**20)
    models = [subjects.load_model(context, loaded, end, device) for end in ends]
    a, b = subjects.adopt(loaded, models, [end.label for end in ends])
    _give_constants(loaded.problem, wide.problem)
    shifted = widening.shifted.to(device)
    points = halves.moves(widening.embed(a, 0), widening.embed(b, 1), shifted)
    sample = loaded.batches("train").sample(segments.CHECKED, config.seed, "halves")
    off = _prove(loaded.problem, wide.problem, widening, a, b, replace(sample, dtype=torch.float64), wide_builder)
    built = segments.Built(points, halves.SEGMENTS, {"via": "widen", "max_output_difference": off}, {})
    return segments.publish(context, job, wide, built, config.points, config.samples, config.seed, device)


def _give_constants(narrow: Problem, wide: Problem) -> None:
    """Give the wide network what both have besides parameters and BatchNorm statistics."""
    import torch

    from rashomon_cli.science.batchnorm import constants
    from rashomon_cli.science.widening import twice

    own = constants(narrow.module)
    with torch.no_grad():
        for name, value in constants(wide.module).items():
            if name in own:
                value.copy_(twice(name, own[name], value.shape))


def _prove(
    narrow: Problem, wide: Problem, widening: Widening, a: Tensor, b: Tensor, sample: Batches, builder: Builder
) -> float:
    """See in float64 that the wide network computes what each of the two does, and between them their weighted mean.

    Raises:
        Refused: naming the part that does not.
    """
    from rashomon_cli.science import agreement, halves
    from rashomon_cli.science.widening import culprit

    narrow, wide = halves.precise(narrow), halves.precise(wide)
    one, other = (widening.embed(theta.double(), half) for half, theta in enumerate((a, b)))
    points = halves.moves(one, other, widening.shifted.to(a.device))
    f, g = (halves.outputs(narrow, theta.double(), sample) for theta in (a, b))
    off = halves.deviation(wide, points, f, g, sample)
    if off <= agreement.TOLERANCE:
        return off
    part = culprit(narrow, wide, a.double(), points[1], sample)
    where = f": the outputs of {part} are not those of both, side by side" if part else ""
    raise Refused(f"{builder.spec} does not hold two networks side by side{where}", halves.HINT)
