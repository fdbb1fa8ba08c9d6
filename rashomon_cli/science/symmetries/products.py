"""What products of two matrices do to labels: the sums of attention heads, and what the heads pass on."""

from __future__ import annotations

import torch
from torch import Tensor

from rashomon_cli.science.symmetries.combine import combine, unscaled, virgin
from rashomon_cli.science.symmetries.contractions import common, only, unlabelled
from rashomon_cli.science.symmetries.labels import Layer, Ledger, Value, rows, varies
from rashomon_cli.science.symmetries.rules import normalise


def matmul(ledger: Ledger, out: Value, x: Value, y: Value) -> Value:
    """``x y`` with x (…, N, K) and y (…, K, M)."""
    rank = len(out.shape)
    first, second = ([_lifted(layer, v, rank) for layer in v.layers] for v in (x, y))
    inner_x = [layer for layer in first if varies(layer.units, rank - 1)]
    inner_y = [layer for layer in second if varies(layer.units, rank - 2)]
    found: list[Layer] = []
    if inner_x and inner_y:
        found += _summed(ledger, only(ledger, inner_x)[0], only(ledger, inner_y)[0], out)
    for layer in [] if inner_y else inner_x:
        unlabelled(ledger, y, len(y.shape) - 2, layer)
        unscaled(ledger, layer)
    for layer in [] if inner_x else inner_y:
        unlabelled(ledger, x, len(x.shape) - 1, layer)
        unscaled(ledger, layer)
    outer_x = [_outer(layer, out, rank - 1) for layer in first if all(layer is not each for each in inner_x)]
    outer_y = [_outer(layer, out, rank - 2) for layer in second if all(layer is not each for each in inner_y)]
    for one in outer_x:
        partner = next((o for o in outer_y if _batch(one, rank) & _batch(o, rank)), None)
        if partner is None and one.along() <= _batch(one, rank):  # heads that share what they pass on
            partner = next((o for o in outer_y if o.raw and o.scales is not None and not _batch(o, rank)), None)
        if partner is None:
            found.append(_passed(ledger, one, y, rank))
            continue
        outer_y = [o for o in outer_y if o is not partner]
        found.append(_blocked(ledger, one, partner, rank, inner=bool(inner_x or inner_y)))
    found += [_passed(ledger, one, x, rank) for one in outer_y]
    return Value(out.shape, tuple(found))


def _lifted(layer: Layer, value: Value, rank: int) -> Layer:
    return layer.move(lambda labels: labels.reshape(*(1,) * (rank - len(value.shape)), *value.shape))


def _outer(layer: Layer, out: Value, gone: int) -> Layer:
    """A layer that does not differ along the axis that is summed over, in the shape of the product."""

    def act(labels: Tensor) -> Tensor:
        return labels.narrow(gone, 0, 1).expand(out.shape)

    return layer.move(act)


def _batch(layer: Layer, rank: int) -> frozenset[int]:
    return frozenset(axis for axis in layer.along() if axis < rank - 2)


def _summed(ledger: Ledger, one: Layer, other: Layer, out: Value) -> list[Layer]:
    """Labels along the axis that is summed over: tied at the same place; blocks where they differ between matrices."""
    rank = one.units.ndim

    def narrowed(labels: Tensor, axis: int) -> Tensor:
        return labels if varies(labels, axis) else labels.narrow(axis, 0, 1)

    a = narrowed(one.units, rank - 2).unsqueeze(-1)
    b = narrowed(other.units, rank - 1).unsqueeze(-3)
    both = [max(m, n) for m, n in zip(a.shape, b.shape)]
    a, b = a.expand(both), b.expand(both)
    head = one.raw and other.raw and one.scales is not None and other.scales is not None
    ledger.tie(a, b, bridge=head or (one.raw and other.scales is None))
    if one.scales is not None and other.scales is None:
        inputs = other.units.expand(*a.shape[: rank - 2], *other.units.shape[-2:])[..., :, :1].transpose(-1, -2)
        scales = one.scales[..., :1, :].expand_as(inputs)
        ledger.multiply(inputs, (common(ledger, scales, inputs), -1))
    else:
        ledger.fix_scales(virgin(ledger, one))
        ledger.fix_scales(virgin(ledger, other))
    axes = [axis for axis in range(rank - 2) if varies(a, axis)]
    if not axes and not head:
        return []
    blocks = ledger.new_units([n if axis in axes else 1 for axis, n in enumerate(out.shape)])
    wide = blocks.unsqueeze(-1).expand_as(a)
    ledger.contain(wide, a)
    if head:
        ledger.joined["qk"].append(rows(wide, a))
    return [Layer(blocks.expand(out.shape), torch.zeros((), dtype=torch.int64).expand(out.shape))]


def _blocked(ledger: Ledger, one: Layer, other: Layer, rank: int, *, inner: bool) -> Layer:
    """Labels of both factors along the same matrices: the one that is the same within a matrix is the block."""
    coarse_one, coarse_other = one.along() <= _batch(one, rank), other.along() <= _batch(other, rank)
    if coarse_one and coarse_other:
        ledger.tie(one.units, other.units)
        ledger.fix_scales(other.scales)
        return one
    if coarse_one or coarse_other:
        coarse, fine = (one, other) if coarse_one else (other, one)
        ledger.contain(coarse.units, fine.units)
        ledger.fix_scales(coarse.scales)
        if fine.raw and not inner:
            ledger.joined["ov"].append(rows(coarse.units, fine.units))
        return fine
    for layer in (one, other):
        ledger.fix(layer.units)
        unscaled(ledger, layer)
    zero = torch.zeros_like(one.units)
    return Layer(zero, zero)


def _passed(ledger: Ledger, layer: Layer, other: Value, rank: int) -> Layer:
    """Labels of one factor that the other has none for: nothing may move where the other factor differs along them."""
    shift = rank - len(other.shape)
    if any(axis >= shift and other.shape[axis - shift] > 1 for axis in _batch(layer, rank)):
        ledger.fix(layer.units)
    return Layer(layer.units, virgin(ledger, layer), layer.raw or layer.scales is None)


def attend(
    ledger: Ledger, out: Value, query: Value, key: Value, value: Value, mask: Value | None, shared: int = 1
) -> Value:
    """``softmax(q kᵀ) v`` with q, k, v (…, H, N, d); the heads of k and v are repeated ``shared`` times."""
    if shared > 1:
        key, value = (_repeated(each, shared) for each in (key, value))
    turned = Value(
        torch.Size([*key.shape[:-2], key.shape[-1], key.shape[-2]]), tuple(k.move(_turn) for k in key.layers)
    )
    scores = Value(torch.Size([*out.shape[:-1], key.shape[-2]]))
    scores = matmul(ledger, scores, query, turned)
    if mask is not None:
        scores = combine(ledger, Value(scores.shape), (scores, mask), kind="other")
    return matmul(ledger, out, normalise(ledger, Value(scores.shape), scores, -1), value)


def _turn(labels: Tensor) -> Tensor:
    return labels.transpose(-1, -2)


def _repeated(value: Value, times: int) -> Value:
    shape = torch.Size([*value.shape[:-3], value.shape[-3] * times, *value.shape[-2:]])
    return Value(shape, tuple(layer.move(lambda t: t.repeat_interleave(times, -3)) for layer in value.layers))
