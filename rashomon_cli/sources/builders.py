"""Builders: functions that make a ``torch.nn.Module``; built in, of torchvision or timm, or the user's own.

A builder gets the arguments of its specification; ``input_shape`` (without the batch axis) and ``num_classes`` are
filled in from the data where its signature has them and the user gave none.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rashomon_cli.core.errors import Refused, UsageError, no_such
from rashomon_cli.core.specs import Spec, parse_spec
from rashomon_cli.sources import imports, places, registries

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
    "preresnet164": f"{_MODELS}.preresnet:preresnet164",
    "vgg16": f"{_MODELS}.vgg:vgg16",
}


@dataclass(frozen=True)
class Builder:
    """A way to make a model, without its parameters.

    Attributes:
        spec: target and arguments; of a file its name alone, wherever it lies.
        given: the target as the user typed it.
        path: of the user's source file, absolute, where the target names one.
        sha256: digest of the user's source file; None for what is built in.
        package: of torchvision or timm, with its version.
    """

    spec: Spec
    given: str
    path: Path | None = None
    sha256: str | None = None
    package: str | None = None

    @property
    def short(self) -> str:
        """A word for run names."""
        return self.spec.target.rpartition(":")[2]

    def record(self) -> dict[str, Any]:
        """What ``run.json`` keeps."""
        kept = {"target": self.given, "arguments": self.spec.arguments, "sha256": self.sha256}
        more = {"path": str(self.path) if self.path else None, "package": self.package}
        return kept | {name: value for name, value in more.items() if value is not None}

    def arguments(self, input_shape: tuple[int, ...], num_classes: int) -> dict[str, Any]:
        """The user's arguments, and those that follow from the data.

        Args:
            input_shape: shape of one input.
            num_classes: number of outputs.

        Returns:
            Values by name.

        Raises:
            UsageError: if the builder has no such arguments.
        """
        given = dict(self.spec.arguments)
        if registry := registries.split(self.spec.target):
            return registries.defaults(*registry, given, input_shape, num_classes) | given
        known = inspect.signature(self._factory()).parameters
        takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values())
        if lacking := [name for name in given if name not in known and not takes_any]:
            near = difflib.get_close_matches(lacking[0], known, 1)
            choices = ", ".join(name for name in known if name not in ("input_shape", "num_classes"))
            hint = f"did you mean {near[0]}?" if near else f"it has: {choices or 'none'}"
            fix = (lacking[0], near[0]) if near else None
            raise UsageError(f"{self.spec.target} has no argument {lacking[0]!r}", hint, fix)
        return {n: v for n, v in (("input_shape", input_shape), ("num_classes", num_classes)) if n in known} | given

    def make(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Build the module; its initial parameters come from torch's global generator.

        Args:
            input_shape: shape of one input.
            num_classes: number of outputs.

        Returns:
            A new module.

        Raises:
            UsageError: if there is no such builder, or it has no such arguments.
            Refused: if the builder fails or returns no module.
        """
        from torch import nn

        factory = self._factory()
        arguments = self.arguments(input_shape, num_classes)
        try:
            module = factory(**arguments)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise Refused(f"the builder {self.spec} failed: {reason}", "check its arguments and the data") from error
        if not isinstance(module, nn.Module):
            raise Refused(
                f"the builder {self.spec} returned {type(module).__name__}, no torch.nn.Module", "return the module"
            )
        return module

    def code(self, input_shape: tuple[int, ...], num_classes: int) -> tuple[str, str]:
        """Plain Python that makes the module without this package's operations.

        Args:
            input_shape: shape of one input.
            num_classes: number of outputs.

        Returns:
            The module to import, and an expression.
        """
        arguments = [f"{name}={value!r}" for name, value in self.arguments(input_shape, num_classes).items()]
        if registry := registries.split(self.spec.target):
            package, function = registries.CALLS[registry[0]]
            return package, f"{package}.{function}({', '.join([repr(registry[1]), *arguments])})"
        module, _, function = BUILT_IN.get(self.spec.target, self.given).rpartition(":")
        if self.path is not None:
            return "runpy", f"runpy.run_path({str(self.path)!r})[{function!r}]({', '.join(arguments)})"
        return module, f"{module}.{function}({', '.join(arguments)})"

    def _factory(self) -> Callable[..., Any]:
        if registry := registries.split(self.spec.target):
            return registries.factory(*registry)
        found = imports.load(BUILT_IN.get(self.spec.target, places.at(self.given, self.path)))
        if not callable(found):
            raise UsageError(f"{self.spec.target} is no function", "name a function that returns a torch.nn.Module")
        factory: Callable[..., Any] = found
        return factory


def resolve(text: str) -> Builder:
    """Check a builder's name without importing torch or the user's code; that of another package when it is made.

    Args:
        text: the specification, such as ``preresnet20(width=32)``.

    Returns:
        The builder.

    Raises:
        UsageError: if there is no such builder, file or package.
    """
    return find(parse_spec(text))


def find(spec: Spec, path: Path | None = None) -> Builder:
    """The builder of a specification that was read.

    Args:
        spec: as the user typed it.
        path: of its source file, where that is at another place than the one typed.

    Returns:
        The builder.

    Raises:
        UsageError: if there is no such builder, file or package.
    """
    if registry := registries.split(spec.target):
        return Builder(spec, spec.target, package=registries.installed(registry[0]))
    if spec.target in BUILT_IN:
        return Builder(spec, spec.target)
    if imports.is_import(spec.target):
        digest = imports.fingerprint(places.at(spec.target, path))
        bare = Spec(places.bare(spec.target), spec.arguments)
        return Builder(bare, spec.target, path or places.path_of(spec.target), digest)
    no_such("model", spec.target, BUILT_IN, f"one of {', '.join(BUILT_IN)}, or path/to/file.py:factory")


def of_record(record: dict[str, Any]) -> tuple[Builder, str | None]:
    """The builder of a run's record.

    Args:
        record: what :meth:`Builder.record` returned.

    Returns:
        The builder as it is now, and a warning where its source file or package changed since.

    Raises:
        UsageError: if the source file or package is gone.
    """
    target = str(record["target"])
    now = find(Spec(target, dict(record["arguments"])), places.recalled(target, record.get("path")))
    if now.sha256 != record["sha256"]:
        return now, imports.changed(places.at(target, now.path), record["sha256"], now.sha256)
    # Runs of the first versions do not say which package.
    before = record.get("package", now.package)
    if now.package != before:
        return now, f"{now.spec.target} was made with {before}, here is {now.package}"
    return now, None
