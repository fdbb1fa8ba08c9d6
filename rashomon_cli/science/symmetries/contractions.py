"""What sums over an axis does to labels: linear maps, convolutions, products of matrices, attention, embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from rashomon_cli.science.symmetries.labels import Layer, Ledger, Value, distinct, rows, varies
from rashomon_cli.science.symmetries.combine import combine, virgin
from rashomon_cli.science.symmetries.rules import normalise


def linear(ledger: Ledger, out: Value, x: Value, weight: Value, bias: Value | None) -> Value:
    """``x Wᵀ + b`` with x (…, K) and W (O, K)."""
    rows_, columns = _sides(ledger, weight)
    passing = [layer for layer in x.layers if layer.along() and not varies(layer.units, -1)]
    for layer in _read(ledger, x, -1, columns, passing):
        if layer.raw:
            ledger.read.append(distinct(layer.units))
        units = columns.units if columns.units.shape[0] == 1 else columns.units[:1]
        _reads(ledger, layer, units[0].expand(x.shape), columns)
    units, scales = (each.expand(out.shape) for each in _made(ledger, rows_, rows_.units[:, 0], bias))
    return Value(out.shape, (Layer(units, scales, raw=True), *_beside(ledger, out, passing, bias)))


def _beside(ledger: Ledger, out: Value, passing: Sequence[Layer], bias: Value | None) -> Iterator[Layer]:
    """Labels along other axes than the one that is summed over; a bias lets no factor of theirs pass."""
    for layer in passing:
        scales = virgin(ledger, layer)
        if bias is not None:
            ledger.fix_scales(scales)
            scales = torch.zeros_like(scales)
        yield Layer(*(labels[..., :1].expand(out.shape) for labels in (layer.units, scales)))


def convolve(ledger: Ledger, out: Value, x: Value, weight: Value, bias: Value | None, groups: int) -> Value:
    """A convolution with x (B, C, …) and W (O, C/g, …), of any number of spatial dimensions."""
    rows_, columns = _sides(ledger, weight, grouped=groups > 1)
    spatial = (1,) * (len(x.shape) - 2)
    flat, inside = rows_.units.flatten(1)[:, 0], columns.units.flatten(2)[:, :, 0]
    per_group = len(flat) // groups
    inner = inside[::per_group] if groups > 1 else inside[:1]
    for layer in _read(ledger, x, 1, columns):
        _reads(ledger, layer, inner.reshape(1, -1, *spatial).expand(x.shape), columns)
    made = _made(ledger, rows_, flat, bias)
    units, scales = (each.reshape(1, -1, *spatial).expand(out.shape) for each in made)
    if groups > 1:
        outer = flat.reshape(groups, per_group)
        if inner.shape[1] == 1 == per_group:
            ledger.tie(inner, outer)
        elif inner.shape[1] == 1:
            ledger.contain(inner.expand_as(outer), outer)
        else:
            blocks = ledger.new_units((groups, 1))
            ledger.contain(blocks.expand_as(inner), inner)
            ledger.contain(blocks.expand_as(outer), outer)
    return Value(out.shape, (Layer(units, scales, raw=not spatial),))


def transposed_convolve(ledger: Ledger, out: Value, x: Value, weight: Value, bias: Value | None) -> Value:
    """A transposed convolution, not in groups: x (B, C, …) and W (C, O, …)."""
    shape = torch.Size([weight.shape[1], weight.shape[0], *weight.shape[2:]])
    layers = [layer.move(lambda labels: labels.transpose(0, 1)) for layer in weight.layers]
    turned = Value(shape, (*layers[1::-1], *layers[2:]), weight.constant)
    return convolve(ledger, out, x, turned, bias, 1)


def _sides(ledger: Ledger, weight: Value, grouped: bool = False) -> tuple[Layer, Layer]:
    """The labels of a weight's outputs and inputs, its first two axes; nothing may move along other axes.

    The inputs of a convolution in groups differ along the outputs, too.
    """
    blank = torch.zeros((), dtype=torch.int64).expand(weight.shape)
    found = []
    for axis in (0, 1):
        pure = [layer for layer in weight.layers if varies(layer.units, axis) and _along_one(layer, axis, grouped)]
        if not pure and weight.shape[axis] == 1 and len(weight.layers) == len(weight.shape):
            pure = [
                layer
                for layer in weight.layers[axis : axis + 1]
                if layer.along() <= {0}
                if grouped or not layer.along()
            ]
        found.append(pure[0] if pure else Layer(blank, blank))
    for layer in weight.layers:
        if all(layer is not each for each in found):
            ledger.fix(layer.units)
            ledger.fix_scales(layer.scales)
    return found[0], found[1]


def _along_one(layer: Layer, axis: int, grouped: bool) -> bool:
    return layer.along() <= ({0, 1} if grouped and axis == 1 else {axis})


def _read(ledger: Ledger, x: Value, axis: int, columns: Layer, passing: Sequence[Layer] = ()) -> list[Layer]:
    """The layer of an input along the axis that is summed over; where there is none, the weight's inputs are fixed."""
    along = axis % len(x.shape)
    rest = [layer for layer in x.layers if all(layer is not each for each in passing)]
    found = [layer for layer in rest if varies(layer.units, along)]
    if not found and x.shape[along] == 1:
        found = [layer for layer in rest if not layer.along()][:1]
    for layer in rest:
        if all(layer is not each for each in found):
            ledger.fix(layer.units)
            ledger.fix_scales(layer.scales)
    if not found:
        _unlabelled(ledger, x, along, columns)
    return _only(ledger, found)


