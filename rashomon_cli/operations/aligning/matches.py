"""The matches that ``align`` moves models by: found once for all models of one universe, and kept in a stage."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.options import Config
from rashomon_cli.core.results import Result, Variable, series
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.problems import Loaded
from rashomon_cli.operations.subjects import Subject
from rashomon_cli.store import Job

if TYPE_CHECKING:
    from torch import Tensor

    from rashomon_cli.science.alignment.matching import Match
    from rashomon_cli.science.symmetries import Group, Reading, Symmetries

BATCH = 100


class Options(Protocol):
    """What matching takes from an operation's options."""

    @property
    def method(self) -> str:
        """``weights`` or ``activations``."""
        ...

    @property
    def scales(self) -> bool:
        """Whether factors between layers are brought to one standard."""
        ...

    @property
    def match_samples(self) -> int:
        """Training examples whose activations are compared."""
        ...

    @property
    def seed(self) -> int:
        """Of the order of matching and of the samples."""
        ...


def find(
    context: Context,
    config: Options,
    job: Job,
    loaded: Loaded,
    symmetries: Symmetries,
    readings: Sequence[Reading],
    networks: Sequence[Mapping[str, Tensor]],
    fixed: frozenset[str],
    models: Sequence[Subject],
) -> list[Match]:
    """Match models with the first one; the other members of a family find the same matches kept.

    Args:
        context: circumstances.
        config: the options.
        job: whose stage keeps the matches.
        loaded: the problem.
        symmetries: of the models.
        readings: where activations are read.
        networks: tensors of each model, float64.
        fixed: names of tensors that nothing moves.
        models: the runs that they are of.

    Returns:
        One match a model, in their order.

    Raises:
        Busy: if another process matches the same models.
        Refused: if activations are asked for of a network whose control flow depends on the data.
    """
    assert isinstance(config, Config)
    order = sorted(range(1, len(models)), key=lambda n: (models[n].run.id, models[n].t or 0.0))
    keys = [models[n].parent("model").model_dump(mode="json") for n in (0, *order)]
    options = config.model_dump(mode="json", include={"method", "scales", "match_samples", "seed"})
    recipe = {"stage": "alignment", "config": options, "models": keys, "units": _digest(symmetries)}
    with job.stage(recipe) as stage:
        kept = stage.part("matches")
        if kept is None:
            several = [networks[n] for n in (0, *order)]
            kept = _pack(_match(context, config, loaded, symmetries, readings, several, fixed))
            stage.save("matches", kept)
    matches = _unpack(kept, len(models))
    back = np.argsort([0, *order])
    return [matches[n] for n in back]


def _digest(symmetries: Symmetries) -> str:
    """Which number each unit has: matches that were kept hold for these numbers only."""
    found = hashlib.sha256()
    for axis in symmetries.axes:
        found.update(f"{axis.tensor}/{axis.axis}/".encode() + axis.units.tobytes())
    for group in symmetries.groups:
        found.update(group.units.tobytes() + b"".join(inner.units.tobytes() for inner in group.inner))
    return found.hexdigest()


def _match(
    context: Context,
    config: Options,
    loaded: Loaded,
    symmetries: Symmetries,
    readings: Sequence[Reading],
    networks: Sequence[Mapping[str, Tensor]],
    fixed: frozenset[str],
) -> list[Match]:
    from rashomon_cli.science.alignment.move import match_activations, match_weights

    if config.method == "weights":
        return match_weights(symmetries, networks, frozenset(loaded.problem.layout.names), config.seed, config.scales)
    if not readings:
        raise Refused(
            f"what {loaded.builder.spec} does depends on the data, so its activations have no fixed places",
            "--method weights",
        )
    sample = loaded.batches("train").sample(config.match_samples, config.seed, "match")
    pieces = [batch[k : k + BATCH] for batch, _ in sample for k in range(0, len(batch), BATCH)]
    inputs = [x for x in pieces if len(x) == len(pieces[0])]
    return match_activations(
        loaded.problem.module, symmetries, readings, networks, inputs, fixed, context.progress.tick
    )


def _pack(matches: Sequence[Match]) -> Result:
    tensors = {f"source-{n}": match.source for n, match in enumerate(matches)}
    for n, match in enumerate(matches):
        tensors |= {f"ties-{n}/{group}": np.array(tied, np.int64) for group, tied in match.ties.items()}
    return Result(tensors=tensors)


def _unpack(kept: Result, count: int) -> list[Match]:
    from rashomon_cli.science.alignment.matching import Match

    found = []
    for n in range(count):
        ties = {k.partition("/")[2]: v.tolist() for k, v in kept.tensors.items() if k.startswith(f"ties-{n}/")}
        found.append(Match(np.array(kept.tensors[f"source-{n}"]), ties))
    return found


def by_group(groups: Sequence[Group], match: Match) -> dict[str, Variable]:
    """For each group of units, how many there are, how many got another place, and how many were tied."""
    moved = [int((match.source[group.units] != group.units).sum()) for group in groups]
    tied = [len(match.ties.get(group.name, [])) for group in groups]
    return {
        "group": series("group", np.array([group.name for group in groups]), "1", "parameter that makes the units"),
        "units": series("group", np.array([group.size for group in groups]), "1", "interchangeable units"),
        "moved": series("group", np.array(moved), "1", "units that got another place"),
        "tied": series("group", np.array(tied), "1", "units for which another partner was as good"),
    }
