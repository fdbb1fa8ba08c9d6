"""What weights that sum over an axis do to labels: linear maps, convolutions, embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from rashomon_cli.science.symmetries.combine import unscaled, virgin
from rashomon_cli.science.symmetries.labels import Layer, Ledger, Value, distinct, rows, varies


def linear(ledger: Ledger, out: Value, x: Value, weight: Value, bias: Value | None) -> Value:
    """``x Wᵀ + b`` with x (…, K) and W (O, K)."""
    rows_, columns = _sides(ledger, weight)
    passing = [layer for layer in x.layers if layer.along() and not varies(layer.units, -1)]
    for layer in _read(ledger, x, -1, columns, passing):
        units = columns.units if columns.units.shape[0] == 1 else columns.units[:1]
        _reads(ledger, layer, units[0].expand(x.shape), columns)
    units, scales = (each.expand(out.shape) for each in _made(ledger, rows_, rows_.units[:, 0], bias))
    return Value(out.shape, (Layer(units, scales, raw=True), *_beside(ledger, out, passing, bias)))


def _beside(ledger: Ledger, out: Value, passing: Sequence[Layer], bias: Value | None) -> Iterator[Layer]:
    """Labels along other axes than the one that is summed over; a bias lets no factor of theirs pass."""
    for layer in passing:
        scales = virgin(ledger, layer)
        if bias is not None:
            scales = unscaled(ledger, layer)
        yield Layer(layer.units[..., :1].expand(out.shape), scales[..., :1].expand(out.shape))


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
            unscaled(ledger, layer)
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
            unscaled(ledger, layer)
    if not found:
        unlabelled(ledger, x, along, columns)
    return only(ledger, found)


def only(ledger: Ledger, found: list[Layer]) -> list[Layer]:
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


def unlabelled(ledger: Ledger, x: Value, axis: int, columns: Layer) -> None:
    """A weight reads what has no labels: its inputs are fixed, unless it reads the same number everywhere."""
    if x.constant is None or varies(x.constant, axis):
        ledger.fix(columns.units)
    else:
        ledger.keep_within(columns.units)
    if x.constant is None or bool((x.constant != 0).any()):
        ledger.fix_scales(virgin(ledger, columns))


def _reads(ledger: Ledger, layer: Layer, inputs: Tensor, columns: Layer) -> None:
    """A weight's inputs (expanded to the shape of what is read) meet labels."""
    ledger.tie(layer.units, inputs, bridge=layer.raw)
    scales = virgin(ledger, layer)
    if columns.scales is None:
        ledger.multiply(inputs, (common(ledger, scales, inputs), -1))
    else:
        ledger.fix_scales(scales)
        ledger.fix_scales(columns.scales)


def common(ledger: Ledger, scales: Tensor, inputs: Tensor) -> Tensor:
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
                ledger.tie_scales(bias.layers[0].scales, scales)
        elif bias.constant is None or varies(bias.constant, 0):
            ledger.fix(units)
            ledger.fix_scales(scales)
        else:
            ledger.fix_scales(scales)
    return units, scales


def embed(ledger: Ledger, out: Value, table: Value) -> Value:
    """Rows of a table (V, D) by number: which row is fixed."""
    if len(table.layers) < 2:
        return out
    ledger.fix(table.layers[0].units)
    units = table.layers[1].units[0]
    scales = ledger.new_scales(units)
    ledger.multiply(units, (scales, 1))
    return Value(out.shape, (Layer(units.expand(out.shape), scales.expand(out.shape)),))