def _only(ledger: Ledger, found: list[Layer]) -> list[Layer]:
    """Of several layers along one axis, as behind a flattened outer product, one; the units of others stay in order."""
    if len(found) < 2:
        return found
    kept = max(found, key=lambda layer: (layer.raw, len(distinct(layer.units))))
    for layer in found:
        ledger.fix_scales(virgin(ledger, layer))
        if layer is not kept:
            units = torch.from_numpy(distinct(layer.units))
            ledger.tie(units, units[:1].expand_as(units))
    return [kept]


def _unlabelled(ledger: Ledger, x: Value, axis: int, columns: Layer) -> None:
    """A weight reads what has no labels: its inputs are fixed, unless it reads the same number everywhere."""
    if x.constant is None or varies(x.constant, axis):
        ledger.fix(columns.units)
        return
    ledger.keep_within(columns.units)
    if bool((x.constant != 0).any()) and columns.scales is None:
        ledger.multiply(columns.units, (torch.zeros_like(columns.units), -1))


def _reads(ledger: Ledger, layer: Layer, inputs: Tensor, columns: Layer) -> None:
    """A weight's inputs (expanded to the shape of what is read) meet labels."""
    ledger.tie(layer.units, inputs)
    scales = virgin(ledger, layer)
    if columns.scales is None:
        ledger.multiply(inputs, (_common(ledger, scales, inputs), -1))
    else:
        ledger.fix_scales(scales)
        ledger.fix_scales(columns.scales)


def _common(ledger: Ledger, scales: Tensor, inputs: Tensor) -> Tensor:
    """Scales that are the same wherever the same input is read."""
    found = rows(inputs, scales)
    first: dict[int, int] = {}
    ties = [(first.setdefault(unit, scale), scale) for unit, scale in found.tolist()]
    ledger.tie_scales(torch.tensor([t[0] for t in ties]), torch.tensor([t[1] for t in ties]))
    least = torch.zeros(int(inputs.max()) + 1, dtype=torch.int64)
    least[list(first)] = torch.tensor(list(first.values()))
    return least[inputs]


def _made(ledger: Ledger, outputs: Layer, units: Tensor, bias: Value | None) -> tuple[Tensor, Tensor]:
    """Units and scales of what a weight makes; its bias moves along."""
    if outputs.scales is None:
        scales = ledger.new_scales(units)
        ledger.multiply(units, (scales, 1))
    else:
        scales = outputs.scales.flatten(1)[:, 0]
    if bias is not None:
        if bias.layers:
            ledger.tie(bias.layers[0].units, units)
            if bias.layers[0].scales is None:
                ledger.multiply(bias.layers[0].units, (scales, 1))
            else:
                ledger.fix_scales(scales)
        elif bias.constant is None or varies(bias.constant, 0):
            ledger.fix(units)
            ledger.fix_scales(scales)
        else:
            ledger.fix_scales(scales)
    return units, scales


