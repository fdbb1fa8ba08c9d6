"""An operation of a graph, with what is known of its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate

from rashomon_cli.science.symmetries.labels import Ledger, Value

_KEEPING = frozenset(
    [
        "to",
        "_to_copy",
        "type_as",
        "dropout",
        "feature_dropout",
        "alpha_dropout",
        "detach",
        "contiguous",
        "clone",
        "alias",
    ]
)
"""What leaves entries where they are."""
_SHAPING = frozenset(["view", "_unsafe_view", "view_as", "reshape", "reshape_as", "flatten", "unflatten"])


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


def values_in(told: Any) -> list[Value]:
    """All values among arguments."""
    found: list[Value] = []
    map_aggregate(told, lambda a: found.append(a) if isinstance(a, Value) else a)
    return found
