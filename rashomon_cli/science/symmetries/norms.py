"""What normalisation layers do to labels."""

from __future__ import annotations

import torch
from torch import Tensor

from rashomon_cli.science.symmetries.combine import unscaled, virgin
from rashomon_cli.science.symmetries.labels import Layer, Ledger, Value, varies


def batch_norm(
    ledger: Ledger,
    out: Value,
    x: Value,
    affine: tuple[Value | None, Value | None],
    kept: tuple[Value | None, Value | None],
    eps: float,
) -> Value:
    """``γ (x − μ)/√(σ² + ε) + β`` with statistics that are kept, each channel (axis 1) alone.

    A factor of a channel passes into its statistics: μ → αμ and σ² + ε → α²(σ² + ε) leave the output as it was.
    """
    layer = _channel(x)
    _keep(ledger, x, layer)
    own = [v for v in (*affine, *kept) if v is not None]
    if layer is None:
        for each in (each for value in own for each in value.layers):
            ledger.fix(each.units)
        return out
    units, scales = _line(layer.units), _line(virgin(ledger, layer))
    mean, variance = kept
    if mean is None or variance is None or mean.constant is not None:
        ledger.fix_scales(scales)
    else:
        ledger.tie(mean.layers[0].units, units)
        ledger.tie(variance.layers[0].units, units)
        ledger.multiply(mean.layers[0].units, (scales, 1))
        ledger.multiply(variance.layers[0].units, (scales, 2))
        ledger.variances |= dict.fromkeys(variance.layers[0].units.tolist(), eps)
    made = _affine(ledger, units, affine)
    shape = (1, -1, *(1,) * (len(out.shape) - 2))
    return Value(out.shape, (Layer(units.reshape(shape).expand(out.shape), made.reshape(shape).expand(out.shape)),))


def instance_norm(ledger: Ledger, out: Value, x: Value, affine: tuple[Value | None, Value | None]) -> Value:
    """Each channel (axis 1) alone, with statistics of its own."""
    return _by_channels(ledger, out, x, affine)


def group_norm(ledger: Ledger, out: Value, x: Value, groups: int, affine: tuple[Value | None, Value | None]) -> Value:
    """Normalised over groups of channels: those of a group are read alike, and a group can be moved as a whole."""
    layer = _channel(x)
    if layer is not None:
        units = _line(layer.units)
        if groups == 1:
            ledger.keep_within(units)
        elif groups < len(units):
            blocks = ledger.new_units((groups, 1))
            ledger.contain(blocks.expand(groups, len(units) // groups), units.reshape(groups, -1))
    return _by_channels(ledger, out, x, affine)


def _by_channels(ledger: Ledger, out: Value, x: Value, affine: tuple[Value | None, Value | None]) -> Value:
    """Channels are normalised by what no factor of theirs passes, then scaled and shifted.

    Entries along the other axes are read alike, as inputs of a filter that is standardised.
    """
    layer = _channel(x)
    if layer is None:
        _keep(ledger, x, layer)
        for own in (own for each in affine if each is not None for own in each.layers):
            ledger.fix(own.units)
        return out
    unscaled(ledger, layer)
    inside = [each for each in x.layers if each is not layer and min(each.along(), default=0) > 1]
    for each in inside:
        ledger.keep_within(each.units)
    _keep(ledger, x, layer, *inside)
    units = _line(layer.units)
    made = _affine(ledger, units, affine)
    shape = (1, -1, *(1,) * (len(out.shape) - 2))
    channels = Layer(units.reshape(shape).expand(out.shape), made.reshape(shape).expand(out.shape))
    return Value(out.shape, (channels, *(Layer(each.units, unscaled(ledger, each)) for each in inside)))


def layer_norm(ledger: Ledger, out: Value, x: Value, axes: int, affine: tuple[Value | None, Value | None]) -> Value:
    """Normalised over the last axes: their entries are read alike; the factor of one alone does not pass."""
    rank = len(x.shape)
    free = [own for each in affine if each is not None for own in each.layers]
    constant = any(each is not None and not each.layers for each in affine)
    layers = []
    for layer in x.layers:
        scales = unscaled(ledger, layer)
        inner = [axis for axis in range(rank - axes, rank) if varies(layer.units, axis)]
        if inner:
            ledger.alike(layer.units, range(rank - axes, rank))
        if inner and (constant or len(inner) > 1):
            ledger.fix(layer.units)
        elif inner:
            for place, each in enumerate(each for each in affine if each is not None):
                own = each.layers[inner[0] - (rank - axes)]
                free = [other for other in free if other is not own]
                ledger.tie(own.units.expand(x.shape), layer.units)
                scales = ledger.new_scales(own.units.expand(x.shape)) if place == 0 else scales
                ledger.multiply(own.units.expand(x.shape), (scales, 1))
        layers.append(Layer(layer.units, scales))
    for own in free:
        ledger.fix(own.units)
    return Value(out.shape, tuple(layers))


def weight_norm(ledger: Ledger, out: Value, v: Value, g: Value, axis: int) -> Value:
    """``g v / ‖v‖`` (Salimans & Kingma 2016, eq. 2) with the norm over all axes but one.

    The length of v along that axis does not matter, and its entries along the others are read alike.
    """
    if not v.layers or not g.layers:
        for own in (*v.layers, *g.layers):
            ledger.fix(own.units)
        return out
    ledger.tie(g.layers[axis].units.expand(v.shape), v.layers[axis].units)
    ledger.multiply(v.layers[axis].units, (ledger.new_scales(v.layers[axis].units), 1))
    layers = []
    for number, layer in enumerate(v.layers):
        if number == axis:
            layers.append(Layer(g.layers[axis].units.expand(v.shape), None))
        else:
            ledger.keep_within(layer.units)
            layers.append(Layer(layer.units, unscaled(ledger, layer)))
    return Value(out.shape, tuple(layers), parameter=v.parameter)


def _channel(x: Value) -> Layer | None:
    """The layer along the channels, axis 1."""
    return next((layer for layer in x.layers if layer.along() <= {1}), None)


def _keep(ledger: Ledger, x: Value, *but: Layer | None) -> None:
    """All layers but some are fixed."""
    for layer in x.layers:
        if all(layer is not each for each in but):
            ledger.fix(layer.units)
            unscaled(ledger, layer)


def _line(labels: Tensor) -> Tensor:
    """Labels of the channels (C,) from those of a tensor (B, C, …)."""
    return labels[0].reshape(labels.shape[1], -1)[:, 0]


def _affine(ledger: Ledger, units: Tensor, affine: tuple[Value | None, Value | None]) -> Tensor:
    """Scale and shift move along; the scales of what they make."""
    weight, bias = affine
    for each in affine:
        if each is not None and not each.layers:
            ledger.fix(units)
        elif each is not None:
            ledger.tie(each.layers[0].units, units)
    if weight is None or not weight.layers or (bias is not None and not bias.layers):
        return torch.zeros_like(units)
    scales = ledger.new_scales(units)
    ledger.multiply(weight.layers[0].units, (scales, 1))
    if bias is not None:
        ledger.multiply(bias.layers[0].units, (scales, 1))
    return scales