def matmul(ledger: Ledger, out: Value, x: Value, y: Value) -> Value:
    """``x y`` with x (…, N, K) and y (…, K, M)."""
    rank = len(out.shape)
    first, second = ([_lifted(layer, v, rank) for layer in v.layers] for v in (x, y))
    inner_x = [layer for layer in first if varies(layer.units, rank - 1)]
    inner_y = [layer for layer in second if varies(layer.units, rank - 2)]
    found: list[Layer] = []
    if inner_x and inner_y:
        found += _summed(ledger, *_only(ledger, inner_x), *_only(ledger, inner_y), out)
    for layer in [] if inner_y else inner_x:
        _unlabelled(ledger, y, len(y.shape) - 2, layer)
        ledger.fix_scales(layer.scales)
    for layer in [] if inner_x else inner_y:
        _unlabelled(ledger, x, len(x.shape) - 1, layer)
        ledger.fix_scales(layer.scales)
    outer_x = [_outer(layer, out, rank - 1) for layer in first if all(layer is not each for each in inner_x)]
    outer_y = [_outer(layer, out, rank - 2) for layer in second if all(layer is not each for each in inner_y)]
    for one in outer_x:
        partner = next((o for o in outer_y if _batch(one, rank) & _batch(o, rank)), None)
        if partner is None and one.along() and one.along() <= _batch(one, rank):  # heads that share what they pass on
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
    a, b = torch.broadcast_tensors(a, b)
    ledger.tie(a, b)
    if one.scales is not None and other.scales is None:
        inputs = other.units.expand(*a.shape[: rank - 2], *other.units.shape[-2:])[..., :, :1].transpose(-1, -2)
        scales = one.scales[..., :1, :].expand_as(inputs)
        ledger.multiply(inputs, (_common(ledger, scales, inputs), -1))
    else:
        ledger.fix_scales(virgin(ledger, one))
        ledger.fix_scales(virgin(ledger, other))
    axes = [axis for axis in range(rank - 2) if varies(a, axis)]
    if not axes:
        return []
    blocks = ledger.new_units([n if axis in axes else 1 for axis, n in enumerate(out.shape)])
    wide = blocks.unsqueeze(-1).expand_as(a)
    ledger.contain(wide, a)
    if one.raw and other.raw:
        ledger.joined["qk"].append(rows(wide, a))
    return [Layer(blocks.expand(out.shape), torch.zeros((), dtype=torch.int64).expand(out.shape))]


def _blocked(ledger: Ledger, one: Layer, other: Layer, rank: int, *, inner: bool) -> Layer:
    """Labels of both factors along the same matrices: the one that is the same within a matrix is the block."""
    coarse_one, coarse_other = one.along() <= _batch(one, rank), other.along() <= _batch(other, rank)
    if coarse_one and coarse_other:
        ledger.tie(one.units, other.units)
        return one
    if coarse_one or coarse_other:
        coarse, fine = (one, other) if coarse_one else (other, one)
        ledger.contain(coarse.units, fine.units)
        if fine.raw and not inner:
            ledger.joined["ov"].append(rows(coarse.units, fine.units))
        return fine
    for layer in (one, other):
        ledger.fix(layer.units)
        ledger.fix_scales(layer.scales)
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
    turned = Value(key.shape[:-2] + (key.shape[-1], key.shape[-2]), tuple(k.move(_turn) for k in key.layers))
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


def embed(ledger: Ledger, out: Value, table: Value) -> Value:
    """Rows of a table (V, D) by number: which row is fixed."""
    if len(table.layers) < 2:
        return out
    ledger.fix(table.layers[0].units)
    units = table.layers[1].units[0]
    scales = ledger.new_scales(units)
    ledger.multiply(units, (scales, 1))
    return Value(out.shape, (Layer(units.expand(out.shape), scales.expand(out.shape)),))
