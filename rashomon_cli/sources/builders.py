"""Builders: functions that make a ``torch.nn.Module``; built in, or the user's own.

A builder gets the arguments of its specification; ``input_shape`` (without the batch axis) and ``num_classes`` are
filled in from the data where its signature has them and the user gave none.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.specs import Spec, parse_spec
from rashomon_cli.sources import imports

if TYPE_CHECKING:
    from torch import nn

_MODELS = "rashomon_cli.sources.models"
BUILT_IN = {
    "mlp": f"{_MODELS}.mlp:mlp",
    "smallcnn": f"{_MODELS}.smallcnn:smallcnn",
    "preresnet8": f"{_MODELS}.preresnet:preresnet8",
    "preresnet20": f"{_MODELS}.preresnet:preresnet20",
    "preresnet56": f"{_MODELS}.preresnet:preresnet56",
    "preresnet110": f"{_MODELS}.preresnet:preresnet110",
}


@dataclass(frozen=True)
class Builder:
    """A way to make a model, without its parameters.

    Attributes:
        spec: target and arguments as the user gave them.
        sha256: digest of the user's source file; None for what is built in.
    """

    spec: Spec
    sha256: str | None

    @property
    def short(self) -> str:
        """A word for run names."""
        return self.spec.target.rpartition(":")[2] if self.sha256 else self.spec.target

    def record(self) -> dict[str, Any]:
        """What ``run.json`` keeps."""
        return {"target": self.spec.target, "arguments": self.spec.arguments, "sha256": self.sha256}

    def make(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Build the module; its initial parameters come from torch's global generator.

        Args:
            input_shape: shape of one input.
            num_classes: number of outputs.

        Returns:
            A new module.

        Raises:
            UsageError: if the builder has no such arguments.
            Refused: if the builder fails or returns no module.
        """
        from torch import nn

        factory = self._factory()
        arguments = dict(self.spec.arguments)
        known = inspect.signature(factory).parameters
        takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values())
        unknown = [name for name in arguments if name not in known and not takes_any]
        if unknown:
            near = difflib.get_close_matches(unknown[0], known, 1)
            choices = ", ".join(name for name in known if name not in ("input_shape", "num_classes"))
            hint = f"did you mean {near[0]}?" if near else f"it has: {choices or 'none'}"
            raise UsageError(f"{self.spec.target} has no argument {unknown[0]!r}", hint)
        for name, value in (("input_shape", input_shape), ("num_classes", num_classes)):
            if name in known and name not in arguments:
                arguments[name] = value
        try:
            module = factory(**arguments)
        except (TypeError, ValueError, RuntimeError, AttributeError, AssertionError) as error:
            raise Refused(f"the builder {self.spec} failed: {error}", "check its arguments and the data") from error
        if not isinstance(module, nn.Module):
            raise Refused(f"the builder {self.spec} returned {type(module).__name__}, no torch.nn.Module")
        return module

    def _factory(self) -> Callable[..., Any]:
        found = imports.load(BUILT_IN.get(self.spec.target, self.spec.target))
        if not callable(found):
            raise UsageError(f"{self.spec.target} is no function", "name a function that returns a torch.nn.Module")
        factory: Callable[..., Any] = found
        return factory


def resolve(text: str) -> Builder:
    """Check a builder's name without importing torch or the user's code.

    Args:
        text: the specification, such as ``preresnet20(width=32)``.

    Returns:
        The builder.

    Raises:
        UsageError: if there is no such builder or file.
    """
    spec = parse_spec(text)
    if spec.target in BUILT_IN:
        return Builder(spec, None)
    if imports.is_import(spec.target):
        return Builder(spec, imports.fingerprint(spec.target))
    near = difflib.get_close_matches(spec.target, BUILT_IN, 1)
    hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(BUILT_IN)}, or path/to/file.py:factory"
    raise UsageError(f"no model {spec.target!r}", hint)


def of_record(record: dict[str, Any]) -> tuple[Builder, str | None]:
    """The builder of a run's record.

    Args:
        record: what :meth:`Builder.record` returned.

    Returns:
        The builder as it is now, and a warning where its source file changed since.

    Raises:
        UsageError: if the source file is gone.
    """
    spec = Spec(record["target"], dict(record["arguments"]))
    if record["sha256"] is None:
        return Builder(spec, None), None
    now = imports.fingerprint(spec.target)
    if now == record["sha256"]:
        return Builder(spec, now), None
    warning = f"{spec.target} changed since the run was made: {record['sha256'][:12]} then, {str(now)[:12]} now"
    return Builder(spec, now), warning
