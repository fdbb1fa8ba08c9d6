"""The builder of the same network at twice the width, found without running the user's code where that can be read."""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.specs import Spec
from rashomon_cli.sources import builders, imports, places, registries
from rashomon_cli.sources.builders import Builder

WIDTH = "width"
_MISSING: Any = object()


def doubled(builder: Builder, hint: str) -> Builder:
    """A builder with twice the ``width`` of another: twice what it was given, or twice its default.

    Args:
        builder: of a model.
        hint: what to do where that does not exist.

    Returns:
        The builder of the wide model.

    Raises:
        UsageError: if the builder's file or module is gone.
        Refused: if it has no argument ``width``, or that is no number.
    """
    return with_width(builder, 2 * width_of(builder, hint))


def with_width(builder: Builder, width: float) -> Builder:
    """The same builder with another ``width``."""
    return replace(builder, spec=Spec(builder.spec.target, builder.spec.arguments | {WIDTH: width}))


def width_of(builder: Builder, hint: str, purpose: str = "doubled") -> int | float:
    """The ``width`` that a builder was given, or its default.

    Args:
        builder: of a model.
        hint: what to do where that does not exist.
        purpose: what is to be done to it, for the error.

    Returns:
        The width.

    Raises:
        UsageError: if the builder's file or module is gone.
        Refused: if it has no argument ``width``, or that is no number.
    """
    width = builder.spec.arguments.get(WIDTH, _MISSING)
    if width is _MISSING:
        width = _default(builder)
    if width is _MISSING:
        raise Refused(f"{builder.spec.target} has no argument width with a default, so none can be {purpose}", hint)
    if isinstance(width, bool) or not isinstance(width, int | float):
        raise Refused(f"the width of {builder.spec.target} is {width!r}, no number that could be {purpose}", hint)
    return width


def _default(builder: Builder) -> Any:
    """The default of the argument ``width``; a marker where there is none."""
    if registries.split(builder.spec.target):
        return _MISSING
    target = builders.BUILT_IN.get(builder.spec.target, places.at(builder.given, builder.path))
    source = imports.source_file(target)
    name = target.rpartition(":")[2]
    if source is not None and (function := _definition(source, name)) is not None:
        found = _written_default(function)
        if found is not None:
            return found
    signature = inspect.signature(imports.load(target))
    parameter = signature.parameters.get(WIDTH)
    return _MISSING if parameter is None or parameter.default is parameter.empty else parameter.default


def _definition(source: Path, name: str) -> ast.FunctionDef | None:
    """The function of a file; None where the file does not define it outright, for example by a class."""
    try:
        body = ast.parse(source.read_bytes()).body
    except (SyntaxError, ValueError):
        return None
    for each in reversed(body):
        if isinstance(each, ast.FunctionDef) and each.name == name and not each.decorator_list:
            return each
    return None


def _written_default(function: ast.FunctionDef) -> Any:
    """The default of ``width`` as it is written; a marker where there is none; None where it is no literal."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    named = dict(zip([a.arg for a in reversed(positional)], reversed(given.defaults)))
    named |= {a.arg: value for a, value in zip(given.kwonlyargs, given.kw_defaults) if value is not None}
    if WIDTH not in named:
        return _MISSING
    try:
        return ast.literal_eval(named[WIDTH])
    except ValueError:
        return None
