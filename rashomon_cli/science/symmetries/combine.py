"""What two tensors of one shape, or of shapes that are made equal, do to each other's labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rashomon_cli.science.symmetries.labels import Layer, Ledger, Value, distinct, rows, varies


def virgin(ledger: Ledger, layer: Layer) -> Tensor:
    """The scales of a layer; a parameter that is used as an activation gets some, by which it is multiplied."""
    if layer.scales is not None:
        return layer.scales
    scales = ledger.new_scales(layer.units)
    ledger.multiply(layer.units, (scales, 1))
    return scales


def unscaled(ledger: Ledger, layer: Layer) -> Tensor:
    """No factor passes a layer, nor may a parameter get one by another use: its scales are one."""
    scales = virgin(ledger, layer)
    ledger.fix_scales(scales)
    return torch.zeros_like(scales)


def combine(ledger: Ledger, out: Value, values: Sequence[Value], *, kind: str) -> Value:
    """Entries of tensors at the same place are combined, after the shapes are made equal.

    Args:
        ledger: takes the ties.
        out: the result without labels.
        values: the operands, tensors only.
        kind: ``add`` (factors must be equal), ``mul`` (factors multiply), ``div``, or ``other`` (no factor passes).

    Returns:
        The result.
    """
    found = values[0]
    for other in values[1:]:
        found = _two(ledger, out.shape, found, other, kind)
    return Value(out.shape, tuple(_spread(layer, found.shape, out.shape) for layer in found.layers))


def _two(ledger: Ledger, shape: torch.Size, one: Value, other: Value, kind: str) -> Value:
    kept: list[Layer] = []
    rest = list(other.layers)
    for layer in one.layers:
        partner = _partner(layer, one.shape, rest, other.shape, shape)
        if partner is None:
            kept += _alone(ledger, layer, one.shape, other, shape, kind)
            continue
        rest = [r for r in rest if r is not partner]
        kept.append(_pair(ledger, layer, one, partner, other, shape, kind))
    for layer in rest:
        kept += _alone(ledger, layer, other.shape, one, shape, kind, first=False)
    return Value(shape, tuple(kept))


def _wide(layer: Layer, own: torch.Size, shape: torch.Size) -> frozenset[int]:
    """The axes of the common shape along which a layer differs."""
    shift = len(shape) - len(own)
    return frozenset(axis + shift for axis in layer.along())


def _partner(
    layer: Layer, own: torch.Size, others: Sequence[Layer], of_others: torch.Size, shape: torch.Size
) -> Layer | None:
    """Of the layers along common axes, the one that comes nearest to a unit for a unit."""
    found = [r for r in others if _meet(_wide(r, of_others, shape), _wide(layer, own, shape))]
    if len(found) < 2:
        return found[0] if found else None
    mine = _spread(layer, own, shape).units

    def spread(r: Layer) -> float:
        theirs = _spread(r, of_others, shape).units
        return len(rows(mine, theirs)) / len(distinct(theirs))

    return min(found, key=spread)


def _meet(one: frozenset[int], other: frozenset[int]) -> bool:
    return bool(one & other) or not (one or other)


def _spread(layer: Layer, own: torch.Size, shape: torch.Size) -> Layer:
    return layer if own == shape else layer.move(lambda labels: labels.expand(shape))


def _alone(
    ledger: Ledger, layer: Layer, own: torch.Size, other: Value, shape: torch.Size, kind: str, first: bool = True
) -> list[Layer]:
    """A layer that meets no labels: it stays where the other tensor is the same along it, else nothing may move."""
    shift = len(shape) - len(other.shape)
    along = _wide(layer, own, shape)
    reached = [a for a in along if a >= shift and other.shape[a - shift] > 1 and a - shift not in other.same]
    constant = other.constant
    if reached and constant is None:
        ledger.fix(layer.units)
        unscaled(ledger, layer)
        return []
    differing = [axis for axis in reached if constant is not None and varies(constant, axis - shift)]
    if differing:
        ledger.pin(_spread(layer, own, shape).units, differing)
    scales = layer.scales
    passes = kind == "mul" or (kind == "div" and first)
    if not passes:
        scales = unscaled(ledger, layer)
    return [_spread(Layer(layer.units, scales), own, shape)]


def _pair(
    ledger: Ledger, one: Layer, of_one: Value, other: Layer, of_other: Value, shape: torch.Size, kind: str
) -> Layer:
    """Two layers along common axes: units at the same place move together; one without the other's axis is a block."""
    first, second = _wide(one, of_one.shape, shape), _wide(other, of_other.shape, shape)
    one_fine = any(_lacks(of_other.shape, axis, shape) for axis in first - second)
    other_fine = any(_lacks(of_one.shape, axis, shape) for axis in second - first)
    a, b = _spread(one, of_one.shape, shape), _spread(other, of_other.shape, shape)
    if one_fine and other_fine:
        ledger.fix(a.units)
        ledger.fix(b.units)
    elif one_fine:
        ledger.contain(b.units, a.units)
    elif other_fine:
        ledger.contain(a.units, b.units)
    else:
        ledger.tie(a.units, b.units)
    fine = b if other_fine else a
    return Layer(fine.units, _scales(ledger, a, b, kind).expand(shape))


def _scales(ledger: Ledger, a: Layer, b: Layer, kind: str) -> Tensor:
    if kind == "add":
        one, two = virgin(ledger, a), virgin(ledger, b)
        ledger.tie_scales(one, two)
        return one
    if kind == "mul" and b.scales is None and a.scales is not None:
        out = ledger.new_scales(b.units)
        ledger.multiply(b.units, (out, 1), (a.scales, -1))
        return out
    if kind == "mul" and a.scales is None and b.scales is not None:
        return _scales(ledger, b, a, kind)
    one, two = virgin(ledger, a), virgin(ledger, b)
    if kind == "mul" and not one.any():
        return two
    ledger.fix_scales(two)  # of two factors that could be shared out, one stays
    if kind == "mul" or kind == "div":
        return one
    ledger.fix_scales(one)
    return torch.zeros_like(one)


def _lacks(own: torch.Size, axis: int, shape: torch.Size) -> bool:
    shift = len(shape) - len(own)
    return axis < shift or own[axis - shift] == 1
