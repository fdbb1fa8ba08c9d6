"""Carrying labels through a graph, one operation after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.symmetries.calls import Call, name_of, values_in
from rashomon_cli.science.symmetries.combine import unscaled
from rashomon_cli.science.symmetries.dispatch import rule_of
from rashomon_cli.science.symmetries.graph import HINT, Graph
from rashomon_cli.science.symmetries.labels import Layer, Ledger, Value, distinct
from rashomon_cli.science.symmetries.rules import CONCATENATIONS, MOVES

_CONTRACTIONS = frozenset(
    ["linear", "conv1d", "conv2d", "conv3d", "matmul", "mm", "bmm", "addmm", "baddbmm", "scaled_dot_product_attention"]
)


@dataclass(frozen=True)
class Reading:
    """A tensor that something sums over, and which units its entries belong to.

    Attributes:
        node: name of the operation that reads it.
        argument: which of its arguments it is.
        units: of its entries, of the tensor's shape.
    """

    node: str
    argument: int
    units: Tensor


@dataclass(frozen=True)
class Walked:
    """The labels of a graph.

    Attributes:
        ledger: what was found out.
        parameters: for each tensor that symmetries may move, the units along each of its axes.
        readings: where activations can be observed.
    """

    ledger: Ledger
    parameters: dict[str, list[Tensor]]
    readings: list[Reading]


def walk(graph: Graph, x: Tensor) -> Walked:
    """Label a graph.

    Args:
        graph: the data flow of a module.
        x: inputs (B, …) of the shape that it was traced with.

    Returns:
        The labels.

    Raises:
        Refused: if an operation has no rule, naming it and the submodule that it is in.
    """
    walker = _Walker(graph, x.clone())
    last = _last_uses(graph)
    for node in graph.module.graph.nodes:
        done = last.get(node, [])
        walker.step(node, done)
        for each in done:
            if each is not node:
                walker.real.pop(each, None)
                walker.values.pop(each, None)
    return Walked(walker.ledger, walker.parameters, walker.readings)


def _last_uses(graph: Graph) -> dict[fx.Node, list[fx.Node]]:
    """For each operation, the tensors that are not needed after it."""
    seen: set[fx.Node] = set()
    found: dict[fx.Node, list[fx.Node]] = {}
    for node in reversed(graph.module.graph.nodes):
        for each in node.all_input_nodes:
            if each not in seen:
                seen.add(each)
                found.setdefault(node, []).append(each)
    return found


def _grouped(graph: Graph) -> Iterator[tuple[str, int]]:
    """Weights of convolutions in groups, with their number."""
    names = graph.inputs
    for node in graph.module.graph.nodes:
        if name_of(node).startswith("conv") and len(node.args) > 6 and isinstance(node.args[6], int):
            name = names.get(node.args[1])
            if name is not None and node.args[6] > 1:
                yield name, node.args[6]


@dataclass
class _Walker:
    """What is known on the way.

    Attributes:
        graph: the data flow.
        x: the inputs.
        real: the tensors themselves.
        values: their labels.
    """

    graph: Graph
    x: Tensor
    ledger: Ledger = field(default_factory=Ledger)
    readings: list[Reading] = field(default_factory=list)
    parameters: dict[str, list[Tensor]] = field(default_factory=dict)
    real: dict[fx.Node, Any] = field(default_factory=dict)
    values: dict[fx.Node, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._names = self.graph.inputs
        self._groups = dict(_grouped(self.graph))

    def step(self, node: fx.Node, done: list[fx.Node]) -> None:
        """Carry out one operation on tensors and on labels; ``done`` are those that nothing needs after it."""
        if node.op == "placeholder":
            name = self._names[node]
            self.real[node] = self.x if name is None else self.graph.values[name].clone()
            self.values[node] = Value(self.x.shape) if name is None else self._input(name, self.real[node])
        elif node.op == "get_attr":
            self.real[node] = getattr(self.graph.module, str(node.target))
            self.values[node] = Value(self.real[node].shape, constant=self.real[node])
        elif node.op == "output":
            for layer in (layer for each in node.all_input_nodes for layer in self.values[each].layers):
                self.ledger.fix(layer.units)
                unscaled(self.ledger, layer)
        else:
            target: Any = node.target
            args: Any = fx.map_arg(node.args, lambda n: self.real[n])
            kwargs: Any = fx.map_arg(node.kwargs, lambda n: self.real[n])
            with torch.no_grad():
                self.real[node] = target(*args, **kwargs)
            self.values[node] = self._labelled(node)
            self._also_changed(node, done)
            self.readings += self._readings(node)

    def _input(self, name: str, tensor: Tensor) -> Value:
        """A parameter's axes are units of their own; what is not trained is fixed."""
        if name in self.graph.fixed or not tensor.is_floating_point():
            return Value(tensor.shape, constant=tensor)
        axes = []
        for axis, length in enumerate(tensor.shape):
            shape = [1] * tensor.ndim
            shape[axis] = length
            groups = self._groups.get(name, 1) if axis == 1 else 1
            if groups == 1:
                axes.append(self.ledger.new_units(shape).expand(tensor.shape))
            else:
                shape[0] = groups
                inner = self.ledger.new_units(shape).repeat_interleave(tensor.shape[0] // groups, 0)
                axes.append(inner.expand(tensor.shape))
        self.parameters[name] = axes
        return Value(tensor.shape, tuple(Layer(units, None) for units in axes), parameter=name)

    def _labelled(self, node: fx.Node) -> Any:
        """The labels of what an operation gives.

        Raises:
            Refused: if it has no rule.
        """
        name = name_of(node)
        args: Any = fx.map_arg(node.args, lambda n: self.values[n])
        kwargs: Any = fx.map_arg(node.kwargs, lambda n: self.values[n])
        if name == "getitem":
            return args[0][args[1]] if isinstance(args[0], list) else args[0]
        flat = values_in((args, kwargs))
        blank = _blank(self.real[node], all(value.constant is not None for value in flat))
        if not any(value.layers for value in flat):
            return blank
        plain = name if name.startswith("__") else name.removesuffix("_")
        rule = rule_of(plain)
        call = Call(self.ledger, node, plain, args, kwargs, blank, self.real[node])
        for value in flat if plain not in MOVES | CONCATENATIONS else ():
            for layer in value.layers:  # nothing can take the place of what an operation is applied to but its like
                self.ledger.keep_within(layer.units)
                if layer.raw and not _is_linear(plain, flat):
                    self.ledger.bent.append(distinct(layer.units))
        found = NotImplemented if rule is None else rule(call)
        if found is NotImplemented:
            raise Refused(f"no rule says what {plain} does to symmetries; it stands {self._place(node)}", HINT)
        return found

    def _also_changed(self, node: fx.Node, done: list[fx.Node]) -> None:
        """An operation in place changes its argument, and whatever is a view of the same memory.

        Raises:
            Refused: if that is a part of a tensor which is used later.
        """
        changed = node.args[0] if node.args else None
        if not _in_place(node) or not isinstance(changed, fx.Node):
            return
        one = self.real[changed]
        known = [self.values[node], self.values[changed]]
        for other, tensor in self.real.items():
            if other in (node, changed) or other in done or not isinstance(tensor, Tensor):
                continue
            if tensor.untyped_storage().data_ptr() == one.untyped_storage().data_ptr():
                labelled = any(value.layers for value in (*known, self.values[other]))
                if labelled and (tensor.shape, tensor.stride()) != (one.shape, one.stride()):
                    raise Refused(f"a part of a tensor is changed in place {self._place(node)}", HINT)
                self.values[other] = self.values[node] if labelled else self.values[other]
        self.values[changed] = self.values[node]

    def _place(self, node: fx.Node) -> str:
        """Where an operation stands: in which submodule, or else behind which parameters."""
        if self.graph.places.get(node.name):
            return f"in {self.graph.places[node.name]}"
        seen, open_ = set[fx.Node](), [node]
        while open_:
            for each in open_.pop(0).all_input_nodes:
                name = self._names.get(each)
                if name is not None:
                    return f"behind {name.rpartition('.')[0] or name}"
                if each not in seen:
                    seen.add(each)
                    open_.append(each)
        return "at the beginning"

    def _readings(self, node: fx.Node) -> Iterator[Reading]:
        """What an operation sums over can be observed."""
        if name_of(node) not in _CONTRACTIONS:
            return
        for place, argument in enumerate(node.args[:3]):
            found = self.values.get(argument) if isinstance(argument, fx.Node) else None
            if isinstance(found, Value) and found.parameter is None:
                for layer in found.layers:
                    yield Reading(node.name, place, layer.units)


def _is_linear(name: str, values: list[Value]) -> bool:
    """Whether an operation sums over its input with weights, or multiplies all of it by one number."""
    return name in _CONTRACTIONS or name == "neg" or (name in ("mul", "div") and len(values) == 1)


def _in_place(node: fx.Node) -> bool:
    name = name_of(node)
    return name.endswith("_") and not name.startswith("__")


def _blank(out: Any, constant: bool) -> Any:
    """A result without labels."""
    if isinstance(out, Tensor):
        same = frozenset(axis for axis, (n, step) in enumerate(zip(out.shape, out.stride())) if n > 1 and step == 0)
        return Value(out.shape, constant=out if constant else None, same=same)
    return [_blank(each, constant) for each in out] if isinstance(out, list | tuple) else out
