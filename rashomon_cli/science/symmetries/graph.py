"""A module's data flow as a graph of tensor operations, with its parameters and buffers as inputs.

The graph is what ``torch.fx`` records of one call in eval mode, before operations are decomposed: convolutions, norms
and attention stay whole, and Python's control flow is gone. A branch that depends on the data cannot be recorded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx
from torch.fx.node import map_aggregate

from rashomon_cli.core.errors import Refused

HINT = "its paths and predictions need no symmetries: rashomon connect --help"


class Untraceable(Refused):
    """A module whose control flow depends on the data."""


@dataclass(frozen=True)
class Graph:
    """The data flow of a module.

    Attributes:
        module: takes (tensors in the order of ``names``, inputs) and computes what the traced module does.
        names: of parameters and buffers; a tensor that is shared occurs once.
        values: the tensors, as they were when the module was traced.
        fixed: names of those that no symmetry moves.
        parameters: names of those that are parameters, not buffers.
        places: for each operation, the name of the submodule that it is in.
    """

    module: fx.GraphModule
    names: tuple[str, ...]
    values: Mapping[str, Tensor]
    fixed: frozenset[str]
    parameters: frozenset[str] = frozenset()
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def inputs(self) -> dict[fx.Node, str | None]:
        """The graph's inputs, each with the name of the tensor that it stands for; None for the module's input."""
        places = [node for node in self.module.graph.nodes if node.op == "placeholder"]
        return dict(zip(places, (*self.names, None), strict=True))


def trace(module: nn.Module, x: Tensor, fixed: frozenset[str] = frozenset()) -> Graph:
    """Record what a module does to an input.

    Args:
        module: the module; it is left as it was.
        x: inputs (B, …) with B ≥ 2, of the module's precision.
        fixed: names of tensors that symmetries leave as they are.

    Returns:
        The graph.

    Raises:
        Untraceable: if its control flow depends on the data, naming the submodule where recording stopped.
        Refused: if it fails, or gives something else than a tensor.
    """
    values = {n: v.detach() for n, v in (*module.named_parameters(), *module.named_buffers())}
    parameters = frozenset(name for name, _ in module.named_parameters())
    given: list[object] = []

    def call(tensors: list[Tensor], inputs: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(module, dict(zip(values, tensors, strict=True)), (inputs,))
        given[:] = [found]
        return found

    with _evaluating(module), _precision(values), _Places.watching(module) as places, torch.no_grad():
        try:
            recorded = make_fx(call, decomposition_table=_TAKEN_APART, tracing_mode="real", pre_dispatch=True)(
                list(values.values()), x
            )
        except Exception as error:
            where = f"{places.now} ({type(module.get_submodule(places.now)).__name__})" if places.now else "the model"
            refusal, reason = _reason(error)
            raise refusal(f"cannot trace {where}: {reason}", HINT) from error
    if not isinstance(given[0], Tensor):
        kind = type(given[0]).__name__
        raise Refused(f"{type(module).__name__} gives a {kind}, no tensor, so its symmetries cannot be told", HINT)
    if x.dtype == torch.float64 or not x.is_floating_point():
        _keep_precise(recorded)
    return Graph(recorded, tuple(values), values, fixed, parameters, places.of)


def _reason(error: Exception) -> tuple[type[Refused], str]:
    text = str(error).strip()
    if any(words in text for words in ("data-dependent", "tracing tensor", "data dependent")):
        return Untraceable, "what it does depends on the data"
    return Refused, text.splitlines()[0] if text else type(error).__name__


_COMPOSITE = ("einsum.default", "lstm.input", "gru.input", "rnn_tanh.input", "rnn_relu.input", "tensordot.default")


def _taken_apart() -> dict[Any, Any]:
    """Operations that are recorded as the simpler ones that they consist of."""
    found = {}
    for name in _COMPOSITE:
        packet, _, overload = name.partition(".")
        operation = getattr(getattr(torch.ops.aten, packet), overload)
        found[operation] = operation.decompose
    return found


_TAKEN_APART = _taken_apart()


def _keep_precise(recorded: fx.GraphModule) -> None:
    """Let casts to a lower precision be none: a proof to 1e-10 is not possible behind one."""
    low = (torch.float32, torch.float16, torch.bfloat16)
    for node in recorded.graph.nodes:
        node.args = map_aggregate(node.args, lambda a: torch.float64 if a in low else a)
        node.kwargs = map_aggregate(node.kwargs, lambda a: torch.float64 if a in low else a)
    recorded.recompile()


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode, and a transformer's layers as the parts that they consist of."""
    was = {m: m.training for m in module.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        module.eval()
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for m, training in was.items():
            m.training = training


@contextlib.contextmanager
def _precision(values: Mapping[str, Tensor]) -> Iterator[None]:
    """Tensors that the module makes while it is called are as precise as its parameters."""
    was = torch.get_default_dtype()
    found = [value.dtype for value in values.values() if value.dtype in (torch.float32, torch.float64)]
    try:
        torch.set_default_dtype(found[0] if found else was)
        yield
    finally:
        torch.set_default_dtype(was)


class _Places:
    """The submodules that are being called, and which operations each records."""

    def __init__(self) -> None:
        self.stack: list[str] = []
        self.of: dict[str, str] = {}

    @property
    def now(self) -> str:
        """The innermost submodule; after an error the one in which it arose."""
        return self.stack[-1] if self.stack else ""

    @classmethod
    @contextlib.contextmanager
    def watching(cls, module: nn.Module) -> Iterator[_Places]:
        """Follow the calls of a module's parts."""
        found, hooks = cls(), []

        def enter(name: str) -> None:
            found.note()
            found.stack.append(name)

        def leave() -> None:
            found.note()
            found.stack.pop()

        try:
            for name, each in module.named_modules():
                if name:
                    hooks.append(each.register_forward_pre_hook(lambda _m, _x, name=name: enter(name)))
                    hooks.append(each.register_forward_hook(lambda _m, _x, _y: leave()))
            yield found
        finally:
            for hook in hooks:
                hook.remove()

    def note(self) -> None:
        """What was recorded since the last call belongs to the innermost submodule."""
        mode: Any = get_proxy_mode()
        for node in reversed(mode.tracer.graph.nodes if mode is not None else ()):
            if node.name in self.of:
                return
            self.of[node.name] = self.now
