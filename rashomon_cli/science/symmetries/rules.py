"""What operations on one tensor do to labels. An operation that is not listed is refused, never guessed.

Every rule keeps this invariant: whatever is permuted within the ties of the ledger, the operation gives the same tensor
with its entries permuted in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rashomon_cli.science.symmetries.combine import unscaled, virgin
from rashomon_cli.science.symmetries.labels import Layer, Ledger, Value, varies


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MOVES = _words(
    """
    view reshape _unsafe_view flatten unflatten view_as reshape_as transpose permute t movedim moveaxis swapaxes
    numpy_T mT squeeze unsqueeze select slice narrow unbind chunk split split_with_sizes tensor_split expand
    expand_as repeat repeat_interleave roll flip pixel_shuffle pixel_unshuffle channel_shuffle clone contiguous
    alias detach _to_copy to type_as lift_fresh_copy dropout feature_dropout alpha_dropout
    """
)
"""What only moves entries, or repeats them."""
CONCATENATIONS = _words("cat concat stack")
HOMOGENEOUS = _words("relu leaky_relu abs neg positive nan_to_num")
"""What is applied to each entry and lets a positive factor pass."""
POINTWISE = HOMOGENEOUS | _words(
    """
    gelu silu mish sigmoid tanh elu celu selu softplus hardtanh relu6 hardswish hardsigmoid clamp clamp_min
    clamp_max exp exp2 log log2 log1p expm1 sqrt rsqrt square pow reciprocal erf sin cos atan softsign logsigmoid
    log_sigmoid sign threshold hardshrink softshrink round floor ceil logical_not bitwise_not isnan isinf
    """
)
"""What is applied to each entry."""
BINARY = _words(
    "add sub mul div rsub maximum minimum where atan2 masked_fill lerp gt lt ge le eq ne logical_and logical_or"
)
"""What combines entries at the same place."""
POOLS = _words(
    """
    max_pool1d max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d
    upsample_nearest1d upsample_nearest2d upsample_linear1d upsample_bilinear2d upsample_bicubic2d reflection_pad1d
    reflection_pad2d replication_pad1d replication_pad2d
    """
)
"""What works on the last axes of each channel alone."""
REDUCTIONS = _words("mean sum amax amin max min var std logsumexp linalg_vector_norm norm prod")
NORMALISERS = _words("softmax _softmax log_softmax _log_softmax")
RUNNING = _words("cumsum cumprod logcumsumexp")
"""What runs along an axis."""
MADE = _words("zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty")
"""What has of a tensor nothing but its shape."""


def move(out: Any, source: Value, act: Callable[[Tensor], Any]) -> Any:
    """Entries go elsewhere, and their labels with them; ``act`` does it to one tensor."""
    if not isinstance(out, list):
        return replace(out, layers=tuple(layer.move(act) for layer in source.layers), parameter=source.parameter)
    found: list[list[Layer]] = [[] for _ in out]
    for layer in source.layers:
        scales = [None] * len(out) if layer.scales is None else act(layer.scales)
        for layers, units, own in zip(found, act(layer.units), scales, strict=True):
            layers.append(Layer(units, own, layer.raw))
    return [
        replace(each, layers=tuple(layers), parameter=source.parameter) for each, layers in zip(out, found, strict=True)
    ]


def pointwise(ledger: Ledger, out: Value, source: Value, *, homogeneous: bool = False, linear: bool = False) -> Value:
    """Each entry is mapped alone; ``homogeneous``: a positive factor passes, ``linear``: so does any matrix."""
    layers = []
    for layer in source.layers:
        if homogeneous:
            layers.append(Layer(layer.units, layer.scales, layer.raw and linear))
        else:
            layers.append(Layer(layer.units, unscaled(ledger, layer)))
    return Value(out.shape, tuple(layers))


def gate(ledger: Ledger, out: Value, source: Value, slope: Value) -> Value:
    """A ReLU whose negative side has a slope, one for all or one for each channel (axis 1)."""
    if len(slope.shape) == 1 and slope.shape[0] > 1:
        wide = [1, -1, *[1] * (len(source.shape) - 2)]
        across = [layer for layer in source.layers if varies(layer.units, 1)]
        for layer in across:
            for own in slope.layers:
                ledger.tie(own.units.reshape(wide).expand(source.shape), layer.units)
            if not slope.layers and (slope.constant is None or varies(slope.constant, 0)):
                ledger.fix(layer.units)
        for own in slope.layers if not across else ():
            ledger.fix(own.units)
    return pointwise(ledger, out, source, homogeneous=True)


def run(ledger: Ledger, out: Value, source: Value, axis: int) -> Value:
    """A sum or product that runs along an axis: what lies on it stays in order."""
    layers = []
    for layer in source.layers:
        scales = unscaled(ledger, layer)
        if varies(layer.units, axis):
            ledger.fix(layer.units)
        else:
            layers.append(Layer(layer.units, scales))
    return Value(out.shape, tuple(layers))


def concatenate(
    ledger: Ledger, out: Value, parts: Sequence[Value], axis: int | None, act: Callable[[list[Tensor]], Tensor]
) -> Value:
    """Tensors side by side along an axis, or along a new one: so are their labels; what has none is fixed.

    A part that is one number everywhere takes labels as its neighbour has them, or units that nothing makes.
    """
    several = [[layer for layer in part.layers if layer.along()] or list(part.layers[-1:]) for part in parts]
    layers = []
    for level in range(max(map(len, several))):
        known = next(own[level] for own in several if level < len(own))
        pieces = []
        for part, own in zip(parts, several):
            if level < len(own):
                pieces.append((own[level].units, virgin(ledger, own[level])))
            elif part.constant is not None and bool((part.constant == part.constant.reshape(-1)[:1]).all()):
                pieces.append(_filled(ledger, part, known, axis))
            else:
                fixed = torch.zeros((), dtype=torch.int64).expand(part.shape)
                pieces.append((fixed, fixed))
        raw = all(level < len(own) and own[level].raw for own in several)
        layers.append(Layer(act([units for units, _ in pieces]), act([scales for _, scales in pieces]), raw))
    return Value(out.shape, tuple(layers))


def _filled(ledger: Ledger, part: Value, known: Layer, axis: int | None) -> tuple[Tensor, Tensor]:
    """Units and scales of a part that is one number everywhere, beside one with labels."""
    units, scales = known.units, virgin(ledger, known)
    if axis is not None and varies(units, axis):
        units = ledger.new_units([n if a == axis % len(part.shape) else 1 for a, n in enumerate(part.shape)])
        scales = ledger.new_scales(units)
    elif axis is not None:
        units, scales = units.narrow(axis, 0, 1), scales.narrow(axis, 0, 1)
    if part.constant is not None and bool(part.constant.any()):
        ledger.fix_scales(scales)
    return units.expand(part.shape), scales.expand(part.shape)


def pool(ledger: Ledger, out: Value, source: Value, axes: int) -> Value:
    """The last axes change, each channel alone."""
    layers = []
    for layer in source.layers:
        spatial = range(len(source.shape) - axes, len(source.shape))
        units, scales = layer.units, layer.scales
        if any(varies(units, axis) for axis in spatial):
            ledger.fix(units)
            ledger.fix_scales(scales)
            continue
        for axis in spatial:
            units = units.narrow(axis, 0, 1)
            scales = None if scales is None else scales.narrow(axis, 0, 1)
        layers.append(Layer(units.expand(out.shape), None if scales is None else scales.expand(out.shape)))
    return Value(out.shape, tuple(layers))


def pad(ledger: Ledger, out: Value, source: Value, widths: Sequence[int], *, kind: str, filling: float) -> Value:
    """Entries are added at both ends of some axes, ``widths`` in pairs from the last axis on.

    Channels that are filled with one number are units like others, which nothing makes.
    """
    rank = len(source.shape)
    added = [rank - 1 - place for place in range(len(widths) // 2) if widths[2 * place] or widths[2 * place + 1]]
    layers = []
    for layer in source.layers:
        units, scales = layer.units, virgin(ledger, layer)
        along = [axis for axis in added if varies(units, axis)]
        for axis in set(added) - set(along):
            units, scales = units.narrow(axis, 0, 1), scales.narrow(axis, 0, 1)
        if (kind != "constant" or len(along) > 1) and along:
            ledger.fix(layer.units)
            unscaled(ledger, layer)
            continue
        for axis in along:
            before, after = widths[2 * (rank - 1 - axis)], widths[2 * (rank - 1 - axis) + 1]
            shape = [n if a == axis else 1 for a, n in enumerate(out.shape)]
            fresh = ledger.new_units(shape)
            fresh_scales = ledger.new_scales(fresh)

            def grown(labels: Tensor, new: Tensor, axis: int = axis, ends: tuple[int, int] = (before, after)) -> Tensor:
                wide = list(labels.shape)
                wide[axis] = new.shape[axis]
                middle = new.shape[axis] - sum(ends)
                pieces = torch.split(new.expand(wide), [ends[0], middle, ends[1]], axis)
                return torch.cat([pieces[0], labels, pieces[2]], axis)

            units, scales = grown(units, fresh), grown(scales, fresh_scales)
        if kind == "constant" and filling:
            ledger.fix_scales(scales)
        layers.append(Layer(units.expand(out.shape), scales.expand(out.shape), layer.raw and not added))
    return Value(out.shape, tuple(layers))


def reduce(ledger: Ledger, out: Value, source: Value, axes: Sequence[int], *, homogeneous: bool) -> Value:
    """Axes disappear (or get the length 1): units along them may be permuted, since all are read alike."""
    rank = len(source.shape)
    gone = sorted({axis % rank for axis in axes} if axes else set(range(rank)))
    layers = []
    for layer in source.layers:
        units, scales = layer.units, layer.scales
        if any(varies(units, axis) for axis in gone):
            blocks = ledger.alike(units, gone)
            if blocks is not None and homogeneous:
                scales = first = virgin(ledger, layer)
                for axis in gone:
                    first = first.narrow(axis, 0, 1)
                ledger.tie_scales(first.expand_as(scales), scales)
            else:
                scales = unscaled(ledger, layer)
            if blocks is None:
                continue
            units = blocks.expand_as(units)
        elif not homogeneous:
            scales = unscaled(ledger, layer)
        shape = out.shape

        def act(labels: Tensor, shape: torch.Size = shape) -> Tensor:
            for axis in gone:
                labels = labels.narrow(axis, 0, 1)
            return labels.reshape(shape)

        layers.append(Layer(act(units), None if scales is None else act(scales)))
    return Value(out.shape, tuple(layers))


def normalise(ledger: Ledger, out: Value, source: Value, axis: int) -> Value:
    """Softmax along an axis."""
    for layer in source.layers:
        if varies(layer.units, axis % len(source.shape)):
            ledger.alike(layer.units, [axis % len(source.shape)])
    return pointwise(ledger, out, source)
