"""Which rule each tensor operation has, and how its arguments reach the rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate

from rashomon_cli.science.symmetries import contractions, norms, rules
from rashomon_cli.science.symmetries.combine import combine
from rashomon_cli.science.symmetries.labels import Ledger, Value


@dataclass(frozen=True)
class Call:
    """An operation with what is known of its arguments.

    Attributes:
        ledger: takes what is found out.
        node: the operation.
        name: its name, without the underscore of one that works in place.
        args: arguments, tensors as values.
        kwargs: keywords, the same.
        out: the result without labels, a value or several.
        real: the result itself.
    """

    ledger: Ledger
    node: fx.Node
    name: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    out: Any
    real: Any

    def at(self, place: int, default: Any = None) -> Any:
        """An argument by its place."""
        return self.args[place] if len(self.args) > place else default

    def again(self, labels: Tensor) -> Any:
        """What an operation that moves entries does to other entries of the same tensor's shape."""
        if self.name in _KEEPING:
            return labels
        if self.name in _SHAPING:  # labels need not lie in memory as the tensor does
            return labels.reshape(self.out.shape)
        others = map_aggregate(self.args[1:], _stand_in)
        target: Any = self.node.target
        return target(labels, *others, **self.kwargs)

    def users(self, item: int) -> bool:
        """Whether one of several results is used."""
        items = (user for user in self.node.users if name_of(user) == "getitem" and user.args[1] == item)
        return any(each.users for each in items)


Rule = Callable[[Call], Any]


def _stand_in(argument: Any) -> Any:
    """A tensor that is the same for all parameters, else one of the same shape."""
    if not isinstance(argument, Value):
        return argument
    return torch.empty(argument.shape, device="meta") if argument.constant is None else argument.constant


def name_of(node: fx.Node) -> str:
    """``relu_`` of ``aten.relu_.default``."""
    target = node.target
    packet = getattr(target, "overloadpacket", None)
    return str(getattr(packet if packet is not None else target, "__name__", target))


def rule_of(name: str) -> Rule | None:
    """The rule of an operation, None where there is none."""
    return _RULES.get(name)


def values_in(told: Any) -> list[Value]:
    """All values among arguments."""
    found: list[Value] = []
    map_aggregate(told, lambda a: found.append(a) if isinstance(a, Value) else a)
    return found


def _move(call: Call) -> Any:
    return rules.move(call.out, call.at(0), call.again)


def _index(call: Call) -> Any:
    """Entries by number; the numbers must be the same for all parameters."""
    if any(value.constant is None for value in values_in(call.args[1:])):
        return NotImplemented
    return rules.move(call.out, call.at(0), call.again)


def _pointwise(call: Call) -> Value:
    homogeneous, linear = call.name in rules.HOMOGENEOUS, call.name == "neg"
    return rules.pointwise(call.ledger, call.out, call.at(0), homogeneous=homogeneous, linear=linear)


def _prelu(call: Call) -> Value:
    """A slope for each channel: factors pass, as through a ReLU."""
    return rules.gate(call.ledger, call.out, call.at(0), call.at(1))


_KINDS = {"add": "add", "sub": "add", "rsub": "add", "mul": "mul", "div": "div"}


def _binary(call: Call) -> Value:
    """Two tensors, or a tensor and a number, at the same place."""
    values = [a for a in call.args if isinstance(a, Value)]
    kind = _KINDS.get(call.name, "other")
    if len(values) > 1:
        return combine(call.ledger, call.out, values, kind=kind)
    scaled = kind == "mul" or (kind == "div" and isinstance(call.at(0), Value))
    return rules.pointwise(call.ledger, call.out, values[0], homogeneous=scaled, linear=scaled)


def _concatenate(call: Call) -> Value:
    target: Any = call.node.target
    return rules.concatenate(
        call.ledger, call.out, call.at(0), lambda parts: target(parts, *call.args[1:], **call.kwargs)
    )


def _pool(call: Call) -> Any:
    padding = call.name in ("constant_pad_nd", "pad")
    axes = len(call.at(1)) // 2 if padding else next((int(c) for c in "123" if f"{c}d" in call.name), 2)
    filled = padding and bool(call.at(2, 0) if call.name == "constant_pad_nd" else call.at(3, 0))

    def one(out: Value) -> Value:
        return rules.pool(call.ledger, out, call.at(0), axes, scaled=not filled)

    return [one(each) for each in call.out] if isinstance(call.out, list) else one(call.out)


def _reduce(call: Call) -> Any:
    axes = call.at(2) if call.name in ("norm", "linalg_vector_norm") else call.at(1)
    several = isinstance(call.out, list)  # the greatest and its number
    if call.name in ("max", "min") and isinstance(axes, Value):
        return _binary(call)
    gone = [] if axes is None else [axes] if isinstance(axes, int) else list(axes)
    homogeneous = call.name in ("mean", "sum", "amax", "amin", "max", "min")
    if several and call.users(1):
        return NotImplemented
    out = call.out[0] if several else call.out
    found = rules.reduce(call.ledger, out, call.at(0), gone, homogeneous=homogeneous)
    return [found, *call.out[1:]] if several else found


def _normalise(call: Call) -> Value:
    return rules.normalise(call.ledger, call.out, call.at(0), call.at(1))


