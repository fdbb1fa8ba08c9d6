"""What operations on one tensor do to labels. An operation that is not listed is refused, never guessed.

Every rule keeps this invariant: whatever is permuted within the ties of the ledger, the operation gives the same tensor
with its entries permuted in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rashomon_cli.science.symmetries.combine import virgin
from rashomon_cli.science.symmetries.labels import Layer, Ledger, Value, varies

MOVES = frozenset(
    "view reshape _unsafe_view flatten unflatten transpose permute t squeeze unsqueeze select slice narrow expand expand_as "
    "repeat clone contiguous alias detach movedim moveaxis swapaxes roll flip numpy_T mT view_as reshape_as "
    "pixel_shuffle pixel_unshuffle channel_shuffle unbind chunk split split_with_sizes tensor_split repeat_interleave "
    "_to_copy to type_as lift_fresh_copy dropout feature_dropout alpha_dropout".split()  # noqa: SIM905
)
"""What only moves entries, or repeats them."""
HOMOGENEOUS = frozenset("relu leaky_relu abs neg positive nan_to_num".split())  # noqa: SIM905
"""What is applied to each entry and lets a positive factor pass."""
POINTWISE = HOMOGENEOUS | frozenset(
    "gelu silu mish sigmoid tanh elu celu selu softplus hardtanh relu6 hardswish hardsigmoid clamp clamp_min clamp_max exp "
    "exp2 log log2 log1p expm1 sqrt rsqrt square pow reciprocal erf sin cos atan softsign logsigmoid log_sigmoid sign threshold "
    "hardshrink softshrink round floor ceil logical_not bitwise_not isnan isinf".split()  # noqa: SIM905
)
"""What is applied to each entry."""
BINARY = frozenset(
    "add sub mul div rsub maximum minimum where atan2 masked_fill lerp gt lt ge le eq ne logical_and logical_or".split()  # noqa: SIM905
)
"""What combines entries at the same place."""
POOLS = frozenset(
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d max_pool2d_with_indices _adaptive_avg_pool2d "
    "upsample_nearest1d upsample_nearest2d upsample_linear1d upsample_bilinear2d upsample_bicubic2d constant_pad_nd pad "
    "reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d".split()  # noqa: SIM905
)
"""What works on the last axes of each channel alone."""
REDUCTIONS = frozenset("mean sum amax amin max min var std logsumexp linalg_vector_norm norm prod".split())  # noqa: SIM905
NORMALISERS = frozenset("softmax _softmax log_softmax _log_softmax".split())  # noqa: SIM905
RUNNING = frozenset(["cumsum", "cumprod", "logcumsumexp"])
"""What runs along an axis."""
MADE = frozenset("zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty".split())  # noqa: SIM905
"""What has of a tensor nothing but its shape."""


def move(out: Any, source: Value, act: Callable[[Tensor], Any]) -> Any:
    """Entries go elsewhere, and their labels with them; ``act`` does it to one tensor."""
    if not isinstance(out, list):
        return Value(out.shape, tuple(layer.move(act) for layer in source.layers), out.constant, source.parameter)
    found: list[list[Layer]] = [[] for _ in out]
    for layer in source.layers:
        scales = [None] * len(out) if layer.scales is None else act(layer.scales)
        for layers, units, own in zip(found, act(layer.units), scales, strict=True):
            layers.append(Layer(units, own, layer.raw))
    return [
        Value(each.shape, tuple(layers), each.constant, source.parameter)
        for each, layers in zip(out, found, strict=True)
    ]


def pointwise(ledger: Ledger, out: Value, source: Value, *, homogeneous: bool = False, linear: bool = False) -> Value:
    """Each entry is mapped alone; ``homogeneous``: a positive factor passes, ``linear``: so does any matrix."""
    layers = []
    for layer in source.layers:
        if layer.scales is None and not homogeneous:
            layers.append(Layer(layer.units, torch.zeros_like(layer.units)))
        elif homogeneous:
            layers.append(Layer(layer.units, layer.scales, layer.raw and linear))
        else:
            ledger.fix_scales(layer.scales)
            layers.append(Layer(layer.units, torch.zeros_like(layer.units)))
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
        ledger.fix_scales(layer.scales)
        if varies(layer.units, axis):
            ledger.fix(layer.units)
        else:
            layers.append(Layer(layer.units, torch.zeros_like(layer.units)))
    return Value(out.shape, tuple(layers))


def concatenate(ledger: Ledger, out: Value, parts: Sequence[Value], act: Callable[[list[Tensor]], Tensor]) -> Value:
    """Tensors side by side: so are their labels; what has none is fixed."""
    several = [[layer for layer in part.layers if layer.along()] or list(part.layers[-1:]) for part in parts]
    depth = max(map(len, several), default=0)
    layers = []
    for level in range(depth):
        units, scales, raw = [], [], True
        for part, own in zip(parts, several):
            if level < len(own):
                layer = own[level]
                units.append(layer.units)
                scales.append(virgin(ledger, layer))
                raw = raw and layer.raw
            else:
                units.append(torch.zeros((), dtype=torch.int64).expand(part.shape))
                scales.append(units[-1])
        layers.append(Layer(act(units), act(scales), raw))
    return Value(out.shape, tuple(layers))


def pool(ledger: Ledger, out: Value, source: Value, axes: int, *, scaled: bool = True) -> Value:
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
        if not scaled:
            ledger.fix_scales(scales)
            scales = torch.zeros_like(units)
        layers.append(Layer(units.expand(out.shape), None if scales is None else scales.expand(out.shape)))
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
            if blocks is not None and scales is not None and homogeneous:
                first = scales
                for axis in gone:
                    first = first.narrow(axis, 0, 1)
                ledger.tie_scales(first.expand_as(scales), scales)
            else:
                ledger.fix_scales(scales)
                scales = torch.zeros_like(units)
            if blocks is None:
                continue
            units = blocks.expand_as(units)
        elif scales is not None and not homogeneous:
            ledger.fix_scales(scales)
            scales = torch.zeros_like(units)
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
