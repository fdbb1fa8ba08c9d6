"""Which rule each tensor operation has, and how its arguments reach the rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from rashomon_cli.science.symmetries import contractions, norms, products, rules
from rashomon_cli.science.symmetries.calls import Call, values_in
from rashomon_cli.science.symmetries.combine import combine
from rashomon_cli.science.symmetries.labels import Value

Rule = Callable[[Call], Any]


def rule_of(name: str) -> Rule | None:
    """The rule of an operation, None where there is none."""
    return _RULES.get(name)


def _move(call: Call) -> Any:
    return rules.move(call.out, call.at(0), call.again)


def _index(call: Call) -> Any:
    """Entries by number; the numbers must be the same for all parameters."""
    if any(value.constant is None for value in values_in(call.args[1:])):
        return NotImplemented
    return rules.move(call.out, call.at(0), call.again)


def _pointwise(call: Call) -> Value:
    """A function of each entry; its limits or exponents may be tensors, too, and a number may come first."""
    values = values_in((call.args, call.kwargs))
    if len(values) > 1:
        return combine(call.ledger, call.out, values, kind="other")
    homogeneous, linear = call.name in rules.HOMOGENEOUS, call.name == "neg"
    return rules.pointwise(call.ledger, call.out, values[0], homogeneous=homogeneous, linear=linear)


def _prelu(call: Call) -> Value:
    """A slope for each channel: factors pass, as through a ReLU."""
    return rules.gate(call.ledger, call.out, call.at(0), call.at(1))


_KINDS = {"add": "add", "sub": "add", "rsub": "add", "mul": "mul", "div": "div"}


def _binary(call: Call) -> Value:
    """Two tensors, or a tensor and a number, at the same place."""
    values = [a for a in call.args if isinstance(a, Value)]
    kind = "other" if call.kwargs.get("rounding_mode") else _KINDS.get(call.name, "other")
    if len(values) > 1:
        return combine(call.ledger, call.out, values, kind=kind)
    scaled = kind == "mul" or (kind == "div" and isinstance(call.at(0), Value))
    return rules.pointwise(call.ledger, call.out, values[0], homogeneous=scaled, linear=scaled)


def _concatenate(call: Call) -> Value:
    target: Any = call.node.target
    axis = None if call.name == "stack" else call.at(1, 0)

    def act(parts: list[Tensor]) -> Any:
        return target(parts, *call.args[1:], **call.kwargs)

    return rules.concatenate(call.ledger, call.out, call.at(0), axis, act)


def _pool(call: Call) -> Any:
    axes = next((int(c) for c in "123" if f"{c}d" in call.name), 2)

    def one(out: Value) -> Value:
        return rules.pool(call.ledger, out, call.at(0), axes)

    return [one(each) for each in call.out] if isinstance(call.out, list) else one(call.out)


def _pad(call: Call) -> Value:
    kind, filling = ("constant", call.at(2)) if call.name == "constant_pad_nd" else (call.at(2, "constant"), call.at(3))
    return rules.pad(call.ledger, call.out, call.at(0), call.at(1), kind=kind, filling=filling or 0.0)


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
    """The first half of an axis, times the sigmoid of the second."""

    def half(number: int) -> Value:
        layers = [layer.move(lambda labels: labels.chunk(2, call.at(1, -1))[number]) for layer in call.at(0).layers]
        return Value(call.out.shape, tuple(layers))

    gate = rules.pointwise(call.ledger, Value(call.out.shape), half(1))
    return combine(call.ledger, call.out, (half(0), gate), kind="mul")


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
    return products.matmul(call.ledger, call.out, call.at(0), call.at(1))


def _added_matmul(call: Call) -> Value:
    product = products.matmul(call.ledger, Value(call.out.shape), call.at(1), call.at(2))
    return combine(call.ledger, call.out, (product, call.at(0)), kind="add")


def _attend(call: Call) -> Value:
    query, key = call.at(0), call.at(1)
    times = query.shape[-3] // key.shape[-3] if len(key.shape) > 3 and len(query.shape) > 3 else 1
    mask = call.at(3) if isinstance(call.at(3), Value) else call.kwargs.get("attn_mask")
    return products.attend(call.ledger, call.out, query, key, call.at(2), mask, times)


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


_SEVERAL: tuple[tuple[Rule, frozenset[str]], ...] = (
    (_move, rules.MOVES),
    (_pointwise, rules.POINTWISE),
    (_binary, rules.BINARY),
    (_pool, rules.POOLS),
    (_reduce, rules.REDUCTIONS),
    (_normalise, rules.NORMALISERS),
    (_along, rules.RUNNING),
    (_made, rules.MADE),
    (_concatenate, rules.CONCATENATIONS),
)
_RULES: dict[str, Rule] = {name: rule for rule, names in _SEVERAL for name in names} | {
    "_weight_norm": _weight_norm,
    "addmm": _added_matmul,
    "baddbmm": _added_matmul,
    "batch_norm": _batch_norm,
    "bmm": _matmul,
    "constant_pad_nd": _pad,
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
    "pad": _pad,
    "prelu": _prelu,
    "rms_norm": _layer_norm,
    "scaled_dot_product_attention": _attend,
}
