"""What plans cost: forward passes, counted, and time, from steps that are measured here and now."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rashomon_cli.core.errors import Refused
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plan import Plan, Step, finished
from rashomon_cli.operations.states import use_bf16

if TYPE_CHECKING:
    from torch import Tensor

    from rashomon_cli.operations.problems import Loaded

_REPEATS, _ENOUGH_S = 3, 2.0


@dataclass(frozen=True)
class Cost:
    """What one plan costs.

    Attributes:
        name: of the run, or what is suggested for it.
        status: ``finished``, ``running``, ``interrupted`` or ``missing``; what is done of an unfinished one counts.
        steps: none where it is finished; work that is shared counts where it occurs first.
        seconds: estimated from measured steps; None where nothing was measured.
    """

    name: str
    status: str
    steps: Sequence[Step]
    seconds: float | None

    @property
    def forward_passes(self) -> int:
        """Of one example each."""
        return sum(step.forward_passes for step in self.steps)


@dataclass(frozen=True)
class Rates:
    """Measured seconds for one example.

    Attributes:
        evaluate: a forward pass in eval mode.
        train: forward and backward of a training step.
        gradient: forward and backward in eval mode.
        graph: the same with the graph kept, for Hessian products.
        product: one Hessian product more.
    """

    evaluate: float
    train: float
    gradient: float
    graph: float
    product: float

    def of(self, step: Step) -> float:
        """Seconds of a step."""
        each = {"evaluate": self.evaluate, "train": self.train, "product": self.gradient}[step.kind]
        if step.vectors:
            each = self.graph + step.vectors * self.product
        return step.forward_passes * each


def costs(context: Context, plans: Sequence[tuple[Plan, str]]) -> list[Cost]:
    """What plans cost together: finished runs nothing, shared work once.

    Args:
        context: store and circumstances.
        plans: each with the name of its run.

    Returns:
        One cost a plan, in order.

    Raises:
        Refused: if model, data and loss do not fit.
    """
    found: list[Cost] = []
    longest: dict[str, int] = {}
    measured: dict[tuple[object, ...], Rates] = {}
    for plan, name in plans:
        run = finished(context, plan)
        if run is not None:
            found.append(Cost(run.name, "finished", [], 0.0))
            continue
        row = context.store.unfinished(**plan.identity)
        steps = [_beyond(step, longest) for step in plan.steps()]
        seconds = _seconds_of(context, plan, steps, measured)
        found.append(Cost(name, "missing", steps, seconds) if row is None else _begun(row, steps, seconds))
    return found


def _begun(row: Mapping[str, Any], steps: Sequence[Step], seconds: float) -> Cost:
    return Cost(str(row["name"]), str(row["status"]), steps, seconds)


def _seconds_of(
    context: Context, plan: Plan, steps: Sequence[Step], measured: dict[tuple[object, ...], Rates]
) -> float:
    """Estimated time of a plan's steps, each kind of problem measured once."""
    precision = str(plan.config.get("precision", "float32"))
    seconds = 0.0
    for problem, load in plan.problems.items():
        its = [step for step in steps if (step.problem or next(iter(plan.problems))) == problem]
        if not any(step.forward_passes for step in its):
            continue
        kinds = frozenset("gradient" if step.kind == "product" and not step.vectors else step.kind for step in its)
        key = (problem, plan.batch_size, precision, kinds)
        if key not in measured:
            measured[key] = rates(context, load(), plan.batch_size, precision, kinds)
        seconds += sum(measured[key].of(step) for step in its)
    return seconds


def _beyond(step: Step, longest: dict[str, int]) -> Step:
    """What is left of a step when others of the family have done as much of the same work as they need."""
    if step.shared is None:
        return step
    done = longest.get(step.shared, 0)
    longest[step.shared] = max(done, step.forward_passes)
    return replace(step, forward_passes=max(0, step.forward_passes - done))


def rates(context: Context, loaded: Loaded, batch_size: int, precision: str, kinds: Set[str]) -> Rates:
    """Time one step of each kind on the first training examples.

    Args:
        context: circumstances.
        loaded: the problem.
        batch_size: of a training step.
        precision: of a training step.
        kinds: what is needed, of those of steps and ``gradient``, for which there are no products; others are 0.

    Returns:
        Seconds an example.

    Raises:
        Refused: if a step fails.
    """
    import torch

    from rashomon_cli.science.problem import Point, autocast, fresh_buffers
    from rashomon_cli.science.spectra.curvatures import Curvature

    problem = loaded.problem
    device = context.torch_device()
    theta = problem.layout.flatten(dict(problem.module.named_parameters()))
    buffers = fresh_buffers(problem.module)
    batches = loaded.batches("train")
    bf16 = use_bf16(precision, device.type)

    def forward() -> int:
        problem.module.eval()
        with torch.no_grad():
            x, _ = next(iter(batches))
            problem.outputs(theta, buffers, x)
        return len(x)

    def step() -> int:
        problem.module.train()
        x, y = next(iter(batches))
        x, y = x[:batch_size], y[:batch_size]
        free = theta.detach().requires_grad_()
        with autocast(device, bf16):
            outputs = problem.outputs(free, buffers, x)
        torch.autograd.grad(problem.loss(outputs.to(theta.dtype), y).mean(), free)
        return len(x)

    def product(vectors: Tensor) -> int:
        return next(Curvature(problem, Point(theta, buffers), batches, memory=0).by_batch(vectors)).count

    units = torch.nn.functional.normalize(torch.ones(2, problem.layout.total, device=theta.device, dtype=theta.dtype))
    try:
        none, one, two = (
            _seconds(functools.partial(product, units[:n]), device.type) if kinds & needing else 0.0
            for n, needing in enumerate(({"gradient", "product"}, {"product"}, {"product"}))
        )
        return Rates(
            _seconds(forward, device.type),
            _seconds(step, device.type) if "train" in kinds else 0.0,
            none,
            max(0.0, 2 * one - two),
            max(0.0, two - one),
        )
    except (RuntimeError, ValueError) as error:
        raise Refused(f"a step of {loaded.builder.spec} failed: {str(error).splitlines()[0]}", "see --debug") from error


def _seconds(act: Callable[[], int], device_type: str) -> float:
    """The least of some timings of an act, a warm-up before, for each example that it says it took."""
    import torch

    best = float("inf")
    begun = time.perf_counter()
    for repeat in range(1 + _REPEATS):
        if repeat > 1 and time.perf_counter() - begun > _ENOUGH_S:
            break
        start = time.perf_counter()
        count = act()
        if device_type == "cuda":
            torch.cuda.synchronize()
        if repeat:
            best = min(best, (time.perf_counter() - start) / count)
    return best
