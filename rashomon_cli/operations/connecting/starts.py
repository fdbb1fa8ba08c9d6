"""Where the bends of a path start from: the straight line, a path that was trained before, or models that are named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.specs import split_list
from rashomon_cli.operations import problems, subjects, weights
from rashomon_cli.operations.context import Context
from rashomon_cli.store import Parent

if TYPE_CHECKING:
    from torch import Tensor

    from rashomon_cli.science.paths import Path

LINE = "line"


def _joined(value: Any) -> Any:
    """Runs or names as they are written on the command line: separated by commas."""
    several = value if isinstance(value, list | tuple) else [value]
    return ",".join(str(getattr(each, "id", each)) for each in several)


StartNames = Annotated[str, BeforeValidator(_joined)]
"""``line``, a path, or models separated by commas; from Python also runs, or a list of them."""


@dataclass(frozen=True)
class Start:
    """What a path is started from; the straight line where nothing is named.

    Attributes:
        path: a path between the same two ends.
        models: one for each bend.
    """

    path: subjects.Subject | None = None
    models: tuple[subjects.Subject, ...] = ()

    @property
    def parents(self) -> list[Parent]:
        """The runs that are named, as parents: ``start``, or ``start-1``, ``start-2`` … of several."""
        named = [self.path] if self.path else self.models
        roles = ["start"] if len(named) == 1 else [f"start-{number}" for number in range(1, len(named) + 1)]
        return [subject.parent(role) for subject, role in zip(named, roles, strict=True)]


def whole_path(context: Context, text: str) -> subjects.Subject | None:
    """The path that is to be started from; None for the line and for models.

    Raises:
        UsageError: if a name is wrong.
    """
    if text == LINE or len(split_list(text)) != 1:
        return None
    found = subjects.find(context, text, "path", "model")
    return found if found.run.kind == "path" and found.t is None else None


def find(context: Context, text: str, bends: int, kind: str, a: subjects.Subject, b: subjects.Subject) -> Start:
    """Look up what a path is to be started from, and check it as far as that goes without torch.

    Args:
        context: the store.
        text: ``line``, the name of a path, or as many models as there are bends, separated by commas.
        bends: N.
        kind: of the new path.
        a: its end at t = 0.
        b: its end at t = 1.

    Returns:
        The start.

    Raises:
        UsageError: if a run does not exist or is of another kind, or there are too many bends or models.
        Refused: if it has other ends, or does not fit.
    """
    if text == LINE:
        return Start()
    if (path := whole_path(context, text)) is not None:
        _check_path(context, path, bends, a, b)
        its = path.run.record.config["kind"]
        if its != kind:
            context.note(f"{path.label} is a {its}: the {kind} starts with its bends on it, as another curve")
        return Start(path=path)
    found = [subjects.find(context, name, "model") for name in split_list(text)]
    if len(found) != bends:
        each = "one model each" if len(found) > 1 else "a model each"
        command = f"rashomon connect {a.label} {b.label} --start {text} --bend {len(found)}"
        raise UsageError(f"--start {text} for --bend {bends}: bends start from {each}", command)
    shapes = subjects.parameter_shapes(context, a)
    for model in found:
        own = subjects.parameter_shapes(context, model)
        if own != shapes:
            weights.check_fit(shapes, own, model.label, a.label)
        subjects.check_statistics(a, model)
    return Start(models=tuple(found))


def _check_path(
    context: Context, start: subjects.Subject, bends: int, a: subjects.Subject, b: subjects.Subject
) -> None:
    """Refuse a path that has other ends, or more bends, or none that were trained.

    Raises:
        UsageError: if it has more bends.
        Refused: if it has other ends, or was put together.
    """
    if (via := start.run.record.config.get("via", "bends")) != "bends":
        raise Refused(
            f"{start.label} was put together by --via {via}, it has no bends to go on from",
            f"rashomon connect {a.label} {b.label} --start {LINE}",
        )
    ends = [(end.id, end.t) for end in subjects.ends_of(start.run)]
    if ends != [(a.run.id, a.t), (b.run.id, b.t)]:
        known = context.store.names()
        names = [known.get(key, key) + ("" if t is None else f"@{t:g}") for key, t in ends]
        raise Refused(
            f"{start.label} leads from {names[0]} to {names[1]}, not from {a.label} to {b.label}",
            f"rashomon connect {names[0]} {names[1]} --start {start.label}",
        )
    has = int(start.run.record.metrics["bends"])
    if has > bends:
        raise UsageError(
            f"{start.label} has {has} bends, --bend {bends} is fewer",
            f"rashomon connect {a.label} {b.label} --start {start.label} --bend {has}",
        )


def build(
    context: Context,
    start: Start,
    loaded: problems.Loaded,
    ends: Sequence[Tensor],
    models: Sequence[Tensor],
    bends: int,
    kind: str,
) -> Path:
    """The path to train, before its first step.

    A path of the same kind is taken over as it is, with more bends where they are asked for: a Bezier curve is the
    same at every t, a polyline the same set of points. Models become the control points themselves, so a polyline
    passes through them and a Bezier curve is pulled towards them.

    Args:
        context: the store.
        start: what was found.
        loaded: the problem.
        ends: parameters (P,) of the two ends.
        models: those of the start's models.
        bends: N.
        kind: of the path.

    Returns:
        Its first state.

    Raises:
        Refused: if the ends of a given path are other points now.
    """
    import torch

    from rashomon_cli.science import bends as more
    from rashomon_cli.science import paths

    if start.path is not None:
        given = subjects.load_path(context, loaded, start.path.run, ends[0].device)
        if not (torch.equal(given.points[0], ends[0]) and torch.equal(given.points[-1], ends[1])):
            words = f"{start.path.label} does not begin and end at the parameters of the two models"
            raise Refused(words, "start from the line")
        if given.kind != kind:
            return more.sampled(given, kind, bends)
        return more.elevated(given, bends) if kind == "bezier" else more.divided(given, bends)
    if models:
        return paths.Path(kind, torch.stack([ends[0], *models, ends[1]]))
    return paths.line(ends[0], ends[1], bends, kind)
