"""``rashomon show --symmetries``: what of a model can be permuted and rescaled without changing its function."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rashomon_cli.operations import modules, subjects
from rashomon_cli.operations.context import Context

if TYPE_CHECKING:
    from torch import Tensor

    from rashomon_cli.science.symmetries import Graph, Group, Symmetries

NOT_COUNTED = (
    "changes of sign",
    "shifts of keys under softmax",
    "other linear maps between layers without an activation",
    "exchanges of blocks that hold blocks, or of heads that share their keys",
    "units within attention without softmax",
    "units behind normalised or rotated queries and keys",
    "a factor common to all that a normalisation reads",
)
UNTRACED = ("rescalings", "attention heads")
_KINDS = {"qk": "QK", "ov": "OV", "units": "units"}


@dataclass(frozen=True)
class Part:
    """Units within the blocks of a group.

    Attributes:
        name: the parameter that makes them.
        what: ``QK`` (queries and keys) or ``OV`` (values and outputs) of attention heads, or ``units``.
        size: number of units of a block.
    """

    name: str
    what: str
    size: int


@dataclass(frozen=True)
class Row:
    """A group of interchangeable units, or blocks of units.

    Attributes:
        name: the parameter that makes them.
        what: ``channels`` of a convolution, ``units``, ``heads`` of attention, or ``blocks`` of units.
        size: their number.
        parts: of blocks, what they hold.
        rescalings: number of positive factors that can be moved past them.
    """

    name: str
    what: str
    size: int
    parts: tuple[Part, ...]
    rescalings: int


@dataclass(frozen=True)
class Found:
    """The symmetries of a model.

    Attributes:
        groups: what can be permuted.
        log10_permutations: logarithm of the number of permutations.
        rescalings: number of positive factors that can be chosen freely.
        absorbed: those of them that a normalisation takes away again.
        qk_dimensions: d² for the queries and keys of each attention head: any invertible matrix fits between them.
        ov_dimensions: the same for values and outputs.
        continuous_dimensions: of all these together.
        not_counted: what may exist besides.
    """

    groups: tuple[Row, ...]
    log10_permutations: float
    rescalings: int
    absorbed: int
    qk_dimensions: int
    ov_dimensions: int
    continuous_dimensions: int
    not_counted: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as plain objects."""
        return asdict(self)


def symmetries(context: Context, reference: str) -> Found:
    """The symmetries of a model, each tried in float64 on two inputs.

    Of a model of images these are random numbers, so its data need not be at hand; of any other, training examples.

    Args:
        context: the store.
        reference: a model: its name or id, or ``NAME@t`` on a path.

    Returns:
        What was found.

    Raises:
        UsageError: if there is no such run, or it is no model.
        Refused: if the model cannot be traced, or a symmetry cannot be told.
        Damaged: if a file was altered.
    """
    subject = subjects.find(context, reference, "model")
    from rashomon_cli.science.symmetries import find

    module = modules.load_module(context, reference)
    graph, found, readings = find(module, _inputs(context, subject))
    mixed = {kind: sum(size**2 for each, size in found.mixed if each == kind) for kind in ("qk", "ov")}
    return Found(
        groups=tuple(_row(group, graph, found) for group in found.groups),
        log10_permutations=found.permutations_log10,
        rescalings=len(found.free),
        absorbed=len(found.absorbed),
        qk_dimensions=mixed["qk"],
        ov_dimensions=mixed["ov"],
        continuous_dimensions=found.continuous,
        not_counted=(*(() if readings else UNTRACED), *NOT_COUNTED),
    )


def _inputs(context: Context, subject: subjects.Subject) -> Tensor:
    """Two inputs of a model."""
    import torch

    record = subject.run.record.data or {}
    if record.get("mean"):
        return torch.randn(2, *record["input_shape"], generator=torch.Generator().manual_seed(0))
    loaded = subjects.load_problem(context, subject.run, torch.device("cpu"))
    x: Tensor = next(iter(loaded.batches("train").sample(2, 0, "symmetries")))[0]
    return x


def _row(group: Group, graph: Graph, found: Symmetries) -> Row:
    import numpy as np

    parts = tuple(Part(inner.name, _KINDS[inner.kind], inner.units.shape[1]) for inner in group.inner)
    heads = any(inner.kind != "units" for inner in group.inner)
    units = np.concatenate([group.units, *(inner.units.reshape(-1) for inner in group.inner)])
    made = "channels" if graph.values[group.name].ndim > 2 else "units"
    what = "heads" if heads else "blocks" if parts else made
    return Row(group.name, what, group.size, parts, len(found.factors(units)))