def _along(call: Call) -> Value:
    """What runs along one axis keeps the order of all that lies on it."""
    return rules.run(call.ledger, call.out, call.at(0), call.at(1))


def _made(call: Call) -> Value:
    return Value(call.out.shape, constant=call.real)


def _glu(call: Call) -> Value:
    axis = call.at(1, -1)
    halves = [Value(call.out.shape, tuple(layer.move(part) for layer in call.at(0).layers)) for part in _halves(axis)]
    gate = rules.pointwise(call.ledger, Value(call.out.shape), halves[1])
    return combine(call.ledger, call.out, (halves[0], gate), kind="mul")


def _halves(axis: int) -> Iterator[Callable[[Tensor], Tensor]]:
    for number in (0, 1):
        yield lambda labels, number=number: labels.chunk(2, axis)[number]


def _linear(call: Call) -> Value:
    return contractions.linear(call.ledger, call.out, call.at(0), call.at(1), call.at(2))


def _convolve(call: Call) -> Value:
    return contractions.convolve(call.ledger, call.out, call.at(0), call.at(1), call.at(2), call.at(6, 1))


def _transposed_convolve(call: Call) -> Any:
    if call.at(6, 1) != 1:
        return NotImplemented
    return contractions.transposed_convolve(call.ledger, call.out, call.at(0), call.at(1), call.at(2))


def _matmul(call: Call) -> Any:
    if len(call.at(0).shape) < 2 or len(call.at(1).shape) < 2:
        return NotImplemented
    return contractions.matmul(call.ledger, call.out, call.at(0), call.at(1))


def _added_matmul(call: Call) -> Value:
    product = contractions.matmul(call.ledger, Value(call.out.shape), call.at(1), call.at(2))
    return combine(call.ledger, call.out, (product, call.at(0)), kind="add")


def _attend(call: Call) -> Value:
    query, key = call.at(0), call.at(1)
    times = query.shape[-3] // key.shape[-3] if len(key.shape) > 3 and len(query.shape) > 3 else 1
    mask = call.at(3) if isinstance(call.at(3), Value) else call.kwargs.get("attn_mask")
    return contractions.attend(call.ledger, call.out, query, key, call.at(2), mask, times)


def _embed(call: Call) -> Any:
    return contractions.embed(call.ledger, call.out, call.at(0))


def _batch_norm(call: Call) -> Value:
    x, affine = call.at(0), (call.at(1), call.at(2))
    if call.at(5, False):
        return norms.instance_norm(call.ledger, call.out, x, affine)
    return norms.batch_norm(call.ledger, call.out, x, affine, (call.at(3), call.at(4)), call.at(7))


def _instance_norm(call: Call) -> Value:
    x, affine = call.at(0), (call.at(1), call.at(2))
    if call.at(5, True):
        return norms.instance_norm(call.ledger, call.out, x, affine)
    return norms.batch_norm(call.ledger, call.out, x, affine, (call.at(3), call.at(4)), call.at(7))


def _layer_norm(call: Call) -> Value:
    affine = (call.at(2), call.at(3) if call.name == "layer_norm" else None)
    return norms.layer_norm(call.ledger, call.out, call.at(0), len(call.at(1)), affine)


def _weight_norm(call: Call) -> Value:
    return norms.weight_norm(call.ledger, call.out, call.at(0), call.at(1), call.at(2, 0))


def _group_norm(call: Call) -> Value:
    return norms.group_norm(call.ledger, call.out, call.at(0), call.at(1), (call.at(2), call.at(3)))


_KEEPING = frozenset(
    "to _to_copy type_as dropout feature_dropout alpha_dropout native_dropout detach contiguous clone alias".split()  # noqa: SIM905
)
"""What leaves entries where they are."""
_SHAPING = frozenset(["view", "_unsafe_view", "view_as", "reshape", "reshape_as", "flatten", "unflatten"])
_SEVERAL: tuple[tuple[Rule, frozenset[str]], ...] = (
    (_move, rules.MOVES),
    (_pointwise, rules.POINTWISE),
    (_binary, rules.BINARY),
    (_pool, rules.POOLS),
    (_reduce, rules.REDUCTIONS),
    (_normalise, rules.NORMALISERS),
    (_along, rules.RUNNING),
    (_made, rules.MADE),
)
_RULES: dict[str, Rule] = {name: rule for rule, names in _SEVERAL for name in names} | {
    "_weight_norm": _weight_norm,
    "addmm": _added_matmul,
    "baddbmm": _added_matmul,
    "batch_norm": _batch_norm,
    "bmm": _matmul,
    "cat": _concatenate,
    "concat": _concatenate,
    "conv1d": _convolve,
    "conv2d": _convolve,
    "conv3d": _convolve,
    "conv_transpose1d": _transposed_convolve,
    "conv_transpose2d": _transposed_convolve,
    "conv_transpose3d": _transposed_convolve,
    "embedding": _embed,
    "glu": _glu,
    "group_norm": _group_norm,
    "index": _index,
    "index_select": _index,
    "instance_norm": _instance_norm,
    "layer_norm": _layer_norm,
    "linear": _linear,
    "matmul": _matmul,
    "mm": _matmul,
    "prelu": _prelu,
    "rms_norm": _layer_norm,
    "scaled_dot_product_attention": _attend,
    "stack": _concatenate,
}
